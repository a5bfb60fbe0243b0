//! Whole answers are kept: served again without a statement, never after something they show has changed, and only to
//! whom they belong.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, private_redis, with, with_database};

const NESTED: &str = "{ assets(first: 5) { nodes { name producer { name } parents { name } } } }";

fn status(answer: &Response) -> String {
    answer.headers()["cache-status"].to_str().expect("text").to_owned()
}

/// Only a kept answer has an age.
fn was_kept(answer: &Response) -> bool {
    answer.headers().contains_key("age")
}

async fn post(app: &TestApp, query: &str) -> Response {
    app.post(query, json!({})).send().await.expect("answer")
}

fn get_path(query: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    format!("/graphql?{query}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_answer_is_the_first_ones_bytes() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let listing = "/listings?limit=5";
        let detail = format!("/listings/{}", app.version("Wind power features").await);
        let graphql = get_path(NESTED);
        for path in [listing, &detail, &graphql] {
            let first = app.get(path).send().await.expect("answer");
            assert!(!was_kept(&first), "{path}");
            let (second, statements) = app.statements(app.get(path).send()).await;
            let second = second.expect("answer");
            assert!(was_kept(&second) && status(&second).starts_with("overlay; hit; ttl="), "{path}");
            assert_eq!(statements, 0, "{path}");
            for name in
                ["etag", "content-type", "cache-control", "vary", "surrogate-key", "access-control-allow-origin"]
            {
                assert_eq!(first.headers().get(name), second.headers().get(name), "{path} {name}");
            }
            assert_ne!(first.headers()["x-request-id"], second.headers()["x-request-id"], "{path}");
            let etag = first.headers()["etag"].to_str().expect("text").to_owned();
            let bytes = first.bytes().await.expect("body");
            assert_eq!(bytes, second.bytes().await.expect("body"), "{path}");
            let known = app.get(path).header("if-none-match", &etag).send().await.expect("answer");
            assert!(was_kept(&known));
            assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
            assert!(!known.headers().contains_key("content-type"));
            let head = app.http.request(Method::HEAD, format!("{}{path}", app.url)).send().await.expect("answer");
            assert!(was_kept(&head), "HEAD is answered from what GET left: {path}");
            assert_eq!(head.headers()["content-length"], bytes.len().to_string());
        }
        let first = post(app, NESTED).await;
        assert!(!was_kept(&first), "POST and GET are two requests");
        let etag = first.headers()["etag"].to_str().expect("text").to_owned();
        let second = post(app, NESTED).await;
        assert!(was_kept(&second));
        assert_eq!(first.bytes().await.expect("body"), second.bytes().await.expect("body"));
        let known = app.post(NESTED, json!({})).header("if-none-match", etag).send().await.expect("answer");
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    })
    .await;
}

/// For each table that the answer shows, a change of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_anything_shown_makes_the_answer_anew() {
    with(Setup::seeded(), async |app| {
        let query = "{ assets(first: 3) { nodes { name unitPrice producer { name } parents { name } \
             children(first: 3) { nodes { name } } receipts(first: 3) { nodes { status } } } totalCount } \
             policies(first: 2) { nodes { name } } }";
        let schema = app.query("{ __type(name: \"Asset\") { fields { name } } }", json!({})).await;
        let has = |field: &str| schema["__type"]["fields"].as_array().expect("fields").iter().any(|f| f["name"] == field);
        let query = [("receipts(first: 3) { nodes { status } }", "receipts"),
            ("children(first: 3) { nodes { name } }", "children")]
            .iter()
            .fold(query.to_owned(), |query, (part, field)| if has(field) { query } else { query.replace(part, "") });
        for change in [
            "update assets set name = name || '!'",
            "update producers set display_name = display_name || '!'",
            "update assets set name = 'one' where version_id = (select version_id from assets order by updated_at desc limit 1)",
            "delete from asset_parents",
            "update policies set name = name || '!'",
            "delete from assets where version_id in (select version_id from assets a where not exists \
                (select from receipts r where r.version_id = a.version_id) order by updated_at desc limit 1)",
        ] {
            app.settled().await;
            let before: Value = post(app, &query).await.json().await.expect("JSON");
            assert!(before.get("errors").is_none(), "{before}");
            let kept = post(app, &query).await;
            assert!(was_kept(&kept), "{change}");
            assert!(app.sql(change).await > 0, "{change}");
            app.caught_up().await;
            let after = post(app, &query).await;
            assert!(!was_kept(&after), "{change}");
            assert_ne!(after.json::<Value>().await.expect("JSON"), before, "{change}");
        }
    })
    .await;
}

/// A part that changed is loaded anew among parts that did not: the whole is kept again at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_one_changed_part_is_kept_again() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let id = app.rows("select child_version_id from asset_parents order by 1 limit 1").await.remove(0);
        let query = format!("{{ asset(versionId: \"{id}\") {{ name parents {{ name producer {{ name }} }} }} }}");
        post(app, &query).await;
        app.sql(&format!(
            "update assets set name = 'a changed parent' where version_id = \
             (select parent_version_id from asset_parents where child_version_id = '{id}' limit 1)"
        ))
        .await;
        app.settled().await;
        assert!(!was_kept(&post(app, &query).await));
        let again = post(app, &query).await;
        assert!(was_kept(&again));
        assert!(again.text().await.expect("body").contains("a changed parent"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_in_the_request_is_another_answer() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let path = get_path("{ assets(first: 2) { nodes { name } } }");
        let send = async |headers: &[(&str, &str)]| {
            let request = headers.iter().fold(app.get(&path), |request, (name, value)| request.header(*name, *value));
            let answer = request.send().await.expect("answer");
            let header = |name: &str| {
                answer.headers().get(name).map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default()
            };
            (header("content-type"), header("content-encoding"))
        };
        for _ in 0..2 {
            assert_eq!(send(&[]).await, ("application/json; charset=utf-8".into(), String::new()));
            let new = "application/graphql-response+json";
            assert_eq!(send(&[("accept", new)]).await, (format!("{new}; charset=utf-8"), String::new()));
        }
        let gzip = send(&[("accept-encoding", "gzip")]).await.1;
        assert_eq!(send(&[("accept-encoding", "gzip")]).await.1, gzip);
        assert_eq!(send(&[("accept-encoding", "identity")]).await.1, "");
        // One query, other variables.
        let query = "query($n: Int) { assets(first: $n) { nodes { name } } }";
        for n in [1, 2, 1, 2] {
            let data = app.query(query, json!({"n": n})).await;
            assert_eq!(data["assets"]["nodes"].as_array().expect("nodes").len(), n);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_named_callers_are_never_kept() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        for path in ["/listings?limit=0", "/listings/xyz", &get_path("{ nonsense }"), &get_path("{"), "/health"] {
            for _ in 0..2 {
                let answer = app.get(path).send().await.expect("answer");
                assert!(!was_kept(&answer), "{path}");
                assert!(!answer.headers()["cache-control"].to_str().expect("text").contains("public"), "{path}");
            }
        }
        for (name, value) in [("authorization", "Bearer x"), ("cookie", "a=b"), ("x-identity-key", "02")] {
            for _ in 0..2 {
                let answer = app.get("/listings?limit=3").header(name, value).send().await.expect("answer");
                assert!(!was_kept(&answer), "{name}");
                assert_eq!(answer.status(), StatusCode::OK);
            }
        }
    })
    .await;
}

/// A body beyond the limit is not read to find out whether its answer is kept, whatever the method.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_not_read_before_the_limit_is_checked() {
    with(Setup::seeded().with("BODY_SIZE_LIMIT", "1kb"), async |app| {
        app.settled().await;
        for (size, is_kept) in [(1_000, true), (2_000, false)] {
            let send = async || app.get("/listings?limit=3").body("x".repeat(size)).send().await.expect("answer");
            assert_eq!(send().await.status(), StatusCode::OK, "{size}");
            assert_eq!(was_kept(&send().await), is_kept, "{size}");
        }
    })
    .await;
}

/// Who asked for freshness gets it from kept answers too, and its answer is not stored on the way.
#[tokio::test(flavor = "multi_thread")]
async fn freshness_is_asked_for_in_the_body_too() {
    with(Setup::seeded().with("FEED_POLL_MS", "1000"), async |app| {
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        let body = json!({"query": format!("{{ asset(versionId: \"{id}\") {{ name }} }}"), "extensions": {"consistency": "strong"}});
        let send = async || {
            let answer = app.http.post(format!("{}/graphql", app.url)).json(&body).send().await.expect("answer");
            assert_eq!(answer.headers()["cache-control"], "no-cache");
            (was_kept(&answer), answer.json::<Value>().await.expect("JSON")["data"]["asset"]["name"].clone())
        };
        app.settled().await;
        let mut kept = 0;
        for round in 0..50 {
            app.sql(&format!("update assets set name = 'round {round}' where version_id = '{id}'")).await;
            assert_eq!(send().await.1, format!("round {round}"));
            let (was_kept, name) = send().await;
            kept += usize::from(was_kept);
            assert_eq!(name, format!("round {round}"));
        }
        if kept == 0 {
            // A transaction of another test, which nothing can be kept past, went on all the time.
            app.settled().await;
            send().await;
            assert!(send().await.0, "not one was served from what was kept");
        }
        for wrong in [json!(1), json!("soon"), json!(null)] {
            let body = json!({"query": "{ __typename }", "extensions": {"consistency": wrong}});
            let answer = app.http.post(format!("{}/graphql", app.url)).json(&body).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
        }
    })
    .await;
}

/// A read's token names what it included: sent elsewhere, it is at least as fresh there.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_tells_what_it_includes() {
    with(Setup::seeded(), async |app| {
        for _ in 0..2 {
            let answer = app.get("/listings?limit=3").send().await.expect("answer");
            let token = answer.headers()["overlay-consistency"].to_str().expect("text").to_owned();
            let again = app.get("/listings?limit=3").header("overlay-consistency", token).send().await.expect("answer");
            assert_eq!(again.status(), StatusCode::OK);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_finds_the_whole_answer_in_redis() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url());
        let first = TestApp::start(&setup, database).await;
        let second = TestApp::start(&setup, database).await;
        first.settled().await;
        let made = post(&first, NESTED).await.text().await.expect("body");
        let mut redis = super::redis::session(server.url()).await;
        let key = super::redis::appearing(&mut redis, "ol:cache:response:*").await.remove(0);
        let text: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.expect("bytes");
        assert!(String::from_utf8_lossy(&text).contains("\"asOf\":"), "a person can read it");
        second.settled().await;
        let (found, statements) = second.statements(post(&second, NESTED)).await;
        assert!(was_kept(&found), "{}", status(&found));
        assert_eq!(statements, 0);
        assert_eq!(found.text().await.expect("body"), made);
        // Garbage, cut, and another request's answer are misses.
        for poison in [&text[..text.len() / 2], b"", b"\xff", b"{}\n{}\n{}"] {
            let third = TestApp::start(&setup, database).await;
            third.settled().await;
            let () = redis::cmd("SET").arg(&key).arg(poison).query_async(&mut redis).await.expect("set");
            assert_eq!(post(&third, NESTED).await.text().await.expect("body"), made);
            third.stop().await;
        }
        first.stop().await;
        second.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}

/// The auditor finds what the clock was never told: here because the triggers are off.
#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_tells_a_wrong_answer_from_a_changed_one() {
    with(Setup::seeded().with("AUDIT_EVERY", "1"), async |app| {
        app.settled().await;
        let audits = async |outcome: &str| -> f64 {
            let metrics = app.get("/metrics").send().await.expect("answer").text().await.expect("body");
            let line = metrics.lines().find(|l| l.starts_with(outcome)).unwrap_or("x 0");
            line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number")
        };
        let wrong = "overlay_audit_wrong_total";
        let same = "overlay_audit_total{outcome=\"same\"}";
        let until = async |metric: &str, more_than: f64| {
            while audits(metric).await <= more_than {
                app.json("/listings?limit=5").await;
            }
        };
        let before = audits(same).await;
        until(same, before).await;
        let was_wrong = audits(wrong).await;
        app.sql("update assets set name = 'heard'").await;
        let before = audits(same).await;
        until(same, before + 2.0).await;
        assert_eq!(audits(wrong).await, was_wrong, "nothing was wrong");
        app.settled().await;
        app.json("/listings?limit=5").await;
        app.sql("alter table assets disable trigger user").await;
        app.sql("update assets set name = 'unheard'").await;
        tokio::time::timeout(std::time::Duration::from_secs(30), until(wrong, was_wrong)).await.expect("it is found");
    })
    .await;
}
