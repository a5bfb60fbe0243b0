//! How far behind a replica is, in seconds: when the primary's horizon was where the replica's is now.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::coherence::clock::Moment;

/// Most steps remembered. Beyond, the newest is replaced: the oldest tells the lag.
const STEPS: usize = 1_000;

/// Where the primary's horizon went, from the replica's on.
#[derive(Default)]
pub(super) struct Trail {
    steps: VecDeque<(Instant, Moment)>,
}

impl Trail {
    /// Notes the primary's moment at `now`; answers for how long it has been beyond the replica's horizon.
    pub(super) fn lag(&mut self, now: Instant, primary: Moment, replica: u64) -> Duration {
        if self.steps.back().is_some_and(|(_, step)| step.epoch != primary.epoch) {
            self.steps.clear();
        }
        if self.steps.back().is_none_or(|(_, step)| step.as_of < primary.as_of) {
            self.steps.truncate(STEPS - 1);
            self.steps.push_back((now, primary));
        }
        while self.steps.front().is_some_and(|(_, step)| step.as_of <= replica) {
            self.steps.pop_front();
        }
        self.steps.front().map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coherence::Epoch;

    #[test]
    fn the_lag_is_the_time_since_the_primary_went_beyond_the_replica() {
        let (start, mut trail) = (Instant::now(), Trail::default());
        let second = |n: u64| start + Duration::from_secs(n);
        let primary = |as_of| Moment { epoch: Epoch::new("1", "2", "3"), as_of };
        let mut lag = |at, xid, replica| trail.lag(second(at), primary(xid), replica).as_secs();
        assert_eq!(lag(0, 100, 100), 0);
        assert_eq!(lag(1, 110, 100), 0);
        assert_eq!(lag(3, 120, 100), 2, "beyond 100 since the first second");
        assert_eq!(lag(4, 120, 110), 1, "beyond 110 since the third");
        assert_eq!(lag(5, 120, 130), 0, "a replica may be ahead of the last poll");
        for at in 6..3_000 {
            lag(at, 125 + at, 120);
        }
        assert_eq!(lag(3_000, 9_000, 120), 2_994);
        let other = Moment { epoch: Epoch::new("1", "2", "4"), as_of: 50 };
        assert_eq!(trail.lag(second(3_001), other, 50), Duration::ZERO, "another epoch counts anew");
    }
}
