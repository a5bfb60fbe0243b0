//! Whole answers, kept as finished bytes: a hit in memory costs a look-up and a check of the clock.
//!
//! What an answer is, this module does not know; whoever keeps one says how it is written to bytes and read back. An
//! answer carries what its parts depend on and the least of their moments, and is believed like any cached value.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::entry::now_ms;
use super::envelope::{self, Times};
use super::ledger::Basis;
use super::outage::Outage;
use super::read::{Cache, spare};
use super::store::redis::{Redis, Write};
use super::worth::Worth;
use crate::coherence::{Clock, Consistency, Moment, Slots};
use bytes::Bytes;
use metrics::Counter;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Store;

/// A finished answer.
pub trait Answer: Send + Sync + Sized + 'static {
    /// Bytes it is taken to occupy in memory.
    fn weight(&self) -> usize;
    /// Its bytes for Redis.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads it back; `None` for anything that is not exactly what `write` wrote.
    fn read(bytes: Bytes) -> Option<Self>;
}

/// Names a request by everything that its answer depends on: SHA-256, since whoever finds two requests of one name could
/// answer other people's.
pub type Digest = [u8; 32];

/// An answer as it is kept.
pub struct Kept<A> {
    /// The answer.
    pub answer: A,
    /// How fresh the request itself asks its answer to be, whatever its headers say.
    pub demand: Consistency,
    moment: Moment,
    slots: Slots,
    /// The version of the clock at which it was last found valid.
    seen: AtomicU64,
    /// When it was built, ms since 1970.
    stored_ms: u64,
    /// Age at which it is built anew, ms.
    soft_ms: u64,
}

/// An answer as it was found.
pub struct Found<A> {
    /// The answer.
    pub kept: Arc<Kept<A>>,
    /// Whether nothing that it depends on has changed.
    pub is_valid: bool,
}

impl<A> Kept<A> {
    /// What the answer is known to include.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Time since it was built, and time until it is built anew.
    pub fn age(&self) -> (Duration, Duration) {
        let age = now_ms().saturating_sub(self.stored_ms);
        (Duration::from_millis(age), Duration::from_millis(self.soft_ms.saturating_sub(age)))
    }

    /// Whether it is too old to be served even where there is nothing newer.
    fn is_over(&self, grace_ms: u64) -> bool {
        now_ms().saturating_sub(self.stored_ms) >= self.soft_ms.saturating_add(grace_ms)
    }
}

#[derive(Clone)]
struct Bytewise;

/// Bytes a kept answer costs beside its own: map slots, counters, times.
const OVERHEAD: usize = 200;

impl<A: Answer> Weighter<Digest, Arc<Kept<A>>> for Bytewise {
    fn weight(&self, _: &Digest, kept: &Arc<Kept<A>>) -> u64 {
        (OVERHEAD + kept.answer.weight() + 4 * kept.slots.len()) as u64
    }
}

/// Mean size of an answer, bytes; only sizes the map beforehand.
const TYPICAL: u64 = 4_000;

/// Most tags an answer may have to be kept: beyond it the check costs more than it saves.
const MAX_TAGS: usize = 4_096;

/// Largest answer that is kept, bytes.
const MAX_BYTES: usize = 1 << 20;

/// The answers kept by this process and, through Redis, by all. Cheap to clone.
pub struct Responses<A> {
    inner: Arc<Inner<A>>,
}

impl<A> Clone for Responses<A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<A> {
    clock: Arc<Clock>,
    memory: Store<Digest, Arc<Kept<A>>, Bytewise>,
    redis: Option<Redis>,
    worth: Worth,
    outage: Arc<Outage>,
    /// Time past its soft TTL after which an answer is served in no case, ms.
    grace_ms: u64,
    counts: Counts,
}

/// Registered once: looking a counter up by name costs as much as the look-up in the cache.
struct Counts {
    hit: Counter,
    miss: Counter,
    invalid: Counter,
    expired: Counter,
    shared_hit: Counter,
    shared_miss: Counter,
    shared_invalid: Counter,
    shared_expired: Counter,
    shared_garbage: Counter,
    unasked: Counter,
    unkept: Counter,
    unverified: Counter,
}

impl Counts {
    fn new() -> Self {
        let counter = |layer: &'static str, outcome: &'static str| metrics::counter!("overlay_cache_total", "kind" => "response", "layer" => layer, "outcome" => outcome);
        Self {
            hit: counter("memory", "hit"),
            miss: counter("memory", "miss"),
            invalid: counter("memory", "invalid"),
            expired: counter("memory", "expired"),
            shared_hit: counter("redis", "hit"),
            shared_miss: counter("redis", "miss"),
            shared_invalid: counter("redis", "invalid"),
            shared_expired: counter("redis", "expired"),
            shared_garbage: counter("redis", "garbage"),
            unasked: counter("redis", "unasked"),
            unkept: counter("load", "unkept"),
            unverified: counter("load", "unverified"),
        }
    }
}

impl<A: Answer> Responses<A> {
    /// Answers made of `cache`: at most `memory_bytes` in this process, and what its Redis holds.
    pub fn new(cache: &Cache, memory_bytes: u64) -> Self {
        let memory = Store::with_weighter((memory_bytes / TYPICAL) as usize, memory_bytes, Bytewise);
        Self {
            inner: Arc::new(Inner {
                clock: cache.clock().clone(),
                memory,
                redis: cache.redis().cloned(),
                worth: Worth::new(memory_bytes == 0),
                outage: cache.outage().clone(),
                grace_ms: cache.ttls().grace_ms(),
                counts: Counts::new(),
            }),
        }
    }

    /// What memory has, unchecked.
    pub fn peek(&self, digest: &Digest) -> Option<Arc<Kept<A>>> {
        self.inner.memory.get(digest)
    }

    /// `kept`, as [`Self::peek`] found it before the request's freshness was reached, if it can be served.
    pub fn remembered(&self, kept: Option<Arc<Kept<A>>>) -> Option<Arc<Kept<A>>> {
        let counts = &self.inner.counts;
        let Some(kept) = kept else {
            counts.miss.increment(1);
            return None;
        };
        let standing = self.standing(&kept);
        match standing {
            Standing::Good => counts.hit.increment(1),
            Standing::Invalid => {
                counts.invalid.increment(1);
                spare(&self.inner.clock, kept.moment, &kept.slots);
            }
            Standing::Expired => counts.expired.increment(1),
        }
        (standing == Standing::Good).then_some(kept)
    }

    /// What Redis has, if it can be served. At most one round trip.
    pub async fn shared(&self, digest: &Digest) -> Option<Arc<Kept<A>>> {
        let redis = Redis::connected(self.inner.redis.as_ref())?;
        if !self.inner.worth.is_worth_asking() {
            self.inner.counts.unasked.increment(1);
            return None;
        }
        let found = self.found(redis, digest).await;
        self.inner.worth.learn(found.is_some());
        found
    }

    async fn found(&self, redis: &Redis, digest: &Digest) -> Option<Arc<Kept<A>>> {
        let counts = &self.inner.counts;
        let Some(kept) = fetch::<A>(redis, digest).await else {
            counts.shared_miss.increment(1);
            return None;
        };
        let Some(kept) = kept else {
            counts.shared_garbage.increment(1);
            return None;
        };
        let standing = self.standing(&kept);
        match standing {
            Standing::Good => counts.shared_hit.increment(1),
            Standing::Invalid => counts.shared_invalid.increment(1),
            Standing::Expired => counts.shared_expired.increment(1),
        }
        if standing != Standing::Good {
            return None;
        }
        let kept = Arc::new(kept);
        self.inner.memory.insert(*digest, kept.clone());
        Some(kept)
    }

    /// What was right when the feed was last read, asked for while nothing can be verified: `known`, as [`Self::peek`] found it,
    /// or what Redis has, as long as that may be served at all. Nothing while PostgreSQL answers, since it knows better.
    pub async fn last_known(&self, digest: &Digest, known: Option<Arc<Kept<A>>>) -> Option<Arc<Kept<A>>> {
        if self.inner.outage.answers().await {
            return None;
        }
        let is_servable = |kept: &Kept<A>| {
            // One that is to be fresher than the feed was never to be served without it.
            kept.demand == Consistency::Bounded
                && self.standing(kept) != Standing::Invalid
                && !kept.is_over(self.inner.grace_ms)
        };
        let kept = match known.filter(|kept| is_servable(kept)) {
            Some(kept) => kept,
            None => {
                let redis = Redis::connected(self.inner.redis.as_ref())?;
                let kept = fetch::<A>(redis, digest).await.flatten().filter(is_servable).map(Arc::new)?;
                self.inner.memory.insert(*digest, kept.clone());
                kept
            }
        };
        self.inner.counts.unverified.increment(1);
        Some(kept)
    }

    /// What memory and Redis have, whether or not it could be served: for people. Nothing is counted, kept or moved by looking.
    pub async fn look(&self, digest: &Digest) -> [Option<Found<A>>; 2] {
        let found = |kept: Arc<Kept<A>>| Found { is_valid: self.standing(&kept) != Standing::Invalid, kept };
        let memory = self.peek(digest);
        let redis = match Redis::connected(self.inner.redis.as_ref()) {
            Some(redis) => fetch::<A>(redis, digest).await.flatten().map(Arc::new),
            None => None,
        };
        [memory.map(found), redis.map(found)]
    }

    /// Keeps an answer, if it can still be vouched for and is of a size to be kept.
    pub fn keep(&self, digest: &Digest, basis: &Basis, ttl: Duration, demand: Consistency, answer: A) {
        let soft_ms = ttl.as_millis() as u64;
        let too_large = basis.tags.names().len() > MAX_TAGS || answer.weight() > MAX_BYTES;
        if too_large || soft_ms == 0 || !self.inner.clock.is_valid(basis.moment, &basis.tags) {
            self.inner.counts.unkept.increment(1);
            return;
        }
        let slots = basis.tags.slots().clone();
        let kept = Arc::new(Kept {
            answer,
            demand,
            moment: basis.moment,
            slots,
            seen: AtomicU64::new(0),
            stored_ms: now_ms(),
            soft_ms,
        });
        if let Some(redis) = Redis::connected(self.inner.redis.as_ref())
            .filter(|_| basis.is_shared && self.inner.worth.is_worth_telling())
        {
            let key = key(digest);
            let bytes = encode(&key, &kept);
            redis.put(Write { key: key.into(), bytes, ttl_ms: soft_ms.saturating_add(self.inner.grace_ms) });
        }
        self.inner.memory.insert(*digest, kept);
    }

    /// Whether `kept` could be served now.
    pub fn is_good(&self, kept: &Kept<A>) -> bool {
        self.standing(kept) == Standing::Good
    }

    /// Entries and bytes held in memory.
    pub fn memory_size(&self) -> (usize, u64) {
        (self.inner.memory.len(), self.inner.memory.weight())
    }

    fn standing(&self, kept: &Kept<A>) -> Standing {
        if !self.inner.clock.is_still_valid(kept.moment, &kept.slots, &kept.seen) {
            Standing::Invalid
        } else if kept.age().1.is_zero() {
            Standing::Expired
        } else {
            Standing::Good
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    Invalid,
    Expired,
}

/// `ol:cache:response:<64 hex digits>`.
fn key(digest: &Digest) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut key = String::with_capacity(PREFIX.len() + 2 * digest.len());
    key.push_str(PREFIX);
    for byte in digest {
        key.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    key
}

const PREFIX: &str = "ol:cache:response:";

/// Without the names of its tags, which nobody reads: of many values an answer has many, and its own lines name them where they
/// are few.
fn encode<A: Answer>(key: &str, kept: &Kept<A>) -> Vec<u8> {
    let mut body = Vec::with_capacity(kept.answer.weight() + 256);
    kept.answer.write(&mut body);
    let times = Times { stored_ms: kept.stored_ms, soft_ms: kept.soft_ms };
    envelope::seal(key, kept.moment, &kept.slots, &[], times, kept.demand, &body)
}

/// What Redis has under the name, if anything, and what that says, if it can be read.
async fn fetch<A: Answer>(redis: &Redis, digest: &Digest) -> Option<Option<Kept<A>>> {
    let key = key(digest);
    let bytes = redis.get_many(&[&key]).await.into_iter().next().flatten()?;
    Some(decode(&key, &bytes.into()))
}

fn decode<A: Answer>(key: &str, bytes: &Bytes) -> Option<Kept<A>> {
    let opened = envelope::open(key, bytes)?;
    // A tag has its slot, and at most one more for its kind.
    if opened.slots.len() > 2 * MAX_TAGS {
        return None;
    }
    Some(Kept {
        demand: opened.demand,
        moment: opened.moment,
        slots: opened.slots,
        seen: AtomicU64::new(0),
        stored_ms: opened.times.stored_ms,
        soft_ms: opened.times.soft_ms,
        answer: A::read(bytes.slice(opened.body))?,
    })
}
