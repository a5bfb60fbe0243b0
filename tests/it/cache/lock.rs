//! A composite is built once in the cluster; and at all, whatever becomes of the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use overlay::cache::{Cache, Cached, Key, Kind, Ledger, Loaded};
use overlay::coherence::Tag;
use overlay::error::Result;
use serde::{Deserialize, Serialize};

use super::redis::{appearing, session};
use crate::harness::node::until;
use crate::harness::{Setup, TestApp, private_redis, with_database};

/// Something that costs much to build.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bundle(String);

impl Cached for Bundle {
    const KIND: Kind = Kind::Asset;
}

const KEY: &str = "cache:bundle:1";
const LOCK: &str = "cache:bundle:lock:1";

/// Counts builds.
pub(super) type Count = Arc<AtomicUsize>;

fn key() -> Key<Bundle> {
    Key::new(KEY).built_under(LOCK)
}

fn built() -> Loaded<Bundle> {
    Loaded { value: Some(Bundle("built".into())), tags: vec![Tag::new("bundle:1")] }
}

/// A value of so many bytes.
pub(super) fn sized(length: usize) -> Loaded<Bundle> {
    Loaded { value: Some(Bundle("x".repeat(length))), tags: vec![Tag::new("bundle:1")] }
}

/// Asks for the composite; a build takes a while.
pub(super) async fn composite(cache: &Cache, ledger: &Ledger, builds: &Count) -> Result<Option<Arc<Bundle>>> {
    let builds = builds.clone();
    let load = move || {
        let builds = builds.clone();
        async move {
            builds.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(built())
        }
    };
    cache.get(ledger, key(), load).await
}

async fn ask(cache: &Cache, builds: &Count) {
    let found = composite(cache, &Ledger::default(), builds).await.expect("an answer").expect("a bundle");
    assert_eq!(*found, Bundle("built".into()));
}

/// Two servers over one database and one Redis.
async fn two(setup: Setup, test: impl AsyncFnOnce(&TestApp, &TestApp)) {
    with_database(async |database| {
        let (first, second) = (TestApp::start(&setup, database).await, TestApp::start(&setup, database).await);
        first.settled().await;
        second.settled().await;
        test(&first, &second).await;
        first.stop().await;
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_composite_is_built_once_by_all_processes_together() {
    let Some((server, _folder)) = private_redis().await else { return };
    two(Setup::empty().redis(server.url()), async |first, second| {
        let builds = Count::default();
        let caches = [&first.app.cache, &second.app.cache];
        join_all((0..100).map(|n| ask(caches[n % 2], &builds))).await;
        assert_eq!(builds.load(Ordering::SeqCst), 1);
        let mut session = session(server.url()).await;
        // Let go by its holder, not by its age.
        let left: i64 = redis::cmd("PTTL").arg(LOCK).query_async(&mut session).await.expect("answers");
        assert!(left == -2 || left > 8_000, "{left}");
        until("the lock is let go", async || {
            let mut session = session.clone();
            redis::cmd("EXISTS").arg(LOCK).query_async::<u64>(&mut session).await.expect("answers") == 0
        })
        .await;
    })
    .await;
    server.stop().await.expect("stops");
}

/// What is found under the lock is checked like anything else from Redis.
#[tokio::test(flavor = "multi_thread")]
async fn a_composite_that_changed_is_built_again() {
    let Some((server, _folder)) = private_redis().await else { return };
    two(Setup::empty().redis(server.url()), async |first, second| {
        let builds = Count::default();
        ask(&first.app.cache, &builds).await;
        until("the entry is written", async || {
            let mut session = session(server.url()).await;
            redis::cmd("EXISTS").arg(KEY).query_async::<u64>(&mut session).await.expect("answers") == 1
        })
        .await;
        first.sql("insert into change_log (tags) values ('{bundle:1}')").await;
        first.caught_up().await;
        second.caught_up().await;
        second.settled().await;
        ask(&second.app.cache, &builds).await;
        assert_eq!(builds.load(Ordering::SeqCst), 2);
    })
    .await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_panics_or_fails_frees_the_lock() {
    let Some((server, _folder)) = private_redis().await else { return };
    two(Setup::empty().redis(server.url()), async |first, second| {
        let begun = Instant::now();
        let builds = Count::default();
        let tries = Count::default();
        let panics = {
            let tries = tries.clone();
            first
                .app
                .cache
                .get(&Ledger::default(), key(), move || {
                    tries.fetch_add(1, Ordering::SeqCst);
                    async { panic!("the build panics") }
                })
                .await
        };
        assert!(panics.is_err() && tries.load(Ordering::SeqCst) > 0);
        let ledger = Ledger::default();
        let fails = || async { Err(overlay::error::Error::unavailable("no")) };
        assert!(first.app.cache.get(&ledger, key(), fails).await.is_err());
        ask(&second.app.cache, &builds).await;
        assert_eq!(builds.load(Ordering::SeqCst), 1);
        // Sooner than anybody's patience or the lock's own end.
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    })
    .await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_lost_meanwhile_is_left_to_its_new_holder() {
    let Some((server, _folder)) = private_redis().await else { return };
    two(Setup::empty().redis(server.url()), async |first, _| {
        let session = session(server.url()).await;
        let load = {
            let session = session.clone();
            move || {
                let mut session = session.clone();
                async move {
                    let () = redis::cmd("SET").arg(LOCK).arg("somebody").query_async(&mut session).await.expect("set");
                    Ok(built())
                }
            }
        };
        first.app.cache.get(&Ledger::default(), key(), load).await.expect("built");
        // The queue is in order: once a later lock is let go, so was this one, had it been.
        let (other, lock) = (Key::<Bundle>::new("cache:bundle:2"), "cache:bundle:lock:2");
        first.app.cache.get(&Ledger::default(), other.built_under(lock), || async { Ok(built()) }).await.expect("built");
        let get = |name: &'static str| {
            let mut session = session.clone();
            async move { redis::cmd("GET").arg(name).query_async::<Option<String>>(&mut session).await.expect("answers") }
        };
        until("the second lock is let go", async || get("cache:bundle:lock:2").await.is_none()).await;
        assert_eq!(get(LOCK).await.as_deref(), Some("somebody"));
    })
    .await;
    server.stop().await.expect("stops");
}

/// A holder that died without a word: the others wait for a while, and then do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_nobody_lets_go_delays_and_no_more() {
    let Some((server, _folder)) = private_redis().await else { return };
    two(Setup::empty().redis(server.url()), async |first, second| {
        let mut session = session(server.url()).await;
        let take = |ms: u64| redis::cmd("SET").arg(LOCK).arg("somebody").arg("PX").arg(ms).take();
        let () = take(600_000).query_async(&mut session).await.expect("taken");
        let builds = Count::default();
        let begun = Instant::now();
        ask(&first.app.cache, &builds).await;
        let waited = begun.elapsed();
        assert!((Duration::from_secs(3)..Duration::from_secs(9)).contains(&waited), "it waited: {waited:?}");
        assert_eq!(builds.load(Ordering::SeqCst), 1);
        // Somebody else's lock is not ours to delete.
        let holder: String = redis::cmd("GET").arg(LOCK).query_async(&mut session).await.expect("still there");
        assert_eq!(holder, "somebody");

        // One that ends while others wait: they go on at once. What was built is written first: it must be gone for good.
        appearing(&mut session, KEY).await;
        let () = redis::cmd("DEL").arg(KEY).query_async(&mut session).await.expect("deleted");
        let () = take(300).query_async(&mut session).await.expect("taken");
        let begun = Instant::now();
        ask(&second.app.cache, &builds).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(builds.load(Ordering::SeqCst), 2);
    })
    .await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_process_builds_at_once() {
    let Some((server, _folder)) = private_redis().await else { return };
    two(Setup::empty().redis(server.url()), async |first, second| {
        let builds = Count::default();
        server.kill().await.expect("killed");
        let begun = Instant::now();
        join_all([&first.app.cache, &second.app.cache].map(|cache| ask(cache, &builds))).await;
        assert_eq!(builds.load(Ordering::SeqCst), 2);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    })
    .await;
}
