//! The JSON form of a BUMP, as `@bsv/sdk` and the services that speak it write it:
//! `{"blockHeight", "path": [[{"offset", "hash"?, "txid"?, "duplicate"?}]]}`, hashes in display order.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{super::merkle::MAX_PATH, Bump, BumpError, Form, Hash32, Leaf, LeafData};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BumpJson {
    block_height: u32,
    path: Vec<Vec<LeafJson>>,
}

#[derive(Serialize, Deserialize)]
struct LeafJson {
    offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<Hash32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    txid: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl Serialize for Bump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let leaf = |leaf: &Leaf| LeafJson {
            offset: leaf.offset,
            hash: leaf.hash(),
            txid: matches!(leaf.data, LeafData::Txid(_)),
            duplicate: leaf.data == LeafData::Duplicate,
        };
        let path = self.levels.iter().map(|leaves| leaves.iter().map(leaf).collect()).collect();
        BumpJson { block_height: self.block_height, path }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bump {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BumpJson::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

impl TryFrom<BumpJson> for Bump {
    type Error = BumpError;

    fn try_from(json: BumpJson) -> Result<Self, BumpError> {
        if !(1..=MAX_PATH).contains(&json.path.len()) {
            return Err(BumpError::TreeHeight(json.path.len()));
        }
        let mut levels = Vec::with_capacity(json.path.len());
        for (level, leaves) in json.path.into_iter().enumerate() {
            let leaf = |LeafJson { offset, hash, txid, duplicate }| {
                let data = match (hash, txid, duplicate) {
                    (Some(hash), true, false) => LeafData::Txid(hash),
                    (Some(hash), false, false) => LeafData::Hash(hash),
                    (None, false, true) => LeafData::Duplicate,
                    _ => return Err(BumpError::Leaf { level, offset }),
                };
                Ok(Leaf { offset, data })
            };
            levels.push(leaves.into_iter().map(leaf).collect::<Result<_, _>>()?);
        }
        Self::assemble(json.block_height, levels, Form::Exact)
    }
}
