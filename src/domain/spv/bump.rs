//! BUMP, the binary Merkle path of one or several transactions of a block (BRC-74,
//! <https://bsv.brc.dev/transactions/0074>).
//!
//! Layout: block height (`CompactSize`), height of the tree (one byte), then level by level from the leaves a count and its
//! nodes: offset within the level (`CompactSize`), flags (one byte), and the 32-byte hash unless the flags say that the node
//! repeats its left neighbour. A node that can be computed from the level below may be left out. The block of a single
//! transaction has a tree of height one with that leaf alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bytes::{ReadError, Reader, write_count},
    hash::{Hash32, sha256d},
    merkle::{MAX_PATH, MerkleError, PathStep, Position, root_from_path},
};

/// Bytes of a node without a hash: what a count of nodes promises at least.
const NODE_BYTES: usize = 2;
/// The node repeats its left neighbour.
const DUPLICATE: u8 = 1;
/// The node is a transaction that the path is for.
const TXID: u8 = 2;

/// A Merkle path of one or several transactions of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bump {
    /// Height of the block.
    pub block_height: u32,
    /// By level from the leaves, by offset.
    levels: Vec<BTreeMap<u64, Node>>,
}

/// A node of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    /// A hash, and whether it is a transaction that the path is for.
    Hash(Hash32, bool),
    /// The same as its left neighbour.
    Duplicate,
}

/// Why bytes are not a BUMP, or a BUMP proves nothing of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BumpError {
    /// Fewer bytes than its counts promise.
    #[error("the path ends early, or promises more than its bytes hold")]
    Truncated,
    /// A count in a longer form than it needs.
    #[error("a count is not in its shortest form")]
    NonCanonicalCount,
    /// A height beyond 32 bits.
    #[error("the block's height is out of range")]
    Height,
    /// No levels, or more than [`MAX_PATH`].
    #[error("the tree has {0} levels")]
    Levels(u8),
    /// Flags that mean nothing.
    #[error("flags {0} mean nothing")]
    Flags(u8),
    /// Two nodes at one place, a place that the level does not have, or a duplicate that has no left neighbour.
    #[error("a node is at a place where none can be")]
    Place,
    /// Bytes after the path.
    #[error("{0} bytes follow the path")]
    TrailingBytes(usize),
    /// The transaction is not among the leaves.
    #[error("the path is not for that transaction")]
    OtherTransaction,
    /// A node that is needed is neither there nor can be computed.
    #[error("a node of the path is missing")]
    MissingNode,
    /// The paths are of different blocks, or disagree about a node.
    #[error("the paths do not belong together")]
    OtherBlock,
    /// The path has a form that proves nothing.
    #[error("{0}")]
    Merkle(#[from] MerkleError),
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
    /// Reads a path that fills the bytes exactly.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BumpError> {
        match Self::parse_prefix(bytes)? {
            (bump, []) => Ok(bump),
            (_, rest) => Err(BumpError::TrailingBytes(rest.len())),
        }
    }

    /// Reads one path and returns the bytes after it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Self, &[u8]), BumpError> {
        let mut reader = Reader(bytes);
        let block_height = u32::try_from(reader.compact()?).map_err(|_| BumpError::Height)?;
        let [height] = reader.array()?;
        if height == 0 || usize::from(height) > MAX_PATH {
            return Err(BumpError::Levels(height));
        }
        let mut levels = Vec::with_capacity(usize::from(height));
        for level in 0..height {
            let mut nodes = BTreeMap::new();
            for _ in 0..reader.count(NODE_BYTES)? {
                let offset = reader.compact()?;
                let [flags] = reader.array()?;
                let node = match flags {
                    0 | TXID => Node::Hash(Hash32::from_internal(reader.array()?), flags == TXID),
                    DUPLICATE => Node::Duplicate,
                    flags => return Err(BumpError::Flags(flags)),
                };
                let is_place = offset >> (height - level) == 0 && (node != Node::Duplicate || offset % 2 == 1);
                let is_leaf = level == 0 || !matches!(node, Node::Hash(_, true));
                if !is_place || !is_leaf || nodes.insert(offset, node).is_some() {
                    return Err(BumpError::Place);
                }
            }
            levels.push(nodes);
        }
        Ok((Self { block_height, levels }, reader.0))
    }

    /// The bytes, nodes by offset.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_count(&mut out, self.block_height as usize);
        out.push(self.levels.len().to_le_bytes()[0]);
        for nodes in &self.levels {
            write_count(&mut out, nodes.len());
            for (offset, node) in nodes {
                // Below 2^32, the widest level there is.
                write_count(&mut out, usize::try_from(*offset).unwrap_or(usize::MAX));
                match node {
                    Node::Hash(hash, is_txid) => {
                        out.push(if *is_txid { TXID } else { 0 });
                        out.extend(hash.as_internal());
                    }
                    Node::Duplicate => out.push(DUPLICATE),
                }
            }
        }
        out
    }

    /// The path of one transaction. Its offset in the block is the sum of 2^i over the levels i at which the sibling is on
    /// the left.
    ///
    /// # Errors
    /// `TooLong` for a path of more than [`MAX_PATH`] levels; what [`root_from_path`] refuses.
    pub fn from_path(block_height: u32, txid: Hash32, path: &[PathStep]) -> Result<Self, BumpError> {
        // Refused forms must not pass by being written differently.
        root_from_path(txid, path)?;
        let is_left = |step: &PathStep| u64::from(step.position == Position::Left);
        let offset = path.iter().enumerate().fold(0, |offset, (level, step)| offset | is_left(step) << level);
        let mut levels = vec![BTreeMap::new(); path.len().max(1)];
        levels[0].insert(offset, Node::Hash(txid, true));
        let mut node = txid;
        for (level, step) in path.iter().enumerate() {
            // Equal siblings are at the end of a level: `root_from_path` has seen to it.
            let sibling = if step.hash == node { Node::Duplicate } else { Node::Hash(step.hash, false) };
            levels[level].insert(offset >> level ^ 1, sibling);
            node = parent(node, step.hash, step.position);
        }
        Ok(Self { block_height, levels })
    }

    /// The transactions that the path is for, in block order.
    pub fn txids(&self) -> impl Iterator<Item = Hash32> + '_ {
        self.levels.first().into_iter().flat_map(BTreeMap::values).filter_map(|node| match node {
            Node::Hash(hash, true) => Some(*hash),
            _ => None,
        })
    }

    /// The siblings that lead from a transaction to the root, lowest level first.
    ///
    /// # Errors
    /// `OtherTransaction`, `MissingNode`.
    pub fn path_of(&self, txid: Hash32) -> Result<Vec<PathStep>, BumpError> {
        let leaves = self.levels.first().ok_or(BumpError::OtherTransaction)?;
        let is_it = |(_, node): &(&u64, &Node)| matches!(node, Node::Hash(hash, _) if *hash == txid);
        let (offset, _) = leaves.iter().find(is_it).ok_or(BumpError::OtherTransaction)?;
        if let ([only], 1) = (&self.levels[..], leaves.len()) {
            // A block of this one transaction.
            return if only.contains_key(&0) { Ok(Vec::new()) } else { Err(BumpError::MissingNode) };
        }
        let mut path = Vec::with_capacity(self.levels.len());
        let mut node = txid;
        for level in 0..self.levels.len() {
            let at = offset >> level ^ 1;
            let position = if at % 2 == 0 { Position::Left } else { Position::Right };
            let hash = match self.node(level, at)? {
                Node::Hash(hash, _) => hash,
                Node::Duplicate => node,
            };
            path.push(PathStep { hash, position });
            node = parent(node, hash, position);
        }
        Ok(path)
    }

    /// The root that the path leads to from a transaction.
    ///
    /// # Errors
    /// As [`Self::path_of`]; what [`root_from_path`] refuses.
    pub fn root_of(&self, txid: Hash32) -> Result<Hash32, BumpError> {
        Ok(root_from_path(txid, &self.path_of(txid)?)?)
    }

    /// The root that the path leads to, from every leaf it has.
    ///
    /// # Errors
    /// `OtherTransaction` when it is for no transaction; `OtherBlock` when its leaves lead to different roots; `Place` when a
    /// node is on no leaf's way; as [`Self::root_of`].
    pub fn root(&self) -> Result<Hash32, BumpError> {
        self.txids().next().ok_or(BumpError::OtherTransaction)?;
        let mut root = None;
        for node in self.levels.first().into_iter().flat_map(BTreeMap::values) {
            let Node::Hash(leaf, _) = node else { continue };
            let of = self.root_of(*leaf)?;
            if *root.get_or_insert(of) != of {
                return Err(BumpError::OtherBlock);
            }
        }
        // What is on nobody's way is not covered by any root, and so could be anything.
        let leaves = || self.levels.first().into_iter().flat_map(BTreeMap::keys);
        for (level, nodes) in self.levels.iter().enumerate().skip(1) {
            let on_the_way: BTreeSet<u64> = leaves().map(|leaf| leaf >> level ^ 1).collect();
            if !nodes.keys().all(|offset| on_the_way.contains(offset)) {
                return Err(BumpError::Place);
            }
        }
        root.ok_or(BumpError::OtherTransaction)
    }

    /// One path for the transactions of several, without what can be computed.
    ///
    /// # Errors
    /// `OtherBlock` when they are of different blocks; as [`Self::root_of`].
    pub fn merged(bumps: &[Self]) -> Result<Self, BumpError> {
        let first = bumps.first().ok_or(BumpError::OtherTransaction)?;
        let mut merged = first.clone();
        for bump in &bumps[1..] {
            if bump.block_height != merged.block_height || bump.levels.len() != merged.levels.len() {
                return Err(BumpError::OtherBlock);
            }
            for (into, nodes) in merged.levels.iter_mut().zip(&bump.levels) {
                for (offset, node) in nodes {
                    let known = into.entry(*offset).or_insert(*node);
                    *known = match (*known, *node) {
                        (Node::Hash(a, one), Node::Hash(b, other)) if a == b => Node::Hash(a, one || other),
                        (a, b) if a == b => a,
                        _ => return Err(BumpError::OtherBlock),
                    };
                }
            }
        }
        merged.root()?;
        merged.trim();
        Ok(merged)
    }

    /// Takes out what can be computed from the level below.
    fn trim(&mut self) {
        for level in (1..self.levels.len()).rev() {
            let nodes: Vec<u64> = self.levels[level].keys().copied().collect();
            for offset in nodes {
                if self.computed(level, offset).is_ok() {
                    self.levels[level].remove(&offset);
                }
            }
        }
    }

    /// A node that is there or can be computed. Each level down takes two nodes of that level, which are there or not, so the
    /// work is bounded by the nodes there are.
    fn node(&self, level: usize, offset: u64) -> Result<Node, BumpError> {
        match self.levels[level].get(&offset) {
            Some(node) => Ok(*node),
            None => self.computed(level, offset),
        }
    }

    fn computed(&self, level: usize, offset: u64) -> Result<Node, BumpError> {
        let below = level.checked_sub(1).ok_or(BumpError::MissingNode)?;
        let Node::Hash(left, _) = self.node(below, offset * 2)? else { return Err(BumpError::Place) };
        let right = match self.node(below, offset * 2 + 1)? {
            Node::Hash(right, _) => right,
            Node::Duplicate => left,
        };
        Ok(Node::Hash(parent(left, right, Position::Right), false))
    }
}

/// The node above `node` and its sibling, which stands at `position`.
fn parent(node: Hash32, sibling: Hash32, position: Position) -> Hash32 {
    let (left, right) = match position {
        Position::Left => (sibling, node),
        Position::Right => (node, sibling),
    };
    sha256d(&[*left.as_internal(), *right.as_internal()].concat())
}

#[cfg(test)]
pub(super) mod tests;
