//! The routes by which stock verifiers ask a header service about the best chain, so that ours can be one.
//!
//! Shapes as the Block Headers Service and its clients have them.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::{body, error};
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::domain::spv::Hash32;
use crate::domain::whole::whole;
use crate::error::{Error, Result};
use crate::transport::answer::{Hold, finish};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/api/v1/chain/merkleroot/verify", post(verify)).route("/api/v1/chain/tip/longest", get(tip))
}

/// Most roots of a request.
const MAX_ROOTS: usize = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    merkle_root: Hash32,
    #[serde(deserialize_with = "whole")]
    block_height: u32,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Standing {
    Confirmed,
    /// Above the tip: nobody can tell yet.
    UnableToVerify,
    Invalid,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    /// Of the block at that height, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    block_hash: Option<Hash32>,
    block_height: u32,
    merkle_root: Hash32,
    confirmation: Standing,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdicts {
    /// The worst of all.
    confirmation_state: Standing,
    confirmations: Vec<Verdict>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tip {
    hash: Hash32,
    height: u32,
    merkle_root: Hash32,
    state: &'static str,
}

async fn verify(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    bytes: std::result::Result<Bytes, BytesRejection>,
) -> Response {
    match verdicts(&served, &caller, &headers, bytes).await {
        Ok(verdicts) => ([(header::CACHE_CONTROL, "no-store")], Json(verdicts)).into_response(),
        Err(error) => error::answer(&error),
    }
}

async fn verdicts(
    served: &Served, caller: &Caller, headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>,
) -> Result<Verdicts> {
    let claims: Vec<Claim> = body::list(headers, bytes)?;
    if claims.is_empty() || claims.len() > MAX_ROOTS {
        return Err(Error::invalid(format!("the body must be a list of 1 to {MAX_ROOTS} roots")));
    }
    let mut heights: Vec<u32> = claims.iter().map(|claim| claim.block_height).collect();
    heights.sort_unstable();
    heights.dedup();
    let blocks = served.app.spv.at_heights(caller, &heights).await?;
    let verdict = |claim: Claim| {
        let block = heights.binary_search(&claim.block_height).ok().and_then(|at| blocks[at].as_ref());
        let confirmation = match block {
            Some(block) if block.merkle_root == claim.merkle_root => Standing::Confirmed,
            Some(_) => Standing::Invalid,
            None => Standing::UnableToVerify,
        };
        let Claim { merkle_root, block_height } = claim;
        Verdict { block_hash: block.map(|block| block.hash), block_height, merkle_root, confirmation }
    };
    let confirmations: Vec<Verdict> = claims.into_iter().map(verdict).collect();
    let worst = confirmations.iter().map(|verdict| verdict.confirmation).max();
    Ok(Verdicts { confirmation_state: worst.unwrap_or(Standing::Confirmed), confirmations })
}

async fn tip(State(served): State<Served>, Extension(caller): Extension<Caller>) -> Response {
    let outcome = async {
        let tip = served.app.spv.tip(&caller).await?;
        let tip = tip.ok_or_else(|| Error::not_found("no header is known; see HEADERS_SOURCE"))?;
        let (hash, height, merkle_root) = (tip.hash, tip.height, tip.merkle_root);
        serde_json::to_vec(&Tip { hash, height, merkle_root, state: "LONGEST_CHAIN" }).map_err(Error::internal)
    };
    match outcome.await {
        Ok(bytes) => finish("application/json", bytes, caller, Consistency::Bounded, Hold::Ask, None),
        Err(error) => error::answer(&error),
    }
}
