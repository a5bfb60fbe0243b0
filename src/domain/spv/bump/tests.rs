//! Random trees, the vectors that stock verifiers agree on, a real block, and everything that must be refused.

use super::super::{Envelope, Header, decode_hex, encode_hex, merkle_path, merkle_root};
use super::*;

fn leaves(count: u32) -> Vec<Hash32> {
    (0..count).map(|n| sha256d(&n.to_le_bytes())).collect()
}

/// The same path, without its word on which transactions it is for.
pub(in super::super) fn unmarked(bump: &Bump) -> Bump {
    let mut bump = bump.clone();
    for node in bump.levels.iter_mut().flat_map(BTreeMap::values_mut) {
        if let Node::Hash(_, is_txid) = node {
            *is_txid = false;
        }
    }
    bump
}

/// Vectors of a form: whether they are valid, what is known of them, their bytes.
pub(in super::super) fn vectors(form: &str) -> Vec<(bool, String, Vec<u8>)> {
    let lines = include_str!("../../../../tests/data/spv-vectors.txt").lines().filter(|line| line.starts_with(form));
    let vector = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[1] == "valid", words[2].to_owned(), decode_hex(words[3]).unwrap())
    };
    lines.map(vector).collect()
}

#[test]
fn every_path_of_every_small_tree_survives() {
    let mut paths = 0;
    for count in 1..=40 {
        let txids = leaves(count);
        let root = merkle_root(&txids).unwrap();
        let mut bumps = Vec::new();
        for (index, txid) in txids.iter().enumerate() {
            let path = merkle_path(&txids, index).unwrap();
            let bump = Bump::from_path(800_000, *txid, &path).unwrap();
            let read = Bump::parse(&bump.to_bytes()).unwrap();
            assert_eq!(read, bump);
            assert_eq!(read.path_of(*txid).unwrap(), path);
            assert_eq!((read.root(), read.txids().collect::<Vec<_>>()), (Ok(root), vec![*txid]));
            bumps.push(bump);
            paths += 1;
        }
        let merged = Bump::merged(&bumps).unwrap();
        let read = Bump::parse(&merged.to_bytes()).unwrap();
        assert_eq!((read.root(), read.txids().collect::<Vec<_>>()), (Ok(root), txids.clone()));
        for (index, txid) in txids.iter().enumerate() {
            assert_eq!(read.path_of(*txid).unwrap(), merkle_path(&txids, index).unwrap());
        }
        // Of a whole block, the leaves tell everything but where a level is filled up.
        assert!(read.levels[1..].iter().all(|nodes| nodes.values().all(|node| *node == Node::Duplicate)));
    }
    assert_eq!(paths, 820);
}

#[test]
fn vectors_get_their_verdict() {
    let vectors = vectors("bump");
    for (is_valid, root, bytes) in &vectors {
        let verdict = Bump::parse(bytes).and_then(|bump| Ok((bump.root()?, bump.to_bytes())));
        assert_eq!(verdict.is_ok(), *is_valid, "{verdict:?} {}", encode_hex(bytes));
        if let Ok((found, again)) = verdict {
            assert!(root == "-" || found.to_string() == *root);
            // Nodes may come in any order; what we write is in order, and as long.
            assert_eq!((again.len(), Bump::parse(&again).unwrap()), (bytes.len(), Bump::parse(bytes).unwrap()));
        }
    }
    assert_eq!((vectors.len(), vectors.iter().filter(|v| v.0).count()), (10, 4));
}

/// Every transaction of a real block, its witnesses stripped.
#[test]
fn block_702861() {
    let block = bitcoin_test_data::blocks::mainnet_702861();
    let header = Header::parse(&block[..80]).unwrap();
    assert_eq!(header.hash().to_string(), "000000000000000000000c835b2adcaedc20fdf6ee440009c249452c726dafae");
    assert!(header.meets_target());
    let mut reader = Reader(&block[80..]);
    let count = reader.count(60).unwrap();
    let raws: Vec<Vec<u8>> = (0..count).map(|_| stripped(&mut reader)).collect();
    assert!(reader.0.is_empty());
    let txids: Vec<Hash32> = raws.iter().map(|raw| sha256d(raw)).collect();
    assert_eq!(merkle_root(&txids), Ok(header.merkle_root));
    // All levels at once: the path of each would be built from the leaves again.
    let mut levels = vec![txids.clone()];
    while levels[levels.len() - 1].len() > 1 {
        let above = |pair: &[Hash32]| parent(pair[0], *pair.last().unwrap(), Position::Right);
        levels.push(levels[levels.len() - 1].chunks(2).map(above).collect());
    }
    let step = |level: usize, index: usize| {
        let (nodes, at) = (&levels[level], index >> level);
        let position = if at % 2 == 1 { Position::Left } else { Position::Right };
        PathStep { hash: *nodes.get(at ^ 1).unwrap_or(&nodes[at]), position }
    };
    let begun = std::time::Instant::now();
    let mut proven = 0;
    for (index, raw) in raws.iter().enumerate() {
        let tx = super::super::Transaction::parse(raw).unwrap();
        assert_eq!((tx.txid(), tx.to_bytes()), (txids[index], raw.clone()));
        let path: Vec<PathStep> = (0..levels.len() - 1).map(|level| step(level, index)).collect();
        assert!(index % 100 > 0 || path == merkle_path(&txids, index).unwrap());
        let bump = Bump::parse(&Bump::from_path(702_861, txids[index], &path).unwrap().to_bytes()).unwrap();
        assert_eq!((bump.root(), bump.path_of(txids[index])), (Ok(header.merkle_root), Ok(path)));
        proven += 1;
    }
    println!("{proven} proofs built and verified in {:?}", begun.elapsed());
    assert_eq!((count, proven), (2_500, 2_500));
}

/// A transaction without its witnesses (BIP 144).
fn stripped(reader: &mut Reader<'_>) -> Vec<u8> {
    let mut out = reader.take(4).unwrap().to_vec();
    let has_witness = reader.0[0] == 0;
    if has_witness {
        reader.take(2).unwrap();
    }
    let mut copy = |reader: &mut Reader<'_>, fixed: usize, tail: usize| {
        let count = reader.count(1).unwrap();
        write_count(&mut out, count);
        for _ in 0..count {
            out.extend(reader.take(fixed).unwrap());
            let length = reader.count(1).unwrap();
            write_count(&mut out, length);
            out.extend(reader.take(length + tail).unwrap());
        }
        count
    };
    let inputs = copy(reader, 36, 4);
    copy(reader, 8, 0);
    for _ in 0..if has_witness { inputs } else { 0 } {
        for _ in 0..reader.count(1).unwrap() {
            let length = reader.count(1).unwrap();
            reader.take(length).unwrap();
        }
    }
    out.extend(reader.take(4).unwrap());
    out
}

#[test]
fn what_is_altered_or_cut_proves_something_else_or_nothing() {
    let txids = leaves(21);
    let root = merkle_root(&txids).unwrap();
    for index in [0, 7, 20] {
        let bump = Bump::from_path(7, txids[index], &merkle_path(&txids, index).unwrap()).unwrap();
        let bytes = bump.to_bytes();
        for length in 0..bytes.len() {
            assert!(Bump::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Bump::parse(&[&bytes[..], &[0]].concat()), Err(BumpError::TrailingBytes(1)));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                let Ok(found) = Bump::parse(&altered) else { continue };
                // The height is not under the root: whoever believes a path looks for the root at that height.
                let same_claim =
                    found.block_height == 7 && found.root() == Ok(root) && found.txids().eq([txids[index]]);
                assert!(!same_claim, "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    // Height 1, one level, a million nodes: in seven bytes.
    assert_eq!(Bump::parse(&[1, 1, 0xfe, 0x40, 0x42, 0x0f, 0]), Err(BumpError::Truncated));
    assert_eq!(Bump::parse(&[1, 1, 0xfd, 0xff, 0xff]), Err(BumpError::Truncated));
    assert_eq!(Bump::parse(&[1, 0]), Err(BumpError::Levels(0)));
    assert_eq!(Bump::parse(&[1, 33]), Err(BumpError::Levels(33)));
    assert_eq!(Bump::parse(&[0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1]), Err(BumpError::Height));
    assert_eq!(Bump::parse(&[1, 1, 1, 0, 4]), Err(BumpError::Flags(4)));
    assert_eq!(Bump::parse(&[1, 1, 1, 0, DUPLICATE]), Err(BumpError::Place));
    assert_eq!(Bump::parse(&[1, 1, 1, 2, DUPLICATE]), Err(BumpError::Place));
}

#[test]
fn paths_that_do_not_belong_together_are_not_merged() {
    let (one, other) = (leaves(5), leaves(6));
    let bump = |txids: &[Hash32], height| Bump::from_path(height, txids[1], &merkle_path(txids, 1).unwrap()).unwrap();
    assert_eq!(Bump::merged(&[bump(&one, 1), bump(&one, 2)]), Err(BumpError::OtherBlock));
    let twisted: Vec<Hash32> = other.iter().rev().copied().collect();
    assert!(Bump::merged(&[bump(&one, 1), bump(&twisted, 1)]).is_err());
}

/// The forms of CVE-2012-2459 and CVE-2017-12842 stay refused however a path is written.
#[test]
fn forbidden_forms_stay_refused() {
    let txids = leaves(4);
    let root = merkle_root(&txids).unwrap();
    // A node paired with itself although it has a neighbour.
    let mut bump = Bump::from_path(1, txids[0], &merkle_path(&txids, 0).unwrap()).unwrap();
    bump.levels[0].insert(1, Node::Duplicate);
    assert_eq!(bump.root(), Err(BumpError::Merkle(MerkleError::SelfPaired)));
    // An inner node passed off as a transaction.
    let inner = parent(txids[0], txids[1], Position::Right);
    let above = Bump::from_path(1, inner, &merkle_path(&txids, 0).unwrap()[1..]).unwrap();
    assert_eq!(above.root(), Ok(root));
    let raw = [*txids[0].as_internal(), *txids[1].as_internal()].concat();
    let envelope = Envelope {
        raw_tx: encode_hex(&raw),
        txid: None,
        proof: super::super::Proof { txid: inner, merkle_root: root, path: above.path_of(inner).unwrap() },
        block: super::super::BlockRef::Name { block_hash: root, block_height: None },
    };
    let checked = super::super::Checked::of(&envelope).unwrap();
    let nothing = super::super::View::default();
    assert!(checked.against(&nothing).is_err());
    let beef = super::super::Beef::of(vec![(raw, above)]).and_then(|beef| super::super::Beef::parse(&beef.to_bytes()?));
    assert!(beef.is_err());
}
