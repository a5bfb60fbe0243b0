//! `/advisories`: recalls and warnings.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reply::with_token;
use super::{body, error, query};
use crate::coherence::Consistency;
use crate::domain::Document;
use crate::domain::advisories::{Advisory, Severity, Target};
use crate::domain::caller::Caller;
use crate::error::{Error, Result};
use crate::flows::advisories::{self, Issue};
use crate::transport::answer::{Hold, finish};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/advisories", get(list).post(issue)).route("/advisories/{advisory_id}", delete(withdraw))
}

#[derive(Serialize)]
struct List<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    advisory_id: &'a str,
    #[serde(rename = "type")]
    kind: Severity,
    reason: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Document>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    #[serde(rename = "type")]
    kind: Severity,
    reason: String,
    #[serde(default)]
    payload: Option<Value>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    version_ids: Vec<String>,
    #[serde(default)]
    producer_ids: Vec<String>,
}

fn item(advisory: &Advisory) -> Item<'_> {
    let iso = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    Item {
        advisory_id: &advisory.advisory_id,
        kind: advisory.severity,
        reason: &advisory.reason,
        created_at: iso(advisory.created_at),
        expires_at: advisory.expires_at.map(iso),
        payload: advisory.payload.as_ref(),
    }
}

async fn list(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(text): RawQuery,
) -> Response {
    let outcome = async {
        let given = query::read(text.as_deref().unwrap_or_default(), &["versionId", "producerId"])?;
        let target = match (given.contains_key("versionId"), given.get("producerId")) {
            (true, None) => Target::Version(query::version_id(&given, "versionId")?),
            (false, Some(id)) => Target::Producer(id.clone()),
            _ => return Err(Error::invalid("one of `versionId` and `producerId` must be given").hint("versionId")),
        };
        let said = served.app.advisories.about(&caller, &[target], Utc::now()).await?.pop().unwrap_or_default();
        serde_json::to_vec(&List { items: said.iter().map(item).collect() }).map_err(Error::internal)
    };
    match outcome.await {
        Ok(bytes) => finish("application/json", bytes, caller, Consistency::Bounded, Hold::Ask, None),
        Err(error) => error::answer(&error),
    }
}

async fn issue(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    bytes: std::result::Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        caller.may_administer()?;
        let New { kind, reason, payload, expires_at, version_ids, producer_ids } = body::json(&headers, bytes)?;
        let versions: Result<Vec<VersionId>> = version_ids.iter().map(|id| query::id(id, "versionIds")).collect();
        let (versions, producers) = (versions?, producer_ids);
        let issue = Issue { severity: kind, reason, payload, expires_at, versions, producers };
        advisories::issue(&served.app, &caller, issue, Utc::now()).await
    };
    match outcome.await {
        Ok((advisory, token)) => {
            let body = Json(item(&advisory));
            with_token((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body).into_response(), &token)
        }
        Err(error) => error::answer(&error),
    }
}

async fn withdraw(
    State(served): State<Served>, Extension(caller): Extension<Caller>,
    id: std::result::Result<Path<String>, PathRejection>,
) -> Response {
    let outcome = async {
        let Path(id) = id.map_err(|_| Error::not_found("there is no advisory of that id"))?;
        advisories::withdraw(&served.app, &caller, &id).await
    };
    match outcome.await {
        Ok(token) => with_token(StatusCode::NO_CONTENT.into_response(), &token),
        Err(error) => error::answer(&error),
    }
}
