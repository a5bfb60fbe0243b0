//! From a request's headers to a [`Caller`]: how fresh its reads must be, and who asks.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use url::{Host, Url};

use super::http::Served;
use crate::coherence::Consistency;
use crate::domain::caller::{Caller, Identity};
use crate::error::{Error, Result};

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
    let wanted = match consistency(request.headers(), served.http.consistency) {
        Ok(wanted) => wanted,
        Err(error) => return super::rest::error::answer(&error),
    };
    let reached = match request.extensions_mut().remove() {
        Some(Reached(outcome)) => outcome,
        None => served.app.feed.reach(wanted).await,
    };
    if let Err(error) = reached {
        return super::rest::error::answer(&error);
    }
    let caller = match request.extensions_mut().remove() {
        Some(As(caller)) => caller,
        None => Caller::reading(wanted),
    };
    let is_developer = served.http.dev_identity && is_local(request.headers());
    let caller = if is_developer { caller.known_as(Identity::Developer) } else { caller };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Whether no page of somebody else's sends the request: a browser names a page's origin, and a developer visits other pages
/// too, which could send anything to a server on the same machine.
fn is_local(headers: &HeaderMap) -> bool {
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
