//! The SQL that reads lineage.

use sea_orm::FromQueryResult;

use super::batch::Edge;
use super::event::Named;
use super::graph::BUDGET;
use super::walk::Step;
use crate::db::Db;
use crate::error::Result;

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

fn keys(nodes: &[Named]) -> sea_orm::Value {
    nodes.iter().map(Named::key).collect::<Vec<String>>().into()
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
pub(super) async fn steps(db: &Db, level: &[Named], is_up: bool) -> Result<(Vec<Step<Named, Edge>>, Vec<Named>)> {
    let sql = if is_up { steps!("to_key", "from_key") } else { steps!("from_key", "to_key") };
    // A node with more than are shown is found to have them.
    let (each, bytes) = (BUDGET.edges as i64 + 1, 2 * BUDGET.bytes as i64);
    let values = vec![keys(level), each.into(), MAX_ROWS.into(), bytes.into()];
    let rows: Vec<StepRow> = db.all("lineage.steps", sql, values).await?;
    let total = rows.first().map_or(0, |row| row.total);
    let is_whole = total < MAX_ROWS && rows.len() as i64 == total;
    let last = rows.last().map_or(0, |row| Place { n: row.n }.at());
    let unseen = if is_whole { Vec::new() } else { level[last..].to_vec() };
    Ok((rows.into_iter().map(|row| step(row, is_up)).collect(), unseen))
}

fn step(row: StepRow, is_up: bool) -> Step<Named, Edge> {
    let named = |namespace, name| Named { namespace, name };
    let edge = Edge {
        from: named(row.from_namespace, row.from_name),
        to: named(row.to_namespace, row.to_name),
        job: named(row.job_namespace, row.job_name),
    };
    let (at, to) = if is_up { (&edge.to, &edge.from) } else { (&edge.from, &edge.to) };
    let bytes = edge.from.bytes() + edge.to.bytes() + edge.job.bytes();
    Step { at: at.clone(), to: to.clone(), bytes, edge }
}

/// The nodes that have an edge in this direction.
pub(super) async fn going_on(db: &Db, nodes: &[Named], is_up: bool) -> Result<Vec<Named>> {
    const UP: &str = "select l.n from unnest($1::text[]) with ordinality as l(key, n) \
        where exists (select from public.lineage_edges e where e.to_key = l.key)";
    const DOWN: &str = "select l.n from unnest($1::text[]) with ordinality as l(key, n) \
        where exists (select from public.lineage_edges e where e.from_key = l.key)";
    let found: Vec<Place> = db.all("lineage.going_on", if is_up { UP } else { DOWN }, vec![keys(nodes)]).await?;
    Ok(found.iter().filter_map(|place| nodes.get(place.at()).cloned()).collect())
}
