//! The command `doctor`: what `flows::doctor` finds, told.

use overlay::boot::{self, Stores, upkeep};
use overlay::cache::Redis;
use overlay::config::Config;
use overlay::db::Db;
use overlay::error::{Error, Result};
use overlay::flows::doctor::{self, Finding, State};

/// Looks at what the server stands on, and tells of each thing how it is and what to do.
///
/// # Errors
/// When anything is bad, and when PostgreSQL cannot be reached.
pub(crate) async fn examine(config: &Config, stores: &Stores, say: fn(&str) -> Result<()>) -> Result<()> {
    let redis = stores.redis.as_ref().map(Redis::start).transpose()?;
    let mut bad = tell(&doctor::redis(redis.as_ref()).await, say)?;
    for (at, replica) in config.replicas.databases.iter().enumerate() {
        bad += tell(&doctor::replica(at + 1, &upkeep(replica)).await, say)?;
    }
    let db = Db::connect(&upkeep(&stores.database)).await?;
    let (missing, misshapen) = (boot::missing(&db).await, boot::misshapen(&db).await?);
    let has_policies = missing.as_ref().is_ok_and(Vec::is_empty) && !misshapen.contains(&"table policies");
    let schema = doctor::Schema { missing, misshapen, covered: boot::covered() };
    for finding in doctor::postgresql(&db, &schema, stores.database.pool_max).await? {
        bad += tell(&finding, say)?;
    }
    if let Some(id) = config.market.terms.policy_default_id.as_deref().filter(|_| has_policies) {
        bad += tell(&doctor::policy(&db, id).await?, say)?;
    }
    if stores.database.pooler.is_some() {
        let config = overlay::db::Config { pool_min: 0, ..stores.database.clone() };
        bad += tell(&doctor::pooler(&db, &config).await?, say)?;
    }
    db.close().await;
    match bad {
        0 => Ok(()),
        1 => Err(Error::unavailable("1 thing is bad")),
        _ => Err(Error::unavailable(format!("{bad} things are bad"))),
    }
}

/// Writes a finding; answers how many bad ones that makes.
fn tell(finding: &Finding, say: fn(&str) -> Result<()>) -> Result<usize> {
    let Finding { state, what, advice } = finding;
    let word = match state {
        State::Good => "good",
        State::Warning => "warn",
        State::Bad => "BAD ",
    };
    say(&if advice.is_empty() { format!("{word}  {what}\n") } else { format!("{word}  {what}\n      {advice}\n") })?;
    Ok(usize::from(*state == State::Bad))
}
