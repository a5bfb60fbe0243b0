//! Header files: an accepted chain is linked without a gap, raw headers are written as the same bytes, and JSON in
//! either form tells the same chain. Chains with little work are made too, as chance finds none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overlay::domain::spv::source::{SourceBlock, SourceError, anchor, best_chain};
use overlay::domain::spv::{Hash32, Header};
use overlay_fuzz::bounded;
use serde_json::{Map, Value, json};

/// The least work there is: every second hash has it.
const LEAST_WORK: u32 = 0x207f_ffff;
/// Headers of a made-up chain.
const MOST_MADE: usize = 12;

fuzz_target!(|data: &[u8]| {
    read(data);
    made(data);
});

fn read(data: &[u8]) {
    let anchored = bounded(data, 4, || anchor(data));
    // To JSON it is all one.
    let heights = if anchored == Ok(None) { &[None][..] } else { &[None, Some(0), Some(800_000), Some(u32::MAX)] };
    for &height in heights {
        // A flattened member is read into a buffer first, and a map keeps twice the room it needs.
        let chain = match bounded(data, 128, || best_chain(data, height)) {
            Ok(chain) => chain,
            Err(error) => {
                assert!(anchored.is_ok() || anchored == Err(error));
                continue;
            }
        };
        let prev = anchored.clone().expect("it was read");
        linked(&chain);
        match prev {
            None => told(&chain, data),
            Some(prev) => {
                assert_eq!(chain[0].prev_hash, prev);
                let begins = if prev == Hash32::ZERO { Some(0) } else { height.and_then(|at| at.checked_add(1)) };
                assert_eq!(Some(chain[0].height), begins);
                raw(&chain, data);
            }
        }
    }
}

fn linked(chain: &[SourceBlock]) {
    assert!(!chain.is_empty());
    for [below, above] in chain.array_windows() {
        assert_eq!((above.prev_hash, Some(above.height)), (below.hash, below.height.checked_add(1)));
    }
}

fn raw(chain: &[SourceBlock], data: &[u8]) {
    assert_eq!(chain.len() * Header::SIZE, data.len());
    for (block, bytes) in chain.iter().zip(data.as_chunks::<{ Header::SIZE }>().0) {
        let header = Header::parse(bytes).expect("80 bytes are a header");
        assert_eq!((block.raw.as_ref(), header.to_bytes()), (Some(bytes), *bytes));
        assert!(header.meets_target());
        assert_eq!((header.hash(), header.merkle_root), (block.hash, block.merkle_root));
        assert_eq!(header.prev_hash, block.prev_hash);
    }
}

/// What JSON told, told again in both forms.
fn told(chain: &[SourceBlock], data: &[u8]) {
    assert!(chain.iter().all(|block| block.raw.is_none()));
    let document: Value = serde_json::from_slice(data).expect("it was read");
    let tip = chain.last().expect("it is not empty");
    assert_eq!(document["tipHash"], json!(tip.hash));
    assert_eq!(document["bestHeight"], json!(tip.height));
    for form in [listed(chain), keyed(chain)] {
        assert_eq!(best_chain(form.to_string().as_bytes(), None).as_deref(), Ok(chain));
    }
}

fn listed(chain: &[SourceBlock]) -> Value {
    let header = |block: &SourceBlock| {
        let SourceBlock { hash, height, prev_hash, merkle_root, .. } = block;
        json!({"hash": hash, "height": height, "prevHash": prev_hash, "merkleRoot": merkle_root})
    };
    document(chain, "headers", chain.iter().map(header).collect())
}

fn keyed(chain: &[SourceBlock]) -> Value {
    let header = |block: &SourceBlock| {
        let SourceBlock { hash, height, prev_hash, merkle_root, .. } = block;
        (hash.to_string(), json!({"height": height, "prevHash": prev_hash, "merkleRoot": merkle_root}))
    };
    document(chain, "byHash", Value::Object(chain.iter().map(header).collect::<Map<_, _>>()))
}

fn document(chain: &[SourceBlock], name: &str, headers: Value) -> Value {
    let tip = chain.last().expect("no chain is empty");
    json!({"bestHeight": tip.height, "tipHash": tip.hash, name: headers})
}

/// A chain of as many headers as the first byte says, and then one of its bytes is another.
fn made(data: &[u8]) {
    let Some(([count, anchored, at, value], seed)) = data.split_first_chunk::<4>() else { return };
    let mut seed = seed.iter().copied();
    let prev = Hash32::from_internal([*anchored; 32]);
    let mut bytes = Vec::new();
    let mut prev_hash = prev;
    for _ in 0..usize::from(*count) % MOST_MADE + 1 {
        let merkle_root = Hash32::from_internal([seed.next().unwrap_or_default(); 32]);
        let mut header = Header { version: 1, prev_hash, merkle_root, time: 0, bits: LEAST_WORK, nonce: 0 };
        while !header.meets_target() {
            header.nonce += 1;
        }
        prev_hash = header.hash();
        bytes.extend(header.to_bytes());
    }
    assert_eq!(anchor(&bytes), Ok(Some(prev)));
    let chain = best_chain(&bytes, Some(799_999)).expect("each has its work and follows the one before");
    assert_eq!(chain[0].height, if prev == Hash32::ZERO { 0 } else { 800_000 });
    assert_eq!(chain.last().map(|tip| tip.hash), Some(prev_hash));
    read(&bytes);
    let without = |chain: &[SourceBlock]| -> Vec<SourceBlock> {
        chain.iter().map(|block| SourceBlock { raw: None, ..block.clone() }).collect()
    };
    let json = [listed(&chain), keyed(&chain)].map(|form| form.to_string().into_bytes());
    for form in &json {
        assert_eq!(best_chain(form, None), Ok(without(&chain)));
    }

    let changed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let place = usize::from(*at) * bytes.len() / 256;
        bytes[place] ^= value;
        bytes
    };
    let other = changed(&bytes);
    read(&other);
    // Only the last header has nothing above it that names its hash, and a hash may have its work by chance.
    let last = bytes.len() - Header::SIZE;
    if *value != 0 && usize::from(*at) * bytes.len() / 256 < last {
        let result = best_chain(&other, Some(0));
        assert!(
            matches!(result, Err(SourceError::Work(_) | SourceError::Link(_) | SourceError::Form(_))),
            "{result:?}"
        );
    }
    json.iter().for_each(|form| read(&changed(form)));
}
