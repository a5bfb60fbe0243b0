//! PostgreSQL itself fails under load: the whole server is killed at once and comes back, or its standby takes its place.
//! What was acknowledged is there, reads go on, and none is stale.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use overlay::devstack::{DevStack, Options};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::task::JoinHandle;

use super::nemesis::Outages;
use super::reader::{self, Tally};
use super::world::World;
use super::{finished, seed, setting, writer};
use crate::harness::keys::{Keys, bytes, nonce, with_headers};
use crate::harness::process::Process;
use crate::harness::{Proxy, Wire, rows_of};

/// Commits that must go by between two failures, so that each meets full caches and open transactions.
const COMMITS: u64 = 300;

/// Servers, writers and readers on one PostgreSQL.
struct Load {
    pg_url: String,
    world: Arc<World>,
    outages: Arc<Outages>,
    processes: [Process; 2],
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<Tally>>,
    clients: Vec<JoinHandle<()>>,
    /// The last name that a server acknowledged to each client.
    acknowledged: Arc<[AtomicU64; 2]>,
    /// Versions that nobody writes.
    quiet: Vec<String>,
}

impl Load {
    async fn on(pg_url: &str) -> Self {
        let settings = [("PG_URL", pg_url), ("REDIS_URL", "redis://127.0.0.1:1"), ("AUDIT_EVERY", "100")];
        let processes = [Process::start(&settings), Process::start(&settings)];
        let world = Arc::new(World::open(pg_url, seed()).await);
        let outages = Arc::new(Outages::default());
        let addresses: Vec<String> = processes.iter().map(|p| p.address().to_owned()).collect();
        let acknowledged: Arc<[AtomicU64; 2]> = Arc::default();
        let readers = reader::start(&world, &addresses, &outages, 12);
        let clients = addresses
            .iter()
            .enumerate()
            .map(|(n, address)| tokio::spawn(register(world.clone(), n, address.clone(), acknowledged.clone())));
        let clients = clients.collect();
        let writers = writer::start(&world, pg_url, 3);
        let quiet = "select version_id from assets where dataset_id <> 'd/raced' order by 1 limit 10";
        let quiet = rows_of(pg_url, quiet).await;
        Self { quiet, pg_url: pg_url.to_owned(), world, outages, processes, writers, readers, clients, acknowledged }
    }

    /// Waits until both kinds of writers have written again.
    async fn has_written(&self) {
        let clients = || self.acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).sum::<u64>();
        let (commits, registered, begun) = (self.world.commits() + COMMITS, clients() + 10, Instant::now());
        while self.world.commits() < commits || clients() < registered {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody writes");
            tokio::task::yield_now().await;
        }
    }

    /// Reads the versions that nobody writes, at each server; whether all answers were kept ones.
    async fn known(&self) -> bool {
        let mut all_kept = true;
        for process in &self.processes {
            let mut wire = Wire::new(process.address());
            for id in &self.quiet {
                let request = format!("GET /listings/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
                let answer = wire.ask(&request).await.expect("an answer");
                assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                all_kept &= answer.header("age").is_some();
            }
        }
        all_kept
    }

    /// PostgreSQL goes away without a word, in the middle of everything.
    async fn cut_power(&self, data: &str) {
        self.has_written().await;
        // What is new to an epoch cannot be kept before its horizon has passed all that was open when it began.
        let begun = Instant::now();
        while !self.known().await {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is kept");
        }
        self.outages.turn();
        tokio::task::block_in_place(|| cut_power(data));
        // What is kept and did not change is answered, with or without a PostgreSQL.
        self.known().await;
    }

    /// Holds what is in the database of `url` to what was acknowledged. Whoever writes on hides what was lost: so it is asked as
    /// soon as there is a database again.
    async fn nothing_is_lost(&self, url: &str, things: &[u64], names: &[u64]) {
        for (thing, committed) in self.world.things.iter().zip(things) {
            let sql = format!("select substr(name, 2) from assets where version_id = '{}'", thing.id);
            let there: u64 = rows_of(url, &sql).await[0].parse().expect("a count");
            assert!(there >= *committed, "{} has {there}, and {committed} was acknowledged", thing.id);
        }
        for (n, known) in names.iter().enumerate() {
            let sql = format!("select display_name from producers where identity_key = '{}'", client(n).key);
            let there: u64 = rows_of(url, &sql).await[0].parse().expect("a count");
            assert!(there >= *known, "client {n} has {there}, and {known} was acknowledged");
        }
    }

    /// The last counts that were acknowledged, of both kinds of writers.
    fn acknowledged(&self) -> (Vec<u64>, Vec<u64>) {
        let things = self.world.things.iter().map(|thing| thing.committed.load(Ordering::SeqCst));
        (things.collect(), self.acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect())
    }

    /// Ends all, and holds what is in the database to what was acknowledged. `failures` is how often PostgreSQL failed.
    async fn end(mut self, failures: f64) {
        self.world.stop();
        let mut epochs = Vec::new();
        for process in &self.processes {
            let metrics = process.metrics().await;
            let line = metrics.lines().find_map(|line| line.strip_prefix("overlay_feed_epochs_total "));
            epochs.push(line.and_then(|count| count.parse::<f64>().ok()).unwrap_or_default());
        }
        for client in self.clients.drain(..) {
            client.await.expect("a client ends");
        }
        let (things, names) = self.acknowledged();
        self.nothing_is_lost(&self.pg_url, &things, &names).await;
        let tally = finished(&self.world, self.readers, self.writers, self.processes).await;
        eprintln!("{tally}; {names:?} names registered; {epochs:?} epochs, {failures} failures");
        assert_eq!((tally.stale_strong, tally.stale_token), (0, 0), "{tally}");
        assert_eq!((tally.failed, tally.wrong), (0, 0.0), "{tally}");
        // One at the start, one for each failure.
        assert_eq!(epochs, [failures + 1.0; 2]);
    }
}

fn client(n: usize) -> Keys {
    Keys::of(n as u8 + 70)
}

/// Writes through a server: counts a producer's name up, and notes what was acknowledged.
async fn register(world: Arc<World>, n: usize, address: String, acknowledged: Arc<[AtomicU64; 2]>) {
    let (keys, http) = (client(n), reqwest::Client::new());
    for count in 1.. {
        if world.is_stopped() {
            return;
        }
        let body = bytes(&json!({"name": count.to_string()}));
        let request = http.post(format!("http://{address}/producers/register"));
        let answer = with_headers(request, keys.headers(&nonce(), &body)).body(body).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            acknowledged[n].store(count, Ordering::SeqCst);
        }
    }
}

/// Kills a server's postmaster and all its children, as a power cut would; answers when they are gone.
fn cut_power(data: &str) {
    let file = std::fs::read_to_string(Path::new(data).join("postmaster.pid")).expect("it runs");
    let postmaster: i32 = file.lines().next().and_then(|line| line.trim().parse().ok()).expect("a number");
    // The postmaster first, so that nobody is started any more and nobody is told to end in order.
    let kill = |pid: i32| {
        // One that has ended in between is as well.
        let _gone = kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL);
    };
    kill_process(Pid::from_raw(postmaster).expect("a pid"), Signal::STOP).expect("stopped");
    let children = children(postmaster);
    // The way to the standby is gone a little earlier: who does not wait for it goes on for a moment, and that is lost.
    let sends = |pid: &&i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"postgres: walsender"))
    };
    if let Some(sender) = children.iter().find(sends) {
        kill(*sender);
        std::thread::sleep(Duration::from_millis(200));
    }
    kill(postmaster);
    children.iter().copied().for_each(kill);
    assert!(children.len() > 5, "{children:?}");
    let begun = Instant::now();
    while children.iter().any(|pid| state(*pid).is_some_and(|state| state != "Z")) {
        assert!(begun.elapsed() < Duration::from_secs(30), "they do not die");
        std::thread::yield_now();
    }
}

/// State and parent of a process.
fn stat(pid: i32) -> Option<(String, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

fn state(pid: i32) -> Option<String> {
    stat(pid).map(|(state, _)| state)
}

fn children(of: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of)).collect()
}

async fn serve(root: &Path, standby_of: Option<&str>) -> DevStack {
    let options = Options { redis: false, standby_of: standby_of.map(str::to_owned), ..Options::new(root) };
    DevStack::start(&options).await.unwrap_or_else(|e| panic!("{e}"))
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("overlay-fail-{}", uuid::Uuid::new_v4().simple()))
}

async fn data_of(url: &str) -> String {
    rows_of(url, "select current_setting('data_directory')").await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_killed_and_comes_back_has_all_that_was_acknowledged() {
    let root = folder();
    let mut postgres = serve(&root, None).await;
    let url = postgres.pg_url().expect("an address").to_owned();
    let data = data_of(&url).await;
    let load = Load::on(&url).await;
    let failures = setting("OVERLAY_FAILURES", 2);
    for _ in 0..failures {
        load.cut_power(&data).await;
        let (things, names) = load.acknowledged();
        drop(postgres);
        postgres = serve(&root, None).await;
        load.nothing_is_lost(&url, &things, &names).await;
        load.outages.turn();
    }
    load.has_written().await;
    load.end(failures as f64).await;
    postgres.stop().await.expect("stops");
    std::fs::remove_dir_all(root).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_takes_the_primarys_place_and_nothing_is_lost() {
    let root = folder();
    let mut primary = serve(&root.join("0"), None).await;
    let mut url = primary.pg_url().expect("an address").to_owned();
    // What stands for the address that moves.
    let (address, through) = Proxy::before_postgres(&url).await;
    let mut load = None;
    let failures = setting("OVERLAY_FAILURES", 2);
    for n in 1..=failures {
        let standby = serve(&root.join(n.to_string()), Some(&url)).await;
        let standby_url = standby.pg_url().expect("an address").to_owned();
        // Only now, or the standby would have it too, and wait for one of its own.
        for sql in ["alter system set synchronous_standby_names = '*'", "select pg_reload_conf()::text"] {
            statement(&url, sql).await;
        }
        let synchronous = "select sync_state from pg_stat_replication where sync_state = 'sync'";
        let begun = Instant::now();
        while rows_of(&url, synchronous).await.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the standby does not follow");
        }
        let load: &Load = match &load {
            Some(load) => load,
            None => load.insert(Load::on(&through).await),
        };
        load.cut_power(&data_of(&url).await).await;
        assert_eq!(rows_of(&standby_url, "select pg_promote()::text").await, ["true"]);
        let (things, names) = load.acknowledged();
        load.nothing_is_lost(&standby_url, &things, &names).await;
        address.turn_to_postgres(&standby_url);
        load.outages.turn();
        (primary, url) = (standby, standby_url);
    }
    let load = load.expect("there was a failure");
    load.has_written().await;
    load.end(failures as f64).await;
    primary.stop().await.expect("stops");
    std::fs::remove_dir_all(root).expect("removed");
}

async fn statement(url: &str, sql: &str) {
    let session = crate::harness::session(url).await;
    sea_orm::ConnectionTrait::execute_unprepared(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    overlay::db::close(&session).await;
}
