//! The TSC Merkle proof, which nodes and their services answer with: one transaction, the siblings up to a root, and
//! the block that has the root.
//!
//! Format, in its JSON form (BRC-10, <https://tsc.bsvblockchain.org/standards/merkle-proof-standardised-format/>):
//! `{"index", "txOrId", "target", "nodes": [hash or "*", ...], "targetType"?, "proofType"?, "composite"?}`. `index` is
//! the place of the transaction in its block, its bits say on which side each sibling stands; `"*"` is a duplicate of
//! the working hash. `targetType` is `"hash"` (of the block; also when not given), `"header"` or `"merkleRoot"`.
//! Of proofs only a `"branch"` is read, which is also the default: whole trees and composites prove the same with more
//! to check.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::{
    HexError, decode_hex, encode_hex,
    hash::{Hash32, sha256d},
    header::{Header, HeaderError},
    merkle::{MAX_PATH, MerkleError, PathStep, Position, believed_parent, root_from_path},
};

#[cfg(test)]
mod tests;

/// What stands for a sibling that is the working hash once more.
const DUPLICATE: &str = "*";

/// A Merkle proof of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TscProof {
    /// The transaction.
    pub txid: Hash32,
    /// Its bytes, when the proof brings them. Not parsed: they hash to [`TscProof::txid`].
    pub raw: Option<Vec<u8>>,
    /// Where the path leads.
    pub target: TscTarget,
    /// Siblings, lowest level first.
    pub path: Vec<PathStep>,
}

/// The block a proof is for, by one of the three things that tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TscTarget {
    /// The hash of its header.
    BlockHash(Hash32),
    /// Its header.
    Header(Header),
    /// The root of its transactions.
    MerkleRoot(Hash32),
}

/// Why JSON is no proof that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TscError {
    /// Not JSON, or not of the shape in the module.
    #[error("not a Merkle proof: {0}")]
    Json(String),
    /// `txOrId` is not hex.
    #[error("transaction is not hex: {0}")]
    Transaction(HexError),
    /// A raw transaction of 64 bytes, which could be two nodes of the tree.
    #[error("{0}")]
    Merkle(#[from] MerkleError),
    /// `target` is not the hash that its type says.
    #[error("target is not a hash: {0}")]
    Target(HexError),
    /// `target` is not the header that its type says.
    #[error("target is not a header: {0}")]
    Header(#[from] HeaderError),
    /// A type of target the standard does not have.
    #[error("target type is none of hash, header, merkleRoot")]
    TargetType,
    /// `proofType` is not `branch`, or the proof is a composite of several.
    #[error("only a single branch is read")]
    NotOneBranch,
    /// A sibling that is neither a hash nor `*`.
    #[error("node {level} is not a hash: {cause}")]
    Node {
        /// Place in `nodes`.
        level: usize,
        /// What is wrong with it.
        cause: HexError,
    },
    /// A place that a block of so few levels does not have.
    #[error("index {0} is beyond what so many nodes reach")]
    Index(u64),
}

/// The JSON as it stands.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TscJson {
    index: u64,
    tx_or_id: String,
    target: String,
    nodes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    composite: Option<bool>,
}

impl TscProof {
    /// Reads the JSON form. As serde alone would, but with a cause that can be matched.
    pub fn from_json(text: &str) -> Result<Self, TscError> {
        serde_json::from_str::<TscJson>(text).map_err(|error| TscError::Json(error.to_string()))?.try_into()
    }

    /// Place of the transaction in its block: the bits of it are the sides of the siblings.
    pub fn index(&self) -> u64 {
        let left = |step: &PathStep| u64::from(step.position == Position::Left);
        (0..).zip(&self.path).map(|(level, step): (u32, _)| left(step).checked_shl(level).unwrap_or(0)).sum()
    }

    /// The root that the path leads to. Whether it is that of the target is for verification to say.
    pub fn root(&self) -> Result<Hash32, MerkleError> {
        root_from_path(self.txid, &self.path)
    }

    fn to_json(&self) -> Result<TscJson, MerkleError> {
        let mut node = self.txid;
        let mut nodes = Vec::with_capacity(self.path.len());
        for step in &self.path {
            nodes.push(if step.hash == node { DUPLICATE.to_owned() } else { step.hash.to_string() });
            node = match step.position {
                Position::Left => believed_parent(step.hash, node)?,
                Position::Right => believed_parent(node, step.hash)?,
            };
        }
        // Also refuses what has no spelling: too many levels, a duplicate on the left.
        self.root()?;
        let (target_type, target) = match &self.target {
            TscTarget::BlockHash(hash) => (None, hash.to_string()),
            TscTarget::Header(header) => (Some("header"), encode_hex(&header.to_bytes())),
            TscTarget::MerkleRoot(root) => (Some("merkleRoot"), root.to_string()),
        };
        Ok(TscJson {
            index: self.index(),
            tx_or_id: self.raw.as_deref().map_or_else(|| self.txid.to_string(), encode_hex),
            target,
            nodes,
            target_type: target_type.map(str::to_owned),
            proof_type: None,
            composite: None,
        })
    }
}

impl TryFrom<TscJson> for TscProof {
    type Error = TscError;

    fn try_from(json: TscJson) -> Result<Self, TscError> {
        if json.composite == Some(true) || json.proof_type.is_some_and(|kind| kind != "branch") {
            return Err(TscError::NotOneBranch);
        }
        if json.nodes.len() > MAX_PATH {
            return Err(MerkleError::TooLong(json.nodes.len()).into());
        }
        if json.index >> json.nodes.len() != 0 {
            return Err(TscError::Index(json.index));
        }
        let hash = |text: &str| text.parse::<Hash32>();
        let target = match json.target_type.as_deref() {
            None | Some("hash") => TscTarget::BlockHash(hash(&json.target).map_err(TscError::Target)?),
            Some("header") => TscTarget::Header(Header::from_hex(&json.target)?),
            Some("merkleRoot") => TscTarget::MerkleRoot(hash(&json.target).map_err(TscError::Target)?),
            Some(_) => return Err(TscError::TargetType),
        };
        // No transaction is as short as its id.
        let (txid, raw) = if json.tx_or_id.len() == 64 {
            (hash(&json.tx_or_id).map_err(TscError::Transaction)?, None)
        } else {
            let raw = decode_hex(&json.tx_or_id).map_err(TscError::Transaction)?;
            if raw.len() == 64 {
                return Err(MerkleError::TransactionAsNode.into());
            }
            (sha256d(&raw), Some(raw))
        };

        let mut node = txid;
        let mut path = Vec::with_capacity(json.nodes.len());
        for (level, text) in json.nodes.iter().enumerate() {
            let sibling = match text.as_str() {
                DUPLICATE => node,
                text => hash(text).map_err(|cause| TscError::Node { level, cause })?,
            };
            let (position, parent) = match json.index >> level & 1 {
                0 => (Position::Right, believed_parent(node, sibling)?),
                _ => (Position::Left, believed_parent(sibling, node)?),
            };
            path.push(PathStep { hash: sibling, position });
            node = parent;
        }
        let proof = Self { txid, raw, target, path };
        proof.root()?;
        Ok(proof)
    }
}

impl Serialize for TscProof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TscProof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TscJson::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}
