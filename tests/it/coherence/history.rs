//! What must hold when history is not what it seems, and when many write and read at once.

use futures_util::future::join_all;
use overlay::boot;
use overlay::coherence::prune;
use overlay::db::{self, Db};
use overlay_migration::{Migrator, MigratorTrait};
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;

use crate::harness::{Setup, session, with, with_database};

/// A dump of a database with larger transaction ids carries marks from a future: they would void every cached value.
#[tokio::test(flavor = "multi_thread")]
async fn marks_from_another_databases_future_are_disowned() {
    for marks in
        ["update cache_epoch set pruned_below = '99999999999'", "insert into change_log values ('99999999999', '{*}')"]
    {
        with(Setup::seeded(), async |app| {
            let before = app.app.cache.clock().moment().epoch;
            app.sql(marks).await;
            app.caught_up().await;
            assert_ne!(app.app.cache.clock().moment().epoch, before, "{marks}: history begins anew");
            app.settled().await;
            app.json("/listings?limit=5").await;
            let (_, statements) = app.statements(app.json("/listings?limit=5")).await;
            assert_eq!(statements, 0, "{marks}: values are kept again");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_together_migrate_in_turn() {
    with_database(async |database| {
        let connect = || async { Db::connect(&db::Config::new(&database.url)).await.expect("connect") };
        let db = connect().await;
        Migrator::reset(db.pool()).await.expect("an empty database");
        let servers = join_all((0..4).map(|_| connect())).await;
        for outcome in join_all(servers.iter().map(boot::migrate)).await {
            outcome.expect("migrates");
        }
        assert_eq!(Migrator::get_pending_migrations(db.pool()).await.expect("status").len(), 0);
        for server in servers.into_iter().chain([db]) {
            server.close().await;
        }
    })
    .await;
}

/// Readers whose flights are overtaken by writes go again, and get an answer that includes what was committed before
/// they asked.
#[tokio::test(flavor = "multi_thread")]
async fn strong_reads_under_writes_are_answered_and_never_old() {
    with(Setup::seeded().with("FEED_POLL_MS", "1"), async |app| {
        let id = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let committed = std::sync::atomic::AtomicU64::new(0);
        app.sql("update assets set name = '0'").await;
        let writing = async {
            let writer = session(&app.database_url).await;
            for round in 1..=400u64 {
                let sql = format!("update assets set name = '{round}' where version_id = '{id}'");
                writer.execute_unprepared(&sql).await.expect("update");
                committed.store(round, std::sync::atomic::Ordering::SeqCst);
            }
        };
        let reading = |reader: usize| {
            let (app, id, committed) = (&app, &id, &committed);
            async move {
                loop {
                    let before = committed.load(std::sync::atomic::Ordering::SeqCst);
                    if before >= 400 {
                        return;
                    }
                    let path = format!("/listings/{id}");
                    let answer = app.get(&path).header("Overlay-Consistency", "strong").send().await.expect("answer");
                    assert_eq!(answer.status(), StatusCode::OK, "reader {reader}");
                    let body: serde_json::Value = answer.json().await.expect("JSON");
                    let seen: u64 = body["manifest"]["name"].as_str().expect("a name").parse().expect("a number");
                    assert!(seen >= before, "reader {reader} saw {seen} after {before} was committed");
                }
            }
        };
        tokio::join!(writing, join_all((0..16).map(reading)));
    })
    .await;
}

/// A price is its version's and its producer's: another producer's row must not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_changes_hands_changes_its_price() {
    with(Setup::seeded(), async |app| {
        app.sql(
            "delete from price_rules; \
             insert into price_rules (rule_id, producer_id, satoshis) select 'r' || producer_id, producer_id, \
                 1000 + row_number() over (order by producer_id) from producers",
        )
        .await;
        let id = app
            .rows("select version_id from assets where producer_id = (select min(producer_id) from assets) limit 1")
            .await
            .remove(0);
        let price = async || {
            // Cached, or the next price would be loaded anew whatever its key.
            app.settled().await;
            app.json(&format!("/listings/{id}")).await["price"]["satoshis"].as_i64().expect("a price")
        };
        assert_eq!(price().await, 1001);
        app.sql(&format!(
            "update assets set producer_id = (select max(producer_id) from producers) where version_id = '{id}'"
        ))
        .await;
        assert_eq!(price().await, 1012);
        app.sql("delete from price_rules").await;
        assert_eq!(price().await, 1234, "the default");
    })
    .await;
}

/// A restore over a running server replaces the tables, token and all, and no trigger sees the data come.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_replaced_under_the_server_begin_another_epoch() {
    with(Setup::seeded(), async |app| {
        let before = app.app.cache.clock().moment().epoch;
        app.json("/listings?limit=5").await;
        app.sql(
            "create table kept as select * from cache_epoch; drop table cache_epoch; \
             create unlogged table cache_epoch (\"only\" boolean primary key default true, \
                 token uuid not null default gen_random_uuid(), pruned_below xid8 not null default '0'); \
             insert into cache_epoch select * from kept; drop table kept; \
             alter table assets disable trigger user; update assets set name = 'restored'; \
             alter table assets enable trigger user",
        )
        .await;
        app.caught_up().await;
        assert_ne!(app.app.cache.clock().moment().epoch, before);
        assert_eq!(app.json("/listings?limit=5").await["items"][0]["name"], "restored");
    })
    .await;
}

/// One row with a time that no client can hold would fail every page it is on: the schema refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn times_beyond_what_clients_can_hold_are_refused_by_the_schema() {
    with(Setup::seeded(), async |app| {
        for time in ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"] {
            for table in ["assets", "policies", "receipts"] {
                let sql = format!("update {table} set updated_at = '{time}'");
                assert!(app.outsider().execute_unprepared(&sql).await.is_err(), "{sql}");
            }
        }
        app.json("/listings").await;
    })
    .await;
}

/// Old changes are forgotten up to the bound, which is recorded; a bound of another history does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn pruning_forgets_what_lies_below_the_bound_and_says_so() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let bound = app.app.cache.clock().moment().as_of;
        let count = format!("select count(*)::text from change_log where xid < '{bound}'");
        let old: u64 = app.rows(&count).await[0].parse().expect("a number");
        assert!(old > 0, "the seed left changes");
        let token = "select tableoid::text || '.' || token::text || '.' || extract(epoch from pg_postmaster_start_time())::text from cache_epoch";
        let token = app.rows(token).await.remove(0);
        let foreign = prune::prune(&app.app.db, bound, "0.another".into()).await.expect("prunes");
        assert_eq!(foreign, 0);
        assert_eq!(prune::prune(&app.app.db, bound, token).await.expect("prunes"), old);
        assert_eq!(app.rows(&count).await, ["0"]);
        assert_eq!(app.rows("select pruned_below::text from cache_epoch").await, [bound.to_string()]);
    })
    .await;
}
