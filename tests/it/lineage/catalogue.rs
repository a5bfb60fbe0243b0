//! Names and pages, as people and readers of Marquez ask for them.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{event, open, sending};
use crate::harness::{TestApp, refused, with};

async fn tell(app: &TestApp, event: &Value) {
    let answer = sending(app, "/api/v1/lineage", event.to_string()).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::CREATED, "{event}");
}

/// `path` with these in it, each as one piece.
fn path(form: &str, pieces: &[&str]) -> String {
    let encode = |piece: &&str| piece.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    pieces.iter().map(encode).fold(form.to_owned(), |path, piece| path.replacen("{}", &piece, 1))
}

/// A question that is answered with an error of this status, in the form that errors have.
async fn refuses(app: &TestApp, path: &str, status: u16) {
    let answer = app.get(path).send().await.expect("answer");
    refused(answer, StatusCode::from_u16(status).expect("a status")).await;
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

/// A job that reads what it also writes back, one that only reads, one that only writes; a namespace with slashes and colons.
async fn told(app: &TestApp) {
    let mut load = event("r1", "START", 1, &["raw"], &[]);
    load["run"]["facets"] = json!({"nominalTime": {"nominalStartTime": "2026-01-02T03:00:00Z"}});
    load["job"]["facets"] =
        json!({"documentation": {"description": "loads"}, "jobType": {"processingType": "STREAMING"}});
    tell(app, &load).await;
    let mut done = event("r1", "COMPLETE", 3, &[], &[]);
    done["outputs"] = json!([{"namespace": "s3://bucket:9000/x", "name": "part/1", "facets": {
        "schema": {"fields": [{"name": "id", "type": "int", "description": "the key"}]},
        "documentation": {"description": "parts"}, "dataSource": {"name": "bucket"}}}]);
    tell(app, &done).await;
    let mut report = event("r2", "FAIL", 5, &["raw"], &[]);
    report["job"]["name"] = json!("report");
    tell(app, &report).await;
    let mut fetch = event("r1", "ABORT", 7, &[], &["raw"]);
    fetch["job"]["name"] = json!("fetch_50%");
    tell(app, &fetch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_told_by_name() {
    with(open(), async |app| {
        told(app).await;
        let found = app.json(&path("/openlineage/nodes/dataset/{}/{}", &["s3://bucket:9000/x", "part/1"])).await;
        assert_eq!((&found["id"], &found["name"]), (&json!("dataset:s3://bucket:9000/x:part/1"), &json!("part/1")));
        assert_eq!(found["facets"]["dataSource"]["name"], "bucket");
        assert_eq!(found["latestEventAt"], "2026-01-02T03:03:00Z");
        // In more pieces, as somebody writes it who does not encode.
        let same = app.json("/openlineage/nodes/dataset/s3://bucket:9000/x/part/1").await;
        assert_eq!(same, found);
        let job = app.json("/openlineage/jobs/jobs/load").await;
        assert_eq!((&job["type"], &job["facets"]["documentation"]["description"]), (&json!("job"), &json!("loads")));
        assert_eq!(job["inputs"], json!([{"namespace": "db", "name": "raw"}]));
        assert_eq!(job["outputs"], json!([{"namespace": "s3://bucket:9000/x", "name": "part/1"}]));
        let latest = &job["latestRun"];
        assert_eq!((&latest["runId"], &latest["state"]), (&json!("r1"), &json!("COMPLETE")));
        assert_eq!(
            (&latest["startedAt"], &latest["endedAt"]),
            (&json!("2026-01-02T03:01:00Z"), &json!("2026-01-02T03:03:00Z"))
        );
        let runs = app.json("/openlineage/runs/r1").await;
        let jobs: Vec<&Value> = runs["runs"].as_array().expect("runs").iter().map(|run| &run["job"]["name"]).collect();
        assert_eq!(jobs, ["fetch_50%", "load"], "the latest first");
        let found = app.json("/openlineage/search?q=RA").await;
        assert_eq!((names(&found["results"]), &found["totalCount"]), (vec!["raw"], &json!(1)));
        assert_eq!(found["results"][0]["nodeId"], "dataset:db:raw");
        // What stands for any text elsewhere is itself here.
        assert_eq!(names(&app.json("/openlineage/search?q=%25").await["results"]), ["fetch_50%"]);
        assert_eq!(names(&app.json("/openlineage/search?q=_&limit=1").await["results"]), ["fetch_50%"]);
        assert_eq!(names(&app.json("/openlineage/search?q=a&limit=1&offset=1").await["results"]), ["part/1"]);
        assert_eq!(app.json("/openlineage/health").await["status"], "ok");
        for (path, status) in [
            ("/openlineage/nodes/dataset/db/none", 404),
            ("/openlineage/nodes/dataset/db", 400),
            ("/openlineage/nodes/dataset/%ff/x", 400),
            ("/openlineage/nodes/dataset/db/raw?x=1", 400),
            ("/openlineage/jobs/db/raw", 404),
            ("/openlineage/jobs/a%00/raw", 400),
            ("/openlineage/runs/none", 404),
            ("/openlineage/search?q=%20", 400),
            ("/openlineage/search", 400),
            ("/openlineage/search?q=a&limit=0", 400),
            ("/openlineage/search?q=a&offset=100001", 400),
        ] {
            refuses(app, path, status).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_marquez_find_their_shapes() {
    with(open(), async |app| {
        told(app).await;
        let spaces = app.json("/api/v1/namespaces").await;
        assert_eq!(names(&spaces["namespaces"]), ["db", "jobs", "s3://bucket:9000/x"]);
        assert_eq!(names(&app.json("/api/v1/namespaces?limit=1&offset=1").await["namespaces"]), ["jobs"]);
        let space = app.json(&path("/api/v1/namespaces/{}", &["s3://bucket:9000/x"])).await;
        assert!(space["createdAt"].is_string() && space["isHidden"] == json!(false), "{space}");
        let found = app.json(&path("/api/v1/namespaces/{}/datasets/{}", &["s3://bucket:9000/x", "part/1"])).await;
        assert_eq!(found["id"], json!({"namespace": "s3://bucket:9000/x", "name": "part/1"}));
        assert_eq!(found["fields"], json!([{"name": "id", "type": "int", "description": "the key", "tags": []}]));
        assert_eq!((&found["sourceName"], &found["description"]), (&json!("bucket"), &json!("parts")));
        let datasets = app.json("/api/v1/namespaces/db/datasets").await;
        assert_eq!((names(&datasets["datasets"]), &datasets["totalCount"]), (vec!["raw"], &json!(1)));
        let jobs = app.json("/api/v1/namespaces/jobs/jobs?limit=2").await;
        assert_eq!((names(&jobs["jobs"]), &jobs["totalCount"]), (vec!["fetch_50%", "load"], &json!(3)));
        assert_eq!(names(&app.json("/api/v1/jobs?offset=2").await["jobs"]), ["report"]);
        let job = app.json("/api/v1/namespaces/jobs/jobs/load").await;
        assert_eq!((&job["type"], &job["description"]), (&json!("STREAM"), &json!("loads")));
        assert_eq!(job["latestRun"]["durationMs"], 120_000);
        let runs = app.json("/api/v1/namespaces/jobs/jobs/report/runs").await;
        assert_eq!((&runs["runs"][0]["state"], &runs["totalCount"]), (&json!("FAILED"), &json!(1)));
        let run = app.json("/api/v1/jobs/runs/r1").await;
        assert_eq!((&run["state"], &run["jobVersion"]["name"]), (&json!("ABORTED"), &json!("fetch_50%")));
        let found = app.json("/api/v1/search?q=r&filter=job&namespace=jobs").await;
        assert_eq!(names(&found["results"]), ["report"]);
        assert_eq!(names(&app.json("/api/v1/search?q=r&filter=DATASET&sort=NAME").await["results"]), ["part/1", "raw"]);
        assert_eq!(names(&app.json("/api/v1/search?q=r&filter=DATASET&offset=1").await["results"]), ["raw"]);

        let events = app.json("/api/v1/events/lineage?limit=1").await;
        assert_eq!((&events["events"][0]["job"]["name"], &events["totalCount"]), (&json!("fetch_50%"), &json!(4)));
        let window = "/api/v1/events/lineage?after=2026-01-02T03:03:00Z&before=2026-01-02T03:07:00Z&sortDirection=asc";
        let events = app.json(window).await;
        let types: Vec<&Value> = events["events"].as_array().expect("events").iter().map(|e| &e["eventType"]).collect();
        assert_eq!((types, &events["totalCount"]), (vec![&json!("COMPLETE"), &json!("FAIL")], &json!(2)));
        for (path, status) in [
            ("/api/v1/namespaces/none", 404),
            ("/api/v1/namespaces/db/datasets/none", 404),
            ("/api/v1/namespaces/db/jobs/raw", 404),
            ("/api/v1/jobs/runs/none", 404),
            ("/api/v1/events/lineage?after=yesterday", 400),
            ("/api/v1/events/lineage?sortDirection=up", 400),
            ("/api/v1/search?q=r&filter=RUN", 400),
            ("/api/v1/jobs?limit=1001", 400),
            ("/api/v1/lineage", 400),
            ("/api/v1/lineage?nodeId=run:a:b", 400),
            ("/api/v1/lineage?nodeId=job:db:raw", 404),
        ] {
            refuses(app, path, status).await;
        }
    })
    .await;
}

/// What is connected is shown: also a job that only reads, or only writes.
#[tokio::test(flavor = "multi_thread")]
async fn the_graph_of_marquez_has_jobs_between_datasets() {
    with(open(), async |app| {
        told(app).await;
        app.settled().await;
        let graph = async |node: &str, depth: u32| {
            app.json(&path(&format!("/api/v1/lineage?nodeId={{}}&depth={depth}"), &[node])).await
        };
        let ids = |graph: &Value| {
            let nodes = graph["graph"].as_array().expect("a graph").iter();
            let mut ids: Vec<String> = nodes.map(|node| node["id"].as_str().expect("an id").to_owned()).collect();
            ids.sort();
            ids
        };
        let part = "dataset:s3://bucket:9000/x:part/1";
        let all = ["dataset:db:raw", part, "job:jobs:fetch_50%", "job:jobs:load", "job:jobs:report"];
        let near = ["dataset:db:raw", part, "job:jobs:load"];
        assert_eq!(ids(&graph(part, 0).await), near);
        let (whole, statements) = app.statements(graph(part, 1)).await;
        assert_eq!(ids(&whole), all);
        assert!(statements <= 8, "{statements}");
        assert_eq!(app.statements(graph(part, 1)).await, (whole.clone(), 0), "it is kept");
        assert_eq!(ids(&graph("job:jobs:load", 0).await), near);
        assert_eq!(ids(&graph("job:jobs:load", 20).await), all);
        let node = |id: &str| {
            whole["graph"].as_array().expect("a graph").iter().find(|node| node["id"] == id).expect("there").clone()
        };
        let raw = node("dataset:db:raw");
        assert_eq!((&raw["type"], raw["outEdges"].as_array().map(Vec::len)), (&json!("DATASET"), Some(2)));
        assert_eq!(raw["inEdges"], json!([{"origin": "job:jobs:fetch_50%", "destination": "dataset:db:raw"}]));
        let load = node("job:jobs:load");
        assert_eq!((&load["type"], &load["data"]["latestRun"]["state"]), (&json!("JOB"), &json!("COMPLETED")));
        assert_eq!(node(part)["data"]["fields"][0]["name"], "id");
        // A run is news of its job, and a dataset that a job reads from now on is news of both.
        tell(app, &event("r9", "START", 9, &["more"], &[])).await;
        let now = graph(part, 1).await;
        assert_eq!(ids(&now).len(), 6);
        let load =
            now["graph"].as_array().expect("a graph").iter().find(|node| node["id"] == "job:jobs:load").expect("there");
        assert_eq!(load["data"]["latestRun"]["state"], "RUNNING");
    })
    .await;
}
