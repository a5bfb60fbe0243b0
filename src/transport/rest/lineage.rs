//! Where OpenLineage clients send their events: `POST /api/v1/lineage`, as they are configured to; `/api/v1/lineage/batch`
//! for many at once, answered as the specification's `OpenLineage.yml` says; `/openlineage/ingest` takes either.
//!
//! Clients send again what is answered with 5xx, and nothing else. So 503 says that nothing was kept, and 4xx that to send it
//! again would not help: by then it is a dead letter.

use std::io::Read as _;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::reply::with_token;
use super::{body, error};
use crate::coherence::Token;
use crate::domain::Fault;
use crate::error::{Error, Kind, Result};
use crate::flows::lineage::{Outcome, record, refuse};
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
}

type Body = std::result::Result<Bytes, BytesRejection>;

/// What is sent to a route.
#[derive(Clone, Copy)]
enum Form {
    One,
    Many,
    Either,
}

async fn one(State(served): State<Served>, headers: HeaderMap, body: Body) -> Response {
    taken(&served, &headers, body, Form::One).await
}

async fn many(State(served): State<Served>, headers: HeaderMap, body: Body) -> Response {
    taken(&served, &headers, body, Form::Many).await
}

async fn either(State(served): State<Served>, headers: HeaderMap, body: Body) -> Response {
    taken(&served, &headers, body, Form::Either).await
}

async fn taken(served: &Served, headers: &HeaderMap, body: Body, form: Form) -> Response {
    let text = match read(served, headers, body).await {
        Ok(Ok(text)) => text,
        Ok(Err(lossy)) => return no_text(served, &lossy).await,
        Err(error) => return error::answer(&error),
    };
    match form {
        Form::Many => batch(served, &text).await,
        Form::Either if text.trim_start().starts_with('[') => batch(served, &text).await,
        Form::One | Form::Either => single(served, &text).await,
    }
}

/// The body of a request of somebody who may send events.
async fn read(served: &Served, headers: &HeaderMap, given: Body) -> Result<Result<String, String>> {
    caller::may_ingest(served, headers)?;
    body::is_json(headers)?;
    let bytes = given.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Error::invalid("the body cannot be read"),
    })?;
    let bytes = unpacked(headers, bytes, served.http.ingest.body_limit).await?;
    Ok(String::from_utf8(bytes.into()).map_err(|text| String::from_utf8_lossy(text.as_bytes()).into_owned()))
}

fn too_large() -> Error {
    Error::new(Kind::PayloadTooLarge, "payload-too-large", "the body is too large; see INGEST_BODY_LIMIT")
}

/// The body without its packing, if it has one; `limit` bytes at most.
async fn unpacked(headers: &HeaderMap, bytes: Bytes, limit: usize) -> Result<Bytes> {
    let coding = headers.get(header::CONTENT_ENCODING).map_or(&b"identity"[..], |coding| coding.as_bytes());
    if coding.eq_ignore_ascii_case(b"identity") {
        return Ok(bytes);
    }
    if !coding.eq_ignore_ascii_case(b"gzip") && !coding.eq_ignore_ascii_case(b"x-gzip") {
        let message = "`Content-Encoding` must be `gzip`, or not be there";
        return Err(Error::new(Kind::UnsupportedMediaType, "unsupported-media-type", message));
    }
    let unpack = move || {
        let mut unpacked = Vec::new();
        // One byte more than there may be says that there are more.
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        MultiGzDecoder::new(&bytes[..]).take(most).read_to_end(&mut unpacked).map(|_size| unpacked)
    };
    // It may take longer than others should wait for this thread.
    let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(Error::internal)?;
    let unpacked = unpacked.map_err(|_| Error::invalid("the body cannot be unpacked: it is no gzip, or is cut off"))?;
    if unpacked.len() > limit { Err(too_large()) } else { Ok(unpacked.into()) }
}

/// What is answered to one who sent no UTF-8, and so no JSON.
async fn no_text(served: &Served, text: &str) -> Response {
    let fault = Fault { pointer: String::new(), rule: "must be JSON in UTF-8".into() };
    let faults = [fault];
    match refuse(&served.app, text, &faults).await {
        Ok(()) => error::answer(&Fault::refusal(Kind::Invalid, "invalid-event", &faults)),
        Err(error) => error::answer(&error),
    }
}

async fn single(served: &Served, text: &str) -> Response {
    match record(&served.app, &[text]).await.map(|(outcomes, token)| (outcomes.into_iter().next(), token)) {
        // 400 for what is no JSON, 422 for JSON that is no event.
        Ok((Some(Outcome::Refused(kind, faults)), _)) => error::answer(&Fault::refusal(kind, "invalid-event", &faults)),
        Ok((_, token)) => named((StatusCode::CREATED, Json(json!({"status": "success"}))).into_response(), token),
        Err(error) => error::answer(&error),
    }
}

/// An answer with the token of the write, if there was one.
fn named(answer: Response, token: Option<Token>) -> Response {
    match token {
        Some(token) => with_token(answer, &token),
        None => answer,
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
    let (outcomes, token) = match record(&served.app, &texts).await {
        Ok(told) => told,
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
    named(Json(Report { status, summary, failed_events }).into_response(), token)
}
