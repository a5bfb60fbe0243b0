//! Who gets a connection, and who is told at once that none comes free.
//!
//! While connections come and go, whoever waits is served in turn. When none has come free for a while, all of them are held by
//! something that does not end: more waiting is of no use then, and would only tie up who asks. Until one comes free, nobody
//! else waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::tally;

/// The right to use one connection; it ends when this is dropped.
pub(super) type Seat = OwnedSemaphorePermit;

/// How often it is looked whether seats come free. Many looks make up a standstill, so that a process that gets too little of the
/// processor looks more rarely, and does not take its own slowness for one.
const LOOK: Duration = Duration::from_millis(4);

/// Longest wait for a connection while the last one was waited for in vain.
const SHORT: Duration = Duration::from_millis(800);

/// As many seats as there are connections.
pub(super) struct Gate {
    seats: Arc<Semaphore>,
    /// Longest wait for a seat, and for its connection.
    longest: Duration,
    /// Looks that make up a standstill.
    looks: u128,
    traffic: Arc<Traffic>,
}

struct Traffic {
    /// How many seats were given.
    given: AtomicU64,
    /// Who has a seat and no connection yet: one that has to be made takes time, and is no standstill.
    reaching: AtomicU64,
    waiting: AtomicU64,
    is_watched: AtomicBool,
    is_stuck: watch::Sender<bool>,
    /// Whether a connection was waited for in vain, and none came since.
    in_vain: AtomicBool,
}

/// One more, for as long as this lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn in_vain() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
}

impl Gate {
    pub(super) fn new(seats: u32, longest: Duration, standstill: Duration) -> Self {
        // Shown before it happens.
        metrics::counter!("overlay_pool_refused_total").increment(0);
        let traffic = Traffic {
            given: AtomicU64::new(0),
            reaching: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            is_stuck: watch::Sender::new(false),
            in_vain: AtomicBool::new(false),
        };
        let looks = (standstill.as_millis() / LOOK.as_millis()).max(1);
        Self { seats: Arc::new(Semaphore::new(seats as usize)), longest, looks, traffic: Arc::new(traffic) }
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
            Err(_) => Box::pin(self.wait()).await,
        };
        match &seat {
            Some(_) => self.traffic.moves(),
            None => metrics::counter!("overlay_pool_refused_total").increment(1),
        }
        tally::waited(asked.elapsed());
        seat.ok_or_else(in_vain)
    }

    async fn wait(&self) -> Option<Seat> {
        let _waiting = Counted::new(&self.traffic.waiting);
        let mut stuck = self.traffic.is_stuck.subscribe();
        self.traffic.watch(self.looks);
        tokio::select! {
            biased;
            // Nobody closes it.
            seat = Arc::clone(&self.seats).acquire_owned() => seat.ok(),
            _stuck = stuck.wait_for(|is_stuck| *is_stuck) => None,
            () = tokio::time::sleep(self.longest) => None,
        }
    }

    /// Runs what gets the connection that a seat is for.
    ///
    /// # Errors
    /// What it answers, or a time-out: soon, when the last one was waited for in vain.
    pub(super) async fn reach<T>(&self, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let _reaching = Counted::new(&self.traffic.reaching);
        let was_in_vain = self.traffic.in_vain.load(Ordering::Relaxed);
        let limit = if was_in_vain { self.longest.min(SHORT) } else { self.longest };
        let outcome = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(in_vain()));
        let is_in_vain = matches!(&outcome, Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
        if is_in_vain != was_in_vain && (is_in_vain || outcome.is_ok()) {
            self.traffic.in_vain.store(is_in_vain, Ordering::Relaxed);
        }
        outcome
    }
}

impl Traffic {
    fn moves(&self) {
        self.given.fetch_add(1, Ordering::SeqCst);
        if *self.is_stuck.borrow() {
            self.is_stuck.send_replace(false);
        }
    }

    /// Looks out for a standstill as long as somebody waits.
    fn watch(self: &Arc<Self>, looks: u128) {
        if self.is_watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let own = self.clone();
        tokio::spawn(async move {
            let (mut known, mut still) = (own.given.load(Ordering::SeqCst), 0);
            loop {
                tokio::time::sleep(LOOK).await;
                let given = own.given.load(Ordering::SeqCst);
                let moves = given != known || own.reaching.load(Ordering::SeqCst) > 0;
                (known, still) = (given, if moves { 0 } else { still + 1 });
                if still >= looks {
                    own.is_stuck.send_replace(true);
                }
                if own.waiting.load(Ordering::SeqCst) == 0 {
                    own.is_watched.store(false, Ordering::SeqCst);
                    // Somebody may have come just now, and relied on this.
                    if own.waiting.load(Ordering::SeqCst) == 0 || own.is_watched.swap(true, Ordering::SeqCst) {
                        return;
                    }
                }
            }
        });
    }
}
