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
    by: i32,
}

/// Blocks of the best chain: by hash, by height, the tip, and by root, which has no index and is seldom asked for.
const BLOCKS: &str = "\
    select hash, height, merkle_root, 0 as by from public.block_headers where on_best_chain and hash = any($1::text[]) \
    union all \
    select hash, height, merkle_root, 1 from public.block_headers where on_best_chain and height = any($2::integer[]) \
    union all \
    (select hash, height, merkle_root, 2 from public.block_headers where on_best_chain order by height desc limit 1) \
    union all \
    select hash, height, merkle_root, 3 from public.block_headers \
        where on_best_chain and cardinality($3::text[]) > 0 and merkle_root = any($3::text[])";

pub(super) async fn blocks(db: &Db, wanted: &[At]) -> Result<HashMap<At, Block>> {
    let (mut hashes, mut heights, mut roots) = (Vec::new(), Vec::new(), Vec::new());
    for at in wanted {
        match at {
            At::Hash(hash) => hashes.push(hash.to_string()),
            // What no height of the table can be is not there.
            At::Height(height) => heights.extend(i32::try_from(*height)),
            At::Root(root) => roots.push(root.to_string()),
            At::Tip => {}
        }
    }
    let rows: Vec<BlockRow> = db.all("spv.blocks", BLOCKS, vec![hashes.into(), heights.into(), roots.into()]).await?;
    let block = |row: BlockRow| {
        let hash: Hash32 = row.hash.parse().map_err(Error::internal)?;
        let merkle_root: Hash32 = row.merkle_root.parse().map_err(Error::internal)?;
        let height = u32::try_from(row.height).map_err(Error::internal)?;
        let at = match row.by {
            0 => At::Hash(hash),
            1 => At::Height(height),
            2 => At::Tip,
            _ => At::Root(merkle_root),
        };
        Ok((at, Block { hash, height, merkle_root }))
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

/// The same, but no envelopes where all together have more than `$2` bytes.
const BOUNDED: &str = "\
    select version_id, txid, vout, kind, case when not is_heavy then envelope end as envelope, is_heavy \
    from (select d.*, coalesce(sum(octet_length(d.envelope::text)) over () > $2, false) as is_heavy \
        from unnest($1::text[]) as wanted(id) join public.declarations d on d.version_id = wanted.id) as d";

/// The declarations of many, as far as all their envelopes have at most `bytes` together; `None` when they have more.
pub(super) async fn bounded(db: &Db, ids: &[VersionId], bytes: i64) -> Result<Option<HashMap<VersionId, Declared>>> {
    #[derive(FromQueryResult)]
    struct Heavy {
        is_heavy: bool,
        #[sea_orm(nested)]
        row: DeclaredRow,
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<Heavy> = db.all("spv.declared", BOUNDED, vec![ids.into(), bytes.into()]).await?;
    if rows.first().is_some_and(|heavy| heavy.is_heavy) {
        return Ok(None);
    }
    read(rows.into_iter().map(|heavy| heavy.row)).map(Some)
}

pub(super) async fn declared(db: &Db, ids: &[VersionId]) -> Result<HashMap<VersionId, Declared>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<DeclaredRow> = db.all("spv.declared", DECLARED, vec![ids.into()]).await?;
    read(rows.into_iter())
}

fn read(rows: impl Iterator<Item = DeclaredRow>) -> Result<HashMap<VersionId, Declared>> {
    let declared = |row: DeclaredRow| {
        let id: VersionId = row.version_id.parse().map_err(Error::internal)?;
        let txid: Hash32 = row.txid.parse().map_err(Error::internal)?;
        let vout = u32::try_from(row.vout).map_err(Error::internal)?;
        Ok((id, Declared::of(id, txid, vout, row.kind, row.envelope)?))
    };
    rows.map(declared).collect()
}
