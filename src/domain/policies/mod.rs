//! Policies: rules a consumer may hold an ancestry against.

pub mod document;
pub mod evaluate;
pub mod facts;
pub mod runs;
mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Cached, Key, Kind, Known, Loaded, Merge, Params};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::Document;
use crate::domain::caller::Caller;
use crate::domain::page::{Order, Page, Request};
use crate::error::{Error, Result};

/// By name.
pub const BY_NAME: Order = Order { name: "name", column: "name", cast: "text", descending: false };

/// A saved policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    /// Identifier.
    pub policy_id: String,
    /// Display name.
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// The rules.
    pub doc: Document,
    /// When it was first saved.
    pub created_at: DateTime<Utc>,
    /// When it was last saved.
    pub updated_at: DateTime<Utc>,
}

impl Cached for Policy {
    const KIND: Kind = Kind::Policy;

    fn belongs(&self, known: &mut Known<'_>) -> bool {
        known(format_args!("policies"))
    }
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Policies {
    db: Db,
    cache: Cache,
    by_id: Merge<String, Policy>,
}

impl Policies {
    /// A room over the database and the cache.
    pub fn new(db: Db, cache: Cache) -> Self {
        let by_id = Merge::new(db.clone(), |db, ids: Vec<String>| async move { store::by_ids(&db, &ids).await });
        Self { db, cache, by_id }
    }

    /// The policies of `ids`, in order.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn get_many(&self, caller: &Caller, ids: &[String]) -> Result<Vec<Option<Arc<Policy>>>> {
        self.cache.find_many(caller.ledger(), ids, key, tags, &self.by_id).await
    }

    /// A page of policies by name.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn page(&self, caller: &Caller, request: &Request) -> Result<Arc<Page<String>>> {
        let (room, for_load) = (self.clone(), request.clone());
        let load = move || {
            let (room, request) = (room.clone(), for_load.clone());
            async move {
                let moment = room.cache.clock().moment();
                let (rows, policies): (Vec<_>, Vec<_>) = store::page(&room.db, &request).await?.into_iter().unzip();
                let loaded = policies.into_iter().map(|policy| {
                    let id = policy.policy_id.clone();
                    (key(&id), Loaded { value: Some(policy), tags: tags(&id) })
                });
                room.cache.prime(moment, loaded.collect());
                Ok(Loaded { value: Some(Page::of(&request, rows)), tags: vec![Tag::new("policies")] })
            }
        };
        let params = request.params(Params::default()).canonical();
        let page = self.cache.get(caller.ledger(), Key::new(format!("cache:policy:list:{params}")), load).await?;
        page.ok_or_else(|| Error::internal("a page is never absent"))
    }
}

/// The key of what is cached of one policy alone.
pub fn key_of(id: String) -> Arc<str> {
    key(&id).text().clone()
}

fn key(id: &String) -> Key<Policy> {
    Key::new(format!("cache:policy:{id}"))
}

fn tags(id: &String) -> Vec<Tag> {
    vec![Tag::new(format!("policy:{id}"))]
}
