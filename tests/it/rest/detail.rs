//! `GET /listings/{versionId}`: the asset, and what one unit costs.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, refused, with};

async fn detail(app: &TestApp, id: &str) -> Value {
    app.json(&format!("/listings/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detail_has_the_promised_fields_and_no_others() {
    with(Setup::seeded(), async |app| {
        let id = app.version("Gridded hourly weather 2025").await;
        let sql = format!(
            "select jsonb_build_object('name', name, 'description', description, 'datasetId', dataset_id, \
             'contentHash', content_hash, 'license', policy_meta->>'license', \
             'classification', policy_meta->>'classification', \
             'createdAt', to_char(created_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))::text \
             from assets where version_id = '{id}'"
        );
        let manifest: Value = serde_json::from_str(&app.rows(&sql).await[0]).expect("JSON");
        let shown = detail(app, &id).await;
        assert_eq!(
            shown["price"].as_object().map(|p| p.keys().collect::<Vec<_>>()),
            Some(vec![&"satoshis".to_owned()])
        );
        assert!(shown["price"]["satoshis"].as_u64().is_some_and(|sats| sats > 0), "{shown}");
        assert_eq!(shown, json!({"versionId": id, "manifest": manifest, "price": shown["price"]}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_follows_the_version_then_the_producer_then_the_default() {
    with(Setup::seeded().with("PRICE_DEFAULT_SATS", "777"), async |app| {
        let id = app.version("Gridded hourly weather 2025").await;
        let producer = app.rows(&format!("select producer_id from assets where version_id = '{id}'")).await.remove(0);
        app.sql("delete from price_rules").await;
        let shown = async |sats: i64, why: &str| {
            app.caught_up().await;
            assert_eq!(detail(app, &id).await["price"], json!({"satoshis": sats}), "{why}");
            let data = app.query("query($id: Hex32!) { asset(versionId: $id) { unitPrice } }", json!({"id": id})).await;
            assert_eq!(data["asset"]["unitPrice"], sats.to_string(), "{why}, in GraphQL");
        };
        shown(777, "no rule").await;
        let rule = async |rule: &str, column: &str, of: &str, tier: i32, sats: i64| {
            let sql = format!(
                "insert into price_rules (rule_id, {column}, tier_from, satoshis) values ('{rule}', '{of}', {tier}, {sats})"
            );
            assert_eq!(app.sql(&sql).await, 1);
        };
        rule("many of the producer", "producer_id", &producer, 10, 5).await;
        shown(777, "a rule for ten units is none for one").await;
        rule("the producer", "producer_id", &producer, 1, 50).await;
        shown(50, "the producer's rule").await;
        rule("many of the version", "version_id", &id, 2, 6).await;
        shown(50, "the version's rule is for two units").await;
        rule("the version", "version_id", &id, 1, 9_007_199_254_740_993).await;
        shown(9_007_199_254_740_993, "the version's rule, exact beyond 53 bits").await;
        app.sql("update price_rules set satoshis = 60 where rule_id = 'the version'").await;
        shown(60, "the version's rule, changed").await;
        app.sql("delete from price_rules where version_id is not null").await;
        shown(50, "the version's rule is gone").await;
        app.sql("delete from price_rules").await;
        shown(777, "no rule again").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_version_is_400_and_what_is_none_is_404() {
    with(Setup::seeded(), async |app| {
        let id = app.version("Gridded hourly weather 2025").await;
        for wrong in [
            "xyz".to_owned(),
            id.to_uppercase(),
            id[1..].to_owned(),
            format!("{id}0"),
            format!("{}g", &id[1..]),
            format!("{id}%20"),
            format!("%00{}", &id[1..]),
            "%ff".into(),
            "..%2f..".into(),
        ] {
            let answer = app.get(&format!("/listings/{wrong}")).send().await.expect("answer");
            let (code, hint) = refused(answer, StatusCode::BAD_REQUEST).await;
            assert_eq!((code.as_str(), hint.as_deref()), ("bad-request", Some("versionId")), "{wrong}");
        }
        let answer = app.get(&format!("/listings/{}", "0".repeat(64))).send().await.expect("answer");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(refused(answer, StatusCode::NOT_FOUND).await.0, "not-found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_and_withdrawn_is_seen() {
    with(Setup::seeded(), async |app| {
        let missing = "ab".repeat(32);
        let get = async || app.get(&format!("/listings/{missing}")).send().await.expect("answer").status();
        assert_eq!(get().await, StatusCode::NOT_FOUND);
        let copy = format!(
            "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) \
             select '{missing}', 'late', producer_id, 'Late', content_hash, '{missing}', '{{}}' from assets limit 1"
        );
        app.sql(&copy).await;
        app.caught_up().await;
        assert_eq!(get().await, StatusCode::OK);
        let shown = detail(app, &missing).await;
        assert_eq!((&shown["manifest"]["license"], &shown["manifest"]["description"]), (&Value::Null, &json!("")));
        app.sql(&format!("delete from assets where version_id = '{missing}'")).await;
        app.caught_up().await;
        assert_eq!(get().await, StatusCode::NOT_FOUND);
    })
    .await;
}
