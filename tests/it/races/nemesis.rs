//! The nemesis: while readers and writers race, it breaks Redis, cuts connections, restarts PostgreSQL, and makes it
//! recover from a crash in a way that uses transaction ids again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use overlay::devstack::{DevStack, Options, RedisServer};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::reader;
use super::world::{Dice, World};
use super::{finished, seed, setting, wanderer, writer};
use crate::harness::process::Process;
use crate::harness::{Mode, Proxy, patient, private_redis};

/// Whether PostgreSQL is away: odd while it is.
#[derive(Default)]
pub(super) struct Outages(AtomicU64);

impl Outages {
    pub(super) fn number(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn is_away(number: u64) -> bool {
        number % 2 == 1
    }

    pub(super) fn turn(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the nemesis has its hands on.
struct Nemesis {
    postgres: Option<DevStack>,
    root: PathBuf,
    redis: Option<RedisServer>,
    redis_folder: PathBuf,
    redis_proxy: Proxy,
    outages: Arc<Outages>,
    world: Arc<World>,
    /// Entries of Redis as they once were, with their keys.
    dump: Vec<(String, Vec<u8>)>,
    reused: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nemesis_makes_no_read_stale() {
    let Some((redis, redis_folder)) = private_redis().await else { return };
    let seed = seed();
    let root = std::env::temp_dir().join(format!("overlay-nemesis-{}", uuid::Uuid::new_v4().simple()));
    let options = Options { redis: false, ..Options::new(&root) };
    let postgres = DevStack::start(&options).await.expect("a PostgreSQL of its own");
    let pg_url = postgres.pg_url().expect("started").to_owned();
    forgetful(&pg_url).await;
    let (redis_proxy, redis_url) = Proxy::before_redis(redis.url()).await;
    let settings = [
        ("PG_URL", pg_url.as_str()),
        ("REDIS_URL", redis_url.as_str()),
        ("AUDIT_EVERY", "100"),
        ("DEV_IDENTITY", "true"),
        // Full within minutes, so that what grows afterwards is not the caches.
        ("CACHE_MEMORY_MB", "8"),
    ];
    let processes = [Process::start(&settings), Process::start(&settings)];
    let world = Arc::new(World::open(&pg_url, seed).await);
    let outages = Arc::new(Outages::default());
    let writers = writer::start(&world, &pg_url, 3);
    let addresses: Vec<String> = processes.iter().map(|p| p.address().to_owned()).collect();
    let readers = reader::start(&world, &addresses, &outages, 12);
    let wanderer = wanderer::start(&world, &addresses);
    let mut nemesis = Nemesis {
        postgres: Some(postgres),
        root: root.clone(),
        redis: Some(redis),
        redis_folder,
        redis_proxy,
        outages,
        world: world.clone(),
        dump: Vec::new(),
        reused: 0,
    };
    let time = Duration::from_secs(setting("NEMESIS_SECONDS", 60));
    let held = nemesis.rage(seed, time, &pg_url, &processes).await;
    world.stop();
    let (granted, asked) = wanderer.await.expect("no route breaks");
    eprintln!("{granted} of {asked} requests along every route were granted");
    assert!(granted * 3 > asked, "most were refused");
    let tally = finished(&world, readers, writers, processes).await;
    let (redis, postgres, reused) = (nemesis.redis.take(), nemesis.postgres.take(), nemesis.reused);
    redis.expect("running").stop().await.expect("stops");
    postgres.expect("running").stop().await.expect("stops");
    std::fs::remove_dir_all(root).expect("removed");
    eprintln!("{tally}; {reused} transaction ids were used twice");
    assert_eq!((tally.stale_strong, tally.stale_token), (0, 0), "{tally}");
    assert_eq!(tally.failed, 0, "{tally}");
    assert_eq!(tally.wrong, 0.0, "{tally}");
    assert!(tally.while_away > 0, "nothing was served while PostgreSQL was away: {tally}");
    assert!(reused > 0, "no transaction id was used twice");
    for (number, samples) in held.into_iter().enumerate() {
        flat(number, &samples, time >= Duration::from_secs(600));
    }
}

/// Bytes of memory and open files of one process, at one time.
type Held = (u64, usize);

/// What a process holds in the last third of a long time is hardly more than in the second: caches are full by then.
fn flat(process: usize, samples: &[Held], is_long: bool) {
    let third = samples.len() / 3;
    let median = |of: fn(&Held) -> u64, samples: &[Held]| {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let [before, after] = [&samples[third..2 * third], &samples[2 * third..]];
    for (name, of) in [("KiB", (|held| held.0 >> 10) as fn(&Held) -> u64), ("files", |held| held.1 as u64)] {
        let (first, before, after) = (median(of, &samples[..third]), median(of, before), median(of, after));
        eprintln!("process {process}: {first}, {before}, {after} {name} in the thirds of the time");
        assert!(!is_long || after <= before + before / 10, "it grows: {before} to {after} {name}");
    }
}

/// Makes the writer of PostgreSQL's log sleep, so that what nobody waits for is still in memory when a crash comes.
async fn forgetful(pg_url: &str) {
    let session = connect(pg_url).await.expect("PostgreSQL is up");
    for statement in ["alter system set wal_writer_delay = '10s'", "do $$ begin perform pg_reload_conf(); end $$"] {
        session.execute_unprepared(statement).await.expect("set");
    }
    session.close().await.expect("closes");
}

impl Nemesis {
    /// Goes through all evils in a random order, again and again. Each is done once at least. Answers what each process held
    /// after each of them.
    async fn rage(&mut self, seed: u64, time: Duration, pg_url: &str, processes: &[Process; 2]) -> [Vec<Held>; 2] {
        let mut held = [Vec::new(), Vec::new()];
        let mut dice = Dice::new(seed, 9_999);
        let begun = Instant::now();
        let mut round: Vec<u64> = Vec::new();
        let mut done = 0;
        while begun.elapsed() < time || done < EVILS {
            if round.is_empty() {
                round = (0..EVILS).collect();
            }
            let evil = round.swap_remove(dice.below(round.len() as u64) as usize);
            let at = begun.elapsed().as_secs_f32();
            let name = self.evil(evil, &mut dice, pg_url).await;
            eprintln!("{at:6.1} s: {name}");
            done += 1;
            // Time for readers to fill the caches again; nothing waits for it.
            tokio::time::sleep(Duration::from_millis(300 + dice.below(700))).await;
            for (held, process) in held.iter_mut().zip(processes) {
                held.push((process.memory(), process.files()));
            }
        }
        held
    }

    async fn evil(&mut self, number: u64, dice: &mut Dice, pg_url: &str) -> &'static str {
        match number {
            0 => {
                self.redis.take().expect("running").kill().await.expect("killed");
                tokio::time::sleep(Duration::from_millis(dice.below(500))).await;
                self.redis = Some(RedisServer::start(&self.redis_folder).await.expect("starts"));
                "Redis was killed and came back empty"
            }
            1 => {
                let () = redis::cmd("FLUSHALL").query_async(&mut self.session().await).await.expect("flushed");
                "Redis was flushed"
            }
            2 => {
                self.dump = self.entries().await;
                "Redis was dumped"
            }
            3 => {
                let mut session = self.session().await;
                for (key, value) in &self.dump {
                    let () = redis::cmd("SET").arg(key).arg(value).query_async(&mut session).await.expect("set");
                }
                "Redis was filled with an old dump"
            }
            4 => {
                self.redis_proxy.set(Mode::BlackHole);
                tokio::time::sleep(Duration::from_millis(500 + dice.below(1_500))).await;
                self.redis_proxy.set(Mode::Open);
                "Redis was a black hole"
            }
            5 => {
                let until = Instant::now() + Duration::from_secs(setting("NEMESIS_CUT_SECONDS", 4));
                while Instant::now() < until {
                    terminate(pg_url, "query ilike 'listen%'").await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                "the listeners were cut again and again"
            }
            6 => {
                terminate(pg_url, "application_name like 'overlay-%'").await;
                "every connection of the servers was cut"
            }
            7 => {
                self.outages.turn();
                self.postgres.take().expect("running").stop().await.expect("stops");
                tokio::time::sleep(Duration::from_millis(dice.below(3_000))).await;
                let options = Options { redis: false, ..Options::new(&self.root) };
                self.postgres = Some(DevStack::start(&options).await.expect("starts again"));
                self.outages.turn();
                "PostgreSQL was away and came back"
            }
            _ => {
                self.crash(pg_url, 100 + dice.below(200)).await;
                "a backend was killed after it had burned transaction ids"
            }
        }
    }

    /// Burns transaction ids that reach no log (its writer sleeps), kills a backend, and waits until PostgreSQL has recovered.
    async fn crash(&mut self, pg_url: &str, burn: u64) {
        let session = connect(pg_url).await.expect("PostgreSQL is up");
        // Recovery empties it: only that tells that the crash is over and not yet to come.
        let mark = "create unlogged table if not exists nemesis (mark int); insert into nemesis values (1)";
        text(&session, mark).await.expect("marked");
        text(&session, "checkpoint").await.expect("a checkpoint");
        let pid = text(&session, "select pg_backend_pid()::text").await.expect("a pid");
        self.outages.turn();
        // Rolled back, and nobody commits meanwhile: no log that knows of them reaches the disk. Nor does anybody until
        // it is known from where the ids are given out again.
        self.world.pause().await;
        let first = text(&session, "select pg_snapshot_xmax(pg_current_snapshot())::text").await.expect("an id");
        let first: u64 = first.parse().expect("a number");
        let burning = "begin; select pg_current_xact_id(); rollback; ".repeat(burn as usize);
        let burned = session.execute_unprepared(&burning).await;
        let pid = rustix::process::Pid::from_raw(pid.parse().expect("a number")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        burned.expect("burned");
        let deadline = Instant::now() + Duration::from_secs(60);
        let next = loop {
            if let Ok(session) = connect(pg_url).await
                && text(&session, "select count(*)::text from nemesis").await.is_ok_and(|marks| marks == "0")
                && let Ok(next) = text(&session, "select pg_snapshot_xmax(pg_current_snapshot())::text").await
            {
                session.close().await.ok();
                break next.parse::<u64>().expect("a number");
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not recover");
        };
        self.world.go_on();
        self.outages.turn();
        self.reused += (first + burn).saturating_sub(next);
    }

    async fn session(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis.as_ref().expect("running").url()).expect("a URL");
        client.get_multiplexed_async_connection().await.expect("Redis answers")
    }

    async fn entries(&self) -> Vec<(String, Vec<u8>)> {
        let mut session = self.session().await;
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut session).await.expect("keys");
        let mut found = HashMap::new();
        for key in keys {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query_async(&mut session).await.expect("value");
            found.extend(value.map(|value| (key, value)));
        }
        found.into_iter().collect()
    }
}

/// How many evils there are.
const EVILS: u64 = 9;

async fn connect(pg_url: &str) -> overlay::error::Result<DatabaseConnection> {
    overlay::db::connect(&patient(pg_url), "nemesis", 1, 1).await
}

/// The first column of a statement's only row.
async fn text(session: &DatabaseConnection, sql: &str) -> Result<String, sea_orm::DbErr> {
    if sql.contains(';') || !sql.starts_with("select") {
        session.execute_unprepared(sql).await?;
        return Ok(String::new());
    }
    let row = session.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.expect("a row").try_get_by_index(0)
}

async fn terminate(pg_url: &str, which: &str) {
    let session = connect(pg_url).await.expect("PostgreSQL is up");
    let sql = format!(
        "select count(pg_terminate_backend(pid))::text from pg_stat_activity \
         where {which} and application_name <> 'overlay-nemesis' and application_name <> 'overlay-writer'"
    );
    text(&session, &sql).await.expect("terminated");
    session.close().await.expect("closes");
}
