//! BEEF, the Background Evaluation Extended Format: transactions, and the BUMPs that prove them or their ancestors.
//!
//! Formats, numbers as `CompactSize`:
//!
//! * V1 (BRC-62, <https://bsv.brc.dev/transactions/0062>): `0100beef`, count of BUMPs, BUMPs, count of transactions,
//!   and for each its raw bytes followed by `00`, or by `01` and the index of its BUMP.
//! * V2 (BRC-96, <https://bsv.brc.dev/transactions/0096>): `0200beef`, and what is known of a transaction comes first:
//!   `00` raw bytes, `01` index of its BUMP and raw bytes, `02` only the 32 bytes of its id.
//! * Atomic (BRC-95, <https://bsv.brc.dev/transactions/0095>): `01010101`, the 32 bytes of the subject's id, and then
//!   V1 or V2. Ids are in internal order everywhere.
//!
//! [`Beef::parse`] reads the form, [`Beef::check`] says what it comes to. Neither runs a script nor adds up amounts:
//! a transaction with a BUMP is proven when its root is a block's, one without is only *connected* to some that are.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    HexError,
    bump::{Bump, BumpError},
    bytes::{ReadError, Reader, write_count},
    decode_hex,
    hash::{Hash32, sha256d},
    tx::{Transaction, TxError},
};

mod check;
#[cfg(test)]
mod tests;

const V1: [u8; 4] = [0x01, 0x00, 0xbe, 0xef];
const V2: [u8; 4] = [0x02, 0x00, 0xbe, 0xef];
const ATOMIC: [u8; 4] = [0x01; 4];
/// Bytes of the smallest BUMP, a lone leaf: what a count of BUMPs promises at least.
const BUMP_BYTES: usize = 37;
/// Bytes of a transaction that is only named: what a count of transactions promises at least.
const NAMED_BYTES: usize = 33;

/// A set of transactions with their proofs, as parsed: see [`Beef::check`] for what it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beef {
    /// Merkle paths, one per block as a rule.
    pub bumps: Vec<Bump>,
    /// Transactions, parents before their children.
    pub transactions: Vec<BeefTransaction>,
    /// The transaction that an Atomic BEEF is about.
    pub subject: Option<Hash32>,
}

/// A transaction of a BEEF, with its bytes or only by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeefTransaction {
    /// Its id: the hash of its bytes if those are given.
    pub txid: Hash32,
    /// The transaction, unless it is only named (V2).
    pub tx: Option<Transaction>,
    /// Which of the BUMPs is said to prove it.
    pub bump: Option<usize>,
}

/// A root that the header source has to confirm: if a block of that height on the best chain has it, the transaction
/// is in that block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootClaim {
    /// Height of the block.
    pub block_height: u32,
    /// Its Merkle root.
    pub merkle_root: Hash32,
    /// The transaction that is proven by it.
    pub txid: Hash32,
}

/// Why bytes are no BEEF, or a BEEF does not hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeefError {
    /// Not hex at all.
    #[error("BEEF is not hex: {0}")]
    NotHex(#[from] HexError),
    /// None of the three prefixes.
    #[error("BEEF begins with none of the known versions")]
    Version,
    /// Fewer bytes than its counts promise.
    #[error("BEEF ends early, or promises more than its bytes hold")]
    Truncated,
    /// A number in a longer form than it needs.
    #[error("a number is not in its shortest form")]
    NonCanonicalCount,
    /// Bytes after the last transaction.
    #[error("{0} bytes follow the BEEF")]
    TrailingBytes(usize),
    /// One of the BUMPs, or merging them.
    #[error("{0}")]
    Bump(#[from] BumpError),
    /// One of the transactions.
    #[error("{0}")]
    Transaction(#[from] TxError),
    /// What stands before or after a transaction is none of the known marks.
    #[error("transaction mark {0} has no meaning")]
    Mark(u8),
    /// A BUMP that is not there.
    #[error("there is no BUMP {0}")]
    NoSuchBump(u64),
    /// No transaction at all.
    #[error("BEEF has no transactions")]
    Empty,
    /// The same transaction twice.
    #[error("transaction {0} comes twice")]
    DuplicateTransaction(Hash32),
    /// The BUMP that should prove a transaction is about others.
    #[error("the BUMP of transaction {0} does not have it")]
    NotInBump(Hash32),
    /// Two roots for one block.
    #[error("BUMPs of height {0} have different roots")]
    ConflictingRoots(u32),
    /// No BUMP, and spends a transaction that does not come before it.
    #[error("transaction {txid} has no proof and its input {input} does not come before it")]
    MissingInput {
        /// The transaction without proof.
        txid: Hash32,
        /// The transaction it spends.
        input: Hash32,
    },
    /// Only named, and in no BUMP.
    #[error("transaction {0} is only named and nothing proves it")]
    Unproven(Hash32),
    /// An Atomic BEEF without the transaction it is about.
    #[error("subject {0} is missing")]
    SubjectMissing(Hash32),
    /// An Atomic BEEF with a transaction that is no ancestor of its subject.
    #[error("transaction {0} is no ancestor of the subject")]
    Unrelated(Hash32),
    /// Version 1 cannot name a transaction without its bytes.
    #[error("transaction {0} is only named, which version 1 has no form for")]
    NotInV1(Hash32),
}

impl From<ReadError> for BeefError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::NonCanonicalCount => Self::NonCanonicalCount,
        }
    }
}

impl Beef {
    /// Reads a BEEF of any of the three forms that fills the bytes exactly.
    pub fn parse(bytes: &[u8]) -> Result<Self, BeefError> {
        let mut reader = Reader(bytes);
        let mut version = reader.array()?;
        let mut subject = None;
        if version == ATOMIC {
            subject = Some(Hash32::from_internal(reader.array()?));
            version = reader.array()?;
        }
        if ![V1, V2].contains(&version) {
            return Err(BeefError::Version);
        }

        let count = reader.count(BUMP_BYTES)?;
        let mut bumps = Vec::with_capacity(count);
        for _ in 0..count {
            let (bump, rest) = Bump::parse_prefix(reader.0)?;
            bumps.push(bump);
            reader = Reader(rest);
        }

        let count = reader.count(NAMED_BYTES)?;
        let mut transactions = Vec::with_capacity(count);
        for _ in 0..count {
            let transaction = match version {
                V1 => BeefTransaction::read_v1(&mut reader)?,
                _ => BeefTransaction::read_v2(&mut reader)?,
            };
            if let Some(index) = transaction.bump.filter(|index| *index >= bumps.len()) {
                return Err(BeefError::NoSuchBump(index as u64));
            }
            transactions.push(transaction);
        }
        match reader.0 {
            [] => Ok(Self { bumps, transactions, subject }),
            rest => Err(BeefError::TrailingBytes(rest.len())),
        }
    }

    /// Reads the hex form.
    pub fn from_hex(text: &str) -> Result<Self, BeefError> {
        Self::parse(&decode_hex(text)?)
    }

    /// A BEEF of proven transactions, one BUMP per block. Of a BUMP only the path of its transaction is taken. They keep
    /// their order, but one that another spends from comes before that.
    pub fn of(proven: Vec<(Vec<u8>, Bump)>) -> Result<Self, BeefError> {
        let mut seen = HashSet::new();
        let mut blocks: BTreeMap<u32, Vec<Bump>> = BTreeMap::new();
        let mut found = Vec::with_capacity(proven.len());
        for (raw, bump) in proven {
            let tx = Transaction::parse(&raw)?;
            let txid = sha256d(&raw);
            if !seen.insert(txid) {
                continue;
            }
            let height = bump.block_height();
            blocks.entry(height).or_default().push(Bump::from_path(height, txid, &bump.path_of(&txid)?)?);
            found.push((txid, tx, height));
        }
        let heights: HashMap<u32, usize> = blocks.keys().copied().zip(0..).collect();
        let bumps = blocks.into_values().map(Bump::merge).collect::<Result<_, _>>()?;
        let transaction =
            |(txid, tx, height)| BeefTransaction { txid, tx: Some(tx), bump: heights.get(&height).copied() };
        let transactions = parents_first(found).into_iter().map(transaction).collect();
        Ok(Self { bumps, transactions, subject: None })
    }

    /// The bytes in version 1, without the prefix of an Atomic BEEF.
    pub fn to_bytes_v1(&self) -> Result<Vec<u8>, BeefError> {
        let mut out = self.begin(V1);
        for transaction in &self.transactions {
            let tx = transaction.tx.as_ref().ok_or(BeefError::NotInV1(transaction.txid))?;
            out.extend(tx.to_bytes());
            out.push(u8::from(transaction.bump.is_some()));
            if let Some(index) = transaction.bump {
                write_count(&mut out, index);
            }
        }
        Ok(out)
    }

    /// The bytes in version 2, without the prefix of an Atomic BEEF.
    pub fn to_bytes_v2(&self) -> Vec<u8> {
        let mut out = self.begin(V2);
        for transaction in &self.transactions {
            let Some(tx) = &transaction.tx else {
                out.push(2);
                out.extend(transaction.txid.as_internal());
                continue;
            };
            out.push(u8::from(transaction.bump.is_some()));
            if let Some(index) = transaction.bump {
                write_count(&mut out, index);
            }
            out.extend(tx.to_bytes());
        }
        out
    }

    fn begin(&self, version: [u8; 4]) -> Vec<u8> {
        let mut out = version.to_vec();
        write_count(&mut out, self.bumps.len());
        out.extend(self.bumps.iter().flat_map(Bump::to_bytes));
        write_count(&mut out, self.transactions.len());
        out
    }
}

impl BeefTransaction {
    fn read_v1(reader: &mut Reader<'_>) -> Result<Self, BeefError> {
        let (txid, tx) = read_transaction(reader)?;
        let bump = match reader.array()? {
            [0] => None,
            [1] => Some(read_index(reader)?),
            [mark] => return Err(BeefError::Mark(mark)),
        };
        Ok(Self { txid, tx: Some(tx), bump })
    }

    fn read_v2(reader: &mut Reader<'_>) -> Result<Self, BeefError> {
        let bump = match reader.array()? {
            [0] => None,
            [1] => Some(read_index(reader)?),
            [2] => return Ok(Self { txid: Hash32::from_internal(reader.array()?), tx: None, bump: None }),
            [mark] => return Err(BeefError::Mark(mark)),
        };
        let (txid, tx) = read_transaction(reader)?;
        Ok(Self { txid, tx: Some(tx), bump })
    }
}

fn read_index(reader: &mut Reader<'_>) -> Result<usize, BeefError> {
    let index = reader.compact()?;
    usize::try_from(index).map_err(|_| BeefError::NoSuchBump(index))
}

fn read_transaction(reader: &mut Reader<'_>) -> Result<(Hash32, Transaction), BeefError> {
    let (tx, rest) = Transaction::parse_prefix(reader.0)?;
    let raw = reader.take(reader.0.len() - rest.len())?;
    if raw.len() == 64 {
        return Err(TxError::SixtyFourBytes.into());
    }
    Ok((sha256d(raw), tx))
}

/// The transactions in an order in which each comes after those that it spends from, else as they are. Chains of spending are
/// followed without recursion: they may be long.
fn parents_first(found: Vec<(Hash32, Transaction, u32)>) -> Vec<(Hash32, Transaction, u32)> {
    let places: HashMap<Hash32, usize> = found.iter().enumerate().map(|(at, (txid, ..))| (*txid, at)).collect();
    let spent = |at: usize| found[at].1.inputs.iter().filter_map(|input| places.get(&input.prev_txid).copied());
    let (mut order, mut begun) = (Vec::with_capacity(found.len()), vec![false; found.len()]);
    for first in 0..found.len() {
        // What is yet to be placed; the flag tells that what it spends from is placed by then.
        let mut open = vec![(first, false)];
        while let Some((at, is_free)) = open.pop() {
            if is_free {
                order.push(at);
            } else if !std::mem::replace(&mut begun[at], true) {
                open.push((at, true));
                open.extend(spent(at).filter(|parent| !begun[*parent]).map(|parent| (parent, false)));
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| found[at].take()).collect()
}
