//! Who gets a connection, and who is told at once that none comes free.
//!
//! While connections come and go, whoever waits is served in turn. When none has come free for a while, all of them are held by
//! something that does not end: more waiting is of no use then, and would only tie up who asks. Until one comes free, nobody
//! else waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::tally;

/// The right to use one connection; it ends when this is dropped.
pub(super) type Seat = OwnedSemaphorePermit;

/// As many seats as there are connections.
pub(super) struct Gate {
    seats: Arc<Semaphore>,
    /// Longest wait.
    longest: Duration,
    /// Longest wait in which nobody gets a seat.
    standstill: Duration,
    opened: Instant,
    /// When somebody got a seat last, µs since `opened`.
    moved_us: AtomicU64,
    /// That time, once somebody has waited in vain since: who comes then need not wait to find out.
    stuck_us: AtomicU64,
}

impl Gate {
    pub(super) fn new(seats: u32, longest: Duration, standstill: Duration) -> Self {
        // Shown before it happens.
        metrics::counter!("overlay_pool_refused_total").increment(0);
        Self {
            seats: Arc::new(Semaphore::new(seats as usize)),
            longest,
            standstill,
            opened: Instant::now(),
            moved_us: AtomicU64::new(0),
            stuck_us: AtomicU64::new(u64::MAX),
        }
    }

    /// Waits for a seat.
    ///
    /// # Errors
    /// A time-out when none comes free.
    pub(super) async fn pass(&self) -> Result<Seat, DbErr> {
        let asked = Instant::now();
        let seat = match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(seat) => Some(seat),
            // On the heap: as a rule nobody waits, and what does is part of every statement.
            Err(_) => Box::pin(self.wait(asked)).await,
        };
        let now = Instant::now();
        if seat.is_some() {
            self.moved_us.store(now.duration_since(self.opened).as_micros() as u64, Ordering::Relaxed);
        } else {
            metrics::counter!("overlay_pool_refused_total").increment(1);
        }
        tally::waited(now.duration_since(asked));
        seat.ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))
    }

    async fn wait(&self, asked: Instant) -> Option<Seat> {
        let last = asked + self.longest;
        let mut turn = std::pin::pin!(Arc::clone(&self.seats).acquire_owned());
        loop {
            let moved_us = self.moved_us.load(Ordering::Relaxed);
            let moved = self.opened + Duration::from_micros(moved_us);
            let until = last.min(moved.max(asked) + self.standstill);
            if until <= Instant::now() {
                self.stuck_us.store(moved_us, Ordering::Relaxed);
                return None;
            }
            if self.stuck_us.load(Ordering::Relaxed) == moved_us {
                return None;
            }
            if let Ok(seat) = timeout_at(until.into(), &mut turn).await {
                // Nobody closes it.
                return seat.ok();
            }
        }
    }
}
