//! Proofs that nodes have given, round trips, and the refusals.

use serde_json::{Value, json};

use super::{
    super::merkle::{merkle_path, merkle_root},
    *,
};

/// As a node answered it, with its block's header as the target.
fn with_header() -> Value {
    json!({
        "index": 1,
        "txOrId": "0ad8f51caafee78f59faeff5dfe15d84da5e4069f64353590cd523c0d24a4287",
        "targetType": "header",
        "target": "00000020e0b910e459b3547178c7bdde08e8cca07e12c79c3f78338ba540a20a1dfcb14a\
                   24778a76dc738a580df230c34db78fab25e25b6b6fe55e460b1245529583d53781ab6863ffff7f2002000000",
        "nodes": ["1a8e965ae9197e2a62d3c0a067a84de6108be89cce131bab0bcccaa1afb26542"],
    })
}

/// The example of the standard.
fn with_hash() -> Value {
    json!({
        "index": 12,
        "txOrId": "ffeff11c25cde7c06d407490d81ef4d0db64aad6ab3d14393530701561a465ef",
        "target": "75edb0a69eb195cdd81e310553aa4d25e18450e08f168532a2c2e9cf447bf169",
        "nodes": [
            "b9ef07a62553ef8b0898a79c291b92c60f7932260888bde0dab2dd2610d8668e",
            "0fc1c12fb1b57b38140442927fbadb3d1e5a5039a5d6db355ea25486374f104d",
            "60b0e75dd5b8d48f2d069229f20399e07766dd651ceeed55ee3c040aa2812547",
            "c0d8dbda46366c2050b430a05508a3d96dc0ed55aea685bb3d9a993f8b97cc6f",
            "391e62b3419d8a943f7dbc7bddc90e30ec724c033000dc0c8872253c27b03a42",
        ],
    })
}

fn read(json: &Value) -> Result<TscProof, TscError> {
    TscProof::from_json(&json.to_string())
}

fn edited(json: Value, key: &str, value: impl Into<Value>) -> Result<TscProof, TscError> {
    let mut json = json;
    json[key] = value.into();
    read(&json)
}

#[test]
fn proof_of_a_node_leads_to_the_header_it_names() {
    let proof = read(&with_header()).unwrap();
    let TscTarget::Header(header) = proof.target else { panic!("{proof:?}") };
    assert_eq!(proof.root(), Ok(header.merkle_root));
    assert_eq!(header.hash().to_string(), "33e3843a642788586cc28cb9748e150335e4365d73eff6d4e9c63a4bda629070");
    assert!(header.meets_target());
    assert_eq!((proof.index(), proof.raw.as_ref()), (1, None));
    assert_eq!(serde_json::to_value(&proof).unwrap(), with_header());
}

#[test]
fn example_of_the_standard() {
    let proof = read(&with_hash()).unwrap();
    let sides: String = proof.path.iter().map(|step| if step.position == Position::Left { 'L' } else { 'R' }).collect();
    assert_eq!((proof.index(), &sides[..]), (12, "RRLLR"));
    assert_eq!(serde_json::to_value(&proof).unwrap(), with_hash());
    for (key, value) in [("targetType", json!("hash")), ("proofType", json!("branch")), ("composite", json!(false))] {
        assert_eq!(edited(with_hash(), key, value), Ok(proof.clone()));
    }
    assert_eq!(serde_json::from_value::<TscProof>(with_hash()).unwrap(), proof);
}

#[test]
fn what_is_written_is_read() {
    let mut tested = 0;
    for count in 1..=24_u32 {
        let raws: Vec<Vec<u8>> = (0..count).map(|i| format!("transaction {i}").into_bytes()).collect();
        let txids: Vec<Hash32> = raws.iter().map(|raw| sha256d(raw)).collect();
        let root = merkle_root(&txids).unwrap();
        for (index, txid) in txids.iter().enumerate() {
            let path = merkle_path(&txids, index).unwrap();
            for raw in [None, Some(raws[index].clone())] {
                let proof = TscProof { txid: *txid, raw, target: TscTarget::MerkleRoot(root), path: path.clone() };
                let text = serde_json::to_string(&proof).unwrap();
                assert_eq!(TscProof::from_json(&text), Ok(proof.clone()));
                assert_eq!((proof.index(), proof.root()), (index as u64, Ok(root)));
                tested += 1;
            }
        }
        // The last of an odd number stands beside its duplicate.
        let last = TscProof {
            txid: txids[txids.len() - 1],
            raw: None,
            target: TscTarget::BlockHash(root),
            path: merkle_path(&txids, txids.len() - 1).unwrap(),
        };
        let stars = serde_json::to_value(&last).unwrap()["nodes"].as_array().unwrap().contains(&json!("*"));
        assert_eq!(stars, !count.is_power_of_two(), "{count}");
    }
    assert_eq!(tested, 600);
}

#[test]
fn each_refusal() {
    assert!(matches!(TscProof::from_json("{}"), Err(TscError::Json(_))));
    assert!(matches!(edited(with_hash(), "index", -1), Err(TscError::Json(_))));
    assert_eq!(edited(with_hash(), "composite", true), Err(TscError::NotOneBranch));
    assert_eq!(edited(with_hash(), "proofType", "tree"), Err(TscError::NotOneBranch));
    assert_eq!(edited(with_hash(), "index", 32), Err(TscError::Index(32)));
    assert!(edited(with_hash(), "index", 31).is_ok());
    assert_eq!(edited(with_hash(), "index", u64::MAX), Err(TscError::Index(u64::MAX)));
    assert_eq!(edited(with_hash(), "targetType", "height"), Err(TscError::TargetType));
    assert_eq!(edited(with_hash(), "target", "00"), Err(TscError::Target(HexError::Length)));
    assert_eq!(edited(with_hash(), "targetType", "header"), Err(TscError::Header(HeaderError::Size(32))));
    assert_eq!(edited(with_hash(), "txOrId", "0g"), Err(TscError::Transaction(HexError::Digit)));
    assert_eq!(edited(with_hash(), "txOrId", "00".repeat(64)), Err(MerkleError::TransactionAsNode.into()));
    let cause = HexError::Length;
    assert_eq!(edited(with_hash(), "nodes", ["*", "*", "0", "0"]), Err(TscError::Node { level: 2, cause }));
    assert_eq!(edited(with_hash(), "nodes", vec!["*"; 33]), Err(MerkleError::TooLong(33).into()));
    // A duplicate can only be on the right, and only at the end of its level.
    assert_eq!(edited(with_hash(), "nodes", vec!["*"; 5]), Err(MerkleError::SelfPaired.into()));
    assert_eq!(edited(with_header(), "nodes", ["*"]), Err(MerkleError::SelfPaired.into()));
    let mut first = with_hash();
    first["nodes"][0] = "*".into();
    assert_eq!(read(&first), Err(MerkleError::SelfPaired.into()));
    let error = serde_json::from_value::<TscProof>(first).unwrap_err();
    assert_eq!(error.to_string(), MerkleError::SelfPaired.to_string());
}
