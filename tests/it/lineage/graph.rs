//! The graph that events make, against one that is made of the same events in a few naive lines.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::converge::{at_random, events};
use super::{event, open, sending};
use crate::harness::makers::Random;
use crate::harness::{TestApp, refused, with, with_database};

/// `(from, to, job)`, by node identifiers.
type Edge = (String, String, String);

fn id(kind: &str, named: &Value) -> String {
    let text = |name: &str| named[name].as_str().expect("a text").to_owned();
    format!("{kind}:{}:{}", text("namespace"), text("name"))
}

/// All datasets and edges that the events tell of.
fn told(events: &[String]) -> (BTreeSet<String>, BTreeSet<Edge>) {
    let (mut datasets, mut edges) = (BTreeSet::new(), BTreeSet::new());
    let mut runs: BTreeMap<String, [BTreeSet<String>; 2]> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        let event: Value = serde_json::from_str(event).expect("JSON");
        if event["dataset"].is_object() {
            datasets.insert(id("dataset", &event["dataset"]));
            continue;
        }
        let job = id("job", &event["job"]);
        // What has no run is a job of its own each time.
        let run = event["run"]["runId"].as_str().map_or_else(|| at.to_string(), |run| format!("run {run}"));
        let both = runs.entry(format!("{run}\n{job}")).or_default();
        for (side, name) in both.iter_mut().zip(["inputs", "outputs"]) {
            side.extend(event[name].as_array().into_iter().flatten().map(|named| id("dataset", named)));
            datasets.extend(side.iter().cloned());
        }
    }
    for (run, [inputs, outputs]) in &runs {
        let job = run.split_once('\n').expect("two lines").1;
        for from in inputs {
            let to = outputs.iter().filter(|to| *to != from);
            edges.extend(to.map(|to| (from.clone(), to.clone(), job.to_owned())));
        }
    }
    (datasets, edges)
}

/// What a graph shows: nodes with depths, edges, frontier.
type Shown = (BTreeMap<String, u64>, BTreeSet<Edge>, BTreeSet<String>);

fn walked(edges: &BTreeSet<Edge>, start: &str, depth: u64, is_up: bool) -> Shown {
    let mut shown: Shown = ([(start.to_owned(), 0)].into(), BTreeSet::new(), BTreeSet::new());
    let near = |edge: &Edge| if is_up { edge.1.clone() } else { edge.0.clone() };
    let far = |edge: &Edge| if is_up { edge.0.clone() } else { edge.1.clone() };
    for level in 0..depth {
        for edge in edges.iter().filter(|edge| shown.0.get(&near(edge)) == Some(&level)).cloned().collect::<Vec<_>>() {
            shown.0.entry(far(&edge)).or_insert(level + 1);
            shown.1.insert(edge);
        }
    }
    shown.2 = edges.iter().map(near).filter(|near| shown.0.get(near) == Some(&depth)).collect();
    shown
}

fn wanted(edges: &BTreeSet<Edge>, start: &str, depth: u64, way: &str) -> Shown {
    let ways = [("up", true), ("down", false)].into_iter().filter(|(name, _)| way == "both" || way == *name);
    let mut all = Shown::default();
    for (nodes, edges, frontier) in ways.map(|(_, is_up)| walked(edges, start, depth, is_up)) {
        for (node, depth) in nodes {
            let known = all.0.entry(node).or_insert(depth);
            *known = depth.min(*known);
        }
        all.1.extend(edges);
        all.2.extend(frontier);
    }
    all
}

fn asking(app: &TestApp, parameters: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    app.get(&format!("/openlineage/lineage?{query}"))
}

async fn asked(app: &TestApp, parameters: &[(&str, &str)]) -> Value {
    let answer = asking(app, parameters).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK, "{parameters:?}");
    answer.json().await.expect("JSON")
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

fn shown(graph: &Value) -> Shown {
    let list = |name: &str| graph[name].as_array().expect("a list").clone();
    let text = |value: &Value, name: &str| value[name].as_str().expect("a text").to_owned();
    let nodes = list("nodes").iter().map(|n| (text(n, "id"), n["depth"].as_u64().expect("a number"))).collect();
    let edges: BTreeSet<Edge> =
        list("edges").iter().map(|e| (text(e, "from"), text(e, "to"), text(e, "job"))).collect();
    assert_eq!(graph["stats"], json!({"nodes": list("nodes").len(), "edges": edges.len(), "truncated": false}));
    (nodes, edges, texts(&graph["frontier"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_walk_finds_what_events_told() {
    let mut random = Random::new();
    let events = events(&mut random, 60);
    let (datasets, edges) = told(&events);
    with(open(), async |app| {
        at_random(app, &events, &mut random).await;
        for node in &datasets {
            for (depth, way) in (0..7).flat_map(|depth| ["up", "down", "both"].map(|way| (depth, way))) {
                let parameters = [("node", node.as_str()), ("depth", &depth.to_string()), ("direction", way)];
                let graph = asked(app, &parameters).await;
                assert_eq!(shown(&graph), wanted(&edges, node, depth, way), "{parameters:?}");
                assert_eq!(graph["node"], json!(node));
            }
        }
        // The same in another form.
        let node = edges.iter().next().expect("an edge").0.as_str();
        let (nodes, edges, frontier) = wanted(&edges, node, 1, "both");
        let graph = asked(app, &[("node", node), ("depth", "1"), ("format", "cyto")]).await;
        let data = |name: &str| {
            graph["elements"][name].as_array().expect("a list").iter().map(|e| &e["data"]).collect::<Vec<_>>()
        };
        let text = |value: &Value, name: &str| value[name].as_str().expect("a text").to_owned();
        let drawn: BTreeMap<String, bool> =
            data("nodes").iter().map(|n| (text(n, "id"), n["frontier"] == json!(true))).collect();
        assert_eq!(drawn, nodes.keys().map(|node| (node.clone(), frontier.contains(node))).collect());
        let drawn: BTreeSet<Edge> =
            data("edges").iter().map(|e| (text(e, "source"), text(e, "target"), text(e, "job"))).collect();
        assert_eq!(drawn, edges);
        let names: BTreeSet<String> = data("edges").iter().map(|e| text(e, "id")).collect();
        assert_eq!(names.len(), edges.len());
    })
    .await;
}

async fn told_of(app: &TestApp, run: &str, inputs: &[&str], outputs: &[&str]) {
    let event = event(run, "COMPLETE", 1, inputs, outputs);
    let answer = sending(app, "/api/v1/lineage", event.to_string()).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_ends_what_it_touches_and_nothing_else() {
    with(open(), async |app| {
        told_of(app, "1", &["a"], &["b"]).await;
        told_of(app, "2", &["x"], &["y"]).await;
        app.settled().await;
        let a: &[(&str, &str)] = &[("node", "dataset:db:a"), ("direction", "down"), ("depth", "3")];
        let x: &[(&str, &str)] = &[("node", "dataset:db:x"), ("direction", "down"), ("depth", "3")];
        for parameters in [a, x] {
            let (_, statements) = app.statements(asked(app, parameters)).await;
            assert!((3..=5).contains(&statements), "{statements}");
            assert_eq!(app.statements(asked(app, parameters)).await.1, 0);
        }
        // Not only the graph is kept, but the answer.
        assert!(asking(app, a).send().await.expect("answer").headers().contains_key("age"));
        // One more run of the same, and another dataset, are nothing to the graph.
        told_of(app, "3", &["a"], &["b"]).await;
        told_of(app, "4", &["p"], &["q"]).await;
        app.settled().await;
        assert_eq!(app.statements(asked(app, a)).await.1, 0);
        told_of(app, "5", &["b"], &["c"]).await;
        let (graph, statements) = app.statements(asked(app, a)).await;
        assert_eq!((shown(&graph).0.len(), statements > 0), (3, true));
        assert_eq!(app.statements(asked(app, x)).await.1, 0);
        // Somebody who writes past us is heard too.
        app.sql("delete from lineage_edges where to_name = 'c'").await;
        let strong = asking(app, a).header("overlay-consistency", "strong").send().await.expect("answer");
        assert_eq!(shown(&strong.json().await.expect("JSON")).0.len(), 2);
    })
    .await;
}

/// Whoever sends events through one server and looks through another is told what to ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_events_to_another_process() {
    with_database(async |database| {
        let setup = open().with("FEED_POLL_MS", "1000");
        let first = TestApp::start(&setup, database).await;
        let second = TestApp::start(&setup, database).await;
        for round in 0..20 {
            let name = format!("out-{round}");
            let event = event(&name, "COMPLETE", 1, &["a"], &[&name]);
            let [path, body] = match round % 2 {
                0 => ["/api/v1/lineage", &event.to_string()],
                _ => ["/api/v1/lineage/batch", &json!([event, {"no": "event"}]).to_string()],
            };
            let answer = sending(&first, path, body.to_owned()).send().await.expect("answer");
            let token = answer.headers()["overlay-consistency"].clone();
            let parameters: &[(&str, &str)] = &[("node", "dataset:db:a"), ("direction", "down"), ("depth", "1")];
            let graph = asking(&second, parameters).header("overlay-consistency", token).send().await.expect("answer");
            let graph: Value = graph.json().await.expect("JSON");
            assert_eq!(graph["edges"].as_array().expect("edges").len(), round + 1);
        }
        first.stop().await;
        second.stop().await;
    })
    .await;
}

/// Of two datasets that one text may name, the one is meant whose namespace is longer, from when it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_comes_later_takes_its_name() {
    with(open(), async |app| {
        let event = |namespace: &str, name: &str| {
            json!({"eventTime": "2026-01-02T03:04:05Z", "producer": "p", "dataset": {"namespace": namespace, "name": name}})
        };
        let tell = async |event: Value| {
            let answer = sending(app, "/api/v1/lineage", event.to_string()).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::CREATED);
        };
        let parameters = [("node", "dataset:a:b:c")];
        let (_, hint) = refused(asking(app, &parameters).send().await.expect("answer"), StatusCode::NOT_FOUND).await;
        assert_eq!(hint.as_deref(), Some("node"));
        tell(event("a", "b:c")).await;
        assert_eq!(asked(app, &parameters).await["nodes"][0]["namespace"], "a");
        tell(event("a:b", "c")).await;
        assert_eq!(asked(app, &parameters).await["nodes"][0]["namespace"], "a:b");
    })
    .await;
}

/// Two datasets that a careless reader would take for one.
#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_of_an_answer_names_one_dataset() {
    with(open(), async |app| {
        let named = |namespace: &str, name: &str| json!({"namespace": namespace, "name": name});
        let (one, other) = (named("n", "a:b"), named("n:a", "b"));
        for (run, from, to) in
            [("1", &named("n", "src"), &one), ("2", &named("n", "src"), &other), ("3", &one, &named("n", "x"))]
        {
            let mut told = event(run, "COMPLETE", 1, &[], &[]);
            told["inputs"] = json!([from]);
            told["outputs"] = json!([to]);
            let answer = sending(app, "/api/v1/lineage", told.to_string()).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::CREATED);
        }
        let graph = asked(app, &[("node", "dataset:n:src"), ("direction", "down")]).await;
        let ids: BTreeSet<String> = shown(&graph).0.into_keys().collect();
        assert_eq!(ids.len(), 4, "{ids:?}");
        for node in graph["nodes"].as_array().expect("nodes") {
            let id = node["id"].as_str().expect("an id");
            let again = asked(app, &[("node", id), ("direction", "down")]).await;
            assert_eq!(
                (&again["nodes"][0]["namespace"], &again["nodes"][0]["name"]),
                (&node["namespace"], &node["name"]),
                "{id}"
            );
        }
        let (with_x, without) =
            (asked(app, &[("node", "dataset:n:a%3Ab")]).await, asked(app, &[("node", "dataset:n:a:b")]).await);
        let has_x = |graph: &Value| shown(graph).0.contains_key("dataset:n:x");
        assert_eq!((has_x(&with_x), has_x(&without)), (true, false));
    })
    .await;
}

/// A node with very many neighbours is cut by the bounds, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_neighbourhood_is_cut() {
    with(open(), async |app| {
        let insert = async |rows: &str| {
            let columns = "from_namespace, from_name, to_namespace, to_name, job_namespace, job_name";
            app.sql(&format!("insert into lineage_edges ({columns}) {rows}")).await;
        };
        insert("values ('db', 'origin', 'db', 'hub', 'jobs', 'load')").await;
        // Piece by piece: while a transaction goes on, no other test can keep anything.
        for first in (1..=50_000).step_by(5_000) {
            let leaves = format!("from generate_series({first}, {}) as n", first + 4_999);
            insert(&format!("select 'db', 'hub', 'db', 'leaf-' || n, 'jobs', 'load' {leaves}")).await;
            insert(&format!("select 'db', 'leaf-' || n, 'db', 'end', 'jobs', 'load' {leaves}")).await;
        }
        app.sql("analyze lineage_edges").await;
        let (graph, statements) =
            app.statements(asked(app, &[("node", "dataset:db:origin"), ("direction", "down"), ("depth", "9")])).await;
        assert_eq!(graph["stats"], json!({"nodes": 2_000, "edges": 1_999, "truncated": true}));
        let frontier = texts(&graph["frontier"]);
        assert!(frontier.contains("dataset:db:hub") && frontier.len() == 1_999, "{}", frontier.len());
        assert!(statements <= 5, "{statements}");
        // A node with more edges than are read at once, from the other side.
        let graph = asked(app, &[("node", "dataset:db:end"), ("direction", "up"), ("depth", "1")]).await;
        assert_eq!(graph["stats"], json!({"nodes": 2_000, "edges": 1_999, "truncated": true}));
        // The same each time.
        let once_more = asking(app, &[("node", "dataset:db:end"), ("direction", "up"), ("depth", "1")]);
        let once_more: Value = once_more.send().await.expect("answer").json().await.expect("JSON");
        assert_eq!(once_more, graph);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_is_refused_by_name() {
    with(open(), async |app| {
        told_of(app, "1", &["a"], &["b"]).await;
        for (parameters, hint) in [
            (&[][..], "node"),
            (&[("node", "a")], "node"),
            (&[("node", "job:jobs:load")], "node"),
            (&[("node", "dataset:db:a"), ("depth", "11")], "depth"),
            (&[("node", "dataset:db:a"), ("depth", "-1")], "depth"),
            (&[("node", "dataset:db:a"), ("direction", "left")], "direction"),
            (&[("node", "dataset:db:a"), ("format", "dot")], "format"),
            (&[("node", "dataset:db:a"), ("nodes", "1")], "nodes"),
        ] {
            let answer = asking(app, parameters).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.1.as_deref(), Some(hint), "{parameters:?}");
        }
    })
    .await;
}
