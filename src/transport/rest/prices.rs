//! `/price`: what a version costs, and the rules that say so.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use super::reply::with_token;
use super::{body, error, query};
use crate::coherence::Token;
use crate::domain::caller::Caller;
use crate::domain::prices::RuleSource;
use crate::domain::whole::whole;
use crate::error::{Error, Result};
use crate::flows::prices::{self, PriceQuote, Rule, Scope};
use crate::transport::http::Served;

type Given = std::result::Result<Bytes, BytesRejection>;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/price", get(price).post(set_price)).route("/price/rules", post(set_rule).delete(remove_rule))
}

/// The price of one unit, as its first clients know it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    version_id: VersionId,
    content_hash: &'a str,
    satoshis: i64,
    /// Seconds since 1970.
    expires_at: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Many<'a> {
    version_id: VersionId,
    content_hash: &'a str,
    unit_satoshis: i64,
    quantity: i32,
    total_satoshis: i64,
    rule_source: RuleSource,
    tier_from: i32,
    /// Seconds since 1970.
    expires_at: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPrice {
    version_id: String,
    #[serde(deserialize_with = "whole")]
    satoshis: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewRule {
    #[serde(default)]
    version_id: Option<String>,
    #[serde(default)]
    producer_id: Option<String>,
    #[serde(default = "one", deserialize_with = "whole")]
    tier_from: i32,
    #[serde(deserialize_with = "whole")]
    satoshis: i64,
}

fn one() -> i32 {
    1
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    rule_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<VersionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer_id: Option<&'a str>,
    tier_from: i32,
    satoshis: i64,
}

async fn price(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(text): RawQuery,
) -> Response {
    let outcome = async {
        let given = query::read(text.as_deref().unwrap_or_default(), &["versionId", "quantity"])?;
        let id = query::version_id(&given, "versionId")?;
        let quantity = query::number(&given, "quantity", 1, i32::MAX as u32)?.map(|n| n as i32);
        let quote = prices::quote(&served.app, &caller, id, quantity.unwrap_or(1), Utc::now()).await?;
        Ok((quote.ok_or_else(|| Error::not_found("no version of that id is published"))?, quantity.is_some()))
    };
    match outcome.await {
        Ok((quote, is_of_many)) => told(&quote, is_of_many),
        Err(error) => error::answer(&error),
    }
}

fn told(quote: &PriceQuote, is_of_many: bool) -> Response {
    let PriceQuote { asset, quantity, unit, total, expires_at } = quote;
    let (version_id, content_hash, expires_at) =
        (asset.version_id, asset.content_hash.as_str(), expires_at.timestamp());
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    if !is_of_many {
        return (no_store, Json(One { version_id, content_hash, satoshis: unit.satoshis, expires_at })).into_response();
    }
    let many = Many {
        version_id,
        content_hash,
        unit_satoshis: unit.satoshis,
        quantity: *quantity,
        total_satoshis: *total,
        rule_source: unit.source,
        tier_from: unit.tier_from,
        expires_at,
    };
    (no_store, Json(many)).into_response()
}

/// The price of one unit of a version.
async fn set_price(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Given,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let NewPrice { version_id, satoshis } = body::json(&headers, bytes)?;
        let scope = Scope::Version(query::id(&version_id, "versionId")?);
        prices::set(&served.app, &caller, scope, 1, satoshis).await
    };
    written(outcome.await)
}

async fn set_rule(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Given,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let NewRule { version_id, producer_id, tier_from, satoshis } = body::json(&headers, bytes)?;
        let version_id = version_id.map(|id| query::id(&id, "versionId")).transpose()?;
        prices::set(&served.app, &caller, Scope::of(version_id, producer_id)?, tier_from, satoshis).await
    };
    written(outcome.await)
}

async fn remove_rule(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(text): RawQuery,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let mut given = query::read(text.as_deref().unwrap_or_default(), &["versionId", "producerId", "tierFrom"])?;
        let tier_from = query::number(&given, "tierFrom", 1, i32::MAX as u32)?.map_or(1, |n| n as i32);
        let version_id = given.remove("versionId").map(|id| query::id(&id, "versionId")).transpose()?;
        let scope = Scope::of(version_id, given.remove("producerId"))?;
        prices::remove(&served.app, &caller, scope, tier_from).await
    };
    match outcome.await {
        Ok(token) => with_token(StatusCode::NO_CONTENT.into_response(), &token),
        Err(error) => error::answer(&error),
    }
}

fn written(outcome: Result<(Rule, Token)>) -> Response {
    let (rule, token) = match outcome {
        Ok(written) => written,
        Err(error) => return error::answer(&error),
    };
    let (version_id, producer_id) = match &rule.scope {
        Scope::Version(id) => (Some(*id), None),
        Scope::Producer(id) => (None, Some(id.as_str())),
    };
    let Rule { rule_id, tier_from, satoshis, .. } = &rule;
    let kept = Kept { rule_id, version_id, producer_id, tier_from: *tier_from, satoshis: *satoshis };
    with_token(([(header::CACHE_CONTROL, "no-store")], Json(kept)).into_response(), &token)
}
