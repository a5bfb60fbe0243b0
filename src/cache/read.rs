//! Reading through the cache: memory, Redis, load; each hit checked against the clock.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::Instrument;

use super::counts::{Look, count};
use super::entry::{Age, Entry, Loaded};
use super::flight::{Flight, Flights};
use super::key::{Cached, Key};
use super::ledger::{Ledger, Outcome};
use super::merge::Merge;
use super::outage::Outage;
use super::store::memory::Memory;
use super::store::redis::Redis;
use super::ttl::{Kind, Ttls};
use super::worth::{Quota, UNWANTED, Worth};
use crate::coherence::{Clock, Moment, Replicas, Slots, Tag};
use crate::db::{Db, tally};
use crate::error::{Error, Result};

/// Sizes and times of the cache.
#[derive(Debug, Clone)]
pub struct Config {
    /// Most bytes of process memory.
    pub memory_bytes: u64,
    /// Times to live.
    pub ttls: Ttls,
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) clock: Arc<Clock>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) memory: Arc<Memory>,
    pub(super) redis: Option<Redis>,
    flights: Arc<Flights>,
    /// Of Redis, for each kind.
    pub(super) worth: Arc<[Worth; Kind::ALL]>,
    pub(super) ttls: Ttls,
    pub(super) outage: Arc<Outage>,
    /// Values that wider queries brought along, and that are written to Redis.
    brought: Quota,
    /// Whether nothing that is read through it is shared with other processes.
    is_private: bool,
}

/// A batch loader: answers one [`Loaded`] for each identifier, in order. No identifier comes twice.
pub trait Load<I, V>: Fn(Vec<I>) -> BoxFuture<'static, Result<Vec<Loaded<V>>>> + Clone + Send + Sync + 'static {}

impl<I, V, F> Load<I, V> for F where
    F: Fn(Vec<I>) -> BoxFuture<'static, Result<Vec<Loaded<V>>>> + Clone + Send + Sync + 'static
{
}

/// Least time between two looks whether PostgreSQL still answers.
const LOOK: Duration = Duration::from_millis(100);

impl Cache {
    /// A cache over `clock`, with Redis when there is one; what it misses is loaded from `replicas` where those are fresh.
    /// `db` is asked whether PostgreSQL is there when the feed cannot tell.
    pub fn new(clock: Arc<Clock>, db: Db, replicas: Arc<Replicas>, redis: Option<Redis>, config: Config) -> Self {
        let memory = Memory::new(config.memory_bytes);
        let worth = std::array::from_fn(|_| Worth::new(memory.is_off()));
        Self {
            inner: Arc::new(Inner {
                clock,
                replicas,
                memory: Arc::new(memory),
                redis,
                flights: Arc::default(),
                worth: Arc::new(worth),
                ttls: config.ttls,
                outage: Arc::new(Outage::of(db)),
                brought: Quota::default(),
                is_private: false,
            }),
        }
    }

    /// The same cache, as far as it is in process memory: what is read through it is not shared with other processes, nor are
    /// finished answers made of it.
    #[must_use]
    pub fn unshared(&self) -> Self {
        let Inner { clock, replicas, memory, flights, worth, ttls, outage, .. } = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                clock: clock.clone(),
                replicas: replicas.clone(),
                memory: memory.clone(),
                redis: None,
                flights: flights.clone(),
                worth: worth.clone(),
                ttls: ttls.clone(),
                outage: outage.clone(),
                brought: Quota::default(),
                is_private: true,
            }),
        }
    }

    /// Whether PostgreSQL answers.
    pub(super) fn outage(&self) -> &Arc<Outage> {
        &self.inner.outage
    }

    /// Ends when PostgreSQL stops answering. Never, where it had before: whoever comes then is not kept waiting for it.
    pub async fn lost(&self) {
        let Inner { clock, outage, .. } = &*self.inner;
        if !clock.is_trustworthy() {
            std::future::pending::<()>().await;
        }
        loop {
            // Not before it may have been silent for so long: thousands may be waiting.
            tokio::time::sleep(clock.until_ageing().max(LOOK)).await;
            if clock.until_ageing().is_zero() && !outage.answers().await {
                return;
            }
        }
    }

    /// The read replicas.
    pub fn replicas(&self) -> &Replicas {
        &self.inner.replicas
    }

    /// Redis, when there is one.
    pub fn redis(&self) -> Option<&Redis> {
        self.inner.redis.as_ref()
    }

    /// Deletes keys in Redis, soon or never. No read needs it: the clock refuses what is no longer true.
    pub fn forget(&self, keys: impl IntoIterator<Item = Arc<str>>) {
        if let Some(redis) = self.redis() {
            redis.forget(keys);
        }
    }

    /// The clock that entries are checked against.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.inner.clock
    }

    /// The times to live.
    pub fn ttls(&self) -> &Ttls {
        &self.inner.ttls
    }

    /// Entries and bytes held in memory.
    pub fn memory_size(&self) -> (usize, u64) {
        self.inner.memory.size()
    }

    /// The values of `ids`, in order; `None` for what does not exist. `key` names an identifier's value, `load` reads
    /// those that no cache has, all in one call.
    ///
    /// # Errors
    /// What `load` answers, or `internal` when it panics.
    pub async fn get_many<I, V>(
        &self, ledger: &Ledger, ids: &[I], key: impl Fn(&I) -> Key<V>, load: impl Load<I, V>,
    ) -> Result<Vec<Option<Arc<V>>>>
    where
        I: Clone + Send + Sync + 'static,
        V: Cached,
    {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let inner = &self.inner;
        if inner.is_private {
            ledger.private();
        }
        let keys: Vec<Key<V>> = ids.iter().map(key).collect();
        if ledger.is_audit() {
            return inner.uncached(ledger, ids, &keys, load).await;
        }
        if !inner.clock.is_trustworthy() {
            return inner.unverified(ledger, ids, &keys, load).await;
        }
        let arrived = inner.flights.newest();
        let mut found: Vec<Option<Option<Arc<V>>>> = vec![None; ids.len()];
        let (mut missing, mut due) = (Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate() {
            match inner.remembered::<V>(key, ledger) {
                Some((value, Age::Due)) => {
                    found[index] = Some(value);
                    due.push(index);
                }
                Some((value, _)) => found[index] = Some(value),
                None => missing.push(index),
            }
        }
        if !due.is_empty() {
            inner.board(&due, ids, &keys, &load, Why::Refresh);
        }
        let begun = Instant::now();
        // Once round is the rule. A passenger whose flight took off before it came, with a value that has changed
        // since, goes again; the next flight took off after it came. Lost flights are tried a few times.
        for _ in 0..4 {
            if missing.is_empty() {
                break;
            }
            let seats = inner.board(&missing, ids, &keys, &load, Why::Miss);
            let mut again = Vec::new();
            for (index, seat) in missing.iter().copied().zip(seats) {
                // One after another: the flights are under way all the same, and as a rule it is one.
                let number = seat.number;
                let Some(landing) = seat.landed().await else {
                    again.push(index);
                    continue;
                };
                let (entry, outcome) = landing?;
                let moment = inner.clock.renewed(entry.moment, &entry.tags);
                if number <= arrived && moment.is_none() {
                    again.push(index);
                    continue;
                }
                ledger.read(outcome, &entry, moment.unwrap_or(entry.moment));
                found[index] = Some(entry.value().map_err(|()| wrong_type(&keys[index]))?);
            }
            missing = again;
        }
        ledger.waited(begun.elapsed());
        found.into_iter().collect::<Option<_>>().ok_or_else(|| Error::internal("a load was lost four times"))
    }

    /// The values of `ids`, in order, where one query finds what there is; `tags` names what a value, or its absence,
    /// depends on.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn find_many<I, V>(
        &self, ledger: &Ledger, ids: &[I], key: impl Fn(&I) -> Key<V>, tags: fn(&I) -> Vec<Tag>, find: &Merge<I, V>,
    ) -> Result<Vec<Option<Arc<V>>>>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
        V: Cached + Clone,
    {
        let find = find.clone();
        let load = move |ids: Vec<I>| {
            let find = find.clone();
            async move {
                let mut found = find.find(ids.clone()).await?;
                Ok(ids.iter().map(|id| Loaded { value: found.remove(id), tags: tags(id) }).collect())
            }
            .boxed()
        };
        self.get_many(ledger, ids, key, load).await
    }

    /// Keeps values that a wider query brought along: in memory and, as long as there are few, in Redis. Nobody has asked
    /// for them by name yet, and when the server is busy, writing pages of them takes longer than their queries. `moment`
    /// was taken before that query began.
    pub fn prime<V: Cached>(&self, moment: Moment, values: Vec<(Key<V>, Loaded<V>)>) {
        if !self.inner.clock.is_trustworthy() {
            return;
        }
        let most = if self.inner.worth[V::KIND as usize].is_wanted() { BROUGHT } else { UNWANTED };
        let shared = self.inner.memory.is_off() || self.inner.brought.admits(values.len(), most);
        for (key, loaded) in values {
            if !shared {
                self.inner.remember(key.text(), moment, loaded);
            } else if let Err(error) = self.inner.keep(key.text(), moment, loaded, true) {
                tracing::warn!(?key, ?error, "a value could not be kept");
            }
        }
    }

    /// The value of one key; `None` when it does not exist.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn get<V, F>(
        &self, ledger: &Ledger, key: Key<V>, load: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> Result<Option<Arc<V>>>
    where
        V: Cached,
        F: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        let one = move |_: Vec<()>| {
            let load = load();
            async move { Ok(vec![load.await?]) }.boxed()
        };
        let found = self.get_many(ledger, &[()], |()| key.clone(), one).await?;
        Ok(found.into_iter().next().flatten())
    }
}

/// Most values a second that are written to Redis without having been asked for.
const BROUGHT: u64 = 1_000;

/// Why a flight is flown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody has the value in memory: Redis may.
    Miss,
    /// The value is old by age: only PostgreSQL has a younger one.
    Refresh,
}

impl Inner {
    /// A valid entry in memory.
    fn remembered<V: Cached>(&self, key: &Key<V>, ledger: &Ledger) -> Option<(Option<Arc<V>>, Age)> {
        let Some(entry) = self.memory.get(key.text()) else {
            count(V::KIND, Look::MemoryMiss);
            return None;
        };
        let Some(moment) = self.clock.renewed(entry.moment, &entry.tags) else {
            count(V::KIND, Look::MemoryInvalid);
            blame(&self.clock, &entry);
            spare(&self.clock, entry.moment, entry.tags.slots());
            return None;
        };
        let age = entry.age(self.ttls.grace_ms());
        let (outcome, look) = match age {
            Age::Over => {
                count(V::KIND, Look::MemoryExpired);
                return None;
            }
            Age::Due => (Outcome::Stale, Look::MemoryStale),
            Age::Fresh => (Outcome::Hit, if entry.is_negative() { Look::MemoryNegative } else { Look::MemoryHit }),
        };
        let value = entry.value().ok()?;
        count(V::KIND, look);
        ledger.read(outcome, &entry, moment);
        Some((value, age))
    }

    /// Seats for the keys at `indices`; starts the flight for those nobody is loading yet. The flight is a task of its
    /// own: a caller that goes away does not take the others' load with it.
    fn board<I, V>(
        self: &Arc<Self>, indices: &[usize], ids: &[I], keys: &[Key<V>], load: &impl Load<I, V>, why: Why,
    ) -> Vec<super::flight::Seat>
    where
        I: Clone + Send + Sync + 'static,
        V: Cached,
    {
        let (seats, flight) = self.flights.board(indices.iter().map(|i| keys[*i].text().clone()));
        let own = flight.as_ref().map(Flight::number);
        let joined = seats.iter().filter(|seat| Some(seat.number) != own).count();
        if joined > 0 {
            metrics::counter!("overlay_flights_joined_total", "kind" => V::KIND.label()).increment(joined as u64);
            tally::note(|tally| tally.add_joined(joined));
        }
        if let Some(flight) = flight {
            let ids = flight.legs().iter().map(|leg| ids[indices[leg.index]].clone()).collect();
            let (inner, load) = (self.clone(), load.clone());
            let lock = flight.only_leg().and_then(|leg| keys[indices[leg.index]].lock().cloned());
            let span = tracing::info_span!("cache.load", kind = V::KIND.label(), keys = flight.legs().len());
            let flown = async move { inner.fly(flight, ids, load, why, lock).await }.instrument(span);
            match why {
                Why::Miss => tokio::spawn(tally::carried(flown)),
                // Nobody waits for it.
                Why::Refresh => tokio::spawn(flown),
            };
        }
        seats
    }
}

pub(super) fn wrong_type<V: Cached>(key: &Key<V>) -> Error {
    Error::internal(format!("two types share the key {key:?}"))
}

/// Notes the kind of tag that made a value invalid: the first that changed, or `epoch` when all of history is another.
fn blame(clock: &Clock, entry: &Entry) {
    let changed = entry
        .tags
        .names()
        .iter()
        .find(|tag| clock.has_changed(entry.moment, tag))
        .filter(|_| entry.moment.epoch == clock.moment().epoch);
    let kind = changed.map_or("epoch", Tag::kind).to_owned();
    metrics::counter!("overlay_cache_invalid_total", "tag" => kind).increment(1);
}

/// Notes a value that was found invalid, with the chance that only a collision of tags in the clock made it so.
pub(super) fn spare(clock: &Clock, moment: Moment, slots: &Slots) {
    metrics::gauge!("overlay_cache_spare_misses_estimated").increment(clock.collision(moment, slots));
}
