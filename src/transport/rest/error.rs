//! From an error's kind to a status and the body that REST clients know: `{error, hint?, message?}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};

use crate::error::{Error, Kind};

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    message: &'a str,
    #[serde(flatten)]
    details: Details<'a>,
}

/// An error's own facts, beside what every error has.
struct Details<'a>(&'a [(&'static str, String)]);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Seconds after which a client may try again when a dependency was away.
pub(in crate::transport) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The answer to an error.
pub(in crate::transport) fn answer(error: &Error) -> Response {
    let status = match error.kind() {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if error.kind() == Kind::Internal {
        tracing::error!(?error, "a fault of ours");
    }
    let body = Body {
        error: error.code(),
        hint: error.hint_text(),
        message: error.message(),
        details: Details(error.details()),
    };
    let mut response = respond(status, body);
    if error.kind() == Kind::Unauthenticated {
        // Of the ways to show an identity this is the one that HTTP has a name for.
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Kind::TooOften(seconds) = error.kind() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer that no error of the domain stands for.
pub(in crate::transport) fn answer_with(status: StatusCode, code: &str, message: &str, hint: Option<&str>) -> Response {
    respond(status, Body { error: code, hint, message, details: Details(&[]) })
}

fn respond(status: StatusCode, body: Body<'_>) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}
