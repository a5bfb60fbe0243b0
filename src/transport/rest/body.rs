//! JSON bodies.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
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

/// A whole number. To JSON, `2.0` is one, as it is to JSON Schema.
pub(super) fn whole<'de, D: Deserializer<'de>, N: TryFrom<i64>>(given: D) -> std::result::Result<N, D::Error> {
    let number = serde_json::Number::deserialize(given)?;
    let double = || number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() <= MAX_SAFE_INTEGER);
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
    let whole = number.as_i64().or_else(|| double().map(|double| double as i64));
    let fitting = whole.and_then(|whole| N::try_from(whole).ok());
    fitting.ok_or_else(|| D::Error::custom(format!("`{number}` is no whole number of the range that is wanted")))
}

/// Beyond it a double is no longer a single whole number.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

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

fn read(headers: &HeaderMap, bytes: std::result::Result<Bytes, BytesRejection>) -> Result<Bytes> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "the body must be JSON, and `Content-Type` must say `application/json`";
        return Err(Error::new(Kind::UnsupportedMediaType, "unsupported-media-type", message));
    }
    bytes.map_err(|refused| {
        let message = format!("{}; see BODY_SIZE_LIMIT", refused.body_text());
        Error::new(Kind::PayloadTooLarge, "payload-too-large", message)
    })
}
