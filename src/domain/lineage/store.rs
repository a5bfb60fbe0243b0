//! The SQL that reads lineage.

use std::collections::HashMap;

use sea_orm::FromQueryResult;

use super::batch::Touch;
use super::event::Named;
use super::graph::{BUDGET, Edge, Names};
use super::node::{Kind, NodeId};
use super::walk::Step;
use crate::db::Db;
use crate::error::{Error, Result};

/// Most edges of a level that are looked at: more than are shown, as several lead to what is known already.
const MAX_ROWS: i64 = 2 * BUDGET.edges as i64 + 1;

#[derive(FromQueryResult)]
struct Place {
    n: i64,
}

impl Place {
    /// Ordinality counts from one.
    fn at(&self) -> usize {
        usize::try_from(self.n - 1).unwrap_or_default()
    }
}

#[derive(FromQueryResult)]
struct StepRow {
    n: i64,
    total: i64,
    from_namespace: String,
    from_name: String,
    to_namespace: String,
    to_name: String,
    job_namespace: String,
    job_name: String,
}

fn keys<'a>(nodes: impl IntoIterator<Item = &'a Named>) -> sea_orm::Value {
    nodes.into_iter().map(Named::key).collect::<Vec<String>>().into()
}

/// The keys of what has these numbers.
fn keys_of(names: &Names, level: &[u32]) -> sea_orm::Value {
    keys(level.iter().map(|number| names.named(*number)))
}

/// The place of the first that any event names.
pub(super) async fn first_known(db: &Db, nodes: &[Named]) -> Result<Option<usize>> {
    const SQL: &str = "\
        select c.n from unnest($1::text[]) with ordinality as c(key, n) \
        where exists (select from public.lineage_datasets d where d.dataset_key = c.key) \
            or exists (select from public.lineage_edges e where e.from_key = c.key) \
            or exists (select from public.lineage_edges e where e.to_key = c.key) \
        order by c.n limit 1";
    let found: Option<Place> = db.one("lineage.first_known", SQL, vec![keys(nodes)]).await?;
    Ok(found.map(|place| place.at()))
}

/// The edges of each node of the level in the order of their keys, which two indexes have: no more is read than is taken, be a
/// node's edges as many as they may. The innermost limit is that of one node, the next one that of the level, the last that of
/// bytes.
macro_rules! steps {
    ($near:literal, $far:literal) => {
        concat!(
            "select n, total, from_namespace, from_name, to_namespace, to_name, job_namespace, job_name from ( \
                select *, count(*) over () as total, sum(octet_length(from_namespace) + octet_length(from_name) \
                    + octet_length(to_namespace) + octet_length(to_name) + octet_length(job_namespace) \
                    + octet_length(job_name)) over (order by n, far, job_key) as bytes \
                from ( \
                    select l.n, e.* from unnest($1::text[]) with ordinality as l(key, n) cross join lateral ( \
                        select ",
            $far,
            " as far, job_key, from_namespace, from_name, to_namespace, to_name, job_namespace, job_name \
                        from public.lineage_edges where ",
            $near,
            " = l.key order by ",
            $far,
            ", job_key limit $2) as e \
                    limit $3) as level) as summed \
            where bytes <= $4 order by n, far, job_key"
        )
    };
}

/// The edges of a level's nodes, and the nodes of which some may be missing.
pub(super) async fn steps(
    db: &Db, names: &mut Names, level: &[u32], is_up: bool,
) -> Result<(Vec<Step<u32, Edge>>, Vec<u32>)> {
    let sql = if is_up { steps!("to_key", "from_key") } else { steps!("from_key", "to_key") };
    // A node with more than are shown is found to have them.
    let (each, bytes) = (BUDGET.edges as i64 + 1, 2 * BUDGET.bytes as i64);
    let values = vec![keys_of(names, level), each.into(), MAX_ROWS.into(), bytes.into()];
    let rows: Vec<StepRow> = db.all("lineage.steps", sql, values).await?;
    let unseen = unseen(level, rows.first().map(|row| row.total), rows.last().map(|row| row.n), rows.len());
    Ok((rows.into_iter().map(|row| step(row, names, is_up)).collect(), unseen))
}

fn step(row: StepRow, names: &mut Names, is_up: bool) -> Step<u32, Edge> {
    let mut bytes = 0;
    let mut number = |namespace: String, name: String| {
        bytes += namespace.len() + name.len();
        names.number(Named { namespace, name })
    };
    let edge = Edge {
        from: number(row.from_namespace, row.from_name),
        to: number(row.to_namespace, row.to_name),
        job: number(row.job_namespace, row.job_name),
    };
    let (at, to) = if is_up { (edge.to, edge.from) } else { (edge.from, edge.to) };
    Step { at, to, bytes, edge }
}

/// The nodes that have an edge in this direction.
pub(super) async fn going_on(db: &Db, names: &Names, nodes: &[u32], is_up: bool) -> Result<Vec<u32>> {
    const UP: &str = "select l.n from unnest($1::text[]) with ordinality as l(key, n) \
        where exists (select from public.lineage_edges e where e.to_key = l.key)";
    const DOWN: &str = "select l.n from unnest($1::text[]) with ordinality as l(key, n) \
        where exists (select from public.lineage_edges e where e.from_key = l.key)";
    let found: Vec<Place> =
        db.all("lineage.going_on", if is_up { UP } else { DOWN }, vec![keys_of(names, nodes)]).await?;
    Ok(found.iter().filter_map(|place| nodes.get(place.at()).copied()).collect())
}

/// The place of the first meaning that is there.
pub(super) async fn first_named(db: &Db, id: &NodeId) -> Result<Option<usize>> {
    const DATASET: &str = "select c.n from unnest($1::text[]) with ordinality as c(key, n) \
        where exists (select from public.lineage_datasets d where d.dataset_key = c.key) order by c.n limit 1";
    const JOB: &str = "select c.n from unnest($1::text[]) with ordinality as c(key, n) \
        where exists (select from public.lineage_jobs j where j.job_key = c.key) order by c.n limit 1";
    let sql = if id.kind == Kind::Dataset { DATASET } else { JOB };
    let found: Option<Place> = db.one("lineage.first_named", sql, vec![keys(&id.meanings)]).await?;
    Ok(found.map(|place| place.at()))
}

#[derive(FromQueryResult)]
struct TouchRow {
    n: i64,
    total: i64,
    job_namespace: String,
    job_name: String,
    dataset_namespace: String,
    dataset_name: String,
    is_output: bool,
}

/// What the level's jobs read and write, and who reads and writes its datasets; within the same limits as [`steps`].
const TOUCHING: &str = "\
    select n, total, job_namespace, job_name, dataset_namespace, dataset_name, is_output from ( \
        select *, count(*) over () as total, sum(octet_length(job_namespace) + octet_length(job_name) \
            + octet_length(dataset_namespace) + octet_length(dataset_name)) over (order by n, job_key, dataset_key, is_output) as bytes \
        from ( \
            select l.n, e.* from unnest($1::text[], $2::boolean[]) with ordinality as l(key, is_job, n) cross join lateral ( \
                (select * from public.lineage_io where l.is_job and job_key = l.key order by dataset_key, is_output limit $3) \
                union all \
                (select * from public.lineage_io where not l.is_job and dataset_key = l.key order by job_key, is_output limit $3) \
            ) as e limit $4) as level) as summed \
    where bytes <= $5 order by n, job_key, dataset_key, is_output";

/// A job or a dataset.
type Thing = (Kind, Named);

/// The steps of a level's jobs and datasets, and those of which some may be missing.
pub(super) async fn touching(db: &Db, level: &[Thing]) -> Result<(Vec<Step<Thing, Touch>>, Vec<Thing>)> {
    let keys: Vec<String> = level.iter().map(|(_, named)| named.key()).collect();
    let are_jobs: Vec<bool> = level.iter().map(|(kind, _)| *kind == Kind::Job).collect();
    let (each, bytes) = (BUDGET.edges as i64 + 1, 2 * BUDGET.bytes as i64);
    let values = vec![keys.into(), are_jobs.into(), each.into(), MAX_ROWS.into(), bytes.into()];
    let rows: Vec<TouchRow> = db.all("lineage.touching", TOUCHING, values).await?;
    let unseen = unseen(level, rows.first().map(|row| row.total), rows.last().map(|row| row.n), rows.len());
    let step = |row: TouchRow| {
        let job = Named { namespace: row.job_namespace, name: row.job_name };
        let dataset = Named { namespace: row.dataset_namespace, name: row.dataset_name };
        let is_of_job = level.get(Place { n: row.n }.at()).is_some_and(|(kind, _)| *kind == Kind::Job);
        let (of_job, of_dataset) = ((Kind::Job, job.clone()), (Kind::Dataset, dataset.clone()));
        let (at, to) = if is_of_job { (of_job, of_dataset) } else { (of_dataset, of_job) };
        let bytes = job.bytes() + dataset.bytes();
        Step { at, to, bytes, edge: Touch { job, dataset, is_output: row.is_output } }
    };
    Ok((rows.into_iter().map(step).collect(), unseen))
}

/// The nodes of a level of which rows may be missing, where `total` rows were found and these came, the last of them of the
/// `last` node.
fn unseen<N: Clone>(level: &[N], total: Option<i64>, last: Option<i64>, came: usize) -> Vec<N> {
    let total = total.unwrap_or_default();
    let is_whole = total < MAX_ROWS && came as i64 == total;
    let first_missing = last.map_or(0, |n| Place { n }.at());
    if is_whole { Vec::new() } else { level[first_missing..].to_vec() }
}

#[derive(FromQueryResult)]
struct FacetRow {
    dataset_key: String,
    facet: Option<serde_json::Value>,
}

/// Most bytes of facets that are read at once.
const MAX_FACETS: i64 = 16 << 20;

/// What datasets say of their columns, by key; of those that say nothing, nothing.
pub(super) async fn column_facets(db: &Db, datasets: &[Named]) -> Result<HashMap<String, serde_json::Value>> {
    const SQL: &str = "\
        with found as materialized (select dataset_key, facets -> 'columnLineage' as facet from public.lineage_datasets \
            where dataset_key = any($1::text[]) and facets ? 'columnLineage') \
        select dataset_key, case when (select sum(octet_length(facet::text)) from found) <= $2 then facet end as facet from found";
    let rows: Vec<FacetRow> = db.all("lineage.columns", SQL, vec![keys(datasets), MAX_FACETS.into()]).await?;
    let read = |row: FacetRow| Ok((row.dataset_key, row.facet.ok_or_else(too_many_columns)?));
    rows.into_iter().map(read).collect()
}

fn too_many_columns() -> Error {
    let message = format!("what is known of columns has more than {} MiB: ask for less depth", MAX_FACETS >> 20);
    Error::new(crate::error::Kind::Conflict, "lineage-too-large", message).hint("depth")
}
