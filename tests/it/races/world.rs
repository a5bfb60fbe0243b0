//! What has been committed, as those who committed it know.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::harness::session;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// How many versions are raced for.
pub(super) const KEYS: usize = 12;

/// A version whose name counts its commits: `v<n>`.
pub(super) struct Thing {
    pub(super) id: String,
    /// The last count whose commit was acknowledged.
    pub(super) committed: AtomicU64,
    /// The highest count that anybody tried to commit.
    pub(super) attempted: AtomicU64,
    /// Tokens and times of acknowledgement by count.
    commits: Mutex<Vec<Option<Commit>>>,
}

/// The token that names a commit, if it has one, and when it was acknowledged.
type Commit = (Option<String>, Instant);

/// The versions raced for.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) things: Vec<Thing>,
    stopped: AtomicBool,
    paused: AtomicBool,
    /// Writers in the middle of something.
    busy: AtomicU64,
}

impl World {
    /// Takes the first versions of the market, all with count 0.
    pub(super) async fn open(pg_url: &str, seed: u64) -> Self {
        let session = session(pg_url).await;
        let sql = format!("select version_id from assets order by 1 limit {KEYS}");
        let rows = session.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.expect("query");
        let things: Vec<Thing> = rows
            .iter()
            .map(|row| Thing {
                id: row.try_get_by_index(0).expect("a text"),
                committed: AtomicU64::new(0),
                attempted: AtomicU64::new(0),
                commits: Mutex::new(vec![None]),
            })
            .collect();
        assert_eq!(things.len(), KEYS);
        for thing in &things {
            let sql =
                format!("update assets set name = 'v0', dataset_id = 'd/raced' where version_id = '{}'", thing.id);
            session.execute_unprepared(&sql).await.expect("update");
        }
        session.close().await.expect("close");
        Self { seed, things, stopped: AtomicBool::new(false), paused: AtomicBool::new(false), busy: AtomicU64::new(0) }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Lets nobody write until [`Self::go_on`]; answers when nobody does.
    pub(super) async fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        while self.busy.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn go_on(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Whether a writer may begin something; if so, it must say when it is [`Self::done`].
    pub(super) fn may_begin(&self) -> bool {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let may = !self.paused.load(Ordering::SeqCst);
        if !may {
            self.done();
        }
        may
    }

    pub(super) fn done(&self) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many commits were acknowledged.
    pub(super) fn commits(&self) -> u64 {
        self.things.iter().map(|thing| thing.committed.load(Ordering::SeqCst)).sum()
    }
}

impl Thing {
    /// Notes that the commit of `count` was acknowledged, and the token that names it; or that it was found done.
    pub(super) fn acknowledged(&self, count: u64, token: Option<String>) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let length = commits.len().max(count as usize + 1);
        commits.resize(length, None);
        commits[count as usize] = Some((token, Instant::now()));
        drop(commits);
        self.committed.fetch_max(count, Ordering::SeqCst);
    }

    /// Token and time of a commit.
    pub(super) fn at(&self, count: u64) -> Option<Commit> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).get(count as usize).cloned().flatten()
    }

    /// The last commit's count and token, if it has one.
    pub(super) fn token(&self) -> Option<(u64, String)> {
        let count = self.committed.load(Ordering::SeqCst);
        Some((count, self.at(count)?.0?))
    }
}

/// A small generator (xorshift64*, Vigna 2016): the same numbers from the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, who: u64) -> Self {
        Self((seed ^ who.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}
