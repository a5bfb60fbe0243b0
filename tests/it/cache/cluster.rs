//! Redis Cluster: three masters, each with a third of the keys.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::redis::names;
use super::secure::{Authority, documented};
use crate::harness::node::{Node, free_port, until, words};
use crate::harness::{Setup, TestApp, connected, with_database};

/// A cluster of three masters without replicas, started with `more` arguments, that knows the documented user.
pub(crate) async fn cluster(more: impl Fn() -> Vec<String>) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = Node::start(|_, port| {
            let (port, bus) = (port.to_string(), free_port().to_string());
            // It takes some time for a node that does not answer to be called dead: the test's own nodes do answer.
            let own =
                ["--port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
            [words(&own), more()].concat()
        });
        nodes.push(node.await?);
    }
    for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
        let () = node.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await;
        let () = node.ask(&user()).await;
    }
    for node in &nodes[1..] {
        let (bus, tls): (Vec<String>, Vec<String>) =
            (node.ask("CONFIG GET cluster-port").await, node.ask("CONFIG GET tls-port").await);
        let port = if tls[1] == "0" { node.port.to_string() } else { tls[1].clone() };
        let () = nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {port} {}", bus[1])).await;
    }
    whole(&nodes).await;
    Some(nodes)
}

pub(crate) fn user() -> String {
    format!("{} +cluster|slots +asking", documented("s3cret"))
}

/// Waits until every node knows of every slot.
pub(crate) async fn whole(nodes: &[Node]) {
    for node in nodes {
        until("the cluster is whole", async || {
            let info: String = node.ask("CLUSTER INFO").await;
            info.contains("cluster_state:ok") && info.contains("cluster_size:3")
        })
        .await;
    }
}

pub(crate) async fn sizes(nodes: &[Node]) -> Vec<u64> {
    join_all(nodes.iter().map(|node| node.ask::<u64>("DBSIZE"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_masters_share_the_entries_and_the_loss_of_one_fails_no_read() {
    let Some(mut nodes) = cluster(Vec::new).await else { return };
    with_database(async |database| {
        // The first is enough to find the others.
        let url = format!("redis-cluster://overlay:s3cret@{},127.0.0.1:1", nodes[0].address());
        let setup = Setup::seeded().redis(url);
        let first = TestApp::start(&setup, database).await;
        first.settled().await;
        let shown = names(&first).await;
        until("the entries are written", async || sizes(&nodes).await.iter().sum::<u64>() >= 23).await;
        assert!(sizes(&nodes).await.iter().all(|n| *n > 0), "{:?}", sizes(&nodes).await);
        let second = TestApp::start(&setup.clone().with("CACHE_MEMORY_MB", "0"), database).await;
        second.settled().await;
        // One MGET for the page, one for its assets, whatever nodes they are on.
        let (again, statements) = second.statements(names(&second)).await;
        assert_eq!((again, statements), (shown.clone(), 0));
        assert_eq!(second.json("/health").await["cache"], "redis:ok");

        let all = join_all(nodes.iter().map(|n| n.ask::<Vec<String>>("KEYS *"))).await.concat();
        first.app.cache.forget(all.into_iter().map(Into::into));
        until("the entries are deleted", async || sizes(&nodes).await.iter().sum::<u64>() == 0).await;

        for node in &nodes {
            let refused: Vec<redis::Value> = node.ask("ACL LOG").await;
            // What newer servers are told of the client's name is the one thing that may be refused.
            assert!(refused.iter().all(|r| format!("{r:?}").contains("client|setinfo")), "{refused:?}");
        }

        nodes[2].kill().await;
        let redis = second.app.cache.redis().expect("configured");
        until("the loss is noticed", async || {
            assert_eq!(names(&second).await, shown);
            !redis.is_connected()
        })
        .await;
        let health = second.json("/health").await;
        assert_eq!((&health["status"], &health["cache"]), (&"degraded".into(), &"redis:error".into()));
        // What is left of it is not taken for the whole, however often it is tried.
        let noticed = Instant::now();
        while noticed.elapsed() < Duration::from_secs(1) {
            assert_eq!(names(&second).await, shown);
            assert!(!redis.is_connected());
        }
        nodes[2].restart().await;
        let () = nodes[2].ask(&user()).await;
        whole(&nodes).await;
        connected(redis).await;
        until("the cache is used again", async || {
            assert_eq!(names(&second).await, shown);
            sizes(&nodes).await.iter().all(|n| *n > 0)
        })
        .await;
        first.stop().await;
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_cluster_is_reached_with_the_same_certificates() {
    let authority = Authority::new();
    let folder = crate::harness::folder();
    let [ca, certificate, key] = authority.write(&folder);
    let tls = || {
        let port = free_port().to_string();
        words(&[
            "--tls-cluster",
            "yes",
            "--tls-port",
            &port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
        ])
    };
    let Some(nodes) = cluster(tls).await else { return };
    let port: Vec<String> = nodes[0].ask("CONFIG GET tls-port").await;
    with_database(async |database| {
        let url = format!("rediss-cluster://overlay:s3cret@127.0.0.1:{}", port[1]);
        let setup = Setup::seeded().redis(url).with("REDIS_TLS_CA", &ca);
        let setup = setup.with("REDIS_TLS_CERT", &certificate).with("REDIS_TLS_KEY", &key);
        let app = TestApp::start(&setup, database).await;
        app.settled().await;
        names(&app).await;
        until("every node has entries", async || sizes(&nodes).await.iter().all(|n| *n > 0)).await;
        app.stop().await;
    })
    .await;
    std::fs::remove_dir_all(folder).expect("removed");
}
