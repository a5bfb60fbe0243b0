//! The clock of a process: for each tag the last transaction that changed it, and how far the feed has come.
//!
//! Words as in the module's README: a **horizon** is a snapshot's `xmin`, below which every transaction is finished
//! and, if committed, visible. A cached value carries the [`Moment`] it was loaded at; it is valid while nothing it
//! depends on changed at or after that moment.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use super::tag::{self, EVERYTHING, Slots, Tag, Tags};

/// One unbroken stretch of PostgreSQL's history. A crash, a fail-over or a restore begins another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u128);

impl Epoch {
    /// The name of no epoch.
    pub(super) const NONE: Self = Self(0);

    /// The epoch named by the cluster's system identifier, the database (and table) and the token in `cache_epoch`.
    pub fn new(system: &str, database: &str, token: &str) -> Self {
        let digest = Sha256::digest(format!("{system}/{database}/{token}"));
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// Reads the 32 lower-case hex digits that `Display` prints.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A point in history that a value is known to include: all of `epoch` below `as_of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The stretch of history.
    pub epoch: Epoch,
    /// Every transaction with a smaller id is included.
    pub as_of: u64,
}

tokio::task_local! {
    /// What the load that this task runs will include, where that is not what the clock says.
    static MOMENT: Moment;
}

/// Runs a load that reads history as it was at `moment`: within it, [`Clock::moment`] answers that.
pub(super) async fn at<F: Future>(moment: Moment, load: F) -> F::Output {
    MOMENT.scope(moment, load).await
}

/// What is known of one epoch.
pub(super) struct History {
    pub(super) epoch: Epoch,
    /// The text in `cache_epoch` that `epoch` was made from.
    pub(super) token: String,
    slots: Box<[AtomicU64]>,
    /// Grows whenever a slot or the floor does; no two histories have a value in common.
    version: AtomicU64,
    /// `xmin` of the newest poll.
    horizon: AtomicU64,
    /// Nothing below it can be vouched for.
    floor: AtomicU64,
}

impl History {
    pub(super) fn new(epoch: Epoch, token: impl Into<String>) -> Self {
        static HISTORIES: AtomicU64 = AtomicU64::new(1);
        let slots = std::iter::repeat_with(|| AtomicU64::new(0)).take(tag::SLOTS).collect();
        let version = AtomicU64::new(HISTORIES.fetch_add(1, Ordering::Relaxed) << 40);
        Self { epoch, token: token.into(), slots, version, horizon: AtomicU64::new(0), floor: AtomicU64::new(0) }
    }

    /// Notes that transaction `xid` changed the thing called `name`.
    pub(super) fn raise(&self, xid: u64, name: &str) {
        if name == EVERYTHING {
            self.raise_floor(xid + 1);
        } else if self.slots[tag::slot(name) as usize].fetch_max(xid, Ordering::Release) < xid {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn raise_floor(&self, floor: u64) {
        if self.floor.fetch_max(floor, Ordering::Release) < floor {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Publishes a horizon; only after every change below it has been raised.
    pub(super) fn publish(&self, horizon: u64) {
        self.horizon.fetch_max(horizon, Ordering::Release);
    }

    pub(super) fn horizon(&self) -> u64 {
        self.horizon.load(Ordering::Acquire)
    }
}

fn is_valid(history: &History, moment: Moment, slots: &Slots) -> bool {
    history.epoch == moment.epoch
        && moment.as_of >= history.floor.load(Ordering::Acquire)
        && slots.iter().all(|slot| history.slots[slot as usize].load(Ordering::Acquire) < moment.as_of)
}

/// The process's view of history. Shared by the feed, which moves it, and the cache, which asks it.
pub struct Clock {
    current: ArcSwap<History>,
    started: Instant,
    /// When the newest successful poll began, in ms after `started`, plus one; 0 = never.
    verified_ms: AtomicU64,
    max_staleness: Duration,
    /// Believe every value: set by nothing but the test that shows what then happens, in builds for development.
    is_unchecked: bool,
}

impl Clock {
    /// A clock that vouches for nothing until its feed has polled once.
    pub fn new(max_staleness: Duration) -> Self {
        let nowhere = History::new(Epoch::NONE, "");
        nowhere.raise_floor(u64::MAX);
        Self {
            current: ArcSwap::from_pointee(nowhere),
            started: Instant::now(),
            verified_ms: AtomicU64::new(0),
            max_staleness,
            is_unchecked: cfg!(debug_assertions) && std::env::var_os("OVERLAY_TEST_UNCHECKED").is_some(),
        }
    }

    pub(super) fn history(&self) -> Arc<History> {
        self.current.load_full()
    }

    /// Begins another epoch: values of the old one are misses from here on.
    pub(super) fn begin(&self, history: History) {
        self.current.store(Arc::new(history));
    }

    /// A poll that began at `at` succeeded.
    pub(super) fn verified(&self, at: Instant) {
        let ms = at.saturating_duration_since(self.started).as_millis() as u64;
        self.verified_ms.fetch_max(ms + 1, Ordering::Release);
    }

    /// The moment a load that begins now will include. Take it **before** the first query of the load.
    pub fn moment(&self) -> Moment {
        MOMENT.try_with(|moment| *moment).unwrap_or_else(|_| self.newest())
    }

    /// The current epoch and the horizon of its newest poll.
    pub(super) fn newest(&self) -> Moment {
        let history = self.current.load();
        Moment { epoch: history.epoch, as_of: history.horizon() }
    }

    /// The current epoch's token and horizon.
    pub(super) fn sample(&self) -> (String, u64) {
        let history = self.current.load();
        (history.token.clone(), history.horizon())
    }

    /// Whether a value loaded at `moment` still includes every known change of `tags`.
    pub fn is_valid(&self, moment: Moment, tags: &impl AsRef<Slots>) -> bool {
        self.is_unchecked || is_valid(&self.current.load(), moment, tags.as_ref())
    }

    /// Whether something of `tag` may have changed since `moment`.
    pub fn has_changed(&self, moment: Moment, tag: &Tag) -> bool {
        !self.is_valid(moment, &Tags::new([tag.clone()]))
    }

    /// As [`Self::is_valid`], for a value that is asked about again and again: `seen` keeps the version of the clock at which
    /// it was last found valid, and nothing is looked up while the clock stands still. 0 before the first time.
    pub fn is_still_valid(&self, moment: Moment, slots: &Slots, seen: &AtomicU64) -> bool {
        let history = self.current.load();
        // The version first: what is raised while the slots are read makes the next look a whole one.
        let version = history.version.load(Ordering::Acquire);
        if seen.load(Ordering::Relaxed) == version {
            return true;
        }
        let is_valid = self.is_unchecked || is_valid(&history, moment, slots);
        if is_valid {
            seen.store(version, Ordering::Relaxed);
        }
        is_valid
    }

    /// The latest moment that a value loaded at `moment` is known to include, if it is valid: the present one, because the
    /// clock knows every change below its horizon, and none was of `tags`.
    pub fn renewed(&self, moment: Moment, tags: &impl AsRef<Slots>) -> Option<Moment> {
        let history = self.current.load();
        // The horizon first: a change that is published while the slots are read must not be promised.
        let horizon = history.horizon();
        let is_valid = self.is_unchecked || is_valid(&history, moment, tags.as_ref());
        is_valid.then(|| Moment { as_of: moment.as_of.max(horizon), ..moment })
    }

    /// The chance that a value of `slots` is invalid only because other tags share one of them: from a sample of all
    /// slots, the share that was raised since `moment`.
    pub fn collision(&self, moment: Moment, slots: &Slots) -> f64 {
        const SAMPLE: usize = 32;
        let history = self.current.load();
        // Strides of a step that no power of two divides reach all slots; where they begin moves with the clock.
        let begin = (moment.as_of as usize).wrapping_mul(0x9e37_79b1);
        let raised = |n: &usize| {
            let slot = begin.wrapping_add(n.wrapping_mul(0x85eb_ca6b)) & (tag::SLOTS - 1);
            history.slots[slot].load(Ordering::Relaxed) >= moment.as_of
        };
        let share = (0..SAMPLE).filter(raised).count() as f64 / SAMPLE as f64;
        1.0 - (1.0 - share).powi(i32::try_from(slots.len()).unwrap_or(i32::MAX))
    }

    /// Raises the clock for a transaction that this process has just committed, in the epoch of this token. Answers the
    /// epoch; `None` when it is not the one the clock is in, and then nothing is raised.
    pub fn committed(&self, token: &str, xid: u64, tags: &[String]) -> Option<Epoch> {
        let history = self.current.load();
        if history.token != token {
            return None;
        }
        for name in tags {
            history.raise(xid, name);
        }
        Some(history.epoch)
    }

    /// Believes nothing cached until the next poll.
    pub(super) fn distrust(&self) {
        self.verified_ms.store(0, Ordering::Release);
    }

    /// Whether every change committed in `epoch` up to `xid` is known to be on the clock.
    pub(super) fn has_seen(&self, epoch: Epoch, xid: u64) -> bool {
        let history = self.current.load();
        history.epoch == epoch && history.horizon() > xid
    }

    /// How long ago the newest successful poll began; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let ms = self.verified_ms.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(ms)))
    }

    /// How long until the feed, if it stays silent, has been so for long enough that somebody should ask why: three quarters of the
    /// age at which it is too old. Zero when it has.
    pub fn until_ageing(&self) -> Duration {
        self.age().map_or(Duration::ZERO, |age| (self.max_staleness / 4 * 3).saturating_sub(age))
    }

    /// Whether the feed is young enough for cached values to be verifiable. When it is not, read PostgreSQL itself.
    pub fn is_trustworthy(&self) -> bool {
        self.age().is_some_and(|age| age <= self.max_staleness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coherence::tag::{Tag, Tags};

    fn clock_at(horizon: u64) -> (Clock, Epoch) {
        let clock = Clock::new(Duration::from_secs(1));
        let history = History::new(Epoch(7), "7");
        history.publish(horizon);
        clock.begin(history);
        (clock, Epoch(7))
    }

    fn tags(names: &[&str]) -> Tags {
        Tags::new(names.iter().map(|n| Tag::new(*n)))
    }

    #[test]
    fn a_new_clock_vouches_for_nothing() {
        let clock = Clock::new(Duration::from_secs(1));
        assert!(!clock.is_trustworthy());
        assert!(!clock.is_valid(clock.moment(), &tags(&[])));
    }

    #[test]
    fn a_change_at_or_after_the_moment_invalidates_and_an_older_one_does_not() {
        let (clock, _) = clock_at(100);
        let moment = clock.moment();
        let asset = tags(&["asset:1"]);
        clock.committed("7", 99, &["asset:1".into()]);
        assert!(clock.is_valid(moment, &asset));
        clock.committed("7", 100, &["asset:1".into()]);
        assert!(!clock.is_valid(moment, &asset), "xid 100 was not below the horizon, so it may be missing");
    }

    #[test]
    fn wildcards_and_everything_reach_each_tag_of_their_kind() {
        let (clock, _) = clock_at(100);
        let moment = clock.moment();
        clock.committed("7", 100, &["assets:*".into()]);
        assert!(!clock.is_valid(moment, &tags(&["assets@producer:1"])));
        assert!(!clock.is_valid(moment, &tags(&["assets"])));
        assert!(clock.is_valid(moment, &tags(&["asset:1"])));
        clock.committed("7", 100, &["*".into()]);
        assert!(!clock.is_valid(moment, &tags(&["asset:1"])));
        assert!(clock.is_valid(Moment { as_of: 101, ..moment }, &tags(&["asset:1"])));
    }

    /// What was found valid is looked at again after any change, and in another epoch.
    #[test]
    fn what_was_valid_is_so_until_the_clock_moves() {
        let (clock, _) = clock_at(100);
        let (moment, asset, seen) = (clock.moment(), tags(&["asset:1"]), AtomicU64::new(0));
        let is_valid = || clock.is_still_valid(moment, asset.slots(), &seen);
        assert!(is_valid() && is_valid());
        clock.committed("7", 100, &["asset:2".into()]);
        assert!(is_valid(), "another thing changed");
        clock.committed("7", 100, &["asset:1".into()]);
        assert!(!is_valid());
        let (moment, seen) = (Moment { as_of: 101, ..moment }, AtomicU64::new(0));
        assert!(clock.is_still_valid(moment, asset.slots(), &seen));
        // A smaller id than the largest may still come.
        clock.committed("7", 101, &["asset:1".into()]);
        assert!(!clock.is_still_valid(moment, asset.slots(), &seen));
        let (moment, seen) = (Moment { as_of: 102, ..moment }, AtomicU64::new(0));
        assert!(clock.is_still_valid(moment, asset.slots(), &seen));
        clock.committed("7", 102, &["*".into()]);
        assert!(!clock.is_still_valid(moment, asset.slots(), &seen), "everything changed");
        let (moment, seen) = (Moment { as_of: 103, ..moment }, AtomicU64::new(0));
        assert!(clock.is_still_valid(moment, asset.slots(), &seen));
        clock.begin(History::new(Epoch(8), "8"));
        assert!(!clock.is_still_valid(moment, asset.slots(), &seen));
    }

    #[test]
    fn another_epoch_is_a_miss() {
        let (clock, epoch) = clock_at(100);
        let moment = clock.moment();
        assert_eq!(moment.epoch, epoch);
        let history = History::new(Epoch(8), "8");
        history.publish(100);
        clock.begin(history);
        assert!(!clock.is_valid(moment, &tags(&["asset:1"])));
        assert!(!clock.has_seen(epoch, 1));
    }

    #[test]
    fn epochs_print_and_parse() {
        let epoch = Epoch::new("1", "2", "3");
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        for bad in ["", "g", "+0000000000000000000000000000001", "0000000000000000000000000000000A"] {
            assert_eq!(Epoch::parse(bad), None, "{bad}");
        }
    }
}
