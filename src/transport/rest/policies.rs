//! `/policies`: the registry of policies.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reply::with_token;
use super::{body, error, query};
use crate::app::App;
use crate::coherence::{Consistency, Token};
use crate::domain::Document;
use crate::domain::caller::Caller;
use crate::domain::page::{self, Cursor, Request};
use crate::domain::policies::{BY_NAME, Policy};
use crate::error::{Error, Result};
use crate::flows::policies::{self, Change};
use crate::flows::{policy, ready};
use crate::transport::answer::{Hold, finish};
use crate::transport::http::Served;

type Body = std::result::Result<Bytes, BytesRejection>;
type Id = std::result::Result<Path<String>, PathRejection>;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/policies", get(list).post(create))
        .route("/policies/evaluate", post(evaluate))
        .route("/policies/{policy_id}", get(one).patch(change).delete(remove))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    policy_id: &'a str,
    name: &'a str,
    enabled: bool,
    doc: &'a Document,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    items: Vec<Item<'a>>,
    limit: u32,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    #[serde(default)]
    policy_id: Option<String>,
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
    doc: Value,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    doc: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    version_id: String,
    #[serde(default)]
    policy_id: Option<String>,
    #[serde(default)]
    policy: Option<Value>,
}

fn item(policy: &Policy) -> Item<'_> {
    let iso = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    Item {
        policy_id: &policy.policy_id,
        name: &policy.name,
        enabled: policy.enabled,
        doc: &policy.doc,
        created_at: iso(policy.created_at),
        updated_at: iso(policy.updated_at),
    }
}

async fn list(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(text): RawQuery,
) -> Response {
    let outcome = async {
        let given = query::read(text.as_deref().unwrap_or_default(), &["limit", "cursor"])?;
        let limit = query::number(&given, "limit", 1, u32::MAX)?.unwrap_or(page::DEFAULT_LIMIT).min(page::MAX_LIMIT);
        let cursor = given.get("cursor").map(|c| Cursor::decode(c, &BY_NAME, "cursor")).transpose()?;
        let request = Request { cursor, ..Request::first(&BY_NAME, limit) };
        let page = served.app.policies.page(&caller, &request).await?;
        let ids: Vec<String> = page.rows.iter().map(|row| row.id.clone()).collect();
        let found = served.app.policies.get_many(&caller, &ids).await?;
        let last = page.rows.last().filter(|_| page.more);
        let next_cursor = last.map(|row| Cursor::new(&BY_NAME, &row.sort, &row.id).encode());
        let items = found.iter().flatten().map(|policy| item(policy)).collect();
        serde_json::to_vec(&Page { items, limit, next_cursor }).map_err(Error::internal)
    };
    read(outcome.await, caller.clone())
}

async fn one(State(served): State<Served>, Extension(caller): Extension<Caller>, id: Id) -> Response {
    let outcome = async {
        let found = found(&served.app, &caller, &named(id)?).await?;
        serde_json::to_vec(&item(&found)).map_err(Error::internal)
    };
    read(outcome.await, caller.clone())
}

async fn create(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Body,
) -> Response {
    let outcome = async {
        caller.may_administer()?;
        let New { policy_id, name, enabled, doc } = body::json(&headers, bytes)?;
        let new = policies::New { policy_id, name, enabled, document: doc };
        let (id, token) = policies::create(&served.app, &caller, new).await?;
        Ok((found(&served.app, &caller, &id).await?, token))
    };
    written(outcome.await, StatusCode::CREATED)
}

async fn change(
    State(served): State<Served>, Extension(caller): Extension<Caller>, id: Id, headers: HeaderMap, bytes: Body,
) -> Response {
    let outcome = async {
        caller.may_administer()?;
        let (id, Patch { name, enabled, doc }) = (named(id)?, body::json(&headers, bytes)?);
        let token = policies::change(&served.app, &caller, &id, Change { name, enabled, document: doc }).await?;
        Ok((found(&served.app, &caller, &id).await?, token))
    };
    written(outcome.await, StatusCode::OK)
}

async fn remove(State(served): State<Served>, Extension(caller): Extension<Caller>, id: Id) -> Response {
    let outcome = async {
        caller.may_administer()?;
        policies::remove(&served.app, &caller, &named(id)?).await
    };
    match outcome.await {
        Ok(token) => with_token(StatusCode::NO_CONTENT.into_response(), &token),
        Err(error) => error::answer(&error),
    }
}

/// A policy's decision alone, whatever else stands in the way.
async fn evaluate(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, bytes: Body,
) -> Response {
    let outcome = async {
        let Question { version_id, policy_id, policy } = body::json(&headers, bytes)?;
        let target = query::id(&version_id, "versionId")?;
        let policy = match (policy_id, policy) {
            (Some(id), None) => policy::Asked::Saved(id),
            (None, Some(document)) => policy::Asked::Inline(document),
            _ => return Err(Error::invalid("one of `policyId` and `policy` must be given").hint("policyId")),
        };
        ready::evaluation(&served.app, &caller, target, policy, Utc::now()).await
    };
    match outcome.await {
        Ok(evaluation) => ([(header::CACHE_CONTROL, "no-store")], Json(evaluation)).into_response(),
        Err(error) => error::answer(&error),
    }
}

fn named(id: Id) -> Result<String> {
    id.ok().map(|Path(id)| id).filter(|id| policy::can_be_id(id)).ok_or_else(policies::absent)
}

async fn found(app: &App, caller: &Caller, id: &str) -> Result<std::sync::Arc<Policy>> {
    app.policies.get_many(caller, &[id.to_owned()]).await?.pop().flatten().ok_or_else(policies::absent)
}

fn read(outcome: Result<Vec<u8>>, caller: Caller) -> Response {
    match outcome {
        Ok(bytes) => finish("application/json", bytes, caller, Consistency::Bounded, Hold::Ask, None),
        Err(error) => error::answer(&error),
    }
}

fn written(outcome: Result<(std::sync::Arc<Policy>, Token)>, status: StatusCode) -> response::Response {
    match outcome {
        Ok((policy, token)) => {
            let answer = (status, [(header::CACHE_CONTROL, "no-store")], Json(item(&policy))).into_response();
            with_token(answer, &token)
        }
        Err(error) => error::answer(&error),
    }
}
