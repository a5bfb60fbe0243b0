//! Round trips over many trees, published vectors, and the refusals.

use super::{
    super::{
        bytes::ReadError,
        encode_hex,
        hash::sha256d,
        merkle::{merkle_path, merkle_root},
        vectors::{Xorshift, bumps},
    },
    *,
};

fn txids(count: u32) -> Vec<Hash32> {
    (0..count).map(|i| sha256d(&i.to_le_bytes())).collect()
}

fn of(block_height: u32, txids: &[Hash32], index: usize) -> Bump {
    Bump::from_path(block_height, txids[index], &merkle_path(txids, index).unwrap()).unwrap()
}

#[test]
fn path_and_bump_are_two_spellings_of_one_thing() {
    let mut tested = 0;
    for count in 1..=40 {
        let txids = txids(count);
        let root = merkle_root(&txids).unwrap();
        for (index, txid) in txids.iter().enumerate() {
            let path = merkle_path(&txids, index).unwrap();
            let bump = Bump::from_path(813_706, *txid, &path).unwrap();
            let read = Bump::parse(&bump.to_bytes()).unwrap();
            assert_eq!(read, bump);
            assert_eq!(read.path_of(txid).unwrap(), path, "{index} of {count}");
            assert_eq!((read.root_of(txid), read.root(), read.block_height()), (Ok(root), root, 813_706));
            assert_eq!(read.txids().collect::<Vec<_>>(), [*txid]);
            let json = serde_json::to_string(&bump).unwrap();
            assert_eq!(serde_json::from_str::<Bump>(&json).unwrap(), bump);
            tested += 1;
        }
    }
    assert_eq!(tested, 820);
}

#[test]
fn merged_paths_are_the_same_paths_in_fewer_bytes() {
    let mut random = Xorshift::new();
    for round in 0..400 {
        let txids = txids(1 + random.below(40) as u32);
        let mut chosen: Vec<usize> = (0..=random.below(8)).map(|_| random.below(txids.len())).collect();
        let parts: Vec<Bump> = chosen.iter().map(|index| of(7, &txids, *index)).collect();
        let apart: usize = parts.iter().map(|bump| bump.to_bytes().len()).sum();
        let merged = Bump::merge(parts).unwrap();
        let bytes = merged.to_bytes();
        assert!(bytes.len() <= apart);
        let read = Bump::parse(&bytes).unwrap();
        assert_eq!(read, merged);
        chosen.sort_unstable();
        chosen.dedup();
        assert!(read.txids().eq(chosen.iter().map(|index| txids[*index])), "round {round}");
        for index in chosen {
            assert_eq!(read.path_of(&txids[index]).unwrap(), merkle_path(&txids, index).unwrap());
        }
        assert_eq!(Bump::merge(vec![read.clone(), read.clone()]).unwrap(), read);
    }
}

#[test]
fn all_of_a_block_needs_no_inner_node() {
    let txids = txids(11);
    let merged = Bump::merge((0..11).map(|index| of(125_632, &txids, index)).collect()).unwrap();
    let leaves: Vec<usize> = merged.levels.iter().map(Vec::len).collect();
    // Level 0 with the duplicate of its eleventh; level 1 has six nodes; level 2 a third and its duplicate.
    assert_eq!(leaves, [12, 0, 1, 0]);
}

#[test]
fn only_one_block_can_be_merged() {
    let (five, six) = (txids(5), txids(6));
    let refused = |bumps| assert_eq!(Bump::merge(bumps), Err(BumpError::NotOneBlock));
    refused(vec![]);
    refused(vec![of(7, &five, 0), of(8, &five, 1)]);
    refused(vec![of(7, &five, 0), of(7, &six, 1)]);
    let lone = |txid| Bump::from_path(7, txid, &[]).unwrap();
    refused(vec![of(7, &five, 0), lone(merkle_root(&five).unwrap())]);
    assert_eq!(Bump::merge(vec![lone(five[0]), lone(five[0])]), Ok(lone(five[0])));
}

#[test]
fn published_vectors() {
    let (mut valid, mut invalid) = (0, 0);
    for vector in bumps() {
        let bump = Bump::from_hex(vector.hex);
        let Some(height) = vector.height else {
            invalid += 1;
            let error = bump.expect_err(vector.name);
            assert!(format!("{error:?}").starts_with(vector.verdict), "{}: {error:?}", vector.name);
            continue;
        };
        valid += 1;
        let bump = bump.expect(vector.name);
        assert_eq!(bump.block_height(), height, "{}", vector.name);
        assert_eq!(encode_hex(&bump.to_bytes()), vector.hex, "{}", vector.name);
        assert_eq!(bump.root().to_string(), vector.verdict, "{}", vector.name);
        assert!(bump.leaves().count() > 0 && bump.txids().count() > 0);
        for txid in bump.leaves() {
            assert_eq!(bump.root_of(&txid), Ok(bump.root()), "{}", vector.name);
        }
    }
    assert_eq!((valid, invalid), (8, 6));
}

#[test]
fn single_transaction_block_has_a_lone_leaf() {
    let txid = "d5377a7aba0c0e0dbaef230f8917217b453484c83579e11a14c8299faa57ef02".parse().unwrap();
    let bump = Bump::from_path(1, txid, &[]).unwrap();
    assert_eq!(
        encode_hex(&bump.to_bytes()),
        "010101000202ef57aa9f29c8141ae17935c88434457b2117890f23efba0d0e0cba7a7a37d5"
    );
    assert_eq!((bump.root_of(&txid), bump.path_of(&txid)), (Ok(txid), Ok(vec![])));
    assert_eq!(Bump::parse(&[1, 0]), Err(BumpError::TreeHeight(0)));
    assert_eq!(Bump::parse(&[1, 1, 0]), Err(MerkleError::NoLeaf.into()));
    assert_eq!(Bump::parse(&[1, 1, 1, 1, 1]), Err(BumpError::MissingNode { level: 0, offset: 0 }));
}

#[test]
fn nodes_without_a_transaction_are_no_bump() {
    let bytes = [&[1, 2, 0, 2, 0, 0][..], &[7; 32], &[1, 0], &[8; 32]].concat();
    assert_eq!(Bump::parse(&bytes), Err(BumpError::NeedlessNode { level: 1, offset: 0 }));
    assert_eq!(Bump::parse_prefix(&bytes), Err(MerkleError::NoLeaf.into()));
}

#[test]
fn whole_block_in_one_level() {
    for count in 3..=20 {
        let txids = txids(count);
        let leaf = |(offset, txid)| Leaf { offset, data: LeafData::Txid(txid) };
        let leaves: Vec<Leaf> = (0..).zip(txids.iter().copied()).map(leaf).collect();
        let bump = Bump::assemble(100, vec![leaves.clone()], Form::Exact).unwrap();
        assert_eq!(Bump::parse(&bump.to_bytes()), Ok(bump.clone()));
        for (index, txid) in txids.iter().enumerate() {
            assert_eq!(bump.path_of(txid).unwrap(), merkle_path(&txids, index).unwrap());
        }
        let trimmed = Bump::merge(vec![bump]).unwrap();
        assert_eq!(trimmed.root(), merkle_root(&txids).unwrap());
        let mut holed = leaves;
        holed.remove(1);
        assert!(Bump::assemble(100, vec![holed], Form::Exact).is_err());
    }
}

#[test]
fn leaves_in_any_order_are_written_in_order() {
    let bump = of(7, &txids(6), 3);
    let mut levels = bump.levels.clone();
    levels[0].reverse();
    assert_ne!(levels, bump.levels);
    assert_eq!(Bump::assemble(7, levels, Form::Exact), Ok(bump));
}

#[test]
fn each_refusal() {
    let txids = txids(5);
    let broken = |index: usize, edit: &dyn Fn(&mut Vec<Vec<Leaf>>)| {
        let mut levels = of(7, &txids, index).levels;
        edit(&mut levels);
        Bump::assemble(7, levels, Form::Exact).unwrap_err()
    };
    let other = LeafData::Hash(sha256d(b"other"));
    let twice = broken(0, &|levels| {
        let leaf = levels[1][0];
        levels[1].push(leaf);
    });
    assert_eq!(twice, BumpError::DuplicateOffset { level: 1, offset: 1 });
    let wide = broken(0, &|levels| levels[2][0].offset = 2);
    assert_eq!(wide, BumpError::OffsetBeyondWidth { level: 2, offset: 2 });
    let needless = broken(0, &|levels| levels[1].push(Leaf { offset: 2, data: other }));
    assert_eq!(needless, BumpError::NeedlessNode { level: 1, offset: 2 });
    let missing = broken(0, &|levels| levels[1].clear());
    assert_eq!(missing, BumpError::MissingNode { level: 1, offset: 1 });
    let two = Bump::merge(vec![of(7, &txids, 0), of(7, &txids, 3)]).unwrap();
    let mut levels = two.levels;
    levels[1].push(Leaf { offset: 0, data: other });
    let conflict = Bump::assemble(7, levels, Form::Exact);
    assert_eq!(conflict, Err(BumpError::Inconsistent { level: 1, offset: 0 }));
    // The fifth of five is paired with itself in levels 0 and 1; elsewhere no node may be.
    let not_last = broken(4, &|levels| levels[1][0].data = other);
    assert_eq!(not_last, BumpError::Merkle(MerkleError::SelfPaired));
    let left = broken(4, &|levels| levels[2][0].data = LeafData::Duplicate);
    assert_eq!(left, BumpError::Merkle(MerkleError::SelfPaired));
    assert_eq!(Bump::from_path(7, txids[0], &[PathStep { hash: txids[1], position: Position::Left }; 33]), {
        Err(BumpError::TreeHeight(33))
    });
    let bump = of(7, &txids, 2);
    assert_eq!(bump.path_of(&txids[0]), Err(BumpError::UnknownTxid(txids[0])));
    // A hash that stands above level 0 is no transaction.
    let inner = bump.levels[1][0].hash().unwrap();
    assert_eq!(bump.root_of(&inner), Err(BumpError::UnknownTxid(inner)));
}

#[test]
fn repeated_tail_is_no_second_place() {
    // Six leaves and the same with the last pair repeated have one root in the naive construction.
    let six = txids(6);
    let leaf = |offset, txid| Leaf { offset, data: LeafData::Txid(txid) };
    let honest = of(7, &six, 4);
    let mut levels = honest.levels.clone();
    levels[0].extend([leaf(6, six[4]), leaf(7, six[5])]);
    assert_eq!(Bump::assemble(7, levels, Form::Exact), Err(MerkleError::SelfPaired.into()));
    // A twin that is spelt out instead of marked as a duplicate is the same tree.
    let five = txids(5);
    let mut levels = of(7, &five, 4).levels;
    levels[0][1].data = LeafData::Hash(five[4]);
    let spelt = Bump::assemble(7, levels, Form::Exact).unwrap();
    assert_eq!(spelt.path_of(&five[4]).unwrap(), merkle_path(&five, 4).unwrap());
}

#[test]
fn needless_nodes_are_let_pass_inside_a_beef_when_they_agree() {
    let txids = txids(16);
    let mut levels = of(7, &txids, 0).levels;
    levels[1].push(Leaf { offset: 6, data: LeafData::Hash(sha256d(b"lone")) });
    let mut bytes = of(7, &txids, 0).to_bytes();
    bytes.push(0xaa);
    assert_eq!(Bump::parse_prefix(&bytes).unwrap(), (of(7, &txids, 0), &[0xaa][..]));
    assert_eq!(Bump::parse(&bytes), Err(BumpError::TrailingBytes(1)));
    let bump = Bump::assemble(7, levels.clone(), Form::Embedded).unwrap();
    assert_eq!(bump.root(), merkle_root(&txids).unwrap());
    assert_eq!(Bump::merge(vec![bump]), Ok(of(7, &txids, 0)));
    levels[2].push(Leaf { offset: 3, data: LeafData::Hash(sha256d(b"above it")) });
    levels[1].push(Leaf { offset: 7, data: LeafData::Hash(sha256d(b"beside it")) });
    assert_eq!(Bump::assemble(7, levels, Form::Embedded), Err(BumpError::Inconsistent { level: 2, offset: 3 }));
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    // A million leaves, and 2⁶⁴ - 1, in a handful of bytes.
    assert_eq!(Bump::parse(&[1, 1, 0xfe, 0x40, 0x42, 0x0f, 0]), Err(BumpError::Truncated));
    let most = [&[1, 1, 0xff][..], &[0xff; 8]].concat();
    assert_eq!(Bump::parse(&most), Err(BumpError::Truncated));
    assert_eq!(Bump::parse(&[0xfd, 1, 0, 1, 0]), Err(BumpError::NonCanonicalCount));
    assert_eq!(Bump::parse(&[0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1]), Err(BumpError::BlockHeight(1 << 32)));
    for tree_height in [0, 33, 64, 255] {
        assert_eq!(Bump::parse(&[1, tree_height, 0]), Err(BumpError::TreeHeight(tree_height.into())));
    }
    assert_eq!(Bump::parse(&[1, 1, 1, 0, 3]), Err(BumpError::Flag(3)));
    assert_eq!(BumpError::from(ReadError::Truncated), BumpError::Truncated);
}

#[test]
fn cut_or_altered_bumps_do_not_claim_the_same() {
    let real = bumps().find(|vector| vector.name == "three of a block, compound").unwrap();
    let bytes = decode_hex(real.hex).unwrap();
    let bump = Bump::parse(&bytes).unwrap();
    for length in 0..bytes.len() {
        assert!(Bump::parse(&bytes[..length]).is_err(), "cut at {length}");
    }
    // What is claimed: these transactions, at these places, in a block of this height and this root. The one thing no
    // hash covers is which leaves are marked as of interest: flag 2 turned to 0 or back.
    let claim = |bump: &Bump| (bump.block_height(), bump.root(), bump.leaves().collect::<Vec<_>>());
    let mut marks = 0;
    for at in 0..bytes.len() {
        for altered in (0..8).map(|bit| bytes[at] ^ 1 << bit) {
            let mut mutant = bytes.clone();
            mutant[at] = altered;
            let Ok(read) = Bump::parse(&mutant) else { continue };
            if claim(&read) == claim(&bump) {
                assert!(matches!((bytes[at], altered), (0, 2) | (2, 0)), "byte {at} to {altered}");
                marks += 1;
            }
        }
    }
    // Every leaf that has a hash has a flag.
    let hashes = bump.levels.iter().flatten().filter(|leaf| leaf.hash().is_some()).count();
    assert_eq!(marks, hashes);
}

#[test]
fn json_as_sdks_write_it() {
    let (a, b) = (sha256d(b"a"), sha256d(b"b"));
    let text = serde_json::json!({ "blockHeight": 7, "path": [
        [{ "offset": 2, "hash": a, "txid": true }, { "offset": 3, "duplicate": true }],
        [{ "offset": 0, "hash": b }],
    ]});
    let bump: Bump = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&bump).unwrap(), text);
    assert_eq!(bump.path_of(&a).unwrap().len(), 2);
    let mut both = text.clone();
    both["path"][0][0]["duplicate"] = true.into();
    let error = serde_json::from_value::<Bump>(both).unwrap_err().to_string();
    assert!(error.starts_with(&BumpError::Leaf { level: 0, offset: 2 }.to_string()), "{error}");
    let mut neither = text.clone();
    neither["path"][1][0] = serde_json::json!({ "offset": 0 });
    assert!(serde_json::from_value::<Bump>(neither).is_err());
    let mut none = text;
    none["path"] = serde_json::json!([]);
    assert!(serde_json::from_value::<Bump>(none).is_err());
}
