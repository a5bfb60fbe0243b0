//! Typed keys: a key names one cached value and fixes its type.

use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::ttl::Kind;

/// Tells whether something depends on a tag.
pub type Known<'a> = dyn FnMut(fmt::Arguments<'_>) -> bool + 'a;

/// A type of value that can be cached.
pub trait Cached: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Which time to live and which metrics label its entries have.
    const KIND: Kind;

    /// Whether there may be no such thing: of a page or a count, which may only be empty or nought, there always is one,
    /// and an entry that tells otherwise is none.
    const MAY_BE_ABSENT: bool = true;

    /// Whether a collection that the value belongs to is `known`, by its tag. Only of collections that each change of the value
    /// raises, whatever else raises the value's own tag: an answer that depends on one of them need not depend on the value besides.
    fn belongs(&self, _known: &mut Known<'_>) -> bool {
        false
    }

    /// Bytes of its JSON, roughly: what it is taken to occupy in memory where nothing else tells.
    fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |json| json.len())
    }
}

/// The name of one cached value of type `V`: the same text in memory and in Redis.
pub struct Key<V> {
    text: Arc<str>,
    lock: Option<Arc<str>>,
    value: PhantomData<fn() -> V>,
}

impl<V: Cached> Key<V> {
    /// A key by its full text, e.g. `cache:asset:<versionId>`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), lock: None, value: PhantomData }
    }

    /// The key of a composite that costs much to build: of all processes that want it at a time, one builds it, holding
    /// the lock `lock` in Redis, e.g. `cache:bundle:lock:<versionId>`. Only for keys that are asked for one by one: a
    /// load of several keys takes no lock.
    #[must_use]
    pub fn built_under(self, lock: impl Into<Arc<str>>) -> Self {
        Self { lock: Some(lock.into()), ..self }
    }

    /// The lock under which the value is built.
    pub(super) fn lock(&self) -> Option<&Arc<str>> {
        self.lock.as_ref()
    }

    /// The key's text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl<V> Clone for Key<V> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), lock: self.lock.clone(), value: PhantomData }
    }
}

impl<V> fmt::Debug for Key<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Longest text of parameters that is kept readable in a key, bytes.
const MAX_PARAMS: usize = 200;

/// Canonical parameters of a key: sorted by name, escaped, bounded in length.
#[derive(Debug, Default)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// Adds a parameter that is always there.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// Adds a parameter when there is one.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// `name=value&…`. A text too long to read is cut, and the SHA-256 of the whole takes the place of the rest.
    pub fn canonical(mut self) -> String {
        self.0.sort();
        let mut text = String::new();
        for (name, value) in &self.0 {
            if !text.is_empty() {
                text.push('&');
            }
            text.push_str(name);
            text.push('=');
            escape(&mut text, value);
        }
        if text.len() > MAX_PARAMS {
            let digest = Sha256::digest(text.as_bytes());
            // Escaped text is ASCII, so any cut falls between characters.
            text.truncate(MAX_PARAMS - 69);
            text.push('#');
            for byte in digest {
                write!(text, "{byte:02x}").expect("a String takes every write");
            }
        }
        text
    }
}

/// Percent-encodes everything that is not unreserved in RFC 3986, and the few marks that cursors and names use.
fn escape(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => {
                out.push(byte as char);
            }
            _ => write!(out, "%{byte:02X}").expect("a String takes every write"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_is_sorted_escaped_and_bounded() {
        let text = Params::default().with("q", "a b&c=d").with_some("after", Some("x")).with_some("z", None::<u8>);
        assert_eq!(text.canonical(), "after=x&q=a%20b%26c%3Dd");
        let long = |tail: &str| Params::default().with("q", format!("{}{tail}", "é".repeat(4000))).canonical();
        assert!(long("1").len() <= MAX_PARAMS);
        assert_ne!(long("1"), long("2"));
    }
}
