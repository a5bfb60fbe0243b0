//! `/ready`: whether a version may be used, with what stands in the way.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{body, error, query};
use crate::domain::caller::Caller;
use crate::domain::policies::evaluate::Evaluation;
use crate::domain::whole::perhaps;
use crate::error::{Error, Result};
use crate::flows::policy;
use crate::flows::ready::{self, Asked, Readiness};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/ready", get(by_query).post(by_body))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Evaluation>,
    /// Only when it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unstable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    version_id: String,
    #[serde(default)]
    policy_id: Option<String>,
    #[serde(default)]
    policy: Option<Value>,
    #[serde(default, deserialize_with = "perhaps")]
    min_confs: Option<u32>,
}

async fn by_query(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    let outcome = async {
        let given = query::read(query.as_deref().unwrap_or_default(), &PARAMETERS)?;
        let target = query::version_id(&given, "versionId")?;
        let min_confs = query::number(&given, "minConfs", 0, 1_000_000)?;
        let policy = match given.get("policyId") {
            Some(id) => policy::Asked::Saved(id.clone()),
            // Named, and left empty: to judge by no policy instead would be to say yes unasked.
            None if query::is_there(query.as_deref(), "policyId") => policy::Asked::Saved(String::new()),
            None => policy::Asked::Default,
        };
        ready::readiness(&served.app, &caller, target, Asked { min_confs, policy }, Utc::now()).await
    };
    answer(outcome.await)
}

async fn by_body(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    bytes: std::result::Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        let Question { version_id, policy_id, policy, min_confs } = body::json(&headers, bytes)?;
        let target = query::id(&version_id, "versionId")?;
        let policy = match (policy_id, policy) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("`policyId` and `policy` exclude each other").hint("policy"));
            }
            (Some(id), None) => policy::Asked::Saved(id),
            (None, Some(document)) => policy::Asked::Inline(document),
            (None, None) => policy::Asked::Default,
        };
        ready::readiness(&served.app, &caller, target, Asked { min_confs, policy }, Utc::now()).await
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
        policy: readiness.policy,
        unstable: readiness.is_unstable,
    };
    // It holds for this moment only.
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}
