//! The assets' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use sea_orm::{FromQueryResult, Value};

use super::model::{Asset, Filter, Parents, Scope};
use crate::db::Db;
use crate::domain::Document;
use crate::domain::page::{self, Request, Row, Source};
use crate::error::{Error, Result};

const COLUMNS: &str = "a.version_id, a.dataset_id, a.producer_id, a.name, a.description, a.content_hash, a.mime_type, \
    a.size_bytes, a.manifest_hash, a.policy_meta, a.created_at, a.updated_at";

/// A row of a page, and the asset that the same statement brought along.
pub(super) type Found = (Row<VersionId>, Asset);

/// Above this many matches a text is common enough that walking the order's index finds a page sooner than sorting them.
const COMMON: u32 = 2_000;

/// Most names that are ranked by likeness, and most texts by their words. Names weigh most, and one that is the text itself
/// is always among them, so what is left out beyond these is what would stand far behind.
const LIKE_NAMES: u32 = 20_000;
const WITH_WORDS: u32 = 5_000;

#[derive(FromQueryResult)]
struct AssetRow {
    version_id: String,
    dataset_id: String,
    producer_id: String,
    name: String,
    description: String,
    content_hash: String,
    mime_type: Option<String>,
    size_bytes: Option<i64>,
    manifest_hash: String,
    policy_meta: serde_json::Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<AssetRow> for Asset {
    type Error = Error;

    fn try_from(row: AssetRow) -> Result<Self> {
        let text = |name: &str| row.policy_meta.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let list = |name: &str| {
            let items = row.policy_meta.get(name).and_then(|v| v.as_array());
            items.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        Ok(Self {
            version_id: id(&row.version_id)?,
            license: text("license"),
            classification: text("classification"),
            pii_flags: list("pii_flags"),
            tags: list("tags"),
            dataset_id: row.dataset_id,
            producer_id: row.producer_id,
            name: row.name,
            description: row.description,
            content_hash: row.content_hash,
            mime_type: row.mime_type,
            size_bytes: row.size_bytes,
            manifest_hash: row.manifest_hash,
            created_at: row.created_at,
            updated_at: row.updated_at,
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
    let sql = format!(
        "select {COLUMNS} from unnest($1::text[]) as wanted(id) join public.assets a on a.version_id = wanted.id"
    );
    let rows: Vec<AssetRow> = db.all("assets.by_ids", &sql, vec![texts(ids)]).await?;
    rows.into_iter().map(|row| Asset::try_from(row).map(|asset| (asset.version_id, asset))).collect()
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
            self.push(containing(part), |p| format!("(name ilike {p} or description ilike {p})"));
        }
    }

    fn joined(&self) -> String {
        self.sql.join(" and ")
    }
}

/// A `like` pattern for texts that contain `part`.
fn containing(part: &str) -> String {
    format!("%{}%", part.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_"))
}

/// Whether trigrams can find the text: shorter ones have none.
fn has_trigrams(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|t| t.chars().filter(|c| c.is_alphanumeric()).count() >= 3)
}

/// The table that scopes of one shape are taken from, its identifier's column, and the conditions on its rows, in which
/// `scope.name` is the scope.
fn scoped(scopes: &[Scope], filter: &Filter) -> (&'static str, &'static str, Conditions) {
    let names = scopes.iter().map(|s| match s {
        Scope::Catalogue => String::new(),
        Scope::Producer(id) => id.clone(),
        Scope::Parent(id) => id.to_string(),
    });
    let mut conditions = Conditions::new(names.collect());
    let (table, id) = match scopes.first() {
        Some(Scope::Parent(_)) => {
            conditions.sql.push("parent_version_id = scope.name".into());
            ("public.asset_parents", "child_version_id")
        }
        Some(Scope::Producer(_)) => {
            conditions.sql.push("producer_id = scope.name".into());
            ("public.assets", "version_id")
        }
        _ => ("public.assets", "version_id"),
    };
    conditions.filter(filter);
    (table, id, conditions)
}

/// Pages of several scopes of one shape, in one statement: for each scope its rows, and the assets themselves.
pub(super) async fn pages(db: &Db, scopes: &[Scope], filter: &Filter, request: &Request) -> Result<Vec<Vec<Found>>> {
    let (table, id, mut conditions) = scoped(scopes, filter);
    let cursor_at = conditions.values.len() + 1;
    let joined = conditions.joined();
    let walk = page::select(Source { from: table, id, conditions: &joined }, request, cursor_at);
    let inner = if has_trigrams(&filter.text) || has_trigrams(&filter.name_contains) {
        // The planner would rather walk the order's index and test each row, which is right only for common texts. So
        // the matches are taken first, up to a bound; only when there are more than that is the index walked.
        let rare = Source { from: "hit", id, conditions: &format!("(select count(*) from hit) <= {COMMON}") };
        let column = request.order.column;
        let columns = if column == id { id.to_owned() } else { format!("{id}, {column}") };
        format!(
            "with hit as materialized (select {columns} from {table} where {joined} limit {}) \
             (select * from ({}) as few) union all \
             (select * from ({walk}) as many where (select count(*) from hit) > {COMMON})",
            COMMON + 1,
            page::select(rare, request, cursor_at),
        )
    } else {
        walk
    };
    if let Some(cursor) = &request.cursor {
        conditions.values.push(cursor.sort.clone().into());
        conditions.values.push(cursor.id.clone().into());
    }
    let sql = format!(
        "select scope.position, page.sort, {COLUMNS} \
         from unnest($1::text[]) with ordinality as scope(name, position) \
         cross join lateral (select row_number() over () as n, ordered.* from ({inner}) as ordered) as page \
         join public.assets a on a.version_id = page.id order by scope.position, page.n"
    );
    grouped(db.all("assets.pages", &sql, conditions.values).await?, scopes.len())
}

/// A page of the assets that match `text`, the best first: full text over name, description and tags, and names that
/// are spelt alike.
pub(super) async fn found(db: &Db, text: &str, request: &Request) -> Result<Vec<Found>> {
    let ranked = Source { from: "ranked", id: "version_id", conditions: "" };
    let mut values: Vec<Value> = vec![text.into(), containing(text).into()];
    let inner = page::select(ranked, request, values.len() + 1);
    if let Some(cursor) = &request.cursor {
        values.push(cursor.sort.clone().into());
        values.push(cursor.id.clone().into());
    }
    let sql = format!(
        "with query as materialized (select websearch_to_tsquery('simple', $1) || websearch_to_tsquery('english', $1) as q), \
         hit as materialized ( \
             (select version_id, name, search from public.assets where name = $1 limit {WITH_WORDS}) union \
             (select version_id, name, search from public.assets where name ilike $2 or name % $1 limit {LIKE_NAMES}) union \
             (select version_id, name, search from public.assets where search @@ (select q from query) limit {WITH_WORDS})), \
         ranked as materialized (select version_id, \
             (ts_rank(search, (select q from query)) + similarity(name, $1))::float4 as rank from hit) \
         select 1::bigint as position, page.sort, {COLUMNS} \
         from (select row_number() over () as n, ordered.* from ({inner}) as ordered) as page \
         join public.assets a on a.version_id = page.id order by page.n"
    );
    let groups = grouped(db.all("assets.found", &sql, values).await?, 1)?;
    Ok(groups.into_iter().next().unwrap_or_default())
}

/// How many assets each of several scopes of one shape has.
pub(super) async fn counts(db: &Db, scopes: &[Scope], filter: &Filter) -> Result<Vec<i64>> {
    #[derive(FromQueryResult)]
    struct Count {
        count: i64,
    }
    let (table, _, conditions) = scoped(scopes, filter);
    let joined = conditions.joined();
    let condition = if joined.is_empty() { "true" } else { &joined };
    let sql = format!(
        "select (select count(*) from {table} where {condition}) as count \
         from unnest($1::text[]) with ordinality as scope(name, position) order by scope.position"
    );
    let rows: Vec<Count> = db.all("assets.counts", &sql, conditions.values).await?;
    Ok(rows.into_iter().map(|row| row.count).collect())
}

struct PageRow {
    position: i64,
    sort: String,
    asset: AssetRow,
}

impl FromQueryResult for PageRow {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self {
            position: row.try_get(pre, "position")?,
            sort: row.try_get(pre, "sort")?,
            asset: AssetRow::from_query_result(row, pre)?,
        })
    }
}

fn grouped(rows: Vec<PageRow>, groups: usize) -> Result<Vec<Vec<Found>>> {
    let mut out: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(groups).collect();
    for PageRow { position, sort, asset } in rows {
        let asset = Asset::try_from(asset)?;
        // Ordinality counts from one.
        let group = usize::try_from(position - 1).ok().and_then(|p| out.get_mut(p));
        group.ok_or_else(|| Error::internal("a row of no scope"))?.push((Row { id: asset.version_id, sort }, asset));
    }
    Ok(out)
}
