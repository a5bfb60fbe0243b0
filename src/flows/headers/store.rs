//! The mirror's SQL.

use std::collections::HashSet;

use sea_orm::{FromQueryResult, Value};

use super::{BROKEN, Outcome, shared};
use crate::db::{Db, Tx};
use crate::domain::spv::source::SourceBlock;
use crate::domain::spv::{Hash32, encode_hex};
use crate::error::{Error, Kind, Result};

/// The lock that elects the one that writes; the number is arbitrary and ours.
const LOCK: &str = "select 1 where pg_try_advisory_xact_lock(5717354855)";

const TIP: &str = "select hash, height from public.block_headers where on_best_chain order by height desc limit 1";

const HEIGHT_OF: &str = "select hash, height from public.block_headers where on_best_chain and hash = $1";

const KNOWN: &str = "select hash, height from public.block_headers where on_best_chain and hash = any($1::text[])";

const TAKE_OFF: &str = "update public.block_headers set on_best_chain = false where on_best_chain and height > $1";

/// A block that was on a stale branch comes back.
const PUT_ON: &str = "\
    insert into public.block_headers (hash, height, prev_hash, merkle_root, raw, on_best_chain) \
    select hash, height, prev_hash, merkle_root, decode(nullif(raw, ''), 'hex'), true \
    from unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[]) as t(hash, height, prev_hash, merkle_root, raw) \
    on conflict (hash) do update set on_best_chain = true";

/// Facts about blocks that came or went.
const AUDIT: &str = "\
    update public.bundle_audit a set reorged = not b.on_best_chain from public.block_headers b \
    where b.hash = a.block_hash and b.height > $1 and a.reorged = b.on_best_chain";

/// Blocks in one statement.
const BATCH: usize = 10_000;

/// Blocks looked up at a time, from the tip down: a fork is near the tip.
const LOOK: usize = 1_000;

#[derive(FromQueryResult)]
struct Known {
    hash: String,
    height: i32,
}

/// The mirror's tip.
pub(super) async fn tip(db: &Db) -> Result<Option<(Hash32, i32)>> {
    let row: Option<Known> = db.one("headers.tip", TIP, vec![]).await?;
    row.map(|row| Ok((row.hash.parse().map_err(Error::internal)?, row.height))).transpose()
}

/// The height of a block of the best chain.
pub(super) async fn height_of(db: &Db, hash: Hash32) -> Result<Option<u32>> {
    let row: Option<Known> = db.one("headers.height_of", HEIGHT_OF, vec![hash.to_string().into()]).await?;
    row.map(|row| u32::try_from(row.height).map_err(Error::internal)).transpose()
}

/// Makes `chain` the best one.
pub(super) async fn adopt(tx: &Tx, chain: Vec<SourceBlock>) -> Result<Outcome> {
    if tx.execute("headers.elect", LOCK, vec![]).await? == 0 {
        return Ok(Outcome::Busy);
    }
    let broken = |message: &'static str| Error::new(Kind::Invalid, BROKEN, message);
    let known: Vec<Known> = tx.all("headers.tip", TIP, vec![]).await?;
    let common = common(tx, &chain).await?;
    let (fork, new) = match (common, known.first()) {
        (None, None) => (-1, &chain[..]),
        (None, Some(_)) => return Err(broken("the source has no block in common with the headers that are known")),
        (Some((fork, at)), _) => (fork, &chain[at..]),
    };
    if new.is_empty() {
        return Ok(if known.first().is_some_and(|tip| tip.height > fork) {
            Outcome::Behind
        } else {
            Outcome::Unchanged
        });
    }
    // First the old branch goes, then the new one comes: each height has one block at any time.
    let removed = tx.execute("headers.take_off", TAKE_OFF, vec![fork.into()]).await?;
    for blocks in new.chunks(BATCH) {
        tx.execute("headers.put_on", PUT_ON, columns(blocks)?).await?;
    }
    tx.execute("headers.audit", AUDIT, vec![fork.into()]).await?;
    let height = new.last().map_or(0, |block| block.height);
    Ok(Outcome::Moved { added: new.len(), removed, height })
}

/// The highest block that is on the mirror's best chain too: its height, and the number of blocks up to it.
async fn common(tx: &Tx, chain: &[SourceBlock]) -> Result<Option<(i32, usize)>> {
    let mut end = chain.len();
    while end > 0 {
        let part = &chain[end.saturating_sub(LOOK)..end];
        let hashes: Vec<String> = part.iter().map(|block| block.hash.to_string()).collect();
        let known: Vec<Known> = tx.all("headers.known", KNOWN, vec![hashes.into()]).await?;
        let known: HashSet<(String, i32)> = known.into_iter().map(|row| (row.hash, row.height)).collect();
        let names: HashSet<&str> = known.iter().map(|(hash, _)| hash.as_str()).collect();
        if let Some(count) = shared(part, |hash| names.contains(hash.to_string().as_str())) {
            let block = &part[count - 1];
            let height = i32::try_from(block.height).map_err(Error::internal)?;
            if !known.contains(&(block.hash.to_string(), height)) {
                let message = "the source has a known block at another height";
                return Err(Error::new(Kind::Invalid, BROKEN, message));
            }
            return Ok(Some((height, end - part.len() + count)));
        }
        end -= part.len();
    }
    // Perhaps it begins right above a known block.
    let Some(first) = chain.first() else { return Ok(None) };
    let before = vec![first.prev_hash.to_string().into()];
    let before: Vec<Known> = tx.all("headers.height_of", HEIGHT_OF, before).await?;
    let is_below = |known: &&Known| i64::from(known.height) + 1 == i64::from(first.height);
    Ok(before.iter().find(is_below).map(|known| (known.height, 0)))
}

fn columns(blocks: &[SourceBlock]) -> Result<Vec<Value>> {
    let texts = |of: &dyn Fn(&SourceBlock) -> String| -> Value { blocks.iter().map(of).collect::<Vec<_>>().into() };
    let heights: Result<Vec<i32>> =
        blocks.iter().map(|block| i32::try_from(block.height).map_err(Error::internal)).collect();
    Ok(vec![
        texts(&|block| block.hash.to_string()),
        heights?.into(),
        texts(&|block| block.prev_hash.to_string()),
        texts(&|block| block.merkle_root.to_string()),
        texts(&|block| block.raw.map(|raw| encode_hex(&raw)).unwrap_or_default()),
    ])
}
