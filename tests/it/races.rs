//! Writers and readers race over HTTP, through server processes of their own, while the stores break: no strong read and
//! no read with a token is ever older than a commit that was acknowledged before it.
//!
//! `OVERLAY_RACES` sets how many reads are raced, `NEMESIS_SECONDS` how long the stores are broken; `make soak` sets both
//! high and takes the optimised binary. A failure prints the seed; `OVERLAY_SEED` repeats it.

mod failover;
mod herd;
mod nemesis;
mod reader;
mod wanderer;
mod world;
mod writer;

use std::sync::Arc;

use crate::harness::process::Process;
use crate::harness::{private_redis, with_database};
use reader::Tally;
use tokio::task::JoinHandle;
use world::World;

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of this run, printed so that a failure can be repeated.
fn seed() -> u64 {
    let seed = setting("OVERLAY_SEED", uuid::Uuid::new_v4().as_u64_pair().0);
    eprintln!("OVERLAY_SEED={seed}");
    seed
}

/// Races `reads` reads by `readers` against two processes started with `extra` settings.
async fn race(reads: u64, readers: usize, extra: &[(&str, &str)]) -> Option<Tally> {
    let (redis, _folder) = private_redis().await?;
    let mut tally = Tally::default();
    with_database(async |database| {
        let seed = seed();
        let settings = [("PG_URL", database.url.as_str()), ("REDIS_URL", redis.url()), ("AUDIT_EVERY", "200")];
        let settings: Vec<(&str, &str)> = settings.into_iter().chain(extra.iter().copied()).collect();
        let processes = [Process::start(&settings), Process::start(&settings)];
        let world = Arc::new(World::open(&database.url, seed).await);
        let writers = writer::start(&world, &database.url, 4);
        let addresses: Vec<String> = processes.iter().map(|p| p.address().to_owned()).collect();
        let reading = (0..readers).map(|n| {
            let (world, addresses) = (world.clone(), addresses.clone());
            tokio::spawn(reader::reads(world, addresses, n as u64, reads / readers as u64))
        });
        let reading = reading.collect();
        tally = finished(&world, reading, writers, processes).await;
    })
    .await;
    redis.stop().await.expect("stops");
    Some(tally)
}

/// Waits for the readers, ends the rest, and adds up what was found.
async fn finished(
    world: &World, readers: Vec<JoinHandle<Tally>>, writers: Vec<JoinHandle<()>>, processes: [Process; 2],
) -> Tally {
    let mut tally = Tally::default();
    for reader in readers {
        tally.add(reader.await.expect("a reader ends"));
    }
    world.stop();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    tally.commits = world.commits();
    for process in processes {
        tally.add_metrics(&process.metrics().await);
        process.terminate();
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn no_strong_and_no_token_read_is_stale() {
    let Some(tally) = race(setting("OVERLAY_RACES", 20_000), 32, &[]).await else { return };
    eprintln!("{tally}");
    assert_eq!(tally.failed, 0, "{tally}");
    assert_eq!((tally.stale_strong, tally.stale_token), (0, 0), "{tally}");
    assert_eq!(tally.wrong, 0.0, "the auditors found wrong answers: {tally}");
    assert!(tally.kept * 20 > tally.reads, "hardly anything was served from a cache: {tally}");
    assert!(tally.commits > 100, "hardly anything was written: {tally}");
}

/// The same race against processes that believe every cached value: the harness finds what is stale.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn without_the_validity_check_stale_reads_are_found() {
    let Some(tally) = race(4_000, 16, &[("OVERLAY_TEST_UNCHECKED", "1")]).await else { return };
    eprintln!("{tally}");
    assert!(tally.stale_strong > 0 && tally.stale_token > 0, "{tally}");
}
