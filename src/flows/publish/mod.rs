//! Publishing: a manifest, the transaction that declares it, and its proof if there is one, all in one transaction.
//!
//! Everything is checked before anything is written. Publishing the same again changes nothing and answers the same; what
//! was published without a proof gets one by being published again with it, or by [`attach`].

mod store;

use chrono::Utc;
use overlay_entity::ids::VersionId;
use serde_json::Value;

use super::import;
use super::lineage::own;
use crate::app::App;
use crate::coherence::Token;
use crate::domain::Fault;
use crate::domain::assets::manifest;
use crate::domain::caller::Caller;
use crate::domain::spv::declared::check;
use crate::domain::spv::{
    Beef, Bump, Declaration, DeclarationKind, Envelope, Flaw, Hash32, Incoming, IncomingError, ToldBlock, Transaction,
    TscProof, Verified, encode_hex,
};
use crate::error::{Error, Kind, Result};

/// What is handed in.
#[derive(Debug)]
pub struct Submission {
    /// The declaring transaction.
    pub raw_tx: Vec<u8>,
    /// The manifest.
    pub manifest: Value,
    /// Its proof.
    pub evidence: Option<Evidence>,
}

/// A proof, in one of the forms in which wallets, nodes and services hand it over.
#[derive(Debug)]
pub enum Evidence {
    /// Ours.
    Envelope(Envelope),
    /// A path; the block is named by its height.
    Bump(Bump),
    /// Transactions with their paths.
    Beef(Beef),
    /// What a node answers with.
    Tsc(TscProof),
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// The version.
    pub version_id: VersionId,
    /// The declaring transaction.
    pub txid: Hash32,
    /// What it declares.
    pub kind: DeclarationKind,
    /// Index of the declaring output; 0 when nothing is declared.
    pub vout: u32,
    /// Whether the version was not known before.
    pub is_new: bool,
    /// Names the write for reads elsewhere.
    pub token: Token,
}

/// Codes of what is refused.
const NOT_PROVEN: &str = "spv-verification-failed";
const OTHER_MANIFEST: &str = "onchain-mh-mismatch";
const OTHER_ID: &str = "versionid-mismatch";

/// A declaration as it is written.
struct Row {
    version_id: VersionId,
    txid: Hash32,
    vout: u32,
    kind: DeclarationKind,
    raw_tx: String,
    /// The envelope's JSON, and what it proves.
    proof: Option<(Value, Verified)>,
}

/// Publishes a version.
///
/// # Errors
/// `identity-required`; `invalid-manifest` with the faults; `forbidden` when the manifest names another's key; `versionid-mismatch`; `bad-request` for bytes that are no
/// transaction; `onchain-mh-mismatch` when the transaction declares another manifest; `spv-verification-failed` with the
/// `reason`; `already-declared` when the version has another transaction, or the transaction another version; what the
/// database answers. Nothing is then changed.
pub async fn publish(app: &App, caller: &Caller, submission: Submission) -> Result<Published> {
    caller.may_write()?;
    app.takes_writes()?;
    let published = manifest::check(&submission.manifest).map_err(|faults| refused(&faults))?;
    caller.may_write_as(&published.producer.identity_key)?;
    let version_id = published.version_id;
    let tx = Transaction::parse(&submission.raw_tx)
        .map_err(|cause| Error::invalid(format!("`rawTx` is no transaction: {cause}")).hint("rawTx"))?;
    let vout = declared_output(&tx, version_id)?;
    let proof = match submission.evidence {
        Some(evidence) => {
            let envelope = enveloped(app, caller, tx.txid(), &submission.raw_tx, evidence).await?;
            Some(proven(app, caller, version_id, tx.txid(), envelope).await?)
        }
        None => None,
    };
    let (txid, kind, raw_tx) = (tx.txid(), DeclarationKind::of(&tx), encode_hex(&submission.raw_tx));
    let namespace = app.terms.lineage_namespace.clone();
    let mut told = own::published(&namespace, &published);
    let row = Row { version_id, txid, vout, kind, raw_tx, proof };
    let (is_new, token) = app
        .write("publish", move |tx| {
            Box::pin(async move {
                let is_new = import::publish(tx, &submission.manifest, published).await?;
                if store::declare(tx, &row).await?
                    && let Some((_, verified)) = &row.proof
                {
                    told.push(own::proven(&namespace, version_id, txid, verified, Utc::now()));
                }
                own::tell(tx, told).await?;
                Ok(is_new)
            })
        })
        .await?;
    Ok(Published { version_id, txid, kind, vout, is_new, token })
}

/// Puts a proof to a version that was declared before; answers what it proves. A version has one proof: a later one takes
/// the place of an earlier one, which a reorg may have made worthless.
///
/// # Errors
/// `identity-required`; `not-found` when the version is not declared; `forbidden` when it is another producer's; `spv-verification-failed` with the `reason`; what the
/// database answers. Nothing is then changed.
pub async fn attach(
    app: &App, caller: &Caller, version_id: VersionId, evidence: Evidence,
) -> Result<(Verified, Token)> {
    caller.may_write()?;
    app.takes_writes()?;
    may_prove(app, caller, version_id).await?;
    let declared = app.spv.declarations(&[version_id], i64::MAX).await?.and_then(|mut found| found.remove(&version_id));
    let declared = declared.ok_or_else(|| Error::not_found("no version of that id is declared"))?;
    let raw = store::raw_tx(&app.db, version_id).await?;
    let envelope = enveloped(app, caller, declared.txid, &raw, evidence).await?;
    let proof = proven(app, caller, version_id, declared.txid, envelope).await?;
    let (verified, txid, namespace) = (proof.1, declared.txid, app.terms.lineage_namespace.clone());
    let ((), token) = app
        .write("attach", move |tx| {
            Box::pin(async move {
                if store::attach(tx, version_id, &proof).await? {
                    let told = own::proven(&namespace, version_id, txid, &proof.1, Utc::now());
                    own::tell(tx, vec![told]).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok((verified, token))
}

/// Whether the caller may put a proof to a version: its producer may.
async fn may_prove(app: &App, caller: &Caller, version_id: VersionId) -> Result<()> {
    let absent = || Error::not_found("no version of that id is declared");
    let asset = app.assets.get_many(caller, &[version_id]).await?.pop().flatten().ok_or_else(absent)?;
    let producer = app.producers.get(caller, asset.producer_id.clone()).await?.ok_or_else(absent)?;
    caller.may_write_as(&producer.identity_key)
}

/// The envelope of a proof in whatever form: where it names its block by height or root alone, the best chain of this moment
/// says which block that is.
pub(super) async fn enveloped(
    app: &App, caller: &Caller, txid: Hash32, raw_tx: &[u8], evidence: Evidence,
) -> Result<Envelope> {
    let refused = |cause: IncomingError| not_proven("invalid-merkle-path", &cause.to_string());
    let incoming = match evidence {
        Evidence::Envelope(envelope) => return Ok(envelope),
        Evidence::Bump(bump) => Incoming::from_bump(&bump, txid, encode_hex(raw_tx)).map_err(refused)?,
        Evidence::Beef(beef) => Incoming::from_beef(&beef, Some(txid)).map_err(refused)?,
        Evidence::Tsc(tsc) if tsc.txid != txid => {
            return Err(not_proven("txid-mismatch-rawtx-vs-proof", "it is about another transaction"));
        }
        Evidence::Tsc(tsc) => Incoming::from_tsc(&tsc, Some(encode_hex(raw_tx))).map_err(refused)?,
    };
    let block = match incoming.block {
        ToldBlock::Height(height) => app.spv.at_heights(caller, &[height]).await?.pop().flatten(),
        ToldBlock::Root => app.spv.with_root(caller, incoming.proof.merkle_root).await?,
        ToldBlock::Named(_) => None,
    };
    let envelope = incoming.into_envelope(|_, _| block.as_ref().map(|block| block.hash));
    envelope.ok_or_else(|| not_proven("unknown-block-hash", "the best chain has no such block"))
}

/// The error of a proof that does not hold.
pub(super) fn not_proven(reason: &'static str, message: &str) -> Error {
    Error::new(Kind::Conflict, NOT_PROVEN, format!("the proof does not hold: {message}"))
        .hint(reason)
        .detail("reason", reason)
}

/// The output that declares `version_id`. A transaction that declares nothing may be published with, but proves nothing; one
/// that declares something else may not.
fn declared_output(tx: &Transaction, version_id: VersionId) -> Result<u32> {
    let other = |message: String| Error::new(Kind::Conflict, OTHER_MANIFEST, message);
    match Declaration::find(tx) {
        Ok(None) => Ok(0),
        Ok(Some((vout, declaration))) if declaration.manifest_hash == *version_id.as_bytes() => Ok(vout),
        Ok(Some((_, declaration))) => {
            let declared = VersionId::from_bytes(declaration.manifest_hash);
            Err(other(format!("the transaction declares {declared}, the manifest's hash is {version_id}")))
        }
        Err(cause) => Err(other(format!("the transaction's declaration cannot be read: {cause}"))),
    }
}

/// The envelope as it is stored, and what it proves against the best chain of this moment.
async fn proven(
    app: &App, caller: &Caller, version_id: VersionId, txid: Hash32, envelope: Envelope,
) -> Result<(Value, Verified)> {
    let refused = |flaw: Flaw| not_proven(flaw.code(), flaw.code());
    let (_, checked) = check(version_id, txid, &envelope).map_err(refused)?;
    let chain = app.spv.view(caller, [checked.block_hash]).await?;
    let verified = checked.against(&chain).map_err(|refusal| refused(Flaw::Refused(refusal)))?;
    Ok((serde_json::to_value(&envelope).map_err(Error::internal)?, verified))
}

fn refused(faults: &[Fault]) -> Error {
    if let [fault] = faults
        && fault.pointer == "/versionId"
    {
        return Error::new(Kind::Conflict, OTHER_ID, fault.to_string()).hint("versionId");
    }
    Fault::refusal(Kind::Unprocessable, "invalid-manifest", faults)
}
