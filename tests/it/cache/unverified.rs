//! PostgreSQL is away, and what finished answers were made of is gone: they are served as they are, marked.

use std::time::{Duration, Instant};

use overlay::devstack::RedisServer;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::redis::{appearing, session};
use crate::coherence::ASSET;
use crate::harness::{Mode, Proxy, Setup, TestApp, private_redis, with_database};

const ANSWERS: &str = "ol:cache:response:*";

/// Ends its connections to PostgreSQL, and waits until nothing can be verified.
async fn part(app: &TestApp, proxy: &Proxy) {
    proxy.set(Mode::Cut);
    let begun = Instant::now();
    while app.app.cache.clock().is_trustworthy() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the feed goes on");
        tokio::task::yield_now().await;
    }
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("answer")
}

/// The same read in three forms.
fn asks(app: &TestApp, id: &str) -> [RequestBuilder; 3] {
    [
        app.post(ASSET, json!({"id": id})),
        app.post(ASSET, json!({"id": id})).header("accept-encoding", "gzip"),
        app.get(&format!("/listings/{id}")),
    ]
}

/// What finished answers were made of is deleted.
async fn keep_answers_alone(server: &RedisServer) {
    let mut session = session(server.url()).await;
    let all: Vec<String> = redis::cmd("KEYS").arg("cache:*").query_async(&mut session).await.expect("keys");
    for key in all {
        let () = redis::cmd("DEL").arg(key).query_async(&mut session).await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_answer_is_served_marked_where_what_it_was_made_of_is_gone() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url()).with("MAX_STALENESS_MS", "1500");
        let first = TestApp::start(&setup, database).await;
        first.settled().await;
        let ids = first.rows("select version_id from assets order by name, version_id limit 2").await;
        let [id, changed] = &ids[..] else { panic!("two assets") };
        let mut made = Vec::new();
        for ask in asks(&first, id).into_iter().chain(asks(&first, changed)) {
            made.push(sent(ask).await);
        }
        assert_eq!(made[1].headers()["content-encoding"], "gzip");
        let etags: Vec<_> = made.iter().map(|answer| answer.headers()["etag"].clone()).collect();
        let mut session = session(server.url()).await;
        let begun = Instant::now();
        while appearing(&mut session, ANSWERS).await.len() < 6 {
            assert!(begun.elapsed() < Duration::from_secs(30), "not all answers are written");
        }
        keep_answers_alone(&server).await;
        // One process has the answers in memory and the other in Redis; neither ever had what they were made of.
        let (remembering, first_proxy) = TestApp::behind_proxy(&setup, database).await;
        let (forgetful, second_proxy) = TestApp::behind_proxy(&setup.with("CACHE_MEMORY_MB", "0"), database).await;
        for app in [&remembering, &forgetful] {
            for ask in asks(app, id).into_iter().chain(asks(app, changed)) {
                assert_eq!(sent(ask).await.headers()["x-cache"], "hit");
            }
        }
        first.sql(&format!("update assets set name = 'changed' where version_id = '{changed}'")).await;
        for (app, proxy) in [(&remembering, &first_proxy), (&forgetful, &second_proxy)] {
            app.caught_up().await;
            part(app, proxy).await;
        }
        let plain = served(&forgetful, id, &etags).await;
        refused(&forgetful, changed).await;
        let () = redis::cmd("FLUSHALL").query_async(&mut session).await.expect("empty");
        assert_eq!(served(&remembering, id, &etags).await, plain);
        refused(&remembering, changed).await;
        let fresh = sent(asks(&remembering, id)[2].try_clone().expect("a GET").header("overlay-consistency", "strong"));
        assert_eq!(fresh.await.status(), StatusCode::SERVICE_UNAVAILABLE);
        for app in [first, remembering, forgetful] {
            app.stop().await;
        }
    })
    .await;
    server.stop().await.expect("stops");
}

/// The three answers of `app` are there and marked, and each knows of its old entity tag what is so. What they say.
async fn served(app: &TestApp, id: &str, etags: &[reqwest::header::HeaderValue]) -> Vec<Value> {
    let mut bodies = Vec::new();
    for (place, ask) in asks(app, id).into_iter().enumerate() {
        let again = ask.try_clone().expect("whole").header("if-none-match", etags[place].clone());
        let followed = ask.try_clone().expect("whole");
        let answer = sent(ask).await;
        let headers = answer.headers().clone();
        assert_eq!(answer.status(), StatusCode::OK, "{place}");
        for (name, value) in [("x-cache", "stale"), ("cache-control", "no-cache"), ("cache-status", "overlay; hit")] {
            assert_eq!(headers[name], value, "{place}");
        }
        assert!(headers["warning"].to_str().expect("text").starts_with("110 "), "{place}");
        assert!(["age", "x-request-id", "overlay-consistency"].iter().all(|name| headers.contains_key(*name)));
        let body: Value = serde_json::from_slice(&answer.bytes().await.expect("bytes")).expect("JSON, not packed");
        // The body of GraphQL says so itself, and is another than before.
        let is_graphql = place < 2;
        assert_eq!(body["extensions"]["stale"] == true, is_graphql, "{body}");
        assert_eq!(headers["etag"] != etags[place], is_graphql);
        let expected = if is_graphql { StatusCode::OK } else { StatusCode::NOT_MODIFIED };
        assert_eq!(sent(again).await.status(), expected, "{place}");
        // Who sends back the token that every answer has asks for no more than this one had.
        let followed = sent(followed.header("overlay-consistency", headers["overlay-consistency"].clone())).await;
        assert_eq!(
            (followed.status(), &followed.headers()["x-cache"]),
            (StatusCode::OK, &headers["x-cache"]),
            "{place}"
        );
        bodies.push(body);
    }
    bodies
}

/// What was false before the feed broke off is not served, and nothing can be made.
async fn refused(app: &TestApp, id: &str) {
    let [graphql, _packed, rest] = asks(app, id);
    assert_eq!(sent(rest).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let answer = sent(graphql).await;
    assert!(answer.headers().contains_key("retry-after"));
    assert!(answer.text().await.expect("text").contains("UNAVAILABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_for_ever_while_postgresql_is_away() {
    with_database(async |database| {
        let ttls = r#"{"assets": 4000, "producers": 4000, "staleWhileRevalidate": 4000}"#;
        let setup = Setup::seeded().with("CACHE_TTLS_JSON", ttls).with("MAX_STALENESS_MS", "1500");
        let (app, proxy) = TestApp::behind_proxy(&setup, database).await;
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        let path = format!("/listings/{id}");
        assert_eq!(sent(app.get(&path)).await.status(), StatusCode::OK);
        part(&app, &proxy).await;
        assert!(sent(app.get(&path)).await.headers().contains_key("warning"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while sent(app.get(&path)).await.status() != StatusCode::SERVICE_UNAVAILABLE {
            assert!(Instant::now() < deadline, "an answer is served without end");
        }
        app.stop().await;
    })
    .await;
}
