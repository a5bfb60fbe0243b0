//! Published vectors, round trips, and the refusals.

use super::{
    super::{
        Input, Output, encode_hex,
        merkle::{merkle_path, merkle_root},
        vectors::beefs,
    },
    *,
};

fn transaction(spent: &[Hash32], tag: u8) -> Transaction {
    let input = |txid: &Hash32| Input { prev_txid: *txid, prev_vout: 0, script: vec![0x51], sequence: u32::MAX };
    let output = Output { satoshis: 1000, script: vec![0x6a, 2, tag, tag] };
    Transaction { version: 1, inputs: spent.iter().map(input).collect(), outputs: vec![output], lock_time: 0 }
}

/// Transactions that nothing relates, all in one block of that height.
fn block(height: u32, count: u8) -> Vec<(Vec<u8>, Bump)> {
    let txs: Vec<Transaction> =
        (0..count).map(|tag| transaction(&[sha256d(&[tag, height.to_le_bytes()[0]])], tag)).collect();
    let txids: Vec<Hash32> = txs.iter().map(Transaction::txid).collect();
    let bump = |index| Bump::from_path(height, txids[index], &merkle_path(&txids, index).unwrap()).unwrap();
    txs.iter().enumerate().map(|(index, tx)| (tx.to_bytes(), bump(index))).collect()
}

/// A proven transaction, its unproven child and grandchild.
fn chain() -> Beef {
    let mut beef = Beef::of(vec![block(9, 5).remove(3)]).unwrap();
    for tag in 100..102 {
        let tx = transaction(&[beef.transactions.last().unwrap().txid], tag);
        beef.transactions.push(BeefTransaction { txid: tx.txid(), tx: Some(tx), bump: None });
    }
    beef
}

#[test]
fn published_vectors() {
    let (mut accepted, mut refused, mut named) = (0, 0, 0);
    for vector in beefs() {
        let beef = Beef::from_hex(vector.hex);
        if let Ok(beef) = &beef {
            let bytes = decode_hex(vector.hex).unwrap();
            let body = if beef.subject.is_some() { &bytes[36..] } else { &bytes[..] };
            let again = if body.starts_with(&V1) { beef.to_bytes_v1().unwrap() } else { beef.to_bytes_v2() };
            assert_eq!(encode_hex(&again), encode_hex(body), "{}", vector.name);
        }
        match beef.clone().and_then(|beef| beef.check()) {
            Ok(claims) => {
                let root = |claim: &RootClaim| format!("{}:{}", claim.block_height, claim.merkle_root);
                let mut roots: Vec<String> = claims.iter().map(root).collect();
                roots.sort();
                roots.dedup();
                assert_eq!(format!("ok {}", roots.join(",")), vector.verdict, "{}", vector.name);
                accepted += 1;
            }
            Err(error) => {
                assert!(format!("{error:?}").starts_with(vector.verdict), "{}: {error:?}", vector.name);
                refused += 1;
                if let BeefError::Unproven(_) = error {
                    assert!(beef.unwrap().check_knowing(|_| true).is_ok(), "{}", vector.name);
                    named += 1;
                }
            }
        }
    }
    assert_eq!((accepted, refused, named), (28, 25, 7));
}

#[test]
fn transactions_of_many_blocks_have_one_bump_each() {
    let mut proven = Vec::new();
    for height in [12, 10, 11] {
        let mut all = block(height, 9);
        proven.extend([all.remove(7), all.remove(4), all.remove(0)]);
    }
    proven.push(proven[0].clone());
    let beef = Beef::of(proven.clone()).unwrap();
    assert_eq!((beef.bumps.len(), beef.transactions.len()), (3, 9));
    assert_eq!(Beef::parse(&beef.to_bytes_v1().unwrap()), Ok(beef.clone()));
    assert_eq!(Beef::parse(&beef.to_bytes_v2()), Ok(beef.clone()));
    let claims = beef.check().unwrap();
    assert_eq!(claims.len(), 9);
    for (claim, (raw, bump)) in claims.iter().zip(&proven) {
        let expected = (bump.block_height(), bump.root(), sha256d(raw));
        assert_eq!((claim.block_height, claim.merkle_root, claim.txid), expected);
    }
    // A proof of another transaction, two roots for a height, no transaction.
    let swapped = vec![(proven[0].0.clone(), proven[1].1.clone())];
    let txid = sha256d(&proven[0].0);
    assert_eq!(Beef::of(swapped), Err(BumpError::UnknownTxid(txid).into()));
    let forked = vec![block(5, 3).remove(0), block(5, 4).remove(1)];
    assert_eq!(Beef::of(forked), Err(BumpError::NotOneBlock.into()));
    assert_eq!(Beef::of(vec![]).unwrap().check(), Err(BeefError::Empty));
}

#[test]
fn unproven_transactions_are_connected_to_proven_ones() {
    let beef = chain();
    let claims = beef.check().unwrap();
    assert_eq!(claims.iter().map(|claim| claim.txid).collect::<Vec<_>>(), [beef.transactions[0].txid]);

    let refused = |edit: &dyn Fn(&mut Beef)| {
        let mut beef = beef.clone();
        edit(&mut beef);
        beef.check().unwrap_err()
    };
    let ids: Vec<Hash32> = beef.transactions.iter().map(|each| each.txid).collect();
    let missing = |index: usize| BeefError::MissingInput { txid: ids[index], input: ids[index - 1] };
    assert_eq!(refused(&|beef| beef.transactions.swap(1, 2)), missing(2));
    assert_eq!(refused(&|beef| drop(beef.transactions.remove(0))), missing(1));
    assert_eq!(refused(&|beef| beef.transactions[1].bump = Some(0)), BeefError::NotInBump(ids[1]));
    assert_eq!(refused(&|beef| beef.transactions[1].bump = Some(1)), BeefError::NoSuchBump(1));
    let twice = refused(&|beef| beef.transactions.push(beef.transactions[0].clone()));
    assert_eq!(twice, BeefError::DuplicateTransaction(ids[0]));
    let fork = refused(&|beef| beef.bumps.push(Bump::from_path(9, ids[0], &[]).unwrap()));
    assert_eq!(fork, BeefError::ConflictingRoots(9));
    // A coinbase spends nothing that could come before it: only a BUMP proves it.
    let coinbase = transaction(&[Hash32::ZERO], 1);
    let alone = BeefTransaction { txid: coinbase.txid(), tx: Some(coinbase), bump: None };
    assert!(matches!(refused(&|beef| beef.transactions.push(alone.clone())), BeefError::MissingInput { .. }));
}

#[test]
fn named_transactions_are_proven_by_a_bump_or_known() {
    let mut beef = chain();
    beef.transactions[0].tx = None;
    beef.transactions[0].bump = None;
    let txid = beef.transactions[0].txid;
    assert_eq!(Beef::parse(&beef.to_bytes_v2()), Ok(beef.clone()));
    assert_eq!(beef.to_bytes_v1(), Err(BeefError::NotInV1(txid)));
    assert_eq!(beef.check().unwrap()[0].txid, txid);
    beef.bumps.clear();
    assert_eq!(beef.check(), Err(BeefError::Unproven(txid)));
    assert_eq!(beef.check_knowing(|known| *known == txid), Ok(vec![]));
}

#[test]
fn atomic_beef_is_about_its_subject_alone() {
    let mut beef = chain();
    let ids: Vec<Hash32> = beef.transactions.iter().map(|each| each.txid).collect();
    let bytes = [&ATOMIC[..], ids[2].as_internal(), &beef.to_bytes_v1().unwrap()].concat();
    beef.subject = Some(ids[2]);
    assert_eq!(Beef::parse(&bytes), Ok(beef.clone()));
    assert!(beef.check().is_ok());
    beef.subject = Some(ids[1]);
    assert_eq!(beef.check(), Err(BeefError::Unrelated(ids[2])));
    beef.subject = Some(sha256d(b"other"));
    assert_eq!(beef.check(), Err(BeefError::SubjectMissing(sha256d(b"other"))));
}

#[test]
fn what_is_not_a_beef() {
    let v1 = chain().to_bytes_v1().unwrap();
    let v2 = chain().to_bytes_v2();
    let atomic = [&ATOMIC[..], &[7; 32], &v2].concat();
    for bytes in [&v1, &v2, &atomic] {
        for length in 0..bytes.len() {
            assert!(Beef::parse(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert_eq!(Beef::parse(&[bytes, &[0][..]].concat()), Err(BeefError::TrailingBytes(1)));
    }
    let twice = [&ATOMIC[..], &[7; 32], &atomic].concat();
    for bytes in [&[3, 0, 0xbe, 0xef, 0, 0][..], &[0xef, 0xbe, 0, 1, 0, 0], &twice] {
        assert_eq!(Beef::parse(bytes), Err(BeefError::Version));
    }
    let mut mark = v1.clone();
    *mark.last_mut().unwrap() = 2;
    assert_eq!(Beef::parse(&mark), Err(BeefError::Mark(2)));
    assert_eq!(Beef::from_hex("0100beefgg"), Err(BeefError::NotHex(HexError::Digit)));
    let mut elsewhere = chain();
    elsewhere.transactions[0].bump = Some(1);
    assert_eq!(Beef::parse(&elsewhere.to_bytes_v2()), Err(BeefError::NoSuchBump(1)));
    // 64 bytes of a transaction could be two Merkle nodes.
    let mut node = transaction(&[Hash32::ZERO], 1);
    node.inputs[0].script.clear();
    node.outputs[0].script = vec![0x51; 4];
    let raw = node.to_bytes();
    assert_eq!(raw.len(), 64);
    let bytes = [&V2[..], &[0, 1, 0], &raw].concat();
    assert_eq!(Beef::parse(&bytes), Err(TxError::SixtyFourBytes.into()));
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    let most = [&[0xff][..], &[0xff; 8]].concat();
    for version in [V1, V2] {
        for million in [&[0xfe, 0x40, 0x42, 0x0f, 0][..], &most] {
            assert_eq!(Beef::parse(&[&version[..], million].concat()), Err(BeefError::Truncated));
            assert_eq!(Beef::parse(&[&version[..], &[0], million].concat()), Err(BeefError::Truncated));
        }
        assert_eq!(Beef::parse(&[&version[..], &[0xfd, 0, 0]].concat()), Err(BeefError::NonCanonicalCount));
    }
    // The smallest BUMP and the smallest transaction are what the counts take them for.
    let lone = Bump::from_path(1, Hash32::ZERO, &[]).unwrap();
    assert_eq!(lone.to_bytes().len(), BUMP_BYTES);
    let named = BeefTransaction { txid: Hash32::ZERO, tx: None, bump: None };
    let beef = Beef { bumps: vec![lone], transactions: vec![named], subject: None };
    assert_eq!(beef.to_bytes_v2().len(), 4 + 1 + BUMP_BYTES + 1 + NAMED_BYTES);
    assert_eq!(Beef::parse(&beef.to_bytes_v2()), Ok(beef));
}

#[test]
fn altered_beefs_do_not_claim_the_same() {
    let example = beefs().find(|vector| vector.name == "example of BRC-62").unwrap();
    let v1 = decode_hex(example.hex).unwrap();
    let v2 = Beef::parse(&v1).unwrap().to_bytes_v2();
    for bytes in [v1, v2] {
        let beef = Beef::parse(&bytes).unwrap();
        let ids = |beef: &Beef| beef.transactions.iter().map(|each| each.txid).collect::<Vec<_>>();
        let expected = (beef.check().unwrap(), ids(&beef));
        let mut same = Vec::new();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut mutant = bytes.clone();
                mutant[at] ^= 1 << bit;
                let Ok(read) = Beef::parse(&mutant) else { continue };
                if read.check().is_ok_and(|claims| (claims, ids(&read)) == expected) {
                    same.push((at, bit));
                }
            }
        }
        // Not covered by any claim: bit 1 of a leaf's flag, that is whether it is marked as of interest. The BUMP has
        // eight leaves, each with a hash.
        assert!(same.iter().all(|(_, bit)| *bit == 1), "{same:?}");
        assert_eq!(same.len(), 8);
    }
}

#[test]
fn roots_are_those_of_the_blocks() {
    let proven = block(3, 6);
    let txids: Vec<Hash32> = proven.iter().map(|(raw, _)| sha256d(raw)).collect();
    let claims = Beef::of(proven).unwrap().check().unwrap();
    let root = merkle_root(&txids).unwrap();
    assert!(claims.iter().all(|claim| claim.merkle_root == root) && claims.len() == 6);
}
