//! The change feed's SQL, generated from the one list of tables and tags below.
//!
//! Every statement that changes rows of a covered table adds **one row** to `public.change_log`: the distinct tags of
//! its old and new rows, under the id of its transaction. The triggers are on the statement and read transition
//! tables, so a bulk COPY costs one row and a foreign key's cascade is seen like any other statement; they are
//! `ENABLE ALWAYS`, so a session in the replica role is seen too. An UPSERT is an INSERT and an UPDATE to
//! PostgreSQL and leaves a row for each of the two that touched something. Nothing here sends NOTIFY: that would
//! serialise all commits.
//!
//! What must stay true: whatever can change what a reader sees of a covered table is in the feed. Hence TRUNCATE logs
//! everything (`*`), and so does installing the triggers, because nobody knows what happened while they were absent.

use std::{collections::BTreeSet, fmt::Write as _};

/// A statement that touches more rows than this logs the wildcard of each kind instead of its rows' tags, so that a
/// bulk load cannot write a log row of unbounded size.
pub const BULK_ROWS: u32 = 1000;

/// A table whose changes are in the feed, and the tags that a changed row has.
#[derive(Debug, Clone, Copy)]
pub struct Covered {
    /// Name in schema `public`.
    pub table: &'static str,
    /// Patterns, each a fixed text or `text{column}`, the column one of type `text`. A row in which the column is
    /// null does not have that tag, but some pattern of each table must always apply. A tag's **kind** is its
    /// leading run of `a-z_`, and `<kind>:*` is the wildcard of the kind.
    pub tags: &'static [&'static str],
}

const fn on(table: &'static str, tags: &'static [&'static str]) -> Covered {
    Covered { table, tags }
}

/// The first list. A table that comes later, or whose tags change, gets a list of its own beside this one, installed by the
/// step that makes it so.
pub(crate) const FIRST: &[Covered] = &[
    on("producers", &["producer:{producer_id}", "producers"]),
    on("assets", &["asset:{version_id}", "assets", "assets@producer:{producer_id}", "assets@dataset:{dataset_id}"]),
    on("asset_parents", &["asset:{child_version_id}", "children:{parent_version_id}"]),
    on("declarations", &["proof:{version_id}"]),
    on("block_headers", &["headers"]),
    on("bundle_audit", &["bundle_audit:{version_id}"]),
    on("policies", &["policy:{policy_id}", "policies"]),
    on("policy_runs", &["policy_runs@policy:{policy_id}", "policy_runs@asset:{version_id}"]),
    on("price_rules", &["price:{version_id}", "price@producer:{producer_id}"]),
    on("receipts", &["receipt:{receipt_id}", "receipts@asset:{version_id}"]),
    on("revenue_events", &["revenue@receipt:{receipt_id}"]),
    on("advisories", &["advisory:{advisory_id}", "advisories"]),
    on(
        "advisory_targets",
        &["advisory:{advisory_id}", "advisories@asset:{version_id}", "advisories@producer:{producer_id}"],
    ),
    on("lineage_event_audit", &["lineage_events", "lineage@{namespace}"]),
    on("lineage_jobs", &["lineage@{namespace}"]),
    on("lineage_runs", &["lineage@{job_namespace}"]),
    on("lineage_datasets", &["lineage@{namespace}"]),
    on("lineage_edges", &["lineage@{from_namespace}", "lineage@{to_namespace}"]),
    on("lineage_dead_letters", &["dead_letters"]),
];

/// The graph's tables, since their nodes have keys.
pub(crate) const LINEAGE: &[Covered] = &[
    on("lineage_jobs", &["lineage@{namespace}", "lineage_job:{job_key}"]),
    on("lineage_runs", &["lineage@{job_namespace}", "lineage_job:{job_key}"]),
    on("lineage_datasets", &["lineage@{namespace}", "lineage_dataset:{dataset_key}"]),
    on(
        "lineage_edges",
        &["lineage@{from_namespace}", "lineage@{to_namespace}", "lineage_edges:{from_key}", "lineage_edges:{to_key}"],
    ),
];

/// What jobs read and write.
pub(crate) const LINEAGE_IO: &[Covered] = &[on("lineage_io", &["lineage_io:{job_key}", "lineage_io:{dataset_key}"])];

/// Events, since each can be told to subscribers.
pub(crate) const LINEAGE_EVENTS: &[Covered] =
    &[on("lineage_event_audit", &["lineage_event:{event_hash}", "lineage_events", "lineage@{namespace}"])];

/// All lists, in order.
const LISTS: [&[Covered]; 4] = [FIRST, LINEAGE, LINEAGE_IO, LINEAGE_EVENTS];

/// The tables whose changes are in the feed, each with its latest tags.
pub fn covered() -> impl Iterator<Item = &'static Covered> {
    let is_replaced =
        |at: usize, own: &Covered| LISTS[at + 1..].iter().any(|list| list.iter().any(|l| l.table == own.table));
    LISTS.iter().enumerate().flat_map(move |(at, list)| list.iter().filter(move |own| !is_replaced(at, own)))
}

/// Tables without triggers, by design: the feed itself, and bookkeeping that no cached value depends on.
pub const UNCOVERED: &[&str] =
    &["change_log", "cache_epoch", "epoch_mark", "import_progress", "request_nonces", "seaql_migrations"];

/// Names of all tables whose changes are in the feed. Together with [`UNCOVERED`] these are all tables there are.
pub fn covered_tables() -> impl Iterator<Item = &'static str> {
    covered().map(|covered| covered.table)
}

/// The statements that put function `public.feed_<table>()` and its four triggers (`feed_insert`, `feed_update`,
/// `feed_delete`, `feed_truncate`) on each table.
pub(crate) fn install(tables: &[Covered]) -> String {
    let mut sql = String::new();
    for covered in tables {
        sql.push_str(&function(covered));
        sql.push_str(&attach(covered.table));
    }
    sql.push_str("insert into public.change_log (tags) values ('{*}');\n");
    sql
}

/// The statements that give tables with triggers the tags of `tables`, and say that nobody knows what changed meanwhile.
pub(crate) fn replace(tables: &[Covered]) -> String {
    let functions: String = tables.iter().map(function).collect();
    functions + "insert into public.change_log (tags) values ('{*}');\n"
}

/// The tags that the tables of `list` had in the first list.
pub(crate) fn before(list: &[Covered]) -> Vec<Covered> {
    FIRST.iter().filter(|first| list.iter().any(|later| later.table == first.table)).copied().collect()
}

/// The statements that take them off again.
pub(crate) fn remove(tables: &[Covered]) -> String {
    tables.iter().fold(String::new(), |mut sql, covered| {
        let _infallible = writeln!(sql, "drop function public.feed_{}() cascade;", covered.table);
        sql
    })
}

/// Runs as its owner, so that a writer needs no right on the log, and therefore with a pinned `search_path`, in which
/// nobody can put objects of their own: `pg_temp` would be searched first if it were not named last.
fn function(covered: &Covered) -> String {
    let table = covered.table;
    let inserted = log(covered, "n", "n");
    let updated = log(covered, "n", "(select * from o union all select * from n)");
    let deleted = log(covered, "o", "o");
    format!(
        "create or replace function public.feed_{table}() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $feed$
begin
    if tg_op = 'INSERT' then{inserted}
    elsif tg_op = 'UPDATE' then{updated}
    elsif tg_op = 'DELETE' then{deleted}
    else
        insert into public.change_log (tags) values ('{{*}}');
    end if;
    return null;
end
$feed$;
"
    )
}

/// Logs the tags of `rows`, or wildcards if the statement touched too many (`touched`: counted no further than
/// needed), or nothing if it touched none.
fn log(covered: &Covered, touched: &str, rows: &str) -> String {
    let wildcards = wildcards(covered.tags).map(|tag| format!("'{tag}'")).collect::<Vec<_>>().join(", ");
    let tags = covered.tags.iter().map(|pattern| format!("({})", expression(pattern))).collect::<Vec<_>>().join(", ");
    format!(
        "
        insert into public.change_log (tags)
        select l.tags from (select case
            when exists (select from {touched} offset {BULK_ROWS}) then array[{wildcards}]
            else (select array_agg(distinct t.tag)
                  from {rows} r
                  cross join lateral (values {tags}) t (tag)
                  where t.tag is not null)
            end) l (tags)
        where l.tags is not null;"
    )
}

/// The statements that put the four triggers of a table on it; its function is there.
pub(crate) fn attach(table: &str) -> String {
    let events = [
        ("insert", "referencing new table as n "),
        ("update", "referencing old table as o new table as n "),
        ("delete", "referencing old table as o "),
        ("truncate", ""),
    ];
    events.into_iter().fold(String::new(), |mut sql, (event, transition)| {
        let _infallible = writeln!(
            sql,
            "create trigger feed_{event} after {event} on public.{table} {transition}\
             for each statement execute function public.feed_{table}();
alter table public.{table} enable always trigger feed_{event};"
        );
        sql
    })
}

/// The wildcards that cover every tag of these patterns.
pub fn wildcards(patterns: &[&'static str]) -> impl Iterator<Item = String> {
    let kinds: BTreeSet<_> = patterns.iter().map(|pattern| kind(pattern)).collect();
    kinds.into_iter().map(|kind| format!("{kind}:*"))
}

/// The kind of a tag: its leading run of `a-z_`.
fn kind(tag: &str) -> &str {
    let end = tag.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(tag.len());
    &tag[..end]
}

/// A pattern as an SQL expression over row `r`.
fn expression(pattern: &str) -> String {
    match pattern.strip_suffix('}').and_then(|pattern| pattern.split_once('{')) {
        Some((prefix, column)) => format!("'{prefix}' || r.{column}"),
        None => format!("'{pattern}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_ends_at_the_first_other_character() {
        for (tag, expected) in
            [("asset:{x}", "asset"), ("assets@producer:{x}", "assets"), ("lineage_events", "lineage_events")]
        {
            assert_eq!(kind(tag), expected);
        }
    }

    #[test]
    fn a_wildcard_stands_for_each_kind_once() {
        assert_eq!(
            wildcards(&["assets", "asset:{a}", "assets@dataset:{b}"]).collect::<Vec<_>>(),
            ["asset:*", "assets:*"]
        );
    }

    #[test]
    fn patterns_become_expressions() {
        assert_eq!(expression("price@producer:{producer_id}"), "'price@producer:' || r.producer_id");
        assert_eq!(expression("headers"), "'headers'");
    }

    #[test]
    fn no_table_is_listed_twice() {
        let mut names: Vec<_> = covered_tables().chain(UNCOVERED.iter().copied()).collect();
        let listed = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), listed);
    }
}
