//! The change feed's reader: polls `change_log` and moves the clock.
//!
//! One task, one connection of its own, one statement a poll, so that the rows read and the horizon published
//! belong to one snapshot. Demands made at the same time share a poll.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::{Notify, watch};

use super::changes::Changes;
use super::clock::{Clock, Epoch, History};
use super::poll::{self, Polled};
use super::token::{Consistency, Token};
use super::wake::{self, Wake};
use crate::db::{self, Commit, Db, epoch_token};
use crate::error::{Error, Kind, Result};

/// Longest time a poll may take before it counts as failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// Most times that other tasks are let run before a poll.
const LONGEST_GATHERING: usize = 8;

/// Copies the epoch's token into the log, for replicas to show. One statement, so that what is written into a server's log is
/// that server's own token, wherever the connection leads by now.
const MARK: &str = concat!(
    "insert into public.epoch_mark (token, timeline) \
     select own.token, own.timeline from (select ",
    epoch_token!(),
    " as token, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer as timeline \
     from public.cache_epoch) own \
     where not exists (select from public.epoch_mark m where (m.token, m.timeline) = (own.token, own.timeline)) \
     on conflict (\"only\") do update set token = excluded.token, timeline = excluded.timeline"
);

/// How often the feed polls.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// While there is traffic.
    pub busy: Duration,
    /// While there is none.
    pub idle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { busy: Duration::from_millis(5), idle: Duration::from_millis(50) }
    }
}

/// The outcome of the newest finished poll.
#[derive(Clone, Copy, Default)]
struct Finished {
    number: u64,
    succeeded: bool,
}

/// What the newest poll saw of the transactions that were running.
#[derive(Default)]
struct Running {
    horizon: u64,
    /// When that became the horizon.
    since: Option<Instant>,
}

/// The handle by which requests ask for freshness.
pub struct Feed {
    clock: Arc<Clock>,
    /// Number of the newest poll that has begun.
    begun: AtomicU64,
    /// In turns: who waits for the next poll is not woken by the one under way.
    finished: [watch::Sender<Finished>; 2],
    demand: Notify,
    traffic: AtomicBool,
    polls: AtomicU64,
    stopping: AtomicBool,
    running: Mutex<Running>,
    wake: Arc<Wake>,
    changes: Arc<Changes>,
}

impl Feed {
    /// Connects, takes a first poll, and keeps polling in the background until the handle is dropped.
    ///
    /// # Errors
    /// `unavailable` when PostgreSQL cannot be reached; `internal` when the schema is not migrated.
    pub async fn start(database: &db::Config, config: Config, clock: Arc<Clock>) -> Result<Arc<Self>> {
        let connection = db::connect(database, "feed", 1, 1).await?;
        let feed = Arc::new(Self {
            clock,
            begun: AtomicU64::new(0),
            finished: [(); 2].map(|()| watch::Sender::new(Finished::default())),
            demand: Notify::new(),
            traffic: AtomicBool::new(false),
            polls: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            running: Mutex::default(),
            wake: Arc::default(),
            changes: Arc::default(),
        });
        feed.poll(&connection).await?;
        tokio::spawn(run(Arc::downgrade(&feed), connection, config));
        let told = Arc::downgrade(&feed);
        wake::start(database.clone(), &feed.wake, move || {
            told.upgrade().map(|feed| feed.demand.notify_one()).is_some()
        });
        Ok(feed)
    }

    /// Whether `db`, which goes another way, leads to the server and database that this feed reads: what came from elsewhere
    /// would be judged by this clock.
    ///
    /// # Errors
    /// `unavailable` when it does not, or when nobody answers.
    pub async fn leads_here(&self, db: &Db) -> Result<()> {
        for _ in 0..3 {
            match poll::epoch_behind(db).await {
                Ok(epoch) if epoch == Some(self.clock.newest().epoch) => return Ok(()),
                Err(error) if error.kind() != Kind::Internal => return Err(error),
                // Another database may not even have the tables.
                Ok(_) | Err(_) => {}
            }
            // History may have begun anew meanwhile.
            self.reach(Consistency::Strong).await?;
        }
        Err(Error::unavailable(
            "PG_POOLER_URL leads to another server or database than PG_URL: let it lead to the same",
        ))
    }

    /// The clock this feed moves.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// What has changed lately.
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Polls taken so far.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Takes a commit of this process to its clock, and answers the token that names it: from here on the process's reads
    /// include the commit.
    pub async fn committed(&self, commit: &Commit) -> Token {
        let raise = || self.clock.committed(&commit.epoch, commit.xid, &commit.tags);
        let mut epoch = raise();
        if epoch.is_none() {
            // History began anew and the clock does not know it yet: its old marks say nothing of this commit.
            match self.catch_up().await {
                Ok(()) => epoch = raise(),
                Err(_) => self.clock.distrust(),
            }
        }
        // No epoch is named by zeros: such a token is read as `strong`.
        Token { epoch: epoch.unwrap_or(Epoch::NONE), xid: commit.xid }
    }

    /// Tells the other processes that something was committed: they poll now and not at their next interval. A hint,
    /// which may be lost; calls in a row are told once.
    pub fn wake_others(&self) {
        self.wake.others();
    }

    /// How long the horizon has been held back by a transaction that writes: what has changed since cannot be cached.
    pub fn horizon_age(&self) -> Duration {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Polls no more: the database is about to go.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.demand.notify_one();
    }

    /// Waits until reads are as fresh as `consistency` asks.
    ///
    /// # Errors
    /// `unavailable` when the feed cannot be read now: freshness cannot be promised.
    pub async fn reach(&self, consistency: Consistency) -> Result<()> {
        if !self.traffic.load(Ordering::Relaxed) {
            self.traffic.store(true, Ordering::Relaxed);
        }
        match consistency {
            Consistency::Bounded => Ok(()),
            Consistency::AtLeast(Token { epoch, xid }) if self.clock.has_seen(epoch, xid) => Ok(()),
            // A token of another epoch cannot be compared, so it is read as `strong`: both take a poll that begins now.
            Consistency::AtLeast(_) | Consistency::Strong => self.catch_up().await,
        }
    }

    /// Waits for a poll that began after this call. One that fails is tried again for a while: after a restart of PostgreSQL
    /// the first may still meet connections that were cut. One that was held up until it vouches for nothing any more is followed by
    /// another, once, and as patiently.
    async fn catch_up(&self) -> Result<()> {
        let (mut since, mut was_late) = (Instant::now(), false);
        loop {
            let wanted = self.begun.load(Ordering::SeqCst) + 1;
            let mut finished = self.finished[wanted as usize % 2].subscribe();
            self.demand.notify_one();
            let outcome = finished.wait_for(|done| done.number >= wanted).await;
            let outcome = outcome.map_err(|_| Error::unavailable("the server is shutting down"))?;
            if outcome.succeeded {
                if was_late || self.clock.is_trustworthy() {
                    return Ok(());
                }
                (since, was_late) = (Instant::now(), true);
                continue;
            }
            if since.elapsed() > POLL_TIMEOUT / 2 {
                return Err(Error::unavailable("the change feed cannot be read now"));
            }
        }
    }

    /// Whoever is about to ask shall ride along: while more and more do, the poll is put off, by as long as their asking takes.
    async fn gather(&self) {
        let next = &self.finished[(self.begun.load(Ordering::SeqCst) + 1) as usize % 2];
        let mut asking = 0;
        for _ in 0..LONGEST_GATHERING {
            tokio::task::yield_now().await;
            let now = next.receiver_count();
            if now <= asking {
                break;
            }
            asking = now;
        }
    }

    /// One poll: raise the slots, then publish the horizon.
    async fn poll(&self, connection: &DatabaseConnection) -> Result<()> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.polls.fetch_add(1, Ordering::Relaxed);
        let at = Instant::now();
        let advance = async {
            // A connection that was cut meanwhile is found out by its first use; the next use is of another.
            for _ in 0..2 {
                if self.advance(connection).await.is_ok() {
                    return Ok(());
                }
            }
            self.advance(connection).await
        };
        let outcome = match tokio::time::timeout(POLL_TIMEOUT, advance).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::unavailable("a poll of the change feed took too long")),
        };
        if outcome.is_ok() {
            self.clock.verified(at);
            metrics::histogram!("overlay_feed_poll_seconds").record(at.elapsed());
        }
        self.finished[number as usize % 2].send_replace(Finished { number, succeeded: outcome.is_ok() });
        outcome
    }

    fn note_running(&self, polled: &Polled) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if polled.horizon == polled.next {
            running.since = None;
        } else if running.horizon != polled.horizon || running.since.is_none() {
            running.since = Some(Instant::now());
        }
        running.horizon = polled.horizon;
    }

    async fn advance(&self, connection: &DatabaseConnection) -> Result<()> {
        let known = self.clock.history();
        let polled = Polled::read(connection, known.horizon()).await?;
        let epoch = polled.epoch(connection, &known).await?;
        self.note_running(&polled);
        if epoch == known.epoch {
            let from = known.horizon();
            polled.apply(&known);
            self.tell(epoch, from, polled);
            return Ok(());
        }
        // Another epoch: transaction ids may have been used twice, so nothing of the old clock can be kept. The log is
        // read from its beginning; should the epoch change again meanwhile, the next poll finds out.
        let polled = Polled::read(connection, 0).await?;
        let epoch = polled.epoch(connection, &known).await?;
        connection.execute_unprepared(MARK).await?;
        let fresh = History::new(epoch, polled.token.as_str());
        polled.apply(&fresh);
        tracing::info!(%epoch, horizon = fresh.horizon(), "a new epoch of the database's history");
        metrics::counter!("overlay_feed_epochs_total").increment(1);
        self.clock.begin(fresh);
        self.tell(epoch, 0, polled);
        Ok(())
    }

    /// Passes on what a poll from `from` on saw, after the clock knows it: who is told of a change finds it.
    fn tell(&self, epoch: Epoch, from: u64, polled: Polled) {
        let begins = from.max(polled.unread_below());
        self.changes.take(epoch, begins, polled.horizon, polled.changes);
    }
}

async fn run(feed: std::sync::Weak<Feed>, connection: DatabaseConnection, config: Config) {
    let mut last_traffic = Instant::now();
    let mut failing = false;
    loop {
        let Some(feed) = feed.upgrade() else { break };
        if feed.traffic.swap(false, Ordering::Relaxed) {
            last_traffic = Instant::now();
        }
        let pause = if last_traffic.elapsed() < Duration::from_secs(1) { config.busy } else { config.idle };
        // An early wake-up is the point: a timeout here is the normal case.
        let _elapsed = tokio::time::timeout(pause, feed.demand.notified()).await;
        feed.gather().await;
        if feed.stopping.load(Ordering::SeqCst) {
            break;
        }
        match feed.poll(&connection).await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the change feed can be read again");
            }
            Ok(()) => {}
            Err(error) => {
                metrics::counter!("overlay_feed_errors_total").increment(1);
                if !failing {
                    failing = true;
                    tracing::error!(?error, "the change feed cannot be read; caches are bypassed once it is too old");
                }
                // Without a pause a refused connection would be a busy loop.
                tokio::time::sleep(config.idle).await;
            }
        }
    }
    db::close(&connection).await;
}
