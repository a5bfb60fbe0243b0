//! Redis, the workbench that all processes share. Whatever goes wrong here is a miss, never an error.
//!
//! One multiplexed connection carries everything. It is taken from a small bb8 pool that checks it on check-out, cloned,
//! and given back at once: holding a pool's guard for each call is five times slower. A supervisor replaces the clone
//! when it breaks; while there is none, every call is a miss at once, which is the circuit breaker.
//!
//! - `address` what `REDIS_URL` may say: a server, a master that sentinels name, a cluster
//! - `connect` makes connections to it
//! - `held` what is kept here alone
//! - `write` changes that nobody waits for

mod address;
mod connect;
mod held;
mod popular;
mod write;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, ToRedisArgs};
use tokio::sync::{Notify, mpsc};
use tracing::{Instrument, Span};

pub use address::{Config, Tls};
pub(in crate::cache) use write::Write;

use crate::cache::envelope::MAX_BYTES;
use crate::db::tally;
use crate::error::{Error, Result};
use address::Address;
use connect::{Cause, Connection, Dial};
use write::Change;

/// Longest wait for a connection or its check; making one may take longer, and is then found at the next attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// Time-outs in a row after which the connection is given up.
const MAX_TIMEOUTS: u32 = 3;

struct Inner {
    connection: ArcSwapOption<Connection>,
    broken: Notify,
    timeouts: AtomicU32,
    timeout: Duration,
    /// Bytes of entries in the queue.
    queued_bytes: AtomicUsize,
    /// Whether a server that takes no writes means that the master is another one now.
    has_sentinels: bool,
}

/// The shared store. Cheap to clone; the supervisor ends with the last clone.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
    changes: mpsc::Sender<Change>,
}

/// Shortest wait for an answer about what Redis alone holds.
const PATIENCE: Duration = Duration::from_millis(500);

impl Redis {
    /// Starts the supervisor. Does not wait for Redis: until it answers, every call is a miss.
    ///
    /// # Errors
    /// `bad-request` when the URL or the certificates cannot be used.
    pub fn start(config: &Config) -> Result<Self> {
        let address = Address::parse(config)?;
        let inner = Arc::new(Inner {
            connection: ArcSwapOption::empty(),
            broken: Notify::new(),
            timeouts: AtomicU32::new(0),
            timeout: config.timeout,
            queued_bytes: AtomicUsize::new(0),
            has_sentinels: matches!(address, Address::Sentinel { .. }),
        });
        let (changes, queue) = mpsc::channel(write::QUEUE);
        tokio::spawn(supervise(Arc::downgrade(&inner), Dial { address, timeout: config.timeout }));
        tokio::spawn(write::write(Arc::downgrade(&inner), queue));
        Ok(Self { inner, changes })
    }

    /// The store, if there is one that is worth asking.
    pub(in crate::cache) fn connected(redis: Option<&Self>) -> Option<&Self> {
        redis.filter(|redis| redis.is_connected())
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

    /// As [`Self::ping`], as soon as it answers, for as long as `patience` lasts: it may be connecting yet.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub async fn answers(&self, patience: Duration) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            match self.ping().await {
                Err(_) if begun.elapsed() < patience => tokio::time::sleep(Duration::from_millis(20)).await,
                outcome => return outcome,
            }
        }
    }

    /// Whether it takes writes: one of a key that nobody reads, for a second.
    pub async fn takes_writes(&self) -> bool {
        let mut command = redis::cmd("SET");
        command.arg("ol:cache:doctor").arg(1).arg("PX").arg(1_000);
        self.inner.call::<()>("doctor", command).await.is_some()
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
        self.queue(Change::Put(write));
    }

    /// Queues deletes, as good or bad as writes and in order with them. For people who look with `redis-cli`: no read
    /// believes an entry for its being there.
    pub(in crate::cache) fn forget(&self, keys: impl IntoIterator<Item = Arc<str>>) {
        keys.into_iter().for_each(|key| self.queue(Change::Forget(key)));
    }

    /// Takes the lock `key` for `ttl`, if it is free: whether it was. `None` when Redis does not say.
    pub(in crate::cache) async fn lock(&self, key: &str, token: &str, ttl: Duration) -> Option<bool> {
        let set = redis::cmd("SET").arg(key).arg(token).arg("NX").arg("PX").arg(ttl.as_millis() as u64).take();
        self.inner.call::<Option<String>>("lock", set).await.map(|ok| ok.is_some())
    }

    /// Lets the lock go if it still holds `token`, after all that was put before.
    pub(in crate::cache) fn release(&self, key: Arc<str>, token: String) {
        self.queue(Change::Release { key, token });
    }

    fn queue(&self, change: Change) {
        if !self.is_connected() {
            return;
        }
        let bytes = change.bytes();
        let waiting = self.inner.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // An entry that no process would read back (`entry::decode`) is not written either.
        let fits = bytes <= MAX_BYTES && waiting <= write::QUEUE_BYTES;
        if !fits || self.changes.try_send(change).is_err() {
            self.inner.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            metrics::counter!("overlay_redis_writes_dropped_total").increment(1);
        }
    }
}

impl Inner {
    async fn call<T: redis::FromRedisValue>(&self, name: &'static str, command: Cmd) -> Option<T> {
        let mut connection = self.connection()?;
        self.observed(name, self.timeout, command.query_async(&mut connection)).await
    }

    /// As [`Self::call`], for what is nowhere else: a miss is not worth the wait that it would save.
    async fn patient<T: redis::FromRedisValue>(&self, name: &'static str, command: Cmd) -> Option<T> {
        let mut connection = self.connection()?;
        self.observed(name, self.timeout.max(PATIENCE), command.query_async(&mut connection)).await
    }

    /// Sends commands whose order does not matter and whose answers nobody needs.
    async fn send(&self, name: &'static str, commands: Vec<Cmd>) {
        if let Some(connection) = self.connection().filter(|_| !commands.is_empty()) {
            let _counted: Option<()> = self.observed(name, self.timeout, connection.send(commands)).await;
        }
    }

    fn connection(&self) -> Option<Connection> {
        self.connection.load().as_deref().cloned()
    }

    /// Times a call, bounds it, and gives the connection up when it no longer works.
    async fn observed<T>(
        &self, name: &'static str, limit: Duration, call: impl Future<Output = RedisResult<T>>,
    ) -> Option<T> {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(limit, call).instrument(span(name)).await;
        let took = begun.elapsed();
        metrics::histogram!("overlay_redis_seconds", "call" => name).record(took);
        tally::note(|tally| tally.add_redis(took));
        let fault = match outcome {
            Ok(Ok(value)) => {
                self.timeouts.store(0, Ordering::Relaxed);
                return Some(value);
            }
            Ok(Err(error)) => {
                if self.is_lost(&error) {
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

    /// An answer that Redis gave on purpose (wrong type, out of memory) says that the connection works.
    fn is_lost(&self, error: &RedisError) -> bool {
        match error.kind() {
            // The last two are a cluster's, of which a part is away.
            ErrorKind::Io | ErrorKind::Client | ErrorKind::ClusterConnectionNotFound => true,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => self.has_sentinels,
            _ => false,
        }
    }

    fn give_up(&self) {
        if self.connection.swap(None).is_some() {
            self.broken.notify_one();
        }
    }
}

/// A call's span. What belongs to no request would be a trace of its own, each time.
fn span(name: &'static str) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!("redis", otel.kind = "client", db.system = "redis", db.operation.name = name)
}

/// Keeps a working connection in place, for as long as anybody uses the store.
async fn supervise(inner: Weak<Inner>, dial: Dial) {
    let cause = Cause::default();
    let pool = bb8::Pool::builder()
        .max_size(2)
        .connection_timeout(CONNECT_TIMEOUT)
        .test_on_check_out(true)
        .error_sink(Box::new(cause.clone()))
        .build_unchecked(dial);
    let mut reported = false;
    while let Some(store) = inner.upgrade() {
        if store.connection.load().is_some() {
            // Wakes now and then to notice that the store was dropped, and that a connection is broken which nobody uses: a
            // call that fails gives it up.
            if tokio::time::timeout(Duration::from_secs(1), store.broken.notified()).await.is_ok() {
                drop(store);
                // A connection that passes its check and fails its calls must not come back all the time.
                tokio::time::sleep(RETRY).await;
            } else {
                let _answer: Option<String> = store.call("ping", redis::cmd("PING")).await;
            }
            continue;
        }
        match pool.get().await {
            Ok(checked_out) => {
                tracing::info!("connected to Redis");
                reported = false;
                store.timeouts.store(0, Ordering::Relaxed);
                store.connection.store(Some(Arc::new(checked_out.connection.clone())));
            }
            Err(_) => {
                if !reported {
                    reported = true;
                    let cause = cause.take();
                    tracing::warn!(cause, "Redis cannot be reached: reads go to PostgreSQL until it answers");
                }
                drop(store);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
