//! Tries every kind of statement on every table, and looks what the feed heard of it.
//!
//! Each trial is a transaction that is rolled back: rows are made, the log of the transaction is emptied, one statement
//! touches all rows of the table, and then the log must cover each tag of the rows as they were and as they are.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use overlay_migration::triggers::{BULK_ROWS, Covered, UNCOVERED, covered};
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{AssertSqlSafe, Postgres, query_scalar, raw_sql};

use super::rows::{Maker, maker};
use crate::harness::TestApp;

/// What is done to a table's rows, of which there are first so many.
struct Trial {
    name: &'static str,
    rows: u32,
    act: Act,
    /// In a session with `session_replication_role = replica`.
    replica_role: bool,
}

enum Act {
    Sql(String),
    Copy,
}

type Tags = BTreeSet<String>;

pub(super) struct Walker {
    session: PoolConnection<Postgres>,
    /// What the feed did not hear of.
    unheard: Vec<String>,
    trials: usize,
}

/// Walks all tables of schema `public`; answers what the feed does not hear of, and how many statements were tried.
pub(super) async fn walk(app: &TestApp) -> (Vec<String>, usize) {
    let session = app.outsider().get_postgres_connection_pool().acquire().await.expect("a session");
    let mut walker = Walker { session, unheard: Vec::new(), trials: 0 };
    let tables = "select relname::text from pg_class where relnamespace = 'public'::regnamespace \
         and relkind in ('r', 'p', 'f') order by 1";
    let tables: Vec<String> = walker.rows(tables).await;
    for table in tables.iter().filter(|table| !UNCOVERED.contains(&table.as_str())) {
        let Some(covered) = covered().find(|covered| covered.table == table) else {
            walker.unheard.push(format!("{table}: neither covered by the feed nor named as not covered"));
            continue;
        };
        let Some(maker) = maker(table) else {
            walker.unheard.push(format!("{table}: nobody knows how to make its rows; say so in covered/rows.rs"));
            continue;
        };
        walker.table(covered, maker).await;
    }
    walker.cascades().await;
    (walker.unheard, walker.trials)
}

impl Walker {
    async fn run(&mut self, sql: &str) {
        raw_sql(AssertSqlSafe(sql)).execute(&mut *self.session).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    async fn rows(&mut self, sql: &str) -> Vec<String> {
        let rows = query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *self.session).await;
        rows.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn table(&mut self, covered: &Covered, maker: &Maker) {
        let Maker { table, columns, key, by, change, .. } = maker;
        let source = |rows: u32| select(maker, rows);
        let insert = |rows: u32| format!("insert into public.{table} as t ({columns}) {}", source(rows));
        let update = format!("update public.{table} t set {change}");
        let retag = format!("update public.{table} t set {}", maker.retag);
        let delete = format!("delete from public.{table}");
        let merge = |then: &str| {
            format!("merge into public.{table} t using ({}) s ({columns}) on t.{by} = s.{by} {then}", source(3))
        };
        let given = columns.split(", ").map(|column| format!("s.{column}")).collect::<Vec<_>>().join(", ");
        let upsert = format!("{} on conflict ({key}) do update set {change}", insert(3));
        let both =
            format!("when matched then update set {change} when not matched then insert ({columns}) values ({given})");
        let bulk = BULK_ROWS + 1;
        let mut trials = vec![
            ("insert", 0, insert(3)),
            ("upsert", 2, upsert),
            ("update", 3, update.clone()),
            ("delete", 3, delete.clone()),
            ("update in a CTE", 3, format!("with moved as ({update} returning 1) select count(*) from moved")),
            ("update in a block", 3, format!("do $$ begin {update}; end $$")),
            ("truncate", 3, format!("truncate public.{table} cascade")),
            ("insert of many", 0, insert(bulk)),
            ("update of many", bulk, update),
            ("delete of many", bulk, delete.clone()),
        ];
        if self.rows("select current_setting('server_version_num')").await[0].parse::<u32>().expect("a number")
            >= 150_000
        {
            trials.push(("merge", 2, merge(&both)));
            trials.push(("merge that deletes", 3, merge("when matched then delete")));
        }
        let ours =
            trials.into_iter().map(|(name, rows, sql)| Trial { name, rows, act: Act::Sql(sql), replica_role: false });
        let theirs = [("insert", 0, insert(3)), ("update", 3, retag), ("delete", 3, delete)]
            .map(|(name, rows, sql)| Trial { name, rows, act: Act::Sql(sql), replica_role: true });
        let copy = Trial { name: "copy", rows: 3, act: Act::Copy, replica_role: false };
        for trial in ours.chain(theirs).chain([copy]) {
            self.attempt(covered, maker, trial).await;
        }
    }

    /// Begins a transaction with `rows` rows in the table, `needed` in those it refers to, and an empty log.
    async fn begin(&mut self, maker: &Maker, rows: u32, needed: u32) {
        self.run("begin").await;
        // What refuses changes would hide whether the feed hears of them.
        let others = format!(
            "select 'alter table public.{table} disable trigger ' || quote_ident(tgname) from pg_trigger \
             where tgrelid = 'public.{table}'::regclass and not tgisinternal and tgname not like 'feed%'",
            table = maker.table
        );
        for disable in self.rows(&others).await {
            self.run(&disable).await;
        }
        for name in maker.needs {
            let other = super::rows::maker(name).unwrap_or_else(|| panic!("{name} has no maker"));
            self.fill(other, needed).await;
        }
        self.fill(maker, rows).await;
        self.run("delete from public.change_log where xid = pg_current_xact_id()").await;
    }

    async fn fill(&mut self, maker: &Maker, rows: u32) {
        if rows > 0 {
            let Maker { table, columns, .. } = maker;
            self.run(&format!("insert into public.{table} ({columns}) {}", select(maker, rows))).await;
        }
    }

    async fn attempt(&mut self, covered: &Covered, maker: &Maker, trial: Trial) {
        let Trial { name, rows, act, replica_role } = trial;
        let many = name.ends_with("of many");
        self.begin(maker, rows, if many { BULK_ROWS + 1 } else { 4 }).await;
        if replica_role {
            self.run("set local session_replication_role = replica").await;
        }
        let mut touched = self.tags(covered, "true").await;
        match act {
            Act::Sql(sql) => self.run(&sql).await,
            Act::Copy => self.copy(maker).await,
        }
        touched.append(&mut self.tags(covered, "true").await);
        let session = if replica_role { " in the replica role" } else { "" };
        self.judge(&format!("{}: {name}{session}", maker.table), &touched, many).await;
    }

    /// Takes the table's rows out, and puts them back by COPY.
    async fn copy(&mut self, maker: &Maker) {
        let Maker { table, columns, .. } = maker;
        let out = format!("copy public.{table} ({columns}) to stdout");
        let out = self.session.copy_out_raw(&out).await.expect("copy out");
        let bytes: Vec<_> = out.try_collect().await.expect("rows");
        self.run(&format!(
            "delete from public.{table}; delete from public.change_log where xid = pg_current_xact_id()"
        ))
        .await;
        let into = format!("copy public.{table} ({columns}) from stdin");
        let mut into = self.session.copy_in_raw(&into).await.expect("copy in");
        into.send(bytes.concat()).await.expect("rows are sent");
        assert_eq!(into.finish().await.expect("rows are taken"), 3, "{table}");
    }

    /// The tags that the rows have.
    async fn tags(&mut self, covered: &Covered, rows: &str) -> Tags {
        let one = |pattern: &&str| match pattern.strip_suffix('}').and_then(|p| p.split_once('{')) {
            Some((text, column)) => {
                format!(
                    "select '{text}' || {column} from public.{} where {rows} and {column} is not null",
                    covered.table
                )
            }
            None => format!("select '{pattern}' from public.{} where {rows}", covered.table),
        };
        let all: Vec<String> = covered.tags.iter().map(one).collect();
        self.rows(&all.join(" union ")).await.into_iter().collect()
    }

    /// Compares what a statement touched with what the log has of its transaction, and ends that.
    async fn judge(&mut self, what: &str, touched: &Tags, many: bool) {
        self.trials += 1;
        assert!(!touched.is_empty(), "{what}: nothing was touched");
        let log = "select distinct tag from public.change_log, unnest(tags) tag where xid = pg_current_xact_id()";
        let heard: Tags = self.rows(log).await.into_iter().collect();
        self.run("rollback").await;
        let covers = |tag: &&String| heard.contains(*tag) || heard.contains("*") || heard.contains(&wildcard(tag));
        let unheard: Vec<&String> = touched.iter().filter(|tag| !covers(tag)).take(3).collect();
        if !unheard.is_empty() {
            self.unheard.push(format!("{what}: the feed has {heard:?} and not {unheard:?}"));
        } else if many && heard.iter().any(|tag| tag != "*" && !tag.ends_with(":*")) {
            self.unheard.push(format!("{what}: {} tags instead of wildcards", heard.len()));
        }
    }

    /// Deletes the parents of every foreign key that then changes the children.
    async fn cascades(&mut self) {
        let keys = "select c.conrelid::regclass || ' ' || a.attname || ' ' || c.confrelid::regclass || ' ' || c.confupdtype::text \
             from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1] \
             where c.contype = 'f' and c.connamespace = 'public'::regnamespace \
               and (c.confdeltype <> all ('{a,r}') or c.confupdtype <> all ('{a,r}')) order by 1";
        let keys = self.rows(keys).await;
        assert!(!keys.is_empty(), "the schema has no cascades any more: nothing is tried here");
        for key in keys {
            let [child, column, parent, update] = key.split(' ').collect::<Vec<_>>()[..] else { panic!("{key}") };
            assert!(["a", "r"].contains(&update), "{key}: try ON UPDATE here too");
            let (Some(covered), Some(maker)) = (covered().find(|c| c.table == child), maker(child)) else {
                continue;
            };
            self.begin(maker, 4, 4).await;
            let blocking = format!(
                "select 'delete from ' || conrelid::regclass from pg_constraint \
                 where contype = 'f' and confrelid = 'public.{parent}'::regclass and confdeltype in ('a', 'r')"
            );
            for clear in self.rows(&blocking).await {
                self.run(&clear).await;
            }
            self.run("delete from public.change_log where xid = pg_current_xact_id()").await;
            let touched = self.tags(covered, &format!("{column} is not null")).await;
            let chosen = format!("select {column} from public.{child} where {column} is not null");
            let named = format!(
                "select a.attname::text from pg_constraint c join pg_attribute a on a.attrelid = c.confrelid and a.attnum = c.confkey[1] \
                 where c.contype = 'f' and c.conrelid = 'public.{child}'::regclass and c.confrelid = 'public.{parent}'::regclass"
            );
            let named = self.rows(&named).await.remove(0);
            self.run(&format!("delete from public.{parent} where {named} in ({chosen})")).await;
            self.judge(&format!("{child}: cascade from {parent}"), &touched, false).await;
        }
    }
}

/// The rows as a query.
fn select(maker: &Maker, rows: u32) -> String {
    format!("select {} from generate_series(1, {rows}) n", maker.values)
}

/// The wildcard that covers a tag.
fn wildcard(tag: &str) -> String {
    let end = tag.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(tag.len());
    format!("{}:*", &tag[..end])
}
