//! The room: the header mirror and the versions' declarations.

use std::collections::HashMap;
use std::sync::Arc;

use overlay_entity::ids::VersionId;

use super::chain::{self, At, Block, View};
use super::declared::{self, Declared};
use super::hash::Hash32;
use super::store;
use crate::cache::{Cache, Merge};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::error::Result;

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Spv {
    db: Db,
    cache: Cache,
    blocks: Merge<At, Block>,
    declared: Merge<VersionId, Declared>,
}

impl Spv {
    /// A room over the database and the cache.
    pub fn new(db: Db, cache: Cache) -> Self {
        let blocks = Merge::new(db.clone(), |db, at: Vec<At>| async move { store::blocks(&db, &at).await });
        let declared =
            Merge::new(db.clone(), |db, ids: Vec<VersionId>| async move { store::declared(&db, &ids).await });
        Self { db, cache, blocks, declared }
    }

    /// The best chain's tip, and those of the blocks that are on it. One statement for those not cached.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn view(&self, caller: &Caller, hashes: impl IntoIterator<Item = Hash32>) -> Result<View> {
        let mut wanted: Vec<At> = hashes.into_iter().map(At::Hash).collect();
        wanted.sort_unstable_by_key(|at| match at {
            At::Hash(hash) => *hash,
            At::Tip | At::Height(_) | At::Root(_) => Hash32::ZERO,
        });
        wanted.dedup();
        wanted.push(At::Tip);
        let mut found = self.cache.find_many(caller.ledger(), &wanted, chain::key, chain::tags, &self.blocks).await?;
        let tip = found.pop().flatten();
        Ok(View { tip, blocks: found.into_iter().flatten().map(|block| (block.hash, block)).collect() })
    }

    /// The last block of the best chain; `None` when no header is known.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn tip(&self, caller: &Caller) -> Result<Option<Arc<Block>>> {
        Ok(self.view(caller, []).await?.tip)
    }

    /// The blocks of the best chain at `heights`, in order; `None` above the tip. One statement for those not cached.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn at_heights(&self, caller: &Caller, heights: &[u32]) -> Result<Vec<Option<Arc<Block>>>> {
        let wanted: Vec<At> = heights.iter().map(|height| At::Height(*height)).collect();
        self.cache.find_many(caller.ledger(), &wanted, chain::key, chain::tags, &self.blocks).await
    }

    /// The block of the best chain with that Merkle root.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn with_root(&self, caller: &Caller, root: Hash32) -> Result<Option<Arc<Block>>> {
        let wanted = [At::Root(root)];
        let found = self.cache.find_many(caller.ledger(), &wanted, chain::key, chain::tags, &self.blocks).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// The declarations of `ids`, in order; `None` for what was not declared.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn declared(&self, caller: &Caller, ids: &[VersionId]) -> Result<Vec<Option<Arc<Declared>>>> {
        self.cache.find_many(caller.ledger(), ids, declared::key, declared::tags, &self.declared).await
    }

    /// The declarations of `ids`, read for something that is cached as a whole; what it depends on is
    /// [`Self::tags_of`] each. `None` when their envelopes have more than `bytes` together.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn declarations(&self, ids: &[VersionId], bytes: i64) -> Result<Option<HashMap<VersionId, Declared>>> {
        store::bounded(&self.db, ids, bytes).await
    }

    /// What a version's declaration, or its absence, depends on.
    pub fn tags_of(id: &VersionId) -> Vec<Tag> {
        declared::tags(id)
    }
}
