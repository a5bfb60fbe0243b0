//! The declarations as transactions, in the blocks of a chain made for the demo.
//!
//! As on a regtest network, the difficulty is the lowest there is and a block is mined when there is something to mine:
//! 41 blocks over half a year. The proof of work is real all the same, about two tries a header.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    DAY, SeedDeclaration, SeedHeader, SeedProducer, Shop, at, catalogue::Spec, manifests::created,
    producers::OVERLAY_PAYOUT,
};
use crate::domain::spv::{
    BlockRef, Declaration, DeclarationKind, Envelope, Hash32, Header, Input, Output, Proof, Transaction, decode_hex,
    encode_hex, merkle_path, merkle_root, sha256d,
};

/// Blocks, the genesis included.
const BLOCKS: u32 = 41;
/// Regtest's compact target: every other hash meets it.
const BITS: u32 = 0x207f_ffff;
/// Declared, but in no block yet.
const UNPROVEN: [&str; 2] = ["demand-eval@1", "polyphon-asr@1"];
/// Published without a declaration.
const UNDECLARED: &str = "landcover-eval@1";

/// A transaction that waits for the first block after a moment of the market's calendar.
pub(super) struct Mined {
    /// Seconds of the calendar.
    pub(super) since: i64,
    /// The transaction.
    pub(super) tx: Transaction,
}

/// A block with the ids of its transactions, the coinbase first.
struct Block {
    header: Header,
    txids: Vec<Hash32>,
    time: DateTime<Utc>,
}

/// The headers from the genesis to the tip, and the declaration of every entry but one.
pub(super) fn build(specs: &[Spec], shop: &Shop<'_>, payments: Vec<Mined>) -> (Vec<SeedHeader>, Vec<SeedDeclaration>) {
    let declared: Vec<(&Spec, Transaction)> =
        specs.iter().filter(|spec| spec.key != UNDECLARED).map(|spec| (spec, declaring(spec, shop))).collect();
    let to_mine = declared.iter().filter(|(spec, _)| !UNPROVEN.contains(&spec.key));
    let waiting: Vec<(i64, Hash32)> = to_mine
        .map(|(spec, tx)| (created(spec), tx.txid()))
        .chain(payments.iter().map(|payment| (payment.since, payment.tx.txid())))
        .collect();

    let blocks = mine(&waiting);
    let declarations = declared.iter().map(|(spec, tx)| declaration(shop.version(spec.key), spec, tx, &blocks));
    let declarations = declarations.collect();
    let headers = (0..).zip(&blocks).map(|(height, block)| seed_header(height, block)).collect();
    (headers, declarations)
}

/// Blocks on top of each other; each takes what has come up since the one before.
fn mine(waiting: &[(i64, Hash32)]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut prev_hash, mut from) = (Hash32::ZERO, i64::MIN);
    for height in 0..BLOCKS {
        let until = block_time(height);
        let new = waiting.iter().filter(|(since, _)| (from..until).contains(since)).map(|(_, txid)| *txid);
        let txids: Vec<Hash32> = std::iter::once(coinbase(height).txid()).chain(new).collect();
        let root = merkle_root(&txids).expect("there is the coinbase, and no two transactions are equal");
        let time = at(until);
        let seconds = u32::try_from(time.timestamp()).expect("2026 is before 2106");
        let mut header =
            Header { version: 0x2000_0000, prev_hash, merkle_root: root, time: seconds, bits: BITS, nonce: 0 };
        while !header.meets_target() {
            header.nonce += 1;
        }
        (prev_hash, from) = (header.hash(), until);
        blocks.push(Block { header, txids, time });
    }
    blocks
}

/// Four and a half days apart, give or take most of one; seconds of the market's calendar.
fn block_time(height: u32) -> i64 {
    let height = i64::from(height);
    height * (4 * DAY + DAY / 2) + height * 7_919 % DAY
}

/// Unlike a real one it mints nothing of note; the height makes it unique (BIP 34).
fn coinbase(height: u32) -> Transaction {
    let script = [&[4][..], &height.to_le_bytes(), b"\x0coverlay demo"].concat();
    Transaction {
        version: 1,
        inputs: vec![Input { prev_txid: Hash32::ZERO, prev_vout: u32::MAX, script, sequence: u32::MAX }],
        outputs: vec![Output { satoshis: 312_500_000, script: script_of(OVERLAY_PAYOUT) }],
        lock_time: 0,
    }
}

/// Spends a made-up coin of the producer's; change comes first in every fourth, so that not every `vout` is 0.
fn declaring(spec: &Spec, shop: &Shop<'_>) -> Transaction {
    let producer: &SeedProducer = shop.producer_of(spec.key);
    let declaration = Declaration {
        manifest_hash: id_bytes(&shop.version(spec.key)),
        parents: spec.parents.iter().map(|parent| id_bytes(&shop.version(parent))).collect(),
    };
    let mut outputs = vec![
        Output { satoshis: 0, script: declaration.to_script() },
        Output { satoshis: 9_800, script: script_of(&producer.payout_script_hex) },
    ];
    if spec.day % 4 == 3 {
        outputs.reverse();
    }
    Transaction {
        version: 1,
        inputs: vec![Input {
            prev_txid: sha256d(spec.key.as_bytes()),
            prev_vout: 0,
            script: Vec::new(),
            sequence: u32::MAX,
        }],
        outputs,
        lock_time: 0,
    }
}

fn declaration(version_id: String, spec: &Spec, tx: &Transaction, blocks: &[Block]) -> SeedDeclaration {
    let txid = tx.txid();
    let raw_tx = encode_hex(&tx.to_bytes());
    let vout = tx.outputs.iter().position(|output| output.satoshis == 0).unwrap_or_default();
    let found = (0..).zip(blocks).find_map(|(height, block)| {
        let index = block.txids.iter().position(|other| *other == txid)?;
        Some((height, block, envelope(&raw_tx, block, index)))
    });
    let created_at = at(created(spec) + 600);
    SeedDeclaration {
        version_id,
        txid: txid.to_string(),
        vout: i32::try_from(vout).unwrap_or_default(),
        kind: DeclarationKind::of(tx).as_str().into(),
        envelope: found.as_ref().map(|(_, _, envelope)| envelope.clone()),
        block_hash: found.as_ref().map(|(_, block, _)| block.header.hash().to_string()),
        block_height: found.as_ref().map(|(height, _, _)| *height),
        created_at,
        updated_at: found.as_ref().map_or(created_at, |(_, block, _)| block.time.max(created_at)),
        raw_tx,
    }
}

fn envelope(raw_tx: &str, block: &Block, index: usize) -> Value {
    let txid = block.txids[index];
    let path = merkle_path(&block.txids, index).expect("the root of the same list was computed before");
    json!(Envelope {
        raw_tx: raw_tx.into(),
        txid: Some(txid),
        proof: Proof { txid, merkle_root: block.header.merkle_root, path },
        block: BlockRef::of_header(encode_hex(&block.header.to_bytes())),
    })
}

fn seed_header(height: i32, block: &Block) -> SeedHeader {
    SeedHeader {
        hash: block.header.hash().to_string(),
        height,
        prev_hash: block.header.prev_hash.to_string(),
        merkle_root: block.header.merkle_root.to_string(),
        raw: block.header.to_bytes().to_vec(),
        on_best_chain: true,
        received_at: block.time,
    }
}

fn script_of(hex: &str) -> Vec<u8> {
    decode_hex(hex).expect("the payout scripts are hex constants")
}

fn id_bytes(version_id: &str) -> [u8; 32] {
    let bytes = decode_hex(version_id).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.expect("a version id is 64 hex digits")
}
