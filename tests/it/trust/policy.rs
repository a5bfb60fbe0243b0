//! Policies: kept, applied, on record, and previewed.

use std::collections::BTreeMap;

use overlay::domain::policies::document::PolicyDocument;
use overlay::domain::policies::evaluate::evaluate;
use overlay::domain::policies::facts::Facts;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, refused, with};

fn open() -> Setup {
    Setup::seeded().with("DEV_IDENTITY", "true")
}

async fn send(app: &TestApp, method: Method, path: &str, body: Value) -> Response {
    app.http.request(method, format!("{}{path}", app.url)).json(&body).send().await.expect("answer")
}

async fn ask(app: &TestApp, body: Value) -> Value {
    let answer = send(app, Method::POST, "/ready", body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.expect("JSON")
}

/// Every policy of the market over every version: the verdict, and the audit from which it can be made again.
#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_on_record_and_replays() {
    with(Setup::seeded(), async |app| {
        let policies = app.rows("select policy_id from policies where enabled order by 1").await;
        let mut decisions: BTreeMap<String, usize> = BTreeMap::new();
        let mut asked = 0;
        for id in app.rows("select version_id from assets order by 1 limit 25").await {
            let plain = app.json(&format!("/ready?versionId={id}")).await;
            for policy in &policies {
                let body = app.json(&format!("/ready?versionId={id}&policyId={policy}")).await;
                asked += 1;
                let told = &body["policy"];
                let decision = told["decision"].as_str().expect("a decision").to_owned();
                let blocks = decision == "block";
                assert_eq!(body["ready"], json!(plain["ready"] == json!(true) && !blocks), "{id} {policy}");
                let reason = if plain["ready"] == json!(true) && blocks { json!("policy-block") } else { plain["reason"].clone() };
                assert_eq!(body["reason"], reason);
                assert_eq!(told["reasons"] != json!([]), blocks);
                let run = app
                    .rows(&format!(
                        "select row_to_json(r)::text from policy_runs r where version_id = '{id}' and policy_id = '{policy}'"
                    ))
                    .await;
                assert_eq!(run.len(), 1);
                let run: Value = serde_json::from_str(&run[0]).expect("JSON");
                for field in ["decision", "reasons", "warnings"] {
                    assert_eq!(run[field], told[field]);
                }
                assert_eq!(run["evidence"]["checks"], told["evidence"]);
                let document = PolicyDocument::parse(&run["evidence"]["document"]).expect("a document");
                let facts: Facts = serde_json::from_value(run["evidence"]["facts"].clone()).expect("facts");
                let again = serde_json::to_string(&evaluate(&document, &facts)).expect("JSON");
                assert_eq!(again, told_bytes(told));
                *decisions.entry(decision).or_default() += 1;
            }
        }
        assert_eq!(app.rows("select count(*)::text from policy_runs").await, [asked.to_string()]);
        assert!(decisions.len() > 1, "{decisions:?}");
    })
    .await;
}

/// What was told, in the order of fields in which it is told.
fn told_bytes(told: &Value) -> String {
    let evaluation: overlay::domain::policies::evaluate::Evaluation =
        serde_json::from_value(told.clone()).expect("an evaluation");
    serde_json::to_string(&evaluation).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_comes_along_or_is_named_or_is_the_servers() {
    with(open().with("POLICY_DEFAULT_ID", "pol_open-data"), async |app| {
        let id = &app.rows("select version_id from assets where policy_meta->>'classification' <> 'public' order by 1 limit 1").await[0];
        let own = app.json(&format!("/ready?versionId={id}")).await;
        assert!(own["policy"]["reasons"].to_string().contains("POLICY.PROVENANCE.CLASSIFICATION_NOT_ALLOWED"), "{own}");
        let mild = ask(app, json!({"versionId": id, "policy": {"minConfs": 1}})).await;
        assert_eq!(mild["policy"]["evidence"].as_array().expect("checks").len(), 1);
        let strict = ask(app, json!({"versionId": id, "policy": {"minConfs": 4_000_000}})).await;
        assert_eq!(strict["policy"]["reasons"], json!(["POLICY.SPV.CONFS_TOO_LOW"]));
        assert_eq!(strict["ready"], json!(false));
        let named = ask(app, json!({"versionId": id, "policyId": "pol_production-ml"})).await;
        assert!(named["policy"]["evidence"].to_string().contains("maxBiasScore"));
        let runs = app.rows(&format!("select coalesce(policy_id, '-') from policy_runs where version_id = '{id}' order by 1")).await;
        assert_eq!(runs, ["-", "-", "pol_open-data", "pol_production-ml"]);

        for (body, status, code, hint) in [
            (json!({"versionId": id, "policyId": "none"}), StatusCode::NOT_FOUND, "policy-not-found", "policyId"),
            // Switched off.
            (json!({"versionId": id, "policyId": "pol_budget"}), StatusCode::NOT_FOUND, "policy-not-found", "policyId"),
            (json!({"versionId": id, "policy": {"minconfs": 1}}), StatusCode::UNPROCESSABLE_ENTITY, "invalid-policy", "/minconfs"),
            (json!({"versionId": id, "policy": {}, "policyId": "x"}), StatusCode::BAD_REQUEST, "bad-request", "policy"),
            (json!({"versionId": id, "policyId": "x".repeat(100_000)}), StatusCode::NOT_FOUND, "policy-not-found", "policyId"),
            (json!({"versionId": id, "policyId": "a\u{0}"}), StatusCode::NOT_FOUND, "policy-not-found", "policyId"),
            (json!({"versionId": "x"}), StatusCode::BAD_REQUEST, "bad-request", "versionId"),
            (json!({"versionId": id, "more": 1}), StatusCode::BAD_REQUEST, "bad-request", ""),
        ] {
            let answer = send(app, Method::POST, "/ready", body.clone()).await;
            let (told, told_hint) = refused(answer, status).await;
            assert_eq!((told.as_str(), told_hint.as_deref().unwrap_or_default()), (code, hint), "{body}");
        }
        // Named and left empty is no policy that could say yes.
        for none in ["none", "", "%00"] {
            let answer = app.get(&format!("/ready?versionId={id}&policyId={none}")).send().await.expect("answer");
            assert!(answer.status().is_client_error(), "{none}");
        }
        assert_eq!(app.rows("select count(*)::text from policy_runs").await, ["4"]);

        const QUERY: &str = "query R($id: Hex32!, $policy: JSON) { readiness(versionId: $id, policy: $policy) { ready reason \
            policy { decision reasons warnings evidence } } }";
        let graphql = app.query(QUERY, json!({"id": id, "policy": {"minConfs": 4_000_000}})).await;
        assert_eq!(graphql["readiness"]["policy"]["reasons"], strict["policy"]["reasons"]);
        assert_eq!(graphql["readiness"]["policy"]["evidence"], strict["policy"]["evidence"]);
        assert_eq!(graphql["readiness"]["policy"]["decision"], "BLOCK");
        // Twice the same: two rows, for no kept answer stands for an evaluation.
        app.query(QUERY, json!({"id": id, "policy": {"minConfs": 4_000_000}})).await;
        assert_eq!(app.rows("select count(*)::text from policy_runs").await, ["6"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_kept() {
    with(open(), async |app| {
        let new = json!({"policyId": "mine", "name": "Mine", "doc": {"minConfs": 2}});
        let answer = send(app, Method::POST, "/policies", new.clone()).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let made: Value = answer.json().await.expect("JSON");
        assert_eq!(
            (&made["policyId"], &made["enabled"], &made["doc"]),
            (&json!("mine"), &json!(true), &json!({"minConfs": 2}))
        );
        assert_eq!(app.json("/policies/mine").await, made);
        let listed = app.json("/policies?limit=200").await;
        let ids: Vec<&str> =
            listed["items"].as_array().expect("items").iter().map(|i| i["policyId"].as_str().expect("id")).collect();
        assert!(ids.contains(&"mine") && ids.len() == 6, "{ids:?}");
        let first = app.json("/policies?limit=4").await;
        let cursor = first["nextCursor"].as_str().expect("a cursor");
        let second = app.json(&format!("/policies?limit=4&cursor={cursor}")).await;
        assert_eq!(second["items"].as_array().expect("items").len(), 2);

        let again = send(app, Method::POST, "/policies", new).await;
        assert_eq!(refused(again, StatusCode::CONFLICT).await.0, "policy-exists");
        let id =
            &app.rows("select version_id from declarations where envelope is not null order by 1 limit 1").await[0];
        let path = format!("/ready?versionId={id}&policyId=mine");
        assert_eq!(app.json(&path).await["policy"]["decision"], "allow");
        let changed = send(app, Method::PATCH, "/policies/mine", json!({"doc": {"minConfs": 4_000_000}})).await;
        assert_eq!(changed.json::<Value>().await.expect("JSON")["name"], "Mine");
        // At once, in this process.
        assert_eq!(app.json(&path).await["policy"]["decision"], "block");
        let faulty = send(app, Method::PATCH, "/policies/mine", json!({"doc": {"maxBiasScore": "high"}})).await;
        assert_eq!(
            refused(faulty, StatusCode::UNPROCESSABLE_ENTITY).await,
            ("invalid-policy".into(), Some("/maxBiasScore".into()))
        );
        send(app, Method::PATCH, "/policies/mine", json!({"enabled": false})).await;
        assert_eq!(app.get(&path).send().await.expect("answer").status(), StatusCode::NOT_FOUND);
        assert_eq!(send(app, Method::DELETE, "/policies/mine", json!({})).await.status(), StatusCode::NO_CONTENT);
        let gone = app.get("/policies/mine").send().await.expect("answer");
        assert_eq!(refused(gone, StatusCode::NOT_FOUND).await.0, "policy-not-found");
        // What was decided stays on record.
        assert_eq!(app.rows("select count(*)::text from policy_runs where policy_id = 'mine'").await, ["2"]);

        let evaluated =
            send(app, Method::POST, "/policies/evaluate", json!({"versionId": id, "policy": {"minConfs": 1}})).await;
        assert_eq!(evaluated.json::<Value>().await.expect("JSON")["decision"], "allow");
        let unknown =
            send(app, Method::POST, "/policies/evaluate", json!({"versionId": "ab".repeat(32), "policy": {}})).await;
        assert_eq!(refused(unknown, StatusCode::NOT_FOUND).await.0, "not-found");
        for body in
            [json!({"name": "", "doc": {}}), json!({"policyId": "a b", "name": "x", "doc": {}}), json!({"doc": {}})]
        {
            let answer = send(app, Method::POST, "/policies", body).await;
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.0, "bad-request");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_not_everybodys_to_write() {
    with(Setup::seeded(), async |app| {
        let before = app.rows("select row_to_json(p)::text from policies p order by 1").await;
        for (method, path) in [
            (Method::POST, "/policies"),
            (Method::PATCH, "/policies/pol_open-data"),
            (Method::DELETE, "/policies/pol_open-data"),
        ] {
            let answer = send(app, method, path, json!({"name": "x", "doc": {}})).await;
            assert_eq!(refused(answer, StatusCode::UNAUTHORIZED).await.0, "identity-required");
        }
        assert_eq!(app.rows("select row_to_json(p)::text from policies p order by 1").await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_previews_a_policy_and_writes_nothing() {
    with(Setup::seeded(), async |app| {
        let page = app.json("/listings?limit=71&policyPreview=pol_open-data").await;
        let mut blocked = 0;
        for item in page["items"].as_array().expect("items") {
            let policy = &item["policy"];
            assert_eq!(policy["preview"], json!(true));
            let row = app
                .rows(&format!(
                    "select policy_meta::text from assets where version_id = {}",
                    item["versionId"].to_string().replace('"', "'")
                ))
                .await;
            let meta: Value = serde_json::from_str(&row[0]).expect("JSON");
            let is_public = meta["classification"] == "public";
            let reasons = policy["reasons"].to_string();
            assert_eq!(reasons.contains("CLASSIFICATION_NOT_ALLOWED"), !is_public, "{item}");
            assert!(!reasons.contains("SPV"));
            blocked += usize::from(policy["decision"] == "block");
        }
        assert!((5..66).contains(&blocked), "{blocked}");
        assert!(app.json("/listings?limit=1").await["items"][0].get("policy").is_none());
        assert_eq!(app.rows("select count(*)::text from policy_runs").await, ["0"]);
        let answer = app.get("/listings?policyPreview=none").send().await.expect("answer");
        let refused = refused(answer, StatusCode::NOT_FOUND).await;
        assert_eq!(refused, ("policy-not-found".into(), Some("policyPreview".into())));
        // A policy that changes shows at once in a page that was kept.
        app.sql(
            "update policies set doc = '{\"classificationAllowList\": [\"none\"]}' where policy_id = 'pol_open-data'",
        )
        .await;
        app.caught_up().await;
        let page = app.json("/listings?limit=71&policyPreview=pol_open-data").await;
        assert!(page["items"].as_array().expect("items").iter().all(|item| item["policy"]["decision"] == "block"));
    })
    .await;
}
