//! `/bundle`: an ancestry with its proofs, as its first clients know it. What they do not know is said in headers.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::get;
use overlay_entity::ids::VersionId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error;
use super::query;
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::domain::spv::{Bump, Hash32, Verified, encode_hex};
use crate::error::{Error, Result};
use crate::flows::bundle::{self, Bundle, Node};
use crate::transport::answer::{Hold, finish};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/bundle", get(answer))
}

const PARAMETERS: [&str; 3] = ["versionId", "depth", "format"];

/// `complete`, or `cut` when the depth leaves ancestors out: then no client may take the bundle for the whole ancestry.
pub(in crate::transport) const COMPLETENESS: HeaderName = HeaderName::from_static("overlay-bundle");

/// The versions whose parents are left out.
pub(in crate::transport) const CUT_AT: HeaderName = HeaderName::from_static("overlay-bundle-cut-at");

/// Most versions named in a header; proxies refuse headers beyond a few kilobytes.
const MOST_NAMED: usize = 30;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    bundle_type: &'static str,
    target: VersionId,
    graph: Graph<'a>,
    manifests: Vec<Manifest<'a>>,
    proofs: Vec<Proof>,
}

#[derive(Serialize)]
struct Graph<'a> {
    nodes: Vec<GraphNode<'a>>,
    edges: Vec<Edge>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GraphNode<'a> {
    version_id: VersionId,
    manifest_hash: &'a str,
    txo: String,
}

#[derive(Serialize)]
struct Edge {
    child: VersionId,
    parent: VersionId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    manifest_hash: &'a str,
    manifest: &'a crate::domain::Document,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    version_id: VersionId,
    envelope: Box<RawValue>,
}

#[derive(Serialize)]
struct Paths {
    target: VersionId,
    bumps: Vec<BlockPath>,
    versions: Vec<Declaring>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockPath {
    block_hash: Hash32,
    block_height: u32,
    merkle_root: Hash32,
    bump: String,
    txids: Vec<Hash32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaring {
    version_id: VersionId,
    txid: Hash32,
}

async fn answer(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    match outcome(&served, &caller, query.as_deref().unwrap_or_default()).await {
        Ok((content_type, bytes, cut)) => dressed(content_type, bytes, &cut, caller),
        Err(error) => error::answer(&error),
    }
}

async fn outcome(served: &Served, caller: &Caller, query: &str) -> Result<(&'static str, Vec<u8>, Vec<VersionId>)> {
    let given = query::read(query, &PARAMETERS)?;
    let target = query::version_id(&given, "versionId")?;
    let depth = bundle::depth(&served.app, query::number(&given, "depth", 0, u32::MAX)?)?;
    let format = given.get("format").map_or("json", String::as_str);
    if !["json", "beef", "bump"].contains(&format) {
        return Err(Error::invalid("`format` must be json, beef or bump").hint("format"));
    }
    let bundle = bundle::bundle(&served.app, caller, target, depth).await?;
    let (content_type, bytes) = match format {
        "beef" => ("application/octet-stream", bundle.beef()?),
        "bump" => ("application/json", bumps(target, &bundle)?),
        _ => ("application/json", body(target, &bundle)?),
    };
    Ok((content_type, bytes, bundle.structure.cut()))
}

fn dressed(content_type: &'static str, bytes: Vec<u8>, cut: &[VersionId], caller: Caller) -> Response {
    let mut response = finish(content_type, bytes, caller, Consistency::Bounded, Hold::Ask, None);
    let word = if cut.is_empty() { "complete" } else { "cut" };
    response.headers_mut().insert(COMPLETENESS, HeaderValue::from_static(word));
    if !cut.is_empty() {
        let mut named: Vec<String> = cut.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        if cut.len() > MOST_NAMED {
            named.push(format!("+{}", cut.len() - MOST_NAMED));
        }
        if let Ok(value) = HeaderValue::try_from(named.join(",")) {
            response.headers_mut().insert(CUT_AT, value);
        }
    }
    response
}

fn body(target: VersionId, bundle: &Bundle) -> Result<Vec<u8>> {
    let mut graph_nodes = Vec::with_capacity(bundle.verified.len());
    let mut manifests = Vec::with_capacity(bundle.verified.len());
    let mut proofs = Vec::with_capacity(bundle.verified.len());
    for (node, verified) in bundle.structure.nodes.iter().zip(&bundle.verified) {
        let (version_id, published) = (node.version.version_id, node.version.published.as_ref());
        let published = published.ok_or_else(|| Error::internal("a complete bundle has all manifests"))?;
        let vout = node.declared.as_ref().map_or(0, |declared| declared.vout);
        let manifest_hash = published.manifest_hash.as_str();
        graph_nodes.push(GraphNode { version_id, manifest_hash, txo: format!("{}:{vout}", verified.txid) });
        manifests.push(Manifest { manifest_hash, manifest: &published.manifest });
        proofs.push(Proof { version_id, envelope: live(node, verified)? });
    }
    let edges = bundle.structure.edges().into_iter().map(|(child, parent)| Edge { child, parent }).collect();
    let body = Body {
        bundle_type: "datasetLineageBundle",
        target,
        graph: Graph { nodes: graph_nodes, edges },
        manifests,
        proofs,
    };
    serde_json::to_vec(&body).map_err(Error::internal)
}

/// The paths alone, one for each block.
fn bumps(target: VersionId, bundle: &Bundle) -> Result<Vec<u8>> {
    let mut by_block: BTreeMap<u32, (&Verified, Vec<Bump>)> = BTreeMap::new();
    for ((_, bump), verified) in bundle.bumps()?.into_iter().zip(&bundle.verified) {
        by_block.entry(verified.block_height).or_insert((verified, Vec::new())).1.push(bump);
    }
    let block = |(verified, bumps): (&Verified, Vec<Bump>)| {
        let merged = Bump::merge(bumps).map_err(Error::internal)?;
        Ok(BlockPath {
            block_hash: verified.block_hash,
            block_height: verified.block_height,
            merkle_root: verified.merkle_root,
            bump: encode_hex(&merged.to_bytes()),
            txids: merged.txids().collect(),
        })
    };
    let versions = bundle.structure.nodes.iter().zip(&bundle.verified);
    let versions =
        versions.map(|(node, verified)| Declaring { version_id: node.version.version_id, txid: verified.txid });
    let body = Paths {
        target,
        bumps: by_block.into_values().map(block).collect::<Result<_>>()?,
        versions: versions.collect(),
    };
    serde_json::to_vec(&body).map_err(Error::internal)
}

/// The envelope with its confirmations of this moment.
fn live(node: &Node, verified: &Verified) -> Result<Box<RawValue>> {
    let envelope = node.declared.as_ref().and_then(|declared| declared.envelope.as_ref());
    let text = envelope.and_then(|envelope| envelope.text().strip_suffix('}'));
    let text = text.ok_or_else(|| Error::internal("a proof that holds has an envelope"))?;
    let text = format!("{text},\"confirmations\":{}}}", verified.confirmations);
    RawValue::from_string(text).map_err(Error::internal)
}
