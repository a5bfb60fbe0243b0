//! Traces reach a collector, a request's in one tree from HTTP to SQL and Redis; without a collector there is nothing. A request
//! that takes long says why.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use overlay::config::Log;
use serde_json::{Value, json};

use crate::harness::otlp::{Received, Span, collector};
use crate::harness::{Setup, TestApp, private_redis, session, with};

/// Environment variables and the log are the process's: a test that needs its own runs itself again.
const CHILD: &str = "OVERLAY_TEST_TELEMETRY_CHILD";

fn child(test: &str, settings: &[(&str, &str)]) -> Output {
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", &format!("telemetry::{test}"), "--nocapture"])
        .envs(settings.iter().copied())
        .env(CHILD, "1")
        .output()
        .expect("runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    child
}

/// The child's part: `work` with the server under test, and its log on standard error.
async fn observed(setup: Setup, work: impl AsyncFnOnce(&TestApp)) {
    let log = Log { json: true, filter: "warn".into() };
    let telemetry = overlay::telemetry::start(&log).expect("starts");
    with(setup, work).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await.expect("flushes");
}

fn trace(byte: &str) -> String {
    format!("00-{}-{}-01", byte.repeat(16), "cd".repeat(8))
}

#[test]
fn spans_from_http_to_sql_and_redis_reach_a_collector_in_the_callers_trace() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if std::env::var_os(CHILD).is_some() {
        return runtime.block_on(traced_requests());
    }
    let (url, received) = runtime.block_on(collector());
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_SERVICE_NAME", "overlay-under-test")];
    child("spans_from_http_to_sql_and_redis_reach_a_collector_in_the_callers_trace", &settings);
    assert!(received.contains("overlay-under-test"));
    for (byte, name, statements) in
        [(0xab, "GET /listings", &["assets.pages"][..]), (0xac, "POST /graphql", &["assets.by_ids", "assets.parents"])]
    {
        let spans = tree(&received, byte, name);
        let of = |kind: &str| -> BTreeSet<&str> {
            spans.iter().filter(|s| s.name == kind).map(|s| s.texts["db.operation.name"].as_str()).collect()
        };
        assert!(!of("sql").is_empty(), "{name} {statements:?}: {spans:?}");
        for statement in statements {
            assert!(of("sql").contains(statement), "{statement} is not among {:?}", of("sql"));
        }
        // Once for the finished answer, before the router, and once at least for its parts.
        let calls = spans.iter().filter(|s| s.name == "redis" && s.texts["db.operation.name"] == "get").count();
        assert!(calls >= 2, "{name}: {calls} calls in {spans:?}");
        for span in spans.iter().filter(|span| ["sql", "redis"].contains(&span.name.as_str())) {
            let told: Vec<&String> =
                span.texts.iter().filter(|(key, _)| !key.starts_with("code.")).map(|(_, v)| v).collect();
            let is_plain = |text: &&String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-#()".contains(&b));
            assert!(told.iter().all(is_plain), "more than a statement's name is told: {span:?}");
        }
    }
}

/// The spans of a trace, which hang together below the one span that continues the caller's.
fn tree(received: &Received, byte: u8, name: &str) -> Vec<Span> {
    let spans: Vec<Span> = received.spans().into_iter().filter(|span| span.trace == [byte; 16]).collect();
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent == [0xcd; 8]).collect();
    assert_eq!(roots.iter().map(|root| root.name.as_str()).collect::<Vec<_>>(), [name], "{spans:?}");
    for span in spans.iter().filter(|span| span.parent != [0xcd; 8]) {
        assert!(spans.iter().any(|other| other.id == span.parent), "{span:?} hangs in the air");
    }
    // What was read for the request is nowhere else: a statement that has lost its request has no parent.
    let others = received.spans();
    let lost = |span: &&Span| {
        let operation = span.texts.get("db.operation.name").map(String::as_str);
        span.parent.is_empty() && operation == Some("get")
    };
    assert_eq!(others.iter().find(lost), None);
    spans
}

async fn traced_requests() {
    let Some((redis, _folder)) = private_redis().await else { return };
    observed(Setup::seeded().redis(redis.url()), async |app| {
        let version = app.version("Wind power features").await;
        let answer = app.get("/listings?limit=3").header("traceparent", trace("ab")).send().await.expect("answer");
        assert_eq!(answer.status(), 200);
        let query = "query($id: Hex32!) { asset(versionId: $id) { name parents { name } } }";
        let answer = app.post(query, json!({"id": version})).header("traceparent", trace("ac")).send().await;
        let answer: Value = answer.expect("answer").json().await.expect("JSON");
        assert!(answer["data"]["asset"]["name"].is_string(), "{answer}");
    })
    .await;
}

/// Held up by somebody's lock, a request is slow for certain; the line says where its time went, and nothing of what was asked.
#[test]
fn a_slow_request_says_why_and_not_what_was_asked() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if std::env::var_os(CHILD).is_some() {
        return runtime.block_on(slow_requests());
    }
    let log = child("a_slow_request_says_why_and_not_what_was_asked", &[]).stderr;
    let log = String::from_utf8(log).expect("UTF-8");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lines: Vec<&Value> = lines.iter().filter(|line| line["message"] == "slow request").collect();
    let of =
        |id: &str| -> &Value { lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("{id}: {log}")) };
    let first = of("first");
    assert_eq!((&first["route"], &first["operation"]), (&json!("/graphql"), &json!("Slow")), "{first}");
    assert_eq!((&first["status"], &first["cache"]), (&json!(200), &json!("miss")), "{first}");
    assert_eq!(first["trace_id"], "ab".repeat(16), "{first}");
    assert_eq!(first["level"], "WARN");
    let number = |line: &Value, name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    assert!(number(first, "statements") >= 1.0 && number(first, "redis_calls") >= 2.0, "{first}");
    assert!(number(first, "redis_ms") > 0.0, "{first}");
    assert!(number(first, "sql_ms") >= 50.0 && number(first, "total_ms") >= 50.0, "{first}");
    assert_eq!(number(first, "joined"), 0.0, "{first}");
    // The one connection was not free for another version's load.
    let others = ["third", "fourth"].map(of);
    let kept_waiting = |line: &&&Value| number(line, "pool_wait_ms") >= 50.0 && number(line, "sql_ms") >= 50.0;
    assert_eq!(others.iter().filter(kept_waiting).count(), 1, "one of them joined the other: {others:?}");
    assert!(number(first, "pool_wait_ms") < 50.0, "{first}");
    // It asked for something else of the same version, and waited for the first one's load.
    let second = of("second");
    assert!(number(second, "joined") >= 1.0, "{second}");
    assert_eq!(second["trace_id"], Value::Null);
    assert!(lines.iter().all(|line| line["id"] != "quick"), "{lines:?}");
    for secret in ["secretly", "wind power features", "eyJ", "versionId"] {
        assert!(!log.to_lowercase().contains(&secret.to_lowercase()), "{secret}: {log}");
    }
}

async fn until(holds: impl AsyncFn() -> bool) {
    let held = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), held).await.expect("it comes about");
}

async fn slow_requests() {
    let Some((redis, _folder)) = private_redis().await else { return };
    let setup = Setup::seeded().redis(redis.url()).with("SLOW_REQUEST_MS", "50").with("PG_POOL_MAX", "1");
    observed(setup.with("PG_POOL_MIN", "1"), async |app| {
        let version = app.version("Wind power features").await;
        let other =
            app.rows(&format!("select min(version_id) from assets where version_id <> '{version}'")).await.remove(0);
        let lock = session(&app.database_url).await;
        let held = "begin; lock table assets in access exclusive mode";
        sea_orm::ConnectionTrait::execute_unprepared(&lock, held).await.expect("locked");
        let ask = |id: &'static str, version: &str, query: &str| {
            let request = app.post(query, json!({"id": version})).header("x-request-id", id);
            tokio::spawn(request.header("authorization", "Bearer eyJsecretly").send())
        };
        let first = app
            .post("query Slow($id: Hex32!) { asset(versionId: $id) { secretly: name } }", json!({"id": version}))
            .header("x-request-id", "first")
            .header("traceparent", trace("ab"));
        let first = tokio::spawn(first.send());
        // Until it has waited for as long as counts as slow.
        let waits = "select count(*)::text from pg_stat_activity where datname = current_database() \
                     and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '60 ms'";
        until(async || app.rows(waits).await == ["1"]).await;
        let joined = "overlay_flights_joined_total{kind=\"asset\"} 2";
        let second = ask("second", &version, "query Second($id: Hex32!) { asset(versionId: $id) { name versionId } }");
        let third = ask("third", &other, "query Third($id: Hex32!) { asset(versionId: $id) { name } }");
        let fourth = ask("fourth", &other, "query Fourth($id: Hex32!) { asset(versionId: $id) { name versionId } }");
        until(async || app.get("/metrics").send().await.expect("answer").text().await.expect("text").contains(joined))
            .await;
        // Until all of them have waited for as long, too.
        let since = app.rows("select clock_timestamp()::text").await.remove(0);
        let past = format!("select (clock_timestamp() - '{since}' > interval '60 ms')::text");
        until(async || app.rows(&past).await == ["true"]).await;
        sea_orm::ConnectionTrait::execute_unprepared(&lock, "commit").await.expect("let go");
        for answer in [first, second, third, fourth] {
            let answer = answer.await.expect("no panic").expect("answer");
            assert_eq!(answer.status(), 200);
        }
        app.json("/health/live").await;
    })
    .await;
}
