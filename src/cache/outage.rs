//! What is read while nothing cached can be verified, because the change feed is too old.
//!
//! As long as PostgreSQL answers, it is asked. When it does not, what the caches have is served, marked as unverified:
//! it was right when the feed was last read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::counts::{Look, count};
use super::entry::{self, Age, Entry, Loaded, now_ms};
use super::key::{Cached, Key};
use super::ledger::{Ledger, Outcome};
use super::read::{Inner, Load, wrong_type};
use super::store::redis::Redis;
use crate::db::Db;
use crate::error::{Error, Result};

/// Longest wait for what PostgreSQL is asked, where a cached value could be served instead.
const PATIENCE: Duration = Duration::from_millis(250);

/// Longest wait for the answer whether PostgreSQL answers at all.
const PING: Duration = Duration::from_millis(50);

/// How long it is taken for known that it does or does not, ms.
const KNOWN_MS: u64 = 1_000;

/// Whether PostgreSQL answers, asked only while the feed is too old to tell.
pub(super) struct Outage {
    db: Db,
    /// Until when that is known, ms, and in the lowest bit the answer.
    known: AtomicU64,
    asking: Mutex<()>,
}

impl Outage {
    pub(super) fn of(db: Db) -> Self {
        Self { db, known: AtomicU64::new(1), asking: Mutex::default() }
    }

    /// Readers wait for this when nothing is known, all for the same question. Once PostgreSQL is away, nobody does: it is asked
    /// in the background whether it is back.
    pub(super) async fn answers(self: &Arc<Self>) -> bool {
        if let Some(known) = self.known() {
            return known;
        }
        let _turn = self.asking.lock().await;
        match self.known() {
            Some(known) => known,
            None => self.ask(PING).await,
        }
    }

    fn known(self: &Arc<Self>) -> Option<bool> {
        let known = self.known.load(Ordering::Relaxed);
        let (now, until, answers) = (now_ms(), known >> 1, known & 1 == 1);
        if now < until {
            return Some(answers);
        }
        if answers || now >= until + KNOWN_MS {
            return None;
        }
        let longer = (now + KNOWN_MS) << 1;
        if self.known.compare_exchange(known, longer, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let own = self.clone();
            tokio::spawn(async move { own.ask(Duration::from_millis(KNOWN_MS)).await });
        }
        Some(false)
    }

    async fn ask(&self, patience: Duration) -> bool {
        let answers = tokio::time::timeout(patience, self.db.ping()).await.is_ok_and(|answer| answer.is_ok());
        self.note(answers);
        answers
    }

    fn note(&self, answers: bool) {
        self.known.store((now_ms() + KNOWN_MS) << 1 | u64::from(answers), Ordering::Relaxed);
    }
}

/// The identifiers of a batch without repetitions: loaders are promised that none comes twice.
struct Unique<'k, I, V> {
    ids: Vec<I>,
    keys: Vec<&'k Key<V>>,
    places: HashMap<&'k str, usize>,
}

impl<'k, I: Clone, V: Cached> Unique<'k, I, V> {
    fn of(ids: &[I], keys: &'k [Key<V>]) -> Self {
        let mut unique = Self { ids: Vec::new(), keys: Vec::new(), places: HashMap::new() };
        for (id, key) in ids.iter().zip(keys) {
            unique.places.entry(key.text()).or_insert_with(|| {
                unique.ids.push(id.clone());
                unique.keys.push(key);
                unique.ids.len() - 1
            });
        }
        unique
    }

    /// The values in the order of the batch.
    fn spread(&self, keys: &[Key<V>], values: &[Option<Arc<V>>]) -> Result<Vec<Option<Arc<V>>>> {
        let value = |key: &Key<V>| values.get(self.places[&**key.text()]).cloned();
        keys.iter().map(value).collect::<Option<_>>().ok_or_else(|| Error::internal("a loader lost count"))
    }
}

impl Inner {
    /// Asks PostgreSQL itself and keeps nothing.
    pub(super) async fn uncached<I: Clone, V: Cached>(
        &self, ledger: &Ledger, ids: &[I], keys: &[Key<V>], load: impl Load<I, V>,
    ) -> Result<Vec<Option<Arc<V>>>> {
        let unique = Unique::of(ids, keys);
        let loaded = load(unique.ids.clone()).await?;
        unique.spread(keys, &self.fresh(ledger, loaded))
    }

    /// Asks PostgreSQL itself and keeps nothing; without it, what the caches have is served and noted as unverified.
    pub(super) async fn unverified<I: Clone, V: Cached>(
        &self, ledger: &Ledger, ids: &[I], keys: &[Key<V>], load: impl Load<I, V>,
    ) -> Result<Vec<Option<Arc<V>>>> {
        let unique = Unique::of(ids, keys);
        let wanted = unique.ids.clone();
        let values = match self.last_known(&unique.keys).await {
            None => self.fresh(ledger, load(wanted).await?),
            Some(known) if !self.outage.answers().await => self.serve(ledger, known, &unique.keys)?,
            Some(known) => match tokio::time::timeout(PATIENCE, load(wanted)).await {
                Ok(Err(error)) if !error.is_passing() => return Err(error),
                Ok(Ok(loaded)) => {
                    self.outage.note(true);
                    self.fresh(ledger, loaded)
                }
                Ok(Err(_)) | Err(_) => {
                    self.outage.note(false);
                    self.serve(ledger, known, &unique.keys)?
                }
            },
        };
        unique.spread(keys, &values)
    }

    /// The entries of all keys that were right when the feed was last read; `None` unless there is one for each.
    async fn last_known<V: Cached>(&self, keys: &[&Key<V>]) -> Option<Vec<Arc<Entry>>> {
        let is_servable = |entry: &Entry| {
            self.clock.is_valid(entry.moment, &entry.tags) && entry.age(self.ttls.grace_ms()) != Age::Over
        };
        let mut found: Vec<Option<Arc<Entry>>> =
            keys.iter().map(|key| self.memory.get(key.text()).filter(|e| is_servable(e))).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|i| found[*i].is_none()).collect();
        if let (false, Some(redis)) = (missing.is_empty(), Redis::connected(self.redis.as_ref())) {
            let names: Vec<&str> = missing.iter().map(|i| &**keys[*i].text()).collect();
            for (index, bytes) in missing.iter().zip(redis.get_many(&names).await) {
                let entry = bytes.and_then(|bytes| entry::decode::<V>(keys[*index].text(), &bytes));
                found[*index] = entry.filter(|e| is_servable(e)).map(Arc::new);
            }
        }
        found.into_iter().collect()
    }

    fn serve<V: Cached>(
        &self, ledger: &Ledger, known: Vec<Arc<Entry>>, keys: &[&Key<V>],
    ) -> Result<Vec<Option<Arc<V>>>> {
        count(V::KIND, Look::LoadUnverified);
        ledger.unverified();
        known.iter().zip(keys).map(|(entry, key)| entry.value().map_err(|()| wrong_type(key))).collect()
    }

    fn fresh<V: Cached>(&self, ledger: &Ledger, loaded: Vec<Loaded<V>>) -> Vec<Option<Arc<V>>> {
        count(V::KIND, Look::LoadBypass);
        ledger.live(Outcome::Miss);
        loaded.into_iter().map(|l| l.value.map(Arc::new)).collect()
    }
}
