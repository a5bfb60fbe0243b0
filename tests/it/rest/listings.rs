//! `GET /listings`: every parameter, its limits, and pages that follow each other.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::makers::{Made, literal};
use crate::harness::{Setup, TestApp, refused, with};

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|i| i["versionId"].as_str().expect("id")).collect()
}

fn address(pairs: &[(&str, &str)]) -> String {
    format!("/listings?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_has_the_promised_fields_and_no_others() {
    with(Setup::seeded(), async |app| {
        let page = app.json("/listings?limit=3&offset=2").await;
        assert_eq!((&page["limit"], &page["offset"]), (&json!(3), &json!(2)));
        let mut keys: Vec<&String> = page.as_object().expect("an object").keys().collect();
        keys.sort();
        assert_eq!(keys, ["items", "limit", "nextCursor", "offset"]);
        let sql = "select jsonb_build_object('versionId', version_id, 'name', name, 'description', description, \
             'datasetId', dataset_id, 'producerId', producer_id, 'tags', policy_meta->'tags', \
             'updatedAt', to_char(updated_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))::text \
             from assets order by updated_at desc, version_id limit 3 offset 2";
        let rows: Vec<Value> = app.rows(sql).await.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        assert_eq!(page["items"], json!(rows));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_capped_and_default_to_fifty() {
    with(Setup::seeded(), async |app| {
        Made { count: 180, ..Made::default() }.insert(app).await;
        app.caught_up().await;
        let all = app.rows("select version_id from assets order by updated_at desc, version_id").await;
        assert_eq!(all.len(), 251);
        for (query, limit, offset) in [
            ("", 50, 0),
            ("limit=", 50, 0),
            ("limit=1", 1, 0),
            ("limit=200", 200, 0),
            ("limit=201", 200, 0),
            ("limit=99999999999999999999", 200, 0),
            ("limit=007", 7, 0),
            ("offset=0", 50, 0),
            ("offset=240", 50, 240),
            ("offset=251", 50, 251),
            ("offset=100000", 50, 100_000),
            ("limit=10&offset=30", 10, 30),
        ] {
            let page = app.json(&format!("/listings?{query}")).await;
            let wanted: Vec<&String> = all.iter().skip(offset).take(limit).collect();
            assert_eq!(ids(&page), wanted, "{query}");
            assert_eq!((&page["limit"], &page["offset"]), (&json!(limit), &json!(offset)), "{query}");
            assert_eq!(page.get("nextCursor").is_some(), offset + limit < all.len(), "{query}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_parameter_is_refused_by_name() {
    with(Setup::seeded(), async |app| {
        let cursor = app.json("/listings?limit=1").await["nextCursor"].as_str().expect("cursor").to_owned();
        let graphql = app.query("{ assets(orderBy: NAME_ASC, first: 1) { pageInfo { endCursor } } }", json!({})).await;
        let other = graphql["assets"]["pageInfo"]["endCursor"].as_str().expect("cursor").to_owned();
        let long = "x".repeat(501);
        let mut cases = vec![
            (address(&[("cursor", &cursor), ("offset", "1")]), "offset"),
            (address(&[("cursor", &other)]), "cursor"),
            (address(&[("cursor", &cursor[1..])]), "cursor"),
            (address(&[("cursor", &"A".repeat(9_000))]), "cursor"),
            (address(&[("q", &long[..201])]), "q"),
            (address(&[("datasetId", &long)]), "datasetId"),
            (address(&[("producerId", &long)]), "producerId"),
            (address(&[("classification", &long)]), "classification"),
            (address(&[("license", &long)]), "license"),
        ];
        // What only looks like a cursor of ours: these are fine JSON in base64, and no time that PostgreSQL knows.
        for sort in
            ["x", "", "0000-01-01 00:00:00+00", "infinity", "2026-01-01 00:00:00+23", "+99999-01-01 00:00:00+00"]
        {
            use base64::Engine as _;
            let text = json!(["updated-desc", sort, "x"]).to_string();
            let forged = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            cases.push((address(&[("cursor", &forged)]), "cursor"));
        }
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("limit=1.5", "limit"),
            ("limit=%2B1", "limit"),
            ("limit=1&limit=2", "limit"),
            ("offset=-1", "offset"),
            ("offset=x", "offset"),
            ("offset=100001", "offset"),
            ("q=%20", "q"),
            ("q=a%00", "q"),
            ("q=a&q=b", "q"),
            ("datasetId=%00", "datasetId"),
            ("producerId=%00", "producerId"),
            ("license=%00", "license"),
            ("classification=%00", "classification"),
            ("nonsense=1", "nonsense"),
            ("Limit=1", "Limit"),
        ] {
            cases.push((format!("/listings?{query}"), name));
        }
        for (path, name) in cases {
            let answer = app.get(&path).send().await.expect("answer");
            let (code, hint) = refused(answer, StatusCode::BAD_REQUEST).await;
            assert_eq!((code.as_str(), hint.as_deref()), ("bad-request", Some(name)), "{path:.200}");
        }
    })
    .await;
}

/// All rows, page by page.
async fn walk(app: &TestApp, pairs: &[(&str, &str)]) -> Vec<String> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut pairs = pairs.to_vec();
        if let Some(cursor) = &cursor {
            pairs.push(("cursor", cursor));
        }
        let page = app.json(&address(&pairs)).await;
        rows.extend(ids(&page).into_iter().map(str::to_owned));
        cursor = match page.get("nextCursor") {
            Some(next) => Some(next.as_str().expect("a text").to_owned()),
            None => return rows,
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_walk_the_order_of_sql() {
    with(Setup::seeded(), async |app| {
        for spread in ["'2026-01-01'", "timestamptz '2026-01-01' + (ascii(version_id) % 5) * interval '1 microsecond'"]
        {
            app.sql(&format!("update assets set updated_at = {spread}")).await;
            app.caught_up().await;
            let wanted = app.rows("select version_id from assets order by updated_at desc, version_id").await;
            for limit in ["1", "7", "70", "71"] {
                assert_eq!(walk(app, &[("limit", limit)]).await, wanted, "limit {limit}, {spread}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_narrows_alone_and_with_the_others() {
    with(Setup::seeded(), async |app| {
        let first = async |sql: &str| app.rows(sql).await.remove(0);
        let busiest =
            |column: &str| format!("select {column} from assets group by 1 order by count(*) desc, 1 limit 1");
        let filters = [
            ("datasetId", "dataset_id"),
            ("producerId", "producer_id"),
            ("classification", "policy_meta->>'classification'"),
            ("license", "policy_meta->>'license'"),
        ];
        let mut values = Vec::new();
        for (_, column) in filters {
            values.push(first(&busiest(column)).await);
        }
        // Each subset of the filters.
        for subset in 1..16_usize {
            let chosen = (0..4).filter(|n| subset >> n & 1 == 1);
            let pairs: Vec<(&str, &str)> = chosen.clone().map(|n| (filters[n].0, values[n].as_str())).collect();
            let conditions: Vec<String> =
                chosen.map(|n| format!("{} = {}", filters[n].1, literal(&values[n]))).collect();
            let sql = format!(
                "select version_id from assets where {} order by updated_at desc, version_id",
                conditions.join(" and ")
            );
            let wanted = app.rows(&sql).await;
            assert_eq!(walk(app, &[&pairs[..], &[("limit", "4")]].concat()).await, wanted, "{pairs:?}");
        }
        for name in ["datasetId", "producerId", "classification", "license"] {
            assert_eq!(walk(app, &[(name, "nobody's")]).await, Vec::<String>::new(), "{name}");
        }
    })
    .await;
}
