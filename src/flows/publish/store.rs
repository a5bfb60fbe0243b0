//! The declaration's SQL.

use overlay_entity::ids::VersionId;
use sea_orm::FromQueryResult;
use serde_json::Value;

use super::Row;
use crate::db::{Db, Tx};
use crate::domain::spv::{Verified, decode_hex};
use crate::error::{Error, Kind, Result};

/// Asked once the row is there, ours or somebody else's: who declares the same at a time has then been waited for.
const OTHERS: &str = "select version_id, txid from public.declarations where version_id = $1 or txid = $2";

const DECLARE: &str = "\
    insert into public.declarations (version_id, txid, vout, kind, raw_tx) values ($1, $2, $3, $4, $5) \
    on conflict do nothing";

/// What stands in the way of the right transaction: one that declares nothing where this one does, or one whose proof does not
/// hold now, where this one's does. A version published with the wrong transaction, or one that a reorg has replaced, is not lost.
const MAKE_WAY: &str = "\
    delete from public.declarations d where d.version_id = $1 and d.txid <> $2 and (d.kind <> 'DLM1' and $3 = 'DLM1' \
        or $4 and not exists (select from public.block_headers h where h.hash = d.block_hash and h.on_best_chain))";

const ATTACH: &str = "\
    update public.declarations set envelope = $2, block_hash = $3, block_height = $4, updated_at = now() \
    where version_id = $1 and envelope is distinct from $2";

/// When and where a proof was verified; never how deep.
const VERIFIED: &str = "\
    insert into public.bundle_audit (version_id, block_hash, block_height) values ($1, $2, $3) \
    on conflict (version_id, block_hash) do update set reorged = false where bundle_audit.reorged";

#[derive(FromQueryResult)]
struct Other {
    version_id: String,
    txid: String,
}

/// The declaring transaction; nothing where only its identifier was kept.
pub(super) async fn raw_tx(db: &Db, version_id: VersionId) -> Result<Vec<u8>> {
    #[derive(FromQueryResult)]
    struct Raw {
        raw_tx: Option<String>,
    }
    const SQL: &str = "select raw_tx from public.declarations where version_id = $1";
    let row: Option<Raw> = db.one("publish.raw_tx", SQL, vec![version_id.to_string().into()]).await?;
    decode_hex(&row.and_then(|row| row.raw_tx).unwrap_or_default()).map_err(Error::internal)
}

/// Writes a declaration, and its proof if it has one. What is there already stays as it is, unless it is worth nothing beside
/// this one. Answers whether its proof is new.
pub(super) async fn declare(tx: &Tx, row: &Row) -> Result<bool> {
    let (id, txid) = (row.version_id.to_string(), row.txid.to_string());
    let vout = i32::try_from(row.vout).map_err(Error::internal)?;
    let made_way = vec![id.clone().into(), txid.clone().into(), row.kind.as_str().into(), row.proof.is_some().into()];
    tx.execute("publish.make_way", MAKE_WAY, made_way).await?;
    let values =
        vec![id.clone().into(), txid.clone().into(), vout.into(), row.kind.as_str().into(), row.raw_tx.clone().into()];
    tx.execute("publish.declare", DECLARE, values).await?;
    let others: Vec<Other> = tx.all("publish.others", OTHERS, vec![id.clone().into(), txid.clone().into()]).await?;
    if let Some(other) = others.iter().find(|other| other.version_id != id || other.txid != txid) {
        let message = format!("version {} is declared by transaction {} already", other.version_id, other.txid);
        return Err(Error::new(Kind::Conflict, "already-declared", message).hint("rawTx"));
    }
    match &row.proof {
        Some(proof) => attach(tx, row.version_id, proof).await,
        None => Ok(false),
    }
}

/// Puts a proof to a declaration; answers whether it had another or none.
pub(super) async fn attach(tx: &Tx, version_id: VersionId, (envelope, verified): &(Value, Verified)) -> Result<bool> {
    let (id, hash) = (version_id.to_string(), verified.block_hash.to_string());
    let height = i32::try_from(verified.block_height).map_err(Error::internal)?;
    let values = vec![id.clone().into(), envelope.clone().into(), hash.clone().into(), height.into()];
    let is_new = tx.execute("publish.attach", ATTACH, values).await? > 0;
    tx.execute("publish.verified", VERIFIED, vec![id.into(), hash.into(), height.into()]).await?;
    Ok(is_new)
}
