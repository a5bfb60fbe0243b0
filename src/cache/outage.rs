//! What is read while nothing cached can be verified, because the change feed is too old.
//!
//! As long as PostgreSQL answers, it is asked. When it does not, what the caches have is served, marked as unverified:
//! it was right when the feed was last read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counts::{Look, count};
use super::entry::{self, Age, Entry, Loaded, now_ms};
use super::key::{Cached, Key};
use super::ledger::{Ledger, Outcome};
use super::read::{Inner, Load, wrong_type};
use super::store::redis::Redis;
use crate::error::{Error, Kind as Fault, Result};

/// Longest wait for PostgreSQL where a cached value could be served instead.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long PostgreSQL counts as away after it did not answer, ms; then one read tries again.
const AWAY_MS: u64 = 1_000;

/// Until when PostgreSQL counts as away.
#[derive(Default)]
pub(super) struct Outage {
    until_ms: AtomicU64,
}

impl Outage {
    /// Whether this read should try PostgreSQL: all may while it answers; when it does not, one now and then.
    fn may_try(&self) -> bool {
        let (now, until) = (now_ms(), self.until_ms.load(Ordering::Relaxed));
        until == 0
            || now >= until
                && self.until_ms.compare_exchange(until, now + AWAY_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn answered(&self) {
        self.until_ms.store(0, Ordering::Relaxed);
    }

    fn did_not_answer(&self) {
        self.until_ms.store(now_ms() + AWAY_MS, Ordering::Relaxed);
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
            Some(known) if !self.outage.may_try() => self.serve(ledger, known, &unique.keys)?,
            Some(known) => match tokio::time::timeout(PATIENCE, load(wanted)).await {
                Ok(Err(error)) if !matches!(error.kind(), Fault::Unavailable | Fault::Timeout) => return Err(error),
                Ok(Ok(loaded)) => {
                    self.outage.answered();
                    self.fresh(ledger, loaded)
                }
                Ok(Err(_)) | Err(_) => {
                    self.outage.did_not_answer();
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
