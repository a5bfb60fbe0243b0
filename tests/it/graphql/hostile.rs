//! Requests made to hurt: the server answers each at once, with 200 or 400, and goes on.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode, header};
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

/// Longest time an answer may take on a loaded machine. What these requests could cause are minutes, or no answer.
const QUICKLY: Duration = Duration::from_secs(10);

async fn is_answered(request: RequestBuilder, what: &str) -> (StatusCode, String) {
    let begun = Instant::now();
    let answer = request.send().await.unwrap_or_else(|e| panic!("{what}: no answer: {e}"));
    let status = answer.status();
    let body = answer.text().await.unwrap_or_else(|e| panic!("{what}: the answer broke off: {e}"));
    assert!(begun.elapsed() < QUICKLY, "{what} took {:?}", begun.elapsed());
    serde_json::from_str::<Value>(&body).unwrap_or_else(|e| panic!("{what}: {body}: {e}"));
    (status, body)
}

fn body(app: &TestApp, body: impl Into<reqwest::Body>) -> RequestBuilder {
    app.http.post(format!("{}/graphql", app.url)).header(header::CONTENT_TYPE, "application/json").body(body)
}

fn address(app: &TestApp, pairs: &[(&str, &str)]) -> RequestBuilder {
    app.get(&format!("/graphql?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()))
}

/// A document whose fragments each spread the next one twice.
pub(super) fn doubling(levels: usize) -> String {
    let spread = |i: usize| format!("fragment f{i} on Query {{ ...f{n} ...f{n} }} ", n = i + 1);
    let fragments: String = (0..levels).map(spread).collect();
    format!("{{ ...f0 }} {fragments} fragment f{levels} on Query {{ __typename }}")
}

/// Documents that nest `depth` deep, whole and broken off.
fn documents(depth: usize) -> Vec<(&'static str, String)> {
    let nest = |open: &str, close: &str| (open.repeat(depth), close.repeat(depth));
    let mut out = Vec::new();
    for (what, open, inside, close) in
        [("list", "[", "1", "]"), ("object", "{a:", "1", "}"), ("list in object", "{a:[", "1", "]}")]
    {
        let (open, close) = nest(open, close);
        out.push((what, format!("{{ asset(versionId: {open}{inside}{close}) {{ name }} }}")));
        out.push((what, format!("{{ asset(versionId: {open}")));
        out.push((what, format!("query($a: Int = {open}{inside}{close}) {{ __typename }}")));
        out.push((what, format!("{{ __typename @skip(if: {open}{inside}{close}) }}")));
    }
    let (open, close) = nest("[", "]");
    out.push(("type", format!("query($a: {open}Int{close}) {{ __typename }}")));
    let (open, close) = nest("{ producer ", "}");
    out.push(("selection set", format!("{open} {{ name }} {close}")));
    out.push(("selection set", "{a".repeat(depth)));
    let (open, close) = nest("{ ... ", "}");
    out.push(("inline fragment", format!("{open} {{ __typename }} {close}")));
    let (open, close) = nest("{ ... on Query @skip(if: false) ", "}");
    out.push(("inline fragment", format!("{open} {{ __typename }} {close}")));
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_of_any_depth_is_answered() {
    with(Setup::empty().with("BODY_SIZE_LIMIT", "4mb"), async |app| {
        for depth in [10, 64, 65, 100, 1_500, 3_000, 10_000, 60_000] {
            for (what, document) in documents(depth) {
                let what = format!("{what} of depth {depth}");
                let (status, answer) = is_answered(body(app, json!({"query": document}).to_string()), &what).await;
                let expected = [StatusCode::OK, StatusCode::BAD_REQUEST];
                assert!(expected.contains(&status), "{what}: {status} {answer:.200}");
                assert!(depth < 65 || answer.contains("\"errors\""), "{what} was accepted: {answer:.200}");
                // An address is limited by the HTTP server, to some 64 kilobytes.
                if document.len() < 15_000 {
                    let (status, answer) = is_answered(address(app, &[("query", &document)]), &what).await;
                    assert!(expected.contains(&status), "{what} in the address: {status} {answer:.200}");
                }
            }
        }
        assert_eq!(app.query("{ __typename }", json!({})).await["__typename"], "Query");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_any_depth_are_answered() {
    with(Setup::empty().with("BODY_SIZE_LIMIT", "4mb"), async |app| {
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
        for depth in [10, 64, 65, 100, 127, 128, 1_500, 3_000, 10_000, 60_000] {
            for (open, inside, close) in [("[", "1", "]"), ("{\"a\":", "1", "}"), ("[", "", ""), ("{\"a\":[", "", "")] {
                let value = format!("{}{inside}{}", open.repeat(depth), close.repeat(depth));
                let what = format!("variables of {open} of depth {depth}");
                let variables = format!("{{\"ids\":{value}}}");
                let expected = [StatusCode::OK, StatusCode::BAD_REQUEST];
                for whole in
                    [format!("{{\"query\":{},\"variables\":{variables}}}", json!(query)), value, variables.clone()]
                {
                    let (status, answer) = is_answered(body(app, whole), &what).await;
                    assert!(expected.contains(&status), "{what}: {status} {answer:.200}");
                    assert!(answer.contains("\"errors\""), "{what}: {answer:.200}");
                }
                if variables.len() < 15_000 {
                    let request = address(app, &[("query", query), ("variables", &variables)]);
                    let (status, answer) = is_answered(request, &what).await;
                    assert!(expected.contains(&status), "{what} in the address: {status} {answer:.200}");
                }
            }
        }
        assert_eq!(app.query("{ __typename }", json!({})).await["__typename"], "Query");
    })
    .await;
}

/// The query's error messages; it must not have sent a statement.
async fn refused_unexecuted(app: &TestApp, query: &str) -> String {
    let (errors, statements) = app.statements(app.errors(query, json!({}))).await;
    assert_eq!(statements, 0, "{query:.200} was executed");
    errors.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_is_refused_before_it_costs_anything() {
    with(Setup::seeded(), async |app| {
        let cubes = [
            "{ assets(first: 100) { nodes { children(first: 100) { nodes { children(first: 100) { nodes { name } } } } } } }",
            "{ assets(first: 100) { edges { node { parents(first: 100) { parents(first: 100) { name } } } } } }",
            "{ producers(last: 100) { nodes { assets(last: 100) { nodes { children(last: 100) { nodes { name } } } } } } }",
            "query($n: Int = 200) { assets(first: $n) { nodes { children(first: $n) { nodes { name } } } } }",
            "{ assets(first: 100) { ...a } } fragment a on AssetConnection { nodes { ...b } } \
             fragment b on Asset { children(first: 100) { nodes { children(first: 100) { nodes { name } } } } }",
        ];
        for query in cubes {
            assert!(refused_unexecuted(app, query).await.contains("too complex"), "{query}");
        }
        let aliases = |n: usize| (0..n).map(|n| format!("a{n}: assets(first: 100) {{ nodes {{ name }} }} ")).collect::<String>();
        assert!(refused_unexecuted(app, &format!("{{ {} }}", aliases(125))).await.contains("too complex"));
        assert!(refused_unexecuted(app, &format!("{{ {} }}", aliases(500))).await.contains("2000 tokens"));
        let deep = format!("{{ assets(first: 1) {{ nodes {{ {} name {} }} }} }}", "parents(first: 1) {".repeat(20), "}".repeat(20));
        assert!(refused_unexecuted(app, &deep).await.contains("too deep"));
        let loops = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
        refused_unexecuted(app, loops).await;
        let directives = format!("{{ assets {} {{ totalCount }} }}", "@skip(if: false) ".repeat(30));
        refused_unexecuted(app, &directives).await;
        // One that is wide, and within the limits.
        app.query("{ assets(first: 100) { nodes { name children(first: 10) { nodes { name } } } } }", json!({})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_query_is_refused_quickly_however_it_is_spelt() {
    with(Setup::empty(), async |app| {
        // Fragments that double with each level; 200,000 aliases; a field 20,000 times; a long name; only comments.
        let documents = [
            doubling(14),
            format!("{{ {} }}", (0..16_000).map(|n| format!("a{n}:__typename ")).collect::<String>()),
            format!("{{ {} }}", "__typename ".repeat(20_000)),
            format!("{{ {} }}", "x".repeat(200_000)),
            format!("{{ __typename }} {}", "#\n".repeat(100_000)),
            format!("{{ asset(versionId: \"{}\") {{ name }} }}", "\\u0041".repeat(30_000)),
            format!(
                "{{ __typename }} {}",
                (0..3_000).map(|n| format!("fragment a{n} on Query {{ b }} ")).collect::<String>()
            ),
        ];
        for document in documents {
            is_answered(body(app, json!({"query": document}).to_string()), &document[..40]).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_and_numbers_of_any_kind_are_answered() {
    with(Setup::seeded(), async |app| {
        let find = r#""query": "query($t: String!) { assets(filter: {text: $t}) { totalCount } search(query: $t) { nodes { id } } }""#;
        let node = r#""query": "query($id: ID!) { node(id: $id) { id } }""#;
        let first = r#""query": "query($n: Int) { assets(first: $n) { totalCount } }""#;
        let cases = [
            (find, r#"{"t": "😀 漢字 עברית  é"}"#),
            (find, r#"{"t": "\u0000"}"#),
            (find, r#"{"t": "\ud83d\ude00"}"#),
            (find, r#"{"t": "\ud800"}"#),
            (find, r#"{"t": "\udc00\ud800"}"#),
            (find, r#"{"t": "\uFFFF\uFEFF\u202e"}"#),
            (find, r#"{"t": 5}"#),
            (find, r#"{"t": ["a"]}"#),
            (find, r#"{"t": null}"#),
            (find, r#"{"\u0000": "x", "t": "x", "t": "y"}"#),
            (node, r#"{"id": 99999999999999999999999999}"#),
            (node, r#"{"id": 1.5}"#),
            (node, r#"{"id": {}}"#),
            (first, r#"{"n": 99999999999999999999999999}"#),
            (first, r#"{"n": -99999999999999999999999999}"#),
            (first, r#"{"n": 1e308}"#),
            (first, r#"{"n": 1e999}"#),
            (first, r#"{"n": 1.5}"#),
            (first, r#"{"n": 2147483648}"#),
            (first, r#"{"n": true}"#),
            (first, r#"{"n": NaN}"#),
        ];
        for (query, variables) in cases {
            let what = format!("{query} {variables}");
            let (status, answer) = is_answered(body(app, format!("{{{query}, \"variables\": {variables}}}")), &what).await;
            assert!([StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "{what}: {status} {answer}");
            assert!(!answer.contains("INTERNAL"), "{what}: {answer}");
        }
        let bytes: [&[u8]; 4] = [b"{\"query\": \"{ \xff }\"}", b"\xff\xfe{", b"\0", b"\xef\xbb\xbf{\"query\": \"{ __typename }\"}"];
        for bytes in bytes {
            let (status, answer) = is_answered(body(app, bytes.to_vec()), &format!("{bytes:?}")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{bytes:?}: {answer}");
        }
        for path in ["/graphql?query=%ff", "/graphql?query=%00", "/graphql?query=%7B__typename%7D&variables=%ff", "/graphql?%"] {
            let (status, answer) = is_answered(app.get(path), path).await;
            assert!([StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "{path}: {status} {answer}");
        }
        for document in ["\u{feff}{ __typename }", "{ é }", "{ __typename } \u{0}", "{ a: \u{1F600} }", "\"\"\"", "#", "{}", "{ \"a\" }"] {
            let (status, answer) = is_answered(body(app, json!({"query": document}).to_string()), document).await;
            assert!([StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "{document}: {status} {answer}");
        }
    })
    .await;
}

/// What grows when fragments are written out, or when introspection answers lists, is refused by its size before any of
/// it is walked; what tools send passes.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_grow_are_refused_by_their_size() {
    with(Setup::seeded(), async |app| {
        let wide: String = (0..300)
            .map(|i| format!("a{i}: __type(name: \"Node\") {{ possibleTypes {{ fields {{ args {{ name }} }} }} }} "))
            .collect();
        let circle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned();
        for (what, query) in [
            ("doubling 22", doubling(22)),
            ("doubling 60", doubling(60)),
            ("introspection", format!("{{ {wide} }}")),
            ("circle", circle),
            ("aliases", format!("{{ {} }}", (0..6_000).map(|i| format!("a{i}: __typename ")).collect::<String>())),
        ] {
            let (answered, statements) =
                app.statements(is_answered(body(app, json!({ "query": query }).to_string()), what)).await;
            assert_eq!((answered.0, statements), (StatusCode::BAD_REQUEST, 0), "{what}");
        }
        let usual = include_str!("../../../src/transport/graphql/introspection.graphql");
        assert!(app.query(usual, json!({})).await["__schema"]["types"].as_array().is_some_and(|t| t.len() > 20));
        assert!(app.query(&doubling(6), json!({})).await["__typename"].is_string());
    })
    .await;
}

/// Who asks is told what a document costs and which fields make it so: above all of one that is refused for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_costs_is_told_field_by_field() {
    with(Setup::seeded(), async |app| {
        let ask = async |query: &str, variables: Value, cost: Value| -> Value {
            let body = json!({"query": query, "variables": variables, "extensions": {"cost": cost}});
            let request = app.http.post(format!("{}/graphql", app.url)).json(&body);
            request.send().await.expect("answer").json().await.expect("JSON")
        };
        let query = "query Q($n: Int, $m: Int = 2) { page: assets(first: $n) { nodes { ...F } } tip: chainTip { height } } \
             fragment F on Asset { name children(first: $m) { nodes { name } } }";
        for _ in 0..2 {
            let told = ask(query, json!({"n": 10}), json!(true)).await;
            assert!(told["data"]["page"]["nodes"].is_array(), "{told}");
            let cost = &told["extensions"]["cost"];
            let of = |path: &str| cost["fields"][path].as_u64().unwrap_or_else(|| panic!("{path}: {told}"));
            assert_eq!((&cost["limit"], &cost["depth"], &cost["depthLimit"]), (&json!(20_000), &json!(5), &json!(15)));
            assert_eq!(cost["total"].as_u64(), Some(of("page") + of("tip")), "{told}");
            // Ten assets, each with two children.
            assert!(of("page.nodes.children") > 10 * of("tip"), "{told}");
            assert!(of("page") > of("page.nodes.children") && of("page.nodes.children") > of("page.nodes.name"), "{told}");
        }
        let grown = ask(query, json!({"n": 20}), json!(true)).await;
        let told = ask(query, json!({"n": 10}), json!(true)).await;
        let page = |told: &Value| told["extensions"]["cost"]["fields"]["page"].as_u64().expect("a cost");
        assert!(page(&grown) > 2 * page(&told) - 50, "{grown}");
        // Refused for it, and told all the same; what is not valid has no cost.
        let told = ask(query, json!({"n": 200, "m": 200}), json!(true)).await;
        assert!(told.get("data").is_none() && told["errors"].is_array(), "{told}");
        assert!(told["extensions"]["cost"]["total"].as_u64() > Some(20_000), "{told}");
        assert!(ask("{ nothing }", json!({}), json!(true)).await.get("extensions").is_none());
        // Nobody else is told.
        for cost in [json!(false), json!("yes"), Value::Null] {
            assert!(ask(query, json!({"n": 1}), cost).await.get("extensions").is_none());
        }
        // However many fields there are, few are told of.
        let many: String = (0..300).map(|n| format!("a{n}: chainTip {{ height }} ")).collect();
        let told = ask(&format!("{{ {many} }}"), json!({}), json!(true)).await;
        assert_eq!(told["extensions"]["cost"]["fields"].as_object().map(serde_json::Map::len), Some(30), "{told}");
    })
    .await;
}
