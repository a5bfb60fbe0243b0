//! Subscriptions: every change is told, once, in order, and whoever was cut off goes on where they were.

mod events;
mod follow;
mod kinds;
mod many;
mod protocol;

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::socket::Socket;

/// All versions that change.
const ASSETS: &str = "subscription A($since: String, $ids: [Hex32!]) { assetChanged(since: $since, versionIds: $ids) { \
    token gap versionId asset { name } } }";

/// The point from which a subscription misses nothing that happens after this call.
async fn now(app: &TestApp) -> String {
    app.caught_up().await;
    app.settled().await;
    let told = app.query("{ changeToken }", json!({})).await;
    told["changeToken"].as_str().expect("a token").to_owned()
}

/// Gives versions names, each in a transaction of its own.
async fn rename(app: &TestApp, ids: &[&str], name: &str) {
    for id in ids {
        app.sql(&format!("update assets set name = '{name}' where version_id = '{id}'")).await;
    }
}

/// Version ids, sorted.
async fn versions(app: &TestApp, count: usize) -> Vec<String> {
    app.rows(&format!("select version_id from assets order by 1 limit {count}")).await
}

/// The next event of `assetChanged`: version, name and token.
async fn asset(socket: &mut Socket, id: &str) -> (String, String, String) {
    let told = socket.event(id).await["assetChanged"].take();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    (text(&told["versionId"]), text(&told["asset"]["name"]), text(&told["token"]))
}
