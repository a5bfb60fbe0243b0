//! The SQL that registers producers.

use sea_orm::FromQueryResult;

use super::Profile;
use crate::db::Tx;
use crate::error::{Error, Result};

const REGISTER: &str = "\
    insert into public.producers (producer_id, identity_key, display_name, website, payout_script_hex) \
    values ($1, $2, $3, $4, $5) \
    on conflict (identity_key) do update set display_name = excluded.display_name, website = excluded.website, \
        payout_script_hex = excluded.payout_script_hex \
    returning producer_id";

#[derive(FromQueryResult)]
struct Registered {
    producer_id: String,
}

/// The identifier under which the key is registered.
pub(super) async fn register(tx: &Tx, new_id: &str, key: &str, profile: Profile) -> Result<String> {
    let Profile { name, website, payout_script_hex } = profile;
    let values = vec![new_id.into(), key.into(), name.into(), website.into(), payout_script_hex.into()];
    let rows: Vec<Registered> = tx.all("producers.register", REGISTER, values).await?;
    let row = rows.into_iter().next().ok_or_else(|| Error::internal("an upsert answers its row"))?;
    Ok(row.producer_id)
}
