//! The pages for people: `/` is GraphiQL, `/lineage` draws the graph of lineage. Their files are built into the binary, so that they
//! work without internet.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::answer::has_etag;
use super::http::Served;
use super::rest::error;
use crate::domain::hex::encode_hex;
use crate::error::Error;

/// What `scripts/pages/fetch` brought from npm; empty when it was not run before the build.
#[derive(RustEmbed)]
#[folder = ".overlay/pages"]
#[include = "*.js"]
#[include = "*.css"]
#[allow_missing = true]
struct Fetched;

/// What we wrote ourselves.
#[derive(RustEmbed)]
#[folder = "src/transport/pages"]
#[include = "*.js"]
#[include = "*.css"]
struct Own;

const MISSING: &str = "<!doctype html><meta charset=utf-8><title>Overlay</title><h1>Overlay is running</h1>\
    <p>GraphQL is at <code>/graphql</code>, the schema at <a href=/schema.graphql>/schema.graphql</a>, the catalogue at \
    <a href=/listings>/listings</a>, health at <a href=/health>/health</a>.</p>\
    <p>This page was not built in: run <code>scripts/pages/fetch</code> (it needs npm), then build again.</p>";

pub(super) fn routes() -> Router<Served> {
    Router::new()
        .route(
            "/",
            get(async || page("graphiql.min.js", include_str!("pages/graphiql.html"), "'self' 'unsafe-inline'")),
        )
        .route("/lineage", get(lineage))
        .route("/pages/{file}", get(file))
}

/// What it draws comes from whoever sends events: no script is run that stands in the page.
async fn lineage(State(served): State<Served>) -> Response {
    let most = served.app.lineage.max_depth().to_string();
    page("cytoscape.min.js", include_str!("pages/lineage.html").replace("{most}", &most), "'self'")
}

/// A page, when the library that it needs is built in. `scripts` are the sources of scripts that it may use.
fn page(library: &str, page: impl Into<String>, scripts: &str) -> Response {
    let policy = format!(
        "default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
            frame-ancestors 'none'"
    );
    let page = if Fetched::get(library).is_some() { page.into() } else { MISSING.into() };
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

async fn file(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    let get = |name: &str| -> Option<EmbeddedFile> { Fetched::get(name).or_else(|| Own::get(name)) };
    let found = name.ok().and_then(|Path(name)| Some((get(&name)?, name)));
    let Some((file, name)) = found else {
        return error::answer(&Error::not_found("the pages have no such file"));
    };
    let kind = if name.ends_with(".css") { "text/css" } else { "text/javascript" };
    let etag = format!("\"{}\"", encode_hex(&file.metadata.sha256_hash()[..16]));
    // Its name stays when it changes, and a page must not use files of two versions of the server.
    let said = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache"), (header::ETAG, &etag)];
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| has_etag(known.as_bytes(), etag.as_bytes())) {
        return (StatusCode::NOT_MODIFIED, said).into_response();
    }
    (said, file.data).into_response()
}
