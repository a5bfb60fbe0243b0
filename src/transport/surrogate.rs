//! What an answer depends on, told to caches on the way, so that they can be purged by what changes.

use std::borrow::Cow;

use axum::http::HeaderName;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::coherence::Tags;

pub(super) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub(super) const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// Longest `Surrogate-Key`, bytes. Proxies refuse answers with headers beyond a few kilobytes, and a list that was cut would
/// leave its answer in the cache when what it does not name changes.
const MAX_BYTES: usize = 2_000;

/// What of ASCII is escaped in a tag, as is all that is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The tags, and the wildcards of their kinds, which large statements raise: separated by blanks, what is not plain escaped.
/// `None` when they are too many.
pub(super) fn keys(tags: &Tags) -> Option<String> {
    let mut text = String::new();
    let names = tags.names().iter().map(|tag| Cow::from(tag.as_str()));
    for name in names.chain(tags.wildcards().map(Cow::from)) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(utf8_percent_encode(&name, ESCAPED));
        if text.len() > MAX_BYTES {
            return None;
        }
    }
    Some(text)
}

/// The tags that [`keys`] wrote.
pub(super) fn tags(keys: &str) -> Vec<String> {
    let tag = |key| percent_decode_str(key).decode_utf8_lossy().into_owned();
    keys.split(' ').filter(|key| !key.is_empty()).map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coherence::Tag;

    #[test]
    fn tags_are_named_whole_or_not_at_all() {
        let some = |names: &[&str]| keys(&Tags::new(names.iter().map(|n| Tag::new(*n))));
        assert_eq!(some(&["b", "a b%"]).as_deref(), Some("a%20b%25 b a:* b:*"));
        assert_eq!(some(&["as", "a:2", "as@x:1", "a:1"]).as_deref(), Some("a:1 a:2 as as@x:1 a:* as:*"));
        assert_eq!(some(&[]).as_deref(), Some(""));
        let many: Vec<String> = (0..100).map(|n| format!("asset:{n:064}")).collect();
        assert_eq!(some(&many.iter().map(String::as_str).collect::<Vec<_>>()), None);
    }
}
