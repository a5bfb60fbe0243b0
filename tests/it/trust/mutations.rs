//! Publishing in GraphQL: what is written is read back at once, links write nothing, and no answer is kept.

use overlay::domain::spv::encode_hex;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::chain::{Chain, declaring};
use crate::harness::{Setup, TestApp, with};

const PUBLISH: &str = "mutation P($input: PublishAssetInput!) { publishAsset(input: $input) { \
    txid vout isNew asset { versionId name confirmations declaration { flaw } } } }";
const ATTACH: &str = "mutation A($input: AttachProofInput!) { attachProof(input: $input) { \
    confirmations asset { confirmations declaration { flaw proof { confirmations } } } } }";

fn manifest(name: &str) -> Value {
    json!({
        "type": "datasetVersionManifest", "datasetId": "mutations", "content": {"contentHash": "ab".repeat(32), "name": name},
        "provenance": {"createdAt": "2026-01-02T03:04:05Z",
            "producer": {"identityKey": format!("02{}", "cd".repeat(32)), "name": "Tester"}},
        "policy": {"license": "MIT", "classification": "public"},
    })
}

async fn count(app: &TestApp) -> String {
    app.rows("select count(*)::text from assets").await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_published_and_its_proof_attached() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let manifest = manifest("by mutation");
        let id = overlay::domain::assets::manifest::version_id(&manifest);
        let tx = declaring(&id);
        let input = json!({"input": {"manifest": manifest, "rawTx": encode_hex(&tx.to_bytes())}});
        for is_new in [true, false, false] {
            let answer = app.post(PUBLISH, input.clone()).send().await.expect("answer");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert!(answer.headers().get("x-cache").is_none());
            let token = answer.headers()["overlay-consistency"].to_str().expect("text").to_owned();
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(body["extensions"]["consistency"], json!(token));
            let expected = json!({"txid": tx.txid().to_string(), "vout": 0, "isNew": is_new,
                "asset": {"versionId": id, "name": "by mutation", "confirmations": 0, "declaration": {"flaw": "missing-envelope"}}});
            assert_eq!(body["data"]["publishAsset"], expected);
        }
        let envelope = Chain::of(app).await.proof_of(app, &tx).await;
        let attach = json!({"input": {"versionId": id, "proof": {"envelope": envelope}}});
        let data = app.query(ATTACH, attach).await;
        let expected = json!({"confirmations": 1,
            "asset": {"confirmations": 1, "declaration": {"flaw": null, "proof": {"confirmations": 1}}}});
        assert_eq!(data["attachProof"], expected);

        let mut other = envelope.clone();
        other["proof"]["merkleRoot"] = json!("00".repeat(32));
        for (proof, code) in [
            (json!({"envelope": other}), "SPV_VERIFICATION_FAILED"),
            (json!({"bump": "00"}), "BAD_REQUEST"),
            (json!({"beef": "0100beef0000"}), "SPV_VERIFICATION_FAILED"),
        ] {
            let errors = app.errors(ATTACH, json!({"input": {"versionId": id, "proof": proof}})).await;
            assert_eq!(errors[0]["extensions"]["code"], code, "{errors}");
        }
        let unknown = json!({"input": {"versionId": "ab".repeat(32), "proof": {"envelope": envelope}}});
        assert_eq!(app.errors(ATTACH, unknown).await[0]["extensions"]["code"], "NOT_FOUND");
        // Nothing of what was refused has changed the proof.
        assert_eq!(app.json(&format!("/ready?versionId={id}")).await["ready"], json!(true));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_strangers_write_nothing() {
    let manifest = manifest("unwanted");
    let tx = declaring(&overlay::domain::assets::manifest::version_id(&manifest));
    let input = json!({"input": {"manifest": manifest, "rawTx": encode_hex(&tx.to_bytes())}});
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let before = count(app).await;
        let query = [("query", PUBLISH.to_owned()), ("variables", input.to_string())];
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let answer = app.get(&format!("/graphql?{query}")).send().await.expect("answer");
        assert_eq!(
            (answer.status(), &answer.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().expect("a value"))
        );
        let both = format!("query Q {{ chainTip {{ height }} }} {PUBLISH}");
        for (name, status) in [("Q", StatusCode::OK), ("P", StatusCode::METHOD_NOT_ALLOWED)] {
            let pairs = [("query", both.clone()), ("operationName", name.to_owned()), ("variables", input.to_string())];
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            assert_eq!(app.get(&format!("/graphql?{query}")).send().await.expect("answer").status(), status, "{name}");
        }
        assert_eq!(count(app).await, before);
    })
    .await;
    with(Setup::seeded(), async |app| {
        let before = count(app).await;
        let errors = app.errors(PUBLISH, input.clone()).await;
        assert_eq!(errors[0]["extensions"]["code"], "IDENTITY_REQUIRED");
        assert_eq!(count(app).await, before);
    })
    .await;
}

const EVALUATE: &str = "mutation E($input: EvaluatePolicyInput!) { evaluatePolicy(input: $input) { evaluation { \
    decision reasons warnings evidence } } }";
const SAVE: &str = "mutation S($input: SavePolicyInput!) { savePolicy(input: $input) { policy { policyId enabled } } }";
const ISSUE: &str =
    "mutation I($input: IssueAdvisoryInput!) { issueAdvisory(input: $input) { advisory { advisoryId } } }";

/// Policies and advisories are written in GraphQL as they are in REST.
#[tokio::test(flavor = "multi_thread")]
async fn policies_and_advisories_are_those_of_rest() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        let rules = json!({"classificationAllowList": ["nothing"]});
        let post = async |path: &str, body: &Value| -> Value {
            let request = app.http.post(format!("{}{path}", app.url)).json(body);
            request.send().await.expect("answer").json().await.expect("JSON")
        };
        let asked = json!({"versionId": id, "policy": rules});
        let (rest, graph) =
            (post("/policies/evaluate", &asked).await, app.query(EVALUATE, json!({"input": asked})).await);
        let evaluation = &graph["evaluatePolicy"]["evaluation"];
        assert_eq!((&rest["decision"], &evaluation["decision"]), (&json!("block"), &json!("BLOCK")));
        for field in ["reasons", "warnings", "evidence"] {
            assert_eq!(rest[field], evaluation[field], "{field}");
        }

        let input = json!({"policyId": "off", "name": "switched off", "document": rules, "enabled": false});
        let saved = app.query(SAVE, json!({"input": input})).await;
        assert_eq!(saved["savePolicy"]["policy"], json!({"policyId": "off", "enabled": false}));
        assert_eq!(app.json("/policies/off").await["enabled"], json!(false));

        let producer = app.rows("select min(producer_id) from producers").await.remove(0);
        let input = json!({"type": "WARN", "reason": "all of theirs", "producerIds": [producer]});
        let issued = app.query(ISSUE, json!({"input": input})).await;
        let told = app.json(&format!("/advisories?producerId={producer}")).await;
        let ids: Vec<&Value> = told["items"].as_array().expect("items").iter().map(|i| &i["advisoryId"]).collect();
        assert!(ids.contains(&&issued["issueAdvisory"]["advisory"]["advisoryId"]), "{told}");
    })
    .await;
}
