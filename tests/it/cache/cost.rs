//! How many statements reads take.

use futures_util::future::join_all;
use serde_json::json;

use crate::coherence::ASSET;
use crate::harness::{Setup, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_key_that_many_want_at_once_is_loaded_once() {
    with(Setup::seeded(), async |app| {
        let id = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        app.settled().await;
        // Two parts of the answer, asset and price: one statement each.
        let path = format!("/listings/{id}");
        let (_, statements) = app.statements(join_all((0..300).map(|_| app.json(&path)))).await;
        assert!(statements <= 2, "{statements} statements for 300 requests");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_does_not_take_the_others_load_with_it() {
    with(Setup::seeded(), async |app| {
        let ids = app.rows("select version_id from assets").await;
        for id in &ids {
            let ask = || app.query(ASSET, json!({"id": id}));
            let impatient = async {
                // Polled once, so that it may have begun the load, then dropped.
                let mut ask = Box::pin(ask());
                futures_util::future::poll_fn(|cx| {
                    let _pending = ask.as_mut().poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
            };
            let ((), patient) = tokio::join!(impatient, ask());
            assert!(patient["asset"]["name"].is_string());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_and_its_assets_are_one_statement_cold_and_none_warm() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let (_, cold) = app.statements(app.json("/listings?limit=50")).await;
        assert_eq!(cold, 1);
        let (_, warm) = app.statements(app.json("/listings?limit=50")).await;
        assert_eq!(warm, 0);
    })
    .await;
}

/// Memory that is too small for anything only costs statements.
#[tokio::test(flavor = "multi_thread")]
async fn without_memory_reads_are_right() {
    with(Setup::seeded().with("CACHE_MEMORY_MB", "0"), async |app| {
        let first = app.json("/listings?limit=5").await;
        let (second, statements) = app.statements(app.json("/listings?limit=5")).await;
        assert_eq!(first["items"], second["items"]);
        assert!(statements > 0);
    })
    .await;
}

/// A TTL of zero serves every value as due for refresh within its grace, and only there.
#[tokio::test(flavor = "multi_thread")]
async fn with_no_time_to_live_and_no_grace_nothing_is_served_twice() {
    let setup = Setup::seeded()
        .with("CACHE_TTLS_JSON", r#"{"assets":0,"listings":0,"prices":0,"negative":0}"#)
        .with("SWR_ENABLE", "false");
    with(setup, async |app| {
        app.json("/listings?limit=5").await;
        let (_, statements) = app.statements(app.json("/listings?limit=5")).await;
        assert!(statements > 0, "an expired entry was served");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_past_its_ttl_is_served_while_it_is_refreshed() {
    with(Setup::seeded().with("CACHE_TTLS_JSON", r#"{"assets":0,"listings":0}"#), async |app| {
        app.settled().await;
        app.json("/listings?limit=5").await;
        let answer = app.get("/listings?limit=5").send().await.expect("answer");
        assert_eq!(answer.headers()["x-cache"], "stale");
        // Served at once; the refresh goes to the database all the same.
        let before = app.app.db.statements();
        let refreshed = async {
            while app.app.db.statements() == before {
                app.json("/listings?limit=5").await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), refreshed).await.expect("a refresh happens");
    })
    .await;
}
