//! Reading a manifest: everything wrong with it is told at once, each with a JSON pointer to the place.

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use serde_json::{Map, Value};

use crate::domain::{Fault, has_nul};

/// The producer as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerClaim {
    /// Compressed secp256k1 public key, 66 hex digits.
    pub identity_key: String,
    /// Display name.
    pub name: String,
    /// Web site, if any.
    pub website: Option<String>,
}

/// A manifest that was found in order, taken apart for the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// SHA-256 of the canonical manifest.
    pub version_id: VersionId,
    /// The dataset this is a version of.
    pub dataset_id: String,
    /// Who publishes it.
    pub producer: ProducerClaim,
    /// `content.name` if the manifest has one, else the dataset's identifier.
    pub name: String,
    /// Free text; may be empty.
    pub description: String,
    /// SHA-256 of the content, 64 hex digits.
    pub content_hash: String,
    /// IANA media type.
    pub mime_type: Option<String>,
    /// Bytes.
    pub size_bytes: Option<i64>,
    /// The manifest's `policy` object.
    pub policy_meta: Value,
    /// Direct ancestors, ascending.
    pub parents: Vec<VersionId>,
    /// `provenance.createdAt`.
    pub created_at: DateTime<Utc>,
}

const TOP: [&str; 9] =
    ["type", "datasetId", "description", "content", "lineage", "provenance", "policy", "signatures", "versionId"];

const CLASSIFICATIONS: [&str; 4] = ["public", "internal", "restricted", "clinical-research"];

/// Most bytes of a content. A number above it may round in the canonical manifest, so that two sizes have one identity.
const MAX_SIZE: i64 = (1 << 53) - 1;

/// Most parents of one version.
const MAX_PARENTS: usize = 10_000;

/// Checks a manifest by the rules of the catalogue.
///
/// # Errors
/// All faults found.
pub fn check(manifest: &Value) -> Result<Published, Vec<Fault>> {
    let mut reader = Reader { faults: Vec::new() };
    let published = reader.manifest(manifest);
    match published {
        Some(published) if reader.faults.is_empty() => Ok(published),
        _ => Err(reader.faults),
    }
}

struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault<T>(&mut self, pointer: &str, rule: impl Into<String>) -> Option<T> {
        self.faults.push(Fault { pointer: pointer.into(), rule: rule.into() });
        None
    }

    fn manifest(&mut self, manifest: &Value) -> Option<Published> {
        let Some(top) = manifest.as_object() else { return self.fault("", "must be an object") };
        if has_nul(manifest) {
            self.fault::<()>("", "no text in it may hold the character NUL");
        }
        for key in top.keys().filter(|k| !TOP.contains(&k.as_str())) {
            self.fault::<()>(
                &format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                "is not a field of a manifest",
            );
        }
        if top.get("type").and_then(Value::as_str) != Some("datasetVersionManifest") {
            self.fault::<()>("/type", "must be \"datasetVersionManifest\"");
        }
        let dataset_id = self.text(top, "", "datasetId", 3, 500);
        let description = self.optional_text(top, "", "description", 20_000).unwrap_or_default();
        let none = Map::new();
        let content = self.object(top, "content").unwrap_or(&none);
        let content_hash = self.hex64(content, "/content", "contentHash");
        let name = self.optional_text(content, "/content", "name", 500);
        let mime_type = self.optional_text(content, "/content", "mimeType", 200);
        let size_bytes = self.size(content);
        let parents = self.parents(top);
        let provenance = self.object(top, "provenance").unwrap_or(&none);
        let created_at = self.created_at(provenance);
        let producer = self.producer(provenance);
        let policy_meta = self.policy(top);
        let version_id = self.identity(top, manifest);
        Some(Published {
            version_id: version_id?,
            name: name.or_else(|| dataset_id.clone())?,
            dataset_id: dataset_id?,
            producer: producer?,
            description,
            content_hash: content_hash?,
            mime_type,
            size_bytes,
            policy_meta,
            parents: parents?,
            created_at: created_at?,
        })
    }

    fn object<'v>(&mut self, parent: &'v Map<String, Value>, key: &str) -> Option<&'v Map<String, Value>> {
        match parent.get(key).map(Value::as_object) {
            Some(Some(object)) => Some(object),
            _ => self.fault(&format!("/{key}"), "must be an object"),
        }
    }

    fn text(&mut self, parent: &Map<String, Value>, at: &str, key: &str, min: usize, max: usize) -> Option<String> {
        match parent.get(key).and_then(Value::as_str) {
            Some(text) if (min..=max).contains(&text.chars().count()) => Some(text.to_owned()),
            _ => self.fault(&format!("{at}/{key}"), format!("must be a text of {min} to {max} characters")),
        }
    }

    fn optional_text(&mut self, parent: &Map<String, Value>, at: &str, key: &str, max: usize) -> Option<String> {
        match parent.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(_) => self.text(parent, at, key, 1, max),
        }
    }

    fn hex64(&mut self, parent: &Map<String, Value>, at: &str, key: &str) -> Option<String> {
        let hex = parent.get(key).and_then(Value::as_str).filter(|t| t.parse::<VersionId>().is_ok());
        match hex {
            Some(text) => Some(text.to_owned()),
            None => self.fault(&format!("{at}/{key}"), "must be 64 lower-case hex digits"),
        }
    }

    fn size(&mut self, content: &Map<String, Value>) -> Option<i64> {
        match content.get("sizeBytes") {
            None | Some(Value::Null) => None,
            Some(value) => match whole(value).filter(|n| (0..=MAX_SIZE).contains(n)) {
                Some(bytes) => Some(bytes),
                None => self.fault("/content/sizeBytes", "must be a whole number of bytes, 0 to 9007199254740991"),
            },
        }
    }

    fn parents(&mut self, top: &Map<String, Value>) -> Option<Vec<VersionId>> {
        let lineage = match top.get("lineage") {
            None => return Some(Vec::new()),
            Some(_) => self.object(top, "lineage")?,
        };
        let items = match lineage.get("parents") {
            None => return Some(Vec::new()),
            Some(Value::Array(items)) if items.len() <= MAX_PARENTS => items,
            Some(_) => {
                return self.fault("/lineage/parents", format!("must be a list of at most {MAX_PARENTS} version ids"));
            }
        };
        let mut parents = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str().map(str::parse) {
                Some(Ok(id)) => parents.push(id),
                _ => self.fault(&format!("/lineage/parents/{index}"), "must be 64 lower-case hex digits")?,
            }
        }
        parents.sort_unstable();
        if parents.windows(2).any(|pair| pair[0] == pair[1]) {
            return self.fault("/lineage/parents", "must not name a version twice");
        }
        Some(parents)
    }

    fn created_at(&mut self, provenance: &Map<String, Value>) -> Option<DateTime<Utc>> {
        let text = provenance.get("createdAt").and_then(Value::as_str);
        let time = text.and_then(|t| DateTime::parse_from_rfc3339(t).ok()).map(|t| t.to_utc());
        // PostgreSQL keeps microseconds, and would round the last moment of a year into the next.
        let time = time.map(|t| chrono::SubsecRound::trunc_subsecs(t, 6));
        // What PostgreSQL, JSON clients and people all can hold.
        match time.filter(|t| (1970..=9999).contains(&chrono::Datelike::year(t))) {
            Some(time) => Some(time),
            None => self.fault("/provenance/createdAt", "must be an RFC 3339 time between 1970 and 9999"),
        }
    }

    fn producer(&mut self, provenance: &Map<String, Value>) -> Option<ProducerClaim> {
        let at = "/provenance/producer";
        let Some(producer) = provenance.get("producer").and_then(Value::as_object) else {
            return self.fault(at, "must be an object");
        };
        let key = producer.get("identityKey").and_then(Value::as_str).filter(|k| is_identity_key(k));
        let name = self.optional_text(producer, at, "name", 500);
        let website = self.optional_text(producer, at, "website", 2_000);
        match key {
            Some(key) => {
                Some(ProducerClaim { identity_key: key.into(), name: name.unwrap_or_else(|| key.into()), website })
            }
            None => self.fault(
                &format!("{at}/identityKey"),
                "must be a compressed secp256k1 key: 02 or 03, then 64 lower-case hex digits",
            ),
        }
    }

    fn policy(&mut self, top: &Map<String, Value>) -> Value {
        let Some(value) = top.get("policy") else { return Value::Object(Map::new()) };
        let Some(policy) = self.object(top, "policy") else { return Value::Null };
        self.optional_text(policy, "/policy", "license", 500);
        match policy.get("classification").map(Value::as_str) {
            None => {}
            Some(Some(name)) if CLASSIFICATIONS.contains(&name) => {}
            Some(_) => {
                let rule = format!("must be one of {}", CLASSIFICATIONS.join(", "));
                self.fault::<()>("/policy/classification", rule);
            }
        }
        for key in ["pii_flags", "tags"] {
            let fine = |items: &Vec<Value>| {
                items.len() <= 200 && items.iter().all(|i| i.as_str().is_some_and(|t| t.chars().count() <= 200))
            };
            if policy.get(key).is_some_and(|v| !v.as_array().is_some_and(fine)) {
                self.fault::<()>(
                    &format!("/policy/{key}"),
                    "must be a list of at most 200 texts of at most 200 characters",
                );
            }
        }
        value.clone()
    }

    fn identity(&mut self, top: &Map<String, Value>, manifest: &Value) -> Option<VersionId> {
        let hash = version_id_of(manifest)?;
        match top.get("versionId") {
            None => Some(hash),
            Some(claimed) if claimed.as_str() == Some(&hash.to_string()) => Some(hash),
            Some(_) => self.fault("/versionId", format!("is not the hash of this manifest, which is {hash}")),
        }
    }
}

fn version_id_of(manifest: &Value) -> Option<VersionId> {
    super::version_id(manifest).parse().ok()
}

/// Whether a text is a compressed secp256k1 key, 66 lower-case hex digits.
pub fn is_identity_key(text: &str) -> bool {
    text.len() == 66
        && (text.starts_with("02") || text.starts_with("03"))
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A whole number, however it is written: `5.0` is one to JSON Schema and to the canonical form.
fn whole(value: &Value) -> Option<i64> {
    let written = || value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= MAX_SIZE as f64);
    value.as_i64().or_else(|| written().map(|n| n as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "type": "datasetVersionManifest", "datasetId": "demo/one", "description": "d",
            "content": {"contentHash": "a".repeat(64), "sizeBytes": 5, "mimeType": "text/csv", "name": "One"},
            "lineage": {"parents": ["b".repeat(64)]},
            "provenance": {"createdAt": "2026-01-02T03:04:05Z", "producer": {"identityKey": format!("02{}", "c".repeat(64))}},
            "policy": {"license": "MIT", "classification": "public", "pii_flags": [], "tags": ["x"]},
        })
    }

    #[test]
    fn a_good_manifest_is_taken_apart() {
        let published = check(&good()).expect("good");
        assert_eq!((published.name.as_str(), published.parents.len()), ("One", 1));
        let mut named = good();
        named["versionId"] = json!(published.version_id.to_string());
        assert_eq!(check(&named).expect("names itself").version_id, published.version_id);
        named["versionId"] = json!("d".repeat(64));
        assert_eq!(check(&named).expect_err("another")[0].pointer, "/versionId");
    }

    #[test]
    fn sizes_are_those_that_the_identity_tells_apart() {
        let sized = |size: i64| {
            let mut manifest = good();
            manifest["content"]["sizeBytes"] = json!(size);
            check(&manifest)
        };
        assert_eq!(sized(MAX_SIZE).expect("the greatest").size_bytes, Some(MAX_SIZE));
        assert_eq!(sized(0).expect("the least").size_bytes, Some(0));
        // 2^53 and the next are one number to the canonical manifest.
        for size in [MAX_SIZE + 1, MAX_SIZE + 2, i64::MAX, -1] {
            assert_eq!(sized(size).expect_err("beyond")[0].pointer, "/content/sizeBytes");
        }
    }

    #[test]
    fn every_fault_is_found_at_its_place() {
        let cases: [(&str, Value); 14] = [
            ("/type", json!("x")),
            ("/datasetId", json!("ab")),
            ("/extra", json!(1)),
            ("/content/contentHash", json!("A".repeat(64))),
            ("/content/sizeBytes", json!(-1)),
            ("/content/sizeBytes", json!(1.5)),
            ("/lineage/parents", json!(["b".repeat(64), "b".repeat(64)])),
            ("/lineage/parents", json!("b")),
            ("/provenance/createdAt", json!("yesterday")),
            ("/provenance/createdAt", json!("0001-01-01T00:00:00Z")),
            ("/provenance/producer/identityKey", json!("04")),
            ("/policy/classification", json!("secret")),
            ("/policy/tags", json!([1])),
            ("/content/name", json!("x".repeat(501))),
        ];
        for (pointer, value) in cases {
            let mut manifest = good();
            let (parent, key) = pointer.rsplit_once('/').expect("pointer");
            manifest.pointer_mut(parent).expect("parent")[key] = value;
            let faults = check(&manifest).expect_err(pointer);
            assert!(faults.iter().any(|f| f.pointer == pointer), "{pointer}: {faults:?}");
        }
        let faults = check(&json!({})).expect_err("empty");
        assert!(faults.len() >= 4, "all at once: {faults:?}");
        let mut manifest = good();
        manifest["description"] = json!("a\0b");
        assert!(check(&manifest).is_err());
    }
}
