//! The change feed's reader: polls `change_log` and moves the clock.
//!
//! One task, one connection of its own, one statement a poll, so that the rows read and the horizon published
//! belong to one snapshot. Demands made at the same time share a poll.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, FromQueryResult, Statement};
use tokio::sync::{Notify, watch};

use super::clock::{Clock, Epoch, History};
use super::token::{Consistency, Token};
use super::wake::{self, Wake};
use crate::db::{self, Commit, epoch_token};
use crate::error::{Error, Result};

/// Most rows one poll reads. A gap longer than this raises the floor instead, so that a start is quick.
const MAX_ROWS: usize = 200_000;

/// Longest time a poll may take before it counts as failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads from `$1` on (never below what is pruned), newest first; the horizon is on every row, and there is always one.
const POLL: &str = concat!(
    "select pg_snapshot_xmin(pg_current_snapshot())::text as horizon, \
            pg_snapshot_xmax(pg_current_snapshot())::text as next, ",
    epoch_token!(),
    " as token, cache_epoch.pruned_below::text as pruned_below, c.xid::text as xid, c.tags \
    from (select 1) as one \
    left join public.cache_epoch on true \
    left join lateral (select xid, tags from public.change_log \
                       where xid >= $1::text::xid8 order by xid desc limit 200000) c on true"
);

/// Begins a history. Nothing older than its beginning can be vouched for: a transaction that was prepared before a crash
/// ends after it, and its note in the feed is gone.
const BEGIN: &str = "insert into public.cache_epoch (pruned_below) \
    values (pg_snapshot_xmax(pg_current_snapshot())) on conflict do nothing";

/// Ends a history that is not this database's. A dump that was restored into a cluster with smaller transaction ids
/// carries marks from a future that may never come, and nothing below them could be vouched for; one that was restored
/// piece by piece may leave two tokens.
const DISOWN: &str = "delete from public.cache_epoch; insert into public.cache_epoch (pruned_below) \
    values (pg_snapshot_xmax(pg_current_snapshot())); delete from public.change_log where xid >= pg_snapshot_xmax(pg_current_snapshot())";

/// A database that was cloned from a template, or restored from a dump, carries its original's token: the identifiers of
/// database and table tell them apart. The table's is read with each poll, since a restore may replace the tables under us.
const EPOCH: &str = "select (select system_identifier::text from pg_control_system()) as system, \
    (select oid::text from pg_database where datname = current_database()) as database";

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

#[derive(FromQueryResult)]
struct PollRow {
    horizon: String,
    next: String,
    token: Option<String>,
    pruned_below: Option<String>,
    xid: Option<String>,
    tags: Option<Vec<String>>,
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
        });
        feed.poll(&connection).await?;
        tokio::spawn(run(Arc::downgrade(&feed), connection, config));
        let told = Arc::downgrade(&feed);
        wake::start(database.clone(), &feed.wake, move || {
            told.upgrade().map(|feed| feed.demand.notify_one()).is_some()
        });
        Ok(feed)
    }

    /// The clock this feed moves.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
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
    /// the first may still meet connections that were cut.
    async fn catch_up(&self) -> Result<()> {
        let since = Instant::now();
        loop {
            let wanted = self.begun.load(Ordering::SeqCst) + 1;
            let mut finished = self.finished[wanted as usize % 2].subscribe();
            self.demand.notify_one();
            let outcome = finished.wait_for(|done| done.number >= wanted).await;
            let outcome = outcome.map_err(|_| Error::unavailable("the server is shutting down"))?;
            if outcome.succeeded {
                return Ok(());
            }
            if since.elapsed() > POLL_TIMEOUT / 2 {
                return Err(Error::unavailable("the change feed cannot be read now"));
            }
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
            polled.apply(&known);
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
        Ok(())
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
        tokio::task::yield_now().await; // Whoever is about to ask shall ride along.
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
    connection.get_postgres_connection_pool().close().await;
}

/// What one statement saw.
pub(super) struct Polled {
    pub(super) horizon: u64,
    /// The snapshot's `xmax`: every transaction from it on was unfinished.
    pub(super) next: u64,
    pub(super) token: String,
    pub(super) pruned_below: u64,
    pub(super) changes: Vec<(u64, Vec<String>)>,
}

impl Polled {
    async fn read(connection: &DatabaseConnection, from: u64) -> Result<Self> {
        // Few times at most: an empty `cache_epoch` means that history begins anew, and whoever finds it so names it.
        for _ in 0..3 {
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, POLL, [from.to_string().into()]);
            let rows = connection.query_all_raw(statement).await?;
            let rows: Vec<PollRow> =
                rows.iter().map(|r| PollRow::from_query_result(r, "")).collect::<Result<_, _>>()?;
            let first = rows.first().ok_or_else(|| Error::internal("the poll answered no row"))?;
            let (Some(token), Some(pruned_below)) = (first.token.clone(), &first.pruned_below) else {
                connection.execute_unprepared(BEGIN).await?;
                continue;
            };
            let is_torn = rows.iter().any(|row| row.token != first.token);
            let (horizon, next) = (number(&first.horizon)?, number(&first.next)?);
            let pruned_below = number(pruned_below)?;
            let changes = rows
                .into_iter()
                .filter_map(|row| Some((row.xid?, row.tags?)))
                .map(|(xid, tags)| Ok((number(&xid)?, tags)))
                .collect::<Result<Vec<_>>>()?;
            // A next transaction below a horizon that was seen: the files are those of an earlier time.
            if is_torn || next < from || pruned_below > next || changes.iter().any(|(xid, _)| *xid >= next) {
                tracing::warn!(pruned_below, next, "the change feed holds another database's history: beginning anew");
                connection.execute_unprepared(DISOWN).await?;
                continue;
            }
            return Ok(Self { horizon, next, token, pruned_below, changes });
        }
        Err(Error::internal("the epoch token vanished again and again"))
    }

    /// The epoch this poll belongs to. The server is asked for its identity only when the token is not the known one.
    async fn epoch(&self, connection: &DatabaseConnection, known: &History) -> Result<Epoch> {
        if known.token == self.token {
            return Ok(known.epoch);
        }
        #[derive(FromQueryResult)]
        struct Identity {
            system: String,
            database: String,
        }
        let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, EPOCH)).await?;
        let row = row.ok_or_else(|| Error::internal("the server did not name itself"))?;
        let identity = Identity::from_query_result(&row, "")?;
        Ok(Epoch::new(&identity.system, &identity.database, &self.token))
    }

    /// Raises the history's slots and floor, then publishes the horizon: a reader that sees the new horizon must see
    /// every change below it.
    pub(super) fn apply(&self, history: &History) {
        if self.pruned_below > history.horizon() {
            history.raise_floor(self.pruned_below);
        }
        if self.changes.len() >= MAX_ROWS {
            // Some rows were left unread, perhaps even of the lowest transaction read.
            let lowest = self.changes.iter().map(|(xid, _)| *xid).min().unwrap_or(0);
            history.raise_floor(lowest + 1);
        }
        for (xid, tags) in &self.changes {
            for tag in tags {
                history.raise(*xid, tag);
            }
        }
        history.publish(self.horizon);
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|e| Error::internal(format!("not a transaction id: {text:?}: {e}")))
}
