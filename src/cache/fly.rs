//! A load's flight: Redis, a replica, the primary; and what becomes of what it brings.

use std::sync::Arc;

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
use crate::error::Error;

impl Inner {
    pub(super) async fn fly<I, V>(
        self: Arc<Self>, flight: Flight, ids: Vec<I>, load: impl Load<I, V>, why: Why, lock: Option<Arc<str>>,
    ) where
        I: Clone + Send + Sync + 'static,
        V: Cached,
    {
        let mut landings: Vec<Option<Landing>> = match why {
            Why::Miss => {
                // What costs much to build is always worth it.
                let found = self.shared::<V>(&flight, lock.is_some()).await;
                found.into_iter().map(|entry| entry.map(|entry| Ok((entry, Outcome::Hit)))).collect()
            }
            Why::Refresh => vec![None; ids.len()],
        };
        // Let go however the flight ends; what `keep` has put is queued before that.
        let mut _held = None;
        if let (Some(lock), [None]) = (&lock, &landings[..]) {
            match lock::turn(self.redis.as_ref(), lock, || self.shared::<V>(&flight, true)).await {
                Turn::Found(entry) => landings[0] = Some(Ok((entry, Outcome::Hit))),
                Turn::Build(held) => _held = held,
            }
        }
        let mut missing: Vec<usize> = (0..ids.len()).filter(|i| landings[*i].is_none()).collect();
        if !missing.is_empty() && !self.replicas.is_empty() {
            let wanted = missing.iter().map(|i| ids[*i].clone()).collect();
            if let Some((moment, loaded)) = replica::load(&self.replicas, wanted, &load).await {
                for (index, loaded) in missing.iter().zip(loaded) {
                    landings[*index] = loaded.map(|loaded| self.keep(&flight.legs()[*index].key, moment, loaded));
                }
                missing.retain(|i| landings[*i].is_none());
            }
        }
        if !missing.is_empty() {
            // The moment before the first query: whatever commits from here on may or may not be in the answer.
            let moment = self.clock.moment();
            let wanted: Vec<I> = missing.iter().map(|i| ids[*i].clone()).collect();
            let loaded = load(wanted).await.and_then(|loaded| {
                if loaded.len() == missing.len() { Ok(loaded) } else { Err(Error::internal("a loader lost count")) }
            });
            match loaded {
                Ok(loaded) => {
                    for (index, loaded) in missing.iter().zip(loaded) {
                        landings[*index] = Some(self.keep(&flight.legs()[*index].key, moment, loaded));
                    }
                }
                Err(error) => missing.iter().for_each(|i| landings[*i] = Some(Err(error.clone()))),
            }
        }
        flight.land(
            landings.into_iter().map(|l| l.unwrap_or_else(|| Err(Error::internal("a leg was not flown")))).collect(),
        );
    }

    /// What Redis has of the flight's keys, as far as it is valid.
    async fn shared<V: Cached>(&self, flight: &Flight, in_any_case: bool) -> Vec<Option<Arc<Entry>>> {
        let Some(redis) = Redis::connected(self.redis.as_ref()) else {
            return vec![None; flight.legs().len()];
        };
        let worth = &self.worth[V::KIND as usize];
        if !(in_any_case || worth.is_worth_asking()) {
            flight.legs().iter().for_each(|_| count(V::KIND, Look::RedisUnasked));
            return vec![None; flight.legs().len()];
        }
        let keys: Vec<&str> = flight.legs().iter().map(|leg| &*leg.key).collect();
        let found = redis.get_many(&keys).await;
        let found: Vec<_> =
            found.into_iter().zip(flight.legs()).map(|(bytes, leg)| self.believe::<V>(&leg.key, bytes)).collect();
        worth.learn(found.iter().any(Option::is_some));
        found
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

    /// Makes an entry of what was loaded and keeps it, if it can still be vouched for.
    pub(super) fn keep<V: Cached>(&self, key: &Arc<str>, moment: Moment, loaded: Loaded<V>) -> Landing {
        let redis = Redis::connected(self.redis.as_ref()).filter(|_| self.worth[V::KIND as usize].is_worth_telling());
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
