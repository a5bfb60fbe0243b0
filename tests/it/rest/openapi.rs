//! `openapi.json` describes what there is: the paths and methods of the sources, answers as it says them, and nothing that
//! leads nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::harness::{Setup, TestApp, with};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn transport() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transport")
}

fn description() -> Value {
    serde_json::from_str(&text(&transport().join("rest/openapi.json"))).expect("JSON")
}

/// The path with its parameters unnamed: sources and description call them by the customs of their own.
fn unnamed(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// What the parenthesis holds that `text` begins after.
fn parenthesized(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// Whether a router of axum is told of the method: as a function or as a method of another's.
fn takes(handlers: &str, method: &str) -> bool {
    let call = format!("{method}(");
    handlers.match_indices(&call).any(|(at, _)| {
        let before = handlers[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

/// The routes in a source, as `METHOD path`.
fn routes_of(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, start) in source.match_indices(".route(") {
        let route = parenthesized(&source[at + start.len()..]);
        let (path, handlers) = route.trim_start().strip_prefix('"').and_then(|r| r.split_once('"')).expect("a path");
        for method in METHODS.iter().filter(|method| takes(handlers, method)) {
            found.insert(format!("{} {}", method.to_uppercase(), unnamed(path)));
        }
    }
    found
}

#[test]
fn routes_are_found_in_a_source() {
    let source = r#"Router::new().route("/a", get(list).post(issue)).route("/a/{a_id}", delete(budget(x)))
        .route(
            "/b",
            get(|| async { answer(StatusCode::OK, post_it(1)) }),
        )"#;
    let wanted = ["DELETE /a/{}", "GET /a", "GET /b", "POST /a"];
    assert_eq!(routes_of(source).iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn it_has_the_routes_that_there_are() {
    let mut there_are = routes_of(&text(&transport().join("graphql/serve.rs")));
    for entry in std::fs::read_dir(transport().join("rest")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            there_are.append(&mut routes_of(&text(&path)));
        }
    }
    let description = description();
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for method in METHODS.iter().filter(|method| operations.get(**method).is_some()) {
            described.insert(format!("{} {}", method.to_uppercase(), unnamed(path)));
        }
    }
    assert!(there_are.len() > 30, "only {} routes were found", there_are.len());
    let (missing, made_up): (Vec<_>, Vec<_>) =
        (there_are.difference(&described).collect(), described.difference(&there_are).collect());
    assert!(missing.is_empty() && made_up.is_empty(), "not described: {missing:?}; not there: {made_up:?}");
}

/// All values that are called `name`, wherever they stand.
fn called<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(text) if key == name => found.push(text),
                    _ => called(value, name, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| called(item, name, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let description = description();
    let mut references = Vec::new();
    called(&description, "$ref", &mut references);
    for reference in &references {
        let target = reference.strip_prefix('#').and_then(|pointer| description.pointer(pointer));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
    for kind in ["schemas", "responses", "parameters", "headers"] {
        for name in description["components"][kind].as_object().expect("components").keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(references.contains(&reference.as_str()), "{reference} is not used");
        }
    }
    let mut ids = Vec::new();
    for operations in description["paths"].as_object().expect("paths").values() {
        ids.extend(METHODS.iter().filter_map(|method| operations.get(*method)?.get("operationId")?.as_str()));
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each has an operationId of its own: {ids:?}");
}

/// What a reference stands for; what is none stands for itself.
fn resolved<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => description.pointer(&reference[1..]).expect("a reference leads somewhere"),
        None => value,
    }
}

/// The path with the examples of an operation's parameters.
fn asked_for(description: &Value, path: &str, operation: &Value) -> String {
    let mut path = path.to_owned();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(description, parameter);
        let name = parameter["name"].as_str().expect("a name");
        match (parameter["in"].as_str(), parameter["example"].as_str()) {
            (Some("path"), example) => path = path.replace(&format!("{{{name}}}"), example.unwrap_or("unknown")),
            (Some("query"), Some(example)) => {
                query.append_pair(name, example);
            }
            _ => {}
        }
    }
    match query.finish() {
        query if query.is_empty() => path,
        query => format!("{path}?{query}"),
    }
}

/// Holds an answer to what is described of it: its status, its headers, its type, and the members of its body.
async fn check(description: &Value, what: &str, operation: &Value, answer: Response) {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.text().await.unwrap_or_default();
    let described = operation["responses"].get(status.as_str());
    let described = described.unwrap_or_else(|| panic!("{what}: {status} is not described: {body}"));
    let described = resolved(description, described);
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let is_due = resolved(description, header)["required"] == true;
        assert!(!is_due || headers.contains_key(name), "{what}: {status} without {name}: {headers:?}");
    }
    let Some(contents) = described["content"].as_object() else {
        assert!(body.is_empty(), "{what}: {status} with a body: {body}");
        return;
    };
    let media = headers["content-type"].to_str().expect("text").split(';').next().unwrap_or_default();
    let content = contents.get(media).unwrap_or_else(|| panic!("{what}: {media} is not described"));
    let Some(schema) = content.get("schema").map(|schema| resolved(description, schema)) else { return };
    let Some(properties) = schema["properties"].as_object() else { return };
    let body: BTreeMap<String, Value> = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{what}: {e}: {body}"));
    let unknown: Vec<_> = body.keys().filter(|name| !properties.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "{what}: {unknown:?} are not described");
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing: Vec<_> = required.filter(|name| !body.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} are missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_examples_of_reads_are_answered_as_it_says() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let description = description();
        // What is read of lineage is what an example sends.
        let sending = &description["paths"]["/api/v1/lineage"]["post"];
        let sent = sent(app, &description, "post", "/api/v1/lineage", sending).await;
        assert_eq!(sent.status(), StatusCode::CREATED);
        for (path, operations) in description["paths"].as_object().expect("paths") {
            let Some(operation) = operations.get("get") else { continue };
            let path = asked_for(&description, path, operation);
            let answer = app.get(&path).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            check(&description, &path, operation, answer).await;
            // What no route knows is refused, where anything is asked for.
            let wrong = format!("{path}{}nonsense=1", if path.contains('?') { '&' } else { '?' });
            let answer = app.get(&wrong).send().await.expect("answer");
            check(&description, &wrong, operation, answer).await;
        }
    })
    .await;
}

/// Sends what the description gives as an example of an operation's body.
async fn sent(app: &TestApp, description: &Value, method: &str, path: &str, operation: &Value) -> Response {
    let url = format!("{}{}", app.url, asked_for(description, path, operation));
    let request = app.http.request(method.to_uppercase().parse().expect("a method"), url);
    let body = operation.pointer("/requestBody/content/application~1json/example");
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    request.send().await.expect("answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_to_need_an_identity_does_and_nothing_else_does() {
    with(Setup::seeded(), async |app| {
        let description = description();
        for (path, operations) in description["paths"].as_object().expect("paths") {
            for method in ["post", "patch", "delete"] {
                let Some(operation) = operations.get(method) else { continue };
                let what = format!("{method} {path}");
                let answer = sent(app, &description, method, path, operation).await;
                let is_refused = answer.status() == StatusCode::UNAUTHORIZED;
                assert_eq!(is_refused, operation.get("security").is_some(), "{what}: {}", answer.status());
                check(&description, &what, operation, answer).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_examples_of_writes_are_answered_as_it_says() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let description = description();
        for (path, operations) in description["paths"].as_object().expect("paths") {
            for method in ["post", "patch", "delete"] {
                let Some(operation) = operations.get(method) else { continue };
                let answer = sent(app, &description, method, path, operation).await;
                check(&description, &format!("{method} {path}"), operation, answer).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_is_answered_by_those_that_it_describes() {
    with(Setup::empty(), async |app| {
        for (path, operations) in description()["paths"].as_object().expect("paths") {
            let path = path.replace(['{', '}'], "");
            let answer = app.http.put(format!("{}{path}", app.url)).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let allowed = answer.headers()["allow"].to_str().expect("text");
            let allowed: BTreeSet<String> = allowed.split(',').map(|method| method.trim().to_lowercase()).collect();
            let described = METHODS.iter().filter(|method| operations.get(**method).is_some());
            let mut described: BTreeSet<String> = described.map(|method| (*method).to_owned()).collect();
            if described.contains("get") {
                described.insert("head".to_owned());
            }
            assert_eq!(allowed, described, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_of_manifests_what_their_schema_says() {
    with(Setup::empty(), async |app| {
        let description = description();
        let mut schema = app.json("/manifest.schema.json").await;
        let definitions = schema["$defs"].take();
        for name in ["$schema", "$id", "title", "$defs"] {
            schema.as_object_mut().expect("an object").remove(name);
        }
        let schema = schema.to_string().replace("#/$defs/hash", "#/components/schemas/ManifestHash");
        let schema = schema.replace("#/$defs/words", "#/components/schemas/ManifestWords");
        let described = &description["components"]["schemas"];
        assert_eq!(described["Manifest"], serde_json::from_str::<Value>(&schema).expect("JSON"));
        assert_eq!(described["ManifestHash"], definitions["hash"]);
        assert_eq!(described["ManifestWords"], definitions["words"]);
        assert_eq!(app.json("/openapi.json").await, description);
    })
    .await;
}
