//! What stock clients, auditors and a browser make of the server, where there is Node.js.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

/// What is installed under `.overlay`.
fn installed(path: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(".overlay").join(path)).filter(|path| path.exists())
}

/// What a script says of the server; `None` when its packages are not installed.
async fn told(app: &TestApp, script: &str) -> Option<Value> {
    let Some(script) = installed(script) else {
        println!("not run: scripts/fetch-node installs what {script} needs where there is Node.js");
        return None;
    };
    let url = format!("{}/graphql", app.url);
    let run = move || std::process::Command::new("node").arg(script).arg(url).output().expect("node runs");
    let outcome = tokio::task::spawn_blocking(run).await.expect("no panic");
    Some(serde_json::from_slice(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audits_of_graphql_over_http_pass() {
    with(Setup::seeded(), async |app| {
        let Some(told) = told(app, "clients/audit.mjs").await else { return };
        assert_eq!(told, json!({"ok": 61, "failed": []}));
    })
    .await;
}

/// Holds what a script says of a server that takes everybody for its developer to what is `expected`.
async fn prints(script: &str, expected: Value) {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, script).await else { return };
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

#[tokio::test(flavor = "multi_thread")]
async fn the_query_page_works_in_a_browser_without_internet() {
    if installed("graphiql/graphiql.min.js").is_none() {
        println!("not run: scripts/graphiql/fetch brings the page where there is npm");
        return;
    }
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let Some(told) = told(app, "browser/graphiql.mjs").await else { return };
        if let Some(why) = told.get("not run") {
            println!("not run: {why}");
            return;
        }
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
