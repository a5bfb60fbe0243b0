//! Parameters of the REST routes, as a query string or a form gives them.

use std::collections::BTreeMap;

use overlay_entity::ids::VersionId;

use crate::error::{Error, Result};

/// Longest value, characters.
const MAX_VALUE: usize = 500;

/// Parameters whose readers check their length themselves.
const LONG: [&str; 3] = ["cursor", "node", "nodeId"];

/// What was given of `names`, by name. A parameter that is there but empty counts as not given: it is a form field that was
/// left empty.
///
/// # Errors
/// `bad-request` naming a parameter that is not known, comes twice, is too long, or holds a NUL.
pub(super) fn read(query: &str, names: &[&'static str]) -> Result<BTreeMap<&'static str, String>> {
    let mut given = BTreeMap::new();
    // As browsers write query strings; bytes that are not UTF-8 are replaced.
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
        let Some(known) = names.iter().find(|known| **known == name) else {
            let known = names.join(", ");
            return Err(Error::invalid(format!("unknown parameter `{name}`; known are {known}")).hint(name));
        };
        if value.contains('\0') || value.chars().count() > MAX_VALUE && !LONG.contains(known) {
            let message = format!("`{known}` must be at most {MAX_VALUE} characters, without NUL");
            return Err(Error::invalid(message).hint(*known));
        }
        if !value.is_empty() && given.insert(*known, value).is_some() {
            return Err(Error::invalid(format!("`{known}` may be given once")).hint(*known));
        }
    }
    Ok(given)
}

/// Whether a parameter is there, be it empty.
pub(super) fn is_there(query: Option<&str>, name: &str) -> bool {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|(given, _)| given == name)
}

/// A whole number of digits alone.
///
/// # Errors
/// `bad-request` naming the parameter when it is something else, or not from `min` to `max`.
pub(super) fn number(
    given: &BTreeMap<&'static str, String>, name: &'static str, min: u32, max: u32,
) -> Result<Option<u32>> {
    let Some(text) = given.get(name) else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Digits too many for the type are a number all the same: the largest.
    let value = digits.then(|| text.parse::<u32>().unwrap_or(u32::MAX));
    value.filter(|v| (min..=max).contains(v)).map(Some).ok_or_else(|| {
        let form = if max == u32::MAX { format!("{min} or more") } else { format!("{min} to {max}") };
        Error::invalid(format!("`{name}` must be a whole number, {form}")).hint(name)
    })
}

/// A version's identifier that must be given.
///
/// # Errors
/// `bad-request` naming the parameter when it is missing or no 64 lower-case hex digits.
pub(super) fn version_id(given: &BTreeMap<&'static str, String>, name: &'static str) -> Result<VersionId> {
    id(given.get(name).map_or("", String::as_str), name)
}

/// A version's identifier.
///
/// # Errors
/// `bad-request` naming `name` when the text is no 64 lower-case hex digits.
pub(super) fn id(text: &str, name: &'static str) -> Result<VersionId> {
    text.parse().map_err(|_| Error::invalid(format!("`{name}` must be 64 lower-case hex digits")).hint(name))
}
