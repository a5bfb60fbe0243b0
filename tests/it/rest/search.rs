//! `/search`, `/resolve` and `/listings/search`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, refused, with};

fn ids(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().expect("items").iter();
    items.map(|item| item["versionId"].as_str().expect("an id").to_owned()).collect()
}

/// All pages of a route, one after another.
async fn walk(app: &TestApp, path: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = app.json(&format!("{path}&limit=2&cursor={cursor}")).await;
        assert_eq!(answer["limit"], 2);
        found.extend(ids(&answer));
        match answer["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_what_graphql_finds_in_the_same_order() {
    with(Setup::seeded(), async |app| {
        let wanted = app.query("{ search(query: \"corvid\", first: 200) { nodes { versionId } } }", json!({})).await;
        let wanted: Vec<String> = wanted["search"]["nodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .map(|node| node["versionId"].as_str().expect("an id").to_owned())
            .collect();
        assert!(wanted.len() > 3);
        assert_eq!(walk(app, "/search?q=corvid").await, wanted);
        for (path, name) in [("/search", "q"), ("/search?q=a&offset=1", "offset"), ("/search?q=a&cursor=x", "cursor")] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.1.as_deref(), Some(name), "{path}");
        }
        // The old name of the listing is no version.
        let old = app.json("/listings/search?q=corvid&limit=3").await;
        assert_eq!(old, app.json("/listings?q=corvid&limit=3").await);
        let one =
            app.rows("select policy_meta::text from assets where policy_meta->>'license' is not null limit 1").await;
        let meta: Value = serde_json::from_str(&one[0]).expect("JSON");
        let producer = app.rows("select min(producer_id) from assets").await.remove(0);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        for (name, value) in [
            ("license", text(&meta["license"])),
            ("classification", text(&meta["classification"])),
            ("producerId", producer),
            ("policyPreview", app.rows("select min(policy_id) from policies where enabled").await.remove(0)),
        ] {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, &value).finish();
            let told = app.json(&format!("/listings/search?{query}")).await;
            assert_eq!(told, app.json(&format!("/listings?{query}")).await, "{query}");
            assert!(told["items"].as_array().is_some_and(|items| !items.is_empty()), "{query}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resolve_tells_versions_with_their_parents() {
    with(Setup::seeded(), async |app| {
        let rows = app
            .rows("select child_version_id from asset_parents group by 1 having count(*) > 1 order by 1 limit 1")
            .await;
        let id = &rows[0];
        let parents = app
            .rows(&format!("select parent_version_id from asset_parents where child_version_id = '{id}' order by 1"))
            .await;
        let answer = app.json(&format!("/resolve?versionId={id}")).await;
        assert_eq!((ids(&answer), &answer["nextCursor"]), (vec![id.clone()], &Value::Null));
        let mut told: Vec<&str> =
            answer["items"][0]["parents"].as_array().expect("parents").iter().filter_map(Value::as_str).collect();
        told.sort_unstable();
        assert_eq!(told, parents);
        assert_eq!(ids(&app.json(&format!("/resolve?versionId={}", "ab".repeat(32))).await), [""; 0]);
        let dataset = app.rows("select dataset_id from assets group by 1 order by count(*) desc, 1 limit 1").await;
        let mut all = app.rows(&format!("select version_id from assets where dataset_id = '{}'", dataset[0])).await;
        let mut walked = walk(app, &format!("/resolve?datasetId={}", dataset[0])).await;
        all.sort_unstable();
        walked.sort_unstable();
        assert_eq!(walked, all);
        let (_, statements) = app.statements(app.json(&format!("/resolve?datasetId={}&limit=50", dataset[0]))).await;
        assert!(statements <= 3, "{statements}");
        for (path, name) in [
            ("/resolve", "versionId"),
            ("/resolve?versionId=x", "versionId"),
            ("/resolve?versionId=x&datasetId=y", "versionId"),
        ] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.1.as_deref(), Some(name), "{path}");
        }
    })
    .await;
}
