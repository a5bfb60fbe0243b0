//! The safelist: GraphQL documents that front ends were built with, and what becomes of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::parse::Reader;
use crate::domain::hex::encode_hex;

/// What becomes of a document that is not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum SafelistMode {
    /// There is no list.
    #[default]
    Off,
    /// It is executed, and a line of the log says so.
    Log,
    /// It is refused.
    Enforce,
}

/// Documents by the identifiers that clients name them by; each has its SHA-256 for one too.
#[derive(Debug, Clone, Default, Hash)]
pub struct Safelist {
    /// What becomes of others.
    pub mode: SafelistMode,
    documents: BTreeMap<String, Arc<str>>,
}

/// Largest list, bytes.
const MAX_BYTES: u64 = 64 << 20;

/// As Apollo's tools write it.
#[derive(Deserialize)]
struct Manifest {
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    body: String,
}

impl Safelist {
    /// The document of an identifier.
    pub fn get(&self, id: &str) -> Option<&Arc<str>> {
        self.documents.get(id)
    }

    /// Whether a document is on the list, to the letter.
    pub fn has(&self, text: &str) -> bool {
        self.documents.get(&hash(text)).is_some_and(|known| **known == *text)
    }

    /// How many identifiers there are.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Reads a list: Apollo's persisted query manifest, or an object of identifiers and documents, as Relay's compiler writes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8], mode: SafelistMode) -> Result<Self, String> {
        let pairs: Vec<(String, String)> = match serde_json::from_slice::<Manifest>(bytes) {
            Ok(manifest) => manifest.operations.into_iter().map(|operation| (operation.id, operation.body)).collect(),
            Err(_) => {
                let documents: Result<BTreeMap<String, String>, _> = serde_json::from_slice(bytes);
                let form = "holds neither Apollo's manifest ({\"operations\": [{\"id\", \"body\"}]}) nor an object of identifiers and documents";
                documents.map_err(|cause| format!("{form}: {cause}"))?.into_iter().collect()
            }
        };
        let mut documents: BTreeMap<String, Arc<str>> = BTreeMap::new();
        for (id, text) in pairs {
            let text: Arc<str> = text.into();
            for name in [hash(&text), id] {
                if documents.insert(name.clone(), text.clone()).is_some_and(|other| other != text) {
                    return Err(format!("gives two documents the identifier `{name}`"));
                }
            }
        }
        Ok(Self { mode, documents })
    }
}

fn hash(text: &str) -> String {
    encode_hex(&Sha256::digest(text))
}

pub(super) fn safelist(r: &mut Reader<'_>) -> Safelist {
    let mode = match r.choice("SAFELIST_MODE", &["off", "log", "enforce"]) {
        "log" => SafelistMode::Log,
        "enforce" => SafelistMode::Enforce,
        _ => return Safelist::default(),
    };
    let Some(path) = r.text("SAFELIST_FILE") else {
        r.fault_because("SAFELIST_FILE", "must name the list that SAFELIST_MODE is about".into());
        return Safelist::default();
    };
    let read = || {
        let path = path.trim();
        let size = std::fs::metadata(path).map_err(|cause| format!("cannot be read: {cause}"))?.len();
        if size > MAX_BYTES {
            return Err("is larger than 64 MiB".to_owned());
        }
        Safelist::parse(&std::fs::read(path).map_err(|cause| format!("cannot be read: {cause}"))?, mode)
    };
    read().unwrap_or_else(|why| {
        r.fault_because("SAFELIST_FILE", format!("{path:?} {why}"));
        Safelist::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_a_document_is_known_to_the_letter() {
        let apollo = br#"{"format": "apollo-persisted-query-manifest", "version": 1,
            "operations": [{"id": "one", "name": "A", "type": "query", "body": "{ a }"}]}"#;
        for bytes in [&apollo[..], br#"{"one": "{ a }"}"#] {
            let list = Safelist::parse(bytes, SafelistMode::Enforce).expect("a list");
            assert_eq!(list.get("one").map(|text| &**text), Some("{ a }"));
            assert_eq!(list.get(&hash("{ a }")).map(|text| &**text), Some("{ a }"));
            assert!(list.has("{ a }") && !list.has("{ a  }") && !list.has("{ b }"));
        }
        for bytes in
            [&b"[]"[..], b"", b"{\"a\": 1}", br#"{"operations": [{"id": "x", "body": "1"}, {"id": "x", "body": "2"}]}"#]
        {
            assert!(Safelist::parse(bytes, SafelistMode::Log).is_err());
        }
    }
}
