//! What answers have in common: a read's JSON, a write's token.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::error;
use crate::coherence::{Consistency, Token};
use crate::domain::caller::Caller;
use crate::error::Error;
use crate::transport::answer::{self, Hold};
use crate::transport::caller::CONSISTENCY;

/// What a read answers with.
pub(super) struct Reply<'a, T> {
    pub(super) body: &'a T,
    /// `Cache-Control: public, max-age`.
    pub(super) max_age: Duration,
    /// When what is shown last changed, where it is known.
    pub(super) last_modified: Option<DateTime<Utc>>,
}

impl<T: Serialize> Reply<'_, T> {
    /// The answer to `caller`.
    pub(super) fn answer(self, caller: Caller) -> Response {
        match serde_json::to_vec(self.body) {
            Ok(bytes) => answer::finish(
                "application/json",
                bytes,
                caller,
                Consistency::Bounded,
                Hold::For(self.max_age),
                self.last_modified,
            ),
            Err(cause) => error::answer(&Error::internal(cause)),
        }
    }
}

/// An answer to a write, with the token that names it for reads elsewhere.
pub(super) fn with_token(mut response: Response, token: &Token) -> Response {
    if let Ok(token) = HeaderValue::try_from(token.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(CONSISTENCY), token);
    }
    response
}
