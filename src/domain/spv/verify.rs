//! Whether an envelope proves that its transaction is in the best chain.
//!
//! The checks run in a fixed order, and each has a reason that clients rely on. The raw transaction is hashed but not
//! parsed: bytes that hash to a leaf below a best-chain root *are* a transaction, because the network checked it, unless
//! they are the 64 bytes of an inner node. What it declares is for [`super::Declaration::find`].

use serde::{Deserialize, Serialize};

use super::{
    decode_hex,
    envelope::{BlockRef, Envelope},
    hash::{Hash32, sha256d},
    header::HeaderError,
    merkle::{MerkleError, root_from_path},
};

/// The header mirror, as far as verification needs it. Whoever has the rows at hand implements it in memory: look up
/// [`BlockRef::resolve`]'s hash first.
pub trait BestChain {
    /// The block of that hash, only if it is on the best chain.
    fn block(&self, hash: &Hash32) -> Option<ChainBlock>;
    /// Height of the best chain's last block.
    fn tip_height(&self) -> u32;
}

/// What the mirror knows of a block on the best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainBlock {
    /// Height, the genesis block being 0.
    pub height: u32,
    /// Merkle root, if the header source tells it.
    pub merkle_root: Option<Hash32>,
}

/// A transaction proven to be in the best chain, as of the [`BestChain`] it was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The transaction.
    pub txid: Hash32,
    /// Its block.
    pub block_hash: Hash32,
    /// The block's height.
    pub block_height: u32,
    /// The block's Merkle root.
    pub merkle_root: Hash32,
    /// Blocks from this one to the tip, both counted. True at this instant: never store it.
    pub confirmations: u32,
}

/// Why an envelope proves nothing. In the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// `txid` is not `proof.txid`.
    #[error("the envelope's txid is not the proof's")]
    TxidMismatchTopLevel,
    /// `rawTx` does not hash to `proof.txid`, or is not hex.
    #[error("the raw transaction does not hash to the proof's txid")]
    TxidMismatchRawTx,
    /// `block.blockHeader` is not a header.
    #[error("{0}")]
    InvalidBlockHeader(HeaderError),
    /// The block is not on the best chain, by whichever way it was named.
    #[error("the block is not on the best chain")]
    UnknownBlockHash,
    /// `block.blockHeight` is not the block's height.
    #[error("the block is at another height")]
    BlockHeightMismatch,
    /// Neither the envelope nor the header source tells the block's Merkle root.
    #[error("the block's Merkle root is not known")]
    MerkleRootUnavailable,
    /// `proof.merkleRoot` is not the block's.
    #[error("the proof's Merkle root is not the block's")]
    MerkleRootMismatch,
    /// The path does not lead to the root, or is of a forbidden form (then the cause is given).
    #[error("the Merkle path does not prove the transaction")]
    InvalidMerklePath(Option<MerkleError>),
    /// Fewer confirmations than asked for.
    #[error("{got} confirmations where {need} are needed")]
    InsufficientConfs {
        /// What the block has.
        got: u32,
        /// What was asked for.
        need: u32,
    },
}

impl Refusal {
    /// The reason as the API spells it. Stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TxidMismatchTopLevel => "txid-mismatch-top-level-vs-proof",
            Self::TxidMismatchRawTx => "txid-mismatch-rawtx-vs-proof",
            Self::InvalidBlockHeader(_) => "invalid-block-header",
            Self::UnknownBlockHash => "unknown-block-hash",
            Self::BlockHeightMismatch => "block-height-mismatch",
            Self::MerkleRootUnavailable => "merkle-root-unavailable",
            Self::MerkleRootMismatch => "merkle-root-mismatch",
            Self::InvalidMerklePath(_) => "invalid-merkle-path",
            Self::InsufficientConfs { .. } => "insufficient-confs",
        }
    }
}

impl Verified {
    /// The last check, apart because how many are enough depends on who asks.
    pub fn with_confirmations(self, need: u32) -> Result<Self, Refusal> {
        if self.confirmations < need {
            return Err(Refusal::InsufficientConfs { got: self.confirmations, need });
        }
        Ok(self)
    }
}

/// What an envelope says that no chain is needed to check: its transaction, its block, and the root its path leads to.
/// Hashing the transaction and climbing the path is most of the work of verification, and never has to be done twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The transaction; the raw one hashes to it.
    pub txid: Hash32,
    /// The block that the envelope names.
    pub block_hash: Hash32,
    /// The height it claims for the block.
    claimed_height: Option<u32>,
    /// The root in the header that came along.
    header_root: Option<Hash32>,
    /// The root that the proof claims.
    claimed_root: Hash32,
    /// The root that the path leads to.
    root: Result<Hash32, MerkleError>,
}

impl Checked {
    /// Checks what can be checked without a chain.
    ///
    /// # Errors
    /// The first three refusals, in their order. Those of the path come later in the order and wait for
    /// [`Checked::against`].
    pub fn of(envelope: &Envelope) -> Result<Self, Refusal> {
        let txid = envelope.proof.txid;
        if envelope.txid.is_some_and(|top| top != txid) {
            return Err(Refusal::TxidMismatchTopLevel);
        }
        let raw = decode_hex(&envelope.raw_tx).map_err(|_| Refusal::TxidMismatchRawTx)?;
        if sha256d(&raw) != txid {
            return Err(Refusal::TxidMismatchRawTx);
        }
        let (block_hash, header) = envelope.block.resolve().map_err(Refusal::InvalidBlockHeader)?;
        let claimed_height = match envelope.block {
            BlockRef::Name { block_height, .. } | BlockRef::Header { block_height, .. } => block_height,
        };
        let root = match raw.len() {
            64 => Err(MerkleError::TransactionAsNode),
            _ => root_from_path(txid, &envelope.proof.path),
        };
        let (header_root, claimed_root) = (header.map(|header| header.merkle_root), envelope.proof.merkle_root);
        Ok(Self { txid, block_hash, claimed_height, header_root, claimed_root, root })
    }

    /// Holds what was checked against a chain. Compares a few hashes, and hashes nothing.
    ///
    /// The proof of work of a header inside the envelope is not looked at: it counts by being on the best chain, and
    /// whoever built that chain has checked the work.
    ///
    /// # Errors
    /// The refusals from [`Refusal::UnknownBlockHash`] on, but for the number of confirmations: for that see
    /// [`Verified::with_confirmations`].
    pub fn against(&self, chain: &impl BestChain) -> Result<Verified, Refusal> {
        let block = chain.block(&self.block_hash).ok_or(Refusal::UnknownBlockHash)?;
        if self.claimed_height.is_some_and(|claimed| claimed != block.height) {
            return Err(Refusal::BlockHeightMismatch);
        }
        let merkle_root = self.header_root.or(block.merkle_root).ok_or(Refusal::MerkleRootUnavailable)?;
        if self.claimed_root != merkle_root {
            return Err(Refusal::MerkleRootMismatch);
        }
        let root = self.root.map_err(|cause| Refusal::InvalidMerklePath(Some(cause)))?;
        if root != merkle_root {
            return Err(Refusal::InvalidMerklePath(None));
        }
        let confirmations = chain.tip_height().checked_sub(block.height).map_or(0, |above| above.saturating_add(1));
        let Self { txid, block_hash, .. } = *self;
        Ok(Verified { txid, block_hash, block_height: block.height, merkle_root, confirmations })
    }
}

/// Checks everything but the number of confirmations: [`Checked::of`], then [`Checked::against`].
///
/// # Errors
/// The first refusal in their order.
pub fn verify_envelope(envelope: &Envelope, chain: &impl BestChain) -> Result<Verified, Refusal> {
    Checked::of(envelope)?.against(chain)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Header, HeaderError, PathStep, Position, Proof, encode_hex, merkle_path, merkle_root},
        *,
    };

    struct Chain {
        hash: Hash32,
        block: ChainBlock,
        tip: u32,
    }

    impl BestChain for Chain {
        fn block(&self, hash: &Hash32) -> Option<ChainBlock> {
            (*hash == self.hash).then_some(self.block)
        }

        fn tip_height(&self) -> u32 {
            self.tip
        }
    }

    /// Transaction `index` of a block of `count` made-up ones, at height 10 of 12.
    fn example(count: usize, index: usize) -> (Envelope, Chain) {
        let raws: Vec<Vec<u8>> = (0..count).map(|i| format!("transaction {i}").into_bytes()).collect();
        let txids: Vec<Hash32> = raws.iter().map(|raw| sha256d(raw)).collect();
        let root = merkle_root(&txids).unwrap();
        let prev_hash = Hash32::ZERO;
        let header = Header { version: 1, prev_hash, merkle_root: root, time: 1, bits: 0x207f_ffff, nonce: 0 };
        let path = merkle_path(&txids, index).unwrap();
        let envelope = Envelope {
            raw_tx: encode_hex(&raws[index]),
            txid: Some(txids[index]),
            proof: Proof { txid: txids[index], merkle_root: root, path },
            block: BlockRef::of_header(encode_hex(&header.to_bytes())),
        };
        let block = ChainBlock { height: 10, merkle_root: Some(root) };
        (envelope, Chain { hash: header.hash(), block, tip: 12 })
    }

    fn code(envelope: &Envelope, chain: &Chain) -> &'static str {
        verify_envelope(envelope, chain).unwrap_err().code()
    }

    #[test]
    fn proven_by_header_and_by_name() {
        for (count, index) in [(1, 0), (2, 1), (5, 4), (7, 3)] {
            let (mut envelope, chain) = example(count, index);
            let verified = verify_envelope(&envelope, &chain).unwrap();
            assert_eq!((verified.block_height, verified.confirmations), (10, 3));
            for block_height in [None, Some(10)] {
                envelope.block = BlockRef::Name { block_hash: chain.hash, block_height };
                assert_eq!(verify_envelope(&envelope, &chain), Ok(verified));
            }
            assert!(verified.with_confirmations(3).is_ok());
            assert_eq!(verified.with_confirmations(4).unwrap_err().code(), "insufficient-confs");
        }
    }

    #[test]
    fn a_header_is_of_the_block_that_is_named_beside_it() {
        let (mut envelope, chain) = example(3, 1);
        let BlockRef::Header { block_header, .. } = envelope.block.clone() else { unreachable!() };
        for (block_hash, block_height, refused) in [
            (Some(sha256d(b"other")), None, Some(Refusal::InvalidBlockHeader(HeaderError::OtherBlock))),
            (None, Some(9), Some(Refusal::BlockHeightMismatch)),
            (Some(chain.hash), Some(10), None),
        ] {
            envelope.block = BlockRef::Header { block_header: block_header.clone(), block_hash, block_height };
            assert_eq!(verify_envelope(&envelope, &chain).err(), refused);
        }
    }

    #[test]
    fn each_reason_in_its_order() {
        let other = sha256d(b"other");
        let (mut envelope, mut chain) = example(5, 2);
        // Break everything, then mend it from the first check to the last.
        let good = envelope.clone();
        envelope.txid = Some(other);
        envelope.raw_tx = "zz".into();
        envelope.block = BlockRef::of_header("00".into());
        envelope.proof.merkle_root = other;
        envelope.proof.path[0].hash = other;
        assert_eq!(code(&envelope, &chain), "txid-mismatch-top-level-vs-proof");
        envelope.txid = None;
        assert_eq!(code(&envelope, &chain), "txid-mismatch-rawtx-vs-proof");
        envelope.raw_tx = good.raw_tx.clone();
        assert_eq!(code(&envelope, &chain), "invalid-block-header");
        envelope.block = BlockRef::Name { block_hash: other, block_height: Some(9) };
        assert_eq!(code(&envelope, &chain), "unknown-block-hash");
        envelope.block = BlockRef::Name { block_hash: chain.hash, block_height: Some(9) };
        assert_eq!(code(&envelope, &chain), "block-height-mismatch");
        envelope.block = BlockRef::Name { block_hash: chain.hash, block_height: Some(10) };
        let root = chain.block.merkle_root.take();
        assert_eq!(code(&envelope, &chain), "merkle-root-unavailable");
        chain.block.merkle_root = root;
        assert_eq!(code(&envelope, &chain), "merkle-root-mismatch");
        envelope.proof.merkle_root = good.proof.merkle_root;
        assert_eq!(code(&envelope, &chain), "invalid-merkle-path");
        envelope.proof.path = good.proof.path;
        assert!(verify_envelope(&envelope, &chain).is_ok());
    }

    #[test]
    fn any_altered_bit_is_refused() {
        // xorshift: seeded, so that a failure repeats.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let flip = |hash: &mut Hash32, bit: usize| {
            let mut bytes = *hash.as_internal();
            bytes[bit / 8] ^= 1 << (bit % 8);
            *hash = Hash32::from_internal(bytes);
        };
        for _ in 0..2000 {
            let count = 1 + next(20);
            let (mut envelope, chain) = example(count, next(count));
            let field = next(6);
            let levels = envelope.proof.path.len();
            match field {
                0 => flip(envelope.txid.as_mut().unwrap(), next(256)),
                1 => flip(&mut envelope.proof.txid, next(256)),
                2 => flip(&mut envelope.proof.merkle_root, next(256)),
                3 | 4 if levels > 0 => {
                    let step: &mut PathStep = &mut envelope.proof.path[next(levels)];
                    if field == 3 {
                        flip(&mut step.hash, next(256));
                    } else {
                        step.position = match step.position {
                            Position::Left => Position::Right,
                            Position::Right => Position::Left,
                        };
                    }
                }
                5 => {
                    let BlockRef::Header { block_header, .. } = &mut envelope.block else { unreachable!() };
                    let mut bytes = decode_hex(block_header).unwrap();
                    bytes[next(80)] ^= 1 << next(8);
                    *block_header = encode_hex(&bytes);
                }
                _ => {
                    let mut bytes = decode_hex(&envelope.raw_tx).unwrap();
                    let at = next(bytes.len());
                    bytes[at] ^= 1 << next(8);
                    envelope.raw_tx = encode_hex(&bytes);
                }
            }
            assert!(verify_envelope(&envelope, &chain).is_err(), "field {field} of {envelope:?}");
        }
    }

    #[test]
    fn inner_node_is_not_a_transaction() {
        let (mut envelope, chain) = example(4, 0);
        let pair = [envelope.proof.txid.as_internal()[..].to_vec(), envelope.proof.path[0].hash.as_internal().to_vec()];
        let node = pair.concat();
        envelope.raw_tx = encode_hex(&node);
        envelope.txid = None;
        envelope.proof.txid = sha256d(&node);
        envelope.proof.path.remove(0);
        assert_eq!(
            verify_envelope(&envelope, &chain),
            Err(Refusal::InvalidMerklePath(Some(MerkleError::TransactionAsNode)))
        );
    }

    #[test]
    fn block_that_left_the_chain_proves_nothing() {
        let (envelope, mut chain) = example(3, 1);
        chain.hash = sha256d(b"reorganised");
        assert_eq!(code(&envelope, &chain), "unknown-block-hash");
        let (envelope, mut chain) = example(3, 1);
        chain.tip = 9;
        assert_eq!(verify_envelope(&envelope, &chain).unwrap().confirmations, 0);
    }
}
