//! Producers say themselves who they are.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::keys::Keys;
use crate::harness::{Setup, refused, with};

const REGISTER: &str = "mutation R($input: RegisterProducerInput!) { registerProducer(input: $input) { \
    producer { producerId identityKey name website } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_registers_and_changes_its_profile() {
    with(Setup::seeded(), async |app| {
        let keys = Keys::of(1);
        let input = json!({"name": "First", "website": "https://one.example/", "payoutScriptHex": "76a9"});
        let told = keys.graphql(app, REGISTER, json!({"input": input})).await;
        let producer = told["data"]["registerProducer"]["producer"].clone();
        let id = producer["producerId"].as_str().expect("id").to_owned();
        assert_eq!((&producer["identityKey"], &producer["name"]), (&json!(keys.key), &json!("First")));
        assert!(told["extensions"]["consistency"].is_string());
        let shown = app.json(&format!("/producers/{id}")).await;
        assert_eq!((&shown["name"], &shown["website"]), (&json!("First"), &json!("https://one.example/")));
        assert_eq!(app.rows("select payout_script_hex from producers where display_name = 'First'").await, ["76a9"]);

        let answer = keys.request(app, Method::POST, "/producers/register", &json!({"name": "Second"}));
        let answer: Value = answer.send().await.expect("answer").json().await.expect("JSON");
        assert_eq!(answer["producerId"], json!(id));
        // At once, and the whole profile: what is not said any more is gone.
        let shown = app.json(&format!("/producers/{id}")).await;
        assert_eq!((&shown["name"], &shown["website"]), (&json!("Second"), &Value::Null));

        for (body, hint) in [
            (json!({"name": " "}), "name"),
            (json!({"name": "n".repeat(501)}), "name"),
            (json!({"name": "n\u{0}"}), "name"),
            (json!({"name": "n", "website": "javascript:alert(1)"}), "website"),
            (json!({"name": "n", "website": "no url"}), "website"),
            (json!({"name": "n", "payoutScriptHex": ""}), "payoutScriptHex"),
            (json!({"name": "n", "payoutScriptHex": "7"}), "payoutScriptHex"),
            (json!({"name": "n", "payoutScriptHex": "AB"}), "payoutScriptHex"),
            (json!({"name": "n", "payoutScriptHex": "ab".repeat(10_001)}), "payoutScriptHex"),
        ] {
            let answer = keys.request(app, Method::POST, "/producers/register", &body).send().await.expect("answer");
            let told = refused(answer, StatusCode::BAD_REQUEST).await;
            assert_eq!(told, ("bad-request".to_owned(), Some(hint.to_owned())), "{body}");
        }
        assert_eq!(app.json(&format!("/producers/{id}")).await, shown);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_is_found_by_its_dataset() {
    with(Setup::seeded(), async |app| {
        let row = app
            .rows("select dataset_id || '|' || producer_id from assets order by updated_at desc, version_id limit 1")
            .await;
        let (dataset, producer) = row[0].split_once('|').expect("two");
        let found = app.json(&format!("/producers?datasetId={dataset}")).await;
        assert_eq!(found["producerId"], json!(producer));
        for (path, status, code) in [
            ("/producers?datasetId=none", StatusCode::NOT_FOUND, "not-found"),
            ("/producers/none", StatusCode::NOT_FOUND, "not-found"),
            ("/producers/%00", StatusCode::NOT_FOUND, "not-found"),
            ("/producers/%ff", StatusCode::NOT_FOUND, "not-found"),
            ("/producers", StatusCode::BAD_REQUEST, "bad-request"),
            ("/producers?x=1", StatusCode::BAD_REQUEST, "bad-request"),
        ] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(refused(answer, status).await.0, code, "{path}");
        }
    })
    .await;
}
