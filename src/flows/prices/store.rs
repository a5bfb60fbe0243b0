//! The SQL that sets and removes prices.

use sea_orm::FromQueryResult;

use super::{Rule, Scope};
use crate::db::Tx;
use crate::error::{Error, Result};

const SET_FOR_VERSION: &str = "\
    insert into public.price_rules (rule_id, version_id, tier_from, satoshis) values ($1, $2, $3, $4) \
    on conflict (version_id, tier_from) where version_id is not null \
        do update set satoshis = excluded.satoshis, updated_at = now() \
    returning rule_id";

const SET_FOR_PRODUCER: &str = "\
    insert into public.price_rules (rule_id, producer_id, tier_from, satoshis) values ($1, $2, $3, $4) \
    on conflict (producer_id, tier_from) where producer_id is not null \
        do update set satoshis = excluded.satoshis, updated_at = now() \
    returning rule_id";

const REMOVE_FOR_VERSION: &str = "delete from public.price_rules where version_id = $1 and tier_from = $2";

const REMOVE_FOR_PRODUCER: &str = "delete from public.price_rules where producer_id = $1 and tier_from = $2";

#[derive(FromQueryResult)]
struct Kept {
    rule_id: String,
}

/// The rule as it is kept: one that was there keeps its identifier.
pub(super) async fn set(tx: &Tx, rule: Rule) -> Result<Rule> {
    let (sql, scope) = match &rule.scope {
        Scope::Version(id) => (SET_FOR_VERSION, id.to_string()),
        Scope::Producer(id) => (SET_FOR_PRODUCER, id.clone()),
    };
    let values = vec![rule.rule_id.clone().into(), scope.into(), rule.tier_from.into(), rule.satoshis.into()];
    let rows: Vec<Kept> = tx.all("prices.set", sql, values).await?;
    let kept = rows.into_iter().next().ok_or_else(|| Error::internal("an upsert answers its row"))?;
    Ok(Rule { rule_id: kept.rule_id, ..rule })
}

/// Whether there was one.
pub(super) async fn remove(tx: &Tx, scope: &Scope, tier_from: i32) -> Result<bool> {
    let (sql, scope) = match scope {
        Scope::Version(id) => (REMOVE_FOR_VERSION, id.to_string()),
        Scope::Producer(id) => (REMOVE_FOR_PRODUCER, id.clone()),
    };
    Ok(tx.execute("prices.remove", sql, vec![scope.into(), tier_from.into()]).await? > 0)
}
