//! `/listings`: the catalogue as its first clients know it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, SecondsFormat, Utc};
use overlay_entity::ids::VersionId;
use serde::Serialize;

use super::error;
use super::query;
use super::reply::Reply;
use crate::app::App;
use crate::domain::assets::{Asset, Filter, NEWEST, Scope};
use crate::domain::caller::Caller;
use crate::domain::check_query;
use crate::domain::page::{self, Cursor, Request};
use crate::domain::policies::evaluate::Evaluation;
use crate::error::{Error, Result};
use crate::flows::{listing, policy};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/listings", get(list))
        .route("/listings/search", get(list))
        .route("/listings/{version_id}", get(detail))
}

/// Highest offset: beyond it a cursor must be used, since an offset reads all it skips.
const MAX_OFFSET: u32 = 100_000;

const PARAMETERS: [&str; 9] =
    ["q", "datasetId", "producerId", "classification", "license", "limit", "offset", "cursor", "policyPreview"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    items: Vec<Item<'a>>,
    limit: u32,
    offset: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item<'a> {
    version_id: VersionId,
    name: &'a str,
    description: &'a str,
    dataset_id: &'a str,
    producer_id: &'a str,
    tags: &'a [String],
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Preview>,
}

/// What a policy would say, marked as no decision.
#[derive(Serialize)]
struct Preview {
    preview: bool,
    #[serde(flatten)]
    evaluation: Evaluation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    version_id: VersionId,
    manifest: DetailManifest<'a>,
    price: DetailPrice,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailManifest<'a> {
    name: &'a str,
    description: &'a str,
    dataset_id: &'a str,
    content_hash: &'a str,
    license: Option<&'a str>,
    classification: Option<&'a str>,
    created_at: String,
}

#[derive(Serialize)]
struct DetailPrice {
    satoshis: i64,
}

async fn list(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    let outcome = async {
        let (filter, request, preview) = parse(query.as_deref().unwrap_or_default())?;
        let (assets, next_cursor) = fetch(&served.app, &caller, &filter, &request).await?;
        let previews = match preview {
            Some(id) => Some(previews(&served.app, &caller, id, &assets).await?),
            None => None,
        };
        Ok((assets, next_cursor, request, previews))
    };
    let (assets, next_cursor, request, previews) = match outcome.await {
        Ok(found) => found,
        Err(error) => return error::answer(&error),
    };
    let mut previews = previews.into_iter().flatten();
    let items = assets.iter().map(|asset| Item { policy: previews.next(), ..item(asset) }).collect();
    let body = Listing { items, limit: request.limit, offset: request.offset, next_cursor };
    Reply { body: &body, max_age: Duration::from_secs(120), last_modified: None }.answer(caller)
}

/// What the policy would say of each asset, as far as the catalogue tells.
async fn previews(app: &App, caller: &Caller, id: String, assets: &[Arc<Asset>]) -> Result<Vec<Preview>> {
    let applied = policy::chosen(app, caller, policy::Asked::Saved(id)).await;
    let applied =
        applied.map_err(|error| if error.code() == policy::NOT_FOUND { error.hint("policyPreview") } else { error })?;
    let applied = applied.ok_or_else(|| Error::internal("a policy that is named is found or refused"))?;
    let evaluations = policy::previews(app, caller, &applied.document, assets, Utc::now()).await?;
    Ok(evaluations.into_iter().map(|evaluation| Preview { preview: true, evaluation }).collect())
}

pub(super) async fn fetch(
    app: &App, caller: &Caller, filter: &Filter, request: &Request,
) -> Result<(Vec<Arc<Asset>>, Option<String>)> {
    let page = app.assets.page(caller, Scope::Catalogue, filter, request).await?;
    let ids: Vec<VersionId> = page.rows.iter().map(|row| row.id).collect();
    // What was deleted between the two reads is left out.
    let assets = app.assets.get_many(caller, &ids).await?.into_iter().flatten().collect();
    Ok((assets, next_cursor(&page, request)))
}

/// Where the next page begins, if there is one.
pub(super) fn next_cursor(page: &page::Page<VersionId>, request: &Request) -> Option<String> {
    let last = page.rows.last().filter(|_| page.more);
    last.map(|row| Cursor::new(request.order, &row.sort, &row.id.to_string()).encode())
}

async fn detail(
    State(served): State<Served>, Extension(caller): Extension<Caller>, id: Result<Path<String>, PathRejection>,
) -> Response {
    let found = async {
        // A path that is not UTF-8 is refused like any other that is no identifier.
        let id: Option<VersionId> = id.ok().and_then(|Path(id)| id.parse().ok());
        let id =
            id.ok_or_else(|| Error::invalid("the version id must be 64 lower-case hex digits").hint("versionId"))?;
        let found = listing::detail(&served.app, &caller, id).await?;
        found.ok_or_else(|| Error::not_found("no version of that id is published"))
    };
    let (asset, price) = match found.await {
        Ok(found) => found,
        Err(error) => return error::answer(&error),
    };
    let body = Detail {
        version_id: asset.version_id,
        manifest: DetailManifest {
            name: &asset.name,
            description: &asset.description,
            dataset_id: &asset.dataset_id,
            content_hash: &asset.content_hash,
            license: asset.license.as_deref(),
            classification: asset.classification.as_deref(),
            created_at: iso(asset.created_at),
        },
        price: DetailPrice { satoshis: price.satoshis },
    };
    // No Last-Modified: the price is part of the answer and moves without the asset.
    Reply { body: &body, max_age: Duration::from_secs(300), last_modified: None }.answer(caller)
}

pub(super) fn item(asset: &Asset) -> Item<'_> {
    Item {
        version_id: asset.version_id,
        name: &asset.name,
        description: &asset.description,
        dataset_id: &asset.dataset_id,
        producer_id: &asset.producer_id,
        tags: &asset.tags,
        updated_at: iso(asset.updated_at),
        policy: None,
    }
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads the query string. Every parameter is known, comes once, and is in range, or the answer names it.
fn parse(query: &str) -> Result<(Filter, Request, Option<String>)> {
    let given = query::read(query, &PARAMETERS)?;
    if let Some(text) = given.get("q") {
        check_query(text, "q")?;
    }
    let one = |name: &str| given.get(name).map(|v| vec![v.clone()]);
    let filter = Filter {
        text: given.get("q").cloned(),
        datasets: one("datasetId"),
        producers: one("producerId"),
        classifications: one("classification"),
        licenses: one("license"),
        ..Filter::default()
    };
    // More than the limit is capped, as it always was.
    let limit = query::number(&given, "limit", 1, u32::MAX)?.unwrap_or(page::DEFAULT_LIMIT).min(page::MAX_LIMIT);
    let offset = query::number(&given, "offset", 0, MAX_OFFSET)?.unwrap_or(0);
    let cursor = given.get("cursor").map(|c| Cursor::decode(c, &NEWEST, "cursor")).transpose()?;
    if cursor.is_some() && offset > 0 {
        return Err(Error::invalid("`offset` and `cursor` exclude each other").hint("offset"));
    }
    let preview = given.get("policyPreview").cloned();
    Ok((filter, Request { offset, cursor, ..Request::first(&NEWEST, limit) }, preview))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_parameter_is_named() {
        let cases = [
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=abc", "limit"),
            ("limit=1.5", "limit"),
            ("limit=%2B5", "limit"),
            ("offset=-1", "offset"),
            ("offset=100001", "offset"),
            ("cursor=xyz", "cursor"),
            ("q=%00", "q"),
            ("q=%20", "q"),
            ("limit=1&limit=2", "limit"),
            ("nonsense=1", "nonsense"),
        ];
        for (query, name) in cases {
            let error = parse(query).expect_err(query);
            assert_eq!((error.code(), error.hint_text()), ("bad-request", Some(name)), "{query}");
        }
    }

    #[test]
    fn limits_are_capped_and_forms_read() {
        assert_eq!(parse("limit=99999999999999").expect("capped").1.limit, 200);
        let (filter, request, _) = parse("q=a+b%26c&producerId=p&limit=&offset=3").expect("fine");
        assert_eq!(filter.text.as_deref(), Some("a b&c"));
        assert_eq!((request.limit, request.offset), (50, 3));
    }
}
