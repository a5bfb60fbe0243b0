//! Whether Redis is worth the work.
//!
//! What is asked for the first time anywhere is not there, and where most requests are such (a crawl, a search box), asking takes
//! a round trip for nothing, and with what is written for nobody a third of a miss's work. So where Redis has had nothing many
//! times in a row, it is asked now and then only, and told a part, until it has something again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::entry::now_ms;

/// So many times in a row in vain, and it is not asked each time any more.
const IN_VAIN: u32 = 1_000;

/// From then on, it is asked one time in so many.
const ONE_IN: u32 = 16;

/// Most values a second that it is told although nobody has wanted any for long.
pub(super) const UNWANTED: u64 = 200;

/// What is known of one kind of value.
pub(super) struct Worth {
    /// Whether nothing is kept but there.
    is_all_there_is: bool,
    in_vain: AtomicU32,
    told: Quota,
}

impl Worth {
    /// Nothing is known yet. `is_all_there_is` where nothing is kept but in Redis, which then is always worth it.
    pub(super) fn new(is_all_there_is: bool) -> Self {
        Self { is_all_there_is, in_vain: AtomicU32::new(0), told: Quota::default() }
    }

    /// Whether values of the kind have been found there, as far as is known.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_all_there_is || self.in_vain.load(Ordering::Relaxed) < IN_VAIN
    }

    /// Whether to ask this time.
    pub(super) fn is_worth_asking(&self) -> bool {
        // When it wraps around, Redis is asked some times more.
        self.is_wanted() || self.in_vain.fetch_add(1, Ordering::Relaxed).is_multiple_of(ONE_IN)
    }

    /// Whether to write a value that was loaded.
    pub(super) fn is_worth_telling(&self) -> bool {
        self.is_wanted() || self.told.admits(1, UNWANTED)
    }

    /// Notes whether Redis had something that was of use.
    pub(super) fn learn(&self, has_some: bool) {
        if has_some {
            self.in_vain.store(0, Ordering::Relaxed);
        } else if self.in_vain.load(Ordering::Relaxed) < IN_VAIN {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts what is admitted in each second: the second in the upper half, the count in the lower.
#[derive(Default)]
pub(super) struct Quota(AtomicU64);

impl Quota {
    /// Whether `wanted` more fit into this second, of `most`. Two that ask at a time may pass it by as much as they want.
    pub(super) fn admits(&self, wanted: usize, most: u64) -> bool {
        let second = (now_ms() / 1_000) << 32;
        let known = self.0.load(Ordering::Relaxed);
        let used = known.checked_sub(second).filter(|used| *used <= u64::from(u32::MAX)).unwrap_or(0);
        let fits = used < most;
        if fits {
            self.0.store(second + used + wanted as u64, Ordering::Relaxed);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is asked of so many times.
    fn asked(worth: &Worth, times: usize, has_some: bool) -> usize {
        let ask = |_: &usize| {
            let asks = worth.is_worth_asking();
            if asks {
                worth.learn(has_some);
            }
            asks
        };
        (0..times).filter(ask).count()
    }

    #[test]
    fn what_never_has_anything_is_asked_now_and_then_until_it_has_something() {
        let worth = Worth::new(false);
        assert_eq!(asked(&worth, 1_000, false), 1_000);
        assert_eq!(asked(&worth, 1_600, false), 100);
        // Found by the one that was asked for all the same.
        assert!(asked(&worth, 16, true) > 0);
        assert_eq!(asked(&worth, 1_000, false), 1_000);
    }

    #[test]
    fn what_never_has_anything_is_told_a_part() {
        let told = |worth: &Worth| (0..100_000).filter(|_| worth.is_worth_telling()).count();
        let worth = Worth::new(false);
        assert_eq!(told(&worth), 100_000);
        asked(&worth, 1_000, false);
        // However many seconds that takes.
        let some = told(&worth);
        assert!((200..100_000).contains(&some), "{some}");
        worth.learn(true);
        assert_eq!(told(&worth), 100_000);
    }

    #[test]
    fn what_is_all_there_is_is_always_asked_and_told() {
        let worth = Worth::new(true);
        assert_eq!(asked(&worth, 10_000, false), 10_000);
        assert_eq!((0..10_000).filter(|_| worth.is_worth_telling()).count(), 10_000);
    }
}
