//! Read replicas: they are read, and never make a read stale, whatever becomes of them.

mod pair;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use overlay::coherence::ReplicaStats;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, TransactionTrait};

use self::pair::{Pair, until};
use crate::harness::makers::Random;
use crate::harness::{Setup, TestApp, session, with_database};

fn stats(app: &TestApp) -> ReplicaStats {
    app.app.cache.replicas().stats()
}

/// The asset's name over HTTP.
async fn name(app: &TestApp, id: &str, consistency: &str) -> String {
    let answer = app.get(&format!("/listings/{id}")).header("Overlay-Consistency", consistency).send().await;
    let answer = answer.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let body: serde_json::Value = answer.json().await.expect("JSON");
    body["manifest"]["name"].as_str().expect("a name").to_owned()
}

async fn versions(app: &TestApp) -> Vec<String> {
    app.rows("select version_id from assets order by 1").await
}

async fn rename(app: &TestApp, id: &str, name: &str) {
    app.sql(&format!("update assets set name = '{name}' where version_id = '{id}'")).await;
}

/// Reads until a whole read was answered by the replica: it has caught up. Not for a server whose memory may answer.
async fn used(app: &TestApp, id: &str) {
    until("the replica answers", async || {
        let before = stats(app);
        name(app, id, "bounded").await;
        let after = stats(app);
        after.used > before.used && (after.fallback, after.error) == (before.fallback, before.error)
    })
    .await;
}

/// Waits until the replica is not read, for `reason`; all the while, no read shows `never`.
async fn refused(app: &TestApp, reason: &str, never: &str) {
    let all = versions(app).await;
    until(reason, async || {
        for id in &all {
            assert_ne!(name(app, id, "bounded").await, never);
        }
        matches!(&app.app.cache.replicas().verdicts()[0], Some(Err(said)) if said.contains(reason))
    })
    .await;
    assert_eq!(app.app.cache.replicas().fit(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_costs_speed_and_never_freshness() {
    let pair = Pair::start().await;
    unchanged_things_are_read_there_and_changed_ones_are_not(&pair).await;
    strong_reads_are_never_old(&pair).await;
    many_readers_see_no_old_value(&pair).await;
    another_epoch_is_not_read_before_it_has_arrived(&pair).await;
    a_replica_too_far_behind_is_not_asked(&pair).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_fails_or_goes_another_way_is_not_read() {
    let mut pair = Pair::start().await;
    a_replica_that_hangs_is_left_alone(&pair).await;
    broken_connections_are_not_seen(&pair).await;
    let app = pair.app(0, &[]).await;
    let id = versions(&app).await.remove(0);

    // What a copy of the data folder is that somebody starts: the same cluster, token and timeline, and no longer ours.
    used(&app, &id).await;
    pair.restart_standby(false).await;
    pair.write_on_standby("update assets set name = 'diverged'").await;
    refused(&app, "not in recovery", "diverged").await;

    pair.renew_standby().await;
    used(&app, &id).await;
    assert_eq!(pair.on_standby("select pg_promote()::text").await, ["true"]);
    pair.write_on_standby("update assets set name = 'diverged'").await;
    refused(&app, "not in recovery", "diverged").await;

    // In recovery again, and still another way gone.
    pair.restart_standby(true).await;
    assert_eq!(pair.on_standby("select pg_is_in_recovery()::text").await, ["true"]);
    refused(&app, "another timeline", "diverged").await;

    pair.renew_standby().await;
    used(&app, &id).await;
    a_replica_of_something_else_is_refused(&pair).await;
    pair.stop_standby().await;
    refused(&app, "does not answer", "diverged").await;
    app.stop().await;
    pair.stop().await;
}

async fn unchanged_things_are_read_there_and_changed_ones_are_not(pair: &Pair) {
    let app = pair.app(0, &[]).await;
    let all = versions(&app).await;
    used(&app, &all[0]).await;
    pair.pause().await;
    rename(&app, &all[0], "changed").await;
    let before = stats(&app);
    assert_eq!(name(&app, &all[0], "strong").await, "changed");
    assert!(stats(&app).fallback > before.fallback, "{:?}", stats(&app));
    // Nobody can read this table on the primary now.
    let lock = app.outsider().begin().await.expect("begin");
    lock.execute_unprepared("lock table assets in access exclusive mode").await.expect("lock");
    let before = stats(&app);
    let read = tokio::time::timeout(Duration::from_secs(20), name(&app, &all[1], "strong")).await;
    assert!(!read.expect("an answer without the primary").is_empty());
    let after = stats(&app);
    assert!(after.used > before.used && after.fallback == before.fallback, "{before:?} {after:?}");
    lock.rollback().await.expect("rollback");
    pair.resume().await;
    app.stop().await;
}

async fn strong_reads_are_never_old(pair: &Pair) {
    let mut random = Random::new();
    for memory in [0, 64] {
        let app = pair.app(memory, &[]).await;
        let all = versions(&app).await;
        if memory == 0 {
            used(&app, &all[0]).await;
        }
        let names = app.rows("select name from assets order by version_id").await;
        let mut truth: BTreeMap<&String, String> = all.iter().zip(names).collect();
        let before = stats(&app);
        for round in 0..300 {
            match round % 40 {
                10 => pair.pause().await,
                30 => pair.resume().await,
                _ => {}
            }
            let id = random.pick(&all);
            rename(&app, id, &format!("{memory} {round}")).await;
            truth.insert(id, format!("{memory} {round}"));
            let read = [random.pick(&all), random.pick(&all), id];
            let shown = join_all(read.map(|id| name(&app, id, "strong"))).await;
            assert_eq!(shown, read.map(|id| truth[id].clone()), "round {round}");
            if round % 10 == 0 {
                let listed = app.get("/listings?limit=200").header("Overlay-Consistency", "strong").send().await;
                let listed: serde_json::Value = listed.expect("answer").json().await.expect("JSON");
                let items = listed["items"].as_array().expect("items");
                assert_eq!(items.len(), all.len());
                for item in items {
                    let id = item["versionId"].as_str().expect("an id").to_owned();
                    assert_eq!(item["name"], truth[&id], "round {round}");
                }
            }
        }
        let after = stats(&app);
        assert!(after.fallback > before.fallback, "{before:?} {after:?}");
        assert!(memory > 0 || after.used > before.used + 100, "{before:?} {after:?}");
        pair.resume().await;
        app.stop().await;
    }
}

async fn many_readers_see_no_old_value(pair: &Pair) {
    let app = pair.app(64, &[]).await;
    let id = versions(&app).await.remove(0);
    rename(&app, &id, "0").await;
    let committed = AtomicU64::new(0);
    let writing = async {
        let writer = session(&app.database_url).await;
        for round in 1..=400u64 {
            match round % 100 {
                30 => pair.pause().await,
                70 => pair.resume().await,
                _ => {}
            }
            let sql = format!("update assets set name = '{round}' where version_id = '{id}'");
            writer.execute_unprepared(&sql).await.expect("update");
            committed.store(round, Ordering::SeqCst);
        }
    };
    let reading = |reader: usize| {
        let (app, id, committed) = (&app, &id, &committed);
        async move {
            loop {
                let before = committed.load(Ordering::SeqCst);
                if before >= 400 {
                    return;
                }
                if reader < 2 {
                    // A page brings assets along, which are kept as well.
                    app.json("/listings?limit=200").await;
                }
                let seen: u64 = name(app, id, "strong").await.parse().expect("a number");
                assert!(seen >= before, "reader {reader} saw {seen} after {before} was committed");
            }
        }
    };
    tokio::join!(writing, join_all((0..8).map(reading)));
    app.stop().await;
}

async fn another_epoch_is_not_read_before_it_has_arrived(pair: &Pair) {
    let app = pair.app(0, &[]).await;
    let id = versions(&app).await.remove(0);
    used(&app, &id).await;
    pair.pause().await;
    let epoch = app.app.cache.clock().moment().epoch;
    app.sql("delete from cache_epoch").await;
    app.caught_up().await;
    assert_ne!(app.app.cache.clock().moment().epoch, epoch);
    let before = stats(&app);
    refused(&app, "another epoch", "none").await;
    assert_eq!(stats(&app).used, before.used);
    pair.resume().await;
    used(&app, &id).await;
    app.stop().await;
}

async fn a_replica_too_far_behind_is_not_asked(pair: &Pair) {
    let app = pair.app(0, &[("PG_READ_MAX_LAG_MS", "500")]).await;
    let id = versions(&app).await.remove(0);
    used(&app, &id).await;
    pair.pause().await;
    rename(&app, &id, "beyond").await;
    refused(&app, "PG_READ_MAX_LAG_MS", "none").await;
    let before = stats(&app);
    name(&app, &id, "bounded").await;
    let after = stats(&app);
    assert!(after.skipped > before.skipped && after.fallback == before.fallback, "{before:?} {after:?}");
    let metrics = app.get("/metrics").send().await.expect("answer").text().await.expect("body");
    for line in ["overlay_replica_fit{replica=\"1\"} 0", "overlay_replica_loads_total{outcome=\"skipped\"}"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("overlay_replica_horizon_lag{replica=\"1\"} 0\n"), "{metrics}");
    pair.resume().await;
    used(&app, &id).await;
    app.stop().await;
}

/// A server starts all the same, says why, and reads its primary.
async fn a_replica_of_something_else_is_refused(pair: &Pair) {
    with_database(async |database| {
        for (url, reason) in [
            (pair.standby_url(), "another epoch"),
            (&database.url, "not in recovery"),
            ("postgres://localhost:1/x", "does not answer"),
        ] {
            let app = TestApp::start(&Setup::seeded().with("PG_READ_URLS", url), database).await;
            refused(&app, reason, "none").await;
            assert_eq!(stats(&app).used, 0);
            app.stop().await;
        }
    })
    .await;
}

async fn a_replica_that_hangs_is_left_alone(pair: &Pair) {
    let app = pair.app(0, &[("SQL_TIMEOUT_MS", "2000")]).await;
    let all = versions(&app).await;
    used(&app, &all[0]).await;
    // The lock is replayed, and its end is not.
    let lock = app.outsider().begin().await.expect("begin");
    lock.execute_unprepared("lock table assets in access exclusive mode").await.expect("lock");
    let locked =
        "select mode from pg_locks where relation = 'public.assets'::regclass and mode = 'AccessExclusiveLock'";
    until("the standby has the lock", async || !pair.on_standby(locked).await.is_empty()).await;
    pair.pause().await;
    lock.rollback().await.expect("rollback");
    let (before, begun) = (stats(&app), Instant::now());
    for id in all.iter().cycle().take(60) {
        name(&app, id, "strong").await;
    }
    let (after, took) = (stats(&app), begun.elapsed());
    // One round of waiting every two seconds, and a second each.
    let rounds = took.as_secs() / 2 + 1;
    assert!(after.error > before.error && after.error - before.error <= 2 * rounds, "{before:?} {after:?} {took:?}");
    pair.resume().await;
    used(&app, &all[0]).await;
    app.stop().await;
}

async fn broken_connections_are_not_seen(pair: &Pair) {
    let app = pair.app(0, &[]).await;
    let all = versions(&app).await;
    used(&app, &all[0]).await;
    let before = stats(&app);
    let broken =
        "select pg_terminate_backend(pid)::text from pg_stat_activity where application_name = 'overlay-replica'";
    until("a load met a broken connection", async || {
        pair.on_standby(broken).await;
        for id in all.iter().take(3) {
            name(&app, id, "strong").await;
        }
        stats(&app).error > before.error
    })
    .await;
    used(&app, &all[0]).await;
    app.stop().await;
}
