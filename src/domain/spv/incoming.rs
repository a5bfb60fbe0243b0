//! From the formats that wallets, nodes and services speak to the one envelope that is verified and kept.
//!
//! A BUMP names its block by height alone, a BEEF too, a TSC proof perhaps by nothing but its root; an envelope names
//! it by header or hash. So the way has two steps: read what came ([`Incoming`]), then say which block it is
//! ([`Incoming::into_envelope`]) — with the help of the header source where the format does not tell. Neither step
//! verifies; that is for [`super::verify_envelope`] alone.

use super::{
    beef::Beef,
    bump::{Bump, BumpError},
    encode_hex,
    envelope::{BlockRef, Envelope, Proof},
    hash::Hash32,
    merkle::MerkleError,
    tsc::{TscProof, TscTarget},
};

/// A transaction with its path, and what is told of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Hex of the transaction.
    pub raw_tx: String,
    /// The path and the root it leads to.
    pub proof: Proof,
    /// The block.
    pub block: ToldBlock,
}

/// What a format tells of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldBlock {
    /// All that an envelope needs.
    Named(BlockRef),
    /// Its height and, by the proof, its root.
    Height(u32),
    /// Its root alone.
    Root,
}

/// Why what came does not make an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IncomingError {
    /// The BUMP does not lead from the transaction to a root.
    #[error("{0}")]
    Bump(#[from] BumpError),
    /// The path does not lead to a root.
    #[error("{0}")]
    Merkle(#[from] MerkleError),
    /// The BEEF has no such transaction, or none at all.
    #[error("the transaction is not in the BEEF")]
    NotInBeef,
    /// The transaction is not in a block yet: an envelope has no form for one that is only connected.
    #[error("transaction {0} has no BUMP of its own")]
    NotMined(Hash32),
    /// The format carries only the id, and the transaction did not come beside it.
    #[error("the bytes of transaction {0} are missing")]
    NoRawTransaction(Hash32),
}

impl Incoming {
    /// A BUMP and the hex of the transaction it is for. A BUMP of several transactions is no problem: which is said by
    /// the id.
    pub fn from_bump(bump: &Bump, txid: Hash32, raw_tx: String) -> Result<Self, IncomingError> {
        let proof = Proof { txid, merkle_root: bump.root_of(&txid)?, path: bump.path_of(&txid)? };
        Ok(Self { raw_tx, proof, block: ToldBlock::Height(bump.block_height()) })
    }

    /// A transaction of a BEEF that is proven by a BUMP of its own: the one asked for, or else the subject of an
    /// Atomic BEEF, or else the last, which is what a BEEF of several is about (BRC-62).
    pub fn from_beef(beef: &Beef, txid: Option<Hash32>) -> Result<Self, IncomingError> {
        let wanted = txid.or(beef.subject).or(beef.transactions.last().map(|last| last.txid));
        let found = beef.transactions.iter().find(|each| Some(each.txid) == wanted);
        let found = found.ok_or(IncomingError::NotInBeef)?;
        let tx = found.tx.as_ref().ok_or(IncomingError::NoRawTransaction(found.txid))?;
        let bump = found.bump.and_then(|index| beef.bumps.get(index)).ok_or(IncomingError::NotMined(found.txid))?;
        Self::from_bump(bump, found.txid, encode_hex(&tx.to_bytes()))
    }

    /// A TSC proof, and the hex of the transaction unless the proof has it.
    pub fn from_tsc(tsc: &TscProof, raw_tx: Option<String>) -> Result<Self, IncomingError> {
        let raw_tx = tsc.raw.as_deref().map(encode_hex).or(raw_tx);
        let raw_tx = raw_tx.ok_or(IncomingError::NoRawTransaction(tsc.txid))?;
        let block = match &tsc.target {
            TscTarget::BlockHash(hash) => ToldBlock::Named(BlockRef::Name { block_hash: *hash, block_height: None }),
            TscTarget::Header(header) => ToldBlock::Named(BlockRef::of_header(encode_hex(&header.to_bytes()))),
            TscTarget::MerkleRoot(_) => ToldBlock::Root,
        };
        // A root that is told is believed here and compared by verification, which has a reason of its own for it.
        let computed = tsc.root()?;
        let merkle_root = if let TscTarget::MerkleRoot(told) = tsc.target { told } else { computed };
        Ok(Self { raw_tx, proof: Proof { txid: tsc.txid, merkle_root, path: tsc.path.clone() }, block })
    }

    /// The envelope. `block_hash` is asked only when the format did not name the block, with the height if told and
    /// the root; `None` when it knows of no such block.
    pub fn into_envelope(self, block_hash: impl FnOnce(Option<u32>, Hash32) -> Option<Hash32>) -> Option<Envelope> {
        let Self { raw_tx, proof, block } = self;
        let found = |block_height| {
            let block_hash = block_hash(block_height, proof.merkle_root)?;
            Some(BlockRef::Name { block_hash, block_height })
        };
        let block = match block {
            ToldBlock::Named(block) => block,
            ToldBlock::Height(height) => found(Some(height))?,
            ToldBlock::Root => found(None)?,
        };
        Some(Envelope { raw_tx, txid: None, proof, block })
    }
}

impl Envelope {
    /// The path as a BUMP, whose height the caller knows from the block. The root is that of the path, not the one the
    /// envelope claims.
    pub fn to_bump(&self, block_height: u32) -> Result<Bump, BumpError> {
        Bump::from_path(block_height, self.proof.txid, &self.proof.path)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            BeefTransaction, BestChain, ChainBlock, Header, Input, Output, Refusal, Transaction, merkle_path,
            merkle_root, verify_envelope,
        },
        *,
    };

    struct Chain(Hash32, Hash32);

    impl BestChain for Chain {
        fn block(&self, hash: &Hash32) -> Option<ChainBlock> {
            (*hash == self.0).then_some(ChainBlock { height: 10, merkle_root: Some(self.1) })
        }

        fn tip_height(&self) -> u32 {
            12
        }
    }

    fn transactions(count: u32) -> Vec<Transaction> {
        let tx = |tag: u32| Transaction {
            version: 2,
            inputs: vec![Input { prev_txid: Hash32::ZERO, prev_vout: tag, script: vec![], sequence: 0 }],
            outputs: vec![Output { satoshis: 1, script: vec![0x51; 9] }],
            lock_time: 0,
        };
        (0..count).map(tx).collect()
    }

    /// The envelopes that all formats make of the same transaction, and the chain that has its block.
    fn example(count: u32, index: usize) -> (Vec<Envelope>, Chain) {
        let txs = transactions(count);
        let txids: Vec<Hash32> = txs.iter().map(Transaction::txid).collect();
        let root = merkle_root(&txids).unwrap();
        let header =
            Header { version: 1, prev_hash: Hash32::ZERO, merkle_root: root, time: 1, bits: 0x207f_ffff, nonce: 0 };
        let (txid, raw, path) = (txids[index], txs[index].to_bytes(), merkle_path(&txids, index).unwrap());
        let raw_tx = encode_hex(&raw);

        let bump = Bump::from_path(10, txid, &path).unwrap();
        let tsc = |target, raw| TscProof { txid, raw, target, path: path.clone() };
        let come = [
            Incoming::from_bump(&bump, txid, raw_tx.clone()),
            Incoming::from_beef(&Beef::of(vec![(raw.clone(), bump)]).unwrap(), None),
            Incoming::from_tsc(&tsc(TscTarget::BlockHash(header.hash()), None), Some(raw_tx)),
            Incoming::from_tsc(&tsc(TscTarget::Header(header), Some(raw.clone())), None),
            Incoming::from_tsc(&tsc(TscTarget::MerkleRoot(root), Some(raw)), None),
        ];
        let find = |height: Option<u32>, of: Hash32| {
            (of == root && height.is_none_or(|height| height == 10)).then(|| header.hash())
        };
        let envelopes = come.into_iter().map(|each| each.unwrap().into_envelope(find).unwrap()).collect();
        (envelopes, Chain(header.hash(), root))
    }

    #[test]
    fn every_format_becomes_an_envelope_that_verifies() {
        for count in 1..=9 {
            for index in 0..count as usize {
                let (envelopes, chain) = example(count, index);
                for envelope in &envelopes {
                    assert_eq!(verify_envelope(envelope, &chain).unwrap().block_height, 10);
                    let bump = envelope.to_bump(10).unwrap();
                    assert_eq!(bump.path_of(&envelope.proof.txid).unwrap(), envelope.proof.path);
                    assert_eq!(bump.root(), envelope.proof.merkle_root);
                }
                assert!(envelopes.iter().all(|each| each.proof == envelopes[0].proof));
            }
        }
    }

    #[test]
    fn told_root_that_is_another_is_for_verification_to_refuse() {
        let (envelopes, chain) = example(5, 2);
        let Proof { txid, path, .. } = envelopes[0].proof.clone();
        let tsc = TscProof { txid, raw: None, target: TscTarget::MerkleRoot(Hash32::ZERO), path };
        let incoming = Incoming::from_tsc(&tsc, Some(envelopes[0].raw_tx.clone())).unwrap();
        assert_eq!(incoming.clone().into_envelope(|_, _| None), None);
        let envelope = incoming.into_envelope(|_, _| Some(chain.0)).unwrap();
        assert_eq!(verify_envelope(&envelope, &chain), Err(Refusal::MerkleRootMismatch));
    }

    #[test]
    fn what_makes_no_envelope() {
        let tx = transactions(1).remove(0);
        let txid = tx.txid();
        let bump = Bump::from_path(1, Hash32::ZERO, &[]).unwrap();
        let unknown = BumpError::UnknownTxid(txid).into();
        assert_eq!(Incoming::from_bump(&bump, txid, String::new()), Err(unknown));
        let mut beef = Beef { bumps: vec![bump], transactions: vec![], subject: None };
        assert_eq!(Incoming::from_beef(&beef, None), Err(IncomingError::NotInBeef));
        beef.transactions.push(BeefTransaction { txid, tx: Some(tx), bump: None });
        assert_eq!(Incoming::from_beef(&beef, None), Err(IncomingError::NotMined(txid)));
        assert_eq!(Incoming::from_beef(&beef, Some(Hash32::ZERO)), Err(IncomingError::NotInBeef));
        beef.transactions[0].bump = Some(0);
        assert_eq!(Incoming::from_beef(&beef, None), Err(unknown));
        beef.transactions[0].tx = None;
        assert_eq!(Incoming::from_beef(&beef, None), Err(IncomingError::NoRawTransaction(txid)));
        let tsc = TscProof { txid, raw: None, target: TscTarget::MerkleRoot(txid), path: vec![] };
        assert_eq!(Incoming::from_tsc(&tsc, None), Err(IncomingError::NoRawTransaction(txid)));
    }
}
