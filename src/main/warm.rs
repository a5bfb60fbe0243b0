//! The command `warm`: fills Redis with the answers to what is asked for most.

use overlay::boot::{self, Stores};
use overlay::config::Config;
use overlay::error::{Error, Result};
use overlay::transport::http::{Served, service};
use overlay::transport::popular;

/// Asks for `most` requests, `rate` a second; says how many there were.
pub(crate) async fn up(
    config: &Config, stores: &Stores, (most, rate): (usize, u32), say: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    if stores.redis.is_none() {
        return Err(Error::invalid("there is no Redis, where answers could be kept: set REDIS_URL"));
    }
    let app = boot::furnish(config, &stores.database, stores.redis.as_ref()).await?;
    let front = service(Served::new(config, app)?);
    match popular::warm(&front, most, rate).await {
        0 => say("nothing was counted yet: servers count what is asked for most when WARM_REQUESTS is more than 0\n"),
        asked => say(&format!("asked for the {asked} requests that are asked for most\n")),
    }
}
