//! Where OpenLineage clients send their events: `POST /api/v1/lineage`, as they are configured to; `/api/v1/lineage/batch`
//! for many at once, answered as the specification's `OpenLineage.yml` says; `/openlineage/ingest` takes either.
//!
//! Clients send again what is answered with 5xx, and nothing else. So 503 says that nothing was kept, and 4xx that to send it
//! again would not help: by then it is a dead letter.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tower_http::decompression::RequestDecompressionLayer;

use super::{body, error};
use crate::domain::Fault;
use crate::error::{Error, Kind, Result};
use crate::flows::lineage::{Outcome, record};
use crate::transport::caller;
use crate::transport::http::Served;

/// Most events of a batch.
const MOST: usize = 10_000;

/// The routes; a body may be of `limit` bytes, unpacked.
pub(in crate::transport) fn routes(limit: usize) -> Router<Served> {
    Router::new()
        .route("/api/v1/lineage", post(one))
        .route("/api/v1/lineage/batch", post(many))
        .route("/openlineage/ingest", post(either))
        .layer(DefaultBodyLimit::max(limit))
        .layer(RequestDecompressionLayer::new())
}

type Body = std::result::Result<Bytes, BytesRejection>;

async fn one(State(served): State<Served>, headers: HeaderMap, body: Body) -> Response {
    match read(&served, &headers, body) {
        Ok(text) => single(&served, &text).await,
        Err(error) => error::answer(&error),
    }
}

async fn many(State(served): State<Served>, headers: HeaderMap, body: Body) -> Response {
    match read(&served, &headers, body) {
        Ok(text) => batch(&served, &text).await,
        Err(error) => error::answer(&error),
    }
}

async fn either(State(served): State<Served>, headers: HeaderMap, body: Body) -> Response {
    match read(&served, &headers, body) {
        Ok(text) if text.trim_start().starts_with('[') => batch(&served, &text).await,
        Ok(text) => single(&served, &text).await,
        Err(error) => error::answer(&error),
    }
}

/// The body of a request of somebody who may send events. What is not UTF-8 is no JSON, and is kept as far as it can be read.
fn read(served: &Served, headers: &HeaderMap, given: Body) -> Result<String> {
    caller::may_ingest(served, headers)?;
    body::is_json(headers)?;
    let bytes = given.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("{}; see INGEST_BODY_LIMIT", refused.body_text());
            Error::new(Kind::PayloadTooLarge, "payload-too-large", message)
        }
        _ => Error::invalid("the body cannot be read, or not be unpacked"),
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn single(served: &Served, text: &str) -> Response {
    match record(&served.app, &[text]).await.map(|outcomes| outcomes.into_iter().next()) {
        // 400 for what is no JSON, 422 for JSON that is no event.
        Ok(Some(Outcome::Refused(kind, faults))) => error::answer(&Fault::refusal(kind, "invalid-event", &faults)),
        Ok(_) => (StatusCode::CREATED, Json(json!({"status": "success"}))).into_response(),
        Err(error) => error::answer(&error),
    }
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    summary: Summary,
    failed_events: Vec<Failed>,
}

#[derive(Serialize)]
struct Summary {
    received: usize,
    successful: usize,
    failed: usize,
    retriable: usize,
    non_retriable: usize,
}

#[derive(Serialize)]
struct Failed {
    index: usize,
    reason: String,
    retriable: bool,
}

async fn batch(served: &Served, text: &str) -> Response {
    let Ok(events) = serde_json::from_str::<Vec<&RawValue>>(text) else {
        // Whatever it is, it is no list: kept as what it is.
        return single(served, text).await;
    };
    if events.len() > MOST {
        let message = format!("a batch has at most {MOST} events");
        return error::answer(&Error::new(Kind::PayloadTooLarge, "payload-too-large", message));
    }
    let texts: Vec<&str> = events.iter().map(|event| event.get()).collect();
    let outcomes = match record(&served.app, &texts).await {
        Ok(outcomes) => outcomes,
        Err(error) => return error::answer(&error),
    };
    let failed = outcomes.iter().enumerate().filter_map(|(index, outcome)| match outcome {
        Outcome::Refused(_, faults) => Some(Failed { index, reason: Fault::told(faults), retriable: false }),
        Outcome::Kept | Outcome::Known => None,
    });
    let failed_events: Vec<Failed> = failed.collect();
    let (received, failed) = (outcomes.len(), failed_events.len());
    let summary = Summary { received, successful: received - failed, failed, retriable: 0, non_retriable: failed };
    let status = if failed == 0 { "success" } else { "partial_success" };
    Json(Report { status, summary, failed_events }).into_response()
}
