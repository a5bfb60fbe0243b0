//! What stock clients, auditors and a browser make of the server, where there is Node.js.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{Setup, TestApp, with};

/// What is installed under `.overlay`.
fn installed(path: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(".overlay").join(path)).filter(|path| path.exists())
}

/// What a script says of the server, told what it is to look at; `None` when its packages, or what it needs beside them, are not
/// installed.
async fn told(app: &TestApp, script: &str, told: &Value) -> Option<Value> {
    let Some(script) = installed(script) else {
        println!("not run: scripts/fetch-node installs what {script} needs where there is Node.js");
        return None;
    };
    let url = format!("{}/graphql", app.url);
    let mut node = tokio::process::Command::new("node");
    node.arg(script).arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut node = node.spawn().expect("node runs");
    // A script that reads nothing may have ended.
    let _ = node.stdin.take().expect("a pipe").write_all(told.to_string().as_bytes()).await;
    let outcome = node.wait_with_output().await.expect("node ends");
    let said: Value = serde_json::from_slice(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
    if let Some(why) = said.get("not run") {
        println!("not run: {why}");
        return None;
    }
    Some(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audits_of_graphql_over_http_pass() {
    with(Setup::seeded(), async |app| {
        let Some(told) = told(app, "clients/audit.mjs", &Value::Null).await else { return };
        assert_eq!(told, json!({"ok": 61, "failed": []}));
    })
    .await;
}

/// Holds what a script says of a server that takes everybody for its developer to what is `expected`.
async fn prints(script: &str, expected: Value) {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, script, &Value::Null).await else { return };
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apollo_client_and_urql_ask_page_write_and_persist() {
    let expected = json!({
        "apollo": ["query", "paging", "persisted queries", "mutation", "error"],
        "urql": ["query", "paging", "mutation", "query by link", "error"],
    });
    prints("clients/stock.mjs", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apollo_client_urql_and_graphql_sse_are_told_of_changes() {
    let expected = json!({
        "apollo": ["change", "withdrawal", "going on after a break", "error", "cache", "close"],
        "urql": ["change", "withdrawal", "going on after a break", "error", "query and mutation", "close"],
        "sse": ["change", "withdrawal", "going on after a break", "error", "query that ends"],
    });
    prints("clients/subscribe.mjs", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_takes_the_schema_asks_pages_writes_and_subscribes() {
    let expected = ["schema", "query", "paging", "refetch by id", "mutation", "error", "subscription"];
    prints("clients/relay.mjs", json!({"relay": expected})).await;
}

/// Whether the server has its pages.
fn has_pages() -> bool {
    let is_there = installed("pages/graphiql.min.js").is_some();
    if !is_there {
        println!("not run: scripts/pages/fetch brings the pages where there is npm");
    }
    is_there
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_page_works_in_a_browser_without_internet() {
    if !has_pages() {
        return;
    }
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, "browser/graphiql.mjs", &Value::Null).await else { return };
        let expected = json!([
            "page",
            // The example tabs.
            "NewestAssets",
            "Search",
            "Producers",
            "Readiness",
            "Buy",
            "Advisories",
            "headers",
            "documentation",
            "history",
            "explorer",
            "link to the schema",
        ]);
        assert_eq!(told, expected);
    })
    .await;
}

/// Has more neighbours than are drawn at once.
const HUB: &str = "dataset:warehouse:hub";

fn event(job: &str, inputs: Value, outputs: Value) -> Value {
    json!({"eventType": "COMPLETE", "eventTime": "2026-01-02T03:04:05Z", "producer": "p", "run": {"runId": job},
        "job": {"namespace": "jobs", "name": job}, "inputs": inputs, "outputs": outputs})
}

async fn sent(app: &TestApp, job: &str, inputs: Value, outputs: Value) {
    let event = event(job, inputs, outputs);
    let answer = app.http.post(format!("{}/api/v1/lineage", app.url)).json(&event).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_of_lineage_works_in_a_browser_without_internet() {
    if !has_pages() {
        return;
    }
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let version = "0aef49f2d7f6589776025e05453e92cb67b358d1dfc7bd8504dfeccf7c676f5b";
        let found = app.query("query($id: Hex32!) { asset(versionId: $id) { lineageNode } }", json!({"id": version})).await;
        let start = found["asset"]["lineageNode"].clone();
        assert_eq!(start, format!("dataset:overlay:dev:{version}"));
        let dataset = |name: &str| json!({"namespace": "warehouse", "name": name});
        let leaves: Vec<Value> = (0..400).map(|number| dataset(&format!("leaf-{number}"))).collect();
        sent(app, "fan", json!([dataset("hub")]), json!(leaves)).await;
        let hostile = "<img src=x onerror=alert(1)>";
        let columns = json!({"_producer": "p", "_schemaURL": "https://example.com/facet.json", "fields": {"b": {"inputFields": [
            {"namespace": "warehouse", "name": "hub", "field": "a"}]}}});
        let facets = json!({"columnLineage": columns, "documentation": {"_producer": "p", "_schemaURL": "https://example.com/facet.json",
            "description": hostile}});
        let output = json!({"namespace": "warehouse", "name": hostile, "facets": facets});
        sent(app, "columns: job", json!([dataset("hub")]), json!([output])).await;
        let many = |number: usize| {
            let (input, output) = (dataset("Load\n✓ proven · ✓ ready"), dataset("forged"));
            event(&format!("job-{number}"), json!([input]), json!([output]))
        };
        let many: Value = (0..1_000).map(many).collect();
        let answer = app.http.post(format!("{}/api/v1/lineage/batch", app.url)).json(&many).send().await.expect("answer");
        assert_eq!(answer.json::<Value>().await.expect("JSON")["status"], "success");
        app.caught_up().await;
        let looked_at = json!({"start": start, "hub": HUB, "hostile": format!("dataset:warehouse:{hostile}"),
            "forged": "dataset:warehouse:forged",
            "image": std::env::var("OVERLAY_TEST_PICTURE").ok()});
        let Some(told) = told(app, "browser/lineage.mjs", &looked_at).await else { return };
        let expected = json!([
            "the newest of the catalogue",
            "search",
            "graph",
            "badges",
            "screenshot",
            "keyboard",
            "keyboard in the details",
            "click",
            "facets",
            "more than is drawn at once",
            "a job, its columns, and names that are markup",
            "very many jobs, and a name like a badge",
            "what is no question",
            "nothing there",
        ]);
        assert_eq!(told, expected);
    })
    .await;
}
