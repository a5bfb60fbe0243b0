//! What a version declared on chain, and what the proof of it proves: the part that no chain is needed for is checked when
//! the row is read, and kept with it.

use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use super::declaration::Declaration;
use super::envelope::Envelope;
use super::hash::Hash32;
use super::tx::Transaction;
use super::verify::{BestChain, Checked, Refusal, Verified};
use crate::cache::{Cached, Key, Kind};
use crate::coherence::Tag;
use crate::domain::Document;
use crate::error::{Error, Result};

/// A version's declaration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Declared {
    /// The declaring transaction.
    pub txid: Hash32,
    /// Index of its declaring output.
    pub vout: u32,
    /// `DLM1`, `TRN1` or `UNKNOWN`.
    pub kind: String,
    /// The envelope as it is handed out: without confirmations, and without what else a sender put in.
    pub envelope: Option<Document>,
    /// What the envelope proves, the best chain aside.
    pub proof: Result<Checked, Flaw>,
}

/// Why a declaration proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flaw {
    /// No proof has come yet.
    Unproven,
    /// The stored envelope is not of the form of one.
    Malformed,
    /// The transaction does not declare this version. A valid proof of some other transaction proves nothing.
    Unbound,
    /// The manifest is not the one whose hash is declared.
    OtherManifest,
    /// The manifest names a parent that the version is not known to have.
    OtherParents,
    /// Verification refuses it.
    Refused(Refusal),
}

impl Flaw {
    /// The reason as the API spells it. Stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unproven => "missing-envelope",
            Self::Malformed => "malformed-envelope",
            Self::Unbound | Self::OtherManifest => "onchain-mh-mismatch",
            Self::OtherParents => "lineage-mismatch",
            Self::Refused(refusal) => refusal.code(),
        }
    }
}

impl Declared {
    /// The declaration of `id` from its row; `txid` and `vout` are what the row says.
    ///
    /// # Errors
    /// `internal` when the envelope cannot be written as JSON.
    pub fn of(
        id: VersionId, txid: Hash32, vout: u32, kind: String, envelope: Option<serde_json::Value>,
    ) -> Result<Self> {
        let envelope = match envelope.map(serde_json::from_value::<Envelope>) {
            None => return Ok(Self { txid, vout, kind, envelope: None, proof: Err(Flaw::Unproven) }),
            Some(Err(_)) => return Ok(Self { txid, vout, kind, envelope: None, proof: Err(Flaw::Malformed) }),
            Some(Ok(envelope)) => envelope,
        };
        let proof = check(id, txid, &envelope);
        let document = Document::new(&serde_json::to_value(&envelope).map_err(Error::internal)?)?;
        let (vout, proof) = match proof {
            Ok((vout, checked)) => (vout, Ok(checked)),
            Err(flaw) => (vout, Err(flaw)),
        };
        Ok(Self { txid, vout, kind, envelope: Some(document), proof })
    }

    /// What the best chain makes of it.
    ///
    /// # Errors
    /// The first flaw.
    pub fn against(&self, chain: &impl BestChain) -> Result<Verified, Flaw> {
        self.proof.as_ref().map_err(|flaw| *flaw)?.against(chain).map_err(Flaw::Refused)
    }

    /// The block that the proof is about.
    pub fn block_hash(&self) -> Option<Hash32> {
        self.proof.as_ref().ok().map(|checked| checked.block_hash)
    }
}

/// What `envelope` proves of `id`, the best chain aside, and the output that declares it.
///
/// # Errors
/// The first flaw.
pub fn check(id: VersionId, txid: Hash32, envelope: &Envelope) -> Result<(u32, Checked), Flaw> {
    let checked = Checked::of(envelope).map_err(Flaw::Refused)?;
    if checked.txid != txid {
        return Err(Flaw::Refused(Refusal::TxidMismatchTopLevel));
    }
    let tx = Transaction::from_hex(&envelope.raw_tx).map_err(|_| Flaw::Unbound)?;
    match Declaration::find(&tx) {
        Ok(Some((vout, declaration))) if declaration.manifest_hash == *id.as_bytes() => Ok((vout, checked)),
        _ => Err(Flaw::Unbound),
    }
}

impl Cached for Declared {
    const KIND: Kind = Kind::Proof;

    fn size(&self) -> usize {
        600 + self.envelope.as_ref().map_or(0, |envelope| envelope.text().len())
    }
}

pub(super) fn key(id: &VersionId) -> Key<Declared> {
    Key::new(format!("ol:cache:proof:{id}"))
}

pub(super) fn tags(id: &VersionId) -> Vec<Tag> {
    vec![Tag::new(format!("proof:{id}"))]
}
