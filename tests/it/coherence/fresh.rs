//! Writes behind the server's back are seen: at once by strong and token reads, within a poll by others.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use overlay::coherence::{Consistency, Epoch, Token};
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use crate::harness::{Setup, TestApp, refused, session, with};

pub(crate) const ASSET: &str = "query($id: Hex32!) { asset(versionId: $id) { name } }";

/// The asset's name over HTTP with a consistency header.
async fn name(app: &TestApp, id: &str, consistency: Option<&str>) -> String {
    let mut request = app.get(&format!("/listings/{id}"));
    if let Some(wanted) = consistency {
        request = request.header("Overlay-Consistency", wanted);
    }
    let answer = request.send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let body: serde_json::Value = answer.json().await.expect("JSON");
    body["manifest"]["name"].as_str().expect("a name").to_owned()
}

async fn any_version(app: &TestApp) -> String {
    app.rows("select version_id from assets order by 1 limit 1").await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_sees_every_commit_before_it() {
    with(Setup::seeded(), async |app| {
        let id = any_version(app).await;
        for round in 0..200 {
            // Warm, so that a stale answer would be at hand.
            name(app, &id, None).await;
            app.sql(&format!("update assets set name = 'round {round}' where version_id = '{id}'")).await;
            assert_eq!(name(app, &id, Some("strong")).await, format!("round {round}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_read_sees_a_commit_after_one_more_poll() {
    with(Setup::seeded(), async |app| {
        let id = any_version(app).await;
        for round in 0..50 {
            name(app, &id, None).await;
            app.sql(&format!("update assets set name = 'round {round}' where version_id = '{id}'")).await;
            // A poll may be under way that began before the commit; the one after it began later.
            let polls = app.app.feed.polls();
            while app.app.feed.polls() < polls + 2 {
                tokio::task::yield_now().await;
            }
            // The second has begun; it ends before a third begins.
            while app.app.feed.polls() < polls + 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(name(app, &id, None).await, format!("round {round}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_read_sees_the_write_it_names() {
    with(Setup::seeded().with("FEED_POLL_MS", "1000"), async |app| {
        let id = any_version(app).await;
        for round in 0..50 {
            name(app, &id, None).await;
            let transaction = app.outsider().begin().await.expect("begin");
            let sql = format!("update assets set name = 'round {round}' where version_id = '{id}'");
            transaction.execute_unprepared(&sql).await.expect("update");
            let row = transaction
                .query_one_raw(sea_orm::Statement::from_string(
                    sea_orm::DbBackend::Postgres,
                    "select pg_current_xact_id()::text",
                ))
                .await;
            let xid: String = row.expect("query").expect("a row").try_get_by_index(0).expect("text");
            transaction.commit().await.expect("commit");
            let token = Token { epoch: app.app.cache.clock().moment().epoch, xid: xid.parse().expect("a number") };
            assert_eq!(name(app, &id, Some(&token.to_string())).await, format!("round {round}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_epoch_is_read_as_strong() {
    with(Setup::seeded().with("FEED_POLL_MS", "1000"), async |app| {
        let id = any_version(app).await;
        let token = Token { epoch: Epoch::new("another", "server", "token"), xid: 1 }.to_string();
        for round in 0..20 {
            name(app, &id, None).await;
            app.sql(&format!("update assets set name = 'round {round}' where version_id = '{id}'")).await;
            assert_eq!(name(app, &id, Some(&token)).await, format!("round {round}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistency_that_is_none_is_refused_by_name() {
    with(Setup::seeded(), async |app| {
        let answer = app.get("/listings").header("Overlay-Consistency", "sometimes").send().await.expect("answer");
        let (code, hint) = refused(answer, StatusCode::BAD_REQUEST).await;
        assert_eq!((code.as_str(), hint.as_deref()), ("bad-request", Some("Overlay-Consistency")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_strong_reads_share_polls() {
    with(Setup::seeded().with("FEED_POLL_MS", "1000"), async |app| {
        let before = app.app.feed.polls();
        let reads = 500;
        let all = (0..reads).map(|_| app.app.feed.reach(Consistency::Strong));
        for outcome in join_all(all).await {
            outcome.expect("the feed answers");
        }
        let polls = app.app.feed.polls() - before;
        assert!(polls < reads / 10, "{polls} polls for {reads} strong reads");
    })
    .await;
}

/// While a writing transaction is open nothing changed since it began can be vouched for: it is loaded again each time,
/// never served old.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_writer_costs_hits_and_never_freshness() {
    with(Setup::seeded(), async |app| {
        let id = any_version(app).await;
        let another = session(&app.database_url).await;
        let writer = another.begin().await.expect("begin");
        writer.execute_unprepared("update producers set website = 'https://long.example'").await.expect("update");
        for round in 0..20 {
            app.sql(&format!("update assets set name = 'round {round}' where version_id = '{id}'")).await;
            assert_eq!(name(app, &id, Some("strong")).await, format!("round {round}"));
        }
        let query = || app.query("{ producers(first: 50) { nodes { website } } }", json!({}));
        assert!(!query().await.to_string().contains("long.example"), "not committed yet");
        writer.commit().await.expect("commit");
        app.caught_up().await;
        assert!(query().await.to_string().contains("long.example"), "committed");
    })
    .await;
}

/// Absence is cached like anything else, and ends with the row's arrival.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_absent_appears() {
    with(Setup::seeded(), async |app| {
        let id = "ab".repeat(32);
        app.settled().await;
        assert!(app.query(ASSET, json!({"id": id})).await["asset"].is_null());
        let (again, statements) = app.statements(app.query(ASSET, json!({"id": id}))).await;
        assert!(again["asset"].is_null());
        assert_eq!(statements, 0, "absence is cached");
        app.sql(&format!(
            "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) \
             select '{id}', 'd/new', producer_id, 'New', '{id}', '{id}', '{{}}' from producers limit 1"
        ))
        .await;
        app.caught_up().await;
        assert_eq!(app.query(ASSET, json!({"id": id})).await["asset"]["name"], "New");
        app.sql("truncate assets cascade").await;
        app.caught_up().await;
        assert!(app.query(ASSET, json!({"id": id})).await["asset"].is_null(), "TRUNCATE is seen");
    })
    .await;
}

/// History begins anew (as after a crash, a promotion or a restore): nothing of the old epoch is served.
#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_forgets_everything() {
    with(Setup::seeded(), async |app| {
        let id = any_version(app).await;
        name(app, &id, None).await;
        let before = app.app.cache.clock().moment().epoch;
        // What crash recovery does to unlogged tables; the change itself leaves no trace in the feed.
        app.sql("set session_replication_role = replica").await;
        app.sql("alter table assets disable trigger user").await;
        app.sql(&format!("update assets set name = 'restored' where version_id = '{id}'")).await;
        app.sql("alter table assets enable always trigger feed_update").await;
        app.sql("truncate change_log").await;
        app.sql("truncate cache_epoch").await;
        assert_eq!(name(app, &id, Some("strong")).await, "restored");
        assert_ne!(app.app.cache.clock().moment().epoch, before);
    })
    .await;
}

/// A feed that cannot be read vouches for nothing: strong reads say so, others go to PostgreSQL itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_feed_means_no_cache() {
    with(Setup::seeded().with("MAX_STALENESS_MS", "300"), async |app| {
        let id = any_version(app).await;
        name(app, &id, None).await;
        app.sql("alter table cache_epoch rename to cache_epoch_away").await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while app.app.cache.clock().is_trustworthy() {
            assert!(Instant::now() < deadline, "the feed is still believed");
            tokio::task::yield_now().await;
        }
        app.sql(&format!("update assets set name = 'unheard' where version_id = '{id}'")).await;
        assert_eq!(name(app, &id, None).await, "unheard");
        let answer = app.get("/listings").header("Overlay-Consistency", "strong").send().await.expect("answer");
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(refused(answer, StatusCode::SERVICE_UNAVAILABLE).await.0, "unavailable");
        app.sql("alter table cache_epoch_away rename to cache_epoch").await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !app.app.cache.clock().is_trustworthy() {
            assert!(Instant::now() < deadline, "the feed does not come back");
            tokio::task::yield_now().await;
        }
        app.settled().await;
        let (_, statements) = app
            .statements(async {
                name(app, &id, None).await;
                name(app, &id, None).await
            })
            .await;
        assert!(statements <= 2, "the cache is used again: {statements} statements");
    })
    .await;
}
