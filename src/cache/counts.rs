//! Counts of look-ups. Registered once each: to look a counter up by its labels costs as much as a look-up in the cache.

use std::sync::OnceLock;

use metrics::Counter;

use super::ttl::Kind;

/// What became of a look-up: layer and outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    MemoryHit,
    MemoryNegative,
    MemoryStale,
    MemoryMiss,
    MemoryInvalid,
    MemoryExpired,
    RedisHit,
    RedisNegative,
    RedisMiss,
    RedisInvalid,
    RedisExpired,
    RedisGarbage,
    /// Not asked for there ([`super::worth`]).
    RedisUnasked,
    /// Loaded, but something changed meanwhile.
    LoadUnkept,
    /// Loaded without the caches, which could not be verified.
    LoadBypass,
    /// Served unverified.
    LoadUnverified,
}

const LOOKS: usize = Look::LoadUnverified as usize + 1;

impl Look {
    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::MemoryHit => ("memory", "hit"),
            Self::MemoryNegative => ("memory", "negative"),
            Self::MemoryStale => ("memory", "stale"),
            Self::MemoryMiss => ("memory", "miss"),
            Self::MemoryInvalid => ("memory", "invalid"),
            Self::MemoryExpired => ("memory", "expired"),
            Self::RedisHit => ("redis", "hit"),
            Self::RedisNegative => ("redis", "negative"),
            Self::RedisMiss => ("redis", "miss"),
            Self::RedisInvalid => ("redis", "invalid"),
            Self::RedisExpired => ("redis", "expired"),
            Self::RedisGarbage => ("redis", "garbage"),
            Self::RedisUnasked => ("redis", "unasked"),
            Self::LoadUnkept => ("load", "unkept"),
            Self::LoadBypass => ("load", "bypass"),
            Self::LoadUnverified => ("load", "unverified"),
        }
    }
}

/// Counts a look-up.
pub(super) fn count(kind: Kind, look: Look) {
    static COUNTERS: [[OnceLock<Counter>; LOOKS]; Kind::ALL] =
        [const { [const { OnceLock::new() }; LOOKS] }; Kind::ALL];
    let counter = COUNTERS[kind as usize][look as usize].get_or_init(|| {
        let (layer, outcome) = look.labels();
        metrics::counter!("overlay_cache_total", "kind" => kind.label(), "layer" => layer, "outcome" => outcome)
    });
    counter.increment(1);
}
