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
    /// What a change of any part raises one of: the tags of all parts, less those of rows whose list is a part too.
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
    /// The least soft TTL, ms; 0 where one is over.
    ttl_ms: u64,
    /// What the parts depend on that belong to no collection.
    parts: Vec<Tags>,
    /// The others.
    rows: Vec<Arc<Entry>>,
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
            rows: Vec::new(),
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
    /// An answer may be served for as long as a value may, from when it is made: it was right then. If what is left of its parts' time
    /// counted, one of a hundred parts of different ages would end a hundred times as often as a value.
    ///
    /// [`Clock::renewed`]: crate::coherence::Clock::renewed
    pub(super) fn read(&self, outcome: Outcome, entry: &Arc<Entry>, moment: Moment) {
        // One that is past its own time is being loaded anew: so is what is made of it.
        let ttl_ms = if outcome == Outcome::Stale { 0 } else { entry.soft_ms };
        let mut notes = self.notes();
        notes.worst = notes.worst.max(Some(outcome));
        notes.ttl_ms = notes.ttl_ms.min(ttl_ms);
        match entry.is_row() {
            true => notes.rows.push(entry.clone()),
            false => notes.parts.push(entry.tags.clone()),
        }
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

    /// The least TTL of all that was read; nought where something was past its own.
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
        Some(Basis { moment: notes.moment.unwrap_or(now), tags: notes.tags(), is_shared: !notes.is_private })
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

impl Notes {
    /// The tags of all parts, less those of rows whose collection a part that is no row depends on, such as a page. An answer has
    /// hundreds of rows, and each tag costs at every check, in Redis and in every header.
    ///
    /// Nothing is lost by that. What is known to include all below a moment includes the row as it was then, so the first change
    /// of it after that is one of the very row that belongs to the collection, and raises it.
    fn tags(&self) -> Tags {
        let known = Tags::union(&self.parts.iter().collect::<Vec<_>>());
        let mut name = String::new();
        let mut is_known = |collection: std::fmt::Arguments<'_>| {
            name.clear();
            name.write_fmt(collection).is_ok_and(|()| known.contains(&name))
        };
        let alone = self.rows.iter().filter(|row| !row.belongs(&mut is_known)).map(|row| &row.tags);
        Tags::union(&[&known].into_iter().chain(alone).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::cache::entry::now_ms;
    use crate::cache::{Cached, Kind, Known};
    use crate::coherence::{Epoch, Tag};

    /// A row of the list it names, or a list.
    #[derive(Serialize, Deserialize)]
    struct Noun(Option<String>);

    impl Cached for Noun {
        const KIND: Kind = Kind::Listing;

        fn belongs(&self, known: &mut Known<'_>) -> bool {
            self.0.as_ref().is_some_and(|list| known(format_args!("{list}")))
        }
    }

    fn read(ledger: &Ledger, outcome: Outcome, list: Option<&str>, tag: &str, age_ms: u64) {
        let moment = Moment { epoch: Epoch::new("a", "b", "c"), as_of: 42 };
        let mut entry =
            Entry::new(moment, Tags::new([Tag::new(tag)]), 60_000, Some(Arc::new(Noun(list.map(Into::into)))), 10);
        entry.stored_ms = now_ms() - age_ms;
        ledger.read(outcome, &Arc::new(entry), moment);
    }

    fn told(ledger: &Ledger) -> Vec<String> {
        let basis = ledger.basis(Moment { epoch: Epoch::new("a", "b", "c"), as_of: 42 }).expect("can be kept");
        basis.tags.names().iter().map(|tag| tag.as_str().to_owned()).collect()
    }

    #[test]
    fn a_list_stands_for_its_rows_and_for_no_others() {
        let ledger = Ledger::default();
        for (list, tag) in [(Some("as"), "a:1"), (Some("bs"), "b:1"), (None, "as"), (None, "x:1"), (Some("as"), "a:2")]
        {
            read(&ledger, Outcome::Hit, list, tag, 0);
        }
        assert_eq!(told(&ledger), ["as", "b:1", "x:1"]);
    }

    /// What a row depends on is not there to be depended on when the row itself is left out.
    #[test]
    fn rows_do_not_stand_for_each_other() {
        let ledger = Ledger::default();
        for (list, tag) in [(Some("a:2"), "a:1"), (Some("a:1"), "a:2")] {
            read(&ledger, Outcome::Hit, list, tag, 0);
        }
        assert_eq!(told(&ledger), ["a:1", "a:2"]);
    }

    #[test]
    fn an_answer_lives_as_long_as_a_value_whatever_the_ages_of_its_parts() {
        let ledger = Ledger::default();
        for age_ms in 0..60 {
            read(&ledger, Outcome::Hit, None, "a:1", age_ms * 1_000);
        }
        assert_eq!(ledger.ttl(), Some(Duration::from_millis(60_000)));
        read(&ledger, Outcome::Stale, None, "a:1", 61_000);
        assert_eq!(ledger.ttl(), Some(Duration::ZERO));
    }
}
