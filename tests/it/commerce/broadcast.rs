//! Payments on their way to the network: taken, refused, tried again, and followed until they are in a block.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode as Status;
use overlay::domain::spv::Envelope;
use overlay::flows::receipts::settle;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{market, paying, post, posted, quoted, raw};
use crate::harness::chain::Chain;
use crate::harness::keys::Keys;
use crate::harness::{Setup, TestApp, refused, with, with_database};

/// What a service is asked.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    what: String,
    authorization: Option<String>,
    body: Value,
}

/// A service that answers as it is told to, and otherwise takes what it is sent.
#[derive(Clone, Default)]
struct Service {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
}

impl Service {
    /// Starts it; answers its address too.
    async fn start() -> (Self, String) {
        let service = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = axum::Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (service, format!("http://{address}"))
    }

    fn answers(&self, status: u16, body: Value) {
        self.answers.lock().expect("no panic").push_back((status, body));
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

async fn answer(State(service): State<Service>, request: Request) -> (Status, String) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("body");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let authorization = parts.headers.get("authorization").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let what = format!("{} {}", parts.method, parts.uri.path());
    // What it was sent, as the network names it.
    let raw = body.get("rawTx").or(body.get("rawtx")).and_then(Value::as_str).unwrap_or_default();
    let txid = overlay::domain::hex::decode_hex(raw).ok().map(|raw| overlay::domain::spv::sha256d(&raw).to_string());
    service.asked.lock().expect("no panic").push(Asked { what: what.clone(), authorization, body });
    let told = service.answers.lock().expect("no panic").pop_front();
    let (status, told) = told.unwrap_or_else(|| match what.ends_with("/mapi/tx") {
        true => (200, json!({"payload": json!({"txid": txid, "returnResult": "success"}).to_string()})),
        false => (200, json!({"txid": txid, "txStatus": "SEEN_ON_NETWORK"})),
    });
    (Status::from_u16(status).expect("a status"), told.to_string())
}

fn live(providers: &Value) -> Setup {
    market().with("BROADCAST_MODE", "live").with("PAY_PROVIDERS_JSON", providers.to_string())
}

/// A quoted receipt and a payment of it, to be submitted.
async fn payment(app: &TestApp, keys: &Keys, salt: &str) -> Value {
    let (receipt, quote) = quoted(app, keys).await;
    json!({"receiptId": receipt["receiptId"], "rawTx": raw(&paying(&quote["outputs"], salt))})
}

async fn state(app: &TestApp, submission: &Value) -> Value {
    let query = "query($id: String!) { receipt(receiptId: $id) { status broadcast } }";
    app.query(query, json!({"id": submission["receiptId"]})).await["receipt"].take()
}

async fn events(app: &TestApp, submission: &Value) -> String {
    let id = submission["receiptId"].as_str().expect("id");
    app.rows(&format!("select string_agg(type, ' ' order by event_id) from revenue_events where receipt_id = '{id}'"))
        .await
        .remove(0)
}

/// Lets the time go by that is waited before the next try.
async fn later(app: &TestApp) {
    app.sql("update receipts set broadcast_next_at = now() - interval '1 second' where broadcast is not null").await;
    app.caught_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_to_the_first_service_that_takes_it() {
    let ((first, a), (second, b)) = (Service::start().await, Service::start().await);
    let b = b.replace("http://", "http://me:secret@");
    let providers = json!([{"type": "arc", "url": a, "apiKey": "key"}, {"type": "mapi", "url": format!("{b}/base/")}]);
    let keys = Keys::of(51);
    with(live(&providers), async |app| {
        first.answers(503, json!({"title": "busy"}));
        let submission = payment(app, &keys, "one").await;
        let paid = posted(app, &keys, "/payments/submit", &submission).await;
        assert_eq!((&paid["status"], &paid["broadcast"]), (&json!("paid"), &json!("accepted")));
        assert_eq!(state(app, &submission).await, json!({"status": "PAID", "broadcast": "ACCEPTED"}));
        let asked = |what: &str, authorization: &str, body: Value| {
            vec![Asked { what: what.into(), authorization: Some(authorization.into()), body }]
        };
        assert_eq!(first.asked(), asked("POST /v1/tx", "Bearer key", json!({"rawTx": submission["rawTx"]})));
        let basic = "Basic bWU6c2VjcmV0";
        assert_eq!(second.asked(), asked("POST /base/mapi/tx", basic, json!({"rawtx": submission["rawTx"]})));
        // What was taken is not sent again.
        posted(app, &keys, "/payments/submit", &submission).await;
        assert_eq!((first.asked(), second.asked()), (vec![], vec![]));
        assert_eq!(events(app, &submission).await, "quoted submitted broadcast");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_network_refuses_was_no_payment() {
    let ((first, a), (second, b)) = (Service::start().await, Service::start().await);
    let providers = json!([{"type": "arc", "url": a}, {"type": "mapi", "url": b}]);
    let keys = Keys::of(51);
    with(live(&providers), async |app| {
        first.answers(465, json!({"title": "Fee too low"}));
        let missing = json!({"returnResult": "failure", "resultDescription": "Missing inputs"});
        second.answers(200, json!({"payload": missing.to_string()}));
        let (receipt, quote) = quoted(app, &keys).await;
        let submission =
            |salt: &str| json!({"receiptId": receipt["receiptId"], "rawTx": raw(&paying(&quote["outputs"], salt))});
        let answer = post(app, &keys, "/payments/submit", &submission("one")).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!((&told["error"], &told["reason"]), (&json!("payment-refused"), &json!("Fee too low")));
        assert_eq!(state(app, &submission("one")).await, json!({"status": "PENDING", "broadcast": null}));
        // Another one pays, and then the first does not any more.
        let paid = posted(app, &keys, "/payments/submit", &submission("two")).await;
        assert_eq!((&paid["status"], &paid["broadcast"]), (&json!("paid"), &json!("accepted")));
        let answer = post(app, &keys, "/payments/submit", &submission("one")).await;
        assert_eq!(refused(answer, StatusCode::CONFLICT).await.0, "already-paid");
        assert_eq!(events(app, &submission("one")).await, "quoted submitted refused submitted broadcast");
        // In GraphQL as well.
        for service in [&first, &second] {
            service.answers(200, json!({"txid": "00", "txStatus": "REJECTED", "returnResult": "failure"}));
        }
        let submission = payment(app, &keys, "three").await;
        let query = "mutation($input: SubmitPaymentInput!) { submitPayment(input: $input) { receipt { status } } }";
        let told = keys.graphql(app, query, json!({"input": submission})).await;
        assert_eq!(told["errors"][0]["extensions"]["code"], "PAYMENT_REFUSED", "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_sent_is_sent_later_whatever_happens() {
    let (service, address) = Service::start().await;
    let nobody = format!("http://127.0.0.1:{}", crate::harness::node::free_port());
    let providers = json!([{"type": "arc", "url": address}, {"type": "arc", "url": nobody}]);
    let keys = Keys::of(51);
    with_database(async |database| {
        let app = TestApp::start(&live(&providers), database).await;
        service.answers(465, json!({"title": "Fee too low"}));
        let submission = payment(&app, &keys, "one").await;
        // One refuses, of the other nobody knows.
        let paid = posted(&app, &keys, "/payments/submit", &submission).await;
        assert_eq!((&paid["status"], &paid["broadcast"]), (&json!("paid"), &json!("due")));
        // Not at once again, neither when it is submitted again nor by the sweep.
        posted(&app, &keys, "/payments/submit", &submission).await;
        assert_eq!(settle(&app.app).await.expect("settled").sent, 0);
        assert_eq!(service.asked().len(), 1);
        app.stop().await;

        // Another server goes on, and of several only one.
        let servers =
            [TestApp::start(&live(&providers), database).await, TestApp::start(&live(&providers), database).await];
        later(&servers[0]).await;
        let rounds = futures_util::future::join_all(servers.iter().map(|server| settle(&server.app))).await;
        let sent: u64 = rounds.into_iter().map(|round| round.expect("settled").sent).sum();
        assert_eq!((sent, service.asked().len()), (1, 1));
        assert_eq!(state(&servers[0], &submission).await, json!({"status": "PAID", "broadcast": "ACCEPTED"}));
        assert_eq!(events(&servers[0], &submission).await, "quoted submitted broadcast");
        for server in servers {
            server.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_knows_the_block_confirms_the_receipt() {
    let (service, address) = Service::start().await;
    let keys = Keys::of(51);
    with(live(&json!([{"type": "arc", "url": address}])), async |app| {
        let (receipt, quote) = quoted(app, &keys).await;
        let tx = paying(&quote["outputs"], "one");
        let submission = json!({"receiptId": receipt["receiptId"], "rawTx": raw(&tx)});
        posted(app, &keys, "/payments/submit", &submission).await;
        service.asked();
        // Not in a block yet; then nonsense; then a proof of a block that is not there.
        service.answers(200, json!({"txid": tx.txid(), "txStatus": "SEEN_ON_NETWORK", "merklePath": ""}));
        service.answers(200, json!({"txid": tx.txid(), "txStatus": "MINED", "merklePath": "zz"}));
        service.answers(404, json!({}));
        for n in 1..=3 {
            later(app).await;
            assert_eq!(settle(&app.app).await.expect("settled").confirmed, 0);
            assert_eq!(service.asked().len(), 1, "{n}");
        }
        assert_eq!(settle(&app.app).await.expect("settled").confirmed, 0);
        assert_eq!(service.asked(), vec![], "not at once again");
        let mut chain = Chain::of(app).await;
        let envelope = chain.proof_of(app, &tx).await;
        app.caught_up().await;
        let envelope: Envelope = serde_json::from_value(envelope).expect("an envelope");
        let bump = envelope.to_bump(u32::try_from(chain.height()).expect("a height")).expect("a path");
        let path = overlay::domain::hex::encode_hex(&bump.to_bytes());
        service.answers(200, json!({"txid": tx.txid(), "txStatus": "MINED", "merklePath": path}));
        later(app).await;
        settle(&app.app).await.expect("settled");
        assert_eq!(state(app, &submission).await["status"], "CONFIRMED");
        assert_eq!(service.asked()[0].what, format!("GET /v1/tx/{}", tx.txid()));
        assert_eq!(events(app, &submission).await, "quoted submitted broadcast confirmed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_nothing() {
    let (service, address) = Service::start().await;
    let providers = json!([{"type": "arc", "url": address}]).to_string();
    let keys = Keys::of(51);
    with(market().with("PAY_PROVIDERS_JSON", providers), async |app| {
        let submission = payment(app, &keys, "one").await;
        let paid = posted(app, &keys, "/payments/submit", &submission).await;
        assert_eq!((&paid["status"], paid.get("broadcast")), (&json!("paid"), None));
        settle(&app.app).await.expect("settled");
        assert_eq!((service.asked(), state(app, &submission).await["broadcast"].take()), (vec![], Value::Null));
    })
    .await;
}
