//! Connections to PostgreSQL: how they are made, how long one is waited for.

use std::time::Duration;

use sea_orm::sqlx::Connection;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError};

use super::fault::explained;
use crate::error::{Error, Result};

/// How to reach PostgreSQL.
#[derive(Clone)]
pub struct Config {
    /// `postgres://…`; holds the password, so it is never logged.
    pub url: String,
    /// A pooler in front of that server, which requests go through; it may give each transaction another connection. All that
    /// needs a session of its own (the feed, wake-ups, locks, migrations) goes to the server itself.
    pub pooler: Option<String>,
    /// Connections kept open.
    pub pool_min: u32,
    /// Connections at most.
    pub pool_max: u32,
    /// Longest time PostgreSQL may spend on one statement.
    pub statement_timeout: Duration,
    /// Longest wait for a connection: until one comes free, and until a new one is made.
    pub acquire_timeout: Duration,
    /// Longest wait for one to come free while none does.
    pub standstill: Duration,
}

impl Config {
    /// A configuration with the default sizes.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pooler: None,
            pool_min: 2,
            pool_max: 20,
            statement_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(2),
            standstill: Duration::from_millis(80),
        }
    }
}

/// Opens `max` connections at most, with the house's session settings.
///
/// # Errors
/// `unavailable` when PostgreSQL cannot be reached or refuses the login.
pub async fn connect(config: &Config, name: &str, min: u32, max: u32) -> Result<DatabaseConnection> {
    Database::connect(options(config, name, min, max)).await.map_err(explained)
}

/// As [`connect`], for a process that starts: it says where nobody answers, and why.
///
/// # Errors
/// As [`connect`].
pub(super) async fn first(config: &Config, name: &str, min: u32, max: u32) -> Result<DatabaseConnection> {
    let cause = match Database::connect(options(config, name, min, max)).await {
        Ok(pool) => return Ok(pool),
        Err(cause) => cause,
    };
    match &cause {
        DbErr::Conn(RuntimeErr::SqlxError(why)) if matches!(why.as_ref(), SqlxError::PoolTimedOut) => {
            Err(told(config).await.unwrap_or_else(|| explained(cause)))
        }
        _ => Err(explained(cause)),
    }
}

/// The pool says nothing of why it got no connection in time: what a connection of its own is told.
async fn told(config: &Config) -> Option<Error> {
    let options = config.url.parse::<PgConnectOptions>().ok()?;
    let place = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let told = match tokio::time::timeout(config.acquire_timeout, PgConnection::connect_with(&options)).await {
        Ok(Ok(_connection)) => return None,
        Ok(Err(cause)) => cause.to_string(),
        Err(_) => format!("no answer in {} ms", config.acquire_timeout.as_millis()),
    };
    Some(Error::unavailable(format!("PostgreSQL at {place} cannot be reached: {told}")))
}

/// How long [`close`] waits for connections that are in use. With the 10 s that a server which stops gives to requests it stays
/// below the 15 s that supervisors are told to wait.
const CLOSE: Duration = Duration::from_secs(4);

/// Closes a pool. A connection that does not come back (its network may be gone) must not keep the process from ending.
pub async fn close(pool: &DatabaseConnection) {
    if tokio::time::timeout(CLOSE, pool.get_postgres_connection_pool().close()).await.is_err() {
        tracing::warn!("some database connections did not close");
    }
}

pub(super) fn options(config: &Config, name: &str, min: u32, max: u32) -> ConnectOptions {
    let timeout_ms = config.statement_timeout.as_millis().to_string();
    let mut options = sized(&config.url, config, name, min, max);
    options.map_sqlx_postgres_opts(move |options| {
        // One time zone, so that the text form of a timestamp means the same everywhere; no JIT: our
        // statements are short, compiling them takes longer than running them.
        let settings = [("statement_timeout", timeout_ms.as_str()), ("TimeZone", "UTC"), ("jit", "off")];
        // A statement by identifiers is planned once: PostgreSQL takes a list for ten unless it looks at it, so it
        // would look, and plan, every time, which takes longer than the statement itself.
        options.options(settings).options([("plan_cache_mode", "force_generic_plan")])
    });
    options
}

pub(super) fn sized(url: &str, config: &Config, name: &str, min: u32, max: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .min_connections(min)
        .max_connections(max)
        .acquire_timeout(config.acquire_timeout)
        .connect_timeout(config.acquire_timeout)
        // A ping before every use costs a round trip; an idle connection is the one that may have died.
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .sqlx_logging(false)
        .set_application_name(format!("overlay-{name}"));
    options
}

/// How the connection pool stands.
#[derive(Debug, Clone, Copy)]
pub struct PoolStats {
    /// Open connections.
    pub size: u32,
    /// Open and unused.
    pub idle: usize,
    /// The limit.
    pub max: u32,
}
