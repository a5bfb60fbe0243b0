//! What stock clients and auditors of the npm registry make of the server, where there is Node.js.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Setup, with};

#[tokio::test(flavor = "multi_thread")]
async fn the_audits_of_graphql_over_http_pass() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".overlay/clients/audit.mjs");
    if !script.exists() {
        println!("not run: graphql-http is not installed; scripts/fetch-node clients does it where there is Node.js");
        return;
    }
    with(Setup::seeded(), async |app| {
        let url = format!("{}/graphql", app.url);
        let run = move || std::process::Command::new("node").arg(script).arg(url).output().expect("node runs");
        let outcome = tokio::task::spawn_blocking(run).await.expect("no panic");
        let told: Value = serde_json::from_slice(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
        assert_eq!(told, json!({"ok": 61, "failed": []}));
    })
    .await;
}
