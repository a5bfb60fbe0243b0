//! The short lock: what costs much to build is built by one process and found in Redis by the others.
//! Keys say so (`Key::built_under`).
//!
//! The lock only saves work. Nothing that is found is believed for it, and whoever does not get it, or loses it, or has
//! no Redis to ask, builds all the same: at once, or when its patience ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::entry::Entry;
use super::store::redis::Redis;

/// How long a lock outlives a holder that died without a word.
const TTL: Duration = Duration::from_secs(10);

/// How long others wait for the holder before they build for themselves. Well below the time a request may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Between this and three times as much passes from one look to the next.
const PAUSE_MS: u64 = 10;

/// Who builds.
pub(super) enum Turn {
    /// Nobody has to: another process has.
    Found(Arc<Entry>),
    /// We do; with the lock, or without it when there was none to be had.
    Build(Option<Held>),
}

/// Waits for the lock or for what its holder builds. `look` looks into Redis for a valid entry.
pub(super) async fn turn<F>(redis: Option<&Redis>, key: &Arc<str>, look: impl Fn() -> F) -> Turn
where
    F: Future<Output = Vec<Option<Arc<Entry>>>>,
{
    let Some(redis) = Redis::connected(redis) else { return outcome("alone", Turn::Build(None)) };
    let begun = Instant::now();
    let token = Uuid::new_v4();
    while begun.elapsed() < PATIENCE {
        let taken = redis.lock(key, &token.to_string(), TTL).await;
        // Even when Redis did not say it may be ours: then this lets it go.
        let held = (taken != Some(false)).then(|| Held { redis: redis.clone(), key: key.clone(), token });
        match taken {
            Some(true) => {}
            Some(false) => {
                let jitter = Uuid::new_v4().as_u128() as u64 % (2 * PAUSE_MS);
                tokio::time::sleep(Duration::from_millis(PAUSE_MS + jitter)).await;
            }
            None => return outcome("alone", Turn::Build(None)),
        }
        // With the lock in hand too: another holder may have finished since we last looked.
        if let Some(entry) = look().await.pop().flatten() {
            return outcome("found", Turn::Found(entry));
        }
        if held.is_some() {
            return outcome("built", Turn::Build(held));
        }
    }
    outcome("impatient", Turn::Build(None))
}

fn outcome(label: &'static str, turn: Turn) -> Turn {
    metrics::counter!("overlay_cache_locks_total", "outcome" => label).increment(1);
    turn
}

/// A lock that is ours, as far as we know. Dropping it lets it go, once all that was put before is written.
pub(super) struct Held {
    redis: Redis,
    key: Arc<str>,
    token: Uuid,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.redis.release(self.key.clone(), self.token.to_string());
    }
}
