//! What a header source tells: the best chain, as JSON in either of two forms or as headers one after another.
//!
//! ```json
//! {"bestHeight": 2, "tipHash": "…", "headers": [{"hash": "…", "prevHash": "…", "merkleRoot": "…", "height": 0}]}
//! {"bestHeight": 2, "tipHash": "…", "byHash": {"…": {"prevHash": "…", "merkleRoot": "…", "height": 0}}}
//! ```
//!
//! JSON names its tip and is believed about it; that its headers lead there without a gap is checked. Of raw headers the work
//! and the links are checked, and the last one is the tip.

use std::collections::HashMap;

use serde::Deserialize;

use super::hash::Hash32;
use super::header::{Header, HeaderError};

/// Most headers of a source: those of a century.
const MAX_HEADERS: usize = 6_000_000;

/// A block of the source's best chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceBlock {
    /// Block hash.
    pub hash: Hash32,
    /// Height.
    pub height: u32,
    /// Hash of the block before.
    pub prev_hash: Hash32,
    /// Root over the block's transaction ids.
    pub merkle_root: Hash32,
    /// The 80 bytes, where the source tells them.
    pub raw: Option<[u8; Header::SIZE]>,
}

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Neither JSON of a form that is known nor whole headers.
    #[error("the source is neither JSON of a known form nor a row of 80-byte headers: {0}")]
    Form(String),
    /// More than anybody needs.
    #[error("the source has more than {MAX_HEADERS} headers")]
    TooMany,
    /// No header at all.
    #[error("the source has no headers")]
    Empty,
    /// Two headers of one hash.
    #[error("header {0} comes twice")]
    Twice(Hash32),
    /// The tip is not among the headers.
    #[error("the tip {0} is not among the headers")]
    NoTip(Hash32),
    /// The tip is at another height than the best one.
    #[error("the tip is at height {found}, and the best height is said to be {told}")]
    BestHeight {
        /// Where the tip is.
        found: u32,
        /// What is told.
        told: u32,
    },
    /// A block is not one above the block before.
    #[error("the header before {0} is not one below it")]
    Height(Hash32),
    /// Headers are missing between others.
    #[error("there are headers below height {0}, and none that leads there")]
    Gap(u32),
    /// A raw header that is none.
    #[error("header {at}: {cause}")]
    Header {
        /// Its place, from 0.
        at: usize,
        /// What is wrong.
        cause: HeaderError,
    },
    /// A raw header without its work.
    #[error("header {0} has not the work that it claims")]
    Work(usize),
    /// A raw header that is not on the one before.
    #[error("header {0} does not follow the one before it")]
    Link(usize),
    /// Raw headers that begin on a block that nobody knows.
    #[error("the first header follows {0}, which is not known")]
    Unanchored(Hash32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    best_height: u32,
    tip_hash: Hash32,
    #[serde(default)]
    headers: Option<Vec<Listed>>,
    #[serde(default)]
    by_hash: Option<HashMap<Hash32, Keyed>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    hash: Hash32,
    #[serde(flatten)]
    rest: Keyed,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Keyed {
    prev_hash: Hash32,
    merkle_root: Hash32,
    height: u32,
}

/// The block that raw headers begin on, `None` for JSON: its height has to be known to read them.
///
/// # Errors
/// When the bytes are neither.
pub fn anchor(bytes: &[u8]) -> Result<Option<Hash32>, SourceError> {
    if is_json(bytes) {
        return Ok(None);
    }
    let first = bytes.get(..Header::SIZE).filter(|_| bytes.len().is_multiple_of(Header::SIZE));
    let first = first.ok_or_else(|| SourceError::Form(format!("{} bytes", bytes.len())))?;
    let header = Header::parse(first).map_err(|cause| SourceError::Header { at: 0, cause })?;
    Ok(Some(header.prev_hash))
}

fn is_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// The best chain of a source, lowest block first; `anchored` is the height of [`anchor`]'s block, if that is known.
///
/// # Errors
/// What is wrong with it.
pub fn best_chain(bytes: &[u8], anchored: Option<u32>) -> Result<Vec<SourceBlock>, SourceError> {
    match anchor(bytes)? {
        None => json(bytes),
        Some(Hash32::ZERO) => raw(bytes, 0),
        Some(prev) => {
            let below = anchored.ok_or(SourceError::Unanchored(prev))?;
            raw(bytes, below.checked_add(1).ok_or(SourceError::TooMany)?)
        }
    }
}

fn raw(bytes: &[u8], first_height: u32) -> Result<Vec<SourceBlock>, SourceError> {
    if bytes.len() / Header::SIZE > MAX_HEADERS {
        return Err(SourceError::TooMany);
    }
    let mut chain: Vec<SourceBlock> = Vec::with_capacity(bytes.len() / Header::SIZE);
    for (at, bytes) in bytes.as_chunks::<{ Header::SIZE }>().0.iter().enumerate() {
        let header = Header::parse(bytes).map_err(|cause| SourceError::Header { at, cause })?;
        if !header.meets_target() {
            return Err(SourceError::Work(at));
        }
        let Header { prev_hash, merkle_root, .. } = header;
        if chain.last().is_some_and(|last| last.hash != prev_hash) {
            return Err(SourceError::Link(at));
        }
        let height = u32::try_from(at).ok().and_then(|at| first_height.checked_add(at)).ok_or(SourceError::TooMany)?;
        chain.push(SourceBlock { hash: header.hash(), height, prev_hash, merkle_root, raw: Some(*bytes) });
    }
    Ok(chain)
}

fn json(bytes: &[u8]) -> Result<Vec<SourceBlock>, SourceError> {
    let document: Document = serde_json::from_slice(bytes).map_err(|cause| SourceError::Form(cause.to_string()))?;
    let Document { best_height, tip_hash, headers, by_hash } = document;
    let mut known = by_hash.unwrap_or_default();
    for Listed { hash, rest } in headers.into_iter().flatten() {
        if known.insert(hash, rest).is_some() {
            return Err(SourceError::Twice(hash));
        }
    }
    if known.is_empty() {
        return Err(SourceError::Empty);
    }
    if known.len() > MAX_HEADERS {
        return Err(SourceError::TooMany);
    }
    let tip = known.get(&tip_hash).ok_or(SourceError::NoTip(tip_hash))?;
    if tip.height != best_height {
        return Err(SourceError::BestHeight { found: tip.height, told: best_height });
    }
    let mut chain = Vec::new();
    let (mut hash, mut block) = (tip_hash, *tip);
    // Heights fall, so this ends.
    let lowest = loop {
        let Keyed { prev_hash, merkle_root, height } = block;
        chain.push(SourceBlock { hash, height, prev_hash, merkle_root, raw: None });
        match known.get(&prev_hash) {
            Some(before) if before.height.checked_add(1) == Some(height) => (hash, block) = (prev_hash, *before),
            Some(_) => return Err(SourceError::Height(hash)),
            None => break height,
        }
    };
    if known.values().any(|other| other.height < lowest) {
        return Err(SourceError::Gap(lowest));
    }
    chain.reverse();
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RAW: &[u8] = include_bytes!("../../../tests/data/spv/headers.bin");

    fn listed(chain: &[SourceBlock]) -> Value {
        let header = |block: &SourceBlock| json!({"hash": block.hash, "prevHash": block.prev_hash, "merkleRoot": block.merkle_root, "height": block.height});
        let last = chain.last().unwrap();
        json!({"bestHeight": last.height, "tipHash": last.hash, "headers": chain.iter().map(header).collect::<Vec<_>>()})
    }

    fn read(document: &Value) -> Result<Vec<SourceBlock>, SourceError> {
        best_chain(document.to_string().as_bytes(), None)
    }

    /// Without the bytes, which JSON does not tell.
    fn plain(chain: &[SourceBlock]) -> Vec<SourceBlock> {
        chain.iter().map(|block| SourceBlock { raw: None, ..block.clone() }).collect()
    }

    #[test]
    fn three_forms_tell_the_same() {
        let prev = Header::parse(&RAW[..80]).unwrap().prev_hash;
        let anchored = (prev != Hash32::ZERO).then_some(0);
        let chain = best_chain(RAW, anchored).unwrap();
        assert_eq!(chain.len(), 1_111);
        assert_eq!(read(&listed(&chain)), Ok(plain(&chain)));
        let mut keyed = listed(&chain);
        let by_hash: serde_json::Map<String, Value> = chain
            .iter()
            .zip(keyed["headers"].as_array().unwrap())
            .map(|(b, h)| (b.hash.to_string(), h.clone()))
            .collect();
        keyed["byHash"] = Value::Object(by_hash);
        keyed.as_object_mut().unwrap().remove("headers");
        assert_eq!(read(&keyed), Ok(plain(&chain)));
        // A stale branch beside it changes nothing.
        let mut branched = listed(&chain);
        branched["headers"].as_array_mut().unwrap().push(json!({
            "hash": "ab".repeat(32), "prevHash": chain[500].hash, "merkleRoot": "cd".repeat(32), "height": chain[501].height}));
        assert_eq!(read(&branched), Ok(plain(&chain)));
        // One that begins later.
        assert_eq!(read(&listed(&chain[700..])), Ok(plain(&chain[700..])));
        assert_eq!(best_chain(&RAW[80 * 700..], None), Err(SourceError::Unanchored(chain[699].hash)));
        assert_eq!(best_chain(&RAW[80 * 700..], Some(chain[699].height)), Ok(chain[700..].to_vec()));
        // No height is above the highest there can be.
        let one = &RAW[80 * 700..80 * 701];
        assert_eq!(best_chain(one, Some(u32::MAX - 1)).map(|chain| chain[0].height), Ok(u32::MAX));
        assert_eq!(best_chain(one, Some(u32::MAX)), Err(SourceError::TooMany));
    }

    #[test]
    fn broken_sources_are_refused() {
        let chain = best_chain(RAW, Some(0)).unwrap();
        let good = listed(&chain[..20]);
        let edit = |pointer: &str, value: Value| {
            let mut document = good.clone();
            *document.pointer_mut(pointer).unwrap() = value;
            read(&document)
        };
        assert_eq!(edit("/tipHash", json!("ab".repeat(32))), Err(SourceError::NoTip("ab".repeat(32).parse().unwrap())));
        assert!(matches!(edit("/bestHeight", json!(3)), Err(SourceError::BestHeight { told: 3, .. })));
        assert!(matches!(edit("/headers/7/height", json!(3)), Err(SourceError::Height(_))));
        assert!(matches!(edit("/headers/7/prevHash", json!("ab".repeat(32))), Err(SourceError::Gap(_))));
        assert!(matches!(edit("/headers", json!([])), Err(SourceError::Empty)));
        assert!(matches!(edit("/headers/7/hash", json!("AB")), Err(SourceError::Form(_))));
        let mut twice = good.clone();
        let again = twice["headers"][3].clone();
        twice["headers"].as_array_mut().unwrap().push(again);
        assert_eq!(read(&twice), Err(SourceError::Twice(chain[3].hash)));
        let mut gap = good;
        gap["headers"].as_array_mut().unwrap().remove(9);
        assert!(matches!(read(&gap), Err(SourceError::Gap(_))));

        let mut worthless = RAW[..800].to_vec();
        worthless[163] ^= 1;
        assert!(matches!(best_chain(&worthless, Some(0)), Err(SourceError::Work(2))));
        let unlinked = [&RAW[..80], &RAW[160..240]].concat();
        assert_eq!(best_chain(&unlinked, Some(0)), Err(SourceError::Link(1)));
        for bytes in [&b""[..], b"{", b"[]", b"{}", &RAW[..79], &RAW[..81]] {
            assert!(matches!(best_chain(bytes, Some(0)), Err(SourceError::Form(_))), "{}", bytes.len());
        }
    }

    #[test]
    fn altered_bytes_never_panic_and_never_pass_as_raw_headers() {
        let mut state = 0x5eed_u64;
        for _ in 0..2_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % 800;
            let mut bytes = RAW[..800].to_vec();
            bytes[at] ^= 1 << (state & 7);
            assert!(best_chain(&bytes, Some(0)).is_err() || at < 36, "byte {at}");
        }
    }
}
