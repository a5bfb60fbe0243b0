//! A producer prices what is its own, and the price that is told is the one that is asked.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{market, post, posted};
use crate::harness::keys::Keys;
use crate::harness::{TestApp, refused, with};

const PRICE: &str = "query P($id: Hex32!, $n: Int!) { price(versionId: $id, quantity: $n) { \
    unitPrice total quantity ruleSource tierFrom contentHash expiresAt } }";
const SET: &str =
    "mutation S($input: SetPriceRuleInput!) { setPriceRule(input: $input) { rule { ruleId tierFrom unitPrice } } }";
const REMOVE: &str = "mutation R($input: RemovePriceRuleInput!) { removePriceRule(input: $input) { tierFrom } }";

/// A version of a producer that holds the key `keys`.
async fn own(app: &TestApp, keys: &Keys) -> (String, String) {
    let row = app.rows("select version_id || '|' || producer_id from assets order by 1 limit 1").await.remove(0);
    let (version, producer) = row.split_once('|').expect("two");
    app.sql(&format!("delete from price_rules where version_id = '{version}' or producer_id = '{producer}'")).await;
    app.sql(&format!("update producers set identity_key = '{}' where producer_id = '{producer}'", keys.key)).await;
    app.caught_up().await;
    (version.to_owned(), producer.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_rule_and_the_highest_tier_decide_and_both_transports_agree() {
    let keys = Keys::of(21);
    with(market(), async |app| {
        let (version, producer) = own(app, &keys).await;
        let told = async |quantity: i32| {
            let path = format!("/price?versionId={version}&quantity={quantity}");
            let rest = app.json(&path).await;
            let graphql = app.query(PRICE, json!({"id": version, "n": quantity})).await["price"].clone();
            assert_eq!(graphql["unitPrice"], json!(rest["unitSatoshis"].to_string()));
            assert_eq!(graphql["total"], json!(rest["totalSatoshis"].to_string()));
            assert_eq!(graphql["tierFrom"], rest["tierFrom"]);
            let same = format!("{{ asset(versionId: \"{version}\") {{ price(quantity: {quantity}) {{ unitPrice total }} }} }}");
            let same = app.query(&same, Value::Null).await["asset"]["price"].take();
            assert_eq!((&same["unitPrice"], &same["total"]), (&graphql["unitPrice"], &graphql["total"]));
            assert_eq!(graphql["ruleSource"].as_str().map(str::to_lowercase).as_deref(), rest["ruleSource"].as_str());
            (rest["unitSatoshis"].as_i64().expect("n"), rest["ruleSource"].as_str().expect("text").to_owned())
        };
        let price = |unit: i64, source: &str| (unit, source.to_owned());
        assert_eq!(told(1).await, price(1_234, "default"));
        posted(app, &keys, "/price/rules", &json!({"producerId": producer, "satoshis": 500})).await;
        posted(app, &keys, "/price/rules", &json!({"producerId": producer, "tierFrom": 10, "satoshis": 400})).await;
        assert_eq!((told(9).await, told(10).await), (price(500, "producer"), price(400, "producer")));
        let input = json!({"input": {"versionId": version, "tierFrom": 5, "unitPrice": "450"}});
        let set = keys.graphql(app, SET, input.clone()).await["data"]["setPriceRule"]["rule"].clone();
        assert_eq!((told(4).await, told(5).await), (price(500, "producer"), price(450, "version")));
        // The same tier again is another price of the same rule.
        let again = json!({"input": {"versionId": version, "tierFrom": 5, "unitPrice": "449"}});
        let changed = keys.graphql(app, SET, again).await["data"]["setPriceRule"]["rule"].clone();
        assert_eq!((&changed["ruleId"], told(5).await), (&set["ruleId"], price(449, "version")));
        // The old way to price one unit, and the old way to ask.
        posted(app, &keys, "/price", &json!({"versionId": version, "satoshis": 600})).await;
        let one = app.json(&format!("/price?versionId={version}")).await;
        assert_eq!((&one["satoshis"], &one["versionId"]), (&json!(600), &json!(version)));
        assert!(one["contentHash"].is_string() && one["expiresAt"].is_i64() && one.get("quantity").is_none());
        assert_eq!(app.query(&format!("{{ asset(versionId: \"{version}\") {{ unitPrice }} }}"), Value::Null).await["asset"]["unitPrice"], "600");

        let removed = keys.graphql(app, REMOVE, json!({"input": {"versionId": version, "tierFrom": 5}})).await;
        assert_eq!(removed["data"]["removePriceRule"]["tierFrom"], json!(5));
        assert_eq!(told(5).await, price(600, "version"));
        let path = format!("/price/rules?versionId={version}");
        let gone = keys.request(app, Method::DELETE, &path, &Value::Null).send().await.expect("answer");
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        assert_eq!(told(5).await, price(500, "producer"));
        let again = keys.request(app, Method::DELETE, &path, &Value::Null).send().await.expect("answer");
        assert_eq!(refused(again, StatusCode::NOT_FOUND).await.0, "not-found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_cannot_be_is_refused() {
    let keys = Keys::of(21);
    with(market(), async |app| {
        let (version, producer) = own(app, &keys).await;
        for (body, hint) in [
            (json!({"versionId": version, "satoshis": 0}), "satoshis"),
            (json!({"versionId": version, "satoshis": 2_100_000_000_000_001_i64}), "satoshis"),
            (json!({"versionId": version, "tierFrom": 0, "satoshis": 1}), "tierFrom"),
            (json!({"versionId": version, "producerId": producer, "satoshis": 1}), "versionId"),
            (json!({"satoshis": 1}), "versionId"),
            (json!({"versionId": "x", "satoshis": 1}), "versionId"),
        ] {
            let told = refused(post(app, &keys, "/price/rules", &body).await, StatusCode::BAD_REQUEST).await;
            assert_eq!(told, ("bad-request".to_owned(), Some(hint.to_owned())), "{body}");
        }
        for path in ["/price?versionId=x", "/price", &format!("/price?versionId={version}&quantity=0")] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.0, "bad-request", "{path}");
        }
        let unknown = app.get(&format!("/price?versionId={}", "ab".repeat(32))).send().await.expect("answer");
        assert_eq!(refused(unknown, StatusCode::NOT_FOUND).await.0, "not-found");
        posted(app, &keys, "/price", &json!({"versionId": version, "satoshis": 2_000_000_000_000_000_i64})).await;
        let dear = app.get(&format!("/price?versionId={version}&quantity=2")).send().await.expect("answer");
        assert_eq!(refused(dear, StatusCode::UNPROCESSABLE_ENTITY).await.0, "amount-too-large");
        // A whole number, however it is written; and none that is not.
        let whole = |quantity: &str| {
            let body = format!("{{\"versionId\": \"{version}\", \"quantity\": {quantity}}}");
            serde_json::from_str::<Value>(&body).expect("JSON")
        };
        for (quantity, status) in
            [("2.0", 422), ("2e0", 422), ("2.5", 400), ("3e9", 400), ("\"2\"", 400), ("1e300", 400)]
        {
            // 422: two are too dear.
            assert_eq!(post(app, &keys, "/pay", &whole(quantity)).await.status(), status, "{quantity}");
        }
        let dear = post(app, &keys, "/pay", &json!({"versionId": version, "quantity": 2_147_483_647})).await;
        assert_eq!(refused(dear, StatusCode::UNPROCESSABLE_ENTITY).await.0, "amount-too-large");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_of_many_take_one_statement_more() {
    with(market(), async |app| {
        let query = "{ assets(first: 40) { nodes { versionId price(quantity: 20) { quantity unitPrice total } } } }";
        app.caught_up().await;
        let (told, statements) = app.statements(app.query(query, Value::Null)).await;
        assert!(statements <= 2, "{statements}");
        let told = told["assets"]["nodes"].as_array().expect("nodes");
        assert_eq!(told.len(), 40);
        for node in told.iter().take(5) {
            let one = app.query(PRICE, json!({"id": node["versionId"], "n": 20})).await["price"].take();
            assert_eq!((&node["price"]["total"], &node["price"]["unitPrice"]), (&one["total"], &one["unitPrice"]));
        }
        let none = app.errors("{ assets(first: 1) { nodes { price(quantity: 0) { total } } } }", Value::Null).await;
        assert_eq!(none[0]["extensions"]["code"], "BAD_REQUEST");
    })
    .await;
}
