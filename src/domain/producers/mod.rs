//! Producers: who publishes.

mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{Cache, Cached, Key, Kind, Known, Loaded, Merge, Params};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::domain::page::{Order, Page, Request};
use crate::error::{Error, Result};

/// By display name.
pub const BY_NAME: Order = Order { name: "name", column: "display_name", cast: "text", descending: false };
/// Registered last first.
pub const NEWEST: Order = Order { name: "created-desc", column: "created_at", cast: "timestamptz", descending: true };

/// A registered producer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Producer {
    /// Identifier.
    pub producer_id: String,
    /// Compressed secp256k1 public key, 66 hex digits.
    pub identity_key: String,
    /// Display name.
    pub display_name: String,
    /// Web site, if any.
    pub website: Option<String>,
    /// Output script that payments go to, hex.
    pub payout_script_hex: Option<String>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

impl Cached for Producer {
    const KIND: Kind = Kind::Producer;

    fn belongs(&self, known: &mut Known<'_>) -> bool {
        known(format_args!("producers"))
    }

    fn size(&self) -> usize {
        let optional = [&self.website, &self.payout_script_hex];
        // The key, a time, and the names of the fields.
        220 + self.producer_id.len()
            + self.display_name.len()
            + optional.into_iter().flatten().map(|text| text.len() + 2).sum::<usize>()
    }
}

impl Cached for Page<String> {
    const KIND: Kind = Kind::Listing;
    const MAY_BE_ABSENT: bool = false;

    fn size(&self) -> usize {
        self.bytes(|id| id.len() + 2)
    }
}

/// The identifier a producer gets from its key, when it is first met in a manifest: `prd_` and the first 32 hex digits
/// of SHA-256 over the key's hex text.
pub fn id_of_key(identity_key: &str) -> String {
    let digest = Sha256::digest(identity_key.as_bytes());
    digest[..16].iter().fold(String::from("prd_"), |id, byte| id + &format!("{byte:02x}"))
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Producers {
    db: Db,
    cache: Cache,
    by_id: Merge<String, Producer>,
}

impl Producers {
    /// A room over the database and the cache.
    pub fn new(db: Db, cache: Cache) -> Self {
        let by_id = Merge::new(db.clone(), |db, ids: Vec<String>| async move { store::by_ids(&db, &ids).await });
        Self { db, cache, by_id }
    }

    /// The producers of `ids`, in order.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn get_many(&self, caller: &Caller, ids: &[String]) -> Result<Vec<Option<Arc<Producer>>>> {
        self.cache.find_many(caller.ledger(), ids, key, tags, &self.by_id).await
    }

    /// One producer.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn get(&self, caller: &Caller, id: String) -> Result<Option<Arc<Producer>>> {
        Ok(self.get_many(caller, &[id]).await?.pop().flatten())
    }

    /// A page of producers, ordered by name or by age.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn page(&self, caller: &Caller, request: &Request) -> Result<Arc<Page<String>>> {
        let (room, for_load) = (self.clone(), request.clone());
        let load = move || {
            let (room, request) = (room.clone(), for_load.clone());
            async move {
                let moment = room.cache.clock().moment();
                let (rows, producers): (Vec<_>, Vec<_>) = store::page(&room.db, &request).await?.into_iter().unzip();
                let loaded = producers.into_iter().map(|producer| {
                    let id = producer.producer_id.clone();
                    (key(&id), Loaded { value: Some(producer), tags: tags(&id) })
                });
                room.cache.prime(moment, loaded.collect());
                Ok(Loaded { value: Some(Page::of(&request, rows)), tags: vec![Tag::new("producers")] })
            }
        };
        let params = request.params(Params::default()).canonical();
        let page = self.cache.get(caller.ledger(), Key::new(format!("cache:producer:list:{params}")), load).await?;
        page.ok_or_else(|| Error::internal("a page is never absent"))
    }
}

/// The key of what is cached of one producer alone.
pub fn key_of(id: String) -> Arc<str> {
    key(&id).text().clone()
}

fn key(id: &String) -> Key<Producer> {
    Key::new(format!("cache:producer:{id}"))
}

fn tags(id: &String) -> Vec<Tag> {
    vec![Tag::new(format!("producer:{id}"))]
}
