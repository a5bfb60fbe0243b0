//! What one request touched: where its answers came from and what they depend on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::entry::Entry;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A valid entry, in memory or in Redis.
    Hit,
    /// A valid entry past its soft TTL; a refresh is under way. Old by age, never by content.
    Stale,
    /// Loaded from PostgreSQL.
    Miss,
}

impl Outcome {
    /// The value of the `x-cache` header.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// A request's notes about its reads. Shared by everything that works for the request.
#[derive(Debug)]
pub struct Ledger {
    begun: Instant,
    worst: Mutex<Option<Outcome>>,
    /// The least remaining soft TTL, ms.
    ttl_ms: AtomicU32,
    /// Time spent waiting for loads, µs.
    load_us: AtomicU32,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            worst: Mutex::new(None),
            ttl_ms: AtomicU32::new(u32::MAX),
            load_us: AtomicU32::new(0),
        }
    }
}

impl Ledger {
    pub(super) fn note(&self, outcome: Outcome, entry: Option<&Entry>) {
        let mut worst = self.worst.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *worst = (*worst).max(Some(outcome));
        if let Some(entry) = entry {
            let left = (entry.stored_ms + entry.soft_ms).saturating_sub(super::entry::now_ms());
            self.ttl_ms.fetch_min(u32::try_from(left).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    pub(super) fn waited(&self, time: Duration) {
        self.load_us.fetch_add(time.as_micros() as u32, Ordering::Relaxed);
    }

    /// The least favourable origin of all that was read; `None` when nothing was.
    pub fn outcome(&self) -> Option<Outcome> {
        *self.worst.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The least remaining TTL of all that was read.
    pub fn ttl(&self) -> Option<Duration> {
        let ms = self.ttl_ms.load(Ordering::Relaxed);
        (ms != u32::MAX).then(|| Duration::from_millis(ms.into()))
    }

    /// Time since the request began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Time spent waiting for Redis and PostgreSQL, summed over concurrent waits.
    pub fn load_time(&self) -> Duration {
        Duration::from_micros(self.load_us.load(Ordering::Relaxed).into())
    }
}
