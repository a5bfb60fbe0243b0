//! A document that was answered once is executed by a plan from then on: what it answers is what the general executor
//! answers, byte for byte.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::makers::Random;
use crate::harness::{Setup, TestApp, with};

/// A field of the schema: the types it leads to, whether those are objects, and its arguments' names.
struct Field {
    name: String,
    of: String,
    is_object: bool,
    arguments: Vec<String>,
}

type Types = BTreeMap<String, Vec<Field>>;

/// The object types by name, as the server tells them.
async fn types(app: &TestApp) -> Types {
    const QUERY: &str = "{ __schema { types { name kind fields { name args { name } type { ...T } } } } } \
        fragment T on __Type { name kind ofType { name kind ofType { name kind ofType { name kind } } } }";
    let data = app.query(QUERY, Value::Null).await;
    let objects = data["__schema"]["types"].as_array().expect("types").iter().filter(|t| t["kind"] == "OBJECT");
    let field = |field: &Value| {
        let mut of = &field["type"];
        while !of["ofType"].is_null() {
            of = &of["ofType"];
        }
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let arguments = field["args"].as_array().expect("arguments").iter().map(|a| text(&a["name"])).collect();
        Field { name: text(&field["name"]), of: text(&of["name"]), is_object: of["kind"] == "OBJECT", arguments }
    };
    // When a price runs out depends on when it is asked for.
    let is_same_twice = |t: &Value, field: &Field| t["name"] != "PriceQuote" || field.name != "expiresAt";
    let fields = |t: &Value| {
        let all = t["fields"].as_array().expect("fields").iter().map(field);
        all.filter(|field| is_same_twice(t, field)).collect()
    };
    objects.map(|t| (t["name"].as_str().expect("a name").to_owned(), fields(t))).collect()
}

/// What is answered to a request that no kept answer may serve.
async fn asked(app: &TestApp, query: &str, variables: &Value) -> String {
    let request = app.post(query, variables.clone()).header("authorization", "Bearer of-nobody");
    request.send().await.expect("answer").text().await.expect("body")
}

/// What the general executor answers: to it, a document with another remark is another document.
async fn general(app: &TestApp, query: &str, variables: &Value) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static REMARK: AtomicU64 = AtomicU64::new(0);
    asked(app, &format!("# {}\n{query}", REMARK.fetch_add(1, Ordering::Relaxed)), variables).await
}

/// How many executions plans have done.
async fn planned(app: &TestApp) -> u64 {
    let metrics = app.get("/metrics").send().await.expect("answer").text().await.expect("body");
    let line = metrics.lines().find_map(|l| l.strip_prefix("overlay_graphql_executions_total{by=\"plan\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

/// Asks until a plan answers, and compares. Whether one did.
async fn compared(app: &TestApp, query: &str, variables: &Value) -> bool {
    let expected = general(app, query, variables).await;
    let before = planned(app).await;
    for _ in 0..3 {
        assert_eq!(asked(app, query, variables).await, expected, "{query} {variables}");
    }
    planned(app).await > before
}

/// The types that plans know.
const PLANNED: [&str; 3] = ["Asset", "Producer", "Receipt"];

/// Fields that the general executor answers: they are about the present, and asked for one version at a time as a rule.
const GENERAL: [&str; 8] =
    ["declaration", "confirmations", "advisories", "readiness", "policyRuns", "price", "lineage", "lineageNode"];

/// Some fields of a type. `None` for a type of which nothing can be selected any more.
fn selection(types: &Types, on: &str, depth: usize, random: &mut Random) -> Option<String> {
    let fields: Vec<&Field> = types[on].iter().filter(|f| depth > 0 || !f.is_object).collect();
    let mut parts: Vec<String> = Vec::new();
    for n in 0..1 + random.below(5) {
        if fields.is_empty() || random.below(12) == 0 {
            parts.push(format!("t{n}: __typename"));
            continue;
        }
        let field = random.pick(&fields);
        let size = ["", "(first: 1)", "(first: 3)", "(first: $n)"];
        let arguments = if field.arguments.iter().any(|a| a == "first") { *random.pick(&size) } else { "" };
        let below = if field.is_object {
            let Some(inner) = selection(types, &field.of, depth - 1, random) else { continue };
            match random.below(4) {
                0 => format!(" {{ ... on {} {inner} }}", field.of),
                _ => format!(" {inner}"),
            }
        } else {
            String::new()
        };
        parts.push(format!("f{n}: {}{arguments}{below}", field.name));
    }
    (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(" ")))
}

/// Ways to objects from the root.
async fn roots(app: &TestApp) -> Vec<(String, &'static str)> {
    let mut roots: Vec<(String, &'static str)> = vec![
        ("assets(first: $n, orderBy: NAME_ASC)".into(), "AssetConnection"),
        ("assets(first: 4, filter: {text: \"a\", license: {in: [\"CC-BY-4.0\", \"MIT\"]}})".into(), "AssetConnection"),
        ("assets(last: 3)".into(), "AssetConnection"),
        ("search(query: $q, first: 3)".into(), "SearchConnection"),
        ("producers(first: $n, orderBy: CREATED_AT_DESC)".into(), "ProducerConnection"),
        (format!("asset(versionId: \"{}\")", "0".repeat(64)), "Asset"),
        ("receipt(receiptId: \"none\")".into(), "Receipt"),
    ];
    for id in app.rows("select version_id from assets order by version_id limit 5").await {
        roots.push((format!("asset(versionId: \"{id}\")"), "Asset"));
    }
    for id in app.rows("select producer_id from producers order by producer_id limit 2").await {
        roots.push((format!("producer(producerId: \"{id}\")"), "Producer"));
    }
    for id in app.rows("select receipt_id from receipts order by receipt_id limit 2").await {
        roots.push((format!("receipt(receiptId: \"{id}\")"), "Receipt"));
    }
    roots
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_answer_what_the_general_executor_answers() {
    with(Setup::seeded(), async |app| {
        let (types, roots, mut random) = (types(app).await, roots(app).await, Random::new());
        let (mut all, mut by_plan) = (0, 0);
        while all < 300 {
            let (root, of) = random.pick(&roots);
            let Some(inner) = selection(&types, of, 4, &mut random) else { continue };
            let query = format!("query Q($n: Int = 2, $q: String = \"data\") {{ found: {root} {inner} }}");
            // Every variable must be used.
            let query = match (query.contains("first: $n"), query.contains("query: $q")) {
                (false, false) => query.replace("($n: Int = 2, $q: String = \"data\")", ""),
                (true, false) => query.replace(", $q: String = \"data\"", ""),
                (false, true) => query.replace("$n: Int = 2, ", ""),
                (true, true) => query,
            };
            let variables = [json!({}), json!({"n": 1}), json!({"n": 3, "q": "model"}), json!({"n": null})];
            let variables = random.pick(&variables);
            by_plan += usize::from(compared(app, &query, variables).await);
            all += 1;
        }
        // Two relations to one type are the general executor's; so is what fails.
        assert!(by_plan * 3 > all, "{by_plan} of {all} by a plan");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_types_that_plans_know_has_one() {
    with(Setup::seeded(), async |app| {
        let types = types(app).await;
        let asset = &app.rows("select child_version_id from asset_parents order by 1 limit 1").await[0];
        let producer = &app.rows("select producer_id from assets order by version_id limit 1").await[0];
        let receipts = app.rows("select receipt_id from receipts order by receipt_id limit 1").await;
        let receipt = receipts.first().map_or("none", String::as_str);
        for on in PLANNED {
            for field in types[on].iter().filter(|field| on != "Asset" || !GENERAL.contains(&field.name.as_str())) {
                let inner = match &types.get(&field.of) {
                    Some(_) if field.of.ends_with("Connection") => {
                        " { __typename edges { cursor node { id __typename } __typename } pageInfo { hasNextPage \
                            hasPreviousPage startCursor endCursor __typename } }"
                    }
                    Some(_) => " { id }",
                    None => "",
                };
                let root = match on {
                    "Asset" => format!("asset(versionId: \"{asset}\")"),
                    "Producer" => format!("producer(producerId: \"{producer}\")"),
                    _ => format!("receipt(receiptId: \"{receipt}\")"),
                };
                let query = format!("{{ {root} {{ {}{inner} }} }}", field.name);
                assert!(compared(app, &query, &Value::Null).await, "no plan: {query}");
            }
        }
        for query in [
            "{ assets(first: 2) { totalCount nodes { name } } __typename }",
            "{ search(query: \"data\", first: 2) { __typename nodes { name } } }",
            "{ producers(first: 2) { nodes { name assets(first: 1) { totalCount } } } }",
            "query A { assets(first: 2) { ...F } } fragment F on AssetConnection { nodes { ...N name } } \
                fragment N on Asset { name tags }",
        ] {
            assert!(compared(app, query, &Value::Null).await, "no plan: {query}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_whoever_executes() {
    with(Setup::seeded(), async |app| {
        const NESTED: &str =
            "query($a: Int, $b: Int) { assets(first: $a) { nodes { children(first: $b) { nodes { name } } } } }";
        assert!(compared(app, NESTED, &json!({"a": 2, "b": 2})).await);
        const ONE: &str = "query($id: Hex32!) { asset(versionId: $id) { name } }";
        let id = &app.rows("select version_id from assets order by version_id limit 1").await[0];
        assert!(compared(app, ONE, &json!({"id": id})).await);
        // By whatever way a variable comes, an input type is the same.
        const FILTER: &str = "query($f: AssetFilter!, $o: AssetOrder! = NAME_ASC) { \
             assets(first: 3, filter: $f, orderBy: $o) { totalCount } }";
        assert!(compared(app, FILTER, &json!({"f": {"license": {"eq": "MIT"}}})).await);
        const LICENSES: &str = "query($l: [String!]!) { assets(first: 3, filter: {license: {in: $l}}) { totalCount } }";
        assert!(compared(app, LICENSES, &json!({"l": ["MIT"]})).await);
        const PRODUCER: &str = "query($p: String!) { assets(first: 3, filter: {producerId: {eq: $p}}) { totalCount } }";
        assert!(compared(app, PRODUCER, &json!({"p": "x"})).await);
        const PAGE: &str = "query($n: Int! = 3) { assets(first: $n) { nodes { name } } }";
        assert!(compared(app, PAGE, &json!({})).await);
        let before = planned(app).await;
        for (query, variables) in [
            (FILTER, json!({})),
            (FILTER, json!({"f": null})),
            (FILTER, json!({"f": {"bogus": 1}})),
            (FILTER, json!({"f": {"license": {"eq": "MIT", "bogus": 1}}})),
            (FILTER, json!({"f": {"license": {"in": [null]}}})),
            (FILTER, json!({"f": {}, "o": null})),
            (FILTER, json!({"f": {}, "o": "SIDEWAYS"})),
            (LICENSES, json!({})),
            (LICENSES, json!({"l": null})),
            (LICENSES, json!({"l": [1]})),
            (PRODUCER, json!({})),
            (PRODUCER, json!({"p": null})),
            (PAGE, json!({"n": null})),
            // Out of range, beyond the limit of cost, of a wrong type, absent.
            (NESTED, json!({"a": 0})),
            (NESTED, json!({"a": 200, "b": 200})),
            (NESTED, json!({"a": "2"})),
            (ONE, json!({"id": "x"})),
            (ONE, json!({"id": 5})),
            (ONE, json!({})),
            (ONE, json!({"id": null})),
        ] {
            let expected = general(app, query, &variables).await;
            assert!(expected.contains("\"errors\""), "{expected}");
            // Places in the document differ by the line that the remark takes.
            let places = |text: &str| text.replace("\"line\":2", "\"line\":1");
            assert_eq!(places(&asked(app, query, &variables).await), places(&expected), "{query} {variables}");
        }
        assert_eq!(planned(app).await, before);
    })
    .await;
}
