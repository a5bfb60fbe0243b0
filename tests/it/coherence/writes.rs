//! What the server itself writes is in its own answers at once, in other servers' for who has the token, and soon for all.

use std::time::Duration;

use overlay::coherence::Token;
use serde_json::json;

use super::ASSET;
use crate::harness::{Setup, TestApp, with, with_database};

async fn rename(app: &TestApp, id: &str, name: &str) -> Token {
    let sql = format!("update assets set name = '{name}' where version_id = '{id}'");
    let written =
        app.app.write("test.rename", move |tx| Box::pin(async move { tx.execute("test.rename", &sql, vec![]).await }));
    let (rows, token) = written.await.expect("a write");
    assert_eq!(rows, 1);
    token
}

async fn name(app: &TestApp, id: &str, consistency: Option<&str>) -> String {
    let mut request = app.post(ASSET, json!({"id": id}));
    if let Some(consistency) = consistency {
        request = request.header("Overlay-Consistency", consistency);
    }
    let answer: serde_json::Value = request.send().await.expect("answer").json().await.expect("JSON");
    answer["data"]["asset"]["name"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_sees_its_own_writes_without_a_poll() {
    // Two servers that would not hear of anything for seconds.
    let setup = Setup::seeded().with("FEED_POLL_MS", "1000");
    with(setup, async |app| {
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        for round in 0..50 {
            name(app, &id, None).await;
            rename(app, &id, &format!("round {round}")).await;
            assert_eq!(name(app, &id, None).await, format!("round {round}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_a_write_to_another_process() {
    with_database(async |database| {
        let setup = Setup::seeded().with("FEED_POLL_MS", "1000");
        let first = TestApp::start(&setup, database).await;
        let second = TestApp::start(&setup, database).await;
        let id = first.rows("select min(version_id) from assets").await.remove(0);
        for round in 0..50 {
            name(&second, &id, None).await;
            let token = rename(&first, &id, &format!("round {round}")).await;
            assert_eq!(name(&second, &id, Some(&token.to_string())).await, format!("round {round}"));
        }
        first.stop().await;
        second.stop().await;
    })
    .await;
}

/// The other process polls when it is told, long before its own interval is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_wakes_the_others() {
    with_database(async |database| {
        let setup = Setup::seeded().with("FEED_POLL_MS", "1000").with("MAX_STALENESS_MS", "600000");
        let first = TestApp::start(&setup, database).await;
        let second = TestApp::start(&setup, database).await;
        let id = first.rows("select min(version_id) from assets").await.remove(0);
        let listening = "select 'x' from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
        while first.rows(listening).await.len() < 2 {}
        let mut quick = 0;
        for round in 0..10 {
            let before = name(&second, &id, None).await;
            let begun = std::time::Instant::now();
            rename(&first, &id, &format!("round {round}")).await;
            while name(&second, &id, None).await == before {
                assert!(begun.elapsed() < Duration::from_secs(30), "it never hears");
            }
            quick += usize::from(begun.elapsed() < Duration::from_millis(500));
        }
        // Without wake-ups it would take half a second on the average, and hardly ever all ten times less.
        assert!(quick >= 9, "only {quick} of 10 were heard before half an interval");
        first.stop().await;
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_refused_while_the_feed_cannot_be_read() {
    with(Setup::seeded().with("MAX_STALENESS_MS", "300"), async |app| {
        app.sql("alter table cache_epoch rename to cache_epoch_away").await;
        while app.app.cache.clock().is_trustworthy() {
            tokio::task::yield_now().await;
        }
        let written = app.app.write("test.refused", |tx| {
            Box::pin(async move { tx.execute("test.refused", "update assets set name = 'x'", vec![]).await })
        });
        let error = written.await.expect_err("refused");
        assert_eq!(error.kind(), overlay::error::Kind::Unavailable);
        assert!(app.rows("select name from assets where name = 'x'").await.is_empty(), "nothing was changed");
        app.sql("alter table cache_epoch_away rename to cache_epoch").await;
    })
    .await;
}
