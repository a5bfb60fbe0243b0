//! `/ready`: whether a version may be used, with what stands in the way.

use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use overlay_entity::ids::VersionId;
use serde::Serialize;

use super::error;
use super::query;
use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flows::ready::{self, Readiness};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/ready", get(by_query))
}

const PARAMETERS: [&str; 3] = ["versionId", "policyId", "minConfs"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    ready: bool,
    reason: Option<&'static str>,
    /// The version that the reason is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<VersionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<u32>,
}

async fn by_query(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    let outcome = async {
        let given = query::read(query.as_deref().unwrap_or_default(), &PARAMETERS)?;
        let target = query::version_id(&given, "versionId")?;
        let min_confs = query::number(&given, "minConfs", 0, 1_000_000)?;
        ready::readiness(&served.app, &caller, target, min_confs, Utc::now()).await
    };
    answer(outcome.await)
}

fn answer(outcome: Result<Readiness>) -> Response {
    let readiness = match outcome {
        Ok(readiness) => readiness,
        Err(error) => return error::answer(&error),
    };
    let first = readiness.blockers.first();
    let body = Body {
        ready: readiness.is_ready(),
        reason: first.map(|blocker| blocker.reason),
        hint: first.map(|blocker| blocker.version_id),
        confirmations: readiness.confirmations,
    };
    // It holds for this moment only.
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}
