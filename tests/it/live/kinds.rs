//! Each kind of subscription tells of what it is about.

use serde_json::json;

use super::now;
use crate::harness::keys::Keys;
use crate::harness::socket::Socket;
use crate::harness::{Setup, with};

#[tokio::test(flavor = "multi_thread")]
async fn receipts_advisories_and_the_chain_tell_of_themselves() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let buyer = Keys::of(7);
        let created =
            "mutation($v: Hex32!) { createReceipt(input: {versionId: $v, quantity: 1}) { receipt { receiptId } } }";
        let mine = buyer.graphql(app, created, json!({"v": version})).await;
        let mine = mine["data"]["createReceipt"]["receipt"]["receiptId"].as_str().expect("an id").to_owned();
        let mut socket = Socket::open(&app.url).await;
        let since = now(app).await;
        let receipts = "subscription($id: String!, $since: String) { receiptChanged(receiptId: $id, since: $since) \
            { token gap receipt { receiptId status } } }";
        let advisories = "subscription($since: String) { advisoryIssued(since: $since) \
            { token gap advisoryId advisory { reason type } } }";
        let headers = "subscription($since: String) { chainTipChanged(since: $since) \
            { token gap chainTip { height hash } } }";
        socket.begin("r", receipts, json!({"id": mine, "since": since})).await;
        socket.settled().await;
        // Somebody else's receipt is not told of.
        Keys::of(8).graphql(app, created, json!({"v": version})).await;
        let quote = "mutation($id: String!) { quotePayment(input: {receiptId: $id}) { quote { templateHash } } }";
        let quoted = buyer.graphql(app, quote, json!({"id": mine})).await;
        assert!(quoted.get("errors").is_none(), "{quoted}");
        let told = socket.event("r").await["receiptChanged"].take();
        assert_eq!(told["receipt"]["receiptId"], json!(mine));
        socket.say(&json!({"id": "r", "type": "complete"})).await;

        socket.begin("a", advisories, json!({"since": now(app).await})).await;
        let issue = "mutation($v: Hex32!) { issueAdvisory(input: {type: WARN, reason: \"look\", versionIds: [$v]}) \
            { advisory { advisoryId } } }";
        let issued = app.query(issue, json!({"v": version})).await;
        let id = &issued["issueAdvisory"]["advisory"]["advisoryId"];
        let told = socket.event("a").await["advisoryIssued"].take();
        assert_eq!((&told["advisoryId"], &told["advisory"]), (id, &json!({"reason": "look", "type": "WARN"})));
        app.query(
            "mutation($id: String!) { withdrawAdvisory(input: {advisoryId: $id}) { advisoryId } }",
            json!({"id": id}),
        )
        .await;
        let told = socket.event("a").await["advisoryIssued"].take();
        assert_eq!((&told["advisoryId"], &told["advisory"]), (id, &json!(null)));
        socket.say(&json!({"id": "a", "type": "complete"})).await;

        socket.begin("h", headers, json!({"since": now(app).await})).await;
        let tip = app.query("{ chainTip { height hash } }", json!({})).await["chainTip"].take();
        // The last block is taken back.
        app.sql(
            "update block_headers set on_best_chain = false where height = (select max(height) from block_headers)",
        )
        .await;
        let told = socket.event("h").await["chainTipChanged"].take();
        assert_eq!(
            told["chainTip"]["height"].as_u64().map(|height| height + 1),
            tip["height"].as_u64(),
            "{told} {tip}"
        );
    })
    .await;
}
