//! BUMPs: what is parsed is written as the same BUMP, in bytes and in JSON, and all its transactions climb to its root.
//! What is made from a block has the block's root, for any choice of its transactions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overlay::domain::spv::{
    Bump, BumpError, Hash32, MerkleError, encode_hex, merkle_path, merkle_root, root_from_path,
};
use overlay_fuzz::{bounded, permuted};

/// Leaves whose paths are looked at: each look costs as much as the BUMP is wide.
const MOST_LEAVES: usize = 24;

fuzz_target!(|data: &[u8]| {
    read(data);
    made(data);
});

fn read(data: &[u8]) {
    let exact = bounded(data, 256, || Bump::parse(data));
    assert_eq!(Bump::from_hex(&encode_hex(data)), exact);
    let embedded = bounded(data, 256, || Bump::parse_prefix(data));
    match (exact, embedded) {
        (Ok(bump), Ok((same, rest))) => {
            assert_eq!((&bump, rest), (&same, &[][..]));
            let bytes = bump.to_bytes();
            assert!(permuted(&bytes, data), "other leaves are written");
            holds(&bump);
        }
        (Err(BumpError::TrailingBytes(more)), Ok((bump, rest))) => {
            assert_eq!(rest.len(), more);
            holds(&bump);
        }
        // Only here may a node be more than is needed.
        (Err(BumpError::NeedlessNode { .. }), Ok((bump, rest))) => {
            let bytes = bump.to_bytes();
            assert!(permuted(&bytes, &data[..data.len() - rest.len()]), "other leaves are written");
            assert_eq!(Bump::parse_prefix(&bytes), Ok((bump.clone(), &[][..])));
            climbs(&bump);
        }
        (Err(BumpError::NeedlessNode { .. }), Err(_)) => {}
        (exact, embedded) => assert_eq!(exact, embedded.map(|(bump, _)| bump)),
    }
}

/// What is true of a BUMP without needless nodes.
fn holds(bump: &Bump) {
    let bytes = bump.to_bytes();
    assert_eq!(Bump::parse(&bytes).as_ref(), Ok(bump));
    let json = serde_json::to_string(bump).expect("a BUMP has a JSON form");
    assert_eq!(&serde_json::from_str::<Bump>(&json).expect("what is written is read"), bump);
    climbs(bump);
}

/// Every transaction climbs to the root, and its path alone is a BUMP that says so.
fn climbs(bump: &Bump) {
    for leaf in bump.leaves().take(MOST_LEAVES) {
        assert_eq!(bump.root_of(&leaf), Ok(bump.root()));
        let path = bump.path_of(&leaf).expect("a leaf has a path");
        let alone = Bump::from_path(bump.block_height(), leaf, &path).expect("the path of a leaf is one of a BUMP");
        assert_eq!((alone.root(), alone.path_of(&leaf)), (bump.root(), Ok(path)));
    }
    let merged = match Bump::merge(vec![bump.clone(), bump.clone()]) {
        Ok(merged) => merged,
        // A last leaf that is spelt out twice, and only the second time marked, is read but has no place in a merge.
        Err(error) => {
            assert_eq!(error, BumpError::Merkle(MerkleError::SelfPaired));
            let twice = |txid| bump.leaves().filter(|leaf| *leaf == txid).count() > 1;
            return assert!(bump.txids().any(twice));
        }
    };
    assert_eq!((merged.root(), merged.block_height()), (bump.root(), bump.block_height()));
    assert!(bump.txids().all(|txid| merged.txids().any(|found| found == txid)));
    assert_eq!(Bump::merge(vec![merged.clone()]), Ok(merged));
}

/// A block of made-up ids, each one byte of the input over and over, so that equal ones are common.
fn made(data: &[u8]) {
    let Some(([height, mask @ ..], ids)) = data.split_first_chunk::<9>() else { return };
    let (height, mask) = (u32::from(*height) << 20, u64::from_le_bytes(*mask));
    let txids: Vec<Hash32> = ids.iter().take(MOST_LEAVES).map(|byte| Hash32::from_internal([*byte; 32])).collect();
    let Ok(root) = merkle_root(&txids) else { return };
    let mut bumps = Vec::new();
    for (index, txid) in txids.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1) {
        let path = merkle_path(&txids, index).expect("a leaf of a tree has a path");
        assert_eq!(root_from_path(*txid, &path), Ok(root));
        let bump = Bump::from_path(height, *txid, &path).expect("the path of a leaf is one of a BUMP");
        assert_eq!((bump.root(), bump.path_of(txid)), (root, Ok(path)));
        bumps.push(bump);
    }
    if !bumps.is_empty() {
        let merged = Bump::merge(bumps).expect("BUMPs of one block can be merged");
        assert_eq!((merged.root(), merged.block_height()), (root, height));
        assert_eq!(merged.txids().count(), (0..txids.len()).filter(|index| mask >> index & 1 == 1).count());
        holds(&merged);
    }
}
