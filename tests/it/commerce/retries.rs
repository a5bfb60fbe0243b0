//! Who tries again gets what there is, and nothing twice.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::market;
use crate::harness::keys::Keys;
use crate::harness::socket::Socket;
use crate::harness::{TestApp, private_redis, refused, with, with_database};
use crate::identity::sessions::open;

async fn pay(app: &TestApp, keys: &Keys, key: &str, body: &Value) -> reqwest::Response {
    keys.request(app, Method::POST, "/pay", body).header("idempotency-key", key).send().await.expect("answer")
}

async fn count(app: &TestApp) -> usize {
    app.rows("select count(*)::text from receipts").await[0].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tries_on_two_servers_make_one_receipt() {
    with_database(async |database| {
        let servers = [TestApp::start(&market(), database).await, TestApp::start(&market(), database).await];
        let keys = Keys::of(41);
        let before = count(&servers[0]).await;
        let version = servers[0].rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let body = json!({"versionId": version, "quantity": 2});
        let mut told = BTreeSet::new();
        for _ in 0..20 {
            for answer in join_all((0..50).map(|n| pay(&servers[n % 2], &keys, "buy-1", &body))).await {
                assert_eq!(answer.status(), StatusCode::OK);
                told.insert(answer.text().await.expect("text"));
            }
        }
        assert_eq!((told.len(), count(&servers[0]).await), (1, before + 1), "{told:?}");

        // Another purchase under the same key is a mistake; the same key of somebody else is another key.
        let other = json!({"versionId": version, "quantity": 3});
        let answer = pay(&servers[0], &keys, "buy-1", &other).await;
        let told = refused(answer, StatusCode::BAD_REQUEST).await;
        assert_eq!(told, ("idempotency-key-reused".to_owned(), Some("Idempotency-Key".to_owned())));
        let stranger = Keys::of(42);
        assert_eq!(pay(&servers[0], &stranger, "buy-1", &other).await.status(), StatusCode::OK);
        // Without a key each is a purchase of its own.
        for _ in 0..2 {
            let answer = keys.request(&servers[1], Method::POST, "/pay", &body).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::OK);
        }
        assert_eq!(count(&servers[0]).await, before + 4);
        for key in ["", "a b\u{7f}", &"k".repeat(201)] {
            let request = keys.request(&servers[0], Method::POST, "/pay", &body);
            let Ok(value) = reqwest::header::HeaderValue::from_bytes(key.as_bytes()) else { continue };
            let answer = request.header("idempotency-key", value).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.0, "bad-request", "{key:?}");
        }
        for server in servers {
            server.stop().await;
        }
    })
    .await;
}

const BUY: &str = "mutation($i: CreateReceiptInput!) { createReceipt(input: $i) { receipt { receiptId quantity } } }";

/// Where a client cannot set headers, `extensions` name what it wants made: the same key makes the same receipt, whichever
/// way it is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_extensions_is_the_key_of_the_header() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let app = TestApp::start(&market().redis(redis.url()), database).await;
        let keys = Keys::of(43);
        let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let input = |quantity: u32| json!({"versionId": version, "quantity": quantity});
        let payload = |quantity: u32, key: Value| json!({"query": BUY, "variables": {"i": input(quantity)}, "extensions": {"idempotencyKey": key}});
        let of_header: Value = pay(&app, &keys, "buy-1", &input(2)).await.json().await.expect("JSON");
        let made = count(&app).await;

        let by_post = async |payload: &Value, header: Option<&str>| -> Value {
            let mut request = keys.request(&app, Method::POST, "/graphql", payload);
            if let Some(key) = header {
                request = request.header("idempotency-key", key);
            }
            request.send().await.expect("answer").json().await.expect("JSON")
        };
        let receipt = json!({"receiptId": of_header["receiptId"], "quantity": 2});
        for header in [None, Some("buy-1")] {
            let told = by_post(&payload(2, json!("buy-1")), header).await;
            assert_eq!(told["data"]["createReceipt"]["receipt"], receipt, "{told}");
        }

        let (sid, _) = open(&app, &keys).await;
        let mut socket = Socket::raw(&app.url).await;
        let authorization = json!({"Authorization": format!("Bearer {sid}")});
        socket.say(&json!({"type": "connection_init", "payload": authorization})).await;
        assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
        socket.say(&json!({"id": "1", "type": "subscribe", "payload": payload(2, json!("buy-1"))})).await;
        assert_eq!(socket.event("1").await["createReceipt"]["receipt"], receipt);
        assert_eq!(count(&app).await, made, "nothing was bought twice");

        // Another purchase under that key, two keys, and what is no key.
        let refusals = [
            (payload(3, json!("buy-1")), None, "IDEMPOTENCY_KEY_REUSED"),
            (payload(2, json!("buy-2")), Some("buy-1"), "BAD_REQUEST"),
            (payload(2, json!("")), None, "BAD_REQUEST"),
            (payload(2, json!(7)), None, "BAD_REQUEST"),
            (payload(2, json!("k".repeat(201))), None, "BAD_REQUEST"),
        ];
        for (payload, header, code) in refusals {
            let told = by_post(&payload, header).await;
            assert_eq!(told["errors"][0]["extensions"]["code"], code, "{told}");
        }
        assert_eq!(count(&app).await, made);
        app.stop().await;
    })
    .await;
    redis.stop().await.expect("stops");
}

/// A field that a document names twice under one key is one field, however that is written: it must not be bought twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_is_named_twice_is_not_made_twice() {
    with(market(), async |app| {
        let keys = Keys::of(44);
        let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let buy = format!("createReceipt(input: {{versionId: \"{version}\"}}) {{ receipt {{ receiptId }} }}");
        let before = count(app).await;
        for query in [
            format!("mutation {{ {buy} {buy} }}"),
            format!("mutation {{ ...f ...f }} fragment f on Mutation {{ {buy} }}"),
            format!("mutation {{ {buy} ... on Mutation {{ {buy} }} }}"),
        ] {
            let told = keys.graphql(app, &query, Value::Null).await;
            assert_eq!(told["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{told}");
        }
        assert_eq!(count(app).await, before);
        let told = keys.graphql(app, &format!("mutation {{ a: {buy} b: {buy} }}"), Value::Null).await;
        assert_ne!(told["data"]["a"]["receipt"], told["data"]["b"]["receipt"], "two aliases are two: {told}");
        assert_eq!(count(app).await, before + 2);
        // Of two, one is refused: the other is told of all the same.
        let none = buy.replace(&version, &"0".repeat(64));
        let told = keys.graphql(app, &format!("mutation {{ a: {buy} b: {none} }}"), Value::Null).await;
        assert!(told["data"]["a"]["receipt"]["receiptId"].is_string() && told["data"]["b"].is_null(), "{told}");
        assert_eq!((&told["errors"][0]["path"], count(app).await), (&json!(["b"]), before + 3), "{told}");
    })
    .await;
}
