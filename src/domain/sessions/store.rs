//! The nonces' SQL.

use sea_orm::FromQueryResult;

use crate::db::Db;
use crate::error::Result;

#[derive(FromQueryResult)]
#[expect(dead_code, reason = "that there is one is all that is asked")]
struct Burnt {
    nonce: String,
}

/// Old ones go as new ones come, a few at a time.
const BURN: &str = "\
    with old as (delete from public.request_nonces where (identity_key, nonce) in ( \
        select identity_key, nonce from public.request_nonces where used_at < now() - $3 * interval '1 second' \
        order by used_at limit 10 for update skip locked)) \
    insert into public.request_nonces (identity_key, nonce) values ($1, $2) on conflict do nothing returning nonce";

/// Uses a nonce up; false when it was used before. It is remembered for `retention_s` seconds at least.
pub(super) async fn burn(db: &Db, identity_key: &str, nonce: &str, retention_s: i64) -> Result<bool> {
    let values = vec![identity_key.to_owned().into(), nonce.to_owned().into(), retention_s.into()];
    let rows: Vec<Burnt> = db.all("sessions.burn", BURN, values).await?;
    Ok(!rows.is_empty())
}
