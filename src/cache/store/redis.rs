//! Redis, the workbench that all processes share. Whatever goes wrong here is a miss, never an error.
//!
//! One multiplexed connection carries everything. It is taken from a small bb8 pool that pings on check-out, cloned,
//! and given back at once: holding a pool's guard for each call is five times slower. A supervisor replaces the clone
//! when it breaks; while there is none, every call is a miss at once, which is the circuit breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bb8_redis::RedisConnectionManager;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, ToRedisArgs};
use tokio::sync::{Notify, mpsc};

use crate::error::{Error, Result};

/// How to reach Redis.
#[derive(Clone)]
pub struct Config {
    /// `redis://`, `rediss://` or `redis+unix://`; may hold a password, so it is never logged.
    pub url: String,
    /// Longest wait for an answer to one call.
    pub timeout: Duration,
}

/// Longest wait for a connection or a ping.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// Time-outs in a row after which the connection is given up.
const MAX_TIMEOUTS: u32 = 3;

/// Writes that may wait; more are dropped, since a cache entry can always be built again.
const QUEUE: usize = 4_096;

/// Most writes in one pipeline.
const BATCH: usize = 256;

/// An entry to be written.
pub(in crate::cache) struct Write {
    pub(in crate::cache) key: Arc<str>,
    pub(in crate::cache) bytes: Vec<u8>,
    pub(in crate::cache) ttl_ms: u64,
}

struct Inner {
    connection: ArcSwapOption<MultiplexedConnection>,
    broken: Notify,
    timeouts: AtomicU32,
    timeout: Duration,
}

/// The shared store. Cheap to clone; the supervisor ends with the last clone.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
    writes: mpsc::Sender<Write>,
}

impl Redis {
    /// Starts the supervisor. Does not wait for Redis: until it answers, every call is a miss.
    ///
    /// # Errors
    /// `bad-request` when the URL is not one.
    pub fn start(config: &Config) -> Result<Self> {
        let manager = RedisConnectionManager::new(config.url.as_str())
            // The cause may quote the URL, and with it a password.
            .map_err(|_| Error::invalid("REDIS_URL is not a Redis URL"))?;
        let inner = Arc::new(Inner {
            connection: ArcSwapOption::empty(),
            broken: Notify::new(),
            timeouts: AtomicU32::new(0),
            timeout: config.timeout,
        });
        let (writes, queue) = mpsc::channel(QUEUE);
        tokio::spawn(supervise(Arc::downgrade(&inner), manager));
        tokio::spawn(write(Arc::downgrade(&inner), queue));
        Ok(Self { inner, writes })
    }

    /// Whether there is a connection that is not known to be broken.
    pub fn is_connected(&self) -> bool {
        self.inner.connection.load().is_some()
    }

    /// A round trip that proves Redis answers; how long it took.
    ///
    /// # Errors
    /// `unavailable` when it does not.
    pub async fn ping(&self) -> Result<Duration> {
        let begun = Instant::now();
        let answer: Option<String> = self.inner.call("ping", redis::cmd("PING")).await;
        answer.map(|_| begun.elapsed()).ok_or_else(|| Error::unavailable("Redis cannot be reached"))
    }

    /// One round trip for all keys, in order. Anything that goes wrong is a miss.
    pub(in crate::cache) async fn get_many<K: ToRedisArgs>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(key);
        }
        let values: Option<Vec<Option<Vec<u8>>>> = self.inner.call("get", command).await;
        values.filter(|v| v.len() == keys.len()).unwrap_or_else(|| vec![None; keys.len()])
    }

    /// Queues a write. It happens soon, later, or never; nobody waits for it.
    pub(in crate::cache) fn put(&self, write: Write) {
        if self.is_connected() && self.writes.try_send(write).is_err() {
            metrics::counter!("overlay_redis_writes_dropped_total").increment(1);
        }
    }
}

impl Inner {
    async fn call<T: redis::FromRedisValue>(&self, name: &'static str, command: redis::Cmd) -> Option<T> {
        let mut connection = self.connection()?;
        self.observed(name, command.query_async(&mut connection)).await
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        self.connection.load().as_deref().cloned()
    }

    /// Times a call, bounds it, and gives the connection up when it no longer works.
    async fn observed<T>(&self, name: &'static str, call: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, call).await;
        metrics::histogram!("overlay_redis_seconds", "call" => name).record(begun.elapsed());
        let fault = match outcome {
            Ok(Ok(value)) => {
                self.timeouts.store(0, Ordering::Relaxed);
                return Some(value);
            }
            Ok(Err(error)) => {
                // An answer that Redis gave on purpose (wrong type, out of memory) says that the connection works.
                if error.is_io_error() || error.is_connection_dropped() {
                    self.give_up();
                }
                "error"
            }
            Err(_) => {
                if self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_TIMEOUTS {
                    self.give_up();
                }
                "timeout"
            }
        };
        metrics::counter!("overlay_redis_faults_total", "call" => name, "fault" => fault).increment(1);
        None
    }

    fn give_up(&self) {
        if self.connection.swap(None).is_some() {
            self.broken.notify_one();
        }
    }
}

/// Keeps a working connection in place, for as long as anybody uses the store.
async fn supervise(inner: std::sync::Weak<Inner>, manager: RedisConnectionManager) {
    let pool = bb8::Pool::builder()
        .max_size(2)
        .connection_timeout(CONNECT_TIMEOUT)
        .test_on_check_out(true)
        .build_unchecked(manager);
    let mut reported = false;
    while let Some(store) = inner.upgrade() {
        if store.connection.load().is_some() {
            // Wakes now and then to notice that the store was dropped.
            let _elapsed = tokio::time::timeout(Duration::from_secs(1), store.broken.notified()).await;
            continue;
        }
        match pool.get().await {
            Ok(checked_out) => {
                tracing::info!("connected to Redis");
                reported = false;
                store.timeouts.store(0, Ordering::Relaxed);
                store.connection.store(Some(Arc::new(checked_out.clone())));
            }
            Err(_) => {
                if !reported {
                    reported = true;
                    tracing::warn!("Redis cannot be reached: reads go to PostgreSQL until it answers");
                }
                drop(store);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Writes what is queued, as much as is there in one pipeline.
async fn write(inner: std::sync::Weak<Inner>, mut queue: mpsc::Receiver<Write>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let Some(store) = inner.upgrade() else { return };
        if let Some(mut connection) = store.connection() {
            let mut pipe = redis::pipe();
            for write in batch.drain(..) {
                pipe.cmd("SET").arg(&*write.key).arg(write.bytes).arg("PX").arg(write.ttl_ms.max(1)).ignore();
            }
            let _counted: Option<()> = store.observed("set", pipe.query_async(&mut connection)).await;
        }
        batch.clear();
    }
}
