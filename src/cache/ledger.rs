//! What one request touched: where its answers came from and what they depend on.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Entry;
use crate::coherence::{Moment, Tags};

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A valid entry, in memory or in Redis.
    Hit,
    /// A valid entry past its soft TTL, with a refresh under way: old by age, never by content. Or one that could not
    /// be verified because PostgreSQL is away.
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

/// What a whole answer depends on, as far as it may be kept.
#[derive(Debug)]
pub struct Basis {
    /// What every part of the answer is known to include.
    pub moment: Moment,
    /// What a change of any part raises one of ([`tags`]).
    pub tags: Tags,
    /// Whether other processes may have it too.
    pub is_shared: bool,
}

/// A request's notes about its reads. Shared by everything that works for the request.
#[derive(Debug)]
pub struct Ledger {
    begun: Instant,
    notes: Mutex<Notes>,
    /// Time spent waiting for loads, µs.
    load_us: AtomicU32,
    /// Whether PostgreSQL itself must be asked.
    is_audit: bool,
}

#[derive(Debug)]
struct Notes {
    worst: Option<Outcome>,
    /// The least remaining soft TTL, ms.
    ttl_ms: u64,
    parts: Vec<Arc<Entry>>,
    /// The least moment of the parts.
    moment: Option<Moment>,
    /// Something was read of which no tag tells when it changes.
    is_live: bool,
    /// Something was served that could not be verified.
    is_unverified: bool,
    /// Something was read that is not shared with other processes.
    is_private: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        let notes = Notes {
            worst: None,
            ttl_ms: u64::MAX,
            parts: Vec::new(),
            moment: None,
            is_live: false,
            is_unverified: false,
            is_private: false,
        };
        Self { begun: Instant::now(), notes: Mutex::new(notes), load_us: AtomicU32::new(0), is_audit: false }
    }
}

impl Ledger {
    /// The ledger of a request that checks what the caches say: every read asks PostgreSQL itself.
    pub fn audit() -> Self {
        Self { is_audit: true, ..Self::default() }
    }

    pub(super) fn is_audit(&self) -> bool {
        self.is_audit
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while notes are taken.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a part of the answer. `moment` is what it is known to include by now ([`Clock::renewed`]): with the moment it was
    /// loaded at, one part loaded anew among older ones would hold the whole answer's moment below its own change.
    ///
    /// [`Clock::renewed`]: crate::coherence::Clock::renewed
    pub(super) fn read(&self, outcome: Outcome, entry: &Arc<Entry>, moment: Moment) {
        let left = (entry.stored_ms + entry.soft_ms).saturating_sub(super::entry::now_ms());
        let mut notes = self.notes();
        notes.worst = notes.worst.max(Some(outcome));
        notes.ttl_ms = notes.ttl_ms.min(left);
        notes.parts.push(entry.clone());
        match &mut notes.moment {
            None => notes.moment = Some(moment),
            Some(least) if least.epoch == moment.epoch => least.as_of = least.as_of.min(moment.as_of),
            Some(_) => notes.is_live = true,
        }
    }

    /// Notes that something was read outside of the cache, or that changes without a trace in the feed (with time, say):
    /// the answer as a whole is not kept.
    pub fn live(&self, outcome: Outcome) {
        let mut notes = self.notes();
        notes.worst = notes.worst.max(Some(outcome));
        notes.is_live = true;
    }

    /// Whether something was read outside of the cache, or that changes with time.
    pub fn is_live(&self) -> bool {
        self.notes().is_live
    }

    /// Notes that something was read that is not shared with other processes: nor is what is made of it.
    pub(super) fn private(&self) {
        self.notes().is_private = true;
    }

    /// Notes that something was served unverified.
    pub(super) fn unverified(&self) {
        self.live(Outcome::Stale);
        self.notes().is_unverified = true;
    }

    pub(super) fn waited(&self, time: Duration) {
        self.load_us.fetch_add(time.as_micros() as u32, Ordering::Relaxed);
    }

    /// The least favourable origin of all that was read; `None` when nothing was.
    pub fn outcome(&self) -> Option<Outcome> {
        self.notes().worst
    }

    /// Whether something was served that could not be verified, because PostgreSQL is away.
    pub fn is_unverified(&self) -> bool {
        self.notes().is_unverified
    }

    /// The least remaining TTL of all that was read.
    pub fn ttl(&self) -> Option<Duration> {
        let ms = self.notes().ttl_ms;
        (ms != u64::MAX).then(|| Duration::from_millis(ms))
    }

    /// What the answer depends on, `None` when it cannot be kept. An answer that read nothing depends on nothing, so it
    /// is as of `now`.
    pub fn basis(&self, now: Moment) -> Option<Basis> {
        let notes = self.notes();
        if notes.is_live {
            return None;
        }
        Some(Basis { moment: notes.moment.unwrap_or(now), tags: tags(&notes.parts), is_shared: !notes.is_private })
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

/// What a change of any part raises one of: the tags of the parts, less those of values that belong to a collection which
/// another part depends on, such as the rows of a page. An answer has hundreds of rows, and each tag costs at every check, in
/// Redis and in every header.
///
/// Nothing is lost by that. What is known to include all below a moment includes the value as it was then, so the first change
/// of the value after it is one of the very row that belongs to the collection, and raises it.
fn tags(parts: &[Arc<Entry>]) -> Tags {
    let (rows, others): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.belongs(&mut |_| true));
    let others: Vec<&Tags> = others.into_iter().map(|part| &part.tags).collect();
    let known = Tags::union(&others);
    let mut name = String::new();
    let mut is_known = |collection: std::fmt::Arguments<'_>| {
        name.clear();
        name.write_fmt(collection).is_ok_and(|()| known.contains(&name))
    };
    let alone = rows.into_iter().filter(|part| !part.belongs(&mut is_known)).map(|part| &part.tags);
    Tags::union(&[&known].into_iter().chain(alone).collect::<Vec<_>>())
}
