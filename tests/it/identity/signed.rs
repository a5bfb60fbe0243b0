//! A signed request is who it says it is, once.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::keys::{Keys, bytes, nonce, with_headers};
use crate::harness::{Setup, TestApp, refused, with};

const VIEWER: &str = "{ viewer { identityKey isAdmin isDeveloper } }";

fn post(app: &TestApp, body: &Value) -> reqwest::RequestBuilder {
    app.http.post(format!("{}/graphql", app.url)).header("content-type", "application/json").body(bytes(body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_names_the_caller_and_a_nonce_serves_once() {
    let (one, other) = (Keys::of(1), Keys::of(2));
    with(Setup::seeded().with("ADMIN_IDENTITY_KEYS", format!("{}, {}", Keys::of(3).key, other.key)), async |app| {
        let viewer = async |keys: &Keys| keys.graphql(app, VIEWER, Value::Null).await["data"]["viewer"].clone();
        assert_eq!(viewer(&one).await, json!({"identityKey": one.key, "isAdmin": false, "isDeveloper": false}));
        assert_eq!(viewer(&other).await, json!({"identityKey": other.key, "isAdmin": true, "isDeveloper": false}));
        assert_eq!(app.query(VIEWER, Value::Null).await["viewer"], Value::Null);

        // The same request again, at once and from many sides: one of them is taken.
        let body = json!({"query": VIEWER});
        let headers = one.headers("used-once", &bytes(&body));
        let known = |answer: Value| usize::from(!answer["data"]["viewer"].is_null());
        let all = (0..40).map(|_| with_headers(post(app, &body), headers.clone()).send());
        let mut taken = 0;
        for answer in join_all(all).await {
            taken += known(answer.expect("answer").json().await.expect("JSON"));
        }
        assert_eq!(taken, 1);
        // A nonce is its signer's own: the other's request of that name is another one.
        let headers = other.headers("used-once", &bytes(&body));
        let answer = with_headers(post(app, &body), headers).send().await.expect("answer");
        assert_eq!(known(answer.json().await.expect("JSON")), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_outlive_the_process_and_end_some_day() {
    let keys = Keys::of(1);
    crate::harness::with_database(async |database| {
        let body = json!({"query": VIEWER});
        let headers = keys.headers("over-a-restart", &bytes(&body));
        for taken in [true, false, true] {
            let app = TestApp::start(&Setup::empty(), database).await;
            let answer = with_headers(post(&app, &body), headers.clone()).send().await.expect("answer");
            let answer: Value = answer.json().await.expect("JSON");
            assert_eq!(!answer["data"]["viewer"].is_null(), taken);
            if !taken {
                // Two days later, another request sweeps it away.
                app.sql("update request_nonces set used_at = used_at - interval '2 days'").await;
                keys.graphql(&app, VIEWER, Value::Null).await;
            }
            app.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_fails_stands_in_the_way_of_writes_alone() {
    let keys = Keys::of(1);
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let read = json!({"query": "{ assets(first: 1) { nodes { name } } viewer { isDeveloper } }"});
        let write = json!({"name": "N"});
        let good = keys.headers(&nonce(), &bytes(&write));
        let without = |left_out: usize| {
            let mut headers = good.to_vec();
            headers.remove(left_out);
            headers
        };
        let mut twice = good.to_vec();
        twice.push(("x-nonce", "another-nonce".to_owned()));
        let mut both = good.to_vec();
        both.push(("authorization", "Bearer x".to_owned()));
        let bad = [
            (without(0), "signature-invalid"),
            (without(1), "signature-invalid"),
            (without(2), "signature-invalid"),
            (twice, "signature-invalid"),
            (both, "signature-invalid"),
            (keys.headers(&nonce(), b"another body").to_vec(), "signature-invalid"),
            (vec![("authorization", "Basic eDp5".to_owned())], "session-expired"),
            (vec![("authorization", "Bearer".to_owned())], "session-expired"),
        ];
        for (headers, code) in bad {
            let answer = with_headers(post(app, &read), headers.clone()).send().await.expect("answer");
            let answer: Value = answer.json().await.expect("JSON");
            assert!(answer["data"]["assets"]["nodes"][0]["name"].is_string(), "{headers:?}: {answer}");
            // Who shows something false is not the developer either.
            assert_eq!(answer["data"]["viewer"], Value::Null, "{headers:?}");
            let register = app.http.post(format!("{}/producers/register", app.url));
            let answer = with_headers(register, headers.clone()).body(bytes(&write)).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::UNAUTHORIZED).await.0, code, "{headers:?}");
        }
        // A link carries no identity, whatever headers go with it.
        let link = "/graphql?query=%7Bviewer%7BidentityKey%7D%7D";
        let answer = keys.request(app, Method::GET, link, &Value::Null).send().await.expect("answer");
        assert_eq!(answer.json::<Value>().await.expect("JSON")["data"]["viewer"], Value::Null);
        // What is signed is read whole first, but not without end.
        let huge = json!({"query": VIEWER, "variables": {"x": "x".repeat(300_000)}});
        let answer = keys.request(app, Method::POST, "/graphql", &huge).send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::PAYLOAD_TOO_LARGE).await.0, "payload-too-large");
        // A browser asks first, and is told that these headers may be sent.
        let asked = app
            .http
            .request(Method::OPTIONS, format!("{}/graphql", app.url))
            .header("origin", "https://front.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-identity-key,x-nonce,x-signature")
            .send()
            .await
            .expect("answer");
        let allowed = asked.headers()["access-control-allow-headers"].to_str().expect("text");
        assert!(allowed.contains("authorization") && allowed.contains("x-signature"), "{allowed}");
    })
    .await;
}
