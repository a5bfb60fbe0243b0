//! Prices and receipts: what is asked is what is paid, once, and a receipt goes no other way than it may.

mod broadcast;
mod killed;
mod prices;
mod receipts;
mod retries;
mod ways;

use overlay::domain::hex::{decode_hex, encode_hex};
use overlay::domain::spv::{Input, Output, Transaction, sha256d};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::keys::Keys;
use crate::harness::{Setup, TestApp};

/// The market, with a buyer's server share going somewhere.
fn market() -> Setup {
    Setup::seeded().with("PAY_SCRIPT_HEX", "51")
}

async fn post(app: &TestApp, keys: &Keys, path: &str, body: &Value) -> Response {
    keys.request(app, Method::POST, path, body).send().await.expect("answer")
}

async fn posted(app: &TestApp, keys: &Keys, path: &str, body: &Value) -> Value {
    let answer = post(app, keys, path, body).await;
    let status = answer.status();
    let body: Value = answer.json().await.expect("JSON");
    assert!(status.is_success(), "{path}: {status} {body}");
    body
}

/// A transaction with these outputs, and some change. The `salt` makes it another one.
fn paying(outputs: &Value, salt: &str) -> Transaction {
    let output = |output: &Value| Output {
        satoshis: output["satoshis"].as_u64().expect("satoshis"),
        script: decode_hex(output["scriptHex"].as_str().expect("a script")).expect("hex"),
    };
    let mut outputs: Vec<Output> = outputs.as_array().expect("outputs").iter().map(output).collect();
    outputs.push(Output { satoshis: 77, script: vec![0x52] });
    let input = Input { prev_txid: sha256d(salt.as_bytes()), prev_vout: 0, script: Vec::new(), sequence: u32::MAX };
    Transaction { version: 1, inputs: vec![input], outputs, lock_time: 0 }
}

fn raw(tx: &Transaction) -> String {
    encode_hex(&tx.to_bytes())
}

/// A quoted receipt of one unit of some version: the receipt and its quote.
async fn quoted(app: &TestApp, keys: &Keys) -> (Value, Value) {
    let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
    let receipt = posted(app, keys, "/pay", &json!({"versionId": version, "quantity": 3})).await;
    let quote = posted(app, keys, "/payments/quote", &json!({"receiptId": receipt["receiptId"]})).await;
    (receipt, quote)
}
