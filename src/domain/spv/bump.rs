//! BUMP, the BSV Unified Merkle Path: the Merkle paths of one or more transactions of one block.
//!
//! Format (BRC-74, <https://bsv.brc.dev/transactions/0074>): block height `CompactSize`, tree height 1 byte, then for
//! each level from the transaction ids upwards a count and that many leaves. A leaf: offset in its level `CompactSize`,
//! flag 1 byte, and unless the flag is 1 a hash of 32 bytes in internal order. Flags: 0 a hash, 1 a duplicate of the
//! working hash, 2 the hash of a transaction the sender is interested in. A node that can be computed from those below
//! it may be left out. The format has two corners that other implementations agree on:
//!
//! * A block of a single transaction has tree height 1 and one lone leaf, which is its own root. Tree height 0 has no
//!   leaf to prove and is refused.
//! * Tree height 1 with more than two leaves is a whole block: all its transaction ids and nothing above.
//!
//! Leaves of a level may come in any order, as the format demands none; they are written in order of their offsets.
//! A [`Bump`] in hand is consistent: every transaction id in it climbs to one and the same root, and does so by the
//! rules of [`super::merkle`]. Whether that root is a block's is for the header source to say.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    HexError,
    bytes::{ReadError, Reader, write_compact, write_count},
    decode_hex,
    hash::Hash32,
    merkle::{MAX_PATH, MerkleError, PathStep, Position, believed_parent, root_from_path},
};
use climb::learn;

mod climb;
mod json;
#[cfg(test)]
mod tests;

/// Bytes of a leaf that is a duplicate: what a count of leaves promises at least.
const LEAF_BYTES: usize = 2;

/// Merkle paths to one root, see the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bump {
    block_height: u32,
    /// What is written, level by level, in order of the offsets.
    levels: Vec<Vec<Leaf>>,
    /// What is known, computed nodes included, below the root; a duplicate has the hash of its partner.
    nodes: Vec<Nodes>,
    root: Hash32,
}

/// The known nodes of a level by offset.
type Nodes = BTreeMap<u64, Hash32>;

/// A node of the tree as a BUMP spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    offset: u64,
    data: LeafData,
}

/// The three data flags and what goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeafData {
    Hash(Hash32),
    Duplicate,
    Txid(Hash32),
}

/// Whether a BUMP stands alone or inside a BEEF, where other implementations leave nodes in that nobody needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Exact,
    Embedded,
}

/// Why bytes are no BUMP, or a BUMP does not tell what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BumpError {
    /// Not hex at all.
    #[error("BUMP is not hex: {0}")]
    NotHex(#[from] HexError),
    /// Fewer bytes than its counts promise.
    #[error("BUMP ends early, or promises more than its bytes hold")]
    Truncated,
    /// A number in a longer form than it needs.
    #[error("a number is not in its shortest form")]
    NonCanonicalCount,
    /// Bytes after the last leaf.
    #[error("{0} bytes follow the BUMP")]
    TrailingBytes(usize),
    /// A height no chain has.
    #[error("block height {0} is out of range")]
    BlockHeight(u64),
    /// No level, or more than [`MAX_PATH`].
    #[error("tree height {0} is out of range")]
    TreeHeight(usize),
    /// A data flag above 2.
    #[error("data flag {0} has no meaning")]
    Flag(u8),
    /// In JSON: a hash and a duplicate at once, or neither.
    #[error("leaf {offset} of level {level} is not either a hash or a duplicate")]
    Leaf {
        /// Level of the leaf, the transaction ids being level 0.
        level: usize,
        /// Its offset in the level.
        offset: u64,
    },
    /// An offset twice in one level.
    #[error("offset {offset} comes twice in level {level}")]
    DuplicateOffset {
        /// Level of the leaf.
        level: usize,
        /// Its offset.
        offset: u64,
    },
    /// An offset that a level of a tree of this height does not have.
    #[error("level {level} is not wide enough for offset {offset}")]
    OffsetBeyondWidth {
        /// Level of the leaf.
        level: usize,
        /// Its offset.
        offset: u64,
    },
    /// A node that is no sibling on the way up from any leaf.
    #[error("no path needs offset {offset} of level {level}")]
    NeedlessNode {
        /// Level of the node.
        level: usize,
        /// Its offset.
        offset: u64,
    },
    /// A sibling that is neither given nor can be computed.
    #[error("offset {offset} of level {level} is missing")]
    MissingNode {
        /// Level of the node.
        level: usize,
        /// Its offset.
        offset: u64,
    },
    /// A node that is given although another follows from those below it: not all leaves have the same root.
    #[error("offset {offset} of level {level} is not what the nodes below it hash to")]
    Inconsistent {
        /// Level of the node.
        level: usize,
        /// Its offset.
        offset: u64,
    },
    /// The path is of a form that proves nothing.
    #[error("{0}")]
    Merkle(#[from] MerkleError),
    /// The BUMP has no such leaf.
    #[error("transaction {0} is not in the BUMP")]
    UnknownTxid(Hash32),
    /// A merge of nothing, or of BUMPs that differ in block height, tree height or root.
    #[error("only BUMPs of one block can be merged")]
    NotOneBlock,
}

impl From<ReadError> for BumpError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::NonCanonicalCount => Self::NonCanonicalCount,
        }
    }
}

impl Bump {
    /// Reads a BUMP that fills the bytes exactly and holds no node that is not needed.
    pub fn parse(bytes: &[u8]) -> Result<Self, BumpError> {
        match Self::read(bytes, Form::Exact)? {
            (bump, []) => Ok(bump),
            (_, rest) => Err(BumpError::TrailingBytes(rest.len())),
        }
    }

    /// Reads the hex form.
    pub fn from_hex(text: &str) -> Result<Self, BumpError> {
        Self::parse(&decode_hex(text)?)
    }

    /// Reads one BUMP and returns the bytes after it, for BEEF. Nodes that are not needed are let pass here, as some
    /// writers of BEEF leave them in; they must still agree with the others.
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Self, &[u8]), BumpError> {
        Self::read(bytes, Form::Embedded)
    }

    fn read(bytes: &[u8], form: Form) -> Result<(Self, &[u8]), BumpError> {
        let mut reader = Reader(bytes);
        let height = reader.compact()?;
        let block_height = u32::try_from(height).map_err(|_| BumpError::BlockHeight(height))?;
        let tree_height = usize::from(reader.array::<1>()?[0]);
        if !(1..=MAX_PATH).contains(&tree_height) {
            return Err(BumpError::TreeHeight(tree_height));
        }
        let mut levels = Vec::with_capacity(tree_height);
        for _ in 0..tree_height {
            let count = reader.count(LEAF_BYTES)?;
            let mut leaves = Vec::with_capacity(count);
            for _ in 0..count {
                let offset = reader.compact()?;
                let data = match reader.array()? {
                    [0] => LeafData::Hash(Hash32::from_internal(reader.array()?)),
                    [1] => LeafData::Duplicate,
                    [2] => LeafData::Txid(Hash32::from_internal(reader.array()?)),
                    [flag] => return Err(BumpError::Flag(flag)),
                };
                leaves.push(Leaf { offset, data });
            }
            levels.push(leaves);
        }
        Ok((Self::assemble(block_height, levels, form)?, reader.0))
    }

    /// The bytes, every level in order of its offsets and every number in its shortest form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_compact(&mut out, u64::from(self.block_height));
        out.push(self.levels.len() as u8);
        for leaves in &self.levels {
            write_count(&mut out, leaves.len());
            for leaf in leaves {
                write_compact(&mut out, leaf.offset);
                let (flag, hash) = match leaf.data {
                    LeafData::Hash(hash) => (0, Some(hash)),
                    LeafData::Duplicate => (1, None),
                    LeafData::Txid(hash) => (2, Some(hash)),
                };
                out.push(flag);
                out.extend(hash.iter().flat_map(|hash| hash.as_internal()));
            }
        }
        out
    }

    /// The BUMP of one transaction: its path, turned from sides to offsets.
    pub fn from_path(block_height: u32, txid: Hash32, path: &[PathStep]) -> Result<Self, BumpError> {
        if path.len() > MAX_PATH {
            return Err(BumpError::TreeHeight(path.len()));
        }
        let left = |step: &PathStep| step.position == Position::Left;
        let offset = (0..).zip(path).map(|(level, step)| u64::from(left(step)) << level).sum::<u64>();
        let mut levels = vec![vec![Leaf { offset, data: LeafData::Txid(txid) }]];
        let mut node = txid;
        for (level, step) in path.iter().enumerate() {
            let data = if step.hash == node { LeafData::Duplicate } else { LeafData::Hash(step.hash) };
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            levels[level].push(Leaf { offset: offset >> level ^ 1, data });
            node = match step.position {
                Position::Left => believed_parent(step.hash, node)?,
                Position::Right => believed_parent(node, step.hash)?,
            };
        }
        Self::assemble(block_height, levels, Form::Exact)
    }

    /// One BUMP for all the transactions these are about, without the nodes that can be computed. A BUMP that marks no
    /// transaction is taken to be about every one it has.
    pub fn merge(bumps: Vec<Self>) -> Result<Self, BumpError> {
        let mut bumps = bumps.into_iter();
        let first = bumps.next().ok_or(BumpError::NotOneBlock)?;
        let mut marked = first.marked();
        let Self { block_height, mut nodes, root, levels: lone } = first;
        for bump in bumps {
            if (bump.block_height, bump.root, bump.nodes.len()) != (block_height, root, nodes.len()) {
                return Err(BumpError::NotOneBlock);
            }
            marked.extend(bump.marked());
            for (level, (known, more)) in nodes.iter_mut().zip(bump.nodes).enumerate() {
                for (offset, hash) in more {
                    learn(known, level, offset, hash)?;
                }
            }
        }
        if nodes.is_empty() {
            return Self::assemble(block_height, lone, Form::Exact);
        }
        let mut levels = Vec::with_capacity(nodes.len());
        for (level, known) in nodes.iter().enumerate() {
            let node = |offset| known.get(&offset).copied().ok_or(BumpError::MissingNode { level, offset });
            let mut leaves = Vec::new();
            for &offset in &marked {
                if level == 0 {
                    leaves.push(Leaf { offset, data: LeafData::Txid(node(offset)?) });
                }
                let sibling = offset ^ 1;
                if !marked.contains(&sibling) {
                    let hash = node(sibling)?;
                    let data = if hash == node(offset)? { LeafData::Duplicate } else { LeafData::Hash(hash) };
                    leaves.push(Leaf { offset: sibling, data });
                }
            }
            levels.push(leaves);
            marked = marked.iter().map(|offset| offset >> 1).collect();
        }
        Self::assemble(block_height, levels, Form::Exact)
    }

    /// The siblings that lead from a transaction to the root, as an envelope carries them.
    pub fn path_of(&self, txid: &Hash32) -> Result<Vec<PathStep>, BumpError> {
        let leaf = self.level_0().find(|leaf| leaf.hash() == Some(*txid));
        let mut offset = leaf.ok_or(BumpError::UnknownTxid(*txid))?.offset;
        let mut path = Vec::with_capacity(self.nodes.len());
        for (level, nodes) in self.nodes.iter().enumerate() {
            let hash = *nodes.get(&(offset ^ 1)).ok_or(BumpError::MissingNode { level, offset: offset ^ 1 })?;
            let position = if offset & 1 == 1 { Position::Left } else { Position::Right };
            path.push(PathStep { hash, position });
            offset >>= 1;
        }
        Ok(path)
    }

    /// The root that a transaction climbs to, by its own path.
    pub fn root_of(&self, txid: &Hash32) -> Result<Hash32, BumpError> {
        Ok(root_from_path(*txid, &self.path_of(txid)?)?)
    }

    /// The root that all transactions of this BUMP climb to.
    pub fn root(&self) -> Hash32 {
        self.root
    }

    /// Height of the block, as the sender claims: nothing in the BUMP proves it but a header of that height.
    pub fn block_height(&self) -> u32 {
        self.block_height
    }

    /// The transactions the sender marked as those of interest.
    pub fn txids(&self) -> impl Iterator<Item = Hash32> {
        self.level_0().filter(|leaf| matches!(leaf.data, LeafData::Txid(_))).filter_map(Leaf::hash)
    }

    /// All transactions the BUMP proves, whether marked or only there as siblings.
    pub fn leaves(&self) -> impl Iterator<Item = Hash32> {
        self.level_0().filter_map(Leaf::hash)
    }

    fn level_0(&self) -> impl Iterator<Item = &Leaf> {
        self.levels.iter().take(1).flatten()
    }

    /// Offsets of the marked transactions, or of all when none is marked.
    fn marked(&self) -> BTreeSet<u64> {
        let offsets = |all: bool| {
            let wanted = self.level_0().filter(move |leaf| match leaf.data {
                LeafData::Txid(_) => true,
                LeafData::Hash(_) => all,
                LeafData::Duplicate => false,
            });
            wanted.map(|leaf| leaf.offset).collect::<BTreeSet<_>>()
        };
        Some(offsets(false)).filter(|marked| !marked.is_empty()).unwrap_or_else(|| offsets(true))
    }
}

impl Leaf {
    fn hash(&self) -> Option<Hash32> {
        match self.data {
            LeafData::Hash(hash) | LeafData::Txid(hash) => Some(hash),
            LeafData::Duplicate => None,
        }
    }
}
