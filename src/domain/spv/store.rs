//! The SQL of headers and declarations.

use std::collections::HashMap;

use overlay_entity::ids::VersionId;
use sea_orm::FromQueryResult;

use super::chain::{At, Block};
use super::declared::Declared;
use super::hash::Hash32;
use crate::db::Db;
use crate::error::{Error, Result};

#[derive(FromQueryResult)]
struct BlockRow {
    hash: String,
    height: i32,
    merkle_root: String,
    is_tip: bool,
}

/// Blocks by hash as far as they are on the best chain, and the tip.
const BLOCKS: &str = "\
    select hash, height, merkle_root, false as is_tip from public.block_headers where on_best_chain and hash = any($1::text[]) \
    union all \
    (select hash, height, merkle_root, true from public.block_headers where on_best_chain order by height desc limit 1)";

pub(super) async fn blocks(db: &Db, wanted: &[At]) -> Result<HashMap<At, Block>> {
    let hash = |at: &At| match at {
        At::Hash(hash) => Some(hash.to_string()),
        At::Tip => None,
    };
    let hashes: Vec<String> = wanted.iter().filter_map(hash).collect();
    let rows: Vec<BlockRow> = db.all("spv.blocks", BLOCKS, vec![hashes.into()]).await?;
    let block = |row: BlockRow| {
        let hash: Hash32 = row.hash.parse().map_err(Error::internal)?;
        let merkle_root = row.merkle_root.parse().map_err(Error::internal)?;
        let height = u32::try_from(row.height).map_err(Error::internal)?;
        Ok((if row.is_tip { At::Tip } else { At::Hash(hash) }, Block { hash, height, merkle_root }))
    };
    rows.into_iter().map(block).collect()
}

#[derive(FromQueryResult)]
struct DeclaredRow {
    version_id: String,
    txid: String,
    vout: i32,
    kind: String,
    envelope: Option<serde_json::Value>,
}

const DECLARED: &str = "\
    select d.version_id, d.txid, d.vout, d.kind, d.envelope \
    from unnest($1::text[]) as wanted(id) join public.declarations d on d.version_id = wanted.id";

pub(super) async fn declared(db: &Db, ids: &[VersionId]) -> Result<HashMap<VersionId, Declared>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<DeclaredRow> = db.all("spv.declared", DECLARED, vec![ids.into()]).await?;
    let declared = |row: DeclaredRow| {
        let id: VersionId = row.version_id.parse().map_err(Error::internal)?;
        let txid: Hash32 = row.txid.parse().map_err(Error::internal)?;
        let vout = u32::try_from(row.vout).map_err(Error::internal)?;
        Ok((id, Declared::of(id, txid, vout, row.kind, row.envelope)?))
    };
    rows.into_iter().map(declared).collect()
}
