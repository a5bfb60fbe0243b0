//! More is asked of PostgreSQL than there are connections.

use std::time::Duration;

use futures_util::future::join_all;
use overlay::db::{Config, Db};
use overlay::error::Kind;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use sea_orm::{ConnectionTrait, FromQueryResult, TransactionTrait};
use serde_json::json;

use crate::harness::{Mode, Proxy, Setup, patient, rows_of, session, until_held, with, with_database};

/// The wait for a connection is endless as long as others come free.
async fn connected(url: &str, pool_max: u32, standstill: Duration) -> Db {
    Db::connect(&Config { pool_max, standstill, acquire_timeout: Duration::from_secs(3600), ..patient(url) })
        .await
        .expect("connects")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_does_not_end_is_told_so() {
    with_database(async |database| {
        let db = connected(&database.url, 2, Duration::from_millis(80)).await;
        let held = [db.snapshot().await.expect("one"), db.snapshot().await.expect("two")];
        let asks = (0..50).map(|_| db.is_there("test.one", "select 1", vec![]));
        for refused in join_all(asks).await {
            assert_eq!(refused.map_err(|e| e.kind()), Err(Kind::Unavailable));
        }
        assert_eq!(
            db.transact("test.write", |_| Box::pin(async { Ok(()) })).await.map_err(|e| e.kind()).err(),
            Some(Kind::Unavailable)
        );
        drop(held);
        // Not before what was held has ended.
        while db.is_there("test.one", "select 1", vec![]).await.is_err() {}
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_while_connections_come_free_is_served_however_long_it_takes() {
    with_database(async |database| {
        let db = connected(&database.url, 2, Duration::from_secs(2)).await;
        // Four seconds of work.
        let asks = (0..40).map(|_| db.is_there("test.sleep", "select 1 from pg_sleep(0.2)", vec![]));
        for answer in join_all(asks).await {
            assert!(answer.expect("served"));
        }
        db.close().await;
    })
    .await;
}

/// A round trip is what a miss waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_round_trip() {
    with_database(async |database| {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        let db = connected(&url, 2, Duration::from_secs(60)).await;
        // Its connection is made, and the statement is prepared.
        assert!(db.is_there("test.one", "select 1", vec![]).await.expect("answered"));
        let before = proxy.asked();
        for _ in 0..100 {
            assert!(db.is_there("test.one", "select 1", vec![]).await.expect("answered"));
        }
        // Once a second the pool asks PostgreSQL about the connection, and the statement may have to be prepared on another.
        let asked = proxy.asked() - before;
        assert!((100..150).contains(&asked), "{asked} round trips for 100 reads");
        db.close().await;
    })
    .await;
}

#[derive(FromQueryResult)]
struct Number {
    n: i64,
}

/// Whoever goes away leaves a statement under way: its answer is nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_by_who_went_away_is_not_answered_to_the_next() {
    with_database(async |database| {
        let db = connected(&database.url, 1, Duration::from_secs(60)).await;
        for n in 0..20_i64 {
            let slow = db.all::<Number>("test.slow", "select -1::bigint as n from pg_sleep(0.05)", vec![]);
            assert!(tokio::time::timeout(Duration::from_millis(5), slow).await.is_err());
            let found: Vec<Number> =
                db.all("test.n", "select $1::bigint as n", vec![n.into()]).await.expect("answered");
            assert_eq!(found.iter().map(|row| row.n).collect::<Vec<_>>(), [n]);
            let first: Option<Number> = db
                .one("test.first", "select generate_series($1::bigint, 9999) as n", vec![n.into()])
                .await
                .expect("answered");
            assert_eq!(first.map(|row| row.n), Some(n));
        }
        db.close().await;
    })
    .await;
}

/// Whoever goes away while a transaction begins leaves none behind, in which the next statements would run.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_waited_for_is_rolled_back() {
    with_database(async |database| {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        let db = connected(&url, 1, Duration::from_secs(60)).await;
        let begun = "select count(*)::text from pg_stat_activity \
                     where datname = current_database() and state like 'idle in transaction%'";
        for _ in 0..5 {
            assert!(db.is_there("test.one", "select 1", vec![]).await.expect("answered"));
            proxy.set(Mode::BlackHole);
            let write = db.transact("test.write", |_| Box::pin(async { Ok(()) }));
            assert!(tokio::time::timeout(Duration::from_millis(50), write).await.is_err());
            proxy.set(Mode::Open);
            assert!(db.is_there("test.one", "select 1", vec![]).await.expect("answered"));
            assert_eq!(rows_of(&database.url, begun).await, ["0"]);
        }
        db.close().await;
    })
    .await;
}

/// A statement goes on when its client has gone away, and its connection is in use for as long: who comes is told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_free_before_what_it_was_at_has_ended() {
    with_database(async |database| {
        let db = connected(&database.url, 2, Duration::from_millis(80)).await;
        let outsider = session(&database.url).await;
        outsider.execute_unprepared("begin; lock table assets").await.expect("locked");
        let write = async |db: Db| {
            let sql = "update assets set name = name";
            db.transact("test.write", |tx| Box::pin(async move { tx.execute("test.update", sql, vec![]).await })).await
        };
        let gone: Vec<_> = [db.clone(), db.clone()].map(|db| tokio::spawn(write(db))).into();
        until_held(&database.url, 2).await;
        for gone in gone {
            gone.abort();
            assert!(gone.await.is_err_and(|ended| ended.is_cancelled()));
        }
        let asked = tokio::time::timeout(Duration::from_secs(60), db.is_there("test.one", "select 1", vec![])).await;
        assert_eq!(asked.expect("told at once").map_err(|e| e.kind()), Err(Kind::Unavailable));
        outsider.execute_unprepared("rollback").await.expect("ended");
        while db.is_there("test.one", "select 1", vec![]).await.is_err() {}
        // Neither leaves its transaction behind.
        let left = "select count(*)::text from pg_stat_activity \
                    where datname = current_database() and state like 'idle in transaction%'";
        while rows_of(&database.url, left).await != ["0"] {}
        overlay::db::close(&outsider).await;
        db.close().await;
    })
    .await;
}

/// To make a connection takes longer than a standstill: who waits for one that is in use waits on.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_being_made_are_no_standstill() {
    with_database(async |database| {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        let config = Config { pool_max: 2, standstill: Duration::from_millis(20), ..patient(&url) };
        let db = Db::lazy(&config, "test").await.expect("an address");
        proxy.set(Mode::BlackHole);
        let asks: Vec<_> = (0..20)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { db.is_there("test.one", "select 1", vec![]).await })
            })
            .collect();
        // Many times as long as a standstill.
        tokio::time::sleep(Duration::from_millis(400)).await;
        proxy.set(Mode::Open);
        for ask in asks {
            assert!(ask.await.expect("ends").expect("served"));
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_served_while_every_connection_is_held() {
    let setup = Setup::seeded().with("PG_POOL_MAX", "2").with("PG_POOL_WAIT_MS", "50").with("DEV_IDENTITY", "true");
    with(setup, async |app| {
        app.settled().await;
        let kept = app.json("/listings?limit=2").await;
        let outsider = session(&app.database_url).await;
        let lock = outsider.begin().await.expect("begins");
        lock.execute_unprepared("lock table assets").await.expect("locked");
        let held: Vec<_> = [7, 8].map(|n| tokio::spawn(app.get(&format!("/listings?limit={n}")).send())).into();
        until_held(&app.database_url, 2).await;
        let one = HeaderValue::from_static("1");
        for _ in 0..3 {
            let write = app.http.post(format!("{}/policies", app.url)).json(&json!({"name": "x", "doc": {}}));
            for ask in [app.get("/listings?limit=9"), app.get("/policies"), write] {
                let refused = ask.send().await.expect("answer");
                assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", refused.url());
                assert_eq!(refused.headers()["retry-after"], "1");
            }
            let query = json!({"query": "{ policies { nodes { name } } }"});
            let refused = app.http.post(format!("{}/graphql", app.url)).json(&query).send().await.expect("answer");
            assert_eq!((refused.status(), &refused.headers()["retry-after"]), (StatusCode::OK, &one));
            let told: serde_json::Value = refused.json().await.expect("JSON");
            assert_eq!(told["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{told}");
            assert_eq!(app.json("/listings?limit=2").await, kept);
            let strong =
                app.get("/listings?limit=2").header("overlay-consistency", "strong").send().await.expect("answer");
            assert_eq!(
                (strong.status(), &strong.headers()["x-cache"]),
                (StatusCode::OK, &"hit".parse().expect("a value"))
            );
            let ready = app.json("/health/ready").await;
            assert_eq!((&ready["ok"], &ready["status"]), (&json!(true), &json!("degraded")), "{ready}");
        }
        lock.rollback().await.expect("ends");
        for held in held {
            assert_eq!(held.await.expect("ends").expect("answer").status(), StatusCode::OK);
        }
        assert_eq!(app.json("/health").await["status"], "ok");
        assert_eq!(app.get("/listings?limit=9").send().await.expect("answer").status(), StatusCode::OK);
        overlay::db::close(&outsider).await;
    })
    .await;
}
