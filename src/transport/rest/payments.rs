//! `/pay`, `/receipt` and `/payments`: buying, as its first clients do it.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use super::reply::with_token;
use super::{body, error, query};
use crate::app::App;
use crate::coherence::Token;
use crate::domain::caller::Caller;
use crate::domain::hex::decode_hex;
use crate::domain::receipts::Status;
use crate::domain::receipts::broadcast::Broadcast;
use crate::domain::receipts::split::QuotedOutput;
use crate::domain::whole::whole;
use crate::error::{Error, Result};
use crate::flows::receipts::{self, FEE_RATE_HINT, Quote, Sale};
use crate::transport::http::Served;

type Given = std::result::Result<Bytes, BytesRejection>;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/pay", post(pay))
        .route("/receipt", get(by_query))
        .route("/payments/quote", post(quote))
        .route("/payments/submit", post(submit))
        .route("/payments/{receipt_id}", get(by_path))
}

/// Times are seconds since 1970, as the first clients read them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    receipt_id: &'a str,
    version_id: VersionId,
    content_hash: &'a str,
    quantity: i64,
    amount_sat: i64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_txid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broadcast: Option<Broadcast>,
    created_at: i64,
    expires_at: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuoteBody<'a> {
    receipt_id: &'a str,
    version_id: VersionId,
    amount_sat: i64,
    outputs: &'a [QuotedOutput],
    /// Satoshis a byte.
    fee_rate_hint: f64,
    expires_at: i64,
    template_hash: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Purchase {
    version_id: String,
    #[serde(default = "one", deserialize_with = "whole")]
    quantity: i32,
}

fn one() -> i32 {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Which {
    receipt_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payment {
    receipt_id: String,
    /// Hex.
    raw_tx: String,
}

fn told(sale: &Sale) -> Response {
    let Sale { receipt, asset } = sale;
    let body = Body {
        receipt_id: &receipt.receipt_id,
        version_id: receipt.version_id,
        content_hash: &asset.content_hash,
        quantity: receipt.quantity,
        amount_sat: receipt.amount_sat,
        status: receipt.status,
        payment_txid: receipt.payment_txid.as_deref(),
        broadcast: receipt.broadcast,
        created_at: receipt.created_at.timestamp(),
        expires_at: receipt.expires_at.map(|end| end.timestamp()),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn written(outcome: Result<(Sale, Token)>) -> Response {
    match outcome {
        Ok((sale, token)) => with_token(told(&sale), &token),
        Err(error) => error::answer(&error),
    }
}

/// An identifier that nothing can have is of nothing.
fn named(id: String) -> Result<String> {
    let is_possible = (1..=200).contains(&id.len()) && !id.contains('\0');
    if is_possible { Ok(id) } else { Err(absent()) }
}

fn absent() -> Error {
    Error::not_found("there is no receipt of that id").hint("receiptId")
}

async fn pay(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Given,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let Purchase { version_id, quantity } = body::json(&headers, bytes)?;
        let version_id = query::id(&version_id, "versionId")?;
        receipts::create(&served.app, &caller, version_id, quantity, Utc::now()).await
    };
    written(outcome.await)
}

async fn quote(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Given,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let Which { receipt_id } = body::json(&headers, bytes)?;
        receipts::quote(&served.app, &caller, &named(receipt_id)?, Utc::now()).await
    };
    let (quote, token) = match outcome.await {
        Ok(quoted) => quoted,
        Err(error) => return error::answer(&error),
    };
    let Quote { receipt, outputs, template_hash, expires_at } = &quote;
    let body = QuoteBody {
        receipt_id: &receipt.receipt_id,
        version_id: receipt.version_id,
        amount_sat: receipt.amount_sat,
        outputs,
        fee_rate_hint: FEE_RATE_HINT,
        expires_at: expires_at.timestamp(),
        template_hash,
    };
    with_token(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response(), &token)
}

async fn submit(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Given,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let Payment { receipt_id, raw_tx } = body::json(&headers, bytes)?;
        let raw = decode_hex(&raw_tx).map_err(|cause| Error::invalid(format!("`rawTx`: {cause}")).hint("rawTx"))?;
        receipts::submit(&served.app, &caller, &named(receipt_id)?, &raw, Utc::now()).await
    };
    written(outcome.await)
}

async fn by_query(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(text): RawQuery,
) -> Response {
    let given = query::read(text.as_deref().unwrap_or_default(), &["receiptId"]);
    match given.map(|mut given| given.remove("receiptId")) {
        Ok(Some(id)) => read(&served.app, &caller, id).await,
        Ok(None) => error::answer(&Error::invalid("`receiptId` must be given").hint("receiptId")),
        Err(error) => error::answer(&error),
    }
}

async fn by_path(
    State(served): State<Served>, Extension(caller): Extension<Caller>,
    id: std::result::Result<Path<String>, PathRejection>,
) -> Response {
    match id {
        Ok(Path(id)) => read(&served.app, &caller, id).await,
        Err(_) => error::answer(&absent()),
    }
}

async fn read(app: &App, caller: &Caller, id: String) -> Response {
    let outcome = async { receipts::sale(app, caller, &named(id)?).await?.ok_or_else(absent) };
    match outcome.await {
        Ok(sale) => told(&sale),
        Err(error) => error::answer(&error),
    }
}
