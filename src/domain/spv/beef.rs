//! BEEF, transactions with the Merkle paths that prove them or their ancestors: V1 (BRC-62,
//! <https://bsv.brc.dev/transactions/0062>), V2 (BRC-96) and Atomic BEEF (BRC-95).
//!
//! Layout: version, count of paths, paths ([`Bump`]), count of transactions, transactions, each after those it spends from.
//! In V1 a transaction is followed by `01` and the index of its path, or by `00`; in V2 it comes after `01` and that index,
//! after `00`, or is its identifier alone after `02`. Atomic BEEF puts `01010101` and the identifier of the transaction that
//! it is about in front.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    bump::{Bump, BumpError},
    bytes::{ReadError, Reader, write_count},
    hash::{Hash32, sha256d},
    tx::{Transaction, TxError},
};

const V1: [u8; 4] = [0x01, 0x00, 0xbe, 0xef];
const V2: [u8; 4] = [0x02, 0x00, 0xbe, 0xef];
const ATOMIC: [u8; 4] = [0x01; 4];
/// Least bytes of a path, and of a transaction in each version.
const BUMP_BYTES: usize = 4;
const TX_BYTES: usize = 33;

/// Transactions with the paths that prove them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beef {
    /// The paths.
    pub bumps: Vec<Bump>,
    /// The transactions, each after those it spends from.
    pub txs: Vec<BeefTx>,
    /// The transaction that an Atomic BEEF is about.
    pub subject: Option<Hash32>,
}

/// A transaction of a BEEF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeefTx {
    /// Its identifier.
    pub txid: Hash32,
    /// Its bytes; `None` when only the identifier is there (V2).
    pub raw: Option<Vec<u8>>,
    /// Index of its path.
    pub bump: Option<usize>,
}

/// Why bytes are not a BEEF, or a BEEF proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeefError {
    /// Begins like nothing that is known.
    #[error("the bytes are no BEEF of a version that is known")]
    Version,
    /// Fewer bytes than its counts promise.
    #[error("the BEEF ends early, or promises more than its bytes hold")]
    Truncated,
    /// A count in a longer form than it needs.
    #[error("a count is not in its shortest form")]
    NonCanonicalCount,
    /// A mark that means nothing.
    #[error("mark {0} means nothing")]
    Mark(u8),
    /// Bytes at the end.
    #[error("{0} bytes follow the BEEF")]
    TrailingBytes(usize),
    /// A path that cannot be read, or proves nothing.
    #[error("{0}")]
    Bump(#[from] BumpError),
    /// A transaction that cannot be read.
    #[error("{0}")]
    Tx(#[from] TxError),
    /// The index of a path that is not there.
    #[error("there is no path {0}")]
    NoBump(usize),
    /// One transaction twice.
    #[error("a transaction comes twice")]
    Twice,
    /// A transaction without a path that spends from one that is not proven here.
    #[error("transaction {0} is not proven")]
    Unproven(Hash32),
    /// An Atomic BEEF without the transaction it is about, or with one that has nothing to do with it.
    #[error("the BEEF is not about its subject alone")]
    Subject,
}

impl From<ReadError> for BeefError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::NonCanonicalCount => Self::NonCanonicalCount,
        }
    }
}

/// A root that the best chain must have at a height, for the proof of a transaction to hold.
pub type Claim = (u32, Hash32, Hash32);

impl Beef {
    /// Reads a BEEF of any version that fills the bytes exactly. What it proves is for [`Self::claims`].
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BeefError> {
        let mut reader = Reader(bytes);
        let mut version = reader.array()?;
        let mut subject = None;
        if version == ATOMIC {
            subject = Some(Hash32::from_internal(reader.array()?));
            version = reader.array()?;
        }
        let is_v2 = match version {
            V1 => false,
            V2 => true,
            _ => return Err(BeefError::Version),
        };
        let mut bumps = Vec::new();
        for _ in 0..reader.count(BUMP_BYTES)? {
            let (bump, rest) = Bump::parse_prefix(reader.0)?;
            reader.0 = rest;
            bumps.push(bump);
        }
        let mut txs = Vec::new();
        for _ in 0..reader.count(TX_BYTES)? {
            let tx = if is_v2 { tx_v2(&mut reader)? } else { tx_v1(&mut reader)? };
            if let Some(bump) = tx.bump.filter(|bump| *bump >= bumps.len()) {
                return Err(BeefError::NoBump(bump));
            }
            txs.push(tx);
        }
        match reader.0.len() {
            0 => Ok(Self { bumps, txs, subject }),
            rest => Err(BeefError::TrailingBytes(rest)),
        }
    }

    /// A BEEF of proven transactions: one path for each block, one root for each.
    ///
    /// # Errors
    /// When paths of one height are of different blocks, or prove nothing.
    pub fn of(proven: Vec<(Vec<u8>, Bump)>) -> Result<Self, BeefError> {
        let mut by_height: BTreeMap<u32, Vec<Bump>> = BTreeMap::new();
        let mut txs: BTreeMap<Hash32, (Vec<u8>, u32)> = BTreeMap::new();
        for (raw, bump) in proven {
            let (txid, height) = (sha256d(&raw), bump.block_height);
            bump.root_of(txid)?;
            by_height.entry(height).or_default().push(bump);
            txs.insert(txid, (raw, height));
        }
        let heights: Vec<u32> = by_height.keys().copied().collect();
        let bumps = by_height.values().map(|bumps| Bump::merged(bumps)).collect::<Result<_, _>>()?;
        // All are proven, so they may come in any order; by height is one that never puts a transaction before its inputs.
        let mut txs: Vec<_> = txs.into_iter().map(|(txid, (raw, height))| (height, txid, raw)).collect();
        txs.sort_unstable_by_key(|(height, txid, _)| (*height, *txid));
        let tx = |(height, txid, raw)| BeefTx { txid, raw: Some(raw), bump: heights.binary_search(&height).ok() };
        Ok(Self { bumps, txs: txs.into_iter().map(tx).collect(), subject: None })
    }

    /// The bytes in V1.
    ///
    /// # Errors
    /// `Unproven` for a transaction of which only the identifier is there: V1 has no form for it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BeefError> {
        let mut out = Vec::new();
        if let Some(subject) = self.subject {
            out.extend(ATOMIC);
            out.extend(subject.as_internal());
        }
        out.extend(V1);
        write_count(&mut out, self.bumps.len());
        self.bumps.iter().for_each(|bump| out.extend(bump.to_bytes()));
        write_count(&mut out, self.txs.len());
        for tx in &self.txs {
            out.extend(tx.raw.as_ref().ok_or(BeefError::Unproven(tx.txid))?);
            match tx.bump {
                Some(bump) => {
                    out.push(1);
                    write_count(&mut out, bump);
                }
                None => out.push(0),
            }
        }
        Ok(out)
    }

    /// What the best chain must have for every transaction here to be proven: by its own path, or by those of all that it
    /// spends from.
    ///
    /// # Errors
    /// When something is not proven whatever the chain has.
    pub fn claims(&self) -> Result<Vec<Claim>, BeefError> {
        let (mut claims, mut roots) = (Vec::new(), HashMap::new());
        let mut inputs_of: HashMap<Hash32, Vec<Hash32>> = HashMap::new();
        let mut known = HashSet::new();
        for tx in &self.txs {
            let inputs = match &tx.raw {
                Some(raw) => Transaction::parse(raw)?.inputs.into_iter().map(|input| input.prev_txid).collect(),
                None => Vec::new(),
            };
            if inputs_of.insert(tx.txid, inputs).is_some() {
                return Err(BeefError::Twice);
            }
            if let Some(at) = tx.bump {
                let bump = self.bumps.get(at).ok_or(BeefError::NoBump(at))?;
                // A height has one block.
                let root = bump.root_of(tx.txid)?;
                if *roots.entry(bump.block_height).or_insert(root) != root {
                    return Err(BumpError::OtherBlock.into());
                }
                claims.push((bump.block_height, root, tx.txid));
                known.insert(tx.txid);
            }
        }
        self.follow(&inputs_of, known)?;
        let known = &inputs_of;
        if let Some(subject) = self.subject {
            let mut reached = BTreeSet::new();
            let mut waiting = vec![subject];
            while let Some(txid) = waiting.pop() {
                if known.contains_key(&txid) && reached.insert(txid) {
                    waiting.extend(inputs_of.get(&txid).into_iter().flatten());
                }
            }
            if !reached.contains(&subject) || reached.len() != known.len() {
                return Err(BeefError::Subject);
            }
        }
        Ok(claims)
    }

    /// Sees that every transaction without a path spends from known ones alone, which make it known: in whatever order they
    /// come, for not every writer sorts them.
    fn follow(&self, inputs_of: &HashMap<Hash32, Vec<Hash32>>, mut known: HashSet<Hash32>) -> Result<(), BeefError> {
        let mut spenders: HashMap<Hash32, Vec<Hash32>> = HashMap::new();
        let mut unmet: HashMap<Hash32, usize> = HashMap::new();
        for tx in self.txs.iter().filter(|tx| tx.bump.is_none()) {
            let inputs: BTreeSet<&Hash32> = inputs_of.get(&tx.txid).into_iter().flatten().collect();
            if tx.raw.is_none() || inputs.is_empty() {
                return Err(BeefError::Unproven(tx.txid));
            }
            unmet.insert(tx.txid, inputs.len());
            inputs.into_iter().for_each(|input| spenders.entry(*input).or_default().push(tx.txid));
        }
        let mut fresh: Vec<Hash32> = known.iter().copied().collect();
        while let Some(txid) = fresh.pop() {
            for spender in spenders.get(&txid).into_iter().flatten() {
                let left = unmet.entry(*spender).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 && known.insert(*spender) {
                    fresh.push(*spender);
                }
            }
        }
        match self.txs.iter().find(|tx| !known.contains(&tx.txid)) {
            Some(tx) => Err(BeefError::Unproven(tx.txid)),
            None => Ok(()),
        }
    }
}

fn raw(reader: &mut Reader<'_>) -> Result<Vec<u8>, BeefError> {
    let (_, rest) = Transaction::parse_prefix(reader.0)?;
    let bytes = reader.take(reader.0.len() - rest.len())?;
    if bytes.len() == 64 {
        return Err(TxError::SixtyFourBytes.into());
    }
    Ok(bytes.to_vec())
}

fn index(reader: &mut Reader<'_>) -> Result<usize, BeefError> {
    usize::try_from(reader.compact()?).map_err(|_| BeefError::Truncated)
}

fn tx_v1(reader: &mut Reader<'_>) -> Result<BeefTx, BeefError> {
    let raw = raw(reader)?;
    let bump = match reader.array()? {
        [0] => None,
        [1] => Some(index(reader)?),
        [mark] => return Err(BeefError::Mark(mark)),
    };
    Ok(BeefTx { txid: sha256d(&raw), raw: Some(raw), bump })
}

fn tx_v2(reader: &mut Reader<'_>) -> Result<BeefTx, BeefError> {
    let bump = match reader.array()? {
        [0] => None,
        [1] => Some(index(reader)?),
        [2] => return Ok(BeefTx { txid: Hash32::from_internal(reader.array()?), raw: None, bump: None }),
        [mark] => return Err(BeefError::Mark(mark)),
    };
    let raw = raw(reader)?;
    Ok(BeefTx { txid: sha256d(&raw), raw: Some(raw), bump })
}

#[cfg(test)]
mod tests;
