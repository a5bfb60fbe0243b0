//! In front of everything: answers that are kept as finished bytes are served from here, before routing and parsing.
//!
//! The key of a request is the SHA-256 of all that its answer may depend on. What is not certain to be an anonymous read
//! goes on to the router as it came; so does every miss, and the finished answer that comes back is dressed and kept.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use metrics::Histogram;
use sha2::{Digest as _, Sha256};
use tower::Service;

use super::answer::{Conditions, Finished, Note, Origin};
use super::audit::{self, Auditor};
use super::caller::{self, Reached};
use super::http::{REQUEST_ID, Served, request_id};
use crate::cache::{Digest, Kept, Responses};
use crate::coherence::{Consistency, Moment, Token};
use crate::config::Http;

/// Finished answers, as they are kept.
pub type Answers = Responses<Finished>;

/// Routes whose answers are kept, with the path they begin with.
const ROUTES: [(&str, &str); 3] =
    [("/graphql", "/graphql"), ("/listings", "/listings"), ("/listings/{version_id}", "/listings/")];

/// Headers that name a caller: their answers may be for nobody else.
const PERSONAL: [&str; 4] = ["authorization", "cookie", "x-identity-key", "x-signature"];

/// The service that the listener serves. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    inner: Arc<Inner>,
    router: Router,
}

struct Inner {
    served: Served,
    auditor: Auditor,
    /// The newest token told, so that it is not written anew for each answer.
    told: ArcSwapOption<(Moment, HeaderValue)>,
    /// Times of answers served from here, by route and status.
    times: [[OnceLock<Histogram>; 2]; ROUTES.len()],
}

impl Front {
    /// Puts the front before `router`.
    pub fn new(served: Served, router: Router) -> Self {
        let auditor = Auditor::new(served.http.audit_every);
        let inner = Inner { served, auditor, told: ArcSwapOption::empty(), times: Default::default() };
        Self { inner: Arc::new(inner), router }
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

impl Front {
    async fn answer(mut self, request: Request) -> Response {
        let begun = Instant::now();
        let http = &self.inner.served.http;
        let consistency = caller::consistency(request.headers(), http.consistency);
        let (Some(route), Ok(consistency)) = (route(&request, http), consistency) else {
            return self.made(request, None, Consistency::Bounded).await;
        };
        let (parts, body) = request.into_parts();
        let body = match whole(body, http.timeout).await {
            Ok(body) => body,
            // A client that went away, or stalls: the handler finds the same.
            Err(rest) => return self.made(Request::from_parts(parts, rest), None, consistency).await,
        };
        let digest = digest(&parts, &body, http);
        let answers = &self.inner.served.answers;
        let known = answers.peek(&digest);
        let reached = self.reach(consistency, known.as_deref()).await;
        if reached.is_ok() && self.inner.served.app.cache.clock().is_trustworthy() {
            let moment = self.moment();
            let found = match answers.remembered(known) {
                Some(kept) => Some(kept),
                None => self.shared(&digest).await,
            };
            if let Some(kept) = found {
                let (age, left) = kept.age();
                let origin = Origin::Kept { age, left, elapsed: begun.elapsed() };
                let response = kept.answer.dress(&Conditions::of(&parts.method, &parts.headers, consistency), &origin);
                if self.inner.auditor.is_due() {
                    let (front, request) = (self.clone(), audit::again(&parts, &body));
                    tokio::spawn(async move {
                        let Self { inner, router } = front;
                        inner.auditor.check(&inner.served, router, request, kept).await;
                    });
                }
                return self.inner.told(response, moment, route, &parts, begun);
            }
        }
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(Reached(reached));
        self.made(request, Some(digest), consistency).await
    }

    /// Waits until reads are as fresh as the request asks, in its headers and, as far as a kept answer tells, in its body.
    async fn reach(&self, consistency: Consistency, known: Option<&Kept<Finished>>) -> crate::error::Result<()> {
        let feed = &self.inner.served.app.feed;
        feed.reach(consistency).await?;
        match known.map(|kept| kept.demand) {
            None | Some(Consistency::Bounded) => Ok(()),
            Some(demand) => feed.reach(demand).await,
        }
    }

    /// What Redis has.
    async fn shared(&self, digest: &Digest) -> Option<Arc<Kept<Finished>>> {
        let answers = &self.inner.served.answers;
        let kept = answers.shared(digest).await?;
        if kept.demand == Consistency::Bounded {
            return Some(kept);
        }
        // Only now is it known how fresh the answer must be.
        self.inner.served.app.feed.reach(kept.demand).await.ok()?;
        answers.remembered(Some(kept))
    }

    fn moment(&self) -> Moment {
        self.inner.served.app.cache.clock().moment()
    }

    /// The router's answer, dressed if it is a finished one, and kept under `digest` if it may be.
    async fn made(&mut self, request: Request, digest: Option<Digest>, consistency: Consistency) -> Response {
        let moment = self.moment();
        let conditions = Conditions::of(request.method(), request.headers(), consistency);
        let Ok(mut response) = self.router.call(request).await;
        let Some(note) = response.extensions_mut().remove::<Note>() else { return response };
        let (mut parts, body) = response.into_parts();
        // A handler's answer is whole already; there is nothing to wait for.
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return super::rest::error::answer(&crate::error::Error::internal("an answer broke off"));
        };
        let id = parts.headers.remove(&REQUEST_ID);
        let basis = note.caller.ledger().basis(moment);
        let finished = Finished::new(parts.headers, body, &note, basis.as_ref().map(|b| &b.tags));
        let mut response = finished.dress(&conditions, &Origin::Made(note.caller.ledger()));
        if let (Some(digest), Some(basis)) = (digest, basis)
            && !conditions.is_head
        {
            self.inner.served.answers.keep(&digest, &basis, Finished::ttl(&note), note.demand, finished);
        }
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        self.inner.token(&mut response, moment);
        response
    }
}

impl Inner {
    /// Notes that `response` was served from here, and gives it the request's id.
    fn told(
        &self, mut response: Response, moment: Moment, route: usize, parts: &axum::http::request::Parts, begun: Instant,
    ) -> Response {
        let id = request_id(&parts.headers);
        let status = response.status();
        let method = super::http::method_label(&parts.method);
        tracing::debug!(
            status = status.as_u16(),
            route = ROUTES[route].0,
            method,
            ?id,
            "request, answered from memory"
        );
        if parts.headers.contains_key("traceparent") {
            super::http::span(method, ROUTES[route].0, &id, &parts.headers)
                .record("http.response.status_code", status.as_u16());
        }
        let times = &self.times[route][usize::from(status == StatusCode::NOT_MODIFIED)];
        times
            .get_or_init(|| {
                metrics::histogram!("overlay_http_seconds",
                    "route" => ROUTES[route].0, "method" => "kept", "status" => status.as_str().to_owned())
            })
            .record(begun.elapsed());
        response.headers_mut().insert(REQUEST_ID, id);
        self.token(&mut response, moment);
        response
    }

    /// Tells what the answer includes at least: a later read that sends it is at least as fresh, on any replica.
    fn token(&self, response: &mut Response, moment: Moment) {
        let told = self.told.load();
        let value = match told.as_deref() {
            Some((of, value)) if *of == moment => value.clone(),
            _ => {
                // Everything below the horizon is included.
                let token = Token { epoch: moment.epoch, xid: moment.as_of.saturating_sub(1) };
                let value = HeaderValue::try_from(token.to_string()).expect("hex digits, a dot and digits");
                self.told.store(Some(Arc::new((moment, value.clone()))));
                value
            }
        };
        response.headers_mut().insert(caller::CONSISTENCY, value);
    }
}

/// The place in [`ROUTES`] of a request whose answer may be kept: an anonymous read with a body that is small and whole.
fn route(request: &Request, http: &Http) -> Option<usize> {
    let path = request.uri().path();
    let route =
        ROUTES.iter().rposition(|(name, start)| path == *name || start.ends_with('/') && path.starts_with(start))?;
    let headers = request.headers();
    let is_read = match *request.method() {
        Method::GET | Method::HEAD => !headers.contains_key(header::UPGRADE),
        Method::POST => path == "/graphql",
        _ => false,
    };
    // Whatever the method, the body is read whole before anything else looks at it.
    let is_small = request.body().size_hint().exact().is_some_and(|size| size <= http.body_limit as u64);
    let is_plain =
        !headers.contains_key(header::CONTENT_ENCODING) && !PERSONAL.iter().any(|n| headers.contains_key(*n));
    (is_read && is_small && is_plain).then_some(route)
}

/// The body's bytes, or what is to be read instead.
async fn whole(body: Body, timeout: Duration) -> Result<Bytes, Body> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let cause = match tokio::time::timeout(timeout, axum::body::to_bytes(body, usize::MAX)).await {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(cause)) => cause,
        Err(elapsed) => axum::Error::new(elapsed),
    };
    Err(Body::from_stream(futures_util::stream::once(async { Err::<Bytes, _>(cause) })))
}

/// The request's name. Each part is preceded by its length, so that no two lists of parts read alike.
fn digest(parts: &axum::http::request::Parts, body: &[u8], http: &Http) -> Digest {
    let header = |name: header::HeaderName| parts.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    // HEAD is answered by what GET answers.
    part(if parts.method == Method::POST { b"POST" } else { b"GET" });
    part(parts.uri.path_and_query().map_or(&b""[..], |p| p.as_str().as_bytes()));
    part(header(header::CONTENT_TYPE));
    part(header(header::ACCEPT));
    part(header(header::ACCEPT_ENCODING));
    part(if http.cors_origins.is_empty() { b"" } else { header(header::ORIGIN) });
    part(body);
    hash.finalize().into()
}
