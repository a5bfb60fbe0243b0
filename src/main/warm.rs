//! The command `warm`: fills Redis with the answers to what is asked for most.

use std::time::Duration;

use overlay::boot::{self, Stores};
use overlay::config::Config;
use overlay::error::{Error, Result};
use overlay::transport::http::{Served, service};
use overlay::transport::popular;

/// Longest wait for Redis.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks for `most` requests, `rate` a second; says how many there were.
pub(crate) async fn up(
    config: &Config, stores: &Stores, (most, rate): (usize, u32), say: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let app = boot::furnish(config, &stores.database, stores.redis.as_ref()).await?;
    let redis = app.cache.redis();
    let redis = redis.ok_or_else(|| Error::invalid("there is no Redis, where answers could be kept: set REDIS_URL"))?;
    redis.answers(PATIENCE).await?;
    let front = service(Served::new(config, app)?);
    match popular::warm(&front, most, rate).await {
        0 => say("nothing was counted yet: servers count what is asked for most when WARM_REQUESTS is more than 0\n"),
        asked => say(&format!("asked for the {asked} requests that are asked for most\n")),
    }
}
