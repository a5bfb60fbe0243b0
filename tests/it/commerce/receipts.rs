//! From the question to the confirmed receipt, and back when the chain turns.

use futures_util::future::join_all;
use overlay::flows::receipts::settle;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{market, paying, post, posted, quoted, raw};
use crate::harness::chain::Chain;
use crate::harness::keys::Keys;
use crate::harness::{Setup, TestApp, refused, with};

const PROVE: &str =
    "mutation P($input: AttachPaymentProofInput!) { attachPaymentProof(input: $input) { receipt { status } } }";

const QUOTE: &str = "mutation Q($input: QuotePaymentInput!) { quotePayment(input: $input) { quote { templateHash expiresAt feeRateHint } } }";

async fn status(app: &TestApp, receipt: &Value) -> String {
    let id = receipt["receiptId"].as_str().expect("id");
    let told = app.json(&format!("/payments/{id}")).await;
    assert_eq!(app.json(&format!("/receipt?receiptId={id}")).await, told);
    told["status"].as_str().expect("a status").to_owned()
}

async fn events(app: &TestApp, receipt: &Value) -> Vec<String> {
    let id = receipt["receiptId"].as_str().expect("id");
    app.rows(&format!("select type from revenue_events where receipt_id = '{id}' order by event_id")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_quoted_paid_and_confirmed_and_follows_the_chain() {
    let keys = Keys::of(31);
    with(market(), async |app| {
        let (receipt, quote) = quoted(app, &keys).await;
        assert_eq!(status(app, &receipt).await, "pending");
        let outputs = quote["outputs"].as_array().expect("outputs");
        let sum: i64 = outputs.iter().map(|o| o["satoshis"].as_i64().expect("n")).sum();
        let amount = receipt["amountSat"].as_i64().expect("n");
        assert_eq!((sum, quote["amountSat"].as_i64()), (amount, Some(amount)));
        let own = outputs.iter().find(|o| o["scriptHex"] == "51").expect("the server's share");
        assert_eq!(own["satoshis"], json!(amount / 20));
        // The hash is of this text, whoever makes it.
        let parts: Vec<String> = outputs
            .iter()
            .map(|o| format!(r#"{{"satoshis":{},"scriptHex":{}}}"#, o["satoshis"], o["scriptHex"]))
            .collect();
        let text =
            format!(r#"{{"amountSat":{amount},"outputs":[{}],"versionId":{}}}"#, parts.join(","), receipt["versionId"]);
        let hash = overlay::domain::hex::encode_hex(&Sha256::digest(text));
        assert_eq!(quote["templateHash"], json!(hash));
        // Another receipt of the same purchase has the same template; the same receipt the same quote.
        let (_, other) = quoted(app, &keys).await;
        assert_eq!(other["templateHash"], quote["templateHash"]);
        let which = json!({"receiptId": receipt["receiptId"]});
        assert_eq!(posted(app, &keys, "/payments/quote", &which).await, quote);
        let told = keys.graphql(app, QUOTE, json!({"input": which})).await["data"]["quotePayment"]["quote"].take();
        let until = chrono::DateTime::parse_from_rfc3339(told["expiresAt"].as_str().expect("a time")).expect("a time");
        assert_eq!(json!(until.timestamp()), quote["expiresAt"]);
        for field in ["templateHash", "feeRateHint"] {
            assert_eq!(told[field], quote[field], "{field}");
        }

        let payment = paying(&quote["outputs"], "one");
        let submission = json!({"receiptId": receipt["receiptId"], "rawTx": raw(&payment)});
        for _ in 0..2 {
            let paid = posted(app, &keys, "/payments/submit", &submission).await;
            assert_eq!((&paid["status"], &paid["paymentTxid"]), (&json!("paid"), &json!(payment.txid().to_string())));
        }
        let mut chain = Chain::of(app).await;
        let envelope = chain.proof_of(app, &payment).await;
        app.caught_up().await;
        let input = json!({"input": {"receiptId": receipt["receiptId"], "proof": {"envelope": envelope}}});
        let told = keys.graphql(app, PROVE, input).await;
        assert_eq!(told["data"]["attachPaymentProof"]["receipt"]["status"], "CONFIRMED", "{told}");
        assert_eq!(status(app, &receipt).await, "confirmed");
        assert_eq!(settle(&app.app).await.expect("settled"), Default::default());

        let taken = chain.take_off(app, 1).await;
        app.caught_up().await;
        assert_eq!(settle(&app.app).await.expect("settled").reverted, 1);
        assert_eq!(status(app, &receipt).await, "paid");
        // The same transaction is still its payment, and no other may be.
        posted(app, &keys, "/payments/submit", &submission).await;
        taken.put_on(app).await;
        app.caught_up().await;
        assert_eq!(settle(&app.app).await.expect("settled").confirmed, 1);
        assert_eq!(status(app, &receipt).await, "confirmed");
        assert_eq!(events(app, &receipt).await, ["quoted", "submitted", "confirmed", "reverted", "confirmed"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pay_changes_nothing() {
    let keys = Keys::of(31);
    with(market(), async |app| {
        let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let receipt = posted(app, &keys, "/pay", &json!({"versionId": version})).await;
        let id = &receipt["receiptId"];
        let submit =
            async |tx: &str| post(app, &keys, "/payments/submit", &json!({"receiptId": id, "rawTx": tx})).await;
        let any = raw(&paying(&json!([]), "any"));
        assert_eq!(refused(submit(&any).await, StatusCode::CONFLICT).await.0, "not-quoted");
        let quote = posted(app, &keys, "/payments/quote", &json!({"receiptId": id})).await;
        for tx in ["", "00", "zz", &"00".repeat(50)] {
            assert_eq!(refused(submit(tx).await, StatusCode::BAD_REQUEST).await.0, "bad-request", "{tx}");
        }
        let outputs = quote["outputs"].as_array().expect("outputs");
        let mut short = outputs.clone();
        short.pop();
        let mut less = outputs.clone();
        less[0]["satoshis"] = json!(outputs[0]["satoshis"].as_i64().expect("n") - 1);
        let mut more = outputs.clone();
        more[0]["satoshis"] = json!(outputs[0]["satoshis"].as_i64().expect("n") + 1);
        let mut elsewhere = outputs.clone();
        elsewhere[0]["scriptHex"] = json!("6a");
        for outputs in [short, less, more, elsewhere] {
            let tx = raw(&paying(&json!(outputs), "wrong"));
            let told = refused(submit(&tx).await, StatusCode::CONFLICT).await;
            assert_eq!(told, ("outputs-missing".to_owned(), Some("rawTx".to_owned())), "{outputs:?}");
        }
        for (body, code) in [
            (json!({"receiptId": "none"}), "not-found"),
            (json!({"receiptId": "x\u{0}"}), "not-found"),
            (json!({"receiptId": "x".repeat(300)}), "not-found"),
        ] {
            let answer = post(app, &keys, "/payments/quote", &body).await;
            assert_eq!(refused(answer, StatusCode::NOT_FOUND).await.0, code, "{body}");
        }
        let id_text = id.as_str().expect("id");
        let row = async || {
            app.rows(&format!(
                "select status || coalesce(payment_txid, '') from receipts where receipt_id = '{id_text}'"
            ))
            .await
        };
        assert_eq!(row().await, ["pending"]);

        // A quote that has run out is not paid; another is made for the asking.
        app.sql(&format!(
            "update receipts set quote_expires_at = now() - interval '1 second' where receipt_id = '{id_text}'"
        ))
        .await;
        let good = raw(&paying(&quote["outputs"], "good"));
        assert_eq!(refused(submit(&good).await, StatusCode::GONE).await.0, "quote-expired");
        posted(app, &keys, "/payments/quote", &json!({"receiptId": id})).await;
        // Nor is a receipt, whether a sweep has come by or not.
        app.sql(&format!(
            "update receipts set expires_at = now() - interval '1 second' where receipt_id = '{id_text}'"
        ))
        .await;
        for swept in [0, 1] {
            assert_eq!(refused(submit(&good).await, StatusCode::GONE).await.0, "receipt-expired");
            let quote = post(app, &keys, "/payments/quote", &json!({"receiptId": id})).await;
            assert_eq!(refused(quote, StatusCode::GONE).await.0, "receipt-expired");
            if swept == 0 {
                assert_eq!(settle(&app.app).await.expect("settled").expired, 1);
            }
        }
        assert_eq!(row().await, ["expired"]);

        // Nobody to be paid: nothing to be quoted.
        let receipt = posted(app, &keys, "/pay", &json!({"versionId": version})).await;
        app.sql("update producers set payout_script_hex = null").await;
        app.caught_up().await;
        let quote = post(app, &keys, "/payments/quote", &json!({"receiptId": receipt["receiptId"]})).await;
        assert_eq!(refused(quote, StatusCode::CONFLICT).await.0, "no-payout-script");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_payments_one_is_taken() {
    let keys = Keys::of(31);
    with(market().with("PAY_STRICT", "false"), async |app| {
        let (first, quote) = quoted(app, &keys).await;
        let (second, _) = quoted(app, &keys).await;
        // One receipt, many transactions.
        let submit = |receipt: &Value, salt: String| {
            let body = json!({"receiptId": receipt["receiptId"], "rawTx": raw(&paying(&quote["outputs"], &salt))});
            let keys = &keys;
            async move { post(app, keys, "/payments/submit", &body).await }
        };
        let all = join_all((0..12).map(|n| submit(&first, format!("rival {n}")))).await;
        let mut taken = 0;
        for answer in all {
            match answer.status() {
                StatusCode::OK => taken += 1,
                _ => assert_eq!(refused(answer, StatusCode::CONFLICT).await.0, "already-paid"),
            }
        }
        assert_eq!(taken, 1);
        assert_eq!(events(app, &first).await, ["quoted", "submitted"]);
        // One transaction, two receipts.
        let (third, _) = quoted(app, &keys).await;
        let all = join_all([&second, &third].map(|receipt| submit(receipt, "the same".into()))).await;
        let mut outcomes = Vec::new();
        for answer in all {
            outcomes.push(match answer.status() {
                StatusCode::OK => "ok".to_owned(),
                _ => refused(answer, StatusCode::CONFLICT).await.0,
            });
        }
        outcomes.sort_unstable();
        assert_eq!(outcomes, ["ok", "transaction-used"]);
        // With more than was asked.
        let open = if status(app, &second).await == "pending" { &second } else { &third };
        let mut more = quote["outputs"].clone();
        more[0]["satoshis"] = json!(more[0]["satoshis"].as_i64().expect("n") + 1_000);
        let body = json!({"receiptId": open["receiptId"], "rawTx": raw(&paying(&more, "generous"))});
        assert_eq!(posted(app, &keys, "/payments/submit", &body).await["status"], "paid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_something_else_confirms_nothing() {
    let keys = Keys::of(31);
    with(market().with("POLICY_MIN_CONFS", "3"), async |app| {
        let (receipt, quote) = quoted(app, &keys).await;
        let prove = async |envelope: &Value| {
            let input = json!({"input": {"receiptId": receipt["receiptId"], "proof": {"envelope": envelope}}});
            let told = keys.graphql(app, PROVE, input).await;
            told["errors"][0]["extensions"]["code"].as_str().unwrap_or("ok").to_owned()
        };
        let mut chain = Chain::of(app).await;
        let payment = paying(&quote["outputs"], "one");
        let envelope = json!(chain.proof_of(app, &payment).await);
        app.caught_up().await;
        assert_eq!(prove(&envelope).await, "NOT_PAID");
        let body = json!({"receiptId": receipt["receiptId"], "rawTx": raw(&payment)});
        posted(app, &keys, "/payments/submit", &body).await;
        let other = json!(chain.proof_of(app, &paying(&quote["outputs"], "two")).await);
        app.caught_up().await;
        assert_eq!(prove(&other).await, "SPV_VERIFICATION_FAILED");
        assert_eq!(status(app, &receipt).await, "paid");
        // It holds, and is not deep enough: two confirmations of three.
        assert_eq!(prove(&envelope).await, "ok");
        assert_eq!(status(app, &receipt).await, "paid");
        assert_eq!(settle(&app.app).await.expect("settled").confirmed, 0);
        chain.mine(app, &[]).await;
        app.caught_up().await;
        assert_eq!(settle(&app.app).await.expect("settled").confirmed, 1);
        assert_eq!(status(app, &receipt).await, "confirmed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_of_its_own_the_server_takes_no_share() {
    let keys = Keys::of(31);
    with(Setup::seeded(), async |app| {
        let (receipt, quote) = quoted(app, &keys).await;
        let outputs = quote["outputs"].as_array().expect("outputs");
        assert_eq!((outputs.len(), &outputs[0]["satoshis"]), (1, &receipt["amountSat"]));
    })
    .await;
}
