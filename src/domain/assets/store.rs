//! The assets' SQL.

use std::collections::HashMap;

use overlay_entity::ids::VersionId;
use sea_orm::{DbErr, FromQueryResult, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::model::{Asset, Filter, Parents, Scope};
use crate::db::{Columns, Db, FromColumns, InOrder};
use crate::domain::page::{self, Request, Row, Source, Ways};
use crate::domain::{Document, containing};
use crate::error::{Error, Result};

const COLUMNS: &str = "t.policy_meta, t.version_id, t.dataset_id, t.producer_id, t.name, t.description, t.content_hash, \
    t.mime_type, t.size_bytes, t.manifest_hash, t.created_at, t.updated_at";

/// Where scopes of one shape are taken from.
struct Taken {
    /// Their rows alone.
    rows: &'static str,
    /// Their rows with the assets, which are called `t`.
    assets: &'static str,
    /// The identifier's column.
    id: &'static str,
}

const CATALOGUE: Taken = Taken { rows: "public.assets t", assets: "public.assets t", id: "version_id" };

const CHILDREN: Taken = Taken {
    rows: "public.asset_parents",
    assets: "public.asset_parents join public.assets t on t.version_id = child_version_id",
    id: "child_version_id",
};

/// A row of a page, and the asset that the same statement brought along.
pub(super) type Found = (Row<VersionId>, Asset);

/// Above this many matches a text is common enough that walking the order's index finds a page sooner than sorting them.
const COMMON: u32 = 2_000;

/// Most names that contain a text, most texts with its words, and most names spelt alike that are ranked. A name that is
/// the text itself is always among them, so what is left out beyond these is what would stand far behind.
const WITH_TEXT: u32 = 20_000;
const WITH_WORDS: u32 = 5_000;
const ALIKE: u32 = 5_000;

/// Fewer matches than this, and names spelt alike are looked for too: that takes several times as long as all else.
const FEW: u32 = 2;

/// What of a policy's facts about an asset is shown; whatever is of another form than expected is not.
#[derive(Deserialize)]
struct Facts<'r> {
    #[serde(borrow)]
    license: Option<&'r RawValue>,
    #[serde(borrow)]
    classification: Option<&'r RawValue>,
    #[serde(borrow)]
    pii_flags: Option<&'r RawValue>,
    #[serde(borrow)]
    tags: Option<&'r RawValue>,
}

fn text(value: Option<&RawValue>) -> Option<String> {
    value.and_then(|value| serde_json::from_str(value.get()).ok())
}

fn list(value: Option<&RawValue>) -> Vec<String> {
    let items: Option<Vec<&RawValue>> = value.and_then(|value| serde_json::from_str(value.get()).ok());
    items.unwrap_or_default().into_iter().filter_map(|item| text(Some(item))).collect()
}

/// From [`COLUMNS`].
impl FromColumns for Asset {
    fn from_columns(row: &mut Columns<'_>) -> Result<Self, DbErr> {
        let facts: Facts<'_> = row.json()?;
        Ok(Self {
            version_id: row.parsed()?,
            dataset_id: row.read()?,
            producer_id: row.read()?,
            name: row.read()?,
            description: row.read()?,
            content_hash: row.read()?,
            mime_type: row.read()?,
            size_bytes: row.read()?,
            manifest_hash: row.read()?,
            license: text(facts.license),
            classification: text(facts.classification),
            pii_flags: list(facts.pii_flags),
            tags: list(facts.tags),
            created_at: row.read()?,
            updated_at: row.read()?,
        })
    }
}

/// A constraint of the table says that it is one, so anything else is our fault.
fn id(text: &str) -> Result<VersionId> {
    text.parse().map_err(Error::internal)
}

fn texts(ids: &[VersionId]) -> Value {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}

pub(super) async fn by_ids(db: &Db, ids: &[VersionId]) -> Result<HashMap<VersionId, Asset>> {
    let sql = format!("select {COLUMNS} from public.assets t where version_id = any($1::text[])");
    let rows: Vec<InOrder<Asset>> = db.all("assets.by_ids", &sql, vec![texts(ids)]).await?;
    Ok(rows.into_iter().map(|InOrder(asset)| (asset.version_id, asset)).collect())
}

/// The parents of those that have any.
pub(super) async fn parents(db: &Db, ids: &[VersionId]) -> Result<HashMap<VersionId, Parents>> {
    #[derive(FromQueryResult)]
    struct ParentsRow {
        child: String,
        parents: Vec<String>,
    }
    const SQL: &str = "select child_version_id as child, array_agg(parent_version_id order by parent_version_id) as parents \
        from public.asset_parents where child_version_id = any($1::text[]) group by child_version_id";
    let rows: Vec<ParentsRow> = db.all("assets.parents", SQL, vec![texts(ids)]).await?;
    let parents = |row: &ParentsRow| row.parents.iter().map(|p| id(p)).collect::<Result<_>>();
    rows.iter().map(|row| Ok((id(&row.child)?, Parents(parents(row)?)))).collect()
}

pub(super) async fn manifests(db: &Db, ids: &[VersionId]) -> Result<HashMap<VersionId, Document>> {
    #[derive(FromQueryResult)]
    struct ManifestRow {
        version_id: String,
        manifest: serde_json::Value,
    }
    const SQL: &str = "select version_id, manifest from public.assets where version_id = any($1::text[])";
    let rows: Vec<ManifestRow> = db.all("assets.manifests", SQL, vec![texts(ids)]).await?;
    rows.into_iter().map(|row| Ok((id(&row.version_id)?, Document::new(&row.manifest)?))).collect()
}

/// A filter as SQL conditions; parameters from `$n` on are appended to `values`.
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// `$1` is taken by the scopes.
    fn new(scopes: Vec<String>) -> Self {
        Self { sql: Vec::new(), values: vec![scopes.into()] }
    }

    fn push(&mut self, value: impl Into<Value>, sql: impl Fn(&str) -> String) {
        self.values.push(value.into());
        self.sql.push(sql(&format!("${}", self.values.len())));
    }

    fn filter(&mut self, filter: &Filter) {
        let lists = [
            (&filter.datasets, "dataset_id"),
            (&filter.producers, "producer_id"),
            (&filter.classifications, "(policy_meta->>'classification')"),
            (&filter.licenses, "(policy_meta->>'license')"),
        ];
        for (values, column) in lists {
            match values.as_deref() {
                // A plain equality can follow an index in its order; `any` of one value cannot.
                Some([one]) => self.push(one.clone(), |p| format!("{column} = {p}")),
                Some(many) => self.push(many.to_vec(), |p| format!("{column} = any({p}::text[])")),
                None => {}
            }
        }
        if let Some(name) = &filter.name {
            self.push(name.clone(), |p| format!("name = {p}"));
        }
        if let Some(part) = &filter.name_contains {
            self.push(containing(part), |p| format!("name ilike {p}"));
        }
        if let Some(part) = &filter.text {
            // Most matches are in descriptions, and what matches there need not be tested again.
            self.push(containing(part), |p| format!("(description ilike {p} or name ilike {p})"));
        }
    }

    fn joined(&self) -> String {
        self.sql.join(" and ")
    }
}

/// Whether trigrams can find the text: shorter ones have none.
fn has_trigrams(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|t| t.chars().filter(|c| c.is_alphanumeric()).count() >= 3)
}

/// Where scopes of one shape are taken from, and the conditions on its rows, in which `scope.name` is the scope.
fn scoped(scopes: &[Scope], filter: &Filter) -> (Taken, Conditions) {
    let names = scopes.iter().map(|s| match s {
        Scope::Catalogue => String::new(),
        Scope::Producer(id) => id.clone(),
        Scope::Parent(id) => id.to_string(),
    });
    let mut conditions = Conditions::new(names.collect());
    let taken = match scopes.first() {
        Some(Scope::Parent(_)) => {
            conditions.sql.push("parent_version_id = scope.name".into());
            CHILDREN
        }
        Some(Scope::Producer(_)) => {
            conditions.sql.push("producer_id = scope.name".into());
            CATALOGUE
        }
        _ => CATALOGUE,
    };
    conditions.filter(filter);
    (taken, conditions)
}

/// What `page::select` selects, of rows that are at hand and no index orders, called `page`: they have columns `at` (where the
/// asset is stored), `id` and `key`. First the condition on a page's rows (its cursor's parameters are `$n` and `$n+1`), then
/// their order.
fn keyset(request: &Request, first_parameter: usize) -> (String, String) {
    let Ways { beyond, after, .. } = request.ways();
    let key = format!("${first_parameter}::{}", request.order.cast);
    let condition = match request.cursor {
        None => "true".into(),
        Some(_) => format!("(key {beyond} {key} or key = {key} and id {after} ${})", first_parameter + 1),
    };
    (condition, request.order_by("page"))
}

/// Whether an index has the rows in a page's order, or there are few: with more than one condition, or one that is no equality,
/// they may have to be sorted.
fn is_walked(scope: &Scope, filter: &Filter) -> bool {
    let Filter { text, datasets, producers, classifications, licenses, name_contains, name } = filter;
    let lists: Vec<_> = [datasets, producers, classifications, licenses].into_iter().flatten().collect();
    let equalities = lists.len() + usize::from(name.is_some()) + usize::from(matches!(scope, Scope::Producer(_)));
    text.is_none() && name_contains.is_none() && equalities <= 1 && lists.iter().all(|list| list.len() == 1)
}

/// The walk of a page of the rows that contain a text. The planner would rather walk the order's index and test each row, which is
/// right only for common texts. So the matches are taken first, up to a bound; only when there are more than that is the index
/// walked.
fn of_text(walk: &str, source: Source<'_>, request: &Request, cursor_at: usize) -> String {
    let Source { from, id, conditions, .. } = source;
    let (condition, order) = keyset(request, cursor_at);
    let (column, limit, offset) = (request.order.column, request.limit + 1, request.offset);
    format!(
        "with hit as materialized ( \
             select t.ctid as at, {id} as id, {column} as key from {from} where {conditions} limit {COMMON} + 1) \
         (select at, id, key from hit as page where {condition} and not exists (select from hit offset {COMMON}) \
             order by {order} limit {limit} offset {offset}) \
         union all \
         (select many.at, many.id, many.key from ({walk}) as many where exists (select from hit offset {COMMON}))"
    )
}

/// Pages of several scopes of one shape, in one statement: for each scope its rows, and the assets themselves.
pub(super) async fn pages(db: &Db, scopes: &[Scope], filter: &Filter, request: &Request) -> Result<Vec<Vec<Found>>> {
    let (taken, mut conditions) = scoped(scopes, filter);
    let (cursor_at, joined) = (conditions.values.len() + 1, conditions.joined());
    let source = Source { from: taken.assets, id: taken.id, conditions: &joined, columns: COLUMNS };
    let has_text = has_trigrams(&filter.text) || has_trigrams(&filter.name_contains);
    let sql = match scopes.first() {
        Some(scope @ (Scope::Catalogue | Scope::Producer(_))) if !is_walked(scope, filter) || request.offset > 0 => {
            // What is sorted or passed over is not carried along: the assets are read at the end, where they are stored.
            let walk = page::select(Source { columns: "t.ctid as at", ..source }, request, cursor_at);
            let walk = if has_text { of_text(&walk, source, request, cursor_at) } else { walk };
            let (scope, order) = (page::each(scopes.len()), request.order_by("page"));
            format!(
                "select scope.position, page.key::text as sort, {COLUMNS} from {scope} cross join lateral ({walk}) as page \
                 join public.assets t on t.ctid = page.at order by scope.position, {order}"
            )
        }
        _ => page::select_rows_of_each(scopes.len(), source, request, cursor_at),
    };
    conditions.values.extend(request.place().map(Value::from));
    grouped(scopes.len(), db.all("assets.pages", &sql, conditions.values).await?)
}

/// A page of the assets that match `text`, the best first: names that are the text, then by full text over name,
/// description and tags and by how much of a name the text is; of texts that hardly match, names spelt alike too. What
/// is found, and its rank, depends on the text alone, so pages fit together.
pub(super) async fn found(db: &Db, text: &str, request: &Request) -> Result<Vec<Found>> {
    let mut values: Vec<Value> = vec![text.into(), containing(text).into()];
    let (condition, order) = keyset(request, values.len() + 1);
    let (limit, offset) = (request.limit + 1, request.offset);
    values.extend(request.place().map(Value::from));
    // Each asset is in one part only, so that nothing has to be compared for taking duplicates out.
    let sql = format!(
        "with query as materialized (select websearch_to_tsquery('simple', $1) || websearch_to_tsquery('english', $1) as q), \
         hit as materialized ( \
             (select ctid as at, version_id as id, (2 + ts_rank(search, (select q from query)))::float4 as key \
                 from public.assets where name = $1 limit {WITH_WORDS}) union all \
             (select ctid, version_id, \
                     (ts_rank(search, (select q from query)) + char_length($1)::float4 / char_length(name))::float4 \
                 from public.assets where name ilike $2 and name <> $1 limit {WITH_TEXT}) union all \
             (select ctid, version_id, ts_rank(search, (select q from query)) \
                 from public.assets where search @@ (select q from query) and name not ilike $2 limit {WITH_WORDS})), \
         page as (select * from hit union all \
             (select ctid, version_id, similarity(name, $1) from public.assets \
                 where name % $1 and name not ilike $2 and not search @@ (select q from query) \
                     and not exists (select from hit offset {FEW} - 1) limit {ALIKE})) \
         select 1::bigint as position, page.key::text as sort, {COLUMNS} \
         from (select * from page where {condition} order by {order} limit {limit} offset {offset}) as page \
         join public.assets t on t.ctid = page.at order by {order}"
    );
    let groups = grouped(1, db.all("assets.found", &sql, values).await?)?;
    Ok(groups.into_iter().next().unwrap_or_default())
}

/// How many assets each of several scopes of one shape has.
pub(super) async fn counts(db: &Db, scopes: &[Scope], filter: &Filter) -> Result<Vec<i64>> {
    #[derive(FromQueryResult)]
    struct Count {
        count: i64,
    }
    let (taken, conditions) = scoped(scopes, filter);
    // What is not asked about the assets themselves is counted without looking at them.
    let from = if *filter == Filter::default() { taken.rows } else { taken.assets };
    let joined = conditions.joined();
    let condition = if joined.is_empty() { "true" } else { &joined };
    let sql = format!(
        "select (select count(*) from {from} where {condition}) as count \
         from unnest($1::text[]) with ordinality as scope(name, position) order by scope.position"
    );
    let rows: Vec<Count> = db.all("assets.counts", &sql, conditions.values).await?;
    Ok(rows.into_iter().map(|row| row.count).collect())
}

/// A row of a page of one of several lists.
type PageRow = InOrder<(i64, (String, Asset))>;

fn grouped(scopes: usize, rows: Vec<PageRow>) -> Result<Vec<Vec<Found>>> {
    let row = |InOrder((place, (sort, asset))): PageRow| Ok((place, (Row { id: asset.version_id, sort }, asset)));
    page::by_scope(scopes, rows.into_iter().map(row))
}
