//! `POST /submit`: publishing, as its first clients do it.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body;
use super::error;
use super::reply::with_token;
use crate::domain::assets::manifest::SCHEMA;
use crate::domain::caller::Caller;
use crate::domain::spv::{Beef, Bump, Hash32, TscProof, decode_hex};
use crate::error::{Error, Result};
use crate::flows::publish::{self, Evidence, Published, Submission};
use crate::transport::http::{Served, typed};

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/submit", post(submit)).route("/manifest.schema.json", get(schema))
}

/// What a manifest must be, for whoever writes one.
async fn schema() -> Response {
    typed("application/schema+json", SCHEMA)
}

/// Most topics, and the longest, characters.
const MAX_TOPICS: usize = 100;
const MAX_TOPIC: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    raw_tx: String,
    manifest: Value,
    /// An envelope, a TSC proof, or the hex of a BUMP.
    #[serde(default)]
    suggested_envelope: Option<Value>,
    /// Hex.
    #[serde(default)]
    beef: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: &'static str,
    txid: Hash32,
    version_id: VersionId,
    #[serde(rename = "type")]
    kind: &'static str,
    vout: u32,
    topics: Vec<String>,
}

async fn submit(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    bytes: std::result::Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        // Before anything is read: whoever may not write learns nothing about what would be wrong.
        caller.may_write()?;
        let (submission, topics) = read(&headers, bytes)?;
        Ok((publish::publish(&served.app, &caller, submission).await?, topics))
    };
    match outcome.await {
        Ok((published, topics)) => answer(&published, topics),
        Err(error) => error::answer(&error),
    }
}

fn read(headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>) -> Result<(Submission, Vec<String>)> {
    let Body { raw_tx, manifest, suggested_envelope, beef, topics } = body::json(headers, bytes)?;
    if topics.len() > MAX_TOPICS || topics.iter().any(|topic| topic.chars().count() > MAX_TOPIC) {
        let message = format!("`topics` are at most {MAX_TOPICS}, of at most {MAX_TOPIC} characters each");
        return Err(Error::invalid(message).hint("topics"));
    }
    let raw_tx = decode_hex(&raw_tx).map_err(|cause| Error::invalid(format!("`rawTx`: {cause}")).hint("rawTx"))?;
    let evidence = match (suggested_envelope, beef) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("`suggestedEnvelope` and `beef` exclude each other").hint("beef"));
        }
        (Some(envelope), None) => Some(evidence(envelope)?),
        (None, Some(beef)) => {
            let refused = |cause| Error::invalid(format!("`beef`: {cause}")).hint("beef");
            Some(Evidence::Beef(Beef::from_hex(&beef).map_err(refused)?))
        }
        (None, None) => None,
    };
    Ok((Submission { raw_tx, manifest, evidence }, topics))
}

/// A text is a BUMP, an object with `nodes` a TSC proof, any other object an envelope.
fn evidence(value: Value) -> Result<Evidence> {
    let refused = |cause: &dyn std::fmt::Display| {
        Error::invalid(format!("`suggestedEnvelope`: {cause}")).hint("suggestedEnvelope")
    };
    match value {
        Value::String(hex) => Bump::from_hex(&hex).map(Evidence::Bump).map_err(|cause| refused(&cause)),
        value if value.get("nodes").is_some() => {
            TscProof::from_json(&value.to_string()).map(Evidence::Tsc).map_err(|cause| refused(&cause))
        }
        value => serde_json::from_value(value).map(Evidence::Envelope).map_err(|cause| refused(&cause)),
    }
}

fn answer(published: &Published, topics: Vec<String>) -> Response {
    let body = Answer {
        status: "success",
        txid: published.txid,
        version_id: published.version_id,
        kind: published.kind.as_str(),
        vout: published.vout,
        topics,
    };
    with_token(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response(), &published.token)
}
