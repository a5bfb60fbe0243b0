//! Traces reach a collector, from HTTP to SQL in one tree; without a collector there is nothing.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use overlay::config::Log;

use crate::harness::{Setup, with};

type Received = Arc<Mutex<Vec<u8>>>;

/// An OTLP collector that keeps the bytes it is sent.
async fn collector() -> (String, Received) {
    let received = Received::default();
    let keep = |State(received): State<Received>, body: Bytes| async move {
        received.lock().expect("lock").extend_from_slice(&body);
    };
    let router = Router::new().route("/v1/traces", post(keep)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// Environment variables are the process's: the test that needs some runs itself again with them.
const CHILD: &str = "OVERLAY_TEST_OTLP_CHILD";

#[test]
fn spans_from_http_to_sql_reach_a_collector_in_the_callers_trace() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if std::env::var_os(CHILD).is_some() {
        return runtime.block_on(traced_request());
    }
    let (url, received) = runtime.block_on(collector());
    let child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "telemetry::spans_from_http_to_sql_reach_a_collector_in_the_callers_trace", "--nocapture"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .env("OTEL_SERVICE_NAME", "overlay-under-test")
        .env(CHILD, "1")
        .output()
        .expect("runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let bytes = received.lock().expect("lock").clone();
    let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    // Protobuf keeps texts as they are, and a trace id as its 16 bytes.
    for text in ["overlay-under-test", "GET /listings", "cache.load", "sql", "assets.pages", "/listings"] {
        assert!(contains(text.as_bytes()), "{text} is not among {} bytes", bytes.len());
    }
    assert!(contains(&[0xab; 16]), "the caller's trace id is kept");
}

async fn traced_request() {
    let log = Log { json: true, filter: "warn".into() };
    let telemetry = overlay::telemetry::start(&log).expect("starts");
    with(Setup::seeded(), async |app| {
        let parent = format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8));
        let answer = app.get("/listings?limit=3").header("traceparent", parent).send().await.expect("answer");
        assert_eq!(answer.status(), 200);
    })
    .await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await.expect("flushes");
}
