//! A finished answer to a read, and what is said around it: entity tag, 304, how long it holds and where it came from.
//!
//! A handler marks its answer as finished ([`finish`]); the front ([`super::front`]) dresses it, keeps it if it may be kept,
//! and dresses the kept one alike.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_128;

use super::asked::Conditions;
use super::origin::Origin;
use super::surrogate::{self, SURROGATE_CONTROL, SURROGATE_KEY};
use crate::cache;
use crate::coherence::{Consistency, Tags};
use crate::domain::caller::Caller;

/// How long an answer holds that read nothing: only another version of the server would change it.
const STATIC: Duration = Duration::from_secs(60);

/// A handler's note on its answer: it is a read without errors.
#[derive(Clone)]
pub(super) struct Note {
    pub(super) caller: Caller,
    /// How fresh the request's body asks the answer to be.
    pub(super) demand: Consistency,
    hold: Hold,
}

/// How long clients may keep an answer.
#[derive(Clone, Copy)]
pub(super) enum Hold {
    /// As long as the least TTL of what was read.
    Least,
    /// As long as the route promises.
    For(Duration),
    /// Not without asking whether it still holds: it is about the present.
    Ask,
}

/// A 200 with the note that makes it a finished answer. `last_modified` says when what is shown last changed, where it is
/// known.
pub(super) fn finish(
    content_type: &'static str, bytes: Vec<u8>, caller: Caller, demand: Consistency, hold: Hold,
    last_modified: Option<DateTime<Utc>>,
) -> Response {
    let etag = etag(&bytes);
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    put(headers, header::ETAG, etag);
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Overlay-Consistency"));
    if let Some(time) = last_modified {
        put(headers, header::LAST_MODIFIED, http_date(time));
    }
    response.extensions_mut().insert(Note { caller, demand, hold });
    response
}

/// The entity tag of a body. Weak: compression may change the bytes, never what they say.
pub(super) fn etag(body: &[u8]) -> String {
    format!("W/\"{:032x}\"", xxh3_128(body))
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// An answer with all its headers but those that differ from request to request, as lines that can be sent.
pub struct Finished {
    /// `name: value` lines, each with its end: first what describes the body, then how long it holds, then the rest.
    lines: Bytes,
    /// Where the lines that describe the body end: a 304 leaves them out.
    described: usize,
    /// Where the line of `Cache-Control` ends.
    controlled: usize,
    etag: Bytes,
    /// Seconds since 1970.
    last_modified: Option<i64>,
    pub(super) body: Bytes,
    /// Length of the body, where it is known: one that HEAD has stripped may not tell.
    length: Option<usize>,
}

impl Finished {
    /// `headers` and `body` as the handler and the layers left them, the body stripped when `is_head`. `tags` are named to caches on the way, when they are known.
    pub(super) fn new(mut headers: HeaderMap, body: Bytes, is_head: bool, note: &Note, tags: Option<&Tags>) -> Self {
        let told = headers.remove(header::CONTENT_LENGTH);
        let ledger = note.caller.ledger();
        // What was not verified is worth asking for again.
        let max_age = match (note.hold, note.demand) {
            _ if ledger.is_unverified() => None,
            // It changes without anybody's doing.
            (Hold::Least, _) if ledger.is_live() => None,
            (Hold::Least, Consistency::Bounded) => Some(ledger.ttl().unwrap_or(STATIC)),
            (Hold::For(time), Consistency::Bounded) => Some(time),
            _ => None,
        };
        let control = max_age.map_or("no-cache".to_owned(), |time| format!("public, max-age={}", time.as_secs()));
        put(&mut headers, header::CACHE_CONTROL, control);
        match tags.map(surrogate::keys) {
            Some(Some(keys)) if keys.is_empty() => {}
            Some(Some(keys)) => put(&mut headers, SURROGATE_KEY, keys),
            Some(None) | None => {
                headers.insert(SURROGATE_CONTROL, HeaderValue::from_static("no-store"));
            }
        }
        let lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let mut finished = Self::of(&lines, body);
        if is_head {
            finished.length = told.and_then(|told| told.to_str().ok()?.parse().ok());
        }
        finished
    }

    pub(super) fn of(headers: &[(&str, &[u8])], body: Bytes) -> Self {
        let describes = |name: &str| [header::CONTENT_TYPE, header::CONTENT_ENCODING].iter().any(|other| name == other);
        let controls = |name: &str| name == header::CACHE_CONTROL;
        let size = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut lines = Vec::with_capacity(size);
        let mut write = |is_due: &dyn Fn(&str) -> bool| {
            for (name, value) in headers.iter().filter(|(name, _)| is_due(name)) {
                line(&mut lines, name, value);
            }
            lines.len()
        };
        let (described, controlled) = (write(&describes), write(&controls));
        write(&|name| !describes(name) && !controls(name));
        let header = |wanted: HeaderName| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        Self {
            lines: lines.into(),
            described,
            controlled,
            etag: Bytes::copy_from_slice(header(header::ETAG).unwrap_or_default()),
            last_modified: header(header::LAST_MODIFIED).and_then(seconds),
            length: Some(body.len()),
            body,
        }
    }

    /// Time for which the answer may be served again: never longer than clients are told.
    pub(super) fn ttl(note: &Note) -> Duration {
        let ttl = note.caller.ledger().ttl().unwrap_or(STATIC);
        match note.hold {
            Hold::For(time) => time.min(ttl),
            Hold::Least | Hold::Ask => ttl,
        }
    }

    /// What the answer depends on, where that was told.
    pub(super) fn tags(&self) -> Option<Vec<String>> {
        self.headers().find(|(name, _)| *name == SURROGATE_KEY).map(|(_, keys)| surrogate::tags(keys))
    }

    /// Its headers, all of which are ours, and text.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = std::str::from_utf8(&self.lines).unwrap_or_default().lines();
        lines.filter_map(|line| line.split_once(": "))
    }

    /// Whether the body is this one.
    pub(super) fn is(&self, body: &[u8]) -> bool {
        self.body == body
    }

    /// The answer to one request: its status line and headers go to `head`, where more may follow, its body is returned.
    pub(super) fn dress(&self, asked: &Conditions<'_>, origin: &Origin<'_>, head: &mut Vec<u8>) -> Dressed {
        let is_known = asked.know(&self.etag, self.last_modified);
        let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        head.reserve(self.lines.len() + ROOM);
        head.extend_from_slice(if is_known { b"HTTP/1.1 304 Not Modified\r\n" } else { b"HTTP/1.1 200 OK\r\n" });
        if !is_known {
            head.extend_from_slice(&self.lines[..self.described]);
            if let Some(length) = self.length {
                line(head, "content-length", itoa::Buffer::new().format(length).as_bytes());
            }
        }
        // Who asked for freshness must not be answered by a browser or a proxy the next time.
        if asked.consistency == Consistency::Bounded {
            head.extend_from_slice(&self.lines[self.described..]);
        } else {
            head.extend_from_slice(b"cache-control: no-cache\r\n");
            head.extend_from_slice(&self.lines[self.controlled..]);
        }
        origin.tell(head);
        let body = if is_known || asked.is_head { Bytes::new() } else { self.body.clone() };
        Dressed { status, body }
    }
}

/// Bytes that the headers of one request take, more or less.
const ROOM: usize = 400;

/// A header's line.
pub(super) fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// What is left of an answer when its head is written.
pub(super) struct Dressed {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Dressed {
    /// The answer that `head` begins, for a transport that writes it itself.
    pub(super) fn response(self, head: &[u8]) -> Response {
        let mut response = Response::new(if self.body.is_empty() { Body::empty() } else { self.body.into() });
        *response.status_mut() = self.status;
        // The status line is not a header.
        let lines = head.iter().position(|byte| *byte == b'\n').map_or(&b""[..], |end| &head[end + 1..]);
        let lines = [lines, b"\r\n"].concat();
        let mut slots = [httparse::EMPTY_HEADER; MAX_LINES];
        if let Ok(httparse::Status::Complete((_, lines))) = httparse::parse_headers(&lines, &mut slots) {
            for line in lines {
                let name = HeaderName::from_bytes(line.name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) {
                    response.headers_mut().append(name, value);
                }
            }
        }
        response
    }
}

/// Most lines of an answer's head.
const MAX_LINES: usize = 64;

/// Most bytes of the lines that are kept.
const MAX_LINES_BYTES: usize = 16 << 10;

/// What no kept answer has: headers that frame an answer, or belong to one connection or one client. Found in Redis, they
/// were written by somebody else.
const NEVER_KEPT: [&str; 14] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "set-cookie",
    "date",
    "age",
    "x-cache",
    "cache-status",
    "x-request-id",
];

/// In Redis an answer is as it is sent: lines, an empty one, the body.
impl cache::Answer for Finished {
    fn weight(&self) -> usize {
        self.body.len() + self.lines.len() + self.etag.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        for part in [&self.lines[..], b"\r\n", &self.body] {
            out.extend_from_slice(part);
        }
    }

    fn read(bytes: Bytes) -> Option<Self> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_LINES];
        let Ok(httparse::Status::Complete((end, lines))) = httparse::parse_headers(&bytes, &mut slots) else {
            return None;
        };
        let lines: Vec<_> = lines.iter().map(|line| (line.name, line.value)).collect();
        let is_ours = |name: &str| !NEVER_KEPT.iter().any(|never| name.eq_ignore_ascii_case(never));
        if end > MAX_LINES_BYTES || !lines.iter().all(|(name, _)| is_ours(name)) {
            return None;
        }
        let answer = Self::of(&lines, bytes.slice(end..));
        let is_whole = !answer.etag.is_empty() && bytes.starts_with(&answer.lines) && answer.lines.len() + 2 == end;
        is_whole.then_some(answer)
    }
}

impl Conditions<'_> {
    /// Whether the client has this answer already.
    fn know(&self, etag: &[u8], last_modified: Option<i64>) -> bool {
        match (self.if_none_match.as_deref(), self.if_modified_since.as_deref()) {
            (Some(known), _) => has_etag(known, etag),
            (None, Some(since)) => last_modified.zip(seconds(since)).is_some_and(|(last, since)| last <= since),
            (None, None) => false,
        }
    }
}

/// Weak comparison, as `If-None-Match` asks for (RFC 9110 §13.1.2).
pub(super) fn has_etag(known: &[u8], etag: &[u8]) -> bool {
    let opaque = |tag: &[u8]| {
        let tag = tag.trim_ascii();
        tag.strip_prefix(b"W/").unwrap_or(tag).to_owned()
    };
    known == etag || known.trim_ascii() == b"*" || known.split(|b| *b == b',').any(|tag| opaque(tag) == opaque(etag))
}

/// A date of HTTP as seconds since 1970.
fn seconds(date: &[u8]) -> Option<i64> {
    let time = DateTime::parse_from_rfc2822(std::str::from_utf8(date).ok()?);
    time.ok().map(|time| time.timestamp())
}

/// RFC 9110 §5.6.7.
pub(super) fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Answer as _;

    #[test]
    fn etags_compare_weakly() {
        let etag = b"W/\"ab\"";
        for known in ["*", "\"ab\"", "W/\"ab\"", "\"x\", W/\"ab\""] {
            assert!(has_etag(known.as_bytes(), etag), "{known}");
        }
        assert!(!has_etag(b"\"a\"", etag));
    }

    #[test]
    fn an_answer_survives_the_journey_and_a_cut_one_does_not() {
        let lines: [(&str, &[u8]); 5] = [
            ("cache-control", b"public, max-age=9"),
            ("etag", b"W/\"x\""),
            ("vary", b"Accept"),
            ("vary", b"Accept-Encoding"),
            ("content-type", b"text/plain"),
        ];
        let answer = Finished::of(&lines, Bytes::from_static(b"{\n\0}"));
        let mut bytes = Vec::new();
        answer.write(&mut bytes);
        let read = Finished::read(bytes.clone().into()).expect("reads");
        let shape =
            |answer: &Finished| (answer.described, answer.controlled, answer.etag.clone(), answer.lines.clone());
        assert_eq!((shape(&read), &read.body), (shape(&answer), &answer.body));
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("an empty line") + 4;
        assert_eq!(&bytes[head..], &read.body[..]);
        for cut in 0..head {
            assert!(Finished::read(bytes[..cut].to_vec().into()).is_none(), "{cut}");
        }
        for never in NEVER_KEPT {
            let forged = [format!("{}: 1\r\n", never.to_uppercase()).as_bytes(), &bytes].concat();
            assert!(Finished::read(forged.into()).is_none(), "{never}");
            let forged = [&bytes[..head - 2], format!("{never}: 1\r\n\r\n{{}}").as_bytes()].concat();
            assert!(Finished::read(forged.into()).is_none(), "{never}");
        }
    }
}
