//! Sentinels: the master is whoever they say, and another one after a fail-over.

use std::time::Duration;

use overlay::cache::{Redis, RedisConfig};

use super::redis::names;
use super::secure::documented;
use crate::harness::node::{Node, until, words};
use crate::harness::{Setup, TestApp, connected, with_database};

/// A master, its replica, and a sentinel that watches them.
async fn watched() -> Option<(Node, Node, Node)> {
    let master = Node::plain(&[]).await?;
    let port = master.port.to_string();
    let replica = Node::plain(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await?;
    until("the replica follows", async || master.ask::<String>("INFO replication").await.contains("state=online"))
        .await;
    let sentinel = Node::start(|folder, port| {
        let file = folder.join("sentinel.conf");
        let text = format!(
            "port {port}\nsentinel monitor mine 127.0.0.1 {} 1\nsentinel down-after-milliseconds mine 60000\n\
             sentinel failover-timeout mine 10000\n",
            master.port
        );
        std::fs::write(&file, text).expect("a file");
        words(&[file.to_str().expect("text"), "--sentinel"])
    })
    .await?;
    until("the sentinel knows the replica", async || {
        let replicas: Vec<redis::Value> = sentinel.ask("SENTINEL REPLICAS mine").await;
        replicas.len() == 1
    })
    .await;
    for node in [&master, &replica] {
        let () = node.ask(&format!("{} +role", documented("s3cret"))).await;
    }
    Some((master, replica, sentinel))
}

fn setup(sentinel: &Node) -> Setup {
    // A sentinel that does not answer, and one that does. No memory, so that every read goes to Redis.
    let url = format!("redis-sentinel://overlay:s3cret@127.0.0.1:1,{}/mine", sentinel.address());
    Setup::seeded().redis(url).with("CACHE_MEMORY_MB", "0")
}

/// Reads until what was read is written to `master`.
async fn works_with(master: &Node, app: &TestApp) {
    let shown = names(app).await;
    until("the entries are in the master", async || {
        assert_eq!(names(app).await, shown);
        master.ask::<u64>("DBSIZE").await >= 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fail_over_the_new_master_is_used() {
    let Some((master, replica, sentinel)) = watched().await else { return };
    with_database(async |database| {
        let app = TestApp::start(&setup(&sentinel), database).await;
        app.settled().await;
        works_with(&master, &app).await;
        until("the sentinel begins the fail-over", async || {
            let mut session = sentinel.session().await;
            redis::cmd("SENTINEL").arg("FAILOVER").arg("mine").query_async::<()>(&mut session).await.is_ok()
        })
        .await;
        until("the replica is promoted", async || {
            let named: (String, u16) = sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME mine").await;
            named.1 == replica.port && replica.ask::<String>("INFO replication").await.contains("role:master")
        })
        .await;
        let () = replica.ask("FLUSHALL").await;
        works_with(&replica, &app).await;
        assert_eq!(app.json("/health").await["cache"], "redis:ok");
        app.stop().await;
    })
    .await;
}

/// As when a master is demoted and nobody cuts its clients off: it still reads, and says READONLY to what is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_becomes_read_only_is_left() {
    let Some((master, replica, sentinel)) = watched().await else { return };
    with_database(async |database| {
        let app = TestApp::start(&setup(&sentinel), database).await;
        app.settled().await;
        works_with(&master, &app).await;
        let () = sentinel.ask("SENTINEL REMOVE mine").await;
        let () = replica.ask("REPLICAOF NO ONE").await;
        let () = sentinel.ask(&format!("SENTINEL MONITOR mine 127.0.0.1 {} 1", replica.port)).await;
        let () = master.ask(&format!("REPLICAOF 127.0.0.1 {}", replica.port)).await;
        let () = replica.ask("FLUSHALL").await;
        works_with(&replica, &app).await;
        app.stop().await;
    })
    .await;
}

/// Sentinels are slow to notice: one that names a server that is no master is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_master_is_not_used() {
    let Some((_master, replica, sentinel)) = watched().await else { return };
    let () = sentinel.ask(&format!("SENTINEL MONITOR wrong 127.0.0.1 {} 1", replica.port)).await;
    let url = format!("redis-sentinel://overlay:s3cret@{}/wrong", sentinel.address());
    let redis = Redis::start(&RedisConfig { url, timeout: Duration::from_secs(2), tls: None }).expect("starts");
    until("it was asked four times", async || {
        assert!(!redis.is_connected());
        let told: String = replica.ask("INFO commandstats").await;
        let calls =
            told.lines().find_map(|line| line.strip_prefix("cmdstat_role:calls=")?.split(',').next()?.parse().ok());
        calls.unwrap_or(0) >= 4
    })
    .await;
    let () = replica.ask("REPLICAOF NO ONE").await;
    connected(&redis).await;
}
