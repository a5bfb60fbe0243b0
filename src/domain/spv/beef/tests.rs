//! The vectors that stock verifiers agree on, what is written and read, and everything that must be refused.

use super::super::bump::tests::{unmarked, vectors};
use super::super::{Input, Output, merkle_path};
use super::*;

/// A transaction that spends from others.
fn tx(name: u32, inputs: &[Hash32]) -> Vec<u8> {
    let input = |prev_txid: &Hash32| Input { prev_txid: *prev_txid, prev_vout: 0, script: vec![1; 7], sequence: name };
    let made_up = [sha256d(&name.to_le_bytes())];
    let inputs = if inputs.is_empty() { &made_up } else { inputs }.iter().map(input).collect();
    let outputs = vec![Output { satoshis: 1, script: vec![0x51; 9] }];
    Transaction { version: 1, inputs, outputs, lock_time: name }.to_bytes()
}

/// Transactions in two blocks, with their paths.
fn proven() -> Vec<(Vec<u8>, Bump)> {
    let mut all = Vec::new();
    for (height, names) in [(5, 0..7), (9, 10..13)] {
        let raws: Vec<Vec<u8>> = names.map(|name| tx(name, &[])).collect();
        let txids: Vec<Hash32> = raws.iter().map(|raw| sha256d(raw)).collect();
        for (index, raw) in raws.into_iter().enumerate() {
            let bump = Bump::from_path(height, txids[index], &merkle_path(&txids, index).unwrap()).unwrap();
            all.push((raw, bump));
        }
    }
    all
}

#[test]
fn vectors_get_their_verdict() {
    let vectors = vectors("beef");
    for (is_valid, txid, bytes) in &vectors {
        let verdict = Beef::parse(bytes).and_then(|beef| Ok((beef.claims()?, beef)));
        assert_eq!(verdict.is_ok(), *is_valid, "{verdict:?}");
        if let Ok((_, beef)) = verdict {
            assert!(txid == "-" || beef.txs.iter().any(|tx| tx.txid.to_string() == *txid));
            assert_eq!(Beef::parse(&beef.to_bytes().unwrap()).unwrap(), beef);
        }
    }
    assert_eq!((vectors.len(), vectors.iter().filter(|v| v.0).count()), (9, 2));
}

#[test]
fn what_is_written_is_read_and_claims_a_root_for_each_block() {
    let proven = proven();
    let beef = Beef::of(proven.clone()).unwrap();
    assert_eq!((beef.bumps.len(), beef.txs.len()), (2, 10));
    let read = Beef::parse(&beef.to_bytes().unwrap()).unwrap();
    assert_eq!(read, beef);
    let claims = read.claims().unwrap();
    assert_eq!(claims.len(), 10);
    for (raw, bump) in &proven {
        let txid = sha256d(raw);
        assert!(claims.contains(&(bump.block_height, bump.root().unwrap(), txid)));
    }
    // The same twice is once.
    assert_eq!(Beef::of([proven.clone(), proven].concat()).unwrap(), beef);
}

#[test]
fn unproven_transactions_need_all_they_spend_from() {
    let proven = proven();
    let (a, b) = (sha256d(&proven[0].0), sha256d(&proven[8].0));
    let mut beef = Beef::of(proven).unwrap();
    let child = tx(99, &[a, b]);
    let child_id = sha256d(&child);
    beef.txs.push(BeefTx { txid: child_id, raw: Some(child), bump: None });
    assert_eq!(beef.claims().unwrap().len(), 10);
    beef.subject = Some(child_id);
    // Only two of the others are the subject's ancestors.
    assert_eq!(beef.claims(), Err(BeefError::Subject));
    beef.txs.retain(|tx| [a, b, child_id].contains(&tx.txid));
    let atomic = Beef::parse(&beef.to_bytes().unwrap()).unwrap();
    assert_eq!((atomic.claims().unwrap().len(), atomic.subject), (2, Some(child_id)));
    let mut without = beef.clone();
    without.txs.remove(0);
    assert_eq!(without.claims(), Err(BeefError::Unproven(child_id)));
    let mut turned = beef.clone();
    turned.txs.reverse();
    assert_eq!(turned.claims().unwrap().len(), 2);
    let mut twice = beef.clone();
    twice.txs.push(twice.txs[0].clone());
    assert_eq!(twice.claims(), Err(BeefError::Twice));
    let mut by_name = beef;
    by_name.txs[0].raw = None;
    by_name.txs[0].bump = None;
    assert!(matches!(by_name.claims(), Err(BeefError::Unproven(_))));
}

#[test]
fn v2_is_read() {
    let beef = Beef::of(proven()).unwrap();
    let mut bytes = V2.to_vec();
    write_count(&mut bytes, beef.bumps.len());
    beef.bumps.iter().for_each(|bump| bytes.extend(bump.to_bytes()));
    write_count(&mut bytes, beef.txs.len() + 1);
    for tx in &beef.txs {
        bytes.push(1);
        write_count(&mut bytes, tx.bump.unwrap());
        bytes.extend(tx.raw.as_ref().unwrap());
    }
    let named = sha256d(b"known to the reader");
    bytes.push(2);
    bytes.extend(named.as_internal());
    let read = Beef::parse(&bytes).unwrap();
    assert_eq!((&read.bumps, &read.txs[..10]), (&beef.bumps, &beef.txs[..]));
    assert_eq!(read.claims(), Err(BeefError::Unproven(named)));
}

#[test]
fn what_is_altered_or_cut_claims_something_else_or_nothing() {
    let beef = Beef::of(proven()).unwrap();
    let (bytes, claims) = (beef.to_bytes().unwrap(), beef.claims().unwrap());
    for length in 0..bytes.len() {
        assert!(Beef::parse(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let Ok(found) = Beef::parse(&altered) else { continue };
            // Which leaves a path marks as its own changes nothing about what it proves of a leaf.
            let marks = found.bumps.iter().map(unmarked).eq(beef.bumps.iter().map(unmarked)) && found.txs == beef.txs;
            assert!(marks || found.claims() != Ok(claims.clone()), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    assert_eq!(Beef::parse(&[1, 0, 0xbe, 0xef, 0xfe, 0, 0, 0, 1]), Err(BeefError::Truncated));
    assert_eq!(Beef::parse(&[2, 0, 0xbe, 0xef, 0, 0xfe, 0, 0, 0, 1]), Err(BeefError::Truncated));
    assert_eq!(Beef::parse(&[3, 0, 0xbe, 0xef, 0, 0]), Err(BeefError::Version));
    assert_eq!(Beef::parse(b""), Err(BeefError::Truncated));
    assert_eq!(Beef::parse(&[1, 0, 0xbe, 0xef, 0, 0]).unwrap().claims(), Ok(Vec::new()));
}
