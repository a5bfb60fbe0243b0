//! The router, and the layers every request passes, in order.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::answer::Note;
use super::door::{self, Door};
use super::drain::Drain;
use super::front::{Answers, Front};
use super::opened::Opened;
use super::{caller, graphql, pages, rest};
use crate::app::App;
use crate::cache::Outcome;
use crate::config::{Config, Http};
use crate::db::Deed;
use crate::error::{Error, Kind, Result};

/// What handlers hold. Every layer of a request clones it, so it is one pointer.
#[derive(Clone)]
pub struct Served(Arc<Parts>);

impl std::ops::Deref for Served {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What handlers need.
pub struct Parts {
    /// The rooms.
    pub app: App,
    /// The GraphQL schema.
    pub schema: graphql::Schema,
    /// Parsed documents, kept.
    pub documents: graphql::Documents,
    /// Documents that clients name by their hash.
    pub persisted: graphql::Persisted,
    /// Finished answers, kept.
    pub answers: Answers,
    /// Settings of the listener.
    pub http: Http,
    /// Who is let in.
    pub door: Door,
    /// Whether the server is about to end.
    pub drain: Drain,
    /// Names what answers depend on beside requests and data: processes that differ in it share no answers.
    pub settings: u64,
    /// The metrics' exporter.
    pub metrics: PrometheusHandle,
    /// Whether the server asks itself first what others will ask.
    pub is_warming: Arc<AtomicBool>,
}

impl Served {
    /// What handlers hold, of `app` and as `config` says.
    ///
    /// # Errors
    /// `internal` when the metrics cannot be recorded.
    pub fn new(config: &Config, app: App) -> Result<Self> {
        // Before anything is counted.
        let metrics = crate::telemetry::metrics()?;
        Ok(Self(Arc::new(Parts {
            persisted: graphql::Persisted::new(app.cache.redis().cloned(), config.http.safelist.clone()),
            answers: Answers::new(&app.cache, config.response_memory_bytes),
            app,
            schema: graphql::schema(config.http.introspection),
            documents: graphql::Documents::default(),
            door: Door::new(&config.http.limits),
            drain: Drain::default(),
            http: config.http.clone(),
            settings: settings(config),
            metrics,
            is_warming: Arc::default(),
        })))
    }
}

/// The version, and the settings that show in answers.
fn settings(config: &Config) -> u64 {
    let Http { cors_origins, safelist, introspection, response_limit, .. } = &config.http;
    let shown =
        (env!("CARGO_PKG_VERSION"), cors_origins, safelist, introspection, response_limit, &config.market.terms);
    xxhash_rust::xxh3::xxh3_64(format!("{shown:?}").as_bytes())
}

/// The request id's header: taken from the client when it is sane, else made, and always answered.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything the server answers, kept answers first.
pub fn service(served: Served) -> Front {
    Front::new(served.clone(), router(served))
}

fn router(served: Served) -> Router {
    let body_limit = served.http.body_limit;
    let timeout = served.http.timeout;
    let cors = cors(&served.http);
    // What reads through the cache needs a caller; health and metrics must answer even when the feed does not.
    let reads = Router::new()
        .merge(rest::listings::routes())
        .merge(rest::search::routes())
        .merge(rest::bundle::routes())
        .merge(rest::ready::routes())
        .merge(rest::submit::routes())
        .merge(rest::policies::routes())
        .merge(rest::chain::routes())
        .merge(rest::advisories::routes())
        .merge(rest::producers::routes())
        .merge(rest::prices::routes())
        .merge(rest::payments::routes())
        .merge(rest::openlineage::routes())
        .merge(rest::marquez::routes())
        .merge(graphql::routes())
        .layer(middleware::from_fn_with_state(served.clone(), caller::attach))
        .layer(middleware::from_fn_with_state(served.clone(), unless_lost));
    let layers = ServiceBuilder::new()
        // Outermost: its time is what the client waits, its id is on every line of the log.
        .layer(middleware::from_fn_with_state(served.http.slow, observe))
        // A panic is answered like any other fault of ours.
        .layer(CatchPanicLayer::custom(|_| rest::error::answer(&Error::internal("a handler panicked"))))
        .layer(cors)
        .layer(middleware::from_fn(door::keep))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(move |request: Request, next: Next| deadline(timeout, request, next)))
        .layer(DefaultBodyLimit::max(body_limit));
    Router::new()
        .merge(reads)
        .merge(rest::lineage::routes(served.http.ingest.body_limit))
        .merge(rest::health::routes())
        .merge(rest::metrics::routes())
        .merge(rest::openapi::routes())
        .merge(pages::routes())
        .fallback(|| async {
            rest::error::answer(&Error::not_found(
                "no such route; `/openapi.json`, `/schema.graphql` and the README list what there is",
            ))
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
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        // A star would not stand for `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            REQUEST_ID,
            header::ETAG,
            header::AGE,
            header::RETRY_AFTER,
            super::origin::X_CACHE,
            super::origin::CACHE_STATUS,
            HeaderName::from_static(caller::CONSISTENCY),
            rest::bundle::COMPLETENESS,
            rest::bundle::CUT_AT,
        ])
        .max_age(Duration::from_secs(3600))
}

/// Gives up a request that waits for a PostgreSQL which has stopped answering, unless something of it is being committed.
async fn unless_lost(State(served): State<Served>, request: Request, next: Next) -> Response {
    let deed = Deed::default();
    let answering = deed.within(next.run(request));
    tokio::pin!(answering);
    tokio::select! {
        biased;
        response = &mut answering => response,
        () = served.app.cache.lost() => match deed.has_begun() {
            true => answering.await,
            false => rest::error::answer(&Error::unavailable("the database has stopped answering: try again")),
        },
    }
}

async fn deadline(timeout: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => rest::error::answer(&Error::new(Kind::Timeout, "timeout", "the request took too long")),
    }
}

/// Gives the request its id, its span and its metrics. `slow` is the time from which on it has to say why it took so long.
async fn observe(State(slow): State<Option<Duration>>, mut request: Request, next: Next) -> Response {
    // The route's pattern, never the path: a label for each version id would fill the metrics' memory.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched".into(), |m| m.as_str().to_owned());
    let method = method_label(request.method());
    let mut opened = request.extensions_mut().remove().unwrap_or_else(|| {
        let id = RequestId::of(request.headers().get(&REQUEST_ID).map(HeaderValue::as_bytes));
        Opened::new(Instant::now(), (method, &route), id.as_str().to_owned(), request.headers(), slow)
    });
    opened.routed(method, &route);
    let header = HeaderValue::from_str(&opened.id).expect("an id is plain ASCII");
    request.headers_mut().insert(REQUEST_ID, header.clone());
    let mut response = opened.within(next.run(request)).await;
    let (status, elapsed) = (response.status(), opened.begun.elapsed());
    opened.span.record("http.response.status_code", status.as_u16());
    let labels = [("route", route), ("method", method.to_owned()), ("status", status.as_str().to_owned())];
    metrics::histogram!("overlay_http_seconds", &labels).record(elapsed);
    let elapsed_ms = elapsed.as_secs_f64() * 1e3;
    if status.is_server_error() {
        opened.span.in_scope(|| tracing::warn!(status = status.as_u16(), elapsed_ms, "request failed"));
    } else {
        opened.span.in_scope(|| tracing::debug!(status = status.as_u16(), elapsed_ms, "request"));
    }
    let outcome = response.extensions().get::<Note>().and_then(|note| note.caller.ledger().outcome());
    opened.told(status, elapsed, outcome.map_or("none", Outcome::label), slow);
    response.headers_mut().insert(REQUEST_ID, header);
    response
}

/// A request's id.
pub(super) enum RequestId<'a> {
    /// The client's own.
    Given(&'a str),
    /// A UUID of version 7.
    Made([u8; uuid::fmt::Hyphenated::LENGTH]),
}

impl<'a> RequestId<'a> {
    /// The id that was given when it is sane, else a new one. The random part of a new one is a hash of a counter under a
    /// seed of the process, since asking the system for randomness costs more than a kept answer.
    pub(super) fn of(given: Option<&'a [u8]>) -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().1);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
        let given = given.filter(|id| (1..=100).contains(&id.len()) && id.iter().all(is_plain));
        if let Some(id) = given.and_then(|id| std::str::from_utf8(id).ok()) {
            return Self::Given(id);
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let random = xxh3_128_with_seed(&count.to_le_bytes(), *SEED).to_le_bytes();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let id =
            uuid::Builder::from_unix_timestamp_millis(now, random[..10].try_into().expect("ten bytes")).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        id.hyphenated().encode_lower(&mut text);
        Self::Made(text)
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Given(id) => id,
            Self::Made(text) => std::str::from_utf8(text).expect("a UUID is ASCII"),
        }
    }
}

/// Methods that clients make up must not become labels.
pub(super) fn method_label(method: &Method) -> &'static str {
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
