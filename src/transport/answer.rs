//! A finished answer to a read, and what is said around it: entity tag, 304, how long it holds and where it came from.
//!
//! A handler marks its answer as finished ([`finish`]); the front ([`super::front`]) dresses it, keeps it if it may be kept,
//! and dresses the kept one alike.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::cache::{self, Ledger, Outcome};
use crate::coherence::{Consistency, Tags};
use crate::domain::caller::Caller;

/// The headers that say where an answer came from.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// How long an answer holds that read nothing: only another version of the server would change it.
const STATIC: Duration = Duration::from_secs(60);

/// Longest `Surrogate-Key`, bytes. Proxies refuse answers with headers beyond a few kilobytes, and a list that was cut would
/// leave an answer unpurged.
const MAX_SURROGATE_KEY: usize = 2_000;

/// A handler's note on its answer: it is a read without errors.
#[derive(Clone)]
pub(super) struct Note {
    pub(super) caller: Caller,
    /// How fresh the request's body asks the answer to be.
    pub(super) demand: Consistency,
    /// How long clients may keep it; the least TTL of what was read when not given.
    max_age: Option<Duration>,
}

/// A 200 with the note that makes it a finished answer. `last_modified` says when what is shown last changed, where it is
/// known.
pub(super) fn finish(
    content_type: &'static str, bytes: Vec<u8>, caller: Caller, demand: Consistency, max_age: Option<Duration>,
    last_modified: Option<DateTime<Utc>>,
) -> Response {
    // Weak: compression may change the bytes, never what they say.
    let etag = format!("W/\"{:032x}\"", xxh3_128(&bytes));
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    put(headers, header::ETAG, etag);
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Overlay-Consistency"));
    if let Some(time) = last_modified {
        put(headers, header::LAST_MODIFIED, http_date(time));
    }
    response.extensions_mut().insert(Note { caller, demand, max_age });
    response
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// An answer with all its headers but those that differ from request to request.
pub struct Finished {
    headers: HeaderMap,
    body: Bytes,
}

impl Finished {
    /// `headers` as the handler and the layers left them. `tags` are named to caches on the way, when they are known.
    pub(super) fn new(mut headers: HeaderMap, body: Bytes, note: &Note, tags: Option<&Tags>) -> Self {
        headers.remove(header::CONTENT_LENGTH);
        let ledger = note.caller.ledger();
        let max_age = note.max_age.unwrap_or_else(|| ledger.ttl().unwrap_or(STATIC)).as_secs();
        // What was not verified is worth asking for again.
        let control = match (ledger.is_unverified(), note.demand) {
            (false, Consistency::Bounded) => format!("public, max-age={max_age}"),
            _ => "no-cache".to_owned(),
        };
        put(&mut headers, header::CACHE_CONTROL, control);
        match tags.map(surrogate_key) {
            Some(Some(keys)) if keys.is_empty() => {}
            Some(Some(keys)) => put(&mut headers, SURROGATE_KEY, keys),
            Some(None) | None => {
                headers.insert(SURROGATE_CONTROL, HeaderValue::from_static("no-store"));
            }
        }
        Self { headers, body }
    }

    /// Time for which the answer may be served again: never longer than clients are told.
    pub(super) fn ttl(note: &Note) -> Duration {
        let ttl = note.caller.ledger().ttl().unwrap_or(STATIC);
        note.max_age.map_or(ttl, |max_age| max_age.min(ttl))
    }

    /// Whether the body is this one.
    pub(super) fn is(&self, body: &[u8]) -> bool {
        self.body == body
    }

    /// The answer to one request.
    pub(super) fn dress(&self, asked: &Conditions, origin: &Origin<'_>) -> Response {
        let is_known = asked.know(&self.headers);
        let mut response =
            Response::new(if is_known || asked.is_head { Body::empty() } else { self.body.clone().into() });
        let mut headers = self.headers.clone();
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_ENCODING);
        } else if asked.is_head && !self.body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        // Who asked for freshness must not be answered by a browser or a proxy the next time.
        if asked.consistency != Consistency::Bounded {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        origin.tell(&mut headers);
        *response.headers_mut() = headers;
        response
    }
}

/// The tags as caches on the way know them: separated by blanks, what is not plain escaped. `None` when they are too many.
fn surrogate_key(tags: &Tags) -> Option<String> {
    let mut text = String::new();
    for tag in tags.names() {
        if !text.is_empty() {
            text.push(' ');
        }
        for byte in tag.as_str().bytes() {
            match byte {
                b'%' => text.push_str("%25"),
                0x21..=0x7e => text.push(byte as char),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        if text.len() > MAX_SURROGATE_KEY {
            return None;
        }
    }
    Some(text)
}

/// The first line of an answer in Redis; the body follows.
#[derive(Serialize, Deserialize)]
struct Lines<'a> {
    #[serde(borrow)]
    headers: Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
}

impl cache::Answer for Finished {
    fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        self.body.len() + headers
    }

    fn write(&self, out: &mut Vec<u8>) {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned().into();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str().into(), text(value))).collect();
        serde_json::to_writer(&mut *out, &Lines { headers }).expect("texts are JSON, and memory takes every write");
        out.push(b'\n');
        out.extend_from_slice(&self.body);
    }

    fn read(bytes: Bytes) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let lines: Lines<'_> = serde_json::from_slice(&bytes[..end]).ok()?;
        let mut headers = HeaderMap::with_capacity(lines.headers.len() + 8);
        for (name, value) in &lines.headers {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        headers.contains_key(header::ETAG).then(|| Self { headers, body: bytes.slice(end + 1..) })
    }
}

/// What of a request decides over the form of its answer.
pub(super) struct Conditions {
    pub(super) is_head: bool,
    if_none_match: Option<HeaderValue>,
    if_modified_since: Option<HeaderValue>,
    consistency: Consistency,
}

impl Conditions {
    pub(super) fn of(method: &Method, headers: &HeaderMap, consistency: Consistency) -> Self {
        Self {
            is_head: *method == Method::HEAD,
            if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
            if_modified_since: headers.get(header::IF_MODIFIED_SINCE).cloned(),
            consistency,
        }
    }

    /// Whether the client has this answer already.
    fn know(&self, headers: &HeaderMap) -> bool {
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) => headers.get(header::ETAG).is_some_and(|etag| has_etag(known, etag)),
            (None, Some(since)) => {
                let time = |value| DateTime::parse_from_rfc2822(&text(value)?).ok().map(|t| t.timestamp());
                let last = headers.get(header::LAST_MODIFIED).and_then(time);
                last.zip(time(since)).is_some_and(|(last, since)| last <= since)
            }
            (None, None) => false,
        }
    }
}

/// Weak comparison, as `If-None-Match` asks for (RFC 9110 §13.1.2).
fn has_etag(known: &HeaderValue, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known == etag
        || known.to_str().is_ok_and(|list| {
            list.trim() == "*" || etag.to_str().is_ok_and(|etag| list.split(',').any(|t| opaque(t) == opaque(etag)))
        })
}

/// RFC 9110 §5.6.7.
fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Where an answer came from.
pub(super) enum Origin<'a> {
    /// It was kept.
    Kept {
        /// Time since it was built.
        age: Duration,
        /// Time until it is built anew.
        left: Duration,
        /// Time since the request came.
        elapsed: Duration,
    },
    /// It was made for this request.
    Made(&'a Ledger),
}

impl Origin<'_> {
    /// `x-cache` for old clients, `Cache-Status` (RFC 9211), `Age` and `Server-Timing` for new ones.
    fn tell(&self, headers: &mut HeaderMap) {
        let us = |time: Duration| (time.as_micros() / 1_000, time.as_micros() % 1_000);
        match self {
            Self::Kept { age, left, elapsed } => {
                headers.insert(X_CACHE, HeaderValue::from_static("hit"));
                put(headers, CACHE_STATUS, format!("overlay; hit; ttl={}", left.as_secs()));
                headers.insert(header::AGE, age.as_secs().into());
                let (ms, us) = us(*elapsed);
                put(headers, SERVER_TIMING, format!("load;dur=0, total;dur={ms}.{us:03}"));
            }
            Self::Made(ledger) => {
                let outcome = ledger.outcome().unwrap_or(Outcome::Miss);
                let status = match outcome {
                    Outcome::Hit | Outcome::Stale => "overlay; hit",
                    Outcome::Miss => "overlay; fwd=miss",
                };
                // Of an entry past its soft TTL nothing is left, which is what a zero says.
                let ttl = ledger.ttl().map(|t| format!("; ttl={}", t.as_secs())).unwrap_or_default();
                put(headers, CACHE_STATUS, format!("{status}{ttl}"));
                headers.insert(X_CACHE, HeaderValue::from_static(outcome.label()));
                let ((load, load_us), (total, total_us)) = (us(ledger.load_time()), us(ledger.elapsed()));
                put(headers, SERVER_TIMING, format!("load;dur={load}.{load_us:03}, total;dur={total}.{total_us:03}"));
                if ledger.is_unverified() {
                    headers.insert(header::WARNING, HeaderValue::from_static("110 overlay \"Response is Stale\""));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Answer as _;
    use crate::coherence::Tag;

    #[test]
    fn etags_compare_weakly() {
        let etag = HeaderValue::from_static("W/\"ab\"");
        for known in ["*", "\"ab\"", "W/\"ab\"", "\"x\", W/\"ab\""] {
            assert!(has_etag(&HeaderValue::from_static(known), &etag), "{known}");
        }
        assert!(!has_etag(&HeaderValue::from_static("\"a\""), &etag));
    }

    #[test]
    fn tags_are_named_whole_or_not_at_all() {
        let tags = |names: &[&str]| Tags::new(names.iter().map(|n| Tag::new(*n)));
        assert_eq!(surrogate_key(&tags(&["b", "a b%"])).as_deref(), Some("a%20b%25 b"));
        let many: Vec<String> = (0..100).map(|n| format!("asset:{n:064}")).collect();
        assert_eq!(surrogate_key(&Tags::new(many.into_iter().map(Tag::new))), None);
    }

    #[test]
    fn an_answer_survives_the_journey_and_a_cut_one_does_not() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, HeaderValue::from_static("W/\"x\""));
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let mut bytes = Vec::new();
        Finished { headers: headers.clone(), body: Bytes::from_static(b"{\n\0}") }.write(&mut bytes);
        let read = Finished::read(bytes.clone().into()).expect("reads");
        assert_eq!((read.headers, &read.body[..]), (headers, &b"{\n\0}"[..]));
        let head = bytes.iter().position(|b| *b == b'\n').expect("a line");
        for cut in 0..head {
            assert!(Finished::read(bytes[..cut].to_vec().into()).is_none(), "{cut}");
        }
    }
}
