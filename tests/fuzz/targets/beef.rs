//! BEEFs: what is parsed is written as the same BEEF in either version; what holds together names, for every
//! transaction, the root of a BUMP that has it or inputs that come before it. A BEEF made of blocks holds together.
#![no_main]

use std::collections::{BTreeMap, HashSet};

use libfuzzer_sys::fuzz_target;
use overlay::domain::spv::{
    Beef, BeefError, BeefTransaction, Bump, BumpError, Hash32, Input, Output, RootClaim, Transaction, encode_hex,
    merkle_path, sha256d,
};
use overlay_fuzz::{bounded, permuted};

const ATOMIC: [u8; 4] = [1; 4];
/// Transactions of a made-up BEEF.
const MOST_MADE: usize = 12;

fuzz_target!(|data: &[u8]| {
    read(data);
    made(data);
});

fn read(data: &[u8]) {
    let parsed = bounded(data, 256, || Beef::parse(data));
    assert_eq!(Beef::from_hex(&encode_hex(data)), parsed);
    let Ok(beef) = parsed else { return };

    let body = if beef.subject.is_some() { &data[36..] } else { data };
    let v1 = beef.to_bytes_v1();
    let v2 = beef.to_bytes_v2();
    assert!(permuted(body, if body[0] == 1 { v1.as_deref().expect("it was read as such") } else { &v2 }));
    written(&beef);
    for BeefTransaction { txid, tx, .. } in &beef.transactions {
        let raw = tx.as_ref().map(Transaction::to_bytes);
        assert!(raw.is_none_or(|raw| sha256d(&raw) == *txid && raw.len() != 64));
    }
    if let Ok(claims) = bounded(data, 256, || beef.check()) {
        holds(&beef, &claims);
        assert_eq!(beef.check_knowing(|_| true).as_ref(), Ok(&claims));
    }
}

/// What is written, with the prefix of an Atomic BEEF if it is one, is read as the same.
fn written(beef: &Beef) {
    let prefix: Vec<u8> = beef.subject.iter().flat_map(|id| [&ATOMIC[..], id.as_internal()].concat()).collect();
    let again = |body: &[u8]| Beef::parse(&[&prefix, body].concat());
    assert_eq!(again(&beef.to_bytes_v2()).as_ref(), Ok(beef));
    match beef.to_bytes_v1() {
        Ok(body) => assert_eq!(again(&body).as_ref(), Ok(beef)),
        Err(error) => {
            let named = beef.transactions.iter().find(|each| each.tx.is_none());
            assert_eq!(named.map(|each| BeefError::NotInV1(each.txid)), Some(error));
        }
    }
}

/// What `check` promises, worked out anew from the parts.
fn holds(beef: &Beef, claims: &[RootClaim]) {
    let mut before = HashSet::new();
    let mut left = claims.iter();
    let mut proven = Vec::new();
    for BeefTransaction { txid, tx, bump } in &beef.transactions {
        let connected = tx.as_ref().is_some_and(|tx| tx.inputs.iter().all(|input| before.contains(&input.prev_txid)));
        if bump.is_some() || tx.is_none() {
            let claim = left.next().expect("a root for each that is proven");
            assert_eq!(claim.txid, *txid);
            let of_block = |bump: &&Bump| bump.block_height() == claim.block_height && bump.root() == claim.merkle_root;
            assert!(beef.bumps.iter().filter(of_block).any(|bump| bump.root_of(txid) == Ok(claim.merkle_root)));
        } else {
            assert!(connected, "{txid} has neither a BUMP nor its inputs");
        }
        if let (Some(tx), Some(bump)) = (tx, bump) {
            proven.push((tx.to_bytes(), beef.bumps[*bump].clone()));
        }
        assert!(before.insert(*txid), "{txid} comes twice");
    }
    assert_eq!(left.next(), None);
    assert!(beef.subject.is_none_or(|subject| before.contains(&subject)));

    // Those that are proven are a BEEF by themselves, with the same roots.
    let count = proven.len();
    match Beef::of(proven) {
        Ok(own) if count > 0 => {
            let roots = own.check().expect("each of them is proven");
            assert_eq!(roots.len(), count);
            assert!(roots.iter().all(|root| claims.contains(root)));
            written(&own);
        }
        Ok(own) => assert!(own.transactions.is_empty()),
        // A lone leaf may carry the same root as a tree.
        Err(error) => assert_eq!(error, BeefError::Bump(BumpError::NotOneBlock)),
    }
}

/// Transactions that spend one another, some of them in blocks, as the input says byte by byte.
fn made(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let Some(count) = bytes.next() else { return };
    let mut txids = Vec::new();
    let mut blocks: BTreeMap<u32, Vec<Hash32>> = BTreeMap::new();
    let (mut proven, mut connected) = (Vec::new(), Vec::new());
    for at in 0..usize::from(count) % MOST_MADE + 1 {
        let [from, place, size] = std::array::from_fn(|_| bytes.next().unwrap_or_default());
        let parent = txids.get(usize::from(from) % (at + 1)).copied();
        let input =
            Input { prev_txid: parent.unwrap_or(Hash32::ZERO), prev_vout: 0, script: Vec::new(), sequence: u32::MAX };
        let output = Output { satoshis: u64::from(size), script: vec![0x51; usize::from(size)] };
        // Each with a lock time of its own, so that no two are the same.
        let tx = Transaction { version: 1, inputs: vec![input], outputs: vec![output], lock_time: at as u32 };
        let txid = tx.txid();
        txids.push(txid);
        if tx.to_bytes().len() == 64 || parent.is_none() || place & 1 == 1 {
            let height = u32::from(place >> 1) % 3;
            blocks.entry(height).or_default().push(txid);
            proven.push((tx, height));
        } else {
            connected.push(BeefTransaction { txid, tx: Some(tx), bump: None });
        }
    }
    let with_bump = |(tx, height): &(Transaction, u32)| {
        let block = &blocks[height];
        let index = block.iter().position(|txid| *txid == tx.txid()).expect("it was put there");
        let path = merkle_path(block, index).expect("it is in the block");
        (tx.to_bytes(), Bump::from_path(*height, tx.txid(), &path).expect("a path of a block"))
    };
    if proven.iter().any(|(tx, _)| tx.to_bytes().len() == 64) {
        let error = Beef::of(proven.iter().map(with_bump).collect()).expect_err("64 bytes are no transaction");
        return assert!(matches!(error, BeefError::Transaction(_)), "{error}");
    }
    let mut beef = Beef::of(proven.iter().map(with_bump).collect()).expect("all of them are in their blocks");
    beef.transactions.extend(connected);
    let claims = beef.check().expect("each is in a block or spends one before it");
    assert_eq!(claims.len(), proven.len());
    holds(&beef, &claims);
    written(&beef);

    // One that is proven, only named; and then a byte that is another, or a transaction as the subject.
    let [name, place, value] = std::array::from_fn(|_| bytes.next().unwrap_or_default());
    let each = usize::from(name) % proven.len();
    if name & 0x80 != 0 {
        beef.transactions[each].tx = None;
        beef.transactions[each].bump = None;
        assert_eq!(beef.check().as_ref(), Ok(&claims));
        written(&beef);
    }
    let mut body = beef.to_bytes_v2();
    if value == 0 {
        let subject = txids[usize::from(place) % txids.len()];
        return read(&[&ATOMIC[..], subject.as_internal(), &body].concat());
    }
    let at = (usize::from(place) << 3 | usize::from(name & 7)) % body.len();
    body[at] ^= value;
    read(&body);
}
