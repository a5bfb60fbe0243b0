//! What one request costs: its statements, its calls to Redis and its waits, added up where they happen, so that a request that
//! took long can say why.
//!
//! A tally goes with the request's own task. Work that is handed to another task takes it along with [`carried`]; without a
//! tally (background work, or nobody wants to know) there is nothing to add to.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

tokio::task_local! {
    static TALLY: Arc<Tally>;
}

/// What one request costs. Times are sums: of what is waited for at the same time, each counts.
#[derive(Debug, Default)]
pub struct Tally {
    statements: AtomicU32,
    sql_us: AtomicU64,
    pool_us: AtomicU64,
    redis_calls: AtomicU32,
    redis_us: AtomicU64,
    joined: AtomicU32,
    operation: OnceLock<Box<str>>,
}

impl Tally {
    /// SQL statements, and the time they took with all their waits.
    pub fn sql(&self) -> (u32, Duration) {
        (self.statements.load(Ordering::Relaxed), us(&self.sql_us))
    }

    /// Time spent waiting until a connection of the pool came free; it is part of the statements' time.
    pub fn pool_wait(&self) -> Duration {
        us(&self.pool_us)
    }

    /// Calls to Redis, and the time they took.
    pub fn redis(&self) -> (u32, Duration) {
        (self.redis_calls.load(Ordering::Relaxed), us(&self.redis_us))
    }

    /// How many values it waited for that somebody else was loading already.
    pub fn joined(&self) -> u32 {
        self.joined.load(Ordering::Relaxed)
    }

    /// The name of the GraphQL operation.
    pub fn operation(&self) -> Option<&str> {
        self.operation.get().map(|name| &**name)
    }

    /// Notes the name of the GraphQL operation.
    pub fn name(&self, operation: &str) {
        // One request has one.
        let _known = self.operation.set(operation.into());
    }

    /// Notes a statement.
    pub(super) fn add_sql(&self, time: Duration) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        add(&self.sql_us, time);
    }

    /// Notes a call to Redis.
    pub fn add_redis(&self, time: Duration) {
        self.redis_calls.fetch_add(1, Ordering::Relaxed);
        add(&self.redis_us, time);
    }

    /// Notes waits for what somebody else loads.
    pub fn add_joined(&self, count: usize) {
        self.joined.fetch_add(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Adds what work done for several requests cost: each of them waited for all of it.
    pub fn add(&self, shared: &Self) {
        for (own, other) in [
            (&self.statements, &shared.statements),
            (&self.redis_calls, &shared.redis_calls),
            (&self.joined, &shared.joined),
        ] {
            own.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for (own, other) in
            [(&self.sql_us, &shared.sql_us), (&self.pool_us, &shared.pool_us), (&self.redis_us, &shared.redis_us)]
        {
            own.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

fn us(sum: &AtomicU64) -> Duration {
    Duration::from_micros(sum.load(Ordering::Relaxed))
}

fn add(sum: &AtomicU64, time: Duration) {
    sum.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
}

/// The tally of the request that this task works for, if it has one.
pub fn current() -> Option<Arc<Tally>> {
    TALLY.try_with(Arc::clone).ok()
}

/// Adds to the tally, if there is one.
pub fn note(add: impl FnOnce(&Tally)) {
    let _nobody_counts = TALLY.try_with(|tally| add(tally));
}

/// Runs `work` with a tally, or without one.
pub async fn within<F: Future>(tally: Option<Arc<Tally>>, work: F) -> F::Output {
    match tally {
        Some(tally) => TALLY.scope(tally, work).await,
        None => work.await,
    }
}

/// `work`, to be run by another task for the request that this one works for.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    within(current(), work)
}

/// Notes a wait for a connection of the pool, in vain or not.
pub(super) fn waited(time: Duration) {
    metrics::histogram!("overlay_pool_wait_seconds").record(time);
    note(|tally| add(&tally.pool_us, time));
}
