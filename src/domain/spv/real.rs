//! The formats on what the network made: every transaction of a full block, and a thousand headers in a row.

use super::{
    BestChain, BlockRef, Bump, ChainBlock, Envelope, Hash32, Header, PathStep, Position, Proof, Transaction,
    beef::Beef,
    bytes::{Reader, write_count},
    encode_hex,
    merkle::believed_parent,
    merkle_path, merkle_root, root_from_path, verify_envelope,
};

const HEADERS: &[u8] = include_bytes!("../../../tests/data/spv/headers.bin");

/// The header and the transactions of block 702,861, in the legacy format that ids are hashes of.
fn block_702861() -> (Header, Vec<Vec<u8>>) {
    let (header, body) = bitcoin_test_data::blocks::mainnet_702861().split_at(Header::SIZE);
    let mut reader = Reader(body);
    let count = reader.count(60).unwrap();
    let transactions = (0..count).map(|_| without_witness(&mut reader)).collect();
    assert!(reader.0.is_empty());
    (Header::parse(header).unwrap(), transactions)
}

/// Reads a transaction that may have segregated witnesses (BIP-144) and leaves them out.
fn without_witness(reader: &mut Reader<'_>) -> Vec<u8> {
    let mut out = reader.take(4).unwrap().to_vec();
    let segregated = reader.0[0] == 0;
    if segregated {
        assert_eq!(reader.array(), Ok([0, 1]));
    }
    let copy = |reader: &mut Reader<'_>, out: &mut Vec<u8>, length| out.extend(reader.take(length).unwrap());
    let script = |reader: &mut Reader<'_>, out: &mut Vec<u8>| {
        let length = reader.count(1).unwrap();
        write_count(out, length);
        out.extend(reader.take(length).unwrap());
    };
    let inputs = reader.count(41).unwrap();
    write_count(&mut out, inputs);
    for _ in 0..inputs {
        copy(reader, &mut out, 36);
        script(reader, &mut out);
        copy(reader, &mut out, 4);
    }
    let outputs = reader.count(9).unwrap();
    write_count(&mut out, outputs);
    for _ in 0..outputs {
        copy(reader, &mut out, 8);
        script(reader, &mut out);
    }
    if segregated {
        for _ in 0..inputs {
            for _ in 0..reader.count(1).unwrap() {
                script(reader, &mut Vec::new());
            }
        }
    }
    copy(reader, &mut out, 4);
    out
}

/// The paths of all leaves at once: what [`merkle_path`] answers for each, without hashing the tree for each.
fn paths(txids: &[Hash32]) -> Vec<Vec<PathStep>> {
    let mut paths = vec![Vec::new(); txids.len()];
    let mut level = txids.to_vec();
    for height in 0.. {
        if level.len() == 1 {
            break;
        }
        for (index, path) in paths.iter_mut().enumerate() {
            let at = index >> height;
            let position = if at % 2 == 1 { Position::Left } else { Position::Right };
            path.push(PathStep { hash: level.get(at ^ 1).copied().unwrap_or(level[at]), position });
        }
        let above = |pair: &[Hash32]| believed_parent(pair[0], *pair.get(1).unwrap_or(&pair[0])).unwrap();
        level = level.chunks(2).map(above).collect();
    }
    paths
}

#[test]
fn every_transaction_of_a_block_is_proven_by_its_bump() {
    let (header, transactions) = block_702861();
    assert_eq!(header.hash().to_string(), "000000000000000000000c835b2adcaedc20fdf6ee440009c249452c726dafae");
    assert!(header.meets_target());
    let txids: Vec<Hash32> = transactions.iter().map(|raw| Transaction::parse(raw).unwrap().txid()).collect();
    assert_eq!(merkle_root(&txids), Ok(header.merkle_root));

    verified(&header, &transactions, &txids);
    let mut proven = 0;
    let mut bumps = Vec::new();
    for (index, (txid, path)) in txids.iter().zip(paths(&txids)).enumerate() {
        assert_eq!(root_from_path(*txid, &path), Ok(header.merkle_root));
        let bump = Bump::from_path(702_861, *txid, &path).unwrap();
        let read = Bump::parse(&bump.to_bytes()).unwrap();
        assert_eq!(read.path_of(txid).as_ref(), Ok(&path));
        assert_eq!(read.root_of(txid), Ok(header.merkle_root));
        if index % 500 == 0 {
            assert_eq!(merkle_path(&txids, index), Ok(path));
        }
        bumps.push(read);
        proven += 1;
    }
    assert_eq!(proven, 2500);

    // The first, the last and every fiftieth, as one BEEF.
    let some: Vec<usize> = (0..2500).filter(|index| index % 50 == 0 || *index == 2499).collect();
    let beef =
        Beef::of(some.iter().map(|index| (transactions[*index].clone(), bumps[*index].clone())).collect()).unwrap();
    let beef = Beef::parse(&beef.to_bytes_v1().unwrap()).unwrap();
    let claims = beef.check().unwrap();
    assert!(claims.iter().map(|claim| claim.txid).eq(some.iter().map(|index| txids[*index])));
    assert!(claims.iter().all(|claim| (claim.block_height, claim.merkle_root) == (702_861, header.merkle_root)));

    // All of them as one BUMP: nothing but the ids is left.
    let whole = Bump::merge(bumps).unwrap();
    assert_eq!(whole.txids().count(), 2500);
    assert_eq!(whole.root(), header.merkle_root);
    assert!(whole.to_bytes().len() < 2500 * 36 + 100);
}

/// Every transaction as an envelope, verified as those are that come in; and how fast, for whoever reads the test's output.
fn verified(header: &Header, transactions: &[Vec<u8>], txids: &[Hash32]) {
    struct Chain(Hash32, Hash32);
    impl BestChain for Chain {
        fn block(&self, hash: &Hash32) -> Option<ChainBlock> {
            (*hash == self.0).then_some(ChainBlock { height: 702_861, merkle_root: Some(self.1) })
        }

        fn tip_height(&self) -> u32 {
            702_866
        }
    }
    let chain = Chain(header.hash(), header.merkle_root);
    let block = BlockRef::of_header(encode_hex(&header.to_bytes()));
    let envelope = |((raw, txid), path): ((&Vec<u8>, &Hash32), Vec<PathStep>)| {
        let proof = Proof { txid: *txid, merkle_root: header.merkle_root, path };
        Envelope { raw_tx: encode_hex(raw), txid: None, proof, block: block.clone() }
    };
    let envelopes: Vec<Envelope> = transactions.iter().zip(txids).zip(paths(txids)).map(envelope).collect();
    let begun = std::time::Instant::now();
    let proven = envelopes.iter().filter(|envelope| verify_envelope(envelope, &chain).is_ok()).count();
    println!("{proven} envelopes verified, {:.0} a second on one core", proven as f64 / begun.elapsed().as_secs_f64());
    assert_eq!(proven, 2500);
}

#[test]
fn a_thousand_headers_link_and_have_their_work() {
    let headers: Vec<Header> = HEADERS.chunks(Header::SIZE).map(|bytes| Header::parse(bytes).unwrap()).collect();
    assert_eq!(headers.len(), 1111);
    assert!(headers.iter().all(Header::meets_target));
    assert!(headers.array_windows().all(|[one, next]| next.prev_hash == one.hash()));
    assert!(headers.iter().flat_map(Header::to_bytes).eq(HEADERS.iter().copied()));
    // The first block after the genesis block, and so blocks 1 to 1,111.
    let genesis = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    assert_eq!(headers[0].prev_hash.to_string(), genesis);
}
