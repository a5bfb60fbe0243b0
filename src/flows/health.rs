//! How the server and what it stands on are doing.

use std::time::Duration;

use crate::app::App;
use crate::db::PoolStats;

/// The overall verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// Reads work, slower than they should, or not all of them: Redis is away, the feed lags, or all connections are in use.
    Degraded,
    /// PostgreSQL is away: reads that no cache has fail.
    Error,
}

impl Status {
    /// The word in the answer.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Error => "error",
        }
    }
}

/// The state of each part.
#[derive(Debug, Clone)]
pub struct Health {
    /// The overall verdict.
    pub status: Status,
    /// PostgreSQL's round trip; `None` when it does not answer.
    pub postgresql: Option<Duration>,
    /// Whether a Redis is configured at all.
    pub has_redis: bool,
    /// Redis's round trip; `None` when it does not answer or there is none.
    pub redis: Option<Duration>,
    /// The connection pool.
    pub pool: PoolStats,
    /// Age of what the feed knows; `None` before its first poll.
    pub feed_lag: Option<Duration>,
    /// The feed's horizon, a transaction id.
    pub horizon: u64,
}

/// Longest wait for one part's answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks every part.
pub async fn check(app: &App) -> Health {
    let postgresql = tokio::time::timeout(PATIENCE, app.db.ping());
    let redis = async {
        match app.cache.redis() {
            Some(redis) => redis.ping().await.ok(),
            None => None,
        }
    };
    let (postgresql, redis) = tokio::join!(postgresql, redis);
    let postgresql = postgresql.ok().and_then(Result::ok);
    let has_redis = app.cache.redis().is_some();
    let (clock, pool) = (app.cache.clock(), app.db.pool_stats());
    let status = match (postgresql, !has_redis || redis.is_some(), clock.is_trustworthy()) {
        (Some(_), true, true) => Status::Ok,
        // All connections are in use, but not the feed's: PostgreSQL is there, and what is cached can be served.
        (None, _, true) if pool.idle == 0 && pool.size >= pool.max => Status::Degraded,
        (None, ..) => Status::Error,
        (Some(_), ..) => Status::Degraded,
    };
    Health { status, postgresql, has_redis, redis, pool, feed_lag: clock.age(), horizon: clock.moment().as_of }
}
