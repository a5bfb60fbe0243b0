//! In front of everything: answers that are kept as finished bytes are served from here, before routing and parsing.
//!
//! A request is [`Asked`] for when it is certain to be an anonymous read; its key is the SHA-256 of all that its answer may
//! depend on. Everything else goes on to the router as it came; so does every miss, and the finished answer that comes
//! back is dressed and kept. Two transports stand before it: [`super::wire`], which reads plain requests off the
//! connection itself, and hyper, for everything else.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use metrics::Histogram;
use tower::Service;

use super::answer::{Dressed, Finished, Note, line};
use super::asked::{Asked, Conditions, ROUTES};
use super::audit::Auditor;
use super::caller::{self, Reached};
use super::door::{self, TurnedAway};
use super::drain::Drain;
use super::http::{REQUEST_ID, RequestId, Served};
use super::opened::Opened;
use super::origin::Origin;
use super::popular::{self, Popular};
use crate::cache::{Digest, Kept, Redis, Responses};
use crate::coherence::{Consistency, Moment, Token};
use crate::config::Http;
use crate::error::{Error, Result};

/// Finished answers, as they are kept.
pub type Answers = Responses<Finished>;

/// Where proxies say whom a request is from.
pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";

/// Put into the extensions of a request: whose it is.
#[derive(Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

/// The service that the listener serves. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    inner: Arc<Inner>,
    router: Router,
    /// Whom the connection is from.
    peer: IpAddr,
}

pub(super) struct Inner {
    served: Served,
    auditor: Auditor,
    /// What is asked for most.
    pub(super) popular: Popular,
    /// The newest token told, so that it is not written anew for each answer.
    told: ArcSwapOption<(Moment, String)>,
    /// Times of answers served from here, by route and status.
    times: [[OnceLock<Histogram>; 2]; ROUTES.len()],
}

impl Front {
    /// Puts the front before `router`.
    pub fn new(served: Served, router: Router) -> Self {
        let auditor = Auditor::new(served.http.audit_every);
        let redis = served.app.cache.redis().filter(|_| served.http.warm_requests > 0).cloned();
        let popular = Popular::new(redis.is_some());
        let inner =
            Arc::new(Inner { served, auditor, popular, told: ArcSwapOption::empty(), times: Default::default() });
        if let Some(redis) = redis {
            tokio::spawn(popular::tell(Arc::downgrade(&inner), redis));
        }
        Self { inner, router, peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    /// The same for a connection from `peer`.
    pub(super) fn of(&self, peer: IpAddr) -> Self {
        Self { peer, ..self.clone() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// `rate-limited` when it is one too many.
    pub(super) fn knock(&self, path: &str, forwarded_for: Option<&[u8]>) -> Result<()> {
        let door = &self.inner.served.door;
        if !door.is_kept() || door::is_open(path) {
            return Ok(());
        }
        door.knock(door.client(self.peer, forwarded_for))
    }

    /// The answer to a request that is not let in.
    pub(super) async fn turn_away(&mut self, mut request: Request, why: Error) -> Response {
        request.extensions_mut().insert(TurnedAway(why));
        let Ok(response) = self.router.call(request).await;
        response
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
        let mut front = self.clone();
        // RFC 9112, section 3.2: what is in front of us may have taken it for another site's.
        if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
            let why = Error::invalid("a request of HTTP/1.1 has exactly one Host header");
            return Box::pin(async move { Ok(front.turn_away(request, why).await) });
        }
        if request.headers().get(super::explain::EXPLAIN).is_some_and(|value| value == "1") {
            return Box::pin(async move { Ok(super::explain::answer(front, request).await) });
        }
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

/// What the maker of an answer that is not kept is to know.
pub(super) struct Missed {
    digest: Digest,
    pub(super) consistency: Consistency,
    reached: Result<()>,
    opened: Box<Opened>,
}

impl Front {
    pub(super) async fn answer(mut self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let forwarded_for = parts.headers.get(FORWARDED_FOR).map(HeaderValue::as_bytes);
        if let Err(why) = self.knock(parts.uri.path(), forwarded_for) {
            return self.turn_away(Request::from_parts(parts, body), why).await;
        }
        // Operations on it are counted too.
        let client = Client(self.inner.served.door.client(self.peer, forwarded_for));
        parts.extensions.insert(client);
        self.look(parts, body).await
    }

    /// Where what is asked for most is counted.
    pub(super) fn redis(&self) -> Option<&Redis> {
        self.inner.served.app.cache.redis()
    }

    /// Answers a request of the server's own, so that the next one like it finds the answer.
    pub(super) async fn ask_itself(&self, request: Request) {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Client(self.peer));
        let _kept = self.clone().look(parts, body).await;
    }

    /// The answer to a request that was let in: a kept one, or one that is made.
    async fn look(mut self, parts: Parts, body: Body) -> Response {
        let begun = Instant::now();
        let http = &self.inner.served.http;
        // Whatever the method, the body is read whole before anything else looks at it.
        let is_small = body.size_hint().exact().is_some_and(|size| size <= http.body_limit as u64);
        let mut head = Vec::new();
        let (body, missed) = match Asked::of(&parts).filter(|_| is_small) {
            None => (body, None),
            Some(asked) => match whole(body, http.timeout).await {
                // A client that went away, or stalls: the handler finds the same.
                Err(rest) => (rest, None),
                Ok(body) => match self.kept(&asked, &body, begun, &mut head).await {
                    Ok(dressed) => return dressed.response(&head),
                    Err(missed) => (Body::from(body), missed),
                },
            },
        };
        let consistency = match &missed {
            Some(missed) => missed.consistency,
            // Whatever freshness it asks for, the handler sees to it; here it is only to be known that it asks.
            None if parts.headers.contains_key(caller::CONSISTENCY) => Consistency::Strong,
            None => http.consistency,
        };
        let conditions = Conditions::of(&parts, consistency);
        match self.made(Request::from_parts(parts, body), missed, &conditions, &mut head).await {
            Ok(dressed) => dressed.response(&head),
            Err(response) => response,
        }
    }

    /// What handlers hold.
    pub(super) fn served(&self) -> &Served {
        &self.inner.served
    }

    /// Whether the server is about to end.
    pub(super) fn drain(&self) -> &Drain {
        &self.inner.served.drain
    }

    /// Settings of the listener.
    pub(super) fn http(&self) -> &Http {
        &self.inner.served.http
    }

    /// The kept answer to what is asked, its head written to `head`; or what its maker is to know, if that matters.
    pub(super) async fn kept(
        &self, asked: &Asked<'_>, body: &[u8], begun: Instant, head: &mut Vec<u8>,
    ) -> Result<Dressed, Option<Missed>> {
        let http = &self.inner.served.http;
        // The handler says what the accepted forms are.
        let consistency = asked.consistency(http.consistency).ok_or(None)?;
        let digest = asked.digest(body, http, self.inner.served.settings);
        let answers = &self.inner.served.answers;
        let known = answers.peek(&digest);
        let reached = self.reach(consistency, known.as_deref()).await;
        if reached.is_err() || !self.inner.served.app.cache.clock().is_trustworthy() {
            let (moment, opened) = (self.moment(), self.opened(asked, begun));
            // What holds at the clock's horizon includes every commit that the clock has seen.
            if reached.is_ok()
                && consistency != Consistency::Strong
                && let Some(dressed) =
                    Box::pin(opened.within(self.unverified(asked, &digest, known, &opened, head))).await
            {
                self.inner.told(asked, Some(&opened), (dressed.status, "stale"), moment, begun.elapsed(), head);
                return Ok(dressed);
            }
            return Err(Some(Missed { digest, consistency, reached, opened }));
        }
        let moment = self.moment();
        let (kept, opened) = match answers.remembered(known) {
            Some(kept) => (kept, None),
            None => {
                let opened = self.opened(asked, begun);
                match Box::pin(opened.within(self.shared(&digest))).await {
                    Some(kept) => (kept, Some(opened)),
                    None => return Err(Some(Missed { digest, consistency, reached, opened })),
                }
            }
        };
        let (age, left) = kept.age();
        let elapsed = begun.elapsed();
        let origin = Origin::Kept { age, left, elapsed };
        let dressed = kept.answer.dress(&asked.conditions(consistency), &origin, head);
        if self.inner.auditor.is_due()
            && let Some(request) = asked.again(body)
        {
            let Self { inner, router, .. } = self.clone();
            tokio::spawn(async move { inner.auditor.check(&inner.served, router, request, kept).await });
        }
        self.inner.popular.note(asked, body);
        let is_slow = http.slow.is_some_and(|slow| elapsed >= slow);
        // One that memory answered has no span unless somebody will look at it.
        let opened = opened.or_else(|| (is_slow || asked.is_traced()).then(|| self.opened(asked, begun)));
        self.inner.told(asked, opened.as_deref(), (dressed.status, "hit"), moment, elapsed, head);
        Ok(dressed)
    }

    /// A request that memory has no answer to.
    fn opened(&self, asked: &Asked<'_>, begun: Instant) -> Box<Opened> {
        let id = RequestId::of(asked.request_id()).as_str().to_owned();
        let named = (super::http::method_label(asked.method()), ROUTES[asked.route].0);
        Box::new(Opened::new(begun, named, id, &asked.trace().unwrap_or_default(), self.inner.served.http.slow))
    }

    /// Waits until reads are as fresh as the request asks, in its headers and, as far as a kept answer tells, in its body.
    async fn reach(&self, consistency: Consistency, known: Option<&Kept<Finished>>) -> Result<()> {
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

    /// The router's answer: dressed and kept if it is a finished one, its head written to `head`; else as it is.
    pub(super) async fn made(
        &mut self, mut request: Request, missed: Option<Missed>, conditions: &Conditions<'_>, head: &mut Vec<u8>,
    ) -> Result<Dressed, Response> {
        let moment = self.moment();
        let digest = missed.map(|Missed { digest, reached, opened, .. }| {
            request.extensions_mut().insert(Reached(reached));
            request.extensions_mut().insert(*opened);
            digest
        });
        let room = match self.inner.served.door.enter() {
            Err(why) if !door::is_open(request.uri().path()) => return Err(self.turn_away(request, why).await),
            room => room,
        };
        let Ok(mut response) = self.router.call(request).await;
        drop(room);
        let Some(note) = response.extensions_mut().remove::<Note>() else { return Err(response) };
        let (mut parts, body) = response.into_parts();
        // A handler's answer is whole already; there is nothing to wait for.
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return Err(super::rest::error::answer(&Error::internal("an answer broke off")));
        };
        let id = parts.headers.remove(&REQUEST_ID);
        let basis = note.caller.ledger().basis(moment);
        let finished = Finished::new(parts.headers, body, conditions.is_head, &note, basis.as_ref().map(|b| &b.tags));
        let dressed = finished.dress(conditions, &Origin::Made(note.caller.ledger()), head);
        if let (Some(digest), Some(basis)) = (digest, basis)
            && !conditions.is_head
        {
            self.inner.served.answers.keep(&digest, &basis, Finished::ttl(&note), note.demand, finished);
        }
        if let Some(id) = id {
            line(head, REQUEST_ID.as_str(), id.as_bytes());
        }
        self.inner.token(moment, head);
        Ok(dressed)
    }
}

impl Inner {
    /// Notes that an answer was served from here after `elapsed`, and as what, and gives it the request's id.
    fn told(
        &self, asked: &Asked<'_>, opened: Option<&Opened>, (status, cache): (StatusCode, &str), moment: Moment,
        elapsed: Duration, head: &mut Vec<u8>,
    ) {
        if let Some(opened) = opened {
            opened.span.record("http.response.status_code", status.as_u16());
            opened.told(status, elapsed, cache, self.served.http.slow);
        }
        let id = RequestId::of(opened.map_or(asked.request_id(), |opened| Some(opened.id.as_bytes())));
        let method = super::http::method_label(asked.method());
        let route = ROUTES[asked.route].0;
        tracing::debug!(
            status = status.as_u16(),
            route,
            method,
            id = id.as_str(),
            "request, answered by what was kept"
        );
        let times = &self.times[asked.route][usize::from(status == StatusCode::NOT_MODIFIED)];
        times
            .get_or_init(|| {
                metrics::histogram!("overlay_http_seconds",
                    "route" => route, "method" => "kept", "status" => status.as_str().to_owned())
            })
            .record(elapsed);
        line(head, REQUEST_ID.as_str(), id.as_str().as_bytes());
        self.token(moment, head);
    }

    /// Tells what the answer includes at least: a later read that sends it is at least as fresh, on any replica.
    fn token(&self, moment: Moment, head: &mut Vec<u8>) {
        let told = self.told.load();
        match told.as_deref() {
            Some((of, value)) if *of == moment => line(head, caller::CONSISTENCY, value.as_bytes()),
            _ => {
                // Everything below the horizon is included.
                let token = Token { epoch: moment.epoch, xid: moment.as_of.saturating_sub(1) }.to_string();
                line(head, caller::CONSISTENCY, token.as_bytes());
                self.told.store(Some(Arc::new((moment, token))));
            }
        }
    }
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
