//! `/`: GraphiQL, from files built into the binary, so that it works without internet.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::http::Served;
use super::rest::error;
use crate::error::Error;

/// What `scripts/graphiql/fetch` brought; empty when it was not run before the build.
#[derive(RustEmbed)]
#[folder = ".overlay/graphiql"]
#[include = "*.js"]
#[include = "*.css"]
#[allow_missing = true]
struct Files;

const PAGE: &str = include_str!("graphiql.html");

const MISSING: &str = "<!doctype html><meta charset=utf-8><title>Overlay</title><h1>Overlay is running</h1>\
    <p>GraphQL is at <code>/graphql</code>, the schema at <a href=/schema.graphql>/schema.graphql</a>, the catalogue at \
    <a href=/listings>/listings</a>, health at <a href=/health>/health</a>.</p>\
    <p>The GraphiQL page was not built in: run <code>scripts/graphiql/fetch</code> (it needs npm), then build again.</p>";

pub(super) fn routes() -> Router<Served> {
    Router::new().route("/", get(page)).route("/graphiql/{file}", get(file))
}

async fn page() -> Response {
    let built_in = Files::get("graphiql.min.js").is_some();
    let policy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
        img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(if built_in { PAGE } else { MISSING })).into_response()
}

async fn file(name: Result<Path<String>, PathRejection>) -> Response {
    let found = name.ok().and_then(|Path(name)| Some((Files::get(&name)?, name)));
    let Some((file, name)) = found else {
        return error::answer(&Error::not_found("the query page has no such file"));
    };
    let kind = if name.ends_with(".css") { "text/css" } else { "text/javascript" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=86400")], file.data).into_response()
}
