//! Gathers the keys that one tick of a query asks for, and hands them to the loader in one go.
//!
//! The crate lets every key wait for itself, ten turns of the scheduler each, and with each turn the query's whole tree is
//! polled: fifty assets would cost five hundred walks. Here one of those who ask waits for all. The crate's own wait is
//! switched off.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::dataloader::BatchFn;
use ::dataloader::cached::Loader;
use tokio::sync::watch;
use tokio::task::coop::unconstrained;

/// Turns of the scheduler that must bring no more keys before those that came are loaded: resolvers reach their loaders
/// after a few.
const QUIET: usize = 2;

/// Tries before a lost batch is given up.
const TRIES: usize = 5;

/// More keys than any query within the limits can ask for: a batch is never split.
const ALL: usize = 1_000_000;

/// A loader whose keys are gathered.
pub(super) struct Gather<K, V, B>
where
    K: Clone + Eq + Hash + std::fmt::Debug,
    V: Clone,
    B: BatchFn<K, V>,
{
    loader: Loader<K, V, B>,
    round: Mutex<Round<K>>,
}

struct Round<K> {
    /// Asked for in this round.
    wanted: HashSet<K>,
    /// Loaded in an earlier one.
    known: HashSet<K>,
    /// Becomes true when this round's keys are loaded; closed without that when who waits for all has gone away.
    landing: Option<watch::Receiver<bool>>,
}

impl<K, V, B> Gather<K, V, B>
where
    K: Clone + Eq + Hash + std::fmt::Debug,
    V: Clone,
    B: BatchFn<K, V>,
{
    pub(super) fn new(batch: B) -> Self {
        Self {
            loader: Loader::new(batch).with_yield_count(0).with_max_batch_size(ALL),
            round: Mutex::new(Round { wanted: HashSet::new(), known: HashSet::new(), landing: None }),
        }
    }

    fn round(&self) -> MutexGuard<'_, Round<K>> {
        // Nothing panics while the round is held.
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of each key; `None` when the batch was lost again and again.
    pub(super) async fn many(&self, keys: &[K]) -> Option<HashMap<K, V>> {
        for _ in 0..TRIES {
            if !self.gathered(keys).await {
                continue;
            }
            // All are known by now, so this waits for nothing but the lock.
            if let Ok(found) = unconstrained(self.loader.try_load_many(keys.to_vec())).await {
                return Some(found);
            }
        }
        None
    }

    /// The value of one key.
    pub(super) async fn one(&self, key: K) -> Option<V> {
        self.many(std::slice::from_ref(&key)).await?.remove(&key)
    }

    /// Waits until the keys are loaded; false when they were lost with whom they waited for.
    async fn gathered(&self, keys: &[K]) -> bool {
        let (landing, mut first) = {
            let mut round = self.round();
            if keys.iter().all(|key| round.known.contains(key)) {
                return true;
            }
            round.wanted.extend(keys.iter().cloned());
            // One that is closed belongs to somebody who has gone away; the keys are still wanted.
            match round.landing.as_ref().filter(|landing| landing.has_changed().is_ok()) {
                Some(landing) => (landing.clone(), None),
                None => {
                    let (sender, landing) = watch::channel(false);
                    round.landing = Some(landing.clone());
                    (landing, Some(sender))
                }
            }
        };
        let Some(sender) = first.take() else {
            let mut landing = landing;
            // Once for each key: were it to count as work, a broad level would be stopped half way, and what is below it
            // be asked for in pieces.
            return unconstrained(landing.wait_for(|landed| *landed)).await.is_ok();
        };
        let (mut quiet, mut seen) = (0, 0);
        while quiet < QUIET {
            tokio::task::yield_now().await;
            let wanted = self.round().wanted.len();
            quiet = if wanted == seen { quiet + 1 } else { 0 };
            seen = wanted;
        }
        let wanted: Vec<K> = {
            let mut round = self.round();
            round.landing = None;
            round.wanted.drain().collect()
        };
        let is_loaded = self.loader.try_load_many(wanted.clone()).await.is_ok();
        if is_loaded {
            self.round().known.extend(wanted);
        }
        // Otherwise the sender is dropped, and the others see to themselves.
        is_loaded && sender.send(true).is_ok()
    }
}
