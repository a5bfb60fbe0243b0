//! The one place that sees everything: settings → stores → rooms → app → listener, and shutdown in the reverse order.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use overlay_migration::{Migrator, MigratorTrait};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::cache::{Cache, Redis, RedisConfig};
use crate::coherence::{Clock, Feed, Replicas, prune};
use crate::config::Config;
use crate::db::{self, Db};
use crate::devstack::{self, DevStack, Options};
use crate::error::{Error, Result};
use crate::flows::headers::Follower;
use crate::flows::lineage::retain::Retention;
use crate::flows::receipts::Sweeper;
use crate::telemetry;
use crate::transport::drain::{Drain, Phase};
use crate::transport::http::{Served, service};
use crate::transport::listener;
use crate::transport::popular::WarmUp;

/// What the stores are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A server, which has its private stores to itself: another one would lose them when the first one stops.
    Serve,
    /// A command that ends by itself.
    Command,
}

/// PostgreSQL and Redis as they are found or started.
pub struct Stores {
    /// How to reach PostgreSQL.
    pub database: db::Config,
    /// How to reach Redis; `None` for process memory alone.
    pub redis: Option<RedisConfig>,
    private: Option<DevStack>,
}

impl Stores {
    /// Takes the stores that the settings name, and starts private ones under `.overlay/` for those they do not. Where a
    /// server of this checkout runs already, a command uses that one's stores, and a second server is refused.
    ///
    /// # Errors
    /// `unavailable` with what to do, when a private PostgreSQL cannot be started.
    pub async fn open(config: &Config, purpose: Purpose) -> Result<Self> {
        let wanted = Options {
            postgres: config.database.is_none(),
            redis: config.redis.is_none() && purpose == Purpose::Serve,
            ..Options::new(&config.home)
        };
        let (mut pg_url, mut redis_url, mut private) = (None, None, None);
        if wanted.postgres || wanted.redis {
            match DevStack::start(&wanted).await {
                Ok(stack) => {
                    (pg_url, redis_url) = (stack.pg_url().map(str::to_owned), stack.redis_url().map(str::to_owned));
                    private = Some(stack);
                }
                Err(devstack::Error::InUse { pg_url: Some(url), .. }) if purpose == Purpose::Command => {
                    pg_url = Some(url)
                }
                // Redis alone is no reason not to start.
                Err(error) if !wanted.postgres => tracing::warn!(%error, "no private Redis"),
                Err(e) => {
                    return Err(Error::unavailable(format!("the private stores cannot be started: {e}")).because(e));
                }
            }
        }
        let private_database = pg_url.map(|url| db::Config { url, ..config.database_sizes.clone() });
        let database = config.database.clone().or(private_database);
        let private_redis = redis_url.map(|url| RedisConfig { url, timeout: config.redis_timeout, tls: None });
        Ok(Self {
            database: database.ok_or_else(|| Error::unavailable("the private PostgreSQL has no address"))?,
            redis: config.redis.clone().or(private_redis),
            private,
        })
    }

    /// Whether the database is a private one of this checkout.
    pub fn has_private_database(&self) -> bool {
        self.private.as_ref().is_some_and(|stack| stack.pg_url().is_some())
    }

    /// Stops what was started.
    pub async fn close(self) {
        if let Some(stack) = self.private
            && let Err(error) = stack.stop().await
        {
            tracing::warn!(%error, "a private store did not stop in order");
        }
    }
}

/// The lock under which the schema is changed; the number is arbitrary and ours.
const MIGRATION_LOCK: i64 = 5_717_354_854;

/// Brings the schema up to date. Servers that start together take turns.
///
/// # Errors
/// What the database answers.
pub async fn migrate(db: &Db) -> Result<()> {
    let work = async {
        let missing = missing(db).await?.len();
        if missing > 0 {
            Migrator::up(db.pool(), None).await?;
            tracing::info!("brought the schema up to date: {missing} steps");
        }
        Ok(())
    };
    db.exclusively("db.migrate", MIGRATION_LOCK, work).await
}

/// The names of the steps that the schema lacks.
///
/// # Errors
/// What the database answers; that the schema is newer than this binary.
pub async fn missing(db: &Db) -> Result<Vec<String>> {
    // Not the migrator's own question: it makes the table where there is none, and who asks may have no right to.
    const IS_THERE: &str = "select 1 from pg_tables where schemaname = 'public' and tablename = 'seaql_migrations'";
    let applied = match db.is_there("db.has_steps", IS_THERE, vec![]).await? {
        true => db.lines("db.steps", "select version as line from public.seaql_migrations").await?,
        false => Vec::new(),
    };
    let own: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    if let Some(newer) = applied.iter().find(|step| !own.contains(step)) {
        return Err(Error::unavailable(format!("the schema is newer than this program: it has a step {newer}")));
    }
    Ok(own.into_iter().filter(|name| !applied.contains(name)).collect())
}

/// What the schema lacks of its shape, as lines of [`overlay_migration::SHAPE`].
///
/// # Errors
/// What the database answers.
pub async fn misshapen(db: &Db) -> Result<Vec<&'static str>> {
    let found: HashSet<String> = db.lines("db.shape", overlay_migration::ASK_SHAPE).await?.into_iter().collect();
    Ok(overlay_migration::SHAPE.lines().filter(|line| !found.contains(*line)).collect())
}

/// The tables whose changes are in the feed.
pub fn covered() -> Vec<&'static str> {
    overlay_migration::triggers::covered_tables().collect()
}

/// The database with time for upkeep: migrations and imports run statements that no request may, in sessions that no pooler
/// shares out.
pub fn upkeep(database: &db::Config) -> db::Config {
    let statement_timeout = Duration::from_secs(600);
    db::Config { pooler: None, pool_min: 0, pool_max: 2, statement_timeout, ..database.clone() }
}

/// The rooms over open stores.
///
/// # Errors
/// `unavailable` when PostgreSQL cannot be reached; `internal` when the schema is not migrated.
pub async fn furnish(config: &Config, database: &db::Config, redis: Option<&RedisConfig>) -> Result<App> {
    // What is counted before there is a recorder is lost, the first epoch among it.
    telemetry::metrics()?;
    let db = Db::connect(database).await?;
    let clock = Arc::new(Clock::new(config.max_staleness));
    let feed = Feed::start(database, config.feed, clock.clone()).await?;
    if database.pooler.is_some() {
        feed.leads_here(&db).await?;
    }
    prune::start(db.clone(), &feed, config.feed_retention);
    let redis = redis.map(Redis::start).transpose()?;
    let replicas = Replicas::start(&config.replicas, clock.clone()).await?;
    let cache = Cache::new(clock, db.clone(), replicas, redis, config.cache.clone());
    Ok(App::new(db, cache, feed, config.market.terms.clone(), config.market.admins.clone()))
}

/// A server that listens.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it serves.
    pub app: App,
    drain: Drain,
    /// How long it serves on once it is to stop.
    drain_for: Duration,
    done: JoinHandle<()>,
    follower: Option<Follower>,
    sweeper: Sweeper,
    retention: Option<Retention>,
    warming: Option<WarmUp>,
}

impl Server {
    /// Binds and serves.
    ///
    /// # Errors
    /// `bad-request` when the address cannot be bound, with what to do.
    pub async fn start(config: &Config, app: App) -> Result<Self> {
        let listener = bind(config).await?;
        allow_files(config.http.limits.connections);
        let address = listener.local_addr().map_err(Error::internal)?;
        let served = Served::new(config, app.clone())?;
        let (drain, is_warming) = (served.drain.clone(), served.is_warming.clone());
        let front = service(served);
        let http = &config.http;
        let warming =
            (http.warm_requests > 0).then(|| WarmUp::start(&front, is_warming, http.warm_requests, http.warm_rate));
        let done = tokio::spawn(listener::serve(listener, front));
        let follower = config.market.headers.clone().map(|settings| Follower::start(app.clone(), settings));
        let sweeper = Sweeper::start(app.clone(), config.market.sweep);
        let retention = config.market.lineage_keep_days.map(|days| Retention::start(app.clone(), days));
        Ok(Self { address, app, drain, drain_for: http.drain, done, follower, sweeper, retention, warming })
    }

    /// Says that it is not ready and serves on for `DRAIN_MS`; then takes no more connections, lets requests that are under
    /// way finish (10 s at most), and closes the pools (4 s at most).
    pub async fn stop(self) {
        if !self.drain_for.is_zero() {
            self.drain.reach(Phase::Draining);
            tracing::info!("not ready any more; serving on for {:?}", self.drain_for);
            tokio::time::sleep(self.drain_for).await;
        }
        drop((self.follower, self.sweeper, self.retention, self.warming));
        // First: a subscriber who comes back at once is to come to another server.
        self.drain.reach(Phase::Stopping);
        let subscribers = async {
            // Who is told of changes is sent home: connections that last would keep the server from stopping.
            if tokio::time::timeout(Duration::from_secs(3), self.app.feed.changes().end()).await.is_err() {
                tracing::warn!("some subscribers did not close");
            }
        };
        let requests = async {
            if tokio::time::timeout(Duration::from_secs(10), self.done).await.is_err() {
                tracing::warn!("some requests were cut off");
            }
        };
        tokio::join!(subscribers, requests);
        self.app.feed.stop();
        tokio::join!(self.app.cache.replicas().close(), self.app.db.clone().close());
    }
}

/// Files that are open beside connections of clients: stores, logs, the program itself.
const OTHER_FILES: u64 = 500;

/// Lets the process have as many files open as it may have connections, as far as the system allows it: the limit that most
/// shells set is made for programs of long ago.
fn allow_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = connections as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if current.is_some_and(|current| current < allowed) {
        let _else_it_stays = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    }
    if allowed < wanted {
        tracing::info!(connections, files = allowed, "fewer files may be open (ulimit -Hn) than MAX_CONNECTIONS needs");
    }
}

/// Ports tried after the default one when nobody chose a port: two checkouts run side by side.
const NEIGHBOURS: u16 = 10;

async fn bind(config: &Config) -> Result<TcpListener> {
    let wanted = config.http.listen;
    let last = if config.http.port_is_set { wanted.port() } else { wanted.port().saturating_add(NEIGHBOURS) };
    for port in wanted.port()..=last {
        match listen(SocketAddr::new(wanted.ip(), port)) {
            Ok(listener) => {
                if port != wanted.port() {
                    tracing::warn!("port {} is taken: listening on {port} instead", wanted.port());
                }
                return Ok(listener);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(Error::invalid(format!("cannot listen on {wanted}: {e}"))),
        }
    }
    Err(Error::invalid(format!("port {} is taken: set OVERLAY_PORT to another one", wanted.port())))
}

/// Connections that wait to be accepted, at most; the kernel's `net.core.somaxconn` bounds it further. With the 128
/// of the standard library, a burst of clients waits for seconds until its handshakes are tried again.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a restart takes its port back at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What asks the process to stop: Ctrl-C, SIGTERM, or a terminal that is closed.
pub struct Stop([Option<Signal>; 3]);

impl Stop {
    /// Listens from now on: what asks between two calls of [`Self::asked`] is heard by the second.
    pub fn listen() -> Self {
        Self([SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok()))
    }

    /// Resolves when something asks.
    pub async fn asked(&mut self) {
        std::future::poll_fn(|cx| {
            let is_asked = |signal: &mut Signal| signal.poll_recv(cx).is_ready();
            // Each is looked at, so that each wakes us.
            let asked = self.0.iter_mut().flatten().map(is_asked).fold(false, |any, one| any | one);
            if asked { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        tracing::info!("stopping");
    }
}

/// Resolves when the process is asked to stop.
pub async fn asked_to_stop() {
    Stop::listen().asked().await;
}
