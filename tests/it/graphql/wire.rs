//! What is said on the wire: order of keys, errors and where they bubble to, statuses and media types.

use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

const NEW: &str = "application/graphql-response+json";

fn post(app: &TestApp, content_type: &str, accept: Option<&str>, body: impl Into<String>) -> RequestBuilder {
    let request =
        app.http.post(format!("{}/graphql", app.url)).header(header::CONTENT_TYPE, content_type).body(body.into());
    match accept {
        Some(accept) => request.header(header::ACCEPT, accept),
        None => request,
    }
}

/// Status, media type (without parameters) and body of an answer, which must be JSON.
async fn answer(request: RequestBuilder) -> (StatusCode, String, Value) {
    let answer = request.send().await.expect("answer");
    let status = answer.status();
    let kind = answer.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
    assert!(kind.ends_with("; charset=utf-8"), "{kind}");
    let body = answer.text().await.expect("body");
    let body = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{status}: {body}: {e}"));
    (status, kind.split(';').next().expect("a type").to_owned(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_in_the_order_of_the_query() {
    with(Setup::seeded(), async |app| {
        let query = "{ z: asset(versionId: \"ID\") { updatedAt name ...rest a: name } a: __typename } \
             fragment rest on Asset { classification producer { website producerId name } description name }";
        let query = query.replace("ID", &app.version("Wind power features").await);
        let text = app.post(&query, json!({})).send().await.expect("answer").text().await.expect("body");
        let places: Vec<usize> = [
            "{\"data\":{\"z\":{\"updatedAt\":",
            "\"name\":",
            "\"classification\":",
            "\"producer\":{\"website\":",
            "\"producerId\":",
            "\"name\":\"Meridian",
            "},\"description\":",
            "\"a\":\"Wind",
            "},\"a\":\"Query\"}}",
        ]
        .iter()
        .scan(0, |from, key| {
            let at = text[*from..].find(key).unwrap_or_else(|| panic!("{key} does not follow in {text}")) + *from;
            *from = at + key.len();
            Some(at)
        })
        .collect();
        assert_eq!((places.len(), places[0]), (9, 0), "{text}");
        assert_eq!(text.matches("\"name\":").count(), 2, "a key comes once an object: {text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_field_nulls_the_nearest_that_may_be_null() {
    with(Setup::seeded(), async |app| {
        let with_parents = app.rows("select child_version_id from asset_parents order by 1 limit 1").await.remove(0);
        // `parents` is a list that is never null, of an asset that may be.
        let query = format!(
            "{{ a: asset(versionId: \"{with_parents}\") {{ name parents(first: 0) {{ name }} }} b: __typename }}"
        );
        let body: Value = app.post(&query, json!({})).send().await.expect("answer").json().await.expect("JSON");
        assert_eq!(body["data"], json!({"a": null, "b": "Query"}));
        assert_eq!(body["errors"][0]["path"], json!(["a", "parents"]));
        assert_eq!(body["errors"][0]["extensions"], json!({"code": "BAD_REQUEST", "hint": "first"}));
        // Inside `nodes: [Asset!]!` it goes up to the connection.
        let query = "{ assets(first: 2) { nodes { name parents(first: 0) { name } } } b: __typename }";
        let body: Value = app.post(query, json!({})).send().await.expect("answer").json().await.expect("JSON");
        assert_eq!(body["data"], json!({"assets": null, "b": "Query"}));
        // The library keeps the path down to the list's element only.
        let path = body["errors"][0]["path"].as_array().expect("a path");
        assert_eq!(path[..3], [json!("assets"), json!("nodes"), json!(0)]);
        // A field that may be null fails alone.
        let query = "{ assets(first: 2) { nodes { __typename children(first: 0) { totalCount } } } }";
        let body: Value = app.post(query, json!({})).send().await.expect("answer").json().await.expect("JSON");
        let alone = json!({"__typename": "Asset", "children": null});
        assert_eq!(body["data"], json!({"assets": {"nodes": [alone, alone]}}));
        assert_eq!(body["errors"].as_array().map(Vec::len), Some(2));
        // A list at the root that is never null takes all with it.
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } b: __typename }";
        let body: Value =
            app.post(query, json!({"ids": vec!["x"; 201]})).send().await.expect("answer").json().await.expect("JSON");
        assert_eq!(body["data"], Value::Null);
        // Elements that may be null fail alone.
        let good =
            app.query("{ assets(first: 1) { nodes { id } } }", json!({})).await["assets"]["nodes"][0]["id"].take();
        let body: Value =
            app.post(query, json!({"ids": ["!", good, "?"]})).send().await.expect("answer").json().await.expect("JSON");
        assert_eq!(body["data"], json!({"nodes": [null, {"id": good}, null], "b": "Query"}));
        let mut paths: Vec<&Value> = body["errors"].as_array().expect("errors").iter().map(|e| &e["path"]).collect();
        paths.sort_by_key(|path| path.to_string());
        assert_eq!(paths, [&json!(["nodes", 0]), &json!(["nodes", 2])]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_out_of_range_are_refused_by_name() {
    with(Setup::seeded(), async |app| {
        let page = app.query("{ assets(first: 1) { pageInfo { endCursor } } }", json!({})).await;
        let cursor = page["assets"]["pageInfo"]["endCursor"].as_str().expect("cursor").to_owned();
        let cases = [
            ("first: 0".to_owned(), "first"),
            ("first: -1".into(), "first"),
            ("first: 201".into(), "first"),
            ("last: 0".into(), "last"),
            ("last: 201".into(), "last"),
            ("first: 1, last: 1".into(), "last"),
            (format!("first: 1, before: \"{cursor}\""), "before"),
            (format!("last: 1, after: \"{cursor}\""), "after"),
            (format!("after: \"{cursor}\", before: \"{cursor}\""), "after"),
            ("after: \"\"".into(), "after"),
            ("after: \"nonsense\"".into(), "after"),
            (format!("after: \"{}\"", "A".repeat(9_000)), "after"),
            ("before: \"WyJ1cGRhdGVkLWRlc2MiLCJ4IiwieSJd\"".into(), "before"),
            (format!("orderBy: NAME_ASC, after: \"{cursor}\""), "after"),
        ];
        for (arguments, hint) in cases {
            let query = format!("{{ assets({arguments}) {{ totalCount }} }}");
            let errors = app.errors(&query, json!({})).await;
            assert_eq!(errors[0]["extensions"], json!({"code": "BAD_REQUEST", "hint": hint}), "{arguments}: {errors}");
        }
        for (query, hint) in [
            ("{ search(query: \"\") { nodes { id } } }", "query"),
            ("{ search(query: \" \") { nodes { id } } }", "query"),
            ("{ producer(producerId: \"\") { id } }", "producerId"),
            ("{ policy(policyId: \"\\u0000\") { id } }", "policyId"),
            ("{ receipt(receiptId: \"\") { id } }", "receiptId"),
        ] {
            let errors = app.errors(query, json!({})).await;
            assert_eq!(errors[0]["extensions"], json!({"code": "BAD_REQUEST", "hint": hint}), "{query}: {errors}");
        }
    })
    .await;
}

/// Requests that validation refuses before anything is executed.
fn invalid() -> Vec<Value> {
    let zeros = "0".repeat(64);
    let asset = "query($id: Hex32!) { asset(versionId: $id) { name } }";
    vec![
        json!({"query": "{"}),
        json!({"query": "{ nonsense }"}),
        json!({"query": "{ asset { name } }"}),
        json!({"query": "{ asset(versionId: \"xyz\") { name } }"}),
        json!({"query": format!("{{ asset(versionId: \"{}\") {{ name }} }}", "A".repeat(64))}),
        json!({"query": format!("{{ asset(versionId: \"{zeros}\") {{ nonsense }} }}")}),
        json!({"query": format!("{{ asset(versionId: \"{zeros}\") }}")}),
        json!({"query": asset}),
        json!({"query": asset, "variables": {"id": null}}),
        json!({"query": asset, "variables": {"id": "xyz"}}),
        json!({"query": asset, "variables": {"id": 5}}),
        json!({"query": "{ assets(first: \"1\") { totalCount } }"}),
        json!({"query": "{ assets(first: 99999999999999999999) { totalCount } }"}),
        json!({"query": "{ assets(orderBy: SIDEWAYS) { totalCount } }"}),
        json!({"query": "query A { __typename } query B { __typename }"}),
        json!({"query": "query A { __typename }", "operationName": "B"}),
        json!({"query": "query A { __typename } query B($id: ID!) { node(id: $id) { id } }", "operationName": "B"}),
        json!({"query": "mutation { nonsense }"}),
        json!({"query": "subscription { nonsense }"}),
        json!({"query": "{ a: assets { nodes { x: id } } a: assets { nodes { x: name } } }"}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_validation_refuses_is_200_in_the_old_type_and_400_in_the_new() {
    with(Setup::seeded(), async |app| {
        let json_types =
            [None, Some("application/json"), Some("*/*"), Some("application/json, application/graphql-response+json")];
        let new_types = [Some(NEW), Some("application/graphql-response+json; charset=utf-8, application/json; q=0.9")];
        for request in invalid() {
            for accept in json_types {
                let (status, kind, body) = answer(post(app, "application/json", accept, request.to_string())).await;
                assert_eq!(
                    (status, kind.as_str()),
                    (StatusCode::OK, "application/json"),
                    "{request} {accept:?}: {body}"
                );
                assert!(body["errors"][0]["message"].is_string() && body["data"].is_null(), "{request}: {body}");
            }
            let odd = [Some("APPLICATION/GRAPHQL-RESPONSE+JSON"), Some("application/json;q=0.1, application/*")];
            for accept in new_types.into_iter().chain(odd) {
                let (status, kind, body) = answer(post(app, "application/json", accept, request.to_string())).await;
                assert_eq!((status, kind.as_str()), (StatusCode::BAD_REQUEST, NEW), "{request} {accept:?}: {body}");
                assert!(body["errors"][0]["message"].is_string(), "{request}: {body}");
            }
        }
        // What was executed is 200 in either, also when a field failed.
        for query in ["{ __typename }", "{ assets(first: 0) { totalCount } }"] {
            for accept in json_types.into_iter().chain(new_types) {
                let (status, ..) =
                    answer(post(app, "application/json", accept, json!({"query": query}).to_string())).await;
                assert_eq!(status, StatusCode::OK, "{query} {accept:?}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_graphql_request_is_refused_by_status() {
    with(Setup::empty().with("BODY_SIZE_LIMIT", "20kb"), async |app| {
        let fine = json!({"query": "{ __typename }"}).to_string();
        let large = json!({"query": format!("{{ __typename }} # {}", "x".repeat(20 << 10))}).to_string();
        let cases = [
            ("application/json", "{".to_owned(), 400),
            ("application/json", String::new(), 400),
            ("application/json", "null".into(), 400),
            ("application/json", "\"{ __typename }\"".into(), 400),
            ("application/json", "{}".into(), 400),
            ("application/json", r#"{"query": ""}"#.into(), 400),
            ("application/json", r#"{"query": null}"#.into(), 400),
            ("application/json", r#"{"query": 5}"#.into(), 400),
            ("application/json", r#"{"query": "{ __typename }", "variables": []}"#.into(), 400),
            ("application/json", r#"{"query": "{ __typename }", "variables": "{}"}"#.into(), 400),
            ("application/json", r#"{"query": "{ __typename }", "operationName": 5}"#.into(), 400),
            ("application/json", format!("[{fine}]"), 400),
            ("application/json", format!(" \n[{fine},{fine}]"), 400),
            ("application/json", r#"["{ __typename }", null, null]"#.into(), 400),
            ("text/plain", fine.clone(), 415),
            ("application/x-www-form-urlencoded", "query={__typename}".into(), 415),
            ("multipart/form-data; boundary=x", fine.clone(), 415),
            ("application/jsonp", fine.clone(), 415),
            ("application/json", large, 413),
        ];
        for (content_type, body, status) in cases {
            for (accept, kind) in [(None, "application/json"), (Some(NEW), NEW)] {
                let got = answer(post(app, content_type, accept, body.clone())).await;
                let what = format!("{content_type} {:.80}: {}", body, got.2);
                assert_eq!((got.0.as_u16(), got.1.as_str()), (status, kind), "{what}");
                assert!(got.2["errors"][0]["extensions"]["code"].is_string(), "{what}");
            }
        }
        let none = app.http.post(format!("{}/graphql", app.url)).body(fine.clone()).send().await.expect("answer");
        assert_eq!(none.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "without a content type");
        for (name, value, status) in [
            ("content-encoding", "gzip", 415),
            ("content-encoding", "identity", 200),
            ("accept", "text/html", 406),
            ("accept", "application/json;q=0", 406),
            ("accept", "text/html, */*;q=0.1", 200),
        ] {
            let request = post(app, "application/json", None, fine.clone()).header(name, value);
            assert_eq!(request.send().await.expect("answer").status(), status, "{name}: {value}");
        }
        for content_type in ["application/json", "Application/JSON; charset=utf-8", " application/json ;x=y"] {
            assert_eq!(answer(post(app, content_type, None, fine.clone())).await.0, StatusCode::OK, "{content_type}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_come_in_the_address() {
    with(Setup::seeded(), async |app| {
        let get = |pairs: &[(&str, &str)]| {
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            app.get(&format!("/graphql?{query}"))
        };
        let twice = answer(get(&[("query", "{ a }"), ("query", "{ __typename }")])).await;
        assert_eq!(twice.0, StatusCode::BAD_REQUEST);
        let asked = "query A($n: Int) { assets(first: $n) { nodes { __typename } } } query B { __typename }";
        let (status, _, body) =
            answer(get(&[("query", asked), ("operationName", "A"), ("variables", r#"{"n": 2}"#)])).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["data"]["assets"]["nodes"].as_array().map(Vec::len), Some(2), "{body}");
        assert_eq!(
            answer(get(&[("query", asked), ("operationName", "B")])).await.2["data"],
            json!({"__typename": "Query"})
        );
        for pairs in [
            &[][..],
            &[("query", "")],
            &[("operationName", "A")],
            &[("query", "{ __typename }"), ("variables", "{")],
            &[("query", "{ __typename }"), ("variables", "[]")],
        ] {
            let (status, _, body) = answer(get(pairs)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{pairs:?}: {body}");
            assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{pairs:?}: {body}");
        }
        let refused = answer(get(&[("query", "{ nonsense }")]).header(header::ACCEPT, NEW)).await;
        assert_eq!(refused.0, StatusCode::BAD_REQUEST);
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = app.http.request(method.clone(), format!("{}/graphql", app.url)).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
            let allow = answer.headers()[header::ALLOW].to_str().expect("text");
            assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn optional_variables_may_be_left_out() {
    with(Setup::seeded(), async |app| {
        let query = "query($n: Int, $after: String, $filter: AssetFilter, $by: AssetOrder = NAME_ASC, $k: Int = 1) { \
             assets(first: $n, after: $after, filter: $filter, orderBy: $by) { nodes { name parents(first: $k) { name } } } }";
        let data = app.query(query, json!({})).await;
        let names: Vec<&str> =
            data["assets"]["nodes"].as_array().expect("nodes").iter().map(|n| n["name"].as_str().expect("name")).collect();
        assert_eq!(names, app.rows("select name from assets order by name, version_id limit 50").await);
        assert!(data["assets"]["nodes"].as_array().expect("nodes").iter().all(|n| n["parents"].as_array().is_some_and(|p| p.len() < 2)));
        let data = app.query(query, json!({"n": 3, "filter": null, "after": null, "unused": 5})).await;
        assert_eq!(data["assets"]["nodes"].as_array().map(Vec::len), Some(3));
        // What another operation requires is not required of this one.
        let two = json!({"query": "query A { __typename } query B($id: ID!) { node(id: $id) { id } }", "operationName": "A"});
        let (.., body) = answer(post(app, "application/json", None, two.to_string())).await;
        assert_eq!(body, json!({"data": {"__typename": "Query"}}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_served_and_can_be_asked_for() {
    with(Setup::empty(), async |app| {
        let served = app.get("/schema.graphql").send().await.expect("answer").text().await.expect("body");
        assert_eq!(served, overlay::transport::graphql::sdl());
        let data = app
            .query(
                "{ __schema { queryType { name } types { name } } __type(name: \"Hex32\") { specifiedByURL } }",
                json!({}),
            )
            .await;
        assert!(data["__type"]["specifiedByURL"].as_str().is_some_and(|url| url.starts_with("https://")), "{data}");
    })
    .await;
}
