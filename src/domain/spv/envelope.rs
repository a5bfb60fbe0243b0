//! The SPV envelope as JSON: a transaction, its Merkle path, and the block it is in.
//!
//! `headerChain`, `confirmations` and `ts` may come along and are dropped: a sender's headers prove nothing, and
//! confirmations are computed at every answer and never stored.

use serde::{Deserialize, Serialize};

use super::{
    hash::Hash32,
    header::{Header, HeaderError},
    merkle::PathStep,
};

/// What a producer hands in and what a bundle hands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// Hex of the transaction. Kept as text, so that bad hex gets its reason from verification.
    pub raw_tx: String,
    /// Its id, once more; must be that of the proof when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txid: Option<Hash32>,
    /// The Merkle path.
    pub proof: Proof,
    /// The block.
    pub block: BlockRef,
}

/// A Merkle path from a transaction to a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The leaf.
    pub txid: Hash32,
    /// The root the path is said to lead to.
    pub merkle_root: Hash32,
    /// Siblings, lowest level first.
    pub path: Vec<PathStep>,
}

/// The block, by its header or by its name. Where both are given, they must be of one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    rename_all_fields = "camelCase",
    expecting = "block needs a `blockHeader` in hex, or a lower-case `blockHash` and perhaps a `blockHeight`"
)]
pub enum BlockRef {
    /// The 80 bytes.
    Header {
        /// Hex of the header. Kept as text, so that a bad one gets its reason from verification.
        block_header: String,
        /// Block hash, checked when given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block_hash: Option<Hash32>,
        /// Height, checked when given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block_height: Option<u32>,
    },
    /// A name that the best chain must know.
    Name {
        /// Block hash.
        block_hash: Hash32,
        /// Height, checked when given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block_height: Option<u32>,
    },
}

impl BlockRef {
    /// The block of a header, whose hex this is.
    pub fn of_header(block_header: String) -> Self {
        Self::Header { block_header, block_hash: None, block_height: None }
    }

    /// The hash to look up on the best chain, and the header when the envelope carries it.
    pub fn resolve(&self) -> Result<(Hash32, Option<Header>), HeaderError> {
        match self {
            Self::Header { block_header, block_hash, .. } => {
                let header = Header::from_hex(block_header)?;
                match block_hash {
                    Some(named) if *named != header.hash() => Err(HeaderError::OtherBlock),
                    _ => Ok((header.hash(), Some(header))),
                }
            }
            Self::Name { block_hash, .. } => Ok((*block_hash, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_as_documented() {
        let hash = "00".repeat(31) + "01";
        let text = json!({
            "rawTx": "00", "txid": hash,
            "proof": { "txid": hash, "merkleRoot": hash, "path": [{ "hash": hash, "position": "left" }] },
            "block": { "blockHash": hash, "blockHeight": 7 },
        });
        let envelope: Envelope = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&envelope).unwrap(), text);

        let mut extended = text.clone();
        extended["block"] = json!({ "blockHeader": "ab" });
        extended["confirmations"] = json!(12);
        extended["headerChain"] = json!(["ab"]);
        let envelope: Envelope = serde_json::from_value(extended).unwrap();
        assert_eq!(envelope.block, BlockRef::of_header("ab".into()));
        assert!(serde_json::to_value(&envelope).unwrap().get("confirmations").is_none());
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let error = serde_json::from_value::<BlockRef>(json!({ "blockHash": "AB" })).unwrap_err();
        assert!(error.to_string().contains("blockHeader"));
        let step = json!({ "hash": "00".repeat(32), "position": "above" });
        assert!(serde_json::from_value::<PathStep>(step).is_err());
    }
}
