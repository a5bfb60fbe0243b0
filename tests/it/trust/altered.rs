//! What somebody changes who writes past the server shows: identifiers are hashes, and a proof is of what was published.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, refused, with};

/// A version that is ready, with a parent.
async fn child(app: &TestApp) -> String {
    for id in app.rows("select distinct child_version_id from asset_parents order by 1").await {
        if app.json(&format!("/ready?versionId={id}")).await["ready"] == json!(true) {
            return id;
        }
    }
    panic!("no version with parents is ready");
}

async fn verdict(app: &TestApp, id: &str) -> (Value, Value) {
    app.caught_up().await;
    let mut ready = app.json(&format!("/ready?versionId={id}")).await;
    (ready["ready"].take(), ready["reason"].take())
}

/// The reason for which there is no bundle.
async fn reason(app: &TestApp, id: &str) -> Value {
    let answer = app.get(&format!("/bundle?versionId={id}")).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let mut body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["error"], "invalid-envelope");
    body["reason"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_changed_is_not_the_one_that_is_proven() {
    with(Setup::seeded(), async |app| {
        let id = child(app).await;
        let parent =
            app.rows(&format!("select parent_version_id from asset_parents where child_version_id = '{id}'")).await.remove(0);
        let saved = app.rows(&format!("select manifest::text from assets where version_id = '{parent}'")).await.remove(0);
        app.sql(&format!("update assets set manifest = jsonb_set(manifest, '{{policy,license}}', '\"MIT-0\"') where version_id = '{parent}'")).await;
        assert_eq!(verdict(app, &id).await, (json!(false), json!("onchain-mh-mismatch")));
        assert_eq!(reason(app, &id).await, "onchain-mh-mismatch");
        let saved = crate::harness::makers::literal(&saved);
        app.sql(&format!("update assets set manifest = {saved} where version_id = '{parent}'")).await;
        assert_eq!(verdict(app, &id).await.0, true);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_was_taken_away_is_missed() {
    with(Setup::seeded(), async |app| {
        let id = child(app).await;
        let edges =
            app.rows(&format!("select parent_version_id from asset_parents where child_version_id = '{id}'")).await;
        app.sql(&format!(
            "delete from asset_parents where child_version_id = '{id}' and parent_version_id = '{}'",
            edges[0]
        ))
        .await;
        assert_eq!(verdict(app, &id).await, (json!(false), json!("lineage-mismatch")));
        assert_eq!(reason(app, &id).await, "lineage-mismatch");
        app.sql(&format!("insert into asset_parents values ('{id}', '{}')", edges[0])).await;
        assert_eq!(verdict(app, &id).await.0, true);
    })
    .await;
}

/// Few versions can have many parents each: the steps between them are bounded too.
#[tokio::test(flavor = "multi_thread")]
async fn an_ancestry_of_too_many_steps_is_refused_and_not_ready() {
    with(Setup::empty(), async |app| {
        let lot = crate::harness::makers::Made { count: 721, ..Default::default() };
        lot.insert(app).await;
        // Layers of 120, each version made from all of the next layer; the first from the first layer.
        let layers = "with v as (select version_id, row_number() over (order by version_id) - 2 as n from assets) ";
        for (upto, expected) in [(4, None), (6, Some("lineage-too-large"))] {
            app.sql(&format!(
                "{layers} insert into asset_parents select c.version_id, p.version_id from v c join v p \
                 on p.n >= 0 and p.n / 120 = case when c.n < 0 then 0 else c.n / 120 + 1 end \
                 where p.n / 120 < {upto} on conflict do nothing"
            ))
            .await;
            app.caught_up().await;
            let top = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
            let answer = app.get(&format!("/bundle?versionId={top}")).send().await.expect("answer");
            let code = refused(answer, StatusCode::CONFLICT).await.0;
            assert_eq!(code, expected.unwrap_or("incomplete-lineage"));
            let reason = verdict(app, &top).await.1;
            assert_eq!(reason, json!(expected.unwrap_or("missing-envelope")));
        }
    })
    .await;
}
