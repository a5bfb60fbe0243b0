//! OpenLineage: what clients send is kept once, and the graph is the same however it came.

mod catalogue;
mod converge;
mod graph;
mod graphql;
mod ingest;
mod killed;
mod own;
mod retain;

use serde_json::{Value, json};

use crate::harness::{Setup, TestApp};

/// A key that may send events.
const KEY: &str = "a-key-of-the-pipeline";

fn open() -> Setup {
    Setup::empty().with("INGEST_API_KEYS", format!("another-key-of-ours,{KEY}"))
}

/// A request that sends events.
fn sending(app: &TestApp, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let request = app.http.post(format!("{}{path}", app.url)).header("content-type", "application/json");
    request.bearer_auth(KEY).body(body)
}

/// An event of a run.
pub(crate) fn event(run: &str, state: &str, minute: u32, inputs: &[&str], outputs: &[&str]) -> Value {
    let datasets =
        |names: &[&str]| names.iter().map(|name| json!({"namespace": "db", "name": name})).collect::<Value>();
    json!({
        "eventType": state, "eventTime": format!("2026-01-02T03:{minute:02}:00Z"), "producer": "https://example.com/pipeline",
        "run": {"runId": run}, "job": {"namespace": "jobs", "name": "load"},
        "inputs": datasets(inputs), "outputs": datasets(outputs),
    })
}
