//! The auditor: now and then a kept answer that was served is made again from PostgreSQL itself, and compared.
//!
//! A difference alone proves nothing, since the data may have changed between the two. But once a poll that began after
//! the second reading has told the clock of every change it included, an answer that differs and still counts as valid
//! was wrong. That must never happen; `overlay_audit_wrong_total` says whether it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use tower::ServiceExt;

use super::answer::{Finished, Note};
use super::caller::As;
use super::http::Served;
use crate::cache::Kept;
use crate::coherence::Consistency;
use crate::domain::caller::Caller;

/// Least time between two audits, ms. Answers are served by the hundred thousand and made by the thousand: one in so many of those
/// that are served would be a load on PostgreSQL that grows with what is kept from it.
const REST_MS: u64 = 100;

/// Decides which answers are audited. One at a time.
pub(super) struct Auditor {
    /// One answer in so many; 0 for none.
    every: u64,
    served: AtomicU64,
    is_busy: AtomicBool,
    started: Instant,
    /// When the next may begin, ms after `started`.
    next_ms: AtomicU64,
}

impl Auditor {
    /// An auditor of one answer in `every`; 0 for none.
    pub(super) fn new(every: u64) -> Self {
        // Told from the start: that nothing was wrong is worth as much as that something was.
        for outcome in ["same", "wrong", "undecided"] {
            metrics::counter!("overlay_audit_total", "outcome" => outcome).increment(0);
        }
        metrics::counter!("overlay_audit_wrong_total").increment(0);
        Self {
            every,
            served: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
            started: Instant::now(),
            next_ms: AtomicU64::new(0),
        }
    }

    /// Whether the answer that is about to be served is to be audited.
    pub(super) fn is_due(&self) -> bool {
        self.every > 0
            && (self.served.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.every)
            && self.is_rested()
            && !self.is_busy.swap(true, Ordering::Relaxed)
    }

    /// Whether the last one was long enough ago; if so, the next has to wait in its turn.
    fn is_rested(&self) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let next = self.next_ms.load(Ordering::Relaxed);
        now >= next && self.next_ms.compare_exchange(next, now + REST_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Audits `kept`, which was served to `request`.
    pub(super) async fn check(&self, served: &Served, router: Router, request: Request, kept: Arc<Kept<Finished>>) {
        let _busy = Busy(&self.is_busy);
        if let Some(age) = served.app.cache.clock().age() {
            // How long ago the newest poll began: no answer served now is older than that.
            metrics::histogram!("overlay_staleness_seconds").record(age);
        }
        let verdict = compare(served, router, request, &kept).await;
        let outcome = match verdict {
            Some(true) => "same",
            Some(false) => "wrong",
            None => "undecided",
        };
        metrics::counter!("overlay_audit_total", "outcome" => outcome).increment(1);
        if verdict == Some(false) {
            metrics::counter!("overlay_audit_wrong_total").increment(1);
            tracing::error!("a kept answer differs from the database's, and no change was heard of: caches are wrong");
        }
    }
}

/// An audit under way: however it ends, another may begin.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Whether the kept answer is the right one; `None` when it cannot be told.
async fn compare(served: &Served, router: Router, mut request: Request, kept: &Kept<Finished>) -> Option<bool> {
    request.extensions_mut().insert(As(Caller::audit()));
    let Ok(mut response) = router.oneshot(request).await;
    response.extensions_mut().remove::<Note>()?;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.ok()?;
    if kept.answer.is(&body) {
        return Some(true);
    }
    served.app.feed.reach(Consistency::Strong).await.ok()?;
    if served.answers.is_good(kept) { Some(false) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_is_audited_one_at_a_time_and_not_too_often() {
        let auditor = Auditor::new(3);
        let due: Vec<bool> = (0..3).map(|_| auditor.is_due()).collect();
        assert_eq!(due, [false, false, true]);
        let served = |auditor: &Auditor| (0..3).filter(|_| auditor.is_due()).count();
        auditor.next_ms.store(0, Ordering::Relaxed);
        assert_eq!(served(&auditor), 0, "one is under way");
        auditor.is_busy.store(false, Ordering::Relaxed);
        auditor.next_ms.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(served(&auditor), 0, "it rests");
        auditor.next_ms.store(0, Ordering::Relaxed);
        assert_eq!(served(&auditor), 1);
        assert!(auditor.next_ms.load(Ordering::Relaxed) >= REST_MS);
        assert!(!Auditor::new(0).is_due());
    }
}
