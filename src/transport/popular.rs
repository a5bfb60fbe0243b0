//! What is asked for most: a sample of the requests that kept answers are served to is counted in Redis, and a server that starts
//! asks itself for those before it says that it is ready.
//!
//! Only anonymous reads of kept routes are counted ([`Asked`] takes no others), and only such are asked again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::Request;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::asked::{Asked, Written};
use super::front::{Front, Inner};
use crate::cache::Redis;

/// One kept answer in so many is counted.
const EVERY: u64 = 64;

/// Longest request that is counted, bytes.
const LONGEST: usize = 4 << 10;

/// Different requests counted before they are told to Redis; more are not counted.
const MOST: usize = 4_096;

/// How often they are told.
const PERIOD: Duration = Duration::from_secs(1);

/// Requests under way at once when a server warms up.
const AT_ONCE: usize = 4;

/// Longest time that a warm-up takes.
pub const LONGEST_WARM_UP: Duration = Duration::from_secs(60);

/// Counts of the requests that were sampled and not told yet.
pub(super) struct Popular {
    is_on: bool,
    served: AtomicU64,
    counts: Mutex<HashMap<String, u32>>,
}

impl Popular {
    /// Counts, or does nothing.
    pub(super) fn new(is_on: bool) -> Self {
        Self { is_on, served: AtomicU64::new(0), counts: Mutex::default() }
    }

    /// Takes note that `asked` is answered, now and then.
    pub(super) fn note(&self, asked: &Asked<'_>, body: &[u8]) {
        if !self.is_on || !(self.served.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(EVERY) {
            return;
        }
        let text = asked.written(body).and_then(|written| serde_json::to_string(&written).ok());
        let Some(text) = text.filter(|text| text.len() <= LONGEST) else { return };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST || counts.contains_key(&text) {
            *counts.entry(text).or_default() += 1;
        }
    }

    fn take(&self) -> Vec<(String, u32)> {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

/// Tells Redis what `front` has counted, as long as there is somebody who counts.
pub(super) async fn tell(front: Weak<Inner>, redis: Redis) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(inner) = front.upgrade() else { return };
        let counts = inner.popular.take();
        drop(inner);
        if !counts.is_empty() {
            redis.count(counts).await;
        }
    }
}

/// The request that was written down, if it is one that could have been.
fn read(text: &str) -> Option<Request> {
    serde_json::from_str::<Written>(text).ok()?.request()
}

/// A server that asks itself, until it has or is stopped.
pub struct WarmUp(JoinHandle<()>);

impl Drop for WarmUp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl WarmUp {
    /// Begins, and says in `is_warming` how long it takes.
    pub fn start(front: &Front, is_warming: Arc<AtomicBool>, most: usize, rate: u32) -> Self {
        is_warming.store(true, Ordering::Relaxed);
        let front = front.clone();
        Self(tokio::spawn(async move {
            warm(&front, most, rate).await;
            is_warming.store(false, Ordering::Relaxed);
        }))
    }
}

/// Asks for what is asked for most: `most` requests, `rate` a second. Answers how many were asked.
pub async fn warm(front: &Front, most: usize, rate: u32) -> usize {
    let Some(redis) = front.redis().filter(|_| most > 0) else { return 0 };
    let begun = Instant::now();
    let _or_nothing_is_read = redis.answers(Duration::from_secs(2)).await;
    let requests: Vec<Request> = redis.popular(most).await.iter().filter_map(|text| read(text)).collect();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    let asking = async {
        let (count, mut under_way) = (requests.len(), JoinSet::new());
        for request in requests {
            ticks.tick().await;
            if under_way.len() == AT_ONCE {
                under_way.join_next().await;
            }
            let front = front.clone();
            under_way.spawn(async move { front.ask_itself(request).await });
        }
        while under_way.join_next().await.is_some() {}
        count
    };
    let count = tokio::time::timeout(LONGEST_WARM_UP, asking).await.unwrap_or_else(|_| {
        tracing::warn!("warming up takes too long: the rest is left to who asks");
        0
    });
    redis.written().await;
    tracing::info!(asked = count, ms = begun.elapsed().as_millis() as u64, "warmed up with what is asked for most");
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_that_could_have_been_counted_are_asked_again() {
        let good =
            r#"{"method":"POST","target":"/graphql","headers":[["content-type","application/json"]],"body":"{}"}"#;
        assert!(read(good).is_some());
        for bad in [
            "",
            "nonsense",
            r#"{"method":"DELETE","target":"/graphql","headers":[],"body":""}"#,
            r#"{"method":"POST","target":"/publish","headers":[],"body":""}"#,
            r#"{"method":"GET","target":"/listings","headers":[["authorization","Bearer x"]],"body":""}"#,
            r#"{"method":"GET","target":"/listings\r\nx: y","headers":[],"body":""}"#,
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
