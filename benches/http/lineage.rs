//! Lineage: graphs of the imported catalogue, each asked once and then again and again; and how fast events are taken, beside what
//! `pgbench` makes of the same PostgreSQL.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sea_orm::sqlx::{AssertSqlSafe, Executor};
use serde_json::{Value, json};

use crate::load::{self, Measured, Request, measure, measure_once, median, settle};
use crate::peers::{Peer, Server, environment, pool, rows};

/// Datasets that are asked for in all directions, but those that have no edge.
const NODES: &str = "select 'dataset:' || namespace || ':' || name from lineage_datasets d where \
    exists (select from lineage_edges e where e.to_key = d.dataset_key) order by md5(name)";

const WAYS: [&str; 3] = ["up", "down", "both"];

/// Graphs of depth 5.
pub(crate) async fn graphs(overlay: &Server, time: Duration, rounds: usize) {
    let nodes = rows(NODES).await;
    println!("\ngraphs of depth 5 around {} datasets, one request at a time, none asked before", nodes.len());
    println!(
        "{:9} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "direction", "p50 ms", "p95 ms", "p99 ms", "requests/s", "CPU s/1,000"
    );
    let part = nodes.len() / (rounds * WAYS.len()).max(1);
    let graph = |node: &String, way: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("node", node.as_str()), ("depth", "5"), ("direction", way)])
            .finish();
        Request::get(&format!("/openlineage/lineage?{query}"))
    };
    for (at, way) in WAYS.into_iter().enumerate() {
        let mut cold = Vec::new();
        for round in 0..rounds {
            let part = &nodes[(round * WAYS.len() + at) * part..][..part];
            let part: Vec<Request> = part.iter().map(|node| graph(node, way)).collect();
            cold.push(measure_once(1, overlay, &part, time).await);
        }
        let Measured { p50_ms, p95_ms, p99_ms, rate, cpu, .. } = median(cold, |measured| measured.p95_ms);
        println!("{way:9} {p50_ms:8.2} {p95_ms:8.2} {p99_ms:8.2} {rate:9.0} {cpu:9.3}");
    }
    let hot = [graph(&nodes[nodes.len() / 2], "both")];
    settle(overlay, &hot).await;
    let body = load::one(&overlay.address, &hot[0]).await.body;
    let (mut bare, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = Server::bare(Peer::Static, &body).await;
        bare.push(measure(&server, &hot, time).await);
        server.stop();
        warm.push(measure(overlay, &hot, time).await);
    }
    let (bare, warm) = (median(bare, |measured| measured.rate), median(warm, |measured| measured.rate));
    println!(
        "the same one of {} bytes again and again: {:.0} a second, {:.2} of a bare server's {:.0}; CPU {:.2} of it",
        warm.bytes,
        warm.rate,
        warm.rate / bare.rate,
        bare.rate,
        warm.cpu / bare.cpu
    );
}

/// A small event of a run that nobody has told of.
fn event(number: usize) -> Value {
    let dataset = |name: String| json!({"namespace": "bench", "name": name});
    json!({
        "eventType": "COMPLETE", "eventTime": "2026-01-02T03:04:05Z", "producer": "https://example.com/bench",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": format!("00000000-0000-7000-8000-{number:012}")},
        "job": {"namespace": "bench", "name": format!("job-{}", number % 1_000)},
        "inputs": [dataset(format!("in-{}", number % 5_000)), dataset(format!("in-{}", number * 7 % 5_000))],
        "outputs": [dataset(format!("out-{}", number % 5_000))],
    })
}

/// Connections that send events one by one, and those that send many.
const SENDERS: (usize, usize) = (64, 4);

/// Events of a request that has many.
const BATCH: usize = 500;

/// Takes events into a database of their own.
pub(crate) async fn ingest(time: Duration, rounds: usize) {
    let name = format!("overlay_bench_{}", std::process::id());
    let pool = pool().await;
    pool.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a database");
    let mut url = url::Url::parse(&environment("PG_URL")).expect("a URL");
    url.set_path(&name);
    let overlay = Server::overlay(&[("PG_URL", url.as_str()), ("DEV_IDENTITY", "true")]).await;
    // Each is sent once.
    let events: Vec<String> = (0..300_000).map(|number| event(number).to_string()).collect();
    let (one, many) = events.split_at(100_000);
    let one: Vec<Request> = one.iter().map(|event| Request::post("/api/v1/lineage", event)).collect();
    let many: Vec<Request> = many
        .chunks(BATCH)
        .map(|events| Request::post("/api/v1/lineage/batch", &format!("[{}]", events.join(","))))
        .collect();
    let (mut single, mut batched) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let part = |all: &'_ [Request]| all.len() / rounds * round..all.len() / rounds * (round + 1);
        single.push(measure_once(SENDERS.0, &overlay, &one[part(&one)], time).await);
        batched.push(measure_once(SENDERS.1, &overlay, &many[part(&many)], time).await);
    }
    overlay.stop();
    let (single, batched) = (median(single, |measured| measured.rate), median(batched, |measured| measured.rate));
    println!("\nevents that are taken, and kept when they are answered");
    println!("one by one, {} clients: {:.0} a second, p99 {:.0} ms", SENDERS.0, single.rate, single.p99_ms);
    println!(
        "{BATCH} at a time, {} clients: {:.0} a second, p99 {:.0} ms",
        SENDERS.1,
        batched.rate * BATCH as f64,
        batched.p99_ms
    );
    match pgbench(url.as_str(), time) {
        Some(told) => println!("pgbench beside it: {told}"),
        None => println!("pgbench is not there"),
    }
    pool.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await.expect("it goes");
}

/// What `pgbench` says of its own transactions with as many clients.
fn pgbench(url: &str, time: Duration) -> Option<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin/pgbench")).find(|path| path.exists());
    let program = installed.unwrap_or_else(|| PathBuf::from("pgbench"));
    Command::new(&program).args(["-i", "-q", "-s", "10", url]).output().ok()?;
    let clients = SENDERS.0.to_string();
    let seconds = time.as_secs().to_string();
    let told = Command::new(&program).args(["-n", "-c", &clients, "-j", "2", "-T", &seconds, url]).output().ok()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    told.lines().find(|line| line.starts_with("tps")).map(str::to_owned)
}
