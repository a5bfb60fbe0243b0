//! What the market promises.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::*;
use crate::domain::{
    assets::manifest::{canonical_json, version_id},
    spv::{
        BestChain, BlockRef, ChainBlock, Declaration, Envelope, Hash32, Header, Transaction, decode_hex, encode_hex,
        sha256d, verify_envelope,
    },
};

struct Mirror(HashMap<Hash32, ChainBlock>);

impl Mirror {
    fn of(market: &Market) -> Self {
        let block = |header: &SeedHeader| {
            let merkle_root = Some(header.merkle_root.parse().unwrap());
            (header.hash.parse().unwrap(), ChainBlock { height: header.height as u32, merkle_root })
        };
        Self(market.headers.iter().map(block).collect())
    }
}

impl BestChain for Mirror {
    fn block(&self, hash: &Hash32) -> Option<ChainBlock> {
        self.0.get(hash).copied()
    }

    fn tip_height(&self) -> u32 {
        self.0.len() as u32 - 1
    }
}

fn parents(manifest: &Value) -> Vec<&str> {
    manifest["lineage"]["parents"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

#[test]
fn same_bytes_on_every_machine() {
    let market = market();
    assert_eq!(market, super::market());
    // The canonical form, so that the pin does not depend on how a build orders the keys of an object.
    let text = canonical_json(&serde_json::to_value(&market).unwrap());
    assert_eq!(
        manifests::sha256_hex(&text),
        "cc235ec843211a66318b75685e5e2c93011675b1eb6a9e7fdf9d92588b65ffb2",
        "the demo market changed; was that meant?"
    );
}

#[test]
fn counts() {
    let market = market();
    assert_eq!(market.producers.len(), 12);
    assert_eq!(market.manifests.len(), 71);
    assert_eq!(market.version_ids.len(), 71);
    assert_eq!(market.declarations.len(), 70);
    assert_eq!(market.declarations.iter().filter(|d| d.envelope.is_none()).count(), 2);
    assert_eq!(market.headers.len(), 41);
    assert_eq!((market.policies.len(), market.price_rules.len(), market.advisories.len()), (5, 23, 3));
    for status in ["pending", "paid", "confirmed", "consumed", "expired"] {
        assert!(market.receipts.iter().filter(|r| r.status == status).count() >= 2, "{status}");
    }
    let unique: HashSet<_> = market.version_ids.iter().collect();
    assert_eq!(unique.len(), 71);
}

#[test]
fn ids_are_the_hashes_and_parents_come_first() {
    let market = market();
    let (mut seen, mut generation) = (HashMap::new(), 0);
    for (manifest, id) in market.manifests.iter().zip(&market.version_ids) {
        assert_eq!(&version_id(manifest), id);
        // What travels as text keeps its id.
        let read: Value = serde_json::from_str(&manifest.to_string()).unwrap();
        assert_eq!(&version_id(&read), id);
        let parents = parents(manifest);
        assert_eq!(parents.iter().collect::<BTreeSet<_>>().len(), parents.len());
        let depth = parents.iter().map(|parent| seen[parent] + 1).max().unwrap_or(0);
        seen.insert(id.as_str(), depth);
        generation = generation.max(depth);
    }
    assert_eq!(generation, 8, "the longest ancestry fits the default BUNDLE_MAX_DEPTH exactly");
}

#[test]
fn producers_are_who_the_manifests_name() {
    let market = market();
    let keys: HashMap<_, _> = market.producers.iter().map(|p| (p.identity_key.as_str(), p)).collect();
    let mut publishing = HashSet::new();
    for manifest in &market.manifests {
        let named = &manifest["provenance"]["producer"];
        let producer = keys[named["identityKey"].as_str().unwrap()];
        assert_eq!(named["name"].as_str(), Some(producer.display_name.as_str()));
        publishing.insert(&producer.producer_id);
    }
    assert_eq!(publishing.len(), 12);
    // Known: the compressed generator point and the HASH160 of it.
    assert!(market.producers[0].identity_key.starts_with("0279be667ef9dcbb"));
    assert_eq!(market.producers[0].payout_script_hex, "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac");
    let digest = manifests::sha256_hex(&market.producers[0].identity_key);
    assert_eq!(market.producers[0].producer_id, format!("prd_{}", &digest[..32]));
}

#[test]
fn headers_are_linked_and_have_their_work() {
    let market = market();
    let (mut prev, mut time) = (Hash32::ZERO, 0);
    for (height, row) in market.headers.iter().enumerate() {
        let header = Header::parse(&row.raw).unwrap();
        assert!(header.meets_target());
        assert_eq!((header.bits, row.height), (0x207f_ffff, height as i32));
        assert!(header.time > time);
        assert_eq!(header.prev_hash, prev);
        assert_eq!(
            (row.hash.clone(), row.prev_hash.clone(), row.merkle_root.clone()),
            (header.hash().to_string(), prev.to_string(), header.merkle_root.to_string())
        );
        (prev, time) = (header.hash(), header.time);
    }
}

#[test]
fn declarations_say_what_they_declare() {
    let market = market();
    let manifests: HashMap<_, _> = market.version_ids.iter().zip(&market.manifests).collect();
    for row in &market.declarations {
        let tx = Transaction::from_hex(&row.raw_tx).unwrap();
        assert_eq!(tx.txid().to_string(), row.txid);
        let (vout, declared) = Declaration::find(&tx).unwrap().unwrap();
        assert_eq!((vout as i32, row.kind.as_str()), (row.vout, "DLM1"));
        assert_eq!(encode_hex(&declared.manifest_hash), row.version_id);
        let declared: Vec<_> = declared.parents.iter().map(|id| encode_hex(id)).collect();
        assert_eq!(declared, parents(manifests[&row.version_id]));
    }
    assert!(market.declarations.iter().any(|row| row.vout == 1));
}

#[test]
fn every_envelope_verifies_and_no_altered_one_does() {
    let market = market();
    let mirror = Mirror::of(&market);
    let (mut levels, mut proven) = (BTreeSet::new(), 0);
    for row in &market.declarations {
        let Some(json) = &row.envelope else {
            assert_eq!((&row.block_hash, row.block_height), (&None, None));
            continue;
        };
        let good: Envelope = serde_json::from_value(json.clone()).unwrap();
        let verified = verify_envelope(&good, &mirror).unwrap();
        assert_eq!(Some(verified.block_hash.to_string()), row.block_hash);
        assert_eq!(Some(verified.block_height as i32), row.block_height);
        assert_eq!(verified.txid.to_string(), row.txid);
        proven += 1;
        levels.insert(good.proof.path.len());

        let altered = |edit: &dyn Fn(&mut Envelope)| {
            let mut envelope = good.clone();
            edit(&mut envelope);
            verify_envelope(&envelope, &mirror).is_err()
        };
        let other = sha256d(b"other");
        assert!(altered(&|e| e.txid = Some(other)));
        assert!(altered(&|e| e.proof.txid = other));
        assert!(altered(&|e| e.proof.merkle_root = other));
        assert!(altered(&|e| e.proof.path[0].hash = other));
        assert!(altered(&|e| e.proof.path.clear()));
        assert!(altered(&|e| e.block = BlockRef::Name { block_hash: other, block_height: None }));
        for at in 0..good.raw_tx.len() / 2 {
            assert!(altered(&|e| {
                let mut bytes = decode_hex(&e.raw_tx).unwrap();
                bytes[at] ^= 1;
                e.raw_tx = encode_hex(&bytes);
            }));
        }
    }
    assert_eq!(proven, 68);
    assert!(levels.len() >= 3, "blocks of various sizes: {levels:?}");
}

#[test]
fn receipts_add_up() {
    let market = market();
    for receipt in &market.receipts {
        assert_eq!(receipt.amount_sat, receipt.unit_price_sat * i64::from(receipt.quantity));
        let outputs = receipt.outputs.as_array().unwrap();
        let sum: i64 = outputs.iter().map(|output| output["satoshis"].as_i64().unwrap()).sum();
        assert_eq!(sum, receipt.amount_sat);
        let order = |output: &Value| output["scriptHex"].as_str().unwrap().to_owned();
        assert!(outputs.is_sorted_by_key(order));
        let paid = matches!(receipt.status.as_str(), "paid" | "confirmed" | "consumed");
        assert_eq!((receipt.payment_txid.is_some(), receipt.paid_at.is_some()), (paid, paid));
        assert!(market.version_ids.contains(&receipt.version_id));
    }
    let txids: HashSet<_> = market.receipts.iter().filter_map(|r| r.payment_txid.as_ref()).collect();
    assert_eq!(txids.len(), 8);
    // A version rule's tier: ten of the model that costs 25,000 alone.
    let ten = market.receipts.iter().find(|r| r.quantity == 10).unwrap();
    assert_eq!(ten.unit_price_sat, 21_000);
}

#[test]
fn recalls_and_rules_point_at_what_exists() {
    let market = market();
    let producers: HashSet<_> = market.producers.iter().map(|p| &p.producer_id).collect();
    for target in market.advisories.iter().flat_map(|advisory| &advisory.targets) {
        assert_ne!(target.version_id.is_some(), target.producer_id.is_some());
        assert!(target.version_id.iter().all(|id| market.version_ids.contains(id)));
        assert!(target.producer_id.iter().all(|id| producers.contains(id)));
    }
    let mut scopes = HashSet::new();
    for rule in &market.price_rules {
        assert_ne!(rule.version_id.is_some(), rule.producer_id.is_some());
        assert!(scopes.insert((&rule.version_id, &rule.producer_id, rule.tier_from)));
        assert!(rule.satoshis > 0 && rule.tier_from >= 1);
    }
    // The blocked version is a grand-parent.
    let blocked = market.advisories[0].targets[0].version_id.as_deref().unwrap();
    let children = |id: &str| -> Vec<&String> {
        let named = market.manifests.iter().zip(&market.version_ids).filter(|(m, _)| parents(m).contains(&id));
        named.map(|(_, id)| id).collect()
    };
    assert!(children(blocked).iter().any(|child| !children(child).is_empty()));
}
