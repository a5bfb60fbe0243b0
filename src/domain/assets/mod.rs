//! Assets: published versions of datasets and models, and their ancestry.

pub mod ancestry;
mod keys;
pub mod manifest;
mod model;
mod store;

use std::sync::Arc;

use futures_util::FutureExt;
use overlay_entity::ids::VersionId;

pub use self::model::{Asset, Filter, Parents, Scope};
use crate::cache::{Cache, Loaded, Merge};
use crate::db::Db;
use crate::domain::Document;
use crate::domain::caller::Caller;
use crate::domain::check_query;
use crate::domain::page::{Order, Page, Request, Row};
use crate::error::{Error, Result};

/// Last changed first.
pub const NEWEST: Order = Order { name: "updated-desc", column: "updated_at", cast: "timestamptz", descending: true };
/// Last changed last.
pub const OLDEST: Order = Order { name: "updated-asc", column: "updated_at", cast: "timestamptz", descending: false };
/// Made last first.
pub const CREATED_DESC: Order =
    Order { name: "created-desc", column: "created_at", cast: "timestamptz", descending: true };
/// Made first first.
pub const CREATED_ASC: Order =
    Order { name: "created-asc", column: "created_at", cast: "timestamptz", descending: false };
/// By name.
pub const NAME_ASC: Order = Order { name: "name-asc", column: "name", cast: "text", descending: false };
/// By name, backwards.
pub const NAME_DESC: Order = Order { name: "name-desc", column: "name", cast: "text", descending: true };
/// Descendants, by identifier.
pub const CHILDREN: Order = Order { name: "child", column: "child_version_id", cast: "text", descending: false };
/// Search results, the best first.
pub const RANK: Order = Order { name: "rank", column: "rank", cast: "float4", descending: true };

/// The keys of what is cached of one version alone.
pub fn keys_of(id: VersionId) -> [Arc<str>; 3] {
    [keys::asset(&id).text().clone(), keys::parents(&id).text().clone(), keys::manifest(&id).text().clone()]
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Assets {
    db: Db,
    cache: Cache,
    by_id: Merge<VersionId, Asset>,
    parents: Merge<VersionId, Parents>,
    manifests: Merge<VersionId, Document>,
}

impl Assets {
    /// A room over the database and the cache.
    pub fn new(db: Db, cache: Cache) -> Self {
        let by_id = Merge::new(db.clone(), |db, ids: Vec<VersionId>| async move { store::by_ids(&db, &ids).await });
        let parents = Merge::new(db.clone(), |db, ids: Vec<VersionId>| async move { store::parents(&db, &ids).await });
        let manifests =
            Merge::new(db.clone(), |db, ids: Vec<VersionId>| async move { store::manifests(&db, &ids).await });
        Self { db, cache, by_id, parents, manifests }
    }

    /// The assets of `ids`, in order; `None` for what is not published.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn get_many(&self, caller: &Caller, ids: &[VersionId]) -> Result<Vec<Option<Arc<Asset>>>> {
        self.cache.find_many(caller.ledger(), ids, keys::asset, keys::asset_tags, &self.by_id).await
    }

    /// One asset.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn get(&self, caller: &Caller, id: VersionId) -> Result<Option<Arc<Asset>>> {
        Ok(self.get_many(caller, &[id]).await?.pop().flatten())
    }

    /// The parents of `ids`, in order; `None` for what has none. They are not part of an [`Asset`], since a page of assets
    /// whose parents nobody asks for would pay for them.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn parents(&self, caller: &Caller, ids: &[VersionId]) -> Result<Vec<Option<Arc<Parents>>>> {
        self.cache.find_many(caller.ledger(), ids, keys::parents, keys::asset_tags, &self.parents).await
    }

    /// The manifests of `ids`, in order, as they were published.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn manifests(&self, caller: &Caller, ids: &[VersionId]) -> Result<Vec<Option<Arc<Document>>>> {
        self.cache.find_many(caller.ledger(), ids, keys::manifest, keys::asset_tags, &self.manifests).await
    }

    /// The same page of several scopes, which must all be of one kind. One statement for those not cached.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn pages(
        &self, caller: &Caller, scopes: &[Scope], filter: &Filter, request: &Request,
    ) -> Result<Vec<Arc<Page<VersionId>>>> {
        let (room, for_load, for_request) = (self.clone(), filter.clone(), request.clone());
        let load = move |scopes: Vec<Scope>| {
            let (room, filter, request) = (room.clone(), for_load.clone(), for_request.clone());
            async move {
                let moment = room.cache.clock().moment();
                let groups = store::pages(&room.db, &scopes, &filter, &request).await?;
                let pages = scopes.iter().zip(groups).map(|(scope, rows)| Loaded {
                    value: Some(Page::of(&request, room.primed(moment, rows))),
                    tags: keys::page_tags(scope, &filter),
                });
                Ok(pages.collect())
            }
            .boxed()
        };
        let pages = self.cache.get_many(caller.ledger(), scopes, |s| keys::page(s, filter, request), load).await?;
        pages.into_iter().map(|p| p.ok_or_else(|| Error::internal("a page is never absent"))).collect()
    }

    /// One page.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn page(
        &self, caller: &Caller, scope: Scope, filter: &Filter, request: &Request,
    ) -> Result<Arc<Page<VersionId>>> {
        let page = self.pages(caller, &[scope], filter, request).await?.pop();
        page.ok_or_else(|| Error::internal("one scope has one page"))
    }

    /// A page of the assets that match `text`, the best first, in the order [`RANK`].
    ///
    /// # Errors
    /// `bad-request` for a text that cannot be searched for; else as [`Self::get_many`].
    pub async fn search(&self, caller: &Caller, text: &str, request: &Request) -> Result<Arc<Page<VersionId>>> {
        check_query(text, "query")?;
        let (room, wanted, for_load) = (self.clone(), text.to_owned(), request.clone());
        let load = move || {
            let (room, text, request) = (room.clone(), wanted.clone(), for_load.clone());
            async move {
                let moment = room.cache.clock().moment();
                let rows = store::found(&room.db, &text, &request).await?;
                let tags = keys::page_tags(&Scope::Catalogue, &Filter::default());
                Ok(Loaded { value: Some(Page::of(&request, room.primed(moment, rows))), tags })
            }
        };
        let page = self.cache.get(caller.ledger(), keys::found(text, request), load).await?;
        page.ok_or_else(|| Error::internal("a page is never absent"))
    }

    /// How many assets each of several scopes has, which must all be of one kind. One statement for those not cached.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn counts(&self, caller: &Caller, scopes: &[Scope], filter: &Filter) -> Result<Vec<Arc<i64>>> {
        let (db, for_filter) = (self.db.clone(), filter.clone());
        let load = move |scopes: Vec<Scope>| {
            let (db, filter) = (db.clone(), for_filter.clone());
            async move {
                let counts = store::counts(&db, &scopes, &filter).await?;
                let loaded = |(scope, count)| Loaded { value: Some(count), tags: keys::page_tags(scope, &filter) };
                Ok(scopes.iter().zip(counts).map(loaded).collect())
            }
            .boxed()
        };
        let counts = self.cache.get_many(caller.ledger(), scopes, |s| keys::count(s, filter), load).await?;
        counts.into_iter().map(|n| n.ok_or_else(|| Error::internal("a count is never absent"))).collect()
    }

    /// How many assets a scope and a filter have.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn count(&self, caller: &Caller, scope: &Scope, filter: &Filter) -> Result<i64> {
        let count = self.counts(caller, std::slice::from_ref(scope), filter).await?.pop();
        count.map(|n| *n).ok_or_else(|| Error::internal("one scope has one count"))
    }

    /// The ancestries of `targets` down to `depth`, in order, read for something that is cached as a whole and depends on
    /// [`ancestry::tags`]: the target first, then by depth and identifier; empty when the target is not published.
    ///
    /// # Errors
    /// `lineage-too-large` when all have more than [`ancestry::MAX_NODES`] versions; else as [`Self::get_many`].
    pub async fn ancestries(&self, targets: &[VersionId], depth: u32) -> Result<Vec<Vec<ancestry::Ancestor>>> {
        ancestry::walk(&self.db, targets, depth).await
    }

    /// Keeps the assets that a page's statement brought along, so that reading them costs no second one.
    fn primed(&self, moment: crate::coherence::Moment, rows: Vec<store::Found>) -> Vec<Row<VersionId>> {
        let (rows, assets): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let loaded = assets.into_iter().map(|asset| {
            let id = asset.version_id;
            (keys::asset(&id), Loaded { value: Some(asset), tags: keys::asset_tags(&id) })
        });
        self.cache.prime(moment, loaded.collect());
        rows
    }
}
