//! JSON bodies.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result};

/// A body as a JSON object of the form that is wanted. A list is none, though it could be read as an object without names.
///
/// # Errors
/// `unsupported-media-type` when the request does not call it JSON, which a browser's form cannot; `bad-request` with the
/// place when it is not, or not of that form; `payload-too-large`.
pub(super) fn json<T: DeserializeOwned>(
    headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>,
) -> Result<T> {
    let bytes = read(headers, bytes)?;
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Err(Error::invalid("the body must be an object, not a list")),
        _ => parsed(&bytes),
    }
}

/// A body as a JSON list of objects.
///
/// # Errors
/// As [`json`].
pub(super) fn list<T: DeserializeOwned>(
    headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>,
) -> Result<Vec<T>> {
    let bytes = read(headers, bytes)?;
    let items: Vec<&RawValue> = parsed(&bytes)?;
    if items.iter().any(|item| item.get().starts_with('[')) {
        return Err(Error::invalid("the body must be a list of objects"));
    }
    parsed(&bytes)
}

fn parsed<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| Error::invalid(format!("the body: {cause}")))
}

/// Whether a request calls its body JSON.
///
/// # Errors
/// `unsupported-media-type`.
pub(super) fn is_json(headers: &HeaderMap) -> Result<()> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "the body must be JSON, and `Content-Type` must say `application/json`";
        return Err(Error::new(Kind::UnsupportedMediaType, "unsupported-media-type", message));
    }
    Ok(())
}

fn read(headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>) -> Result<Bytes> {
    is_json(headers)?;
    bytes.map_err(|refused| {
        let message = format!("{}; see BODY_SIZE_LIMIT", refused.body_text());
        Error::new(Kind::PayloadTooLarge, "payload-too-large", message)
    })
}
