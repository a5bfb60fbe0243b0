//! What is taken, what is refused and why, and in which form it may come.

use std::io::Write;

use serde_json::{Value, json};

use super::{KEY, event, open, sending};
use crate::harness::{Setup, TestApp, with};

async fn sent(app: &TestApp, path: &str, body: &Value) -> (u16, Value) {
    let answer = sending(app, path, body.to_string()).send().await.expect("answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_in_pieces() {
    with(open(), async |app| {
        let path = "/api/v1/lineage";
        for told in [
            event("r", "START", 1, &["a", "b"], &[]),
            event("r", "COMPLETE", 3, &[], &["c"]),
            event("r", "COMPLETE", 3, &[], &["c"]),
            event("r", "OTHER", 4, &[], &[]),
        ] {
            assert_eq!(sent(app, path, &told).await, (201, json!({"status": "success"})));
        }
        let edges = "select from_name || '>' || to_name || ' by ' || job_name from lineage_edges order by 1";
        assert_eq!(app.rows(edges).await, ["a>c by load", "b>c by load"]);
        let runs = "select run_id || ' ' || state || ' ' || to_char(started_at, 'MI') || ' ' || to_char(ended_at, 'MI') || ' ' \
            || to_char(latest_event_at, 'MI') from lineage_runs";
        assert_eq!(app.rows(runs).await, ["r COMPLETE 01 03 04"]);
        assert_eq!(app.rows("select count(*)::text from lineage_event_audit").await, ["3"]);
        // What says nothing new is heard of by nobody; one more run of the same job adds no edge.
        let before = app.rows("select count(*)::text from change_log").await;
        assert_eq!(sent(app, path, &event("r", "OTHER", 4, &[], &[])).await.0, 201);
        assert_eq!(app.rows("select count(*)::text from change_log").await, before);
        assert_eq!(sent(app, path, &event("s", "COMPLETE", 9, &["a"], &["c", "a"])).await.0, 201);
        assert_eq!(app.rows(edges).await, ["a>c by load", "b>c by load"]);
        // Another job's run of the same id is another run.
        let mut other = event("r", "FAIL", 5, &["x"], &["y"]);
        other["job"]["name"] = json!("other");
        assert_eq!(sent(app, path, &other).await.0, 201);
        assert_eq!(app.rows(edges).await, ["a>c by load", "b>c by load", "x>y by other"]);
        let jobs = json!({"eventTime": "2026-01-02T03:04:05Z", "producer": "p", "job": {"namespace": "jobs", "name": "plan"},
            "inputs": [{"namespace": "s3://bucket:1", "name": "it's \\ \"odd\""}], "outputs": [{"namespace": "db", "name": "c"}]});
        let dataset = json!({"eventTime": "2026-01-02T03:04:05Z", "producer": "p",
            "dataset": {"namespace": "db", "name": "c", "facets": {"schema": {"fields": []}}}});
        for told in [jobs, dataset] {
            assert_eq!(sent(app, "/openlineage/ingest", &told).await.0, 201, "{told}");
        }
        let planned = "select from_name from lineage_edges where job_name = 'plan'";
        assert_eq!(app.rows(planned).await, ["it's \\ \"odd\""]);
        assert_eq!(app.rows("select facets::text from lineage_datasets where name = 'c'").await, ["{\"schema\": {\"fields\": []}}"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_as_a_dead_letter() {
    with(open(), async |app| {
        let mut bad = event("r", "DONE", 1, &[], &[]);
        bad["eventTime"] = json!("yesterday");
        for _ in 0..3 {
            let (status, told) = sent(app, "/api/v1/lineage", &bad).await;
            assert_eq!(
                (status, &told["error"], &told["hint"]),
                (422, &json!("invalid-event"), &json!("/eventTime")),
                "{told}"
            );
            assert!(told["message"].as_str().is_some_and(|text| text.contains("/eventType")), "{told}");
        }
        let letters = "select payload || ' ' || errors::text || ' ' || attempts from lineage_dead_letters order by id";
        let letters = async || app.rows(letters).await;
        let first = letters().await;
        assert!(
            first.len() == 1
                && first[0].contains("yesterday")
                && first[0].contains("/eventType")
                && first[0].ends_with(" 3"),
            "{first:?}"
        );
        for (body, status) in [
            (&b"{\"eventTime\": "[..], 400),
            (b"", 400),
            (b"\xff\xfe", 400),
            (b"{\"a\": \"\x00\"}", 400),
            (b"5", 422),
            (b"{\"a\":\"\\u0000\"}", 422),
        ] {
            let answer = sending(app, "/api/v1/lineage", body.to_vec()).send().await.expect("answer");
            assert_eq!(answer.status().as_u16(), status, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(letters().await.len(), 7);
        let (status, told) =
            sent(app, "/api/v1/lineage/batch", &json!([event("r", "START", 1, &[], &[]), bad, 5])).await;
        assert_eq!((status, &told["status"]), (200, &json!("partial_success")));
        assert_eq!(
            told["summary"],
            json!({"received": 3, "successful": 1, "failed": 2, "retriable": 0, "non_retriable": 2})
        );
        let failed: Vec<&Value> =
            told["failed_events"].as_array().expect("a list").iter().map(|f| &f["index"]).collect();
        assert_eq!(failed, [&json!(1), &json!(2)]);
        let (status, told) = sent(app, "/openlineage/ingest", &json!([event("r", "RUNNING", 2, &[], &[])])).await;
        assert_eq!((status, &told["status"]), (200, &json!("success")));
        assert_eq!(sent(app, "/api/v1/lineage/batch", &json!([])).await.1["summary"]["received"], 0);
        assert_eq!(app.rows("select count(*)::text from lineage_event_audit").await, ["2"]);
        // An event is no list, nor a list an event.
        assert_eq!(sent(app, "/api/v1/lineage/batch", &event("r", "FAIL", 3, &[], &[])).await.0, 201);
        assert_eq!(sent(app, "/api/v1/lineage", &json!([])).await.0, 422);
    })
    .await;
}

/// What is no UTF-8 is no JSON; it is not taken for something that it resembles.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_is_refused() {
    with(open(), async |app| {
        let text = event("r", "START", 1, &["a?"], &[]).to_string();
        let body: Vec<u8> = text.bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
        for path in ["/api/v1/lineage", "/api/v1/lineage/batch", "/openlineage/ingest"] {
            let answer = sending(app, path, body.clone()).send().await.expect("answer");
            assert_eq!(answer.status().as_u16(), 400, "{path}");
            assert!(answer.text().await.expect("text").contains("UTF-8"));
        }
        assert_eq!(app.rows("select attempts::text from lineage_dead_letters").await, ["3"]);
        assert_eq!(app.rows("select count(*)::text from lineage_event_audit").await, ["0"]);
    })
    .await;
}

/// A run that reads and writes so much that nobody could look at its edges makes none, whether it is told at once or in pieces;
/// and those who wait behind it do not wait long.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_very_many_datasets_makes_no_edges() {
    with(open(), async |app| {
        let names = |kind: &str, count: usize| (0..count).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
        let (inputs, outputs) = (names("in", 1_000), names("out", 1_000));
        let of =
            |names: &[String]| names.iter().map(|name| json!({"namespace": "db", "name": name})).collect::<Value>();
        let mut told = event("wide", "COMPLETE", 1, &[], &[]);
        (told["inputs"], told["outputs"]) = (of(&inputs), of(&outputs));
        assert_eq!(sent(app, "/api/v1/lineage", &told).await.0, 201);
        let mut start = event("pieces", "START", 1, &[], &[]);
        start["inputs"] = of(&inputs);
        assert_eq!(sent(app, "/api/v1/lineage", &start).await.0, 201);
        let mut end = event("pieces", "COMPLETE", 2, &[], &[]);
        end["outputs"] = of(&outputs);
        assert_eq!(sent(app, "/api/v1/lineage", &end).await.0, 201);
        let mut planned = told.clone();
        planned.as_object_mut().expect("an object").remove("run");
        assert_eq!(sent(app, "/api/v1/lineage", &planned).await.0, 201);
        assert_eq!(app.rows("select count(*)::text from lineage_edges").await, ["0"]);
        assert_eq!(app.rows("select count(*)::text from lineage_io").await, ["2000"]);
        // As many as are shown.
        let mut most = event("most", "COMPLETE", 3, &[], &[]);
        most["job"]["name"] = json!("most");
        (most["inputs"], most["outputs"]) = (of(&inputs[..100]), of(&outputs[..100]));
        assert_eq!(sent(app, "/api/v1/lineage", &most).await.0, 201);
        assert_eq!(app.rows("select count(*)::text from lineage_edges").await, ["10000"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_packed_and_large_and_must_come_from_somebody() {
    with(open().with("INGEST_BODY_LIMIT", "1mb"), async |app| {
        let packed = |text: &str| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(text.as_bytes()).expect("written");
            gzip.finish().expect("packed")
        };
        let mut large = event("r", "START", 1, &["a"], &["b"]);
        large["run"]["facets"] = json!({"big": {"text": "x".repeat(900 << 10)}});
        let gzip = |body: Vec<u8>| sending(app, "/api/v1/lineage", body).header("content-encoding", "gzip");
        let status = async |request: reqwest::RequestBuilder| request.send().await.expect("answer").status().as_u16();
        assert_eq!(status(gzip(packed(&large.to_string()))).await, 201);
        assert_eq!(status(sending(app, "/api/v1/lineage", large.to_string())).await, 201);
        // A little that is much when it is unpacked.
        assert_eq!(status(gzip(packed(&format!("{large}{}", " ".repeat(9 << 20))))).await, 413);
        assert_eq!(status(sending(app, "/api/v1/lineage", " ".repeat((1 << 20) + 1_000))).await, 413);
        assert_eq!(status(gzip(b"{}".to_vec())).await, 400);
        assert_eq!(status(sending(app, "/api/v1/lineage", "{}").header("content-encoding", "br")).await, 415);
        let coded = |coding: &'static str, body: Vec<u8>| {
            sending(app, "/api/v1/lineage", body).header("content-encoding", coding)
        };
        let refused = coded("br", b"{}".to_vec()).send().await.expect("answer").json::<Value>().await.expect("JSON");
        assert_eq!(refused["error"], "unsupported-media-type");
        assert_eq!(status(coded("GZIP", packed(&event("s", "START", 1, &[], &[]).to_string()))).await, 201);
        // Of several pieces all are read, and what is cut off is not taken for the whole.
        let text = event("t", "START", 1, &[], &[]).to_string();
        let (front, back) = text.split_at(20);
        assert_eq!(status(gzip([packed(front), packed(back)].concat())).await, 201);
        let whole = packed(&text);
        assert_eq!(status(gzip(whole[..whole.len() - 9].to_vec())).await, 400);
        let plain = |text: &'static str| app.http.post(format!("{}/api/v1/lineage", app.url)).body(text);
        let of_json = || plain("{}").header("content-type", "application/json");
        assert_eq!(status(of_json()).await, 401);
        assert_eq!(status(of_json().bearer_auth("a-key-of-nobody-here")).await, 401);
        assert_eq!(status(of_json().header("authorization", format!("Basic {KEY}"))).await, 401);
        assert_eq!(status(plain("{}").bearer_auth(KEY)).await, 415);
        assert_eq!(app.rows("select count(*)::text from lineage_dead_letters").await, ["0"]);
    })
    .await;
    with(Setup::empty().with("DEV_IDENTITY", "true"), async |app| {
        let request = app.http.post(format!("{}/api/v1/lineage", app.url)).json(&event("r", "START", 1, &[], &[]));
        assert_eq!(request.try_clone().expect("a copy").send().await.expect("answer").status().as_u16(), 201);
        let foreign = request.header("origin", "https://elsewhere.example").send().await.expect("answer");
        assert_eq!(foreign.status().as_u16(), 401);
    })
    .await;
}
