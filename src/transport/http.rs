//! The router, and the layers every request passes, in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tracing::Instrument;

use super::{caller, graphiql, graphql, rest};
use crate::app::App;
use crate::config::Http;
use crate::error::{Error, Kind};

/// What handlers hold. Cheap to clone.
#[derive(Clone)]
pub struct Served {
    /// The rooms.
    pub app: App,
    /// The GraphQL schema.
    pub schema: graphql::Schema,
    /// Whether bundles are kept in Redis.
    pub use_redis_bundles: bool,
    /// Settings of the listener.
    pub http: Arc<Http>,
    /// The metrics' exporter.
    pub metrics: PrometheusHandle,
}

/// The request id's header: taken from the client when it is sane, else made, and always answered.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything the server answers.
pub fn router(served: Served) -> Router {
    let body_limit = served.http.body_limit;
    let timeout = served.http.timeout;
    let cors = cors(&served.http);
    // What reads through the cache needs a caller; health and metrics must answer even when the feed does not.
    let reads = Router::new()
        .merge(rest::listings::routes())
        .merge(graphql::routes())
        .layer(middleware::from_fn_with_state(served.clone(), caller::attach));
    let layers = ServiceBuilder::new()
        // Outermost: its time is what the client waits, its id is on every line of the log.
        .layer(middleware::from_fn(observe))
        // A panic is answered like any other fault of ours.
        .layer(CatchPanicLayer::custom(|_| rest::error::answer(&Error::internal("a handler panicked"))))
        .layer(cors)
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(move |request: Request, next: Next| deadline(timeout, request, next)))
        .layer(DefaultBodyLimit::max(body_limit));
    Router::new()
        .merge(reads)
        .merge(rest::health::routes())
        .merge(rest::metrics::routes())
        .merge(graphiql::routes())
        .fallback(|| async {
            rest::error::answer(&Error::not_found("no such route; `/schema.graphql` and the README list what there is"))
        })
        .method_not_allowed_fallback(|| async {
            rest::error::answer_with(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this route takes another method; see the Allow header",
                None,
            )
        })
        .layer(layers)
        .with_state(served)
}

fn cors(http: &Http) -> CorsLayer {
    let origins: Vec<HeaderValue> = http.cors_origins.iter().filter_map(|o| o.parse().ok()).collect();
    // No credentials are ever taken from a browser's own store, so any origin may read by default.
    let allowed = if http.cors_origins.is_empty() { AllowOrigin::from(Any) } else { AllowOrigin::list(origins) };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(Any)
        .expose_headers([
            REQUEST_ID,
            header::ETAG,
            HeaderName::from_static("x-cache"),
            HeaderName::from_static("cache-status"),
            HeaderName::from_static(caller::CONSISTENCY),
        ])
        .max_age(Duration::from_secs(3600))
}

async fn deadline(timeout: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => rest::error::answer(&Error::new(Kind::Timeout, "timeout", "the request took too long")),
    }
}

/// Gives the request its id, its span and its metrics.
async fn observe(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let sane = |v: &&HeaderValue| {
        v.len() <= 100 && v.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
    };
    let id = match request.headers().get(&REQUEST_ID).filter(sane) {
        Some(id) if !id.is_empty() => id.clone(),
        _ => HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).expect("a UUID is ASCII"),
    };
    request.headers_mut().insert(REQUEST_ID, id.clone());
    // The route's pattern, never the path: a label for each version id would fill the metrics' memory.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched".into(), |m| m.as_str().to_owned());
    let method = method_label(request.method());
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request_id = id.to_str().unwrap_or_default(),
    );
    crate::telemetry::continue_trace(&span, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    let labels = [("route", route), ("method", method.to_owned()), ("status", status.as_str().to_owned())];
    metrics::histogram!("overlay_http_seconds", &labels).record(begun.elapsed());
    let elapsed_ms = begun.elapsed().as_secs_f64() * 1e3;
    if status.is_server_error() {
        span.in_scope(|| tracing::warn!(status = status.as_u16(), elapsed_ms, "request failed"));
    } else {
        span.in_scope(|| tracing::debug!(status = status.as_u16(), elapsed_ms, "request"));
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Methods that clients make up must not become labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

/// A plain answer with a content type.
pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}
