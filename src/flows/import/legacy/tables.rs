//! The tables of the old schema, in the order in which they are taken over: what others point to comes first. What each row
//! becomes here.

use serde_json::{Value, json};

use super::cells::{Reader, Row};
use super::{Context, Need, Ready, chain, trade};
use crate::domain::assets::manifest::is_identity_key;
use crate::domain::lineage::event::{Named, read};

/// A table of the old schema.
pub(super) struct Table {
    /// Its name there.
    pub(super) name: &'static str,
    /// What becomes of a row.
    pub(super) read: fn(&Row, &Context) -> Result<Ready, Vec<String>>,
    /// Where its rows go.
    pub(super) into: Into,
}

/// Where rows go.
pub(super) enum Into {
    /// The catalogue, and lineage with it.
    Catalogue,
    /// Lineage events, and dead letters.
    Events,
    /// A table here.
    Rows(&'static Shape),
    /// Nowhere: they follow from other rows, and are looked for.
    Derived(&'static str),
}

/// A table here, as far as an import fills it.
pub(super) struct Shape {
    pub(super) table: &'static str,
    /// What a row is known by; the first is never null.
    pub(super) key: &'static [&'static str],
    /// Columns with their types, those of the key included.
    pub(super) columns: &'static [(&'static str, &'static str)],
    /// Columns that are written and not compared.
    pub(super) loose: &'static [&'static str],
}

/// What has to be there for a row that names it.
pub(super) fn described(need: &Need) -> String {
    match need {
        Need::Version(id) => format!("no manifest of version {id} was taken over"),
        Need::Receipt(id) => format!("no receipt {id} was taken over"),
        Need::Advisory(id) => format!("no advisory {id} was taken over"),
    }
}

const PRODUCERS: Shape = Shape {
    table: "producers",
    key: &["identity_key"],
    columns: &[
        ("producer_id", "text"),
        ("identity_key", "text"),
        ("display_name", "text"),
        ("website", "text"),
        ("payout_script_hex", "text"),
        ("created_at", "timestamptz"),
    ],
    // One that has published here before has an identifier here.
    loose: &["producer_id", "created_at"],
};

pub(super) const ALL: [Table; 17] = [
    Table { name: "producers", read: producer, into: Into::Rows(&PRODUCERS) },
    Table { name: "manifests", read: chain::manifest, into: Into::Catalogue },
    Table { name: "edges", read: edge, into: Into::Derived(EDGES) },
    Table { name: "declarations", read: chain::declaration, into: Into::Rows(&chain::DECLARATIONS) },
    // Before the prices of versions, which hold where no rule does.
    Table { name: "price_rules", read: trade::price_rule, into: Into::Rows(&trade::PRICE_RULES) },
    Table { name: "prices", read: trade::price, into: Into::Rows(&trade::PRICE_RULES) },
    Table { name: "policies", read: trade::policy, into: Into::Rows(&trade::POLICIES) },
    Table { name: "advisories", read: trade::advisory, into: Into::Rows(&trade::ADVISORIES) },
    Table { name: "advisory_targets", read: trade::target, into: Into::Rows(&trade::TARGETS) },
    Table { name: "receipts", read: trade::receipt, into: Into::Rows(&trade::RECEIPTS) },
    Table { name: "revenue_events", read: trade::revenue, into: Into::Rows(&trade::REVENUE) },
    Table { name: "ol_events", read: event, into: Into::Events },
    Table { name: "ol_dlq", read: letter, into: Into::Events },
    Table { name: "ol_jobs", read: job, into: Into::Derived(JOBS) },
    Table { name: "ol_datasets", read: job, into: Into::Derived(DATASETS) },
    Table { name: "ol_runs", read: run, into: Into::Derived(RUNS) },
    Table { name: "ol_edges", read: flow, into: Into::Derived(FLOWS) },
];

const EDGES: &str = "select n.n from jsonb_to_recordset($1) as n(n bigint, child text, parent text) \
    join public.asset_parents p on p.child_version_id = n.child and p.parent_version_id = n.parent";

const JOBS: &str = "select n.n from jsonb_to_recordset($1) as n(n bigint, namespace text, name text) \
    where exists (select from public.lineage_jobs j where j.namespace = n.namespace and j.name = n.name)";

const DATASETS: &str = "select n.n from jsonb_to_recordset($1) as n(n bigint, namespace text, name text) \
    where exists (select from public.lineage_datasets d where d.namespace = n.namespace and d.name = n.name)";

const RUNS: &str = "select n.n from jsonb_to_recordset($1) as n(n bigint, namespace text, name text, run text) \
    where exists (select from public.lineage_runs r where r.run_id = n.run and r.job_namespace = n.namespace \
        and r.job_name = n.name)";

const FLOWS: &str = "select n.n from jsonb_to_recordset($1) as n(n bigint, namespace text, parent text, child text) \
    where exists (select from public.lineage_edges e where e.from_namespace = n.namespace and e.from_name = n.parent \
        and e.to_namespace = n.namespace and e.to_name = n.child)";

fn producer(row: &Row, context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let id = from.named(&["producer_id"], 200);
    let key = id.as_ref().and_then(|id| context.keys.get(id)).cloned();
    if key.is_none() {
        from.fault("identity_key: is missing, and no manifest, or manifests with different keys, are of this producer");
    } else if !key.as_deref().is_some_and(is_identity_key) {
        from.fault("identity_key: must be a compressed secp256k1 key, 66 hex digits");
    }
    let name = from.text(&["name", "display_name"]).unwrap_or_default();
    if name.chars().count() > 500 {
        from.fault("name: is longer than 500 characters");
    }
    let website = from.text(&["website"]);
    if website.as_ref().is_some_and(|website| website.chars().count() > 2_000) {
        from.fault("website: is longer than 2,000 characters");
    }
    let script = from.hex("payout_script_hex", None);
    let created = from.instant_of("created_at");
    from.end(|| {
        let (id, key) = (id?, key?);
        let row = json!({"producer_id": id, "identity_key": key, "display_name": name, "website": website,
            "payout_script_hex": script, "created_at": created?});
        Some(Ready::row(key, row))
    })
}

fn edge(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let (child, parent) = (from.version("child_version_id"), from.version("parent_version_id"));
    from.end(|| {
        let (child, parent) = (child?, parent?);
        Some(Ready::row(format!("{child} {parent}"), json!({"child": child, "parent": parent})))
    })
}

fn event(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let payload = from.document("payload_json", super::cells::MAX_CELL);
    let payload = from.end(|| payload)?;
    read(payload).map(Ready::event).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// What the old server could not read may be readable now; else it is a dead letter here too.
fn letter(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let text = from.named(&["payload_json"], super::cells::MAX_CELL);
    let text = from.end(|| text)?;
    let faults = match serde_json::from_str::<Value>(&text) {
        Ok(value) => match read(value) {
            Ok(event) => return Ok(Ready::event(event)),
            Err(faults) => faults,
        },
        Err(cause) => vec![crate::domain::Fault { pointer: String::new(), rule: format!("must be JSON: {cause}") }],
    };
    Ok(Ready::letter(&text, &faults))
}

fn named(from: &mut Reader<'_>, name: &[&str]) -> Option<Named> {
    Some(Named { namespace: from.named(&["namespace"], 512)?, name: from.named(name, 2_048)? })
}

fn job(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let named = named(&mut from, &["name"]);
    from.end(|| {
        let Named { namespace, name } = named?;
        Some(Ready::row(format!("{namespace}\n{name}"), json!({"namespace": namespace, "name": name})))
    })
}

fn run(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let (named, run) = (named(&mut from, &["job_name"]), from.named(&["run_id"], 200));
    from.end(|| {
        let (Named { namespace, name }, run) = (named?, run?);
        let row = json!({"namespace": namespace, "name": name, "run": run});
        Some(Ready::row(format!("{namespace}\n{name}\n{run}"), row))
    })
}

fn flow(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let parent = named(&mut from, &["parent_dataset_name"]);
    let child = from.named(&["child_dataset_name"], 2_048);
    let run = from.text(&["run_id"]).unwrap_or_default();
    from.end(|| {
        let (Named { namespace, name: parent }, child) = (parent?, child?);
        let row = json!({"namespace": namespace, "parent": parent, "child": child});
        Some(Ready::row(format!("{namespace}\n{parent}\n{child}\n{run}"), row))
    })
}
