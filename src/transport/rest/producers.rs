//! `/producers`: who publishes.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};

use super::reply::{Reply, with_token};
use super::{body, error, query};
use crate::app::App;
use crate::domain::assets::{Filter, NEWEST, Scope};
use crate::domain::caller::Caller;
use crate::domain::page::Request;
use crate::domain::producers::Producer;
use crate::error::{Error, Result};
use crate::flows::producers::{self, Profile};
use crate::transport::http::Served;

/// How long clients may keep a profile.
const MAX_AGE: Duration = Duration::from_secs(300);

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/producers", get(of_dataset))
        .route("/producers/register", post(register))
        .route("/producers/{producer_id}", get(one))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    producer_id: &'a str,
    name: &'a str,
    website: Option<&'a str>,
    identity_key: &'a str,
    created_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    name: String,
    #[serde(default)]
    website: Option<String>,
    #[serde(default)]
    payout_script_hex: Option<String>,
}

fn item(producer: &Producer) -> Item<'_> {
    Item {
        producer_id: &producer.producer_id,
        name: &producer.display_name,
        website: producer.website.as_deref(),
        identity_key: &producer.identity_key,
        created_at: producer.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
    }
}

async fn one(
    State(served): State<Served>, Extension(caller): Extension<Caller>,
    id: std::result::Result<Path<String>, PathRejection>,
) -> Response {
    let id = id.ok().map(|Path(id)| id).filter(|id| (1..=200).contains(&id.len()) && !id.contains('\0'));
    read(&served.app, caller, id).await
}

/// Who published the dataset's newest version.
async fn of_dataset(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(text): RawQuery,
) -> Response {
    let outcome = async {
        let mut given = query::read(text.as_deref().unwrap_or_default(), &["datasetId"])?;
        let Some(dataset) = given.remove("datasetId") else {
            return Err(Error::invalid("`datasetId` must be given, or a producer's id in the path").hint("datasetId"));
        };
        let filter = Filter { datasets: Some(vec![dataset]), ..Filter::default() };
        let newest = Request::first(&NEWEST, 1);
        let page = served.app.assets.page(&caller, Scope::Catalogue, &filter, &newest).await?;
        let Some(row) = page.rows.first() else { return Ok(None) };
        let asset = served.app.assets.get_many(&caller, &[row.id]).await?.pop().flatten();
        Ok(asset.map(|asset| asset.producer_id.clone()))
    };
    match outcome.await {
        Ok(id) => read(&served.app, caller, id).await,
        Err(error) => error::answer(&error),
    }
}

async fn read(app: &App, caller: Caller, id: Option<String>) -> Response {
    let found = match id {
        Some(id) => app.producers.get(&caller, id).await,
        None => Ok(None),
    };
    match found {
        Ok(Some(producer)) => Reply { body: &item(&producer), max_age: MAX_AGE, last_modified: None }.answer(caller),
        Ok(None) => error::answer(&Error::not_found("there is no such producer")),
        Err(error) => error::answer(&error),
    }
}

async fn register(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    bytes: std::result::Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        caller.may_write()?;
        let Body { name, website, payout_script_hex } = body::json(&headers, bytes)?;
        let profile = Profile { name, website, payout_script_hex };
        let (id, token) = producers::register(&served.app, &caller, profile).await?;
        let producer = served.app.producers.get(&caller, id).await?;
        Result::Ok((producer.ok_or_else(|| Error::internal("a registered producer is there"))?, token))
    };
    match outcome.await {
        Ok((producer, token)) => {
            with_token(([(header::CACHE_CONTROL, "no-store")], Json(item(&producer))).into_response(), &token)
        }
        Err(error) => error::answer(&error),
    }
}
