//! PostgreSQL goes away: what is known is served and marked, what must be fresh is refused, and its return is noticed.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::ASSET;
use crate::harness::{Mode, Proxy, Setup, TestApp, with_database};

#[tokio::test(flavor = "multi_thread")]
async fn hits_go_on_marked_while_postgresql_is_away() {
    for mode in [Mode::Cut, Mode::BlackHole] {
        with_database(async |database| {
            let seeded = TestApp::start(&Setup::seeded(), database).await;
            let (proxy, url) = Proxy::before_postgres(&database.url).await;
            let setup = Setup::seeded().with("MAX_STALENESS_MS", "500").with("PG_URL", url);
            let app = TestApp::start(&setup, database).await;
            let id = seeded.rows("select min(version_id) from assets").await.remove(0);
            app.settled().await;
            let known = app.query(ASSET, json!({"id": id})).await;
            let listing = app.json("/listings?limit=3").await;
            // Answers that are never kept whole, and errors, are made of kept values all the same.
            let others = [
                (format!("/ready?versionId={id}"), 200),
                (format!("/price?versionId={id}"), 200),
                (format!("/listings/{}", "1".repeat(64)), 404),
            ];
            for (path, status) in &others {
                let answer = app.get(path).send().await.expect("answer");
                assert_eq!((answer.status().as_u16(), answer.headers().get("warning")), (*status, None), "{path}");
            }
            proxy.set(mode);
            while app.app.cache.clock().is_trustworthy() {
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                let begun = Instant::now();
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                assert_eq!(answer.status(), StatusCode::OK);
                assert!(answer.headers()["warning"].to_str().expect("text").starts_with("110 "));
                assert_eq!(answer.headers()["x-cache"], "stale");
                assert_eq!(answer.headers()["cache-control"], "no-cache");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!((&body["data"], &body["extensions"]["stale"]), (&known, &json!(true)));
                assert!(begun.elapsed() < Duration::from_secs(5), "a known answer does not wait for the database");
            }
            let answer = app.get("/listings?limit=3").send().await.expect("answer");
            assert!(answer.headers().contains_key("warning"));
            assert_eq!(answer.json::<Value>().await.expect("JSON"), listing);
            for (path, status) in &others {
                let answer = app.get(path).send().await.expect("answer");
                assert_eq!(answer.status().as_u16(), *status, "{path}");
                assert!(
                    answer.headers().get("warning").is_some_and(|told| told.as_bytes().starts_with(b"110 ")),
                    "{path}"
                );
                assert_eq!(answer.headers()["x-cache"], "stale", "{path}");
            }
            for consistency in ["strong", &format!("{}.1", "0".repeat(32))] {
                let answer = app.post(ASSET, json!({"id": id})).header("overlay-consistency", consistency);
                let answer = answer.send().await.expect("answer");
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{consistency}");
                assert!(answer.headers().contains_key("retry-after"));
            }
            // Meanwhile the world goes on, and the server finds out as soon as it can.
            seeded.sql(&format!("update assets set name = 'meanwhile' where version_id = '{id}'")).await;
            proxy.set(Mode::Open);
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                let is_marked = answer.headers().contains_key("warning");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!(body["data"]["asset"]["name"] == "meanwhile", !is_marked, "{body}");
                if !is_marked {
                    break;
                }
                assert!(Instant::now() < deadline, "the return is not noticed");
            }
            app.stop().await;
            seeded.stop().await;
        })
        .await;
    }
}

/// Requests go another way than the feed, and that way is open.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_feed_alone_is_cut_every_read_is_of_postgresql() {
    for mode in [Mode::Cut, Mode::BlackHole] {
        with_database(async |database| {
            let (proxy, url) = Proxy::before_postgres(&database.url).await;
            let setup = Setup::seeded().with("MAX_STALENESS_MS", "500").with("PG_URL", url);
            let app = TestApp::start(&setup.with("PG_POOLER_URL", &database.url), database).await;
            let id = app.rows("select min(version_id) from assets").await.remove(0);
            app.settled().await;
            app.query(ASSET, json!({"id": id})).await;
            proxy.set(mode);
            while app.app.cache.clock().is_trustworthy() {
                tokio::task::yield_now().await;
            }
            for round in 0..20 {
                let name = format!("round {round}");
                app.sql(&format!("update assets set name = '{name}' where version_id = '{id}'")).await;
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                assert!(!answer.headers().contains_key("warning"), "{round}");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!(body["data"]["asset"]["name"], name);
            }
            proxy.set(Mode::Open);
            app.stop().await;
        })
        .await;
    }
}
