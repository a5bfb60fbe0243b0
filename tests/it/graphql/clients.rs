//! What stock clients and auditors of the npm registry make of the server, where there is Node.js.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

/// What a script of `scripts/clients` says of the server; `None` when its packages are not installed.
async fn told(app: &TestApp, script: &str) -> Option<Value> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".overlay/clients").join(script);
    if !script.exists() {
        println!("not run: scripts/fetch-node clients installs what it needs where there is Node.js");
        return None;
    }
    let url = format!("{}/graphql", app.url);
    let run = move || std::process::Command::new("node").arg(script).arg(url).output().expect("node runs");
    let outcome = tokio::task::spawn_blocking(run).await.expect("no panic");
    Some(serde_json::from_slice(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audits_of_graphql_over_http_pass() {
    with(Setup::seeded(), async |app| {
        let Some(told) = told(app, "audit.mjs").await else { return };
        assert_eq!(told, json!({"ok": 61, "failed": []}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apollo_client_and_urql_ask_page_write_and_persist() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, "stock.mjs").await else { return };
        let expected = json!({
            "apollo": ["query", "paging", "persisted queries", "mutation", "error"],
            "urql": ["query", "paging", "mutation", "query by link", "error"],
        });
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apollo_client_urql_and_graphql_sse_are_told_of_changes() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, "subscribe.mjs").await else { return };
        let follows = ["change", "withdrawal", "going on after a break", "error"];
        let expected = json!({
            "apollo": [&follows[..], &["cache"]].concat(),
            "urql": [&follows[..], &["query and mutation over the WebSocket"]].concat(),
            "sse": [&follows[..], &["query that ends"]].concat(),
        });
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_takes_the_schema_asks_pages_writes_and_subscribes() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, "relay.mjs").await else { return };
        let expected = ["schema", "query", "paging", "refetch by id", "mutation", "error", "subscription"];
        assert_eq!(told, json!({"relay": expected}));
    })
    .await;
}
