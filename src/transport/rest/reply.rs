//! A cacheable answer: entity tag, 304, and where it came from.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::error;
use crate::cache::{Ledger, Outcome};
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::error::Error;

/// What a read answers with.
pub(super) struct Reply<'a, T> {
    pub(super) body: &'a T,
    /// `Cache-Control: public, max-age`.
    pub(super) max_age: Duration,
    /// When what is shown last changed, where it is known.
    pub(super) last_modified: Option<DateTime<Utc>>,
}

impl<T: Serialize> Reply<'_, T> {
    /// The answer, or 304 when the client has it already.
    pub(super) fn answer(self, request: &HeaderMap, caller: &Caller) -> Response {
        let bytes = match serde_json::to_vec(self.body) {
            Ok(bytes) => bytes,
            Err(cause) => return error::answer(&Error::internal(cause)),
        };
        // Weak: compression may change the bytes, never what they say.
        let etag = format!("W/\"{:032x}\"", xxh3_128(&bytes));
        let not_modified = match request.get(header::IF_NONE_MATCH) {
            Some(known) => has_etag(known, &etag),
            None => self.last_modified.is_some_and(|t| unmodified_since(request, t)),
        };
        let mut response = if not_modified {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
        };
        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put(header::ETAG, etag);
        // Who asked for freshness must not be answered by a browser or a proxy the next time.
        let cache_control = match caller.consistency() {
            Consistency::Bounded => format!("public, max-age={}", self.max_age.as_secs()),
            Consistency::AtLeast(_) | Consistency::Strong => "no-cache".to_owned(),
        };
        put(header::CACHE_CONTROL, cache_control);
        put(header::VARY, "Overlay-Consistency".into());
        if let Some(time) = self.last_modified {
            put(header::LAST_MODIFIED, http_date(time));
        }
        provenance(&mut put, caller.ledger());
        response
    }
}

/// `x-cache` for old clients, `Cache-Status` (RFC 9211) and `Server-Timing` for new ones.
fn provenance(put: &mut impl FnMut(HeaderName, String), ledger: &Ledger) {
    let outcome = ledger.outcome().unwrap_or(Outcome::Miss);
    let status = match outcome {
        Outcome::Hit | Outcome::Stale => "overlay; hit".to_owned(),
        Outcome::Miss => "overlay; fwd=miss".to_owned(),
    };
    // Of an entry past its soft TTL nothing is left, which is what a negative or zero ttl says.
    let ttl = ledger.ttl().map(|t| format!("; ttl={}", t.as_secs())).unwrap_or_default();
    put(HeaderName::from_static("cache-status"), status + &ttl);
    put(HeaderName::from_static("x-cache"), outcome.label().to_owned());
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let timing = format!("load;dur={:.3}, total;dur={:.3}", ms(ledger.load_time()), ms(ledger.elapsed()));
    put(HeaderName::from_static("server-timing"), timing);
}

/// Weak comparison, as `If-None-Match` asks for (RFC 9110 §13.1.2).
fn has_etag(known: &HeaderValue, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.to_str().is_ok_and(|list| list.trim() == "*" || list.split(',').any(|tag| opaque(tag) == opaque(etag)))
}

fn unmodified_since(request: &HeaderMap, time: DateTime<Utc>) -> bool {
    let since = request.get(header::IF_MODIFIED_SINCE).and_then(|v| v.to_str().ok());
    since.and_then(|s| DateTime::parse_from_rfc2822(s).ok()).is_some_and(|s| time.timestamp() <= s.timestamp())
}

/// RFC 9110 §5.6.7.
fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_compare_weakly() {
        let etag = "W/\"ab\"";
        for known in ["*", "\"ab\"", "W/\"ab\"", "\"x\", W/\"ab\""] {
            assert!(has_etag(&HeaderValue::from_static(known), etag), "{known}");
        }
        assert!(!has_etag(&HeaderValue::from_static("\"a\""), etag));
    }
}
