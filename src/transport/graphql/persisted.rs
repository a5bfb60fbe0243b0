//! Documents that are named and not said: those of the safelist, and automatic persisted queries, Apollo's protocol: a client that
//! has sent a document once sends its SHA-256 from then on.
//!
//! `extensions.persistedQuery` is `{"version": 1, "sha256Hash": <64 hex digits>}`. Documents are kept in memory, and in Redis for the
//! other processes: both may forget one, and the client then sends it again. A document is what its hash says, wherever it comes
//! from: it is hashed before it is believed.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::cache::Redis;
use crate::config::{Safelist, SafelistMode};
use crate::domain::hex::encode_hex;

/// Bytes of memory for documents, roughly.
const MEMORY: u64 = 4 << 20;

/// Longest document that is kept, bytes.
const LONGEST: usize = 32 << 10;

/// How long Redis keeps a document that nobody asks for.
const TTL: std::time::Duration = std::time::Duration::from_secs(86_400);

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<str>> for Bytes {
    fn weight(&self, hash: &String, text: &Arc<str>) -> u64 {
        (hash.len() + text.len() + 100) as u64
    }
}

/// The documents kept by their hash. Cheap to clone.
#[derive(Clone)]
pub struct Persisted {
    memory: Arc<Cache<String, Arc<str>, Bytes>>,
    redis: Option<Redis>,
    safelist: Arc<Safelist>,
}

/// How a request says which document it means.
pub(super) struct Named<'a> {
    /// The document itself.
    pub(super) query: Option<String>,
    /// Its identifier on the safelist.
    pub(super) document_id: Option<String>,
    /// Where its hash is.
    pub(super) extensions: Option<&'a serde_json::Value>,
}

/// What a request asks to be executed.
pub(super) struct Asked {
    /// The document.
    pub(super) query: String,
    /// Its hash, when it is to be kept once it is known to be one.
    pub(super) keep_as: Option<String>,
}

/// Why there is no document.
pub(super) enum Refusal {
    /// None of that hash is known: the client sends it again in full.
    NotFound,
    /// It is not on the safelist.
    Untrusted,
    /// The request is wrong.
    Bad(&'static str),
}

impl Persisted {
    /// Nothing is kept yet. Documents are shared with other processes by `redis`.
    pub fn new(redis: Option<Redis>, safelist: Arc<Safelist>) -> Self {
        Self { memory: Arc::new(Cache::with_weighter(1_000, MEMORY, Bytes)), redis, safelist }
    }

    /// The document that a request means, if it may be executed.
    pub(super) async fn asked(&self, named: Named<'_>) -> Result<Asked, Refusal> {
        let asked = self.meant(named).await?;
        match self.safelist.mode {
            SafelistMode::Off => {}
            _ if self.safelist.has(&asked.query) => {}
            SafelistMode::Log => {
                metrics::counter!("overlay_untrusted_documents_total", "outcome" => "executed").increment(1);
                let sha256 = encode_hex(&Sha256::digest(&asked.query));
                tracing::warn!(sha256, bytes = asked.query.len(), "a document that is not on the safelist");
            }
            SafelistMode::Enforce => {
                metrics::counter!("overlay_untrusted_documents_total", "outcome" => "refused").increment(1);
                return Err(Refusal::Untrusted);
            }
        }
        Ok(asked)
    }

    async fn meant(&self, Named { query, document_id, extensions }: Named<'_>) -> Result<Asked, Refusal> {
        let query = query.filter(|query| !query.is_empty());
        if let Some(id) = document_id.filter(|id| !id.is_empty()) {
            if query.is_some() {
                return Err(Refusal::Bad("`query` and `documentId` exclude each other"));
            }
            let listed =
                self.safelist.get(&id).ok_or(Refusal::Bad("`documentId` names no document of the safelist"))?;
            return Ok(Asked { query: listed.to_string(), keep_as: None });
        }
        let Some(persisted) = extensions.and_then(|e| e.get("persistedQuery")).filter(|p| !p.is_null()) else {
            let missing = Refusal::Bad("`query` must be a text that holds a GraphQL document");
            return query.map(|query| Asked { query, keep_as: None }).ok_or(missing);
        };
        let is_hash = |text: &&str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let hash = persisted.get("sha256Hash").and_then(serde_json::Value::as_str).filter(is_hash);
        let (Some(hash), Some(1)) = (hash, persisted.get("version").and_then(serde_json::Value::as_u64)) else {
            let form = "`extensions.persistedQuery` must be {\"version\": 1, \"sha256Hash\": 64 lower-case hex digits}";
            return Err(Refusal::Bad(form));
        };
        match query {
            Some(query) if is_of(&query, hash) => Ok(Asked { query, keep_as: Some(hash.to_owned()) }),
            Some(_) => Err(Refusal::Bad("provided sha does not match query")),
            None => {
                let query = self.find(hash).await.ok_or(Refusal::NotFound)?;
                Ok(Asked { query: query.to_string(), keep_as: None })
            }
        }
    }

    async fn find(&self, hash: &str) -> Option<Arc<str>> {
        if let Some(listed) = self.safelist.get(hash) {
            return Some(listed.clone());
        }
        if let Some(known) = self.memory.get(hash) {
            count("memory");
            return Some(known);
        }
        let found = match &self.redis {
            Some(redis) => redis.touch(&key(hash), TTL).await.flatten(),
            None => None,
        };
        let text = found.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| is_of(text, hash));
        count(if text.is_some() { "redis" } else { "unknown" });
        let text: Arc<str> = text?.into();
        self.memory.insert(hash.to_owned(), text.clone());
        Some(text)
    }

    /// Keeps a document of that hash, which could be parsed and is within the limits.
    pub(super) async fn keep(&self, hash: String, query: &str) {
        if query.len() > LONGEST || self.memory.get(&hash).is_some() {
            return;
        }
        if let Some(redis) = &self.redis {
            // Whether Redis takes it or not: a client that is not understood by its hash says it in full.
            let _kept = redis.hold(&key(&hash), query.as_bytes().to_vec(), TTL).await;
        }
        self.memory.insert(hash, query.into());
    }
}

fn is_of(query: &str, hash: &str) -> bool {
    encode_hex(&Sha256::digest(query)) == hash
}

fn key(hash: &str) -> String {
    format!("ol:apq:{hash}")
}

fn count(found: &'static str) {
    metrics::counter!("overlay_persisted_queries_total", "found" => found).increment(1);
}
