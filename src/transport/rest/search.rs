//! `/search` and `/resolve`: versions by what is said of them, and by what names them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use overlay_entity::ids::VersionId;
use serde::Serialize;

use super::listings::{Item, fetch, item, next_cursor};
use super::reply::Reply;
use super::{error, query};
use crate::app::App;
use crate::domain::assets::{Asset, Filter, NEWEST, RANK};
use crate::domain::caller::Caller;
use crate::domain::check_query;
use crate::domain::page::{self, Cursor, Request};
use crate::error::{Error, Result};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/search", get(search)).route("/resolve", get(resolve))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<I> {
    items: Vec<I>,
    limit: u32,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Resolved<'a> {
    #[serde(flatten)]
    item: Item<'a>,
    parents: &'a [VersionId],
}

const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(120);

fn limit(given: &std::collections::BTreeMap<&'static str, String>) -> Result<u32> {
    Ok(query::number(given, "limit", 1, u32::MAX)?.unwrap_or(page::DEFAULT_LIMIT).min(page::MAX_LIMIT))
}

/// The versions that match `q`, the best first.
async fn search(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    let outcome = async {
        let given = query::read(query.as_deref().unwrap_or_default(), &["q", "limit", "cursor"])?;
        let text = given.get("q").map_or("", String::as_str);
        check_query(text, "q")?;
        let cursor = given.get("cursor").map(|c| Cursor::decode(c, &RANK, "cursor")).transpose()?;
        let request = Request { cursor, ..Request::first(&RANK, limit(&given)?) };
        let page = served.app.assets.search(&caller, text, &request).await?;
        let ids: Vec<VersionId> = page.rows.iter().map(|row| row.id).collect();
        let assets: Vec<Arc<Asset>> = served.app.assets.get_many(&caller, &ids).await?.into_iter().flatten().collect();
        Ok((assets, next_cursor(&page, &request), request.limit))
    };
    match outcome.await {
        Ok((assets, next_cursor, limit)) => {
            let body = Found { items: assets.iter().map(|asset| item(asset)).collect(), limit, next_cursor };
            Reply { body: &body, max_age: MAX_AGE, last_modified: None }.answer(caller)
        }
        Err(error) => error::answer(&error),
    }
}

/// The version of an identifier, or those of a dataset, the newest first, each with the versions it was made from.
async fn resolve(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    match resolved(&served.app, &caller, query.as_deref().unwrap_or_default()).await {
        Ok((found, next_cursor, limit)) => {
            let items = found.iter().map(|(asset, parents)| Resolved { item: item(asset), parents }).collect();
            Reply { body: &Found { items, limit, next_cursor }, max_age: MAX_AGE, last_modified: None }.answer(caller)
        }
        Err(error) => error::answer(&error),
    }
}

type Versions = Vec<(Arc<Asset>, Vec<VersionId>)>;

async fn resolved(app: &App, caller: &Caller, query: &str) -> Result<(Versions, Option<String>, u32)> {
    let given = query::read(query, &["versionId", "datasetId", "limit", "cursor"])?;
    let cursor = given.get("cursor").map(|c| Cursor::decode(c, &NEWEST, "cursor")).transpose()?;
    let request = Request { cursor, ..Request::first(&NEWEST, limit(&given)?) };
    let (assets, next_cursor) = match (given.get("versionId"), given.get("datasetId")) {
        (Some(_), None) => {
            let id = query::version_id(&given, "versionId")?;
            let found = app.assets.get_many(caller, &[id]).await?.into_iter().flatten().collect();
            (found, None)
        }
        (None, Some(dataset)) => {
            let filter = Filter { datasets: Some(vec![dataset.clone()]), ..Filter::default() };
            fetch(app, caller, &filter, &request).await?
        }
        _ => return Err(Error::invalid("give either `versionId` or `datasetId`").hint("versionId")),
    };
    let ids: Vec<VersionId> = assets.iter().map(|asset: &Arc<Asset>| asset.version_id).collect();
    let parents = app.assets.parents(caller, &ids).await?;
    let parents = parents.into_iter().map(|parents| parents.map(|p| p.0.clone()).unwrap_or_default());
    Ok((assets.into_iter().zip(parents).collect(), next_cursor, request.limit))
}
