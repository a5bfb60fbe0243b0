//! Lineage in GraphQL.

use serde_json::{Value, json};

use super::event;
use crate::harness::socket::Socket;
use crate::harness::{Setup, TestApp, with};

async fn ingest(app: &TestApp, event: &Value) -> Value {
    let text = "mutation($event: JSON!) { ingestLineageEvent(input: {event: $event}) { isNew } }";
    app.query(text, json!({"event": event})).await["ingestLineageEvent"]["isNew"].take()
}

fn developer() -> Setup {
    Setup::empty().with("DEV_IDENTITY", "true")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_walked() {
    with(developer(), async |app| {
        assert_eq!(ingest(app, &event("1", "COMPLETE", 1, &["a"], &["b"])).await, true);
        assert_eq!(ingest(app, &event("1", "COMPLETE", 1, &["a"], &["b"])).await, false);
        assert_eq!(ingest(app, &event("2", "COMPLETE", 2, &["b"], &["c"])).await, true);
        app.settled().await;
        let text = "query($node: String!, $depth: Int, $way: LineageDirection! = BOTH) { lineage(node: $node, depth: $depth, \
            direction: $way) { node depth direction truncated nodes { node namespace name depth frontier asset { name } } \
            edges { from { name } to { name } job } } }";
        let graph = app.query(text, json!({"node": "dataset:db:b", "depth": 1})).await["lineage"].take();
        let node = |name: &str, depth: u32| {
            json!({"node": format!("dataset:db:{name}"), "namespace": "db", "name": name, "depth": depth, "frontier": false,
                "asset": null})
        };
        let edge = |from: &str, to: &str| json!({"from": {"name": from}, "to": {"name": to}, "job": "job:jobs:load"});
        let whole = json!({"node": "dataset:db:b", "depth": 1, "direction": "BOTH", "truncated": false,
            "nodes": [node("b", 0), node("a", 1), node("c", 1)], "edges": [edge("a", "b"), edge("b", "c")]});
        assert_eq!(graph, whole);
        let (again, statements) = app.statements(app.query(text, json!({"node": "dataset:db:b", "depth": 1}))).await;
        assert_eq!((&again["lineage"], statements), (&whole, 0));
        let up = app.query(text, json!({"node": "dataset:db:c", "depth": 1, "way": "UP"})).await["lineage"].take();
        let frontier: Vec<&Value> = up["nodes"].as_array().expect("nodes").iter().map(|node| &node["frontier"]).collect();
        assert_eq!(frontier, [&json!(false), &json!(true)]);
        assert_eq!(app.query(text, json!({"node": "dataset:db:none"})).await["lineage"], Value::Null);
        // Each graph is a walk of its own: no document asks for many.
        let many: String = (0..10).map(|n| format!("g{n}: lineage(node: \"dataset:db:b\") {{ truncated }} ")).collect();
        let refused = app.errors(&format!("{{ {many} }}"), json!({})).await;
        assert!(refused[0]["message"].as_str().expect("text").contains("complex"), "{refused}");
        for (variables, hint) in [
            (json!({"node": "b"}), "node"),
            (json!({"node": "dataset:db:b", "depth": -1}), "depth"),
            (json!({"node": "dataset:db:b", "depth": 11}), "depth"),
        ] {
            assert_eq!(app.errors(text, variables).await[0]["extensions"]["hint"], hint);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_followed() {
    with(developer(), async |app| {
        let input = |name: &str, field: &str| json!({"namespace": "db", "name": name, "field": field});
        let told = |minute: u32, inputs: Value| {
            let mut told = event("1", "COMPLETE", minute, &["a", "b"], &["c"]);
            told["outputs"][0]["facets"] = json!({"columnLineage": {"fields": {"total": {"inputFields": inputs}}}});
            told
        };
        ingest(app, &told(1, json!([input("a", "price"), input("a", "count"), input("b", "rate")]))).await;
        app.settled().await;
        let text = "{ lineage(node: \"dataset:db:c\", direction: UP) { edges { from { name } columns { from to } } } }";
        let whole = |of_a: &[&str], of_b: &[&str]| {
            let columns = |of: &[&str]| of.iter().map(|from| json!({"from": from, "to": "total"})).collect::<Value>();
            json!([{"from": {"name": "a"}, "columns": columns(of_a)}, {"from": {"name": "b"}, "columns": columns(of_b)}])
        };
        assert_eq!(app.query(text, json!({})).await["lineage"]["edges"], whole(&["count", "price"], &["rate"]));
        assert_eq!(app.statements(app.query(text, json!({}))).await.1, 0);
        // What is said later of the same is what counts.
        ingest(app, &told(2, json!([input("b", "rate")]))).await;
        assert_eq!(app.query(text, json!({})).await["lineage"]["edges"], whole(&[], &["rate"]));
    })
    .await;
}

/// A version of the catalogue is a dataset of its own namespace, and the dataset is the version.
#[tokio::test(flavor = "multi_thread")]
async fn versions_have_a_lineage() {
    with(Setup::seeded().with("DEV_IDENTITY", "true").with("OL_NAMESPACE", "market:test"), async |app| {
        let mut versions = app.rows("select version_id from assets order by 1 limit 2").await;
        let (other, one) = (versions.remove(1), versions.remove(0));
        let text = "query($id: Hex32!) { asset(versionId: $id) { lineage(depth: 2, direction: DOWN) \
            { nodes { name asset { versionId } } } } }";
        let lineage = async || app.query(text, json!({"id": one})).await["asset"]["lineage"].take();
        let names = |graph: &Value| {
            graph["nodes"].as_array().expect("nodes").iter().map(|n| n["name"].clone()).collect::<Vec<_>>()
        };
        assert!(!names(&lineage().await).contains(&json!("elsewhere")));
        let mut made = event("1", "COMPLETE", 1, &[], &["elsewhere"]);
        made["inputs"] = json!([{"namespace": "market:test", "name": one}]);
        ingest(app, &made).await;
        made["inputs"] = json!([{"namespace": "db", "name": "elsewhere"}]);
        made["outputs"] = json!([{"namespace": "market:test", "name": other}]);
        ingest(app, &made).await;
        let graph = lineage().await;
        let node = |name: &str, asset: Value| json!({"name": name, "asset": asset});
        for wanted in [
            node(&one, json!({"versionId": one})),
            node("elsewhere", json!(null)),
            node(&other, json!({"versionId": other})),
        ] {
            assert!(graph["nodes"].as_array().expect("nodes").contains(&wanted), "{wanted} {graph}");
        }
        // One that nobody has told of yet, as it came past us.
        app.sql("delete from lineage_edges; delete from lineage_datasets").await;
        app.caught_up().await;
        assert_eq!(lineage().await, Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed() {
    with(developer(), async |app| {
        for n in 1..=5 {
            let mut told = event(&format!("run-{n}"), if n == 2 { "FAIL" } else { "START" }, n, &["a"], &[]);
            if n == 3 {
                told["job"] = json!({"namespace": "elsewhere", "name": "other"});
            }
            ingest(app, &told).await;
        }
        app.settled().await;
        let text = "query($filter: LineageEventFilter, $first: Int, $after: String, $last: Int, $before: String) { \
            lineageEvents(filter: $filter, first: $first, after: $after, last: $last, before: $before) { pageInfo { hasNextPage \
            endCursor startCursor } nodes { runId jobName namespace eventType eventTime eventHash createdAt } } }";
        let runs = |page: &Value| {
            let nodes = page["lineageEvents"]["nodes"].as_array().expect("nodes").iter();
            nodes.map(|node| node["runId"].as_str().expect("a run")[4..].to_owned()).collect::<Vec<_>>().concat()
        };
        let first = app.query(text, json!({"first": 2})).await;
        assert_eq!((runs(&first), &first["lineageEvents"]["pageInfo"]["hasNextPage"]), ("54".into(), &json!(true)));
        let (again, statements) = app.statements(app.query(text, json!({"first": 2}))).await;
        assert_eq!((again, statements), (first.clone(), 0));
        let after = &first["lineageEvents"]["pageInfo"]["endCursor"];
        let next = app.query(text, json!({"first": 9, "after": after})).await;
        assert_eq!(runs(&next), "321");
        let start = &next["lineageEvents"]["pageInfo"]["startCursor"];
        assert_eq!(runs(&app.query(text, json!({"last": 1, "before": start})).await), "4");
        for (filter, wanted) in [
            (json!({"namespace": "jobs"}), "5421"),
            (json!({"jobName": "other"}), "3"),
            (json!({"runId": "run-4"}), "4"),
            (json!({"eventType": "FAIL"}), "2"),
            (json!({"namespace": "jobs", "eventType": "START"}), "541"),
            (json!({"namespace": "none"}), ""),
        ] {
            assert_eq!(runs(&app.query(text, json!({"filter": filter})).await), wanted, "{filter}");
        }
        for (filter, hint) in [(json!({"namespace": ""}), "namespace"), (json!({"runId": "x".repeat(201)}), "runId")] {
            assert_eq!(app.errors(text, json!({"filter": filter})).await[0]["extensions"]["hint"], hint);
        }
        // What is new is on the first page; what is of another namespace leaves a namespace's page as it is.
        let of = json!({"filter": {"namespace": "elsewhere"}});
        app.query(text, of.clone()).await;
        ingest(app, &event("run-9", "START", 9, &[], &[])).await;
        app.settled().await;
        assert_eq!(runs(&app.query(text, json!({"first": 2})).await), "95");
        assert_eq!(app.statements(app.query(text, of)).await.1, 0);
        // The page is known; what its events say comes with one statement.
        let payloads = "{ lineageEvents(first: 2) { nodes { payload } } }";
        let (found, statements) = app.statements(app.query(payloads, json!({}))).await;
        assert_eq!((&found["lineageEvents"]["nodes"][0]["payload"]["run"]["runId"], statements), (&json!("run-9"), 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_read_again() {
    with(developer(), async |app| {
        let refuse = "mutation($event: JSON!) { ingestLineageEvent(input: {event: $event}) { isNew } }";
        let mut wrong = event("1", "COMPLETE", 1, &["a"], &["b"]);
        wrong["eventTime"] = json!("yesterday");
        for _ in 0..2 {
            let error = app.errors(refuse, json!({"event": wrong})).await[0]["extensions"].take();
            assert_eq!((&error["code"], &error["hint"]), (&json!("INVALID_EVENT"), &json!("/eventTime")));
        }
        let list = "{ lineageDeadLetters(first: 2) { nodes { payloadHash payload errors attempts createdAt updatedAt } \
            pageInfo { hasNextPage } } }";
        let letters = async || app.query(list, json!({})).await["lineageDeadLetters"]["nodes"].take();
        let letter = letters().await[0].take();
        assert_eq!((&letter["attempts"], &letter["errors"][0]["pointer"]), (&json!(2), &json!("/eventTime")));
        assert_eq!(serde_json::from_str::<Value>(letter["payload"].as_str().expect("text")).expect("JSON"), wrong);
        let retry = "mutation($hash: String!) { retryDeadLetter(input: {payloadHash: $hash}) { payloadHash isNew } }";
        let hash = &letter["payloadHash"];
        let error = app.errors(retry, json!({"hash": hash})).await[0]["extensions"].take();
        assert_eq!(error["hint"], "/eventTime");
        assert_eq!(letters().await[0]["attempts"], 3);
        // Somebody repairs it, or the server has learned to read it.
        let repaired = event("1", "COMPLETE", 1, &["a"], &["b"]);
        app.sql(&format!("update lineage_dead_letters set payload = '{repaired}'")).await;
        let told = app.query(retry, json!({"hash": hash})).await["retryDeadLetter"].take();
        assert_eq!(told, json!({"payloadHash": hash, "isNew": true}));
        assert_eq!(letters().await, json!([]));
        assert_eq!(app.rows("select count(*)::text from lineage_edges").await, ["1"]);
        let error = app.errors(retry, json!({"hash": hash})).await[0]["extensions"].take();
        assert_eq!(error["code"], "NOT_FOUND");
    })
    .await;
    with(Setup::empty(), async |app| {
        let error = app.errors("{ lineageDeadLetters { nodes { payload } } }", json!({})).await[0]["extensions"].take();
        assert_eq!(error["code"], "IDENTITY_REQUIRED");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_as_they_come() {
    with(developer(), async |app| {
        app.caught_up().await;
        app.settled().await;
        let since = app.query("{ changeToken }", json!({})).await["changeToken"].take();
        let text =
            "subscription($since: String) { lineageEventAdded(since: $since) { token gap event { runId payload } } }";
        let mut socket = Socket::open(&app.url).await;
        socket.begin("1", text, json!({"since": since})).await;
        socket.settled().await;
        for run in ["x", "y"] {
            ingest(app, &event(run, "START", 1, &["a"], &["b"])).await;
            // What was told before is told to nobody.
            ingest(app, &event(run, "START", 1, &["a"], &["b"])).await;
        }
        let mut tokens = Vec::new();
        for run in ["x", "y"] {
            let mut told = socket.event("1").await["lineageEventAdded"].take();
            assert_eq!((&told["gap"], &told["event"]["runId"]), (&json!(null), &json!(run)));
            assert_eq!(told["event"]["payload"]["run"]["runId"], json!(run));
            tokens.push(told["token"].take());
        }
        let mut later = Socket::open(&app.url).await;
        later.begin("1", text, json!({"since": tokens[0]})).await;
        assert_eq!(later.event("1").await["lineageEventAdded"]["event"]["runId"], "y");
    })
    .await;
}
