//! A load's flight: Redis, a replica, the primary; and what becomes of what it brings.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::counts::{Look, count};
use super::entry::{self, Age, Entry, Loaded};
use super::flight::{Flight, Landing};
use super::key::Cached;
use super::ledger::Outcome;
use super::lock::{self, Turn};
use super::read::{Inner, Load, Why};
use super::replica;
use super::store::redis::{Redis, Write};
use crate::coherence::{Moment, Tags};
use crate::error::{Error, Result};

/// A load that takes longer than this may have been spared by Redis, had it been asked.
const LONG: Duration = Duration::from_millis(50);

/// The landing of what Redis had.
fn hit(entry: Option<Arc<Entry>>) -> Option<Landing> {
    entry.map(|entry| Ok((entry, Outcome::Hit)))
}

impl Inner {
    pub(super) async fn fly<I, V>(
        self: Arc<Self>, flight: Flight, ids: Vec<I>, load: impl Load<I, V>, why: Why, lock: Option<Arc<str>>,
    ) where
        I: Clone + Send + Sync + 'static,
        V: Cached,
    {
        // What costs much to build is worth it in any case.
        let (worth, is_composite) = (&self.worth[V::KIND as usize], lock.is_some());
        let asks = why == Why::Miss && (is_composite || worth.is_worth_asking());
        let mut landings: Vec<Option<Landing>> = vec![None; ids.len()];
        if asks {
            landings = self.shared::<V>(&flight).await.into_iter().map(hit).collect();
            let has_some = landings.iter().any(Option::is_some);
            if has_some || !is_composite {
                worth.learn(has_some);
            }
        } else if why == Why::Miss {
            ids.iter().for_each(|_| count(V::KIND, Look::RedisUnasked));
        }
        // Let go however the flight ends; what `keep` has put is queued before that.
        let mut _held = None;
        if let (Some(lock), [None]) = (&lock, &landings[..]) {
            match lock::turn(self.redis.as_ref(), lock, || self.shared::<V>(&flight)).await {
                Turn::Found(entry) => landings[0] = Some(Ok((entry, Outcome::Hit))),
                Turn::Build(held) => _held = held,
            }
        }
        let mut missing: Vec<usize> = (0..ids.len()).filter(|i| landings[*i].is_none()).collect();
        if !missing.is_empty() && !self.replicas.is_empty() {
            let wanted = missing.iter().map(|i| ids[*i].clone()).collect();
            if let Some((moment, loaded)) = replica::load(&self.replicas, wanted, &load).await {
                for (index, loaded) in missing.iter().zip(loaded) {
                    let key = &flight.legs()[*index].key;
                    landings[*index] = loaded.map(|loaded| self.keep(key, moment, loaded, is_composite));
                }
                missing.retain(|i| landings[*i].is_none());
            }
        }
        if !missing.is_empty() {
            // The moment before the first query: whatever commits from here on may or may not be in the answer.
            let moment = self.clock.moment();
            let mut loading = load(missing.iter().map(|i| ids[*i].clone()).collect());
            let mut loaded = None;
            if why == Why::Miss && !asks {
                loaded = tokio::time::timeout(LONG, &mut loading).await.ok();
                // Redis may have what PostgreSQL takes long for, or cannot be asked for just now.
                if loaded.as_ref().is_none_or(|loaded| loaded.as_ref().is_err_and(Error::is_passing)) {
                    let found = self.shared::<V>(&flight).await;
                    worth.learn(found.iter().any(Option::is_some));
                    landings
                        .iter_mut()
                        .zip(found)
                        .for_each(|(landing, found)| *landing = landing.take().or(hit(found)));
                }
            }
            if landings.iter().any(Option::is_none) {
                let loaded = match loaded {
                    Some(loaded) => loaded,
                    None => loading.await,
                };
                self.fill(&flight, &mut landings, &missing, moment, loaded, is_composite);
            }
        }
        flight.land(
            landings.into_iter().map(|l| l.unwrap_or_else(|| Err(Error::internal("a leg was not flown")))).collect(),
        );
    }

    /// What has landed of `missing` when it was `loaded`; what was found meanwhile stands beside an error.
    fn fill<V: Cached>(
        &self, flight: &Flight, landings: &mut [Option<Landing>], missing: &[usize], moment: Moment,
        loaded: Result<Vec<Loaded<V>>>, in_any_case: bool,
    ) {
        let is_whole = |loaded: Vec<Loaded<V>>| match loaded.len() == missing.len() {
            true => Ok(loaded),
            false => Err(Error::internal("a loader lost count")),
        };
        match loaded.and_then(is_whole) {
            Ok(loaded) => {
                for (index, loaded) in missing.iter().zip(loaded) {
                    landings[*index] = Some(self.keep(&flight.legs()[*index].key, moment, loaded, in_any_case));
                }
            }
            Err(error) => {
                for index in missing {
                    landings[*index].get_or_insert_with(|| Err(error.clone()));
                }
            }
        }
    }

    /// What Redis has of the flight's keys, as far as it is valid.
    async fn shared<V: Cached>(&self, flight: &Flight) -> Vec<Option<Arc<Entry>>> {
        let Some(redis) = Redis::connected(self.redis.as_ref()) else {
            return vec![None; flight.legs().len()];
        };
        let keys: Vec<&str> = flight.legs().iter().map(|leg| &*leg.key).collect();
        let found = redis.get_many(&keys).await;
        found.into_iter().zip(flight.legs()).map(|(bytes, leg)| self.believe::<V>(&leg.key, bytes)).collect()
    }

    /// Takes an entry from Redis if it can be read, is valid, and is not too old.
    fn believe<V: Cached>(&self, key: &Arc<str>, bytes: Option<Vec<u8>>) -> Option<Arc<Entry>> {
        let outcome = |look| count(V::KIND, look);
        let Some(bytes) = bytes else {
            outcome(Look::RedisMiss);
            return None;
        };
        let Some(entry) = entry::decode::<V>(key, &bytes) else {
            outcome(Look::RedisGarbage);
            return None;
        };
        if !self.clock.is_valid(entry.moment, &entry.tags) {
            outcome(Look::RedisInvalid);
            return None;
        }
        if entry.age(self.ttls.grace_ms()) != Age::Fresh {
            outcome(Look::RedisExpired);
            return None;
        }
        outcome(if entry.is_negative() { Look::RedisNegative } else { Look::RedisHit });
        let entry = Arc::new(entry);
        self.memory.put(key.clone(), entry.clone());
        Some(entry)
    }

    /// Keeps what was loaded in memory alone, if it can still be vouched for.
    pub(super) fn remember<V: Cached>(&self, key: &Arc<str>, moment: Moment, loaded: Loaded<V>) {
        let tags = Tags::new(loaded.tags);
        if self.clock.is_valid(moment, &tags) {
            let size = loaded.value.as_ref().map_or(4, V::size);
            let soft_ms = self.soft_ms::<V>(key, loaded.value.is_none());
            let entry = Entry::new(moment, tags, soft_ms, loaded.value.map(Arc::new), size);
            self.memory.put(key.clone(), Arc::new(entry));
        } else {
            count(V::KIND, Look::LoadUnkept);
        }
    }

    /// Entries written together, and one entry written by several processes, do not end together.
    fn soft_ms<V: Cached>(&self, key: &str, is_negative: bool) -> u64 {
        self.ttls.soft_ms(V::KIND, is_negative, xxh3_64_with_seed(key.as_bytes(), entry::now_ms()))
    }

    /// Makes an entry of what was loaded and keeps it, if it can still be vouched for. `in_any_case` it is written to Redis, else
    /// as long as that is worth it.
    pub(super) fn keep<V: Cached>(
        &self, key: &Arc<str>, moment: Moment, loaded: Loaded<V>, in_any_case: bool,
    ) -> Landing {
        let redis = Redis::connected(self.redis.as_ref())
            .filter(|_| in_any_case || self.worth[V::KIND as usize].is_worth_telling());
        let data = redis.map(|_| entry::data(loaded.value.as_ref())).transpose()?;
        let size = data.as_ref().map_or_else(|| loaded.value.as_ref().map_or(4, V::size), Vec::len);
        let soft_ms = self.soft_ms::<V>(key, loaded.value.is_none());
        let tags = Tags::new(loaded.tags);
        let entry = Arc::new(Entry::new(moment, tags, soft_ms, loaded.value.map(Arc::new), size));
        // Also refuses a load that spans an epoch, and one that something changed under.
        if self.clock.is_valid(entry.moment, &entry.tags) {
            self.memory.put(key.clone(), entry.clone());
            if let (Some(redis), Some(data)) = (redis, data) {
                let bytes = entry::encode(key, &entry, &data);
                redis.put(Write { key: key.clone(), bytes, ttl_ms: soft_ms + self.ttls.grace_ms() });
            }
        } else {
            count(V::KIND, Look::LoadUnkept);
        }
        Ok((entry, Outcome::Miss))
    }
}
