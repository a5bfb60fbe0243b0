//! Manifests and declarations of the old schema.

use overlay_entity::ids::VersionId;
use serde_json::{Value, json};

use super::cells::{Reader, Row};
use super::tables::Shape;
use super::{Context, Need, Ready};
use crate::domain::assets::manifest;
use crate::domain::spv::declared::check;
use crate::domain::spv::{Declaration, DeclarationKind, Envelope, Flaw, Hash32, Transaction};
use crate::flows::import::Checked;

pub(super) const DECLARATIONS: Shape = Shape {
    table: "declarations",
    key: &["version_id"],
    columns: &[
        ("version_id", "text"),
        ("txid", "text"),
        ("vout", "integer"),
        ("kind", "text"),
        ("raw_tx", "text"),
        ("envelope", "jsonb"),
        ("block_hash", "text"),
        ("block_height", "integer"),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
    ],
    loose: &["created_at", "updated_at"],
};

/// A manifest is checked as one that is published: its identifier is its hash, and all that it says follows from it.
pub(super) fn manifest(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let (id, manifest) = (from.version("version_id"), from.document("manifest_json", crate::flows::import::MAX_LINE));
    let (id, manifest) = from.end(|| id.zip(manifest))?;
    let published = manifest::check(&manifest).map_err(|f| f.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if published.version_id != id {
        return Err(vec![format!("version_id: the manifest's hash is {}", published.version_id)]);
    }
    Ok(Ready::version(Checked { line: 0, text: Vec::new(), published, manifest }))
}

pub(super) fn declaration(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let id = from.version("version_id");
    let (mut txid, mut raw) = (from.hex("txid", Some(64)), from.hex("raw_tx", None));
    let kind = from.text(&["type"]).map_or_else(|| "UNKNOWN".to_owned(), |kind| kind.to_ascii_uppercase());
    let vout = from.whole("opret_vout", 0, i32::MAX.into());
    let (hash, height) = (from.hex("block_hash", Some(64)), from.whole("height", 0, i32::MAX.into()));
    let created = from.instant_of("created_at");
    let envelope = match (id, envelope(&mut from, &mut raw, &mut txid)) {
        (Some(id), Ok(Some((envelope, txid)))) => proven(id, txid, &envelope),
        (_, Ok(_)) => Ok(None),
        (_, Err(reason)) => Err(reason),
    };
    let output = match &raw {
        Some(raw) => id.and_then(|id| declared(&mut from, id, raw, &mut txid)),
        None if ["DLM1", "TRN1", "UNKNOWN"].contains(&kind.as_str()) => Some((vout.unwrap_or(0), kind)),
        None => {
            from.fault("type: must be DLM1, TRN1 or UNKNOWN");
            None
        }
    };
    if txid.is_none() {
        from.fault("txid: is missing, and so is the transaction");
    }
    from.end(|| {
        let (id, (vout, kind), created) = (id?, output?, created?);
        let (envelope, proven_in, remark) = match envelope {
            Ok(Some((envelope, block))) => (Some(envelope), Some(block), None),
            Ok(None) => (None, None, None),
            Err(reason) => (None, None, Some(format!("taken over without its proof: {reason}"))),
        };
        let row = json!({"version_id": id, "txid": txid?, "vout": vout, "kind": kind, "raw_tx": raw, "envelope": envelope,
            "block_hash": proven_in.map(|block| block.to_string()).or(hash), "block_height": height,
            "created_at": created, "updated_at": created});
        Some(Ready { remark, ..Ready::row(id.to_string(), row).needs(Need::Version(id)) })
    })
}

/// The stored proof, if it is of the form of one. The transaction may be in it alone, or beside it alone.
fn envelope(
    from: &mut Reader<'_>, raw: &mut Option<String>, txid: &mut Option<String>,
) -> Result<Option<(Envelope, Hash32)>, String> {
    let Some(text) = from.text(&["proof_json"]) else { return Ok(None) };
    let mut value: Value = serde_json::from_str(&text).map_err(|cause| format!("proof_json: not JSON: {cause}"))?;
    if let (Some(fields), Some(raw)) = (value.as_object_mut(), &raw) {
        fields.entry("rawTx").or_insert_with(|| raw.as_str().into());
    }
    let envelope: Envelope = serde_json::from_value(value).map_err(|cause| format!("proof_json: {cause}"))?;
    let of = envelope.proof.txid;
    raw.get_or_insert_with(|| envelope.raw_tx.to_ascii_lowercase());
    txid.get_or_insert_with(|| of.to_string());
    Ok(Some((envelope, txid.as_deref().and_then(|txid| txid.parse().ok()).unwrap_or(of))))
}

/// The envelope as it is kept, and its block; or why it proves nothing. Whether the best chain has the block is asked when it is
/// read.
fn proven(id: VersionId, txid: Hash32, envelope: &Envelope) -> Result<Option<(Value, Hash32)>, String> {
    let (_, checked) = check(id, txid, envelope).map_err(|flaw: Flaw| flaw.code().to_owned())?;
    let value = serde_json::to_value(envelope).map_err(|cause| cause.to_string())?;
    Ok(Some((value, checked.block_hash)))
}

/// What the transaction itself says: the output that declares, and its kind.
fn declared(from: &mut Reader<'_>, id: VersionId, raw: &str, txid: &mut Option<String>) -> Option<(i64, String)> {
    let tx = match Transaction::from_hex(raw) {
        Ok(tx) => tx,
        Err(cause) => {
            from.fault(format!("raw_tx: {cause}"));
            return None;
        }
    };
    let is = tx.txid().to_string();
    if *txid.get_or_insert_with(|| is.clone()) != is {
        from.fault(format!("txid: the transaction's is {is}"));
    }
    match Declaration::find(&tx) {
        Ok(None) => Some((0, DeclarationKind::of(&tx).as_str().to_owned())),
        Ok(Some((vout, said))) if said.manifest_hash == *id.as_bytes() => Some((vout.into(), "DLM1".to_owned())),
        Ok(Some((_, said))) => {
            from.fault(format!("raw_tx: declares version {}", VersionId::from_bytes(said.manifest_hash)));
            None
        }
        Err(cause) => {
            from.fault(format!("raw_tx: {cause}"));
            None
        }
    }
}
