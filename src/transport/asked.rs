//! What of a request decides over a kept answer: which one it is, in which form, and how fresh it must be.
//!
//! A request is looked at in one pass over its headers, as they lie in the connection's buffer or in a map. One that is not
//! certain to be an anonymous read is not taken: it goes the long way.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header, request};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::caller;
use super::front::FORWARDED_FOR;
use super::graphql::live::events::is_accepted;
use crate::cache::Digest;
use crate::coherence::Consistency;
use crate::config::Http;

/// Routes whose answers are kept, with the path they begin with.
pub(super) const ROUTES: [(&str, &str); 8] = [
    ("/graphql", "/graphql"),
    ("/listings", "/listings"),
    ("/listings/{version_id}", "/listings/"),
    ("/bundle", "/bundle"),
    ("/search", "/search"),
    ("/resolve", "/resolve"),
    ("/openlineage/lineage", "/openlineage/lineage"),
    ("/api/v1/lineage", "/api/v1/lineage"),
];

/// Headers that decide.
#[derive(Clone, Copy)]
enum Decides {
    ContentType,
    Accept,
    AcceptEncoding,
    Origin,
    IfNoneMatch,
    IfModifiedSince,
    Consistency,
    RequestId,
    Traceparent,
    Tracestate,
    ForwardedFor,
}

const DECIDES: [(&str, Decides); 11] = [
    ("content-type", Decides::ContentType),
    ("accept", Decides::Accept),
    ("accept-encoding", Decides::AcceptEncoding),
    ("origin", Decides::Origin),
    ("if-none-match", Decides::IfNoneMatch),
    ("if-modified-since", Decides::IfModifiedSince),
    (caller::CONSISTENCY, Decides::Consistency),
    ("x-request-id", Decides::RequestId),
    ("traceparent", Decides::Traceparent),
    ("tracestate", Decides::Tracestate),
    (FORWARDED_FOR, Decides::ForwardedFor),
];

/// Headers that name a caller, whose answers may be for nobody else, or change what the body or the connection is, or what is
/// told of the answer.
const FOREIGN: [&str; 8] = [
    "authorization",
    "cookie",
    "x-identity-key",
    "x-nonce",
    "x-signature",
    "content-encoding",
    "upgrade",
    super::explain::EXPLAIN,
];

/// A request whose answer may be kept: an anonymous read.
pub(super) struct Asked<'a> {
    method: Method,
    /// Path and query.
    target: &'a str,
    /// Its place in [`ROUTES`].
    pub(super) route: usize,
    headers: [Option<&'a [u8]>; DECIDES.len()],
}

impl<'a> Asked<'a> {
    /// A request of this kind, if one like it may have a kept answer. Its headers are still to be [taken](Self::take).
    pub(super) fn new(method: &Method, target: &'a str) -> Option<Self> {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let is_of = |(name, start): &(&str, &str)| path == *name || start.ends_with('/') && path.starts_with(start);
        let route = ROUTES.iter().rposition(is_of)?;
        let is_read = match *method {
            Method::GET | Method::HEAD => true,
            Method::POST => path == "/graphql",
            _ => false,
        };
        is_read.then(|| Self { method: method.clone(), target, route, headers: Default::default() })
    }

    /// Takes note of a header. `false` says that the request is of the other kind after all.
    pub(super) fn take(&mut self, name: &str, value: &'a [u8]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // A stream of events has no end that could be kept.
        if is("accept") && is_accepted(value) {
            return false;
        }
        if let Some((_, decides)) = DECIDES.iter().find(|(other, _)| is(other)) {
            // Of a header that is sent twice, different readers may take different values.
            return self.headers[*decides as usize].replace(value).is_none();
        }
        !FOREIGN.iter().any(|other| is(other))
    }

    /// The same of a request that was parsed already.
    pub(super) fn of(parts: &'a request::Parts) -> Option<Self> {
        let mut asked = Self::new(&parts.method, parts.uri.path_and_query()?.as_str())?;
        parts.headers.iter().all(|(name, value)| asked.take(name.as_str(), value.as_bytes())).then_some(asked)
    }

    fn header(&self, decides: Decides) -> Option<&'a [u8]> {
        self.headers[decides as usize]
    }

    /// The request's name, for servers with the same `settings`. Each part is preceded by its length, so that no two lists of parts read alike.
    pub(super) fn digest(&self, body: &[u8], http: &Http, settings: u64) -> Digest {
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            let bytes = bytes.unwrap_or_default();
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(Some(&settings.to_le_bytes()));
        // HEAD is answered by what GET answers.
        part(Some(if self.method == Method::POST { b"POST" } else { b"GET" }));
        part(Some(self.target.as_bytes()));
        part(self.header(Decides::ContentType));
        part(self.header(Decides::Accept));
        part(self.header(Decides::AcceptEncoding));
        part(if http.cors_origins.is_empty() { None } else { self.header(Decides::Origin) });
        part(Some(body));
        hash.finalize().into()
    }

    /// How fresh its headers ask the answer to be; `None` for what is not understood.
    pub(super) fn consistency(&self, default: Consistency) -> Option<Consistency> {
        match self.header(Decides::Consistency) {
            None => Some(default),
            Some(text) => Consistency::parse(std::str::from_utf8(text).ok()?),
        }
    }

    /// What it says about the form of its answer.
    pub(super) fn conditions(&self, consistency: Consistency) -> Conditions<'a> {
        Conditions {
            is_head: self.method == Method::HEAD,
            if_none_match: self.header(Decides::IfNoneMatch).map(Cow::from),
            if_modified_since: self.header(Decides::IfModifiedSince).map(Cow::from),
            consistency,
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Whether GraphQL answers it.
    pub(super) fn is_graphql(&self) -> bool {
        ROUTES[self.route].0 == "/graphql"
    }

    /// The id that the client gave it.
    pub(super) fn request_id(&self) -> Option<&'a [u8]> {
        self.header(Decides::RequestId)
    }

    /// Path and query.
    pub(super) fn target(&self) -> &'a str {
        self.target
    }

    /// Of whom a proxy says it is.
    pub(super) fn forwarded_for(&self) -> Option<&'a [u8]> {
        self.header(Decides::ForwardedFor)
    }

    /// Whether it belongs to its caller's trace.
    pub(super) fn is_traced(&self) -> bool {
        self.header(Decides::Traceparent).is_some()
    }

    /// Its caller's trace, where it has one.
    pub(super) fn trace(&self) -> Option<HeaderMap> {
        self.header(Decides::Traceparent)?;
        let mut headers = HeaderMap::new();
        for (name, decides) in &DECIDES[Decides::Traceparent as usize..=Decides::Tracestate as usize] {
            if let Some(value) = self.header(*decides).and_then(|value| HeaderValue::from_bytes(value).ok()) {
                headers.insert(*name, value);
            }
        }
        Some(headers)
    }

    /// A request that is to be answered alike.
    pub(super) fn again(&self, body: &[u8]) -> Option<Request> {
        let mut request = Request::new(Body::from(Bytes::copy_from_slice(body)));
        *request.method_mut() = if self.method == Method::HEAD { Method::GET } else { self.method.clone() };
        *request.uri_mut() = Uri::try_from(self.target).ok()?;
        for (name, value) in self.forms() {
            request.headers_mut().insert(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(request)
    }

    /// Headers that decide over the form of its answer.
    fn forms(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        let held = |(name, decides): &(&'static str, Decides)| Some((*name, self.header(*decides)?));
        DECIDES[..=Decides::Origin as usize].iter().filter_map(held)
    }

    /// What of it is to be written down, so that it can be asked again; `None` when it is no text.
    pub(super) fn written(&self, body: &[u8]) -> Option<Written> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some(Written {
            method: if self.method == Method::POST { "POST" } else { "GET" }.to_owned(),
            target: self.target.to_owned(),
            headers: self.forms().map(|(name, value)| Some((name.to_owned(), text(value)?))).collect::<Option<_>>()?,
            body: text(body)?,
        })
    }
}

/// A request as it is written down.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Written {
    /// The request again, if it is an anonymous read whose answer may be kept: who writes it down may be anybody.
    pub(super) fn request(&self) -> Option<Request> {
        let mut asked = Asked::new(&Method::from_bytes(self.method.as_bytes()).ok()?, &self.target)?;
        let taken = self.headers.iter().all(|(name, value)| asked.take(name, value.as_bytes()));
        taken.then(|| asked.again(self.body.as_bytes())).flatten()
    }
}

/// What of a request decides over the form of its answer.
pub(super) struct Conditions<'a> {
    pub(super) is_head: bool,
    pub(super) if_none_match: Option<Cow<'a, [u8]>>,
    pub(super) if_modified_since: Option<Cow<'a, [u8]>>,
    pub(super) consistency: Consistency,
}

impl Conditions<'_> {
    /// Those of a request of any kind, which may go on meanwhile.
    pub(super) fn of(parts: &request::Parts, consistency: Consistency) -> Self {
        let header = |name| parts.headers.get(name).map(|value| Cow::Owned(value.as_bytes().to_owned()));
        Self {
            is_head: parts.method == Method::HEAD,
            if_none_match: header(header::IF_NONE_MATCH),
            if_modified_since: header(header::IF_MODIFIED_SINCE),
            consistency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(method: &Method, target: &'a str, headers: &[(&str, &'a str)]) -> Option<Asked<'a>> {
        let mut asked = Asked::new(method, target)?;
        headers.iter().all(|(name, value)| asked.take(name, value.as_bytes())).then_some(asked)
    }

    #[test]
    fn only_anonymous_reads_of_kept_routes_are_taken() {
        for (method, target) in
            [(Method::POST, "/graphql"), (Method::GET, "/graphql?query={a}"), (Method::HEAD, "/listings")]
        {
            assert!(asked(&method, target, &[]).is_some(), "{method} {target}");
            for name in FOREIGN.into_iter().chain(["Cookie", "AUTHORIZATION"]) {
                assert!(asked(&method, target, &[(name, "x")]).is_none(), "{method} {target} {name}");
            }
        }
        assert!(asked(&Method::GET, "/listings/ab?x", &[]).is_some_and(|asked| asked.route == 2));
        for (method, target) in [
            (Method::POST, "/listings"),
            (Method::POST, "/api/v1/lineage"),
            (Method::GET, "/api/v1/lineage/batch"),
            (Method::PUT, "/graphql"),
            (Method::GET, "/graphqlx"),
            (Method::GET, "/health"),
            (Method::GET, "http://host/graphql"),
            (Method::OPTIONS, "*"),
        ] {
            assert!(asked(&method, target, &[]).is_none(), "{method} {target}");
        }
    }

    #[test]
    fn a_header_that_decides_and_comes_twice_decides_nothing() {
        for (name, _) in DECIDES {
            let upper = name.to_ascii_uppercase();
            assert!(asked(&Method::GET, "/listings", &[(name, "a")]).is_some());
            assert!(asked(&Method::GET, "/listings", &[(name, "a"), (&upper, "b")]).is_none(), "{name}");
        }
    }
}
