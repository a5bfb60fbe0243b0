//! Scalars of our own, each with the page that specifies it.

use async_graphql::{Context, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use overlay_entity::ids::VersionId;

use super::loaders::Loaders;
use crate::domain::Document;
use crate::error::{Error, Result};

/// Bytes of memory that a value of a document takes beside its text, roughly.
const VALUE: usize = 32;

/// 32 bytes as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hex32(pub(super) VersionId);

#[Scalar(name = "Hex32", specified_by_url = "https://www.rfc-editor.org/rfc/rfc4648#section-8")]
impl ScalarType for Hex32 {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => match text.parse() {
                Ok(id) => Ok(Self(id)),
                Err(_) => Err(InputValueError::custom("must be 64 lower-case hexadecimal digits")),
            },
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    // Asked by validation: a wrong literal is then refused before anything is executed, as the specification wants.
    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// An amount of satoshis, written as a decimal text so that clients whose numbers are 53-bit floats read it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Satoshis(pub(super) i64);

#[Scalar(name = "Satoshis", specified_by_url = "https://en.bitcoin.it/wiki/Satoshi_(unit)")]
impl ScalarType for Satoshis {
    fn parse(value: Value) -> InputValueResult<Self> {
        let amount = match &value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        amount.map(Self).ok_or_else(|| InputValueError::custom("must be a whole number of satoshis"))
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A number of bytes, written as a decimal text for the same reason as [`Satoshis`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) i64);

#[Scalar(name = "Bytes", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259#section-7")]
impl ScalarType for Bytes {
    fn parse(value: Value) -> InputValueResult<Self> {
        let bytes = match &value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        bytes.map(Self).ok_or_else(|| InputValueError::custom("must be a whole number of bytes"))
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Any JSON value.
#[derive(Debug, Clone)]
pub(super) struct Json(pub(super) Value);

impl Json {
    /// Reads a document's text, if the answer has room for it.
    ///
    /// # Errors
    /// `response-too-large`.
    pub(super) fn read(ctx: &Context<'_>, document: &Document) -> Result<Self> {
        // A value is more than its text, the more values there are in it.
        let values = memchr::memchr_iter(b',', document.text().as_bytes()).count();
        ctx.data_unchecked::<Loaders>().room.take(document.text().len() + VALUE * values)?;
        serde_json::from_str(document.text()).map(Self).map_err(Error::internal)
    }
}

#[Scalar(name = "JSON", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}
