//! JSON bodies.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};

/// A body as JSON of the form that is wanted.
///
/// # Errors
/// `unsupported-media-type` when the request does not call it JSON, which a browser's form cannot; `bad-request` with the
/// place when it is not, or not of that form; `payload-too-large`.
pub(super) fn json<T: DeserializeOwned>(
    headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>,
) -> Result<T> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "the body must be JSON, and `Content-Type` must say `application/json`";
        return Err(Error::new(Kind::UnsupportedMediaType, "unsupported-media-type", message));
    }
    let bytes = bytes.map_err(|refused| {
        let message = format!("{}; see BODY_SIZE_LIMIT", refused.body_text());
        Error::new(Kind::PayloadTooLarge, "payload-too-large", message)
    })?;
    serde_json::from_slice(&bytes).map_err(|cause| Error::invalid(format!("the body: {cause}")))
}
