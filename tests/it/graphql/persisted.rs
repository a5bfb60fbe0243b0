//! Automatic persisted queries: a hash stands for the document it is of, and for nothing else.

use overlay::domain::hex::encode_hex;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Setup, TestApp, private_redis, with, with_database};

const QUERY: &str = "query Q($n: Int) { assets(first: $n) { nodes { name } } }";

fn hash(text: &str) -> String {
    encode_hex(&Sha256::digest(text))
}

fn named(hash: &str) -> Value {
    json!({"persistedQuery": {"version": 1, "sha256Hash": hash}})
}

async fn ask(app: &TestApp, body: &Value) -> Response {
    app.http.post(format!("{}/graphql", app.url)).json(body).send().await.expect("answer")
}

async fn told(app: &TestApp, body: &Value) -> Value {
    ask(app, body).await.json().await.expect("JSON")
}

/// The same as a link.
fn link(app: &TestApp, hash: &str, variables: &Value) -> reqwest::RequestBuilder {
    let (extensions, variables) = (named(hash).to_string(), variables.to_string());
    let pairs = [("extensions", extensions), ("variables", variables)];
    let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    app.get(&format!("/graphql?{query}"))
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_said_once() {
    with(Setup::seeded(), async |app| {
        let by_hash = json!({"extensions": named(&hash(QUERY)), "variables": {"n": 2}});
        let unknown = ask(app, &by_hash).await;
        assert_eq!(unknown.status(), StatusCode::OK);
        let unknown: Value = unknown.json().await.expect("JSON");
        assert_eq!(
            (code(&unknown), &unknown["errors"][0]["message"]),
            ("PERSISTED_QUERY_NOT_FOUND", &json!("PersistedQueryNotFound"))
        );
        let plain = told(app, &json!({"query": QUERY, "variables": {"n": 2}})).await;
        // A document that was sent without its hash is not known by it.
        assert_eq!(code(&told(app, &by_hash).await), "PERSISTED_QUERY_NOT_FOUND");
        let both = json!({"query": QUERY, "extensions": named(&hash(QUERY)), "variables": {"n": 2}});
        assert_eq!(told(app, &both).await, plain);
        assert_eq!(told(app, &by_hash).await, plain);
        let other = told(app, &json!({"extensions": named(&hash(QUERY)), "variables": {"n": 3}})).await;
        assert_eq!(other["data"]["assets"]["nodes"].as_array().map(Vec::len), Some(3));
        // As a link, whose answer caches on the way may keep.
        let link = link(app, &hash(QUERY), &json!({"n": 2}));
        app.settled().await;
        for is_first in [true, false] {
            let answer = link.try_clone().expect("no stream").send().await.expect("answer");
            assert!(is_first || answer.headers()["x-cache"] == "hit");
            assert!(answer.headers()["cache-control"].to_str().expect("text").starts_with("public"));
            assert_eq!(answer.json::<Value>().await.expect("JSON"), plain);
        }
        app.sql("update assets set name = 'changed'").await;
        app.caught_up().await;
        assert_eq!(told(app, &by_hash).await["data"]["assets"]["nodes"][0]["name"], "changed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_is_not_the_documents_is_refused_and_nothing_is_kept() {
    with(Setup::seeded(), async |app| {
        let wrong = hash("something else");
        let refused = ask(app, &json!({"query": QUERY, "extensions": named(&wrong)})).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            refused.json::<Value>().await.expect("JSON")["errors"][0]["message"],
            "provided sha does not match query"
        );
        assert_eq!(code(&told(app, &json!({"extensions": named(&wrong)})).await), "PERSISTED_QUERY_NOT_FOUND");
        for persisted in [
            json!({}),
            json!("x"),
            json!({"version": 2, "sha256Hash": wrong}),
            json!({"version": "1", "sha256Hash": wrong}),
            json!({"version": 1, "sha256Hash": wrong.to_uppercase()}),
            json!({"version": 1, "sha256Hash": &wrong[1..]}),
            json!({"version": 1, "sha256Hash": 5}),
        ] {
            let refused = ask(app, &json!({"extensions": {"persistedQuery": persisted}})).await;
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{persisted}");
        }
        // What cannot be parsed, or is beyond a limit, or very long, is not kept.
        let deep = format!("{{ assets(filter: {}1{}) {{ nodes {{ name }} }} }}", "[".repeat(70), "]".repeat(70));
        let long = format!("# {}\n{QUERY}", "x".repeat(40_000));
        for text in ["{ not a document", &deep, &long] {
            told(app, &json!({"query": text, "extensions": named(&hash(text))})).await;
            let by_hash = json!({"extensions": named(&hash(text))});
            assert_eq!(code(&told(app, &by_hash).await), "PERSISTED_QUERY_NOT_FOUND", "{}", &text[..20]);
        }
        // A mutation is one by its hash too.
        let mutation = "mutation { openSession { sid } }";
        let both = json!({"query": mutation, "extensions": named(&hash(mutation))});
        assert_eq!(code(&told(app, &both).await), "IDENTITY_REQUIRED");
        let link = link(app, &hash(mutation), &json!({})).send().await.expect("answer");
        assert_eq!(link.status(), StatusCode::METHOD_NOT_ALLOWED);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_knows_it_from_redis_and_believes_nothing_else_there() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url());
        let (first, second) = (TestApp::start(&setup, database).await, TestApp::start(&setup, database).await);
        let plain = told(&first, &json!({"query": QUERY, "extensions": named(&hash(QUERY))})).await;
        assert_eq!(told(&second, &json!({"extensions": named(&hash(QUERY))})).await, plain);
        // Somebody put another document there.
        let client = redis::Client::open(server.url()).expect("a URL");
        let mut session = client.get_multiplexed_async_connection().await.expect("Redis answers");
        let poisoned = hash("{ __typename }");
        let key = format!("ol:apq:{poisoned}");
        for value in ["{ producers { nodes { name } } }".as_bytes(), b"\xff\xfe", b""] {
            let _: () = redis::cmd("SET").arg(&key).arg(value).query_async(&mut session).await.expect("set");
            assert_eq!(
                code(&told(&second, &json!({"extensions": named(&poisoned)})).await),
                "PERSISTED_QUERY_NOT_FOUND"
            );
        }
        first.stop().await;
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_documents_of_the_safelist_are_executed_where_it_is_enforced() {
    let path = std::env::temp_dir().join(format!("safelist-{}.json", std::process::id()));
    let list = json!({"operations": [{"id": "page", "name": "Q", "type": "query", "body": QUERY}]});
    std::fs::write(&path, list.to_string()).expect("written");
    let setup =
        |mode: &str| Setup::seeded().with("SAFELIST_FILE", path.display().to_string()).with("SAFELIST_MODE", mode);
    const OTHER: &str = "{ producers(first: 1) { nodes { name } } }";
    with(setup("enforce"), async |app| {
        let plain = told(app, &json!({"query": QUERY, "variables": {"n": 2}})).await;
        assert_eq!(plain["data"]["assets"]["nodes"].as_array().map(Vec::len), Some(2));
        let by_id = json!({"documentId": "page", "variables": {"n": 2}});
        let by_hash = json!({"extensions": named(&hash(QUERY)), "variables": {"n": 2}});
        for body in [by_id, by_hash] {
            assert_eq!(told(app, &body).await, plain, "{body}");
        }
        let near = format!("{QUERY} ");
        let introspection = "{ __schema { types { name } } }";
        for text in [OTHER, &near, introspection, "{ not a document"] {
            for body in [json!({"query": text}), json!({"query": text, "extensions": named(&hash(text))})] {
                let refused = ask(app, &body).await;
                assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{body}");
                assert_eq!(code(&refused.json().await.expect("JSON")), "DOCUMENT_NOT_TRUSTED");
            }
            assert_eq!(code(&told(app, &json!({"extensions": named(&hash(text))})).await), "PERSISTED_QUERY_NOT_FOUND");
        }
        for body in [json!({"documentId": "none"}), json!({"documentId": "page", "query": QUERY})] {
            assert_eq!(ask(app, &body).await.status(), StatusCode::BAD_REQUEST, "{body}");
        }
    })
    .await;
    with(setup("log"), async |app| {
        assert_eq!(code(&told(app, &json!({"query": OTHER})).await), "ok");
        assert_eq!(code(&told(app, &json!({"documentId": "page"})).await), "ok");
    })
    .await;
    std::fs::remove_file(path).expect("removed");
}
