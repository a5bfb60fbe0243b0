//! From a request's headers to a [`Caller`]: how fresh its reads must be, and who asks.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::answer::Note;
use super::http::Served;
use super::origin::{UNVERIFIED, X_CACHE};
use super::rest;
use crate::cache::Outcome;
use crate::coherence::Consistency;
use crate::domain::caller::{Caller, Identity};
use crate::domain::sessions::Signed;
use crate::error::{Error, Kind, Result};

/// Headers of a signed request.
const IDENTITY_KEY: &str = "X-Identity-Key";
const NONCE: &str = "X-Nonce";
const SIGNATURE: &str = "X-Signature";

/// The header by which a client that tries again is known to.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that asks for freshness.
pub const CONSISTENCY: &str = "overlay-consistency";

/// Put into a request's extensions by who has waited already for the freshness that its header asks for.
#[derive(Clone)]
pub(super) struct Reached(pub(super) Result<()>);

/// Put into a request's extensions by who asks on the server's own behalf.
#[derive(Clone)]
pub(super) struct As(pub(super) Caller);

/// Puts a [`Caller`] into the request's extensions, once the feed is as fresh as the request asks.
pub(super) async fn attach(State(served): State<Served>, mut request: Request, next: Next) -> Response {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let message = "send the body as it is, without `Content-Encoding`";
        return rest::error::answer(&Error::new(Kind::UnsupportedMediaType, "unsupported-media-type", message));
    }
    let wanted = match consistency(request.headers(), served.http.consistency) {
        Ok(wanted) => wanted,
        Err(error) => return rest::error::answer(&error),
    };
    let reached = match request.extensions_mut().remove() {
        Some(Reached(outcome)) => outcome,
        None => served.app.feed.reach(wanted).await,
    };
    if let Err(error) = reached {
        return rest::error::answer(&error);
    }
    let caller = match request.extensions_mut().remove() {
        Some(As(caller)) => caller,
        None => Caller::reading(wanted),
    };
    let caller = match keyed(request.headers(), caller) {
        Ok(caller) => caller,
        Err(error) => return rest::error::answer(&error),
    };
    let (mut request, caller) = match identified(&served, request, caller).await {
        Ok(identified) => identified,
        Err(refused) => return rest::error::answer(&refused),
    };
    if let Err(error) = served.door.show(&caller) {
        return rest::error::answer(&error);
    }
    let reads = caller.clone();
    request.extensions_mut().insert(caller);
    let mut answer = next.run(request).await;
    // Answers that are never kept, and errors, are not dressed like the others: they say so here.
    if reads.ledger().is_unverified() && answer.extensions().get::<Note>().is_none() {
        answer.headers_mut().insert(header::WARNING, UNVERIFIED);
        answer.headers_mut().insert(X_CACHE, HeaderValue::from_static(Outcome::Stale.label()));
    }
    answer
}

/// The caller with what it calls what it wants made.
fn keyed(headers: &HeaderMap, caller: Caller) -> Result<Caller> {
    // What is no text is no key either.
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter().map(|value| value.to_str().unwrap_or_default());
    keys.try_fold(caller, Caller::keyed)
}

/// The caller with the identity that the request proves, and the request with its body whole. Reads are public: what only reads
/// proves nothing, and a proof that fails stands in the way of writes alone.
///
/// # Errors
/// `payload-too-large`: what is signed must be read before it is known who signed.
async fn identified(served: &Served, request: Request, caller: Caller) -> Result<(Request, Caller)> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok((request, caller));
    }
    // Apart: a body that others might read at the same time could not be waited for.
    let (parts, mut body) = request.into_parts();
    let mut bytes = Bytes::new();
    if is_signed(&parts.headers) {
        bytes = whole(body, served.http.body_limit).await?;
        body = Body::from(bytes.clone());
    }
    let caller = proven(served, &parts.headers, &bytes, caller).await;
    Ok((Request::from_parts(parts, body), caller))
}

fn is_signed(headers: &HeaderMap) -> bool {
    [IDENTITY_KEY, NONCE, SIGNATURE].iter().any(|name| headers.contains_key(*name))
}

/// The caller with the identity that headers prove, and `body` where that is what is signed.
async fn proven(served: &Served, headers: &HeaderMap, body: &Bytes, caller: Caller) -> Caller {
    let sessions = &served.app.sessions;
    if is_signed(headers) {
        return match signed(headers) {
            Ok(signed) => caller.known_as(sessions.signer(&signed, body).await),
            Err(error) => caller.known_as(Err(error)),
        };
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return match bearer(headers) {
            Ok(sid) => caller.known_as(sessions.resume(sid).await),
            Err(error) => caller.known_as(Err(error)),
        };
    }
    if served.http.dev_identity && is_local(headers) { caller.known_as(Ok(Identity::Developer)) } else { caller }
}

/// Whether a request may ask how its answer came about; from then on it is an anonymous one.
///
/// # Errors
/// `identity-required`, `forbidden`, or why what it shows proves nothing.
pub(super) async fn may_explain(served: &Served, headers: &mut HeaderMap, body: &Bytes) -> Result<()> {
    proven(served, headers, body, Caller::anonymous()).await.may_administer()?;
    for name in [IDENTITY_KEY, NONCE, SIGNATURE, header::AUTHORIZATION.as_str(), header::COOKIE.as_str()] {
        headers.remove(name);
    }
    Ok(())
}

/// Whether a request may send lineage events: with one of the keys for it, or where everybody is the developer.
///
/// # Errors
/// `identity-required`.
pub(super) fn may_ingest(served: &Served, headers: &HeaderMap) -> Result<()> {
    // Of a hash, an answer's time tells nothing.
    let is_known = |key: &str| served.http.ingest.keys.contains(&Sha256::digest(key).into());
    if bearer(headers).is_ok_and(is_known) || served.http.dev_identity && is_local(headers) {
        return Ok(());
    }
    let message = "lineage events need `Authorization: Bearer` with one of the keys of INGEST_API_KEYS";
    Err(Error::new(Kind::Unauthenticated, "identity-required", message))
}

/// The caller of an operation on a connection that was opened within the session `sid`, or within none.
pub(super) async fn within(served: &Served, sid: Option<&str>, is_local: bool) -> Caller {
    let caller = Caller::reading(served.http.consistency);
    match sid {
        Some(sid) => caller.known_as(served.app.sessions.resume(sid).await),
        None if served.http.dev_identity && is_local => caller.known_as(Ok(Identity::Developer)),
        None => caller,
    }
}

async fn whole(body: Body, limit: usize) -> Result<Bytes> {
    axum::body::to_bytes(body, limit).await.map_err(|cause| {
        let message = "the body is larger than BODY_SIZE_LIMIT, or broke off";
        Error::new(Kind::PayloadTooLarge, "payload-too-large", message).because(cause)
    })
}

/// What the headers of a signed request show.
fn signed(headers: &HeaderMap) -> Result<Signed<'_>> {
    if headers.contains_key(header::AUTHORIZATION) {
        let message = "a request is either signed or sent within a session, not both";
        return Err(Error::new(Kind::Unauthenticated, "signature-invalid", message));
    }
    let one = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
        value.ok_or_else(|| {
            let message = "a signed request has `X-Identity-Key`, `X-Nonce` and `X-Signature`, each once";
            Error::new(Kind::Unauthenticated, "signature-invalid", message).hint(name)
        })
    };
    Ok(Signed { identity_key: one(IDENTITY_KEY)?, nonce: one(NONCE)?, signature: one(SIGNATURE)? })
}

/// The secret that `Authorization` carries.
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
    secret(value.unwrap_or_default())
}

/// The secret in the value of `Authorization`.
pub(super) fn secret(value: &str) -> Result<&str> {
    let (scheme, secret) = value.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        let message = "`Authorization` must be `Bearer` and the `sid` that `openSession` gave";
        return Err(Error::new(Kind::Unauthenticated, "session-expired", message).hint("Authorization"));
    }
    Ok(secret.trim())
}

/// Whether no page of somebody else's sends the request: a browser names a page's origin, and a developer visits other pages
/// too, which could send anything to a server on the same machine.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
        origin.is_some_and(|origin| match origin.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        })
    })
}

/// What the request's header asks for.
///
/// # Errors
/// `bad-request` with the accepted forms.
pub(super) fn consistency(headers: &HeaderMap, default: Consistency) -> Result<Consistency> {
    let mut values = headers.get_all(CONSISTENCY).iter();
    let Some(value) = values.next() else { return Ok(default) };
    let asked = value.to_str().ok().and_then(Consistency::parse).filter(|_| values.next().is_none());
    asked.ok_or_else(|| {
        Error::invalid(format!("`Overlay-Consistency` must be {}", Consistency::FORMS)).hint("Overlay-Consistency")
    })
}
