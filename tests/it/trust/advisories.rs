//! Advisories are issued, told, and withdrawn, and count in the very next answer.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, refused, with};

async fn send(app: &TestApp, method: Method, path: &str, body: Value) -> Response {
    app.http.request(method, format!("{}{path}", app.url)).json(&body).send().await.expect("answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_counts_from_its_issue_to_its_withdrawal() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let ready = app
            .rows("select d.version_id from declarations d join assets a using (version_id) where envelope is not null \
                and not exists (select from asset_parents where child_version_id = d.version_id) \
                and not exists (select from advisory_targets t where t.version_id = d.version_id or t.producer_id = a.producer_id) order by 1 limit 1")
            .await;
        let id = &ready[0];
        let producer = app.rows(&format!("select producer_id from assets where version_id = '{id}'")).await.remove(0);
        let is_ready = async || app.json(&format!("/ready?versionId={id}")).await["ready"] == json!(true);
        for (target, path) in [
            (json!({"versionIds": [id]}), format!("/advisories?versionId={id}")),
            (json!({"producerIds": [producer]}), format!("/advisories?producerId={producer}")),
        ] {
            assert!(is_ready().await);
            assert_eq!(app.json(&path).await, json!({"items": []}));
            let mut body = json!({"type": "BLOCK", "reason": "wrong", "payload": {"see": "here"}, "expiresAt": "2999-01-01T00:00:00Z"});
            body.as_object_mut().expect("object").extend(target.as_object().expect("object").clone());
            let issued = send(app, Method::POST, "/advisories", body).await;
            assert_eq!(issued.status(), StatusCode::CREATED);
            assert!(issued.headers().contains_key("overlay-consistency"));
            let issued: Value = issued.json().await.expect("JSON");
            assert!(!is_ready().await);
            let told = app.json(&path).await;
            let item = &told["items"][0];
            assert_eq!(item["advisoryId"], issued["advisoryId"]);
            assert_eq!((&item["type"], &item["reason"], &item["payload"]), (&json!("BLOCK"), &json!("wrong"), &json!({"see": "here"})));
            assert_eq!(item["expiresAt"], json!("2999-01-01T00:00:00.000Z"));
            let one = format!("/advisories/{}", issued["advisoryId"].as_str().expect("id"));
            assert_eq!(send(app, Method::DELETE, &one, json!({})).await.status(), StatusCode::NO_CONTENT);
            assert_eq!(refused(send(app, Method::DELETE, &one, json!({})).await, StatusCode::NOT_FOUND).await.0, "not-found");
        }
        assert!(is_ready().await);
        // A producer's key is as good as its identifier.
        let key = app.rows(&format!("select identity_key from producers where producer_id = '{producer}'")).await.remove(0);
        let body = json!({"type": "BLOCK", "reason": "by key", "producerIds": [key]});
        let issued: Value = send(app, Method::POST, "/advisories", body).await.json().await.expect("JSON");
        assert!(!is_ready().await);
        let one = format!("/advisories/{}", issued["advisoryId"].as_str().expect("id"));
        assert_eq!(send(app, Method::DELETE, &one, json!({})).await.status(), StatusCode::NO_CONTENT);
        for (body, hint) in [
            (json!({"type": "BLOCK", "reason": "", "versionIds": [id]}), Some("reason")),
            (json!({"type": "BLOCK", "reason": "x"}), Some("versionIds")),
            (json!({"type": "BLOCK", "reason": "x", "versionIds": ["x"]}), Some("versionIds")),
            (json!({"type": "BLOCK", "reason": "x", "producerIds": [""]}), Some("producerIds")),
            (json!({"type": "BLOCK", "reason": "x", "producerIds": ["nobody"]}), Some("producerIds")),
            (json!({"type": "BLOCK", "reason": "x", "versionIds": [id], "expiresAt": "2001-01-01T00:00:00Z"}), Some("expiresAt")),
            (json!({"type": "BLOCK", "reason": "x", "versionIds": [id], "payload": "x".repeat(70_000)}), Some("payload")),
            (json!({"type": "block", "reason": "x", "versionIds": [id]}), None),
        ] {
            let answer = send(app, Method::POST, "/advisories", body.clone()).await;
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await, ("bad-request".into(), hint.map(str::to_owned)));
        }
        for path in ["/advisories", "/advisories?versionId=x", "/advisories?versionId=x&producerId=y"] {
            assert_eq!(app.get(path).send().await.expect("answer").status(), StatusCode::BAD_REQUEST);
        }
        assert_eq!(app.rows("select count(*)::text from advisories").await, ["3"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn advisories_are_not_everybodys_to_issue() {
    with(Setup::seeded(), async |app| {
        let body = json!({"type": "BLOCK", "reason": "x", "producerIds": ["p"]});
        for (method, path) in [(Method::POST, "/advisories"), (Method::DELETE, "/advisories/adv_polyphon-review")] {
            let answer = send(app, method, path, body.clone()).await;
            assert_eq!(refused(answer, StatusCode::UNAUTHORIZED).await.0, "identity-required");
        }
        assert_eq!(app.rows("select count(*)::text from advisories").await, ["3"]);
    })
    .await;
}

/// A client that does not know whether its request arrived asks again under the same key: nothing is made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_advisory_and_one_policy() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let ids = app.rows("select version_id from assets order by 1 limit 2").await;
        let post = async |path: &str, key: &str, body: &Value| {
            let request = app.http.post(format!("{}{path}", app.url)).json(body).header("idempotency-key", key);
            request.send().await.expect("answer")
        };
        // The end is given with a leap second, which nobody else knows: it is told as it is kept.
        let issue = json!({"type": "WARN", "reason": "look", "versionIds": ids, "payload": {"a": [1]},
            "expiresAt": "2998-12-31T23:59:60Z"});
        let policy = json!({"name": "Once", "doc": {"minConfs": 2}});
        for (path, body, name) in [("/advisories", &issue, "reason"), ("/policies", &policy, "name")] {
            let mut told = std::collections::BTreeSet::new();
            for _ in 0..3 {
                let answer = post(path, "again", body).await;
                let (status, text) = (answer.status(), answer.text().await.expect("text"));
                assert!(status.is_success(), "{path}: {text}");
                told.insert(text);
            }
            assert_eq!(told.len(), 1, "{told:?}");
            let mut other = body.clone();
            other[name] = json!("another");
            assert_eq!(
                refused(post(path, "again", &other).await, StatusCode::BAD_REQUEST).await.0,
                "idempotency-key-reused"
            );
            let answer = post(path, "another", body).await.text().await.expect("text");
            assert!(told.insert(answer), "another key, another one");
        }
        let mut fewer = issue.clone();
        fewer["versionIds"] = json!([ids[0]]);
        assert_eq!(post("/advisories", "again", &fewer).await.status(), StatusCode::BAD_REQUEST);
        assert_eq!(app.rows("select count(*)::text from advisories where reason = 'look'").await, ["2"]);
        assert_eq!(app.rows("select count(*)::text from policies where name = 'Once'").await, ["2"]);
        let kept = app.json(&format!("/advisories?versionId={}", ids[0])).await;
        let kept = kept["items"].as_array().expect("items").iter().find(|item| item["reason"] == "look").expect("kept");
        assert_eq!(kept["expiresAt"], "2999-01-01T00:00:00.000Z");
    })
    .await;
}
