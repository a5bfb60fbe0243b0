//! Whether a BEEF holds together: each transaction is proven by its BUMP or spends only what comes before it.

use std::collections::{HashMap, HashSet};

use super::{Beef, BeefError, Hash32, RootClaim};

impl Beef {
    /// Every root that the header source has to confirm, in the order of the transactions that depend on them. Once
    /// all are confirmed, each transaction is either in a block itself or connected to some that are.
    ///
    /// A transaction that is only named is refused unless one of the BUMPs has it; see [`Beef::check_knowing`]. Such a
    /// claim is weaker than the others: an inner node of the tree can be named as well (CVE-2017-12842), so it counts
    /// only for who holds bytes that hash to the id and are not 64.
    pub fn check(&self) -> Result<Vec<RootClaim>, BeefError> {
        self.check_knowing(|_| false)
    }

    /// As [`Beef::check`], with transactions that the caller has proven before: those may be only named.
    pub fn check_knowing(&self, known: impl Fn(&Hash32) -> bool) -> Result<Vec<RootClaim>, BeefError> {
        let mut roots = HashMap::new();
        for bump in &self.bumps {
            if *roots.entry(bump.block_height()).or_insert(bump.root()) != bump.root() {
                return Err(BeefError::ConflictingRoots(bump.block_height()));
            }
        }
        let leaves: Vec<HashSet<Hash32>> = self.bumps.iter().map(|bump| bump.leaves().collect()).collect();

        let mut claims = Vec::new();
        let mut before = HashSet::with_capacity(self.transactions.len());
        for transaction in &self.transactions {
            let txid = transaction.txid;
            if before.contains(&txid) {
                return Err(BeefError::DuplicateTransaction(txid));
            }
            let bump = match (transaction.bump, &transaction.tx) {
                (Some(index), _) => {
                    let has = leaves.get(index).ok_or(BeefError::NoSuchBump(index as u64))?.contains(&txid);
                    Some(has.then_some(index).ok_or(BeefError::NotInBump(txid))?)
                }
                (None, Some(tx)) => {
                    if let Some(input) = tx.inputs.iter().find(|input| !before.contains(&input.prev_txid)) {
                        return Err(BeefError::MissingInput { txid, input: input.prev_txid });
                    }
                    None
                }
                (None, None) => {
                    let bump = leaves.iter().position(|leaves| leaves.contains(&txid));
                    if bump.is_none() && !known(&txid) {
                        return Err(BeefError::Unproven(txid));
                    }
                    bump
                }
            };
            if let Some(bump) = bump.and_then(|index| self.bumps.get(index)) {
                claims.push(RootClaim { block_height: bump.block_height(), merkle_root: bump.root(), txid });
            }
            before.insert(txid);
        }
        if self.transactions.is_empty() {
            return Err(BeefError::Empty);
        }
        if let Some(subject) = self.subject {
            self.check_atomic(subject)?;
        }
        Ok(claims)
    }

    /// BRC-95: the subject is there, and nothing that is not among its ancestors. Those of a proven transaction are not
    /// needed, but are ancestors all the same.
    fn check_atomic(&self, subject: Hash32) -> Result<(), BeefError> {
        let by_id: HashMap<Hash32, _> = self.transactions.iter().map(|each| (each.txid, each)).collect();
        if !by_id.contains_key(&subject) {
            return Err(BeefError::SubjectMissing(subject));
        }
        let mut related = HashSet::from([subject]);
        let mut to_do = vec![subject];
        while let Some(txid) = to_do.pop() {
            let inputs = by_id.get(&txid).and_then(|each| each.tx.as_ref()).map_or(&[][..], |tx| &tx.inputs);
            let parents = inputs.iter().map(|input| input.prev_txid).filter(|parent| by_id.contains_key(parent));
            to_do.extend(parents.filter(|parent| related.insert(*parent)));
        }
        match self.transactions.iter().find(|each| !related.contains(&each.txid)) {
            Some(stranger) => Err(BeefError::Unrelated(stranger.txid)),
            None => Ok(()),
        }
    }
}
