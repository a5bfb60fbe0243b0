//! The Merkle tree over a block's transaction ids: its root, the path of one leaf, and what such a path proves.
//!
//! Each level pairs its nodes from the left and hashes `left ‖ right`; a last node without a partner is paired with
//! itself. Two weaknesses of that construction are closed here:
//!
//! * **CVE-2012-2459.** Because of the self-pairing, a list with its tail repeated has the same root as without.
//!   A sibling equal to its node is therefore believed only where the construction puts it: on the right, and at the
//!   end of its level. A path cannot show the end of a level directly, but it follows that every level above is at
//!   its end too: there, siblings are on the left, or equal again. A *different* sibling on the right above an equal
//!   one means that the node was not the last.
//! * **CVE-2017-12842.** A real 64-byte transaction can be read as two tree nodes, and so hang invented leaves below a
//!   block. A path whose `left ‖ right` at any level parses as a transaction is refused. Two honest hashes do that
//!   with a chance below 2⁻²⁸. (The other direction, an inner node passed off as a transaction, is for
//!   [`super::verify_envelope`] and [`super::Transaction::parse`]: 64 bytes are never a transaction.)

use serde::{Deserialize, Serialize};

use super::{
    hash::{Hash32, sha256d},
    tx::Transaction,
};

/// Levels a path may have: more than any block of 2³² transactions needs.
pub const MAX_PATH: usize = 32;

/// On which side of its partner a sibling stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// `sibling ‖ node`.
    Left,
    /// `node ‖ sibling`.
    Right,
}

/// One level of a path: the sibling that the node is hashed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStep {
    /// The sibling.
    pub hash: Hash32,
    /// Where it stands.
    pub position: Position,
}

/// Why a list has no tree, or a path proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MerkleError {
    /// No transactions, or no transaction of that index.
    #[error("there is no such leaf")]
    NoLeaf,
    /// Two partners of one level are equal although neither is there to fill up the level.
    #[error("a node is paired with itself where the tree does not pair it so")]
    SelfPaired,
    /// More than [`MAX_PATH`] levels.
    #[error("path has {0} levels")]
    TooLong(usize),
    /// The 64 bytes below a node are a transaction.
    #[error("a 64-byte transaction stands where a tree node should")]
    TransactionAsNode,
}

/// Root of the tree over these transaction ids, in block order.
pub fn merkle_root(txids: &[Hash32]) -> Result<Hash32, MerkleError> {
    climb(txids, 0).map(|(root, _)| root)
}

/// The siblings that lead from the transaction of that index to the root, lowest level first.
pub fn merkle_path(txids: &[Hash32], index: usize) -> Result<Vec<PathStep>, MerkleError> {
    climb(txids, index).map(|(_, path)| path)
}

fn climb(txids: &[Hash32], mut index: usize) -> Result<(Hash32, Vec<PathStep>), MerkleError> {
    if index >= txids.len() {
        return Err(MerkleError::NoLeaf);
    }
    let mut level = txids.to_vec();
    let mut path = Vec::new();
    while level.len() > 1 {
        let position = if index % 2 == 1 { Position::Left } else { Position::Right };
        let hash = level.get(index ^ 1).copied().unwrap_or(level[index]);
        path.push(PathStep { hash, position });
        level = level
            .chunks(2)
            .map(|pair| match *pair {
                [left, right] if left == right => Err(MerkleError::SelfPaired),
                [left, right] => Ok(parent(left, right)),
                _ => Ok(parent(pair[0], pair[0])),
            })
            .collect::<Result<_, _>>()?;
        index /= 2;
    }
    Ok((level[0], path))
}

/// The root that a path leads to from a leaf. It proves something only when it is the root of a header on the best
/// chain. An empty path is the block of a single transaction.
pub fn root_from_path(txid: Hash32, path: &[PathStep]) -> Result<Hash32, MerkleError> {
    if path.len() > MAX_PATH {
        return Err(MerkleError::TooLong(path.len()));
    }
    let mut node = txid;
    let mut at_the_end = false;
    for step in path {
        let equal = step.hash == node;
        let allowed = match step.position {
            Position::Left => !equal,
            Position::Right => equal || !at_the_end,
        };
        if !allowed {
            return Err(MerkleError::SelfPaired);
        }
        at_the_end |= equal;
        node = match step.position {
            Position::Left => believed_parent(step.hash, node)?,
            Position::Right => believed_parent(node, step.hash)?,
        };
    }
    Ok(node)
}

/// The node above two that a stranger names; refused when together they are a transaction (CVE-2017-12842).
pub(super) fn believed_parent(left: Hash32, right: Hash32) -> Result<Hash32, MerkleError> {
    let preimage = joined(left, right);
    if Transaction::parse_prefix(&preimage).is_ok_and(|(_, rest)| rest.is_empty()) {
        return Err(MerkleError::TransactionAsNode);
    }
    Ok(sha256d(&preimage))
}

fn parent(left: Hash32, right: Hash32) -> Hash32 {
    sha256d(&joined(left, right))
}

fn joined(left: Hash32, right: Hash32) -> [u8; 64] {
    let mut preimage = [0; 64];
    preimage[..32].copy_from_slice(left.as_internal());
    preimage[32..].copy_from_slice(right.as_internal());
    preimage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> Vec<Hash32> {
        (0..count).map(|i| sha256d(&i.to_le_bytes())).collect()
    }

    #[test]
    fn block_100000() {
        let txids: Vec<Hash32> = [
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let root = "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766";
        assert_eq!(merkle_root(&txids).unwrap().to_string(), root);
        for (index, txid) in txids.iter().enumerate() {
            let path = merkle_path(&txids, index).unwrap();
            assert_eq!(path.len(), 2);
            assert_eq!(root_from_path(*txid, &path).unwrap().to_string(), root);
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_climbs_to_the_root_and_no_altered_path_does() {
        for count in 1..=33 {
            let txids = leaves(count);
            let root = merkle_root(&txids).unwrap();
            for (index, txid) in txids.iter().enumerate() {
                let path = merkle_path(&txids, index).unwrap();
                assert_eq!(root_from_path(*txid, &path), Ok(root), "{index} of {count}");
                for level in 0..path.len() {
                    let mut turned = path.clone();
                    turned[level].position = match path[level].position {
                        Position::Left => Position::Right,
                        Position::Right => Position::Left,
                    };
                    assert_ne!(root_from_path(*txid, &turned), Ok(root));
                    let mut other = path.clone();
                    other[level].hash = sha256d(b"other");
                    assert_ne!(root_from_path(*txid, &other), Ok(root));
                    let mut shorter = path.clone();
                    shorter.remove(level);
                    assert_ne!(root_from_path(*txid, &shorter), Ok(root));
                }
            }
        }
    }

    #[test]
    fn repeated_tail_is_not_a_second_list_of_the_same_root() {
        // Six leaves and the same with the last pair repeated: one root in the naive construction.
        let six = leaves(6);
        let eight = [&six[..], &six[4..]].concat();
        assert_eq!(merkle_root(&eight), Err(MerkleError::SelfPaired));
        // Leaf "6" of the eight: its path would pair the node of (4, 5) with itself from the left.
        let mut path = merkle_path(&six, 4).unwrap();
        assert_eq!(path[1].position, Position::Right);
        path[1].position = Position::Left;
        assert_eq!(root_from_path(six[4], &path), Err(MerkleError::SelfPaired));
    }

    #[test]
    fn equal_sibling_must_end_its_level() {
        let leaf = sha256d(b"leaf");
        let right = |hash| PathStep { hash, position: Position::Right };
        let left = |hash| PathStep { hash, position: Position::Left };
        let pair = parent(leaf, leaf);
        let other = sha256d(b"other");
        assert!(root_from_path(leaf, &[right(leaf), left(other)]).is_ok());
        assert!(root_from_path(leaf, &[right(leaf), right(pair)]).is_ok());
        for path in [vec![left(leaf)], vec![right(leaf), right(other)], vec![right(leaf), left(other), right(other)]] {
            assert_eq!(root_from_path(leaf, &path), Err(MerkleError::SelfPaired));
        }
    }

    #[test]
    fn edges() {
        assert_eq!(merkle_root(&[]), Err(MerkleError::NoLeaf));
        assert_eq!(merkle_path(&leaves(3), 3), Err(MerkleError::NoLeaf));
        let one = leaves(1);
        assert_eq!(root_from_path(one[0], &[]), Ok(one[0]));
        let step = PathStep { hash: Hash32::ZERO, position: Position::Left };
        assert_eq!(root_from_path(one[0], &[step; 33]), Err(MerkleError::TooLong(33)));
    }

    #[test]
    fn node_that_is_a_transaction_is_refused() {
        // version, one input with an empty script, one output with a script of four bytes, lock time: 64 bytes.
        let mut tx = vec![1, 0, 0, 0, 1];
        tx.extend([7; 36]);
        tx.extend([0, 0xff, 0xff, 0xff, 0xff, 1]);
        tx.extend(5000u64.to_le_bytes());
        tx.extend([4, 0x51, 0x51, 0x51, 0x51, 0, 0, 0, 0]);
        assert_eq!(tx.len(), 64);
        let half = |range: std::ops::Range<usize>| Hash32::from_internal(tx[range].try_into().unwrap());
        let step = PathStep { hash: half(32..64), position: Position::Right };
        assert_eq!(root_from_path(half(0..32), &[step]), Err(MerkleError::TransactionAsNode));
    }
}
