//! `/openapi.json`: these routes described, for whoever generates a client from it or holds the server to it.

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use crate::transport::http::{Served, typed};

/// `tests/it/rest/openapi.rs` and `scripts/schemathesis` hold it and the routes together.
const DESCRIPTION: &str = include_str!("openapi.json");

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/openapi.json", get(description))
}

async fn description() -> Response {
    typed("application/json", DESCRIPTION)
}
