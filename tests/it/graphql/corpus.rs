//! Hostile documents, each over every transport: POST, GET, events, WebSocket, and by its hash. Each is refused before anything is
//! executed, and none leaves anything behind.

use std::time::{Duration, Instant};

use overlay::domain::hex::encode_hex;
use reqwest::{RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::hostile::doubling;
use crate::harness::process::memory;
use crate::harness::socket::Socket;
use crate::harness::{Setup, TestApp, with};

/// A document and its variables.
type Document = (String, String, Value);

/// Depths of every kind, from such as the parser takes to such as would end its stack.
const DEPTHS: [usize; 7] = [10, 64, 65, 200, 1_500, 10_000, 60_000];

fn deep(depth: usize) -> Vec<(String, String)> {
    let nest = |open: &str, inside: &str, close: &str| format!("{}{inside}{}", open.repeat(depth), close.repeat(depth));
    vec![
        ("lists".into(), format!("{{ asset(versionId: {}) {{ name }} }}", nest("[", "1", "]"))),
        ("objects".into(), format!("{{ asset(versionId: {}) {{ name }} }}", nest("{a:", "1", "}"))),
        ("open lists".into(), format!("{{ asset(versionId: {}", "[".repeat(depth))),
        ("default".into(), format!("query($a: Int = {}) {{ nothing }}", nest("[", "1", "]"))),
        ("type".into(), format!("query($a: {}) {{ nothing }}", nest("[", "Int", "]"))),
        ("selections".into(), nest("{ nothing ", "{ a }", "}")),
        ("inline fragments".into(), format!("{{ {} }}", nest("... { ", "nothing", " }"))),
        ("directives".into(), format!("{{ nothing @skip(if: {}) }}", nest("[{a:", "1", "}]"))),
    ]
}

fn wide() -> Vec<(&'static str, String)> {
    let many = |count: usize, part: &dyn Fn(usize) -> String| (0..count).map(part).collect::<String>();
    vec![
        ("aliases", format!("{{ {} }}", many(500, &|n| format!("a{n}: assets {{ nodes {{ name }} }} ")))),
        ("costly aliases", format!("{{ {} }}", many(120, &|n| format!("a{n}: assets(first: 100) {{ nodes {{ name tags }} }} ")))),
        ("fields", format!("{{ {} }}", "__typename ".repeat(20_000))),
        ("arguments", format!("{{ asset({}) {{ name }} }}", many(5_000, &|n| format!("a{n}: {n} ")))),
        ("variables", format!("query({}) {{ nothing }}", many(5_000, &|n| format!("$v{n}: Int ")))),
        ("operations", many(2_000, &|n| format!("query q{n} {{ __typename }} "))),
        ("fragments", format!("{{ __typename }} {}", many(3_000, &|n| format!("fragment a{n} on Query {{ b }} ")))),
        ("doubling", doubling(60)),
        ("circle", "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }".into()),
        ("own tail", "{ ...a } fragment a on Query { ...a }".into()),
        ("unused circle", "{ __typename } fragment a on Query { ...a }".into()),
        ("directives", format!("{{ __typename {} }}", "@skip(if: false) ".repeat(30))),
        ("directives of a fragment", format!("{{ ... {} {{ __typename }} }}", "@include(if: true) ".repeat(30))),
        ("unknown directives", format!("{{ __typename {} }}", "@nothing ".repeat(300))),
        ("a cube", "{ assets(first: 100) { nodes { children(first: 100) { nodes { children(first: 100) { nodes { name } } } } } } }".into()),
        ("a cube of pages by default", "{ assets { nodes { children { nodes { children { nodes { children { nodes { children { nodes { name } } } } } } } } } } }".into()),
        ("a cube from behind", "{ producers(last: 100) { nodes { assets(last: 100) { nodes { children(last: 100) { nodes { name } } } } } } }".into()),
        ("a cube by a variable", "query($n: Int = 200) { assets(first: $n) { nodes { children(first: $n) { nodes { name } } } } }".into()),
        ("a list too long", "{ assets(first: 201) { nodes { name } } }".into()),
        ("a negative list", "{ assets(first: -1) { nodes { name } } }".into()),
        ("introspection", format!("{{ {} }}", many(300, &|n| format!("a{n}: __schema {{ types {{ fields {{ args {{ name }} }} }} }} ")))),
        ("nested introspection", "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }".into()),
        ("a name", format!("{{ {} }}", "x".repeat(200_000))),
        ("a number", format!("{{ assets(first: {}) {{ totalCount }} }}", "9".repeat(50_000))),
        ("a negative number", "{ assets(first: -99999999999999999999999999) { totalCount } }".into()),
        ("a fraction", "{ assets(first: 1e999) { totalCount } }".into()),
        ("an empty document", " ".into()),
        ("commas", ",".repeat(200_000)),
        ("comments", "#\n".repeat(100_000)),
        ("a comment without an end", format!("#{}", "{".repeat(100_000))),
        ("a string without an end", format!("{{ asset(versionId: \"{}", "{".repeat(100_000))),
        ("a block without an end", format!("{{ asset(versionId: \"\"\" {}", "{a:".repeat(50_000))),
        ("escapes", format!("{{ asset(versionId: \"{}\") {{ name }} }}", "\\u0041".repeat(30_000))),
        ("a wrong escape", "{ asset(versionId: \"\\ud800\") { name } }".into()),
        ("nul", "{ __typename } \u{0}".into()),
        ("nul in a name", "{ __type\u{0}name }".into()),
        ("letters of all the world", "{ é漢字עברית😀 }".into()),
        ("a mark of direction", "{ __typename\u{202e} }".into()),
        ("a mark of bytes inside", "{ \u{feff}__typename é }".into()),
        ("two without a name", "{ __typename } { __typename }".into()),
        ("a name twice", "query a { __typename } query a { __typename }".into()),
        ("a subscription to two", "subscription { assetChanged { token } chainTipChanged { token } }".into()),
        ("a subscription to introspection", "subscription { __schema { types { name } } }".into()),
        ("a definition of types", "type Query { a: Int }".into()),
        ("an extension of types", "extend type Query { a: Int } { a }".into()),
        ("brackets that close", "}".repeat(100_000)),
        ("brackets that do not fit", format!("{}{}", "{[(".repeat(20), ")}]".repeat(20))),
        ("nodes", format!("{{ nodes(ids: [{}]) {{ id }} }}", "\"a\" ".repeat(1_900))),
    ]
}

fn variables() -> Vec<(String, String, Value)> {
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let nest = |depth: usize| (0..depth).fold(json!("a"), |inside, _| json!([inside]));
    let mut all: Vec<_> = [10, 100]
        .map(|depth| (format!("variables {depth} deep"), query.to_owned(), json!({"ids": nest(depth)})))
        .into();
    all.push(("no variables".into(), query.into(), json!({})));
    all.push(("many variables".into(), query.into(), json!({"ids": vec!["a"; 5_000]})));
    let number = "query($n: Int) { assets(first: $n) { totalCount } }";
    for value in [json!(1e308), json!(2_147_483_648_i64), json!("5"), json!(true), json!([[]]), json!({"a": 1})] {
        all.push((format!("a number that is {value}"), number.into(), json!({"n": value})));
    }
    all
}

fn corpus() -> Vec<Document> {
    let deep = DEPTHS
        .iter()
        .flat_map(|depth| deep(*depth).into_iter().map(move |(what, text)| (format!("{depth} {what}"), text)));
    let wide = wide().into_iter().map(|(what, text)| (what.to_owned(), text));
    deep.chain(wide).map(|(what, text)| (what, text, json!({}))).chain(variables()).collect()
}

/// How long each refusal took, and over what.
#[derive(Default)]
struct Clock(Vec<(Duration, String)>);

impl Clock {
    async fn time<T>(&mut self, what: String, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let outcome = work.await;
        self.0.push((begun.elapsed(), what));
        outcome
    }
}

const GRAPHQL: &str = "application/graphql-response+json";

/// Over HTTP: told by the status, or within the stream that was asked for; without data in any case.
async fn refused(clock: &mut Clock, what: String, request: RequestBuilder) {
    let ask = async {
        let answer = request.send().await.unwrap_or_else(|e| panic!("{what}: no answer: {e}"));
        (answer.status(), answer.text().await.unwrap_or_else(|e| panic!("{what}: the answer broke off: {e}")))
    };
    let (status, body) = clock.time(what.clone(), ask).await;
    assert!(status.is_client_error() || status == StatusCode::OK, "{what}: {status} {body:.300}");
    if status == StatusCode::OK {
        // The first event of a stream, or an answer whose fields were all refused.
        let event = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&body);
        is_nothing(&what, &serde_json::from_str(event).unwrap_or_else(|e| panic!("{what}: {e}: {body:.300}")));
    }
    assert!(!body.contains("INTERNAL"), "{what}: {body:.300}");
}

/// An answer that has errors, and nothing else.
fn is_nothing(what: &str, answer: &Value) {
    let is_null = |data: &Value| data.as_object().is_none_or(|fields| fields.values().all(Value::is_null));
    assert!(answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{what}: {answer:.300}");
    assert!(is_null(&answer["data"]), "{what}: {answer:.300}");
}

async fn over_all(app: &TestApp, socket: &mut Socket, clock: &mut Clock, (what, query, variables): &Document) {
    let url = format!("{}/graphql", app.url);
    let body = json!({"query": query, "variables": variables});
    let post = |body: &Value, accept: &str| app.http.post(&url).header(header::ACCEPT, accept).json(body);
    refused(clock, format!("POST {what}"), post(&body, GRAPHQL)).await;
    refused(clock, format!("events {what}"), post(&body, "text/event-stream")).await;
    let hash = encode_hex(&Sha256::digest(query));
    let extensions = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
    let persisted = json!({"query": query, "variables": variables, "extensions": extensions});
    refused(clock, format!("persisted {what}"), post(&persisted, GRAPHQL)).await;
    let named = json!({"variables": variables, "extensions": extensions});
    refused(clock, format!("by hash {what}"), post(&named, GRAPHQL)).await;
    refused(clock, format!("batch {what}"), post(&json!([body, body]), GRAPHQL)).await;
    let text = variables.to_string();
    let pairs = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("query", query), ("variables", &text)])
        .finish();
    // No library makes an address of more than 64 kilobytes.
    if pairs.len() < 60_000 {
        let link = app.get(&format!("/graphql?{pairs}")).header(header::ACCEPT, GRAPHQL);
        refused(clock, format!("GET {what}"), link).await;
    }
    let said = async {
        socket.begin("1", query, variables.clone()).await;
        socket.hear().await
    };
    let told = clock.time(format!("WebSocket {what}"), said).await;
    assert_eq!(told["id"], "1", "WebSocket {what}: {told:.300}");
    if told["type"] == "next" {
        is_nothing(what, &told["payload"]);
        assert_eq!(socket.hear().await["type"], "complete");
    } else {
        assert_eq!(told["type"], "error", "WebSocket {what}: {told:.300}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_document_is_refused_unexecuted_over_every_transport() {
    with(Setup::seeded().with("BODY_SIZE_LIMIT", "1mb"), async |app| {
        let corpus = corpus();
        assert!(corpus.len() >= 100, "{}", corpus.len());
        let mut socket = Socket::open(&app.url).await;
        let mut clock = Clock::default();
        let mut pass = async |clock: &mut Clock| {
            for document in &corpus {
                over_all(app, &mut socket, clock, document).await;
            }
        };
        // Once for what is set up at the first time, once to see what stays.
        let ((), statements) = app.statements(pass(&mut Clock::default())).await;
        assert_eq!(statements, 0, "something was executed");
        // The server and its clients are in this process.
        let before = memory(std::process::id());
        pass(&mut clock).await;
        let grown = memory(std::process::id()).saturating_sub(before);
        clock.0.sort();
        let median = &clock.0[clock.0.len() / 2];
        let slowest = &clock.0[clock.0.len() - 10..];
        eprintln!("{} documents, {} requests: median {:?}, slowest", corpus.len(), clock.0.len(), median.0);
        eprintln!("{slowest:#?}\n{grown} bytes more");
        assert!(grown < 64 << 20, "{grown} bytes more");
        assert_eq!(app.query("{ __typename }", json!({})).await["__typename"], "Query");
    })
    .await;
}
