//! The same events in any order, any number of times, from many clients at once, make the same graph.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{open, sending};
use crate::harness::makers::Random;
use crate::harness::{TestApp, with};

/// All that is kept, but for when it was.
async fn export(app: &TestApp) -> Vec<String> {
    let mut out = Vec::new();
    for table in ["jobs", "datasets", "runs", "edges", "io", "event_audit"] {
        let sql = format!(
            "select '{table} ' || (to_jsonb(t) - 'created_at' - 'updated_at')::text from lineage_{table} t order by 1"
        );
        out.extend(app.rows(&sql).await);
    }
    out
}

/// Events of a few jobs, runs and datasets, with facets that change and go, told by several clients of one clock.
pub(super) fn events(random: &mut Random, count: usize) -> Vec<String> {
    let states = ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"];
    let facets = |random: &mut Random| {
        let mut facets = json!({});
        for name in ["schema", "ownership", "docs"] {
            match random.below(4) {
                0 => facets[name] = json!({"_producer": "p", "v": random.below(5)}),
                1 => facets[name] = json!({"_deleted": true}),
                _ => {}
            }
        }
        facets
    };
    let datasets = |random: &mut Random| {
        let count = random.below(4);
        let one = |random: &mut Random| {
            let name = format!("d{}", random.below(9));
            json!({"namespace": random.pick(&["ns0", "s3://bucket:9000/raw"]), "name": name, "facets": facets(random)})
        };
        (0..count).map(|_| one(random)).collect::<Value>()
    };
    let event = |random: &mut Random| {
        let time = format!("2026-01-02T03:04:{:02}Z", random.below(20));
        let mut event = json!({"eventTime": time, "producer": "p"});
        if random.below(8) == 0 {
            event["dataset"] = json!({"namespace": "ns0", "name": "d0", "facets": facets(random)});
            return event.to_string();
        }
        event["job"] = json!({"namespace": "jobs", "name": format!("j{}", random.below(3)), "facets": facets(random)});
        event["inputs"] = datasets(random);
        event["outputs"] = datasets(random);
        if random.below(6) > 0 {
            event["run"] = json!({"runId": format!("r{}", random.below(4)), "facets": facets(random)});
            event["eventType"] = json!(random.pick(&states));
        }
        event.to_string()
    };
    (0..count).map(|_| event(random)).collect()
}

/// Sends all events, one after the other; whether each was taken.
async fn in_order(app: &TestApp, events: &[String]) -> Vec<bool> {
    let mut taken = Vec::new();
    for event in events {
        let answer = sending(app, "/api/v1/lineage", event.clone()).send().await.expect("answer");
        taken.push(answer.status().is_success());
        assert!(answer.status().is_success() || [400, 422].contains(&answer.status().as_u16()), "{}", answer.status());
    }
    taken
}

/// Sends all events three times, in any order, from eight clients, some alone and some in batches.
pub(super) async fn at_random(app: &TestApp, events: &[String], random: &mut Random) {
    let mut all: Vec<String> = [events, events, events].concat();
    for at in (1..all.len()).rev() {
        all.swap(at, random.below(at + 1));
    }
    let chunks: Vec<Vec<String>> = all.chunks(all.len().div_ceil(8)).map(<[String]>::to_vec).collect();
    let client = async |events: &Vec<String>, at: usize| {
        for group in events.chunks(if at.is_multiple_of(2) { 1 } else { 7 }) {
            let (path, body) = match group {
                [one] => ("/api/v1/lineage", one.clone()),
                many => ("/api/v1/lineage/batch", format!("[{}]", many.join(","))),
            };
            let answer = sending(app, path, body).send().await.expect("answer");
            assert!(!answer.status().is_server_error(), "{}", answer.text().await.expect("text"));
        }
    };
    join_all(chunks.iter().enumerate().map(|(at, events)| client(events, at))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_makes_the_same_graph() {
    let mut random = Random::new();
    let events = events(&mut random, 150);
    let mut wanted = Vec::new();
    with(open(), async |app| {
        assert!(in_order(app, &events).await.iter().all(|taken| *taken));
        wanted = export(app).await;
    })
    .await;
    assert!(wanted.iter().filter(|row| row.starts_with("edges")).count() > 20, "{}", wanted.len());
    with(open(), async |app| {
        at_random(app, &events, &mut random).await;
        let found = export(app).await;
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(found, wanted);
        }
        assert_eq!(found.len(), wanted.len());
    })
    .await;
}

/// What the specification says of events, where it is beside the checkout, as are events that real integrations sent.
const BESIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/openlineage");

/// Holds an event of ours to the specification, where that is at hand.
pub(super) fn is_valid(event: &Value) {
    if std::path::Path::new(BESIDE).exists() {
        assert_eq!(valid(std::slice::from_ref(event)), [true], "{event}");
    }
}

/// Whether each is an event, as the specification has it.
fn valid(events: &[Value]) -> Vec<bool> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.enable_format_assertions();
    let schema = compiler.compile(&format!("{BESIDE}/spec/OpenLineage.json"), &mut schemas).expect("a schema");
    events.iter().map(|event| schemas.validate(event, schema).is_ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_clients_sent_is_taken() {
    let Ok(text) = std::fs::read_to_string(format!("{BESIDE}/events.ndjson")) else { return };
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["event"].take());
    let events: Vec<Value> = lines.collect();
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    let mut wanted = Vec::new();
    with(open(), async |app| {
        let (valid, taken) = (valid(&events), in_order(app, &texts).await);
        for ((event, valid), taken) in events.iter().zip(&valid).zip(&taken) {
            assert!(*taken || !valid, "the specification knows it: {event}");
        }
        let count = |all: &[bool]| all.iter().filter(|is| **is).count();
        assert!(count(&valid) > 60 && count(&taken) > 110, "{} {}", count(&valid), count(&taken));
        wanted = export(app).await;
        let unique: BTreeSet<&String> = texts.iter().collect();
        let kept = app.rows("select event_hash from lineage_event_audit").await.len();
        let refused = app.rows("select errors::text from lineage_dead_letters").await;
        assert_eq!(kept + refused.len(), unique.len(), "each is kept, or is a dead letter");
        assert!(refused.iter().all(|errors| errors.contains("pointer")), "{refused:?}");
    })
    .await;
    with(open(), async |app| {
        at_random(app, &texts, &mut Random::new()).await;
        assert_eq!(export(app).await, wanted);
    })
    .await;
}
