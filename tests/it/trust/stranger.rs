//! What is handed out is checked by others: with our own code in other forms, and by a stock verifier (the npm package
//! @bsv/sdk), where Node.js and the package are installed.

use std::path::PathBuf;
use std::process::Output;

use overlay::domain::spv::{Beef, Bump, RootClaim, decode_hex};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::chain::Chain;
use crate::harness::{Setup, TestApp, refused, with};

/// The versions whose bundles are whole and proven.
async fn good(app: &TestApp) -> Vec<String> {
    let mut good = Vec::new();
    for id in app.rows("select version_id from assets order by 1").await {
        if app.get(&format!("/bundle?versionId={id}")).send().await.expect("answer").status() == StatusCode::OK {
            good.push(id);
        }
    }
    good
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_come_as_beef_and_as_paths() {
    with(Setup::seeded(), async |app| {
        for id in good(app).await {
            let bundle = app.json(&format!("/bundle?versionId={id}")).await;
            let answer = app.get(&format!("/bundle?versionId={id}&format=beef")).send().await.expect("answer");
            assert_eq!(answer.headers()["content-type"], "application/octet-stream");
            assert_eq!(answer.headers()["overlay-bundle"], "complete");
            let beef = Beef::parse(&answer.bytes().await.expect("bytes")).expect("a BEEF");
            let claims = beef.check().expect("proven");
            // What a stock reader takes it to be about.
            let last = beef.transactions.last().expect("transactions").txid.to_string();
            assert!(bundle["graph"]["nodes"][0]["txo"].as_str().expect("txo").starts_with(&last), "{id}");
            let nodes = bundle["graph"]["nodes"].as_array().expect("nodes");
            assert_eq!(claims.len(), nodes.len());
            for RootClaim { block_height: height, merkle_root: root, txid } in &claims {
                let known = app
                    .rows(&format!("select merkle_root from block_headers where height = {height} and on_best_chain"))
                    .await;
                assert_eq!(known, [root.to_string()]);
                assert!(nodes.iter().any(|n| n["txo"].as_str().expect("txo").starts_with(&txid.to_string())));
            }
            let paths = app.json(&format!("/bundle?versionId={id}&format=bump")).await;
            let bumps = paths["bumps"].as_array().expect("paths");
            assert_eq!(bumps.len(), beef.bumps.len());
            for (path, bump) in bumps.iter().zip(&beef.bumps) {
                let read = Bump::parse(&decode_hex(path["bump"].as_str().expect("hex")).expect("hex")).expect("a BUMP");
                assert_eq!(&read, bump);
                assert_eq!(path["merkleRoot"], json!(read.root().to_string()));
            }
            assert_eq!(paths["versions"].as_array().expect("versions").len(), nodes.len());
        }
        let answer =
            app.get(&format!("/bundle?versionId={}&format=xml", "ab".repeat(32))).send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.1.as_deref(), Some("format"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_a_header_service() {
    with(Setup::seeded(), async |app| {
        let rows = app.rows("select json_build_object('hash', hash, 'height', height, 'merkleRoot', merkle_root)::text from block_headers order by height").await;
        let blocks: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        let last = blocks.last().expect("blocks");
        let tip = app.json("/api/v1/chain/tip/longest").await;
        for field in ["hash", "height", "merkleRoot"] {
            assert_eq!(tip[field], last[field]);
        }
        let graphql = app.query("{ chainTip { hash height merkleRoot } }", Value::Null).await;
        assert_eq!(&graphql["chainTip"], last);
        let verify = async |claims: Value| {
            app.http.post(format!("{}/api/v1/chain/merkleroot/verify", app.url)).json(&claims).send().await.expect("answer")
        };
        let claim = |block: &Value| json!({"merkleRoot": block["merkleRoot"], "blockHeight": block["height"]});
        let all: Vec<Value> = blocks.iter().map(claim).collect();
        let (answer, statements) = app.statements(verify(json!(all))).await;
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!((&answer["confirmationState"], statements <= 1), (&json!("CONFIRMED"), true));
        assert_eq!(answer["confirmations"].as_array().expect("all").len(), blocks.len());
        let mut wrong = all.clone();
        wrong[3]["merkleRoot"] = wrong[4]["merkleRoot"].clone();
        let answer: Value = verify(json!(wrong)).await.json().await.expect("JSON");
        assert_eq!(answer["confirmationState"], "INVALID");
        assert_eq!(answer["confirmations"][3]["confirmation"], "INVALID");
        assert_eq!(answer["confirmations"][4]["confirmation"], "CONFIRMED");
        let mut above = claim(last);
        above["blockHeight"] = json!(4_000_000_000u32);
        let answer: Value = verify(json!([above])).await.json().await.expect("JSON");
        assert_eq!(answer["confirmationState"], "UNABLE_TO_VERIFY");
        for wrong in [json!([]), json!({}), json!([{"merkleRoot": "x", "blockHeight": 1}]), json!(vec![claim(last); 1_001])] {
            assert_eq!(refused(verify(wrong).await, StatusCode::BAD_REQUEST).await.0, "bad-request");
        }
        // What leaves the best chain is confirmed no more.
        let gone = claim(last);
        let mut chain = Chain::of(app).await;
        chain.take_off(app, 1).await;
        app.caught_up().await;
        let answer: Value = verify(json!([gone])).await.json().await.expect("JSON");
        assert_eq!(answer["confirmationState"], "UNABLE_TO_VERIFY");
        chain.mine(app, &[]).await;
        app.caught_up().await;
        let answer: Value = verify(json!([gone])).await.json().await.expect("JSON");
        assert_eq!(answer["confirmationState"], "INVALID");
    })
    .await;
}

/// Where the verifier's package is, if it is installed.
fn verifier() -> Option<PathBuf> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".overlay/verify-bundle/check.mjs");
    script.exists().then_some(script)
}

fn run(arguments: &[&str]) -> Output {
    let script = verifier().expect("asked before");
    std::process::Command::new("node").arg(script).args(arguments).output().expect("node runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_verifier_believes_what_is_good_and_nothing_else() {
    if verifier().is_none() {
        println!("not run: @bsv/sdk is not installed; scripts/verify-bundle/fetch does it where there is Node.js");
        return;
    }
    with(Setup::seeded(), async |app| {
        let ids = good(app).await;
        assert!(ids.len() > 60);
        // The script asks the server itself for bundles, and for headers.
        let url = app.url.clone();
        let mut arguments = vec!["all".to_owned(), url.clone()];
        arguments.extend(ids.iter().cloned());
        let outcome =
            tokio::task::spawn_blocking(move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let outcome = outcome.await.expect("no panic");
        let told: Value = serde_json::from_slice(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
        // Good ones hold; with any of their parts tampered with, they do not.
        assert_eq!((&told["good"], &told["believedThoughTampered"]), (&json!(ids.len()), &json!([])), "{told}");
        assert!(told["tampered"].as_u64().expect("a number") >= 3 * ids.len() as u64, "{told}");

        // After a reorg the evidence handed out before is worth nothing.
        let target = ids[0].clone();
        let saved = tempfile_with(&app.url, &target).await;
        let sql = format!("select min(block_height)::text from declarations where version_id = '{target}'");
        let height: i32 = app.rows(&sql).await[0].parse().expect("a height");
        let mut chain = Chain::of(app).await;
        let depth = chain.height() - height + 1;
        chain.take_off(app, depth).await;
        for _ in 0..depth {
            chain.mine(app, &[]).await;
        }
        app.caught_up().await;
        let path = saved.to_str().expect("text").to_owned();
        let outcome = tokio::task::spawn_blocking(move || run(&["saved", &url, &path])).await.expect("no panic");
        assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
        std::fs::remove_file(saved).expect("ours");
    })
    .await;
}

/// A bundle and its BEEF, in a file.
async fn tempfile_with(url: &str, id: &str) -> PathBuf {
    let get =
        async |path: String| reqwest::get(format!("{url}{path}")).await.expect("answer").bytes().await.expect("bytes");
    let bundle: Value = serde_json::from_slice(&get(format!("/bundle?versionId={id}")).await).expect("JSON");
    let beef = get(format!("/bundle?versionId={id}&format=beef")).await;
    let beef: String = beef.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = std::env::temp_dir().join(format!("overlay-bundle-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, json!({"bundle": bundle, "beef": beef}).to_string()).expect("a file");
    path
}
