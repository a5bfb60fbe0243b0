//! `GET /bundle`: its promised shape, evidence that a stranger can check, and what is refused.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::chain::Chain;
use crate::harness::makers::literal;
use crate::harness::{Setup, TestApp, refused, with};

fn sha256d(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(Sha256::digest(bytes)).to_vec()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

/// What a stranger who knows no code of ours does with an envelope: hashes the transaction, climbs the path, and looks
/// where the header has its root. Answers the block's hash.
fn checked(envelope: &Value) -> Vec<u8> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut node = sha256d(&bytes(&text(&envelope["rawTx"])));
    assert_eq!(node, reversed(bytes(&text(&envelope["proof"]["txid"]))));
    for step in envelope["proof"]["path"].as_array().expect("steps") {
        let sibling = reversed(bytes(&text(&step["hash"])));
        let pair = match text(&step["position"]).as_str() {
            "left" => [sibling, node].concat(),
            _ => [node, sibling].concat(),
        };
        node = sha256d(&pair);
    }
    let header = bytes(&text(&envelope["block"]["blockHeader"]));
    assert_eq!(header.len(), 80);
    assert_eq!(header[36..68], node);
    reversed(sha256d(&header))
}

async fn bundle(app: &TestApp, id: &str) -> (StatusCode, Value) {
    let answer = app.get(&format!("/bundle?versionId={id}")).send().await.expect("answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bundle_of_the_market_is_whole_and_its_evidence_holds() {
    with(Setup::seeded(), async |app| {
        let tip: u64 = app.rows("select max(height)::text from block_headers").await[0].parse().expect("a number");
        let mut counts = [0; 2];
        for id in app.rows("select version_id from assets order by 1").await {
            let walk = format!(
                "with recursive walk(id) as (select '{id}' union select parent_version_id from asset_parents join walk on child_version_id = id) "
            );
            let unproven = app
                .rows(&format!("{walk} select id from walk left join declarations d on d.version_id = id where d.envelope is null"))
                .await;
            let (status, body) = bundle(app, &id).await;
            if !unproven.is_empty() {
                counts[0] += 1;
                assert_eq!((status, &body["error"]), (StatusCode::CONFLICT, &json!("incomplete-lineage")), "{id}");
                let missing = body["hint"].as_str().and_then(|h| h.strip_prefix("missing-envelope:")).expect("a hint");
                assert!(unproven.contains(&missing.to_owned()), "{missing}");
                continue;
            }
            counts[1] += 1;
            assert_eq!(status, StatusCode::OK, "{id}: {body}");
            let mut keys: Vec<&String> = body.as_object().expect("object").keys().collect();
            keys.sort();
            assert_eq!(keys, ["bundleType", "graph", "manifests", "proofs", "target"]);
            assert_eq!((&body["bundleType"], &body["target"]), (&json!("datasetLineageBundle"), &json!(id)));
            let ids = app.rows(&format!("{walk} select id from walk order by 1")).await;
            let nodes = body["graph"]["nodes"].as_array().expect("nodes");
            let mut found: Vec<&str> = nodes.iter().map(|n| n["versionId"].as_str().expect("id")).collect();
            assert_eq!(found[0], id);
            found.sort_unstable();
            assert_eq!(found, ids);
            let mut edges: Vec<String> = body["graph"]["edges"].as_array().expect("edges").iter().map(Value::to_string).collect();
            edges.sort();
            let sql = format!(
                "{walk} select '{{\"child\":\"' || child_version_id || '\",\"parent\":\"' || parent_version_id || '\"}}' from asset_parents \
                 join walk on child_version_id = id order by 1"
            );
            assert_eq!(edges, app.rows(&sql).await);
            for (node, (manifest, proof)) in
                nodes.iter().zip(body["manifests"].as_array().expect("all").iter().zip(body["proofs"].as_array().expect("all")))
            {
                let version = node["versionId"].as_str().expect("id");
                let stored = app.rows(&format!("select manifest::text from assets where version_id = '{version}'")).await;
                assert_eq!(manifest["manifest"], serde_json::from_str::<Value>(&stored[0]).expect("JSON"));
                assert_eq!((&manifest["manifestHash"], &node["manifestHash"]), (&json!(version), &json!(version)));
                let envelope = &proof["envelope"];
                let block: String = checked(envelope).iter().map(|b| format!("{b:02x}")).collect();
                let height = app.rows(&format!("select height::text from block_headers where hash = '{block}' and on_best_chain")).await;
                let height: u64 = height[0].parse().expect("a number");
                assert_eq!(envelope["confirmations"], json!(tip - height + 1));
                let (txid, vout) = node["txo"].as_str().and_then(|t| t.split_once(':')).expect("txid:vout");
                assert_eq!(json!(txid), envelope["proof"]["txid"]);
                assert_eq!(vec![vout.to_owned()], app.rows(&format!("select vout::text from declarations where version_id = '{version}'")).await);
            }
        }
        assert!(counts[0] >= 3 && counts[1] >= 60, "{counts:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_bundle_says_so() {
    with(Setup::seeded(), async |app| {
        let sql = "select p.child_version_id from asset_parents p join asset_parents q on q.child_version_id = p.parent_version_id \
             join declarations d on d.version_id = p.child_version_id where d.envelope is not null order by 1 limit 1";
        let id = &app.rows(sql).await[0];
        for (depth, word) in [("&depth=1", "cut"), ("&depth=0", "cut"), ("", "complete")] {
            let answer = app.get(&format!("/bundle?versionId={id}{depth}")).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()["overlay-bundle"], word, "{depth}");
            let named = answer.headers().get("overlay-bundle-cut-at").map(|v| v.to_str().expect("text").to_owned());
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(named.is_some(), word == "cut");
            for cut in named.iter().flat_map(|named| named.split(',')) {
                let edges = body["graph"]["edges"].as_array().expect("edges");
                let told = edges.iter().filter(|e| e["child"] == json!(cut)).count();
                let all: usize = app.rows(&format!("select count(*)::text from asset_parents where child_version_id = '{cut}'")).await[0].parse().expect("a number");
                assert!(told < all, "{cut} is whole");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    with(Setup::seeded().with("BUNDLE_MAX_DEPTH", "4"), async |app| {
        let id = &app.rows("select version_id from assets order by 1 limit 1").await[0];
        let unknown = "ab".repeat(32);
        for (query, hint) in [
            (String::new(), "versionId"),
            ("versionId=".into(), "versionId"),
            (format!("versionId={}", id.to_uppercase()), "versionId"),
            (format!("versionId={}", &id[1..]), "versionId"),
            (format!("versionId={id}&depth=5"), "depth"),
            (format!("versionId={id}&depth=-1"), "depth"),
            (format!("versionId={id}&depth=99999999999999999999"), "depth"),
            (format!("versionId={id}&dpth=1"), "dpth"),
            (format!("versionId={id}&versionId={id}"), "versionId"),
        ] {
            let answer = app.get(&format!("/bundle?{query}")).send().await.expect("answer");
            let (code, told) = refused(answer, StatusCode::BAD_REQUEST).await;
            assert_eq!((code.as_str(), told.as_deref()), ("bad-request", Some(hint)), "{query}");
        }
        let answer = app.get(&format!("/bundle?versionId={unknown}")).send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::NOT_FOUND).await.0, "not-found");
    })
    .await;
}

/// A valid proof of some other transaction proves nothing, and neither does one that was tampered with.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_not_the_versions_own_is_refused_by_name() {
    with(Setup::seeded(), async |app| {
        let mut chain = Chain::of(app).await;
        let ids = app.rows("select version_id from assets a where not exists (select from asset_parents where child_version_id = a.version_id) order by 1 limit 2").await;
        let (id, other) = (&ids[0], &ids[1]);
        chain.mine(app, &ids).await;
        let stored = app.rows(&format!("select envelope::text from declarations where version_id = '{id}'")).await;
        let good: Value = serde_json::from_str(&stored[0]).expect("JSON");
        let theirs = app.rows(&format!("select envelope::text from declarations where version_id = '{other}'")).await;
        let theirs: Value = serde_json::from_str(&theirs[0]).expect("JSON");
        let zeros = "00".repeat(32);
        let edit = |path: &str, value: Value| {
            let mut envelope = good.clone();
            *envelope.pointer_mut(path).expect("a place") = value;
            envelope
        };
        let flipped = match good["proof"]["path"][0]["position"].as_str() {
            Some("left") => "right",
            _ => "left",
        };
        let header = good["block"]["blockHeader"].as_str().expect("text").to_owned();
        let cases = [
            (edit("/txid", json!(zeros)), "txid-mismatch-top-level-vs-proof"),
            (edit("/rawTx", theirs["rawTx"].clone()), "txid-mismatch-rawtx-vs-proof"),
            (edit("/block/blockHeader", json!("00")), "invalid-block-header"),
            (edit("/block/blockHeader", json!(format!("{}00000000", &header[..152]))), "unknown-block-hash"),
            (edit("/block", json!({"blockHash": zeros})), "unknown-block-hash"),
            (edit("/proof/merkleRoot", json!(zeros)), "merkle-root-mismatch"),
            (edit("/proof/path/0/position", json!(flipped)), "invalid-merkle-path"),
            (edit("/proof/path/0/hash", json!(zeros)), "invalid-merkle-path"),
            (edit("/proof/path", json!([])), "invalid-merkle-path"),
            (edit("/proof", json!({})), "malformed-envelope"),
            // Proven, of the best chain, and about something else.
            (theirs.clone(), "txid-mismatch-top-level-vs-proof"),
        ];
        for (envelope, reason) in cases {
            let envelope = literal(&envelope.to_string());
            app.sql(&format!("update declarations set envelope = {envelope} where version_id = '{id}'")).await;
            app.caught_up().await;
            let (status, body) = bundle(app, id).await;
            assert_eq!((status, &body["error"]), (StatusCode::CONFLICT, &json!("invalid-envelope")), "{reason}: {body}");
            assert_eq!((&body["versionId"], &body["reason"]), (&json!(id), &json!(reason)));
            let ready = app.json(&format!("/ready?versionId={id}")).await;
            assert_eq!((&ready["ready"], &ready["reason"]), (&json!(false), &json!(reason)));
        }
        // The other's whole row: only the declaration itself tells.
        let txid = theirs["txid"].as_str().expect("text");
        app.sql(&format!("delete from declarations where version_id = '{other}'")).await;
        let envelope = literal(&theirs.to_string());
        app.sql(&format!("update declarations set envelope = {envelope}, txid = '{txid}' where version_id = '{id}'")).await;
        app.caught_up().await;
        let (_, body) = bundle(app, id).await;
        assert_eq!((&body["error"], &body["reason"]), (&json!("invalid-envelope"), &json!("onchain-mh-mismatch")));
        let ready = app.json(&format!("/ready?versionId={id}")).await;
        assert_eq!((&ready["ready"], &ready["reason"]), (&json!(false), &json!("onchain-mh-mismatch")));
    })
    .await;
}
