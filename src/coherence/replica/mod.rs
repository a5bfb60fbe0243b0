//! Read replicas: loads that a standby can answer, at a moment of the primary's history that it proves.
//!
//! Nothing a replica says is believed without the clock. A load runs in one REPEATABLE READ snapshot, whose first statement tells
//! which moment the snapshot shows; values are checked against the clock after the load, and what is not valid is read from the
//! primary. The README of the module has the argument why that is sound. Everything else here, the look that is taken at each
//! replica four times a second and the rests, only spares time.

mod store;
mod trail;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::trail::Trail;
use super::clock::{self, Clock, Moment};
use super::tag::Tags;
use crate::db::{self, Db, Snapshot};
use crate::error::{Error, Result};

/// How often each replica is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Longest time a look may take.
const LOOK: Duration = Duration::from_secs(2);

/// Longest wait of a load for a snapshot. A replica near by answers in a few milliseconds, and the primary is waiting.
const OPEN: Duration = Duration::from_millis(250);

/// How long a replica is left alone that did not answer a load, so that not every load waits for it in vain.
const REST: Duration = Duration::from_secs(2);

/// Where the replicas are, and when they are used.
#[derive(Clone)]
pub struct Config {
    /// One for each replica; statements may take half of what the primary's may, so that the primary can be asked after it.
    pub databases: Vec<db::Config>,
    /// A replica further behind than this is not asked: what changed lately would be read twice.
    pub max_lag: Duration,
}

/// Loads by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// All that was read was as fresh as the clock.
    pub used: u64,
    /// Some of it was not, and was read from the primary.
    pub fallback: u64,
    /// No replica was fit to be asked.
    pub skipped: u64,
    /// The replica failed or took too long.
    pub error: u64,
}

/// Why a replica cannot be read.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It does not answer, or not in time.
    Away(Error),
    /// It answers, and should not be read.
    Because(&'static str),
}

impl Unfit {
    fn reason(&self) -> &'static str {
        match self {
            Self::Away(_) => "it does not answer",
            Self::Because(reason) => reason,
        }
    }
}

/// The replicas of the primary. Without any, every load reads the primary.
pub struct Replicas {
    clock: Arc<Clock>,
    max_lag: Duration,
    replicas: Vec<Replica>,
    turn: AtomicUsize,
    used: AtomicU64,
    fallback: AtomicU64,
    skipped: AtomicU64,
    error: AtomicU64,
}

struct Replica {
    db: Db,
    /// Longest time for the statements of a load.
    patience: Duration,
    is_fit: AtomicBool,
    rests_until: Mutex<Instant>,
    verdict: Mutex<Option<Verdict>>,
}

/// What the last look at a replica found; an error says why it is not read.
pub type Verdict = Result<(), &'static str>;

impl Replicas {
    /// Makes a pool for each replica and begins to look at them; ends when the handle is dropped. A replica that is away, or is none
    /// of this primary's, is told of in the log and not read.
    ///
    /// # Errors
    /// `unavailable` when an address cannot be read.
    pub async fn start(config: &Config, clock: Arc<Clock>) -> Result<Arc<Self>> {
        let mut replicas = Vec::new();
        for database in &config.databases {
            replicas.push(Replica {
                db: Db::lazy(database, "replica").await?,
                patience: database.statement_timeout,
                is_fit: AtomicBool::new(false),
                rests_until: Mutex::new(Instant::now()),
                verdict: Mutex::default(),
            });
        }
        let (max_lag, count) = (config.max_lag, replicas.len());
        let [used, fallback, skipped, error] = std::array::from_fn(|_| AtomicU64::new(0));
        let turn = AtomicUsize::new(0);
        let all = Arc::new(Self { clock, max_lag, replicas, turn, used, fallback, skipped, error });
        for index in 0..count {
            tokio::spawn(watch(Arc::downgrade(&all), index));
        }
        Ok(all)
    }

    /// Whether there are any, fit or not.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// How many can be read now.
    pub fn fit(&self) -> usize {
        self.replicas.iter().filter(|r| r.is_fit()).count()
    }

    /// What the last look at each found, in the order of the settings; `None` before the first look.
    pub fn verdicts(&self) -> Vec<Option<Verdict>> {
        self.replicas.iter().map(|r| *lock(&r.verdict)).collect()
    }

    /// Loads so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (used, fallback) = (read(&self.used), read(&self.fallback));
        Stats { used, fallback, skipped: read(&self.skipped), error: read(&self.error) }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        futures_util::future::join_all(self.replicas.iter().map(|replica| replica.db.clone().close())).await;
    }

    /// Runs `load` on a replica and answers the moment that it read, or nothing: then the primary must be read. What the load answers
    /// may lack changes that the clock knows: ask [`Self::is_fresh`] of each value.
    pub async fn read<T, F>(&self, load: impl FnOnce() -> F) -> Option<(Moment, T)>
    where
        F: Future<Output = Result<T>>,
    {
        if self.replicas.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.replicas.len()).map(|n| &self.replicas[turn.wrapping_add(n) % self.replicas.len()]);
        let Some(replica) = in_turn.into_iter().find(|r| r.is_fit()) else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        match self.run(replica, load).await {
            Ok(found) => Some(found),
            Err(unfit) => {
                tracing::debug!(?unfit, "a load on a replica failed: the primary is read");
                self.error.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    async fn run<T, F>(&self, replica: &Replica, load: impl FnOnce() -> F) -> Result<(Moment, T), Unfit>
    where
        F: Future<Output = Result<T>>,
    {
        let opened = within(OPEN, self.open(replica)).await;
        let (snapshot, moment) = opened.inspect_err(|unfit| replica.rest(unfit))?;
        let load = snapshot.within(clock::at(moment, async { load().await.map_err(Unfit::Away) }));
        let loaded = within(replica.patience, load).await.inspect_err(|unfit| replica.rest(unfit))?;
        Ok((moment, loaded))
    }

    /// A snapshot on `replica`, and the moment of this epoch's history that it shows.
    async fn open(&self, replica: &Replica) -> Result<(Snapshot, Moment), Unfit> {
        let snapshot = replica.db.snapshot().await.map_err(Unfit::Away)?;
        let moment = store::moment(&snapshot).await?;
        // Without tags this asks for the epoch and the floor.
        if self.clock.is_valid(moment, &Tags::default()) {
            return Ok((snapshot, moment));
        }
        Err(Unfit::Because(if moment.epoch == self.clock.newest().epoch {
            "it is behind all that the feed can vouch for"
        } else {
            "it shows another epoch: it follows another server than the primary, or has not caught up yet"
        }))
    }

    /// Whether a value that a replica showed at `moment` is as fresh as the clock: then it may be answered to whoever asked for it
    /// before now. The feed must still be trustworthy, for what the primary answers is fresh of itself, and this is not.
    pub fn is_fresh(&self, moment: Moment, tags: &Tags) -> bool {
        self.clock.is_trustworthy() && self.clock.is_valid(moment, tags)
    }

    /// Counts a load whose values were all fresh, or not.
    pub fn note(&self, all_fresh: bool) {
        let counter = if all_fresh { &self.used } else { &self.fallback };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at a replica.
    async fn look(&self, index: usize, trail: &mut Trail) -> Result<(), Unfit> {
        let label = (index + 1).to_string();
        let (_, shown) = within(LOOK, self.open(&self.replicas[index])).await?;
        let known = self.clock.newest();
        let lag = trail.lag(Instant::now(), known, shown.as_of);
        let behind = known.as_of.saturating_sub(shown.as_of);
        metrics::gauge!("overlay_replica_horizon_lag", "replica" => label.clone()).set(behind as f64);
        metrics::gauge!("overlay_replica_lag_seconds", "replica" => label).set(lag.as_secs_f64());
        if lag > self.max_lag { Err(Unfit::Because("it is further behind than PG_READ_MAX_LAG_MS")) } else { Ok(()) }
    }
}

impl Replica {
    fn is_fit(&self) -> bool {
        self.is_fit.load(Ordering::Acquire)
    }

    fn is_resting(&self) -> bool {
        Instant::now() < *lock(&self.rests_until)
    }

    /// After a load that failed. A statement that was cancelled because replay needed its rows away fails alone.
    fn rest(&self, unfit: &Unfit) {
        match unfit {
            Unfit::Away(error) if !error.is_passing() => return,
            Unfit::Away(_) => *lock(&self.rests_until) = Instant::now() + REST,
            Unfit::Because(_) => {}
        }
        self.is_fit.store(false, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Unfit>>) -> Result<T, Unfit> {
    let late = || Unfit::Away(Error::unavailable("the replica took too long"));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// Looks at one replica again and again, and tells when that changes whether it is read.
async fn watch(replicas: Weak<Replicas>, index: usize) {
    let mut trail = Trail::default();
    let number = index + 1;
    while let Some(all) = replicas.upgrade() {
        let replica = &all.replicas[index];
        let seen = all.look(index, &mut trail).await;
        replica.is_fit.store(seen.is_ok() && !replica.is_resting(), Ordering::Release);
        metrics::gauge!("overlay_replica_fit", "replica" => number.to_string())
            .set(f64::from(u8::from(replica.is_fit())));
        let verdict = seen.as_ref().copied().map_err(Unfit::reason);
        if lock(&replica.verdict).replace(verdict) != Some(verdict) {
            match &seen {
                Ok(()) => tracing::info!("read replica {number} of PG_READ_URLS is read"),
                Err(Unfit::Away(error)) => {
                    tracing::warn!(?error, "read replica {number} of PG_READ_URLS is not read: it does not answer");
                }
                Err(Unfit::Because(reason)) => {
                    tracing::warn!("read replica {number} of PG_READ_URLS is not read: {reason}");
                }
            }
        }
        drop(all);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
