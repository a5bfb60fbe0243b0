//! The header mirror as it is cached: the tip, and blocks of the best chain.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::hash::Hash32;
use super::verify::{BestChain, ChainBlock};
use crate::cache::{Cached, Key, Kind};
use crate::coherence::Tag;

/// A block of the best chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Block hash.
    pub hash: Hash32,
    /// Height, the genesis block being 0.
    pub height: u32,
    /// Root over the block's transaction ids.
    pub merkle_root: Hash32,
}

impl Cached for Block {
    const KIND: Kind = Kind::Header;

    fn size(&self) -> usize {
        200
    }
}

/// Which block is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// The last of the best chain.
    Tip,
    /// The one of that hash, if it is on the best chain.
    Hash(Hash32),
    /// The one of the best chain at that height.
    Height(u32),
    /// The one of the best chain with that Merkle root.
    Root(Hash32),
}

pub(super) fn key(at: &At) -> Key<Block> {
    match at {
        At::Tip => Key::new("cache:headers:tip"),
        At::Hash(hash) => Key::new(format!("cache:headers:{hash}")),
        At::Height(height) => Key::new(format!("cache:headers:at:{height}")),
        At::Root(root) => Key::new(format!("cache:headers:root:{root}")),
    }
}

/// Any header that comes or goes may make another block the tip, or take one off the chain.
pub(super) fn tags(_: &At) -> Vec<Tag> {
    vec![Tag::new("headers")]
}

/// The best chain as far as one answer needs it: its tip and the blocks that were asked for.
#[derive(Debug, Default)]
pub struct View {
    pub(super) tip: Option<Arc<Block>>,
    pub(super) blocks: HashMap<Hash32, Arc<Block>>,
}

impl View {
    /// The last block of the best chain; `None` when no header is known.
    pub fn tip(&self) -> Option<&Block> {
        self.tip.as_deref()
    }
}

impl BestChain for View {
    fn block(&self, hash: &Hash32) -> Option<ChainBlock> {
        let block = self.blocks.get(hash)?;
        Some(ChainBlock { height: block.height, merkle_root: Some(block.merkle_root) })
    }

    fn tip_height(&self) -> u32 {
        self.tip.as_ref().map_or(0, |tip| tip.height)
    }
}
