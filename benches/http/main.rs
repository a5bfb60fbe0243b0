//! Requests over HTTP, beside bare servers in the same run: one that answers fixed bytes, one that fetches them from Redis,
//! one that asks PostgreSQL. What is compared is the ratio; the machine's own speed falls out of it. Lineage is measured after them: graphs
//! of the catalogue, and taking events, beside `pgbench`.
//!
//! Run it with `make bench`, on a machine where `make run` has imported a catalogue. `BENCH_SECONDS` (3) is the time of a
//! measurement, `BENCH_ROUNDS` (3) how often everything is measured: medians are told. `BENCH_ONLY` names the workloads,
//! `lineage` and `ingest` among them.

mod lineage;
mod load;
mod peers;

use std::collections::BTreeMap;
use std::time::Duration;

use load::{CONNECTIONS, Measured, Request, measure, measure_once, median, settle};
use peers::{Peer, Server};

const ASSET: &str = "query A($id: Hex32!) { asset(versionId: $id) { versionId name description datasetId license tags \
    updatedAt producer { producerId name } } }";
const PAGE: &str = "{ assets(first: 50, filter: {text: \"lib\"}) { edges { cursor node { versionId name tags \
    producer { producerId name } } } pageInfo { hasNextPage endCursor } } }";
const NESTED: &str = "query N($id: Hex32!) { asset(versionId: $id) { name parents(first: 10) { versionId name \
    producer { name } parents(first: 10) { versionId name producer { name } } } children(first: 10) { nodes { name } } } }";

/// Requests of one kind.
struct Workload {
    name: &'static str,
    /// Asked again and again.
    hot: Vec<Request>,
    /// Asked once each, in turn.
    once: Vec<Request>,
}

/// Workload and server, in the order of the table.
type Key = (usize, usize);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--peer") {
        return peers::serve(&arguments[at + 1], &arguments[at + 2..]).await;
    }
    let seconds = setting("BENCH_SECONDS", 3);
    let rounds = setting("BENCH_ROUNDS", 3) as usize;
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let overlay = Server::overlay(&[]).await;
    let workloads = workloads(&overlay).await;
    let mut lines: BTreeMap<Key, (&str, Vec<Measured>)> = BTreeMap::new();
    for round in 0..rounds {
        for (at, workload) in workloads.iter().enumerate().filter(|(_, w)| only.is_empty() || only.contains(w.name)) {
            let found = measured(&overlay, workload, Duration::from_secs(seconds), round).await;
            for (order, (peer, found)) in found.into_iter().enumerate() {
                lines.entry((at, order)).or_insert((peer, Vec::new())).1.push(found);
            }
        }
    }
    print(&workloads, lines);
    if only.is_empty() || only.contains("lineage") {
        lineage::graphs(&overlay, Duration::from_secs(seconds), rounds).await;
    }
    overlay.stop();
    if only.is_empty() || only.contains("ingest") {
        lineage::ingest(Duration::from_secs(seconds), rounds).await;
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Everything that is measured of one workload.
async fn measured(
    overlay: &Server, workload: &Workload, time: Duration, round: usize,
) -> Vec<(&'static str, Measured)> {
    let mut found = Vec::new();
    let hot = &workload.hot;
    let body = load::one(&overlay.address, &hot[0]).await;
    for peer in [Peer::Static, Peer::Redis] {
        let bare = Server::bare(peer, &body.body).await;
        found.push((peer.name(), measure(&bare, hot, time).await));
        bare.stop();
    }
    settle(overlay, hot).await;
    found.push(("overlay: warm", measure(overlay, hot, time).await));
    let known = Request::all_with(hot, &format!("if-none-match: {}\r\n", body.etag));
    if hot.len() == 1 && !body.etag.is_empty() {
        found.push(("overlay: 304", measure(overlay, &known, time).await));
    }
    let strong = Request::all_with(hot, "overlay-consistency: strong\r\n");
    settle(overlay, &strong).await;
    found.push(("overlay: strong", measure(overlay, &strong, time).await));
    if !workload.once.is_empty() {
        // Each round has its own part, so that nothing was asked before.
        let part = workload.once.len() / setting("BENCH_ROUNDS", 3) as usize;
        let part = &workload.once[round * part..][..part];
        let bare = Server::bare(Peer::Postgres, &body.body).await;
        found.push((Peer::Postgres.name(), measure_once(CONNECTIONS, &bare, part, time).await));
        bare.stop();
        found.push(("overlay: miss", measure_once(CONNECTIONS, overlay, part, time).await));
    }
    found
}

async fn workloads(overlay: &Server) -> Vec<Workload> {
    let ids = peers::rows("select version_id from assets order by md5(version_id)").await;
    let proven = peers::rows(
        "select d.version_id from declarations d where d.envelope is not null and not exists (select from advisory_targets t \
         where t.version_id = d.version_id) order by 1",
    )
    .await;
    let graphql = |query: &str, id: Option<&String>| {
        let variables = id.map_or(serde_json::json!({}), |id| serde_json::json!({ "id": id }));
        Request::post("/graphql", &serde_json::json!({"query": query, "variables": variables}).to_string())
    };
    let (hot, once) = ids.split_at(100.min(ids.len()));
    let widest = widest(overlay, &proven).await;
    vec![
        Workload {
            name: "asset",
            hot: hot.iter().map(|id| graphql(ASSET, Some(id))).collect(),
            once: once.iter().map(|id| graphql(ASSET, Some(id))).collect(),
        },
        Workload { name: "page", hot: vec![graphql(PAGE, None)], once: Vec::new() },
        Workload {
            name: "nested",
            hot: hot.iter().map(|id| graphql(NESTED, Some(id))).collect(),
            once: once.iter().map(|id| graphql(NESTED, Some(id))).collect(),
        },
        Workload {
            name: "listing",
            hot: hot.iter().map(|id| Request::get(&format!("/listings/{id}"))).collect(),
            once: once.iter().rev().map(|id| Request::get(&format!("/listings/{id}"))).collect(),
        },
        Workload { name: "bundle", hot: vec![Request::get(&format!("/bundle?versionId={widest}"))], once: Vec::new() },
        Workload {
            name: "ready",
            hot: proven.iter().map(|id| Request::get(&format!("/ready?versionId={id}"))).collect(),
            once: Vec::new(),
        },
    ]
}

/// The version whose bundle is the largest.
async fn widest(overlay: &Server, ids: &[String]) -> String {
    let mut widest = (0, String::new());
    for id in ids {
        let answer = load::one(&overlay.address, &Request::get(&format!("/bundle?versionId={id}"))).await;
        widest = widest.max((answer.body.len(), id.clone()));
    }
    widest.1
}

fn print(workloads: &[Workload], lines: BTreeMap<Key, (&str, Vec<Measured>)>) {
    println!(
        "{:9} {:16} {:>10} {:>9} {:>11} {:>9} {:>8} {:>8} {:>7}",
        "workload", "server", "requests/s", "of static", "CPU s/1,000", "of static", "p50 ms", "p99 ms", "bytes"
    );
    let mut base = (0.0, 0.0);
    for ((at, _), (peer, rounds)) in lines {
        let workload = workloads[at].name;
        let median = median(rounds, |measured| measured.rate);
        if peer == Peer::Static.name() {
            base = (median.rate, median.cpu);
        }
        println!(
            "{workload:9} {peer:16} {:10.0} {:9.2} {:11.4} {:9.2} {:8.2} {:8.2} {:7}",
            median.rate,
            median.rate / base.0,
            median.cpu,
            median.cpu / base.1,
            median.p50_ms,
            median.p99_ms,
            median.bytes
        );
    }
}
