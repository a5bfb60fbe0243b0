//! Rooms: one noun family each, with no door to a sibling.
//!
//! In a room, `mod` holds the verbs, `model` the nouns as they are cached, `keys` what is cached under which key and tags,
//! `store` the SQL. What needs two rooms is a flow.

pub mod advisories;
pub mod assets;
pub mod caller;
pub mod canonical;
pub mod hex;
pub mod lineage;
pub mod page;
pub mod policies;
pub mod prices;
pub mod producers;
pub mod receipts;
pub mod sessions;
pub mod spv;
pub mod whole;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result};

/// One thing wrong with a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// RFC 6901 pointer to the place.
    pub pointer: String,
    /// What must hold there.
    pub rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.rule)
    }
}

impl Fault {
    /// Most that are told.
    const MOST_TOLD: usize = 20;

    /// The first of them as one text.
    pub fn told(faults: &[Self]) -> String {
        faults.iter().take(Self::MOST_TOLD).map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// The error of a faulty document, with the first place as its hint.
    pub fn refusal(kind: Kind, code: &'static str, faults: &[Self]) -> Error {
        let error = Error::new(kind, code, Self::told(faults));
        match faults.first() {
            Some(fault) => error.hint(fault.pointer.clone()),
            None => error,
        }
    }
}

/// Whether a text in it, or a name, holds the character NUL, which PostgreSQL cannot keep.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Longest text that can be searched for, characters.
pub const MAX_QUERY: usize = 200;

/// Whether a text can be searched for; `parameter` is what the client called it.
///
/// # Errors
/// `bad-request` naming the parameter when it is blank, too long, or holds a NUL, which no text in the database can.
pub fn check_query(text: &str, parameter: &'static str) -> Result<()> {
    if text.trim().is_empty() || text.chars().count() > MAX_QUERY || text.contains('\0') {
        let message = format!("`{parameter}` must be 1 to {MAX_QUERY} characters, not all blank, without NUL");
        return Err(Error::invalid(message).hint(parameter));
    }
    Ok(())
}

/// The text, if it has 1 to `most` bytes and no NUL.
///
/// # Errors
/// `bad-request` naming the parameter.
pub fn within<'a>(text: &'a str, most: usize, parameter: &'static str) -> Result<&'a str> {
    if text.is_empty() || text.len() > most || text.contains('\0') {
        return Err(Error::invalid(format!("`{parameter}` must be 1 to {most} bytes, without NUL")).hint(parameter));
    }
    Ok(text)
}

/// A `like` pattern for texts that contain `part`.
pub fn containing(part: &str) -> String {
    format!("%{}%", part.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_"))
}

/// A JSON document that is passed through as it is: kept as text, parsed by whoever needs its inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(Box<RawValue>);

impl Document {
    /// The document of a parsed value.
    ///
    /// # Errors
    /// `internal` when the value cannot be written as JSON.
    pub fn new(value: &serde_json::Value) -> Result<Self> {
        serde_json::value::to_raw_value(value).map(Self).map_err(Error::internal)
    }

    /// The document's JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }
}
