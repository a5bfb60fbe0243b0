//! The SQL that keeps policies.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde_json::Value;

use crate::db::Tx;
use crate::error::Result;

const CREATE: &str = "\
    insert into public.policies (policy_id, name, enabled, doc, created_at, updated_at) values ($1, $2, $3, $4, $5, $5) \
    on conflict do nothing";

const SAVE: &str = "\
    insert into public.policies (policy_id, name, enabled, doc, created_at, updated_at) values ($1, $2, $3, $4, $5, $5) \
    on conflict (policy_id) do update \
        set name = excluded.name, enabled = excluded.enabled, doc = excluded.doc, updated_at = excluded.updated_at";

const CHANGE: &str = "\
    update public.policies set name = coalesce($2, name), enabled = coalesce($3, enabled), doc = coalesce($4, doc), \
        updated_at = $5 where policy_id = $1";

const REMOVE: &str = "delete from public.policies where policy_id = $1";

const SAME: &str = "\
    select policy_id from public.policies where policy_id = $1 and name = $2 and enabled = $3 and doc = $4";

#[derive(FromQueryResult)]
struct Same {
    policy_id: String,
}

/// Whether it is there as it is to be.
pub(super) async fn is_same(tx: &Tx, id: &str, name: &str, enabled: bool, document: Value) -> Result<bool> {
    let values = vec![id.into(), name.into(), enabled.into(), document.into()];
    let found: Vec<Same> = tx.all("policies.same", SAME, values).await?;
    Ok(found.iter().any(|same| same.policy_id == id))
}

/// Whether it was not there before.
pub(super) async fn create(
    tx: &Tx, id: &str, name: &str, enabled: bool, document: Value, now: DateTime<Utc>,
) -> Result<bool> {
    let values = vec![id.into(), name.into(), enabled.into(), document.into(), now.into()];
    Ok(tx.execute("policies.create", CREATE, values).await? > 0)
}

/// Puts it in the place of the one that is there, if there is one.
pub(super) async fn save(
    tx: &Tx, id: &str, name: &str, enabled: bool, document: Value, now: DateTime<Utc>,
) -> Result<()> {
    let values = vec![id.into(), name.into(), enabled.into(), document.into(), now.into()];
    tx.execute("policies.save", SAVE, values).await?;
    Ok(())
}

/// Whether there is one.
pub(super) async fn change(
    tx: &Tx, id: &str, name: Option<String>, enabled: Option<bool>, document: Option<Value>, now: DateTime<Utc>,
) -> Result<bool> {
    let values = vec![id.into(), name.into(), enabled.into(), document.into(), now.into()];
    Ok(tx.execute("policies.change", CHANGE, values).await? > 0)
}

/// Whether there was one.
pub(super) async fn remove(tx: &Tx, id: &str) -> Result<bool> {
    Ok(tx.execute("policies.remove", REMOVE, vec![id.into()]).await? > 0)
}
