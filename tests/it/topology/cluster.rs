//! Redis Cluster while its slots move from node to node, and when a master dies and its replica takes over.
//!
//! `OVERLAY_SLOT_MOVES` sets how many slots are moved.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;
use serde_json::Value;

use crate::cache::cluster::{cluster, sizes, user, whole};
use crate::harness::makers::Random;
use crate::harness::node::{Node, free_port, until, words};
use crate::harness::{Setup, TestApp, connected, session, with_database};
use crate::races::setting;

/// Readers that each write one version past the server, and read it and others.
const READERS: usize = 6;

#[derive(Default)]
struct Load {
    reads: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    async fn read(&self, app: &TestApp, path: &str) -> Option<Value> {
        let answer = app.get(path).header("overlay-consistency", "strong").header("cookie", "a=b").send().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        match answer {
            Ok(answer) if answer.status() == StatusCode::OK => answer.json().await.ok(),
            Ok(_) | Err(_) => None,
        }
        .or_else(|| {
            self.failed.fetch_add(1, Ordering::SeqCst);
            None
        })
    }

    /// Writes and reads until it is over.
    async fn run(&self, app: &TestApp, versions: &[String], own: usize) {
        let writer = session(&app.database_url).await;
        for round in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            // A few rounds of reading alone, which find what is kept.
            if round % 4 == 0 {
                let sql = format!("update assets set name = 'r{round}' where version_id = '{}'", versions[own]);
                writer.execute_unprepared(&sql).await.expect("update");
            }
            let name = format!("r{}", round - round % 4);
            if let Some(shown) = self.read(app, &format!("/listings/{}", versions[own])).await {
                self.stale.fetch_add(u64::from(shown["manifest"]["name"] != name.as_str()), Ordering::SeqCst);
            }
            if let Some(listed) = self.read(app, "/listings?limit=100").await {
                let items = listed["items"].as_array().expect("items");
                assert_eq!(items.len(), versions.len());
                let shown = items.iter().find(|item| item["versionId"] == versions[own].as_str()).expect("is listed");
                self.stale.fetch_add(u64::from(shown["name"] != name.as_str()), Ordering::SeqCst);
            }
        }
        overlay::db::close(&writer).await;
    }

    /// Waits until all have read again.
    async fn go_on(&self) {
        let wanted = self.reads.load(Ordering::SeqCst) + 2 * READERS as u64;
        until("reads go on", async || self.reads.load(Ordering::SeqCst) >= wanted).await;
    }
}

/// Moves a slot as `redis-cli --cluster reshard` does, in the middle of reads; answers how many keys went along.
async fn moved(nodes: &[Node], ids: &[String], slot: u64, from: usize, to: usize, load: &Load) -> usize {
    let () = nodes[to].ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from])).await;
    let () = nodes[from].ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to])).await;
    let mut count = 0;
    loop {
        let keys: Vec<String> = nodes[from].ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).await;
        if keys.is_empty() {
            break;
        }
        count += keys.len();
        let migrate = format!("MIGRATE 127.0.0.1 {}  0 5000 REPLACE KEYS {}", nodes[to].port, keys.join(" "));
        let _moved_or_gone: String = nodes[from].ask(&migrate).await;
        // Some keys here and some there: whoever asks is sent on.
        load.go_on().await;
    }
    for node in [to, from].into_iter().chain((0..3).filter(|n| ![from, to].contains(n))) {
        let () = nodes[node].ask(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[to])).await;
    }
    count
}

/// How often a node answered with this error.
async fn errors(nodes: &[&Node], error: &str) -> u64 {
    let told = join_all(nodes.iter().map(|node| node.ask::<String>("INFO errorstats"))).await.concat();
    let counts =
        told.lines().filter_map(|line| line.strip_prefix(&format!("errorstat_{error}:count="))?.parse::<u64>().ok());
    counts.sum()
}

/// A replica of the last node, which may take its place.
async fn replica_of_the_last(nodes: &[Node], ids: &[String]) -> Option<Node> {
    let replica = Node::start(|_, port| {
        let (port, bus) = (port.to_string(), free_port().to_string());
        let own =
            ["--port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
        words(&[&own[..], &["--repl-diskless-sync-delay", "0"]].concat())
    })
    .await?;
    let () = replica.ask(&user()).await;
    let bus: Vec<String> = replica.ask("CONFIG GET cluster-port").await;
    let () = nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {} {}", replica.port, bus[1])).await;
    until("the replica knows its master", async || replica.ask::<String>("CLUSTER NODES").await.contains(&ids[2]))
        .await;
    let () = replica.ask(&format!("CLUSTER REPLICATE {}", ids[2])).await;
    until("the replica follows", async || replica.ask::<String>("INFO replication").await.contains("link_status:up"))
        .await;
    // Who may vote must have heard of it.
    for node in nodes {
        let line = format!("slave {}", ids[2]);
        until("all know the replica", async || node.ask::<String>("CLUSTER NODES").await.contains(&line)).await;
    }
    Some(replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_slots_and_the_death_of_a_master_fail_no_read() {
    let Some(mut nodes) = cluster(Vec::new).await else { return };
    let ids = join_all(nodes.iter().map(|node| node.ask::<String>("CLUSTER MYID"))).await;
    let Some(replica) = replica_of_the_last(&nodes, &ids).await else { return };
    with_database(async |database| {
        let url = format!("redis-cluster://overlay:s3cret@{},127.0.0.1:1", nodes[0].address());
        let app = TestApp::start(&Setup::seeded().redis(url).with("CACHE_MEMORY_MB", "0"), database).await;
        app.settled().await;
        let versions = app.rows("select version_id from assets order by 1").await;
        app.json("/listings?limit=100").await;
        until("the entries are written", async || sizes(&nodes).await.iter().sum::<u64>() >= 50).await;
        let (load, begun) = (Load::default(), Instant::now());
        let breaking = async {
            let mut random = Random::new();
            let (wanted, mut keys) = (setting("OVERLAY_SLOT_MOVES", 12), 0);
            for _ in 0..wanted {
                let from = random.below(3);
                let to = (from + 1 + random.below(2)) % 3;
                let held: Vec<String> = nodes[from].ask("KEYS *").await;
                let mut slots = BTreeSet::new();
                for key in held {
                    slots.insert(nodes[from].ask::<u64>(&format!("CLUSTER KEYSLOT {key}")).await);
                }
                let slots: Vec<u64> = slots.into_iter().collect();
                keys += moved(&nodes, &ids, *random.pick(&slots), from, to, &load).await;
            }
            let redirected = [errors(&nodes.iter().collect::<Vec<_>>(), "ASK").await, errors(&nodes.iter().collect::<Vec<_>>(), "MOVED").await];
            eprintln!(
                "{wanted} slots with {keys} keys moved in {:?}: ASK and MOVED {redirected:?}, {} reads, {} failed, {} stale",
                begun.elapsed(),
                load.reads.load(Ordering::SeqCst),
                load.failed.load(Ordering::SeqCst),
                load.stale.load(Ordering::SeqCst)
            );
            assert!(keys as u64 >= wanted && redirected.iter().sum::<u64>() > 0, "{keys} {redirected:?}");
            whole(&nodes).await;
            connected(app.app.cache.redis().expect("configured")).await;
            nodes[2].kill().await;
            until("the replica is promoted", async || {
                load.go_on().await;
                replica.ask::<String>("CLUSTER INFO").await.contains("cluster_state:ok")
                    && replica.ask::<String>("INFO replication").await.contains("role:master")
            })
            .await;
            connected(app.app.cache.redis().expect("configured")).await;
            let before = replica.ask::<u64>("DBSIZE").await;
            until("the promoted node is written to", async || {
                load.go_on().await;
                app.app.cache.redis().expect("configured").is_connected() && replica.ask::<u64>("DBSIZE").await > before.min(1)
            })
            .await;
            load.is_over.store(true, Ordering::SeqCst);
        };
        let readers = (0..READERS).map(|own| load.run(&app, &versions, own));
        tokio::join!(breaking, join_all(readers));
        let alive = [&nodes[0], &nodes[1], &replica];
        eprintln!(
            "with the death of a master: {} reads in {:?}",
            load.reads.load(Ordering::SeqCst),
            begun.elapsed()
        );
        assert_eq!(errors(&alive, "CROSSSLOT").await, 0);
        assert_eq!((load.failed.load(Ordering::SeqCst), load.stale.load(Ordering::SeqCst)), (0, 0));
        // What is read again comes out of the cluster, all of it.
        app.settled().await;
        until("the cluster answers", async || {
            let (_, statements) = app.statements(app.get("/listings?limit=100").header("cookie", "a=b").send()).await;
            statements == 0
        })
        .await;
        app.stop().await;
    })
    .await;
}
