//! The SQL that keeps policies.

use chrono::{DateTime, Utc};
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
