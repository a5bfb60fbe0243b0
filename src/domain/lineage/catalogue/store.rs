//! The SQL behind names and pages. The database writes each thing as the JSON that it is read from.

use sea_orm::{FromQueryResult, Value as Bound};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Listed, MAX_BYTES, MAX_COUNT, MAX_FOUND, Match, Named, Namespace, Part, Run, Window, too_large};
use crate::db::Db;
use crate::domain::containing;
use crate::domain::lineage::node::Kind;
use crate::error::{Error, Result};

#[derive(FromQueryResult)]
struct BodyRow {
    body: Option<Value>,
}

#[derive(FromQueryResult)]
struct CountRow {
    count: i64,
}

/// The rows of a table whose keys are `$1`, in that order.
fn asked(table: &str, key: &str, body: &str) -> String {
    format!(
        "select {body} as body from unnest($1::text[]) with ordinality as asked(key, n) join {table} t on t.{key} = asked.key \
        order by asked.n"
    )
}

/// Things of a kind by key, in that order, those that are there. Of their facets only these.
pub(in crate::domain::lineage) async fn by_keys<T: DeserializeOwned>(
    db: &Db, kind: Kind, keys: Vec<String>, facets: &[&str],
) -> Result<Vec<T>> {
    let (table, key, body) = place(kind);
    let facets = |of: &str| {
        let names = facets.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        format!("(select coalesce(jsonb_object_agg(key, value), '{{}}') from jsonb_each({of}) where key in ({names}))")
    };
    let body = format!("({body}) || jsonb_build_object('facets', {})", facets("t.facets"));
    all(db, "lineage.by_keys", &asked(table, key, &body), vec![keys.into()]).await
}

const DATASET: &str = "to_jsonb(t) - 'facet_versions' - 'dataset_key'";

const RUN: &str = "to_jsonb(r) - 'facet_versions' - 'job_key' - 'state_version'";

fn job() -> String {
    let named = "jsonb_build_object('namespace', namespace, 'name', name)";
    let io = |is_output: bool| {
        format!(
            "(select coalesce(jsonb_agg({named} order by namespace collate \"C\", name collate \"C\"), '[]') from ( \
            select dataset_namespace as namespace, dataset_name as name from public.lineage_io \
            where job_key = t.job_key and is_output = {is_output} order by dataset_key limit 1000) as io)"
        )
    };
    let (inputs, outputs) = (io(false), io(true));
    format!(
        "(to_jsonb(t) - 'facet_versions' - 'job_key') || jsonb_build_object('inputs', {inputs}, 'outputs', {outputs}, \
        'latest_run', (select {RUN} from public.lineage_runs r where r.job_namespace = t.namespace and r.job_name = t.name \
        order by r.latest_event_at desc, r.run_id limit 1))"
    )
}

/// Where things of a kind are: the table, its key, and what is read of a row called `t`.
fn place(kind: Kind) -> (&'static str, &'static str, String) {
    match kind {
        Kind::Dataset => ("public.lineage_datasets", "dataset_key", DATASET.into()),
        Kind::Job => ("public.lineage_jobs", "job_key", job()),
    }
}

/// What a statement's column `body` holds, unless it is too large to be held.
async fn all<T: DeserializeOwned>(db: &Db, name: &'static str, sql: &str, values: Vec<Bound>) -> Result<Vec<T>> {
    let sql = format!(
        "with found as materialized ({sql}) select case when (select sum(octet_length(body::text)) from found) <= {MAX_BYTES} \
        then body end as body from found"
    );
    let rows: Vec<BodyRow> = db.all(name, &sql, values).await?;
    let read = |row: BodyRow| serde_json::from_value(row.body.ok_or_else(too_large)?).map_err(Error::internal);
    rows.into_iter().map(read).collect()
}

/// How many rows there are, counted no further than is told.
async fn count(db: &Db, name: &'static str, from: &str, values: Vec<Bound>) -> Result<i64> {
    let sql = format!("select count(*) as count from (select from {from} limit {MAX_COUNT}) as counted");
    let row: Option<CountRow> = db.one(name, &sql, values).await?;
    Ok(row.map_or(0, |row| row.count))
}

/// The part's end of a statement.
fn end(part: Part) -> String {
    format!("limit {} offset {}", part.limit, part.offset)
}

pub(super) async fn first<T: DeserializeOwned>(db: &Db, kind: Kind, meanings: &[Named]) -> Result<Option<T>> {
    let (table, key, body) = place(kind);
    let keys: Vec<String> = meanings.iter().map(Named::key).collect();
    let sql = format!("{} limit 1", asked(table, key, &body));
    Ok(all(db, "lineage.first", &sql, vec![keys.into()]).await?.pop())
}

pub(super) async fn page<T: DeserializeOwned>(
    db: &Db, kind: Kind, namespace: Option<&str>, part: Part,
) -> Result<Listed<T>> {
    let (table, _, body) = place(kind);
    let (condition, values) = match namespace {
        Some(namespace) => (" where t.namespace = $1", vec![namespace.into()]),
        None => ("", Vec::new()),
    };
    let sql = format!("select {body} as body from {table} t{condition} order by t.namespace, t.name {}", end(part));
    let items = all(db, "lineage.page", &sql, values.clone()).await?;
    Ok(Listed { items, total: count(db, "lineage.count", &format!("{table} t{condition}"), values).await? })
}

pub(super) async fn runs(db: &Db, run_id: &str) -> Result<Vec<Run>> {
    let sql = format!(
        "select {RUN} as body from public.lineage_runs r where r.run_id = $1 order by r.latest_event_at desc, r.job_key limit 100"
    );
    all(db, "lineage.runs", &sql, vec![run_id.into()]).await
}

pub(super) async fn runs_of(db: &Db, job: &Named, part: Part) -> Result<Listed<Run>> {
    let from = "public.lineage_runs r where r.job_namespace = $1 and r.job_name = $2";
    let values: Vec<Bound> = vec![job.namespace.as_str().into(), job.name.as_str().into()];
    let sql = format!("select {RUN} as body from {from} order by r.latest_event_at desc, r.run_id {}", end(part));
    let items = all(db, "lineage.runs_of", &sql, values.clone()).await?;
    Ok(Listed { items, total: count(db, "lineage.count_runs", from, values).await? })
}

/// From one namespace to the next: one step of the index each, however much is in it.
pub(super) async fn namespaces(db: &Db, name: Option<&str>, part: Part) -> Result<Vec<Namespace>> {
    let names = match name {
        Some(_) => "select $1::text as name".to_owned(),
        None => {
            let next = |after: &str| {
                let least = |table: &str| format!("(select min(namespace) from public.lineage_{table}{after})");
                format!("least({}, {})", least("jobs"), least("datasets"))
            };
            format!(
                "with recursive names(name) as (select {} union all select {} from names where name is not null) \
                select name from names where name is not null {}",
                next(""),
                next(" where namespace > names.name"),
                end(part)
            )
        }
    };
    let times = |function: &str, column: &str| {
        let of =
            |table: &str| format!("(select {function}({column}) from public.lineage_{table} where namespace = n.name)");
        let word = if function == "min" { "least" } else { "greatest" };
        format!("{word}({}, {})", of("jobs"), of("datasets"))
    };
    let sql = format!(
        "select body from (select jsonb_build_object('name', n.name, 'created_at', {}, 'updated_at', {}) as body \
        from ({names}) as n order by n.name) as told where body ->> 'created_at' is not null",
        times("min", "created_at"),
        times("max", "updated_at")
    );
    all(db, "lineage.namespaces", &sql, name.map(Into::into).into_iter().collect()).await
}

pub(super) async fn events(db: &Db, window: &Window, part: Part) -> Result<Listed<Value>> {
    let (mut conditions, mut values) = (Vec::new(), Vec::<Bound>::new());
    for (time, compared) in [(window.after, ">="), (window.before, "<")] {
        if let Some(time) = time {
            values.push(time.into());
            conditions.push(format!("event_time {compared} ${}", values.len()));
        }
    }
    let condition = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
    let from = format!("public.lineage_event_audit{condition}");
    // The index has the hashes in ascending order where times are descending.
    let order = if window.is_ascending { "event_time, event_hash desc" } else { "event_time desc, event_hash" };
    let sql = format!("select payload_json as body from {from} order by {order} {}", end(part));
    let items = all(db, "lineage.events", &sql, values.clone()).await?;
    Ok(Listed { items, total: count(db, "lineage.count_events", &from, values).await? })
}

pub(super) async fn search(
    db: &Db, text: &str, kind: Option<Kind>, namespace: Option<&str>, part: Part,
) -> Result<Listed<Match>> {
    let mut values: Vec<Bound> = vec![containing(text).into()];
    let within = if namespace.is_some() { " and namespace = $2" } else { "" };
    values.extend(namespace.map(Bound::from));
    let found = |kind: Kind| {
        let (table, ..) = place(kind);
        let is_job = kind == Kind::Job;
        format!(
            "(select {is_job} as is_job, namespace, name, updated_at from {table} where name ilike $1{within} limit {MAX_FOUND})"
        )
    };
    let kinds = [Kind::Dataset, Kind::Job].into_iter().filter(|each| kind.is_none_or(|kind| kind == *each));
    let found = kinds.map(found).collect::<Vec<_>>().join(" union all ");
    let sql = format!(
        "select to_jsonb(m) as body from ({found}) as m order by lower(name) collate \"C\", namespace collate \"C\", is_job {}",
        end(part)
    );
    let items = all(db, "lineage.search", &sql, values.clone()).await?;
    Ok(Listed { items, total: count(db, "lineage.count_found", &format!("({found}) as m"), values).await? })
}
