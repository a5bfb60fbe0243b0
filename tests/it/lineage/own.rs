//! What is published, proven and recalled here is told like what others tell; and what others tell is held against it.

use overlay::domain::assets::manifest;
use overlay::domain::hex::encode_hex;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::chain::{Chain, declaring};
use crate::harness::{Setup, TestApp, with};

const NAMESPACE: &str = "market:test";

fn market() -> Setup {
    Setup::seeded().with("DEV_IDENTITY", "true").with("OL_NAMESPACE", NAMESPACE)
}

/// Publishes a version made of others; answers its identifier and its transaction.
async fn publish(app: &TestApp, dataset: &str, parents: &[&str]) -> (String, overlay::domain::spv::Transaction) {
    let manifest = json!({
        "type": "datasetVersionManifest", "datasetId": dataset, "content": {"contentHash": "ab".repeat(32)},
        "lineage": {"parents": parents},
        "provenance": {"createdAt": "2026-01-02T03:04:05Z", "producer": {"identityKey": format!("02{}", "ab".repeat(32)), "name": "P"}},
    });
    let id = manifest::version_id(&manifest);
    let tx = declaring(&id);
    let body = json!({"manifest": manifest, "rawTx": encode_hex(&tx.to_bytes())});
    let answer = app.http.post(format!("{}/submit", app.url)).json(&body).send().await.expect("answer");
    assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
    (id, tx)
}

async fn prove(app: &TestApp, chain: &mut Chain, id: &str, tx: &overlay::domain::spv::Transaction) {
    let envelope = chain.proof_of(app, tx).await;
    app.caught_up().await;
    let text = "mutation($id: Hex32!, $envelope: JSON!) { attachProof(input: {versionId: $id, proof: {envelope: $envelope}}) \
        { __typename } }";
    app.query(text, json!({"id": id, "envelope": envelope})).await;
}

fn dataset(id: &str) -> Value {
    json!({"namespace": NAMESPACE, "name": id})
}

async fn claim(app: &TestApp, from: Value, to: Value) {
    let event = json!({"eventType": "COMPLETE", "eventTime": "2026-01-02T03:04:05Z", "producer": "p", "run": {"runId": "r"},
        "job": {"namespace": "jobs", "name": format!("{from}>{to}")}, "inputs": [from], "outputs": [to]});
    let answer = app.http.post(format!("{}/api/v1/lineage", app.url)).json(&event).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
}

/// Of the edges to a version, from where they come and how they stand, in order; in REST and in GraphQL.
async fn standings(app: &TestApp, id: &str) -> Vec<(String, String)> {
    let node = format!("dataset:{NAMESPACE}:{id}");
    let graph = app.json(&format!("/openlineage/lineage?node={node}&direction=up&depth=1")).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rest: Vec<_> =
        graph["edges"].as_array().expect("edges").iter().map(|e| (text(&e["from"]), text(&e["standing"]))).collect();
    let query = "query($id: Hex32!) { asset(versionId: $id) { lineage(direction: UP, depth: 1) { edges { from { node } standing } } } }";
    let graph = app.query(query, json!({"id": id})).await["asset"]["lineage"].take();
    let edges = graph["edges"].as_array().expect("edges").iter();
    let told: Vec<_> = edges.map(|e| (text(&e["from"]["node"]), text(&e["standing"]).to_lowercase())).collect();
    assert_eq!(told, rest);
    let names =
        rest.into_iter().map(|(from, standing)| (from.rsplit(':').next().expect("a name").to_owned(), standing));
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_stands_as_the_manifest_says() {
    with(market(), async |app| {
        let mut chain = Chain::of(app).await;
        let (parent, _) = publish(app, "parent", &[]).await;
        let (other, _) = publish(app, "other", &[]).await;
        let (child, tx) = publish(app, "child", &[&parent]).await;
        let stands = |standing: &str| (parent.clone(), standing.to_owned());
        assert_eq!(standings(app, &child).await, [stands("claimed")], "its manifest says so, and nobody has proven it");
        prove(app, &mut chain, &child, &tx).await;
        assert_eq!(standings(app, &child).await, [stands("anchored")]);
        // The same from somebody else; what the manifest does not say; and what is no version at all.
        claim(app, dataset(&parent), dataset(&child)).await;
        claim(app, dataset(&other), dataset(&child)).await;
        claim(app, json!({"namespace": "elsewhere", "name": "table"}), dataset(&child)).await;
        let mut wanted = vec![
            stands("anchored"),
            stands("anchored"),
            (other.clone(), "contradicted".into()),
            ("table".into(), "claimed".into()),
        ];
        let mut found = standings(app, &child).await;
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted);
        // The block is taken back: then nobody knows.
        chain.take_off(app, 1).await;
        app.caught_up().await;
        let found = standings(app, &child).await;
        assert_eq!(found.iter().filter(|(_, standing)| standing == "claimed").count(), 3, "{found:?}");
        assert_eq!(found.iter().filter(|(_, standing)| standing == "contradicted").count(), 1, "{found:?}");
    })
    .await;
}

/// The facets of a version's dataset.
async fn facets(app: &TestApp, id: &str) -> Value {
    app.json(&format!("/openlineage/nodes/dataset/{NAMESPACE}/{id}")).await["facets"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_version_is_told() {
    with(market(), async |app| {
        let count = async || app.rows("select count(*)::text from lineage_event_audit").await.remove(0);
        let (parent, _) = publish(app, "parent", &[]).await;
        let (child, tx) = publish(app, "child", &[&parent]).await;
        let told = count().await;
        publish(app, "child", &[&parent]).await;
        assert_eq!(count().await, told, "what was published before is not told again");
        assert_eq!(facets(app, &child).await["overlay_version"]["datasetId"], "child");
        let jobs = app.json(&format!("/openlineage/jobs/{NAMESPACE}/publish::{child}")).await;
        assert_eq!((&jobs["inputs"], &jobs["outputs"]), (&json!([dataset(&parent)]), &json!([dataset(&child)])));
        let mut chain = Chain::of(app).await;
        prove(app, &mut chain, &child, &tx).await;
        let proof = facets(app, &child).await["overlay_proof"].take();
        assert_eq!((&proof["txid"], &proof["blockHeight"]), (&json!(tx.txid()), &json!(chain.height())));
        let issue = "mutation($id: Hex32!) { issueAdvisory(input: {type: BLOCK, reason: \"rotten\", versionIds: [$id]}) \
            { advisory { advisoryId } } }";
        let issued = app.query(issue, json!({"id": child})).await;
        let advisory = issued["issueAdvisory"]["advisory"]["advisoryId"].as_str().expect("an id").to_owned();
        let name = format!("overlay_advisory_{advisory}");
        let recall = facets(app, &child).await[&name].take();
        assert_eq!((&recall["type"], &recall["reason"]), (&json!("BLOCK"), &json!("rotten")));
        let withdraw = "mutation($id: String!) { withdrawAdvisory(input: {advisoryId: $id}) { advisoryId } }";
        app.query(withdraw, json!({"id": advisory})).await;
        assert_eq!(facets(app, &child).await.get(&name), None);
        // What is told is what the specification knows.
        let events = app.json("/api/v1/events/lineage?limit=6").await["events"].take();
        for event in events.as_array().expect("events") {
            assert!(event["run"]["runId"].as_str().is_some_and(|id| id.parse::<uuid::Uuid>().is_ok()), "{event}");
            super::converge::is_valid(event);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publication_is_not_told() {
    with(market(), async |app| {
        let before = app.rows("select count(*)::text from lineage_event_audit").await;
        let (_, tx) = publish(app, "one", &[]).await;
        // The same transaction cannot declare another version.
        let manifest = json!({
            "type": "datasetVersionManifest", "datasetId": "two", "content": {"contentHash": "ab".repeat(32)},
            "provenance": {"createdAt": "2026-01-02T03:04:05Z", "producer": {"identityKey": format!("02{}", "ab".repeat(32)), "name": "P"}},
        });
        let body = json!({"manifest": manifest, "rawTx": encode_hex(&tx.to_bytes())});
        let answer = app.http.post(format!("{}/submit", app.url)).json(&body).send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let after = app.rows("select count(*)::text from lineage_event_audit").await;
        let number = |rows: &[String]| rows[0].parse::<u64>().expect("a number");
        assert_eq!(number(&after), number(&before) + 1);
    })
    .await;
}
