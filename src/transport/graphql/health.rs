//! Health in GraphQL: what `/health` and `/health/db` say.

use std::time::Duration;

use async_graphql::{Context, Enum, Object};

use super::loaders::Loaders;
use crate::cache::Outcome;
use crate::flows::health::{Health, Status};

/// How the server is doing.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Status", name = "HealthStatus")]
enum HealthStatus {
    /// All is well.
    Ok,
    /// Reads work, slower than they should: Redis is away, or the change feed lags.
    Degraded,
    /// PostgreSQL is away: reads that no cache has fail.
    Error,
}

/// How the server and what it stands on are doing. Times are milliseconds.
struct HealthNode(Health);

#[Object(name = "Health")]
impl HealthNode {
    /// The overall verdict.
    async fn status(&self) -> HealthStatus {
        self.0.status.into()
    }

    /// Version of the server.
    async fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// PostgreSQL's round trip; null when it does not answer.
    async fn postgresql_ms(&self) -> Option<f64> {
        ms(self.0.postgresql)
    }

    /// Whether a Redis is configured.
    async fn has_redis(&self) -> bool {
        self.0.has_redis
    }

    /// Redis's round trip; null when it does not answer or there is none.
    async fn redis_ms(&self) -> Option<f64> {
        ms(self.0.redis)
    }

    /// Age of what the change feed knows; null before its first look.
    async fn feed_lag_ms(&self) -> Option<f64> {
        ms(self.0.feed_lag)
    }
}

/// To the microsecond.
fn ms(time: Option<Duration>) -> Option<f64> {
    time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
}

#[derive(Default)]
pub(super) struct HealthQuery;

#[Object]
impl HealthQuery {
    /// How the server is doing. Every part is asked for each request.
    #[graphql(complexity = "100 + child_complexity")]
    async fn health(&self, ctx: &Context<'_>) -> HealthNode {
        let loaders = ctx.data_unchecked::<Loaders>();
        loaders.caller.ledger().live(Outcome::Hit);
        HealthNode(loaders.health().await.clone())
    }
}
