//! Loaders: they gather the identifiers that one tick of a query asks for into one call of a room.
//!
//! One set a request. The crate's driver of a batch is one of the waiting futures: when that one is dropped (a sibling
//! field failed), the others are told that their key was not found. So every batch answers every key, and an error of
//! the crate means "ask again".

use std::collections::HashMap;
use std::hash::Hash;
use std::mem::discriminant;
use std::sync::Arc;

use ::dataloader::BatchFn;
use futures_util::future::BoxFuture;
use overlay_entity::ids::VersionId;
use tokio::sync::OnceCell;

use crate::app::App;
use crate::domain::Document;
use crate::domain::advisories::{Advisory, Target};
use crate::domain::assets::{Asset, Filter, Parents, Scope};
use crate::domain::caller::Caller;
use crate::domain::page::{Page, Request};
use crate::domain::policies::Policy;
use crate::domain::policies::runs::{RunPage, RunsOf};
use crate::domain::prices::tiers::Tiers;
use crate::domain::prices::{Price, Priced};
use crate::domain::producers::Producer;
use crate::domain::receipts::Receipt;
use crate::domain::spv::{Declared, Flaw, Verified};
use crate::error::{Error, Result};
use crate::flows::health::{self, Health};
use crate::flows::ready::Readiness;

mod gather;
mod room;
mod trust;

use gather::Gather;
pub(super) use room::{Room, Writer};

/// Whose page, and which.
type PageKey = (Scope, Request);

/// Whose receipts, and which page.
type ReceiptsKey = (VersionId, Request);

/// Whose runs, and which page.
type RunsKey = (RunsOf, Request);

/// A version, the saved policy it is held against, and the confirmations it needs.
type VerdictKey = (VersionId, Option<String>, Option<u32>);

/// A run's identifier: not a policy's, a producer's or a receipt's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RunId(String);

/// An event's hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct EventHash(String);

/// A declaration, and what the best chain makes of its proof now.
pub(super) struct Proven {
    pub(super) declared: Arc<Declared>,
    pub(super) outcome: Result<Verified, Flaw>,
}

impl Proven {
    /// Blocks from the proof's to the tip, both counted; 0 when it does not hold.
    pub(super) fn confirmations(&self) -> u32 {
        self.outcome.map_or(0, |verified| verified.confirmations)
    }
}

type Answer<V> = Result<Option<Arc<V>>>;

/// What a batch needs.
#[derive(Clone)]
pub(super) struct Batch {
    app: App,
    caller: Caller,
}

/// The loaders of one request.
pub(super) struct Loaders {
    pub(super) app: App,
    pub(super) caller: Caller,
    /// What the answer may still hold.
    pub(super) room: Arc<Room>,
    assets: Gather<VersionId, Answer<Asset>, Batch>,
    parents: Gather<VersionId, Answer<Parents>, Batch>,
    manifests: Gather<VersionId, Answer<Document>, Batch>,
    pages: Gather<PageKey, Answer<Page<VersionId>>, Batch>,
    totals: Gather<Scope, Answer<i64>, Batch>,
    producers: Gather<String, Answer<Producer>, Batch>,
    policies: Gather<String, Answer<Policy>, Batch>,
    receipts: Gather<String, Answer<Receipt>, Batch>,
    receipt_pages: Gather<ReceiptsKey, Answer<Page<String>>, Batch>,
    prices: Gather<Priced, Answer<Price>, Batch>,
    tiers: Gather<Priced, Answer<Tiers>, Batch>,
    proofs: Gather<VersionId, Answer<Proven>, Batch>,
    advisories: Gather<Target, Answer<Vec<Advisory>>, Batch>,
    verdicts: Gather<VerdictKey, Answer<Readiness>, Batch>,
    runs: Gather<RunsKey, Answer<RunPage>, Batch>,
    evidence: Gather<RunId, Answer<Document>, Batch>,
    payloads: Gather<EventHash, Answer<Document>, Batch>,
    health: OnceCell<Health>,
}

// Boxed: a load's own state is kilobytes, and the executor would set as much aside, and move it, for every field of every
// object of the query.
impl Loaders {
    pub(super) fn new(app: App, caller: Caller, room: Arc<Room>) -> Self {
        let batch = Batch { app: app.clone(), caller: caller.clone() };
        Self {
            app,
            caller,
            room,
            assets: Gather::new(batch.clone()),
            parents: Gather::new(batch.clone()),
            manifests: Gather::new(batch.clone()),
            pages: Gather::new(batch.clone()),
            totals: Gather::new(batch.clone()),
            producers: Gather::new(batch.clone()),
            policies: Gather::new(batch.clone()),
            receipts: Gather::new(batch.clone()),
            receipt_pages: Gather::new(batch.clone()),
            prices: Gather::new(batch.clone()),
            tiers: Gather::new(batch.clone()),
            proofs: Gather::new(batch.clone()),
            advisories: Gather::new(batch.clone()),
            verdicts: Gather::new(batch.clone()),
            runs: Gather::new(batch.clone()),
            evidence: Gather::new(batch.clone()),
            payloads: Gather::new(batch),
            health: OnceCell::new(),
        }
    }

    /// How the server is doing, asked once for all who want to know: a document names the field as often as it likes.
    pub(super) async fn health(&self) -> &Health {
        self.health.get_or_init(|| health::check(&self.app)).await
    }

    pub(super) fn asset(&self, id: VersionId) -> BoxFuture<'_, Answer<Asset>> {
        Box::pin(async move { load(&self.assets, id).await })
    }

    /// Several assets, in order.
    pub(super) fn assets<'a>(&'a self, ids: &'a [VersionId]) -> BoxFuture<'a, Result<Vec<Option<Arc<Asset>>>>> {
        Box::pin(several(&self.assets, ids))
    }

    /// The identifiers of a version's parents.
    pub(super) fn parents(&self, id: VersionId) -> BoxFuture<'_, Result<Arc<Parents>>> {
        Box::pin(async move { Ok(load(&self.parents, id).await?.unwrap_or_default()) })
    }

    pub(super) fn manifest(&self, id: VersionId) -> BoxFuture<'_, Answer<Document>> {
        Box::pin(async move { load(&self.manifests, id).await })
    }

    pub(super) fn page(&self, scope: Scope, request: Request) -> BoxFuture<'_, Result<Arc<Page<VersionId>>>> {
        Box::pin(async move {
            load(&self.pages, (scope, request)).await?.ok_or_else(|| Error::internal("a page is never absent"))
        })
    }

    /// How many assets a scope has in all.
    pub(super) fn total(&self, scope: Scope) -> BoxFuture<'_, Answer<i64>> {
        Box::pin(async move { load(&self.totals, scope).await })
    }

    pub(super) fn producer(&self, id: String) -> BoxFuture<'_, Answer<Producer>> {
        Box::pin(async move { load(&self.producers, id).await })
    }

    pub(super) fn policy(&self, id: String) -> BoxFuture<'_, Answer<Policy>> {
        Box::pin(async move { load(&self.policies, id).await })
    }

    pub(super) fn receipt(&self, id: String) -> BoxFuture<'_, Answer<Receipt>> {
        Box::pin(async move { load(&self.receipts, id).await })
    }

    /// A page of a version's receipts.
    pub(super) fn receipts_of(&self, id: VersionId, request: Request) -> BoxFuture<'_, Result<Arc<Page<String>>>> {
        Box::pin(async move {
            load(&self.receipt_pages, (id, request)).await?.ok_or_else(|| Error::internal("a page is never absent"))
        })
    }

    /// Several receipts, in order.
    pub(super) fn receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Arc<Receipt>>>>> {
        Box::pin(several(&self.receipts, ids))
    }

    pub(super) fn price(&self, priced: Priced) -> BoxFuture<'_, Answer<Price>> {
        Box::pin(async move { load(&self.prices, priced).await })
    }

    /// The rules by which a version is priced at any quantity.
    pub(super) fn tiers(&self, priced: Priced) -> BoxFuture<'_, Answer<Tiers>> {
        Box::pin(async move { load(&self.tiers, priced).await })
    }

    /// A version's declaration, and what the best chain makes of it.
    pub(super) fn proof(&self, id: VersionId) -> BoxFuture<'_, Answer<Proven>> {
        Box::pin(async move { load(&self.proofs, id).await })
    }

    /// What is said about a version, and about its producer, the version's own first.
    pub(super) fn advisories(&self, id: VersionId, producer: String) -> BoxFuture<'_, Result<Vec<Advisory>>> {
        Box::pin(async move {
            let targets = [Target::Version(id), Target::Producer(producer)];
            let found = several(&self.advisories, &targets).await?;
            Ok(found.iter().flatten().flat_map(|said| said.iter().cloned()).collect())
        })
    }
}

impl Loaders {
    /// Whether a version may be used.
    pub(super) fn verdict(
        &self, id: VersionId, policy_id: Option<String>, min_confs: Option<u32>,
    ) -> BoxFuture<'_, Answer<Readiness>> {
        Box::pin(async move { load(&self.verdicts, (id, policy_id, min_confs)).await })
    }

    /// A page of runs.
    pub(super) fn runs_of(&self, whose: RunsOf, request: Request) -> BoxFuture<'_, Result<Arc<RunPage>>> {
        Box::pin(async move {
            load(&self.runs, (whose, request)).await?.ok_or_else(|| Error::internal("a page is never absent"))
        })
    }

    /// What a run compared.
    pub(super) fn evidence(&self, run_id: String) -> BoxFuture<'_, Answer<Document>> {
        Box::pin(async move { load(&self.evidence, RunId(run_id)).await })
    }

    /// What an event says.
    pub(super) fn payload(&self, hash: String) -> BoxFuture<'_, Answer<Document>> {
        Box::pin(async move { load(&self.payloads, EventHash(hash)).await })
    }
}

async fn load<K, V>(gather: &Gather<K, V, Batch>, key: K) -> V
where
    K: Clone + Eq + Hash + std::fmt::Debug,
    V: Clone + Lost,
    Batch: BatchFn<K, V>,
{
    gather.one(key).await.unwrap_or_else(V::lost)
}

/// Several values, in order.
async fn several<K, V>(gather: &Gather<K, Answer<V>, Batch>, keys: &[K]) -> Result<Vec<Option<Arc<V>>>>
where
    K: Clone + Eq + Hash + std::fmt::Debug,
    Batch: BatchFn<K, Answer<V>>,
{
    let found = gather.many(keys).await.ok_or_else(|| Error::internal("a batch was lost too often"))?;
    keys.iter().map(|key| found.get(key).cloned().unwrap_or_else(Lost::lost)).collect()
}

/// What to answer when a batch was lost too often.
trait Lost {
    fn lost() -> Self;
}

impl<V> Lost for Answer<V> {
    fn lost() -> Self {
        Err(Error::internal("a batch was lost too often"))
    }
}

/// An answer for every key, whatever became of the call.
fn answers<K: Clone + Eq + Hash, V>(keys: &[K], found: Result<Vec<Option<Arc<V>>>>) -> HashMap<K, Answer<V>> {
    match found {
        Ok(found) => keys.iter().cloned().zip(found.into_iter().map(Ok)).collect(),
        Err(error) => keys.iter().map(|key| (key.clone(), Err(error.clone()))).collect(),
    }
}

impl BatchFn<VersionId, Answer<Asset>> for Batch {
    async fn load(&mut self, keys: &[VersionId]) -> HashMap<VersionId, Answer<Asset>> {
        answers(keys, self.app.assets.get_many(&self.caller, keys).await)
    }
}

impl BatchFn<VersionId, Answer<Parents>> for Batch {
    async fn load(&mut self, keys: &[VersionId]) -> HashMap<VersionId, Answer<Parents>> {
        answers(keys, self.app.assets.parents(&self.caller, keys).await)
    }
}

impl BatchFn<VersionId, Answer<Document>> for Batch {
    async fn load(&mut self, keys: &[VersionId]) -> HashMap<VersionId, Answer<Document>> {
        answers(keys, self.app.assets.manifests(&self.caller, keys).await)
    }
}

impl BatchFn<String, Answer<Producer>> for Batch {
    async fn load(&mut self, keys: &[String]) -> HashMap<String, Answer<Producer>> {
        answers(keys, self.app.producers.get_many(&self.caller, keys).await)
    }
}

impl BatchFn<String, Answer<Policy>> for Batch {
    async fn load(&mut self, keys: &[String]) -> HashMap<String, Answer<Policy>> {
        answers(keys, self.app.policies.get_many(&self.caller, keys).await)
    }
}

impl BatchFn<String, Answer<Receipt>> for Batch {
    async fn load(&mut self, keys: &[String]) -> HashMap<String, Answer<Receipt>> {
        answers(keys, self.app.receipts.get_many(&self.caller, keys).await)
    }
}

impl BatchFn<Scope, Answer<i64>> for Batch {
    /// One statement for each kind of scope.
    async fn load(&mut self, keys: &[Scope]) -> HashMap<Scope, Answer<i64>> {
        let mut groups: HashMap<_, Vec<Scope>> = HashMap::new();
        for key in keys {
            groups.entry(discriminant(key)).or_default().push(key.clone());
        }
        let mut out = HashMap::new();
        for scopes in groups.into_values() {
            let counts = self.app.assets.counts(&self.caller, &scopes, &Filter::default()).await;
            out.extend(answers(&scopes, counts.map(|counts| counts.into_iter().map(Some).collect())));
        }
        out
    }
}

impl BatchFn<Priced, Answer<Price>> for Batch {
    async fn load(&mut self, keys: &[Priced]) -> HashMap<Priced, Answer<Price>> {
        let found = self.app.prices.of_one_unit(&self.caller, keys).await;
        answers(keys, found.map(|prices| prices.into_iter().map(Some).collect()))
    }
}

impl BatchFn<Priced, Answer<Tiers>> for Batch {
    async fn load(&mut self, keys: &[Priced]) -> HashMap<Priced, Answer<Tiers>> {
        answers(keys, self.app.prices.tiers(&self.caller, keys).await)
    }
}

impl BatchFn<PageKey, Answer<Page<VersionId>>> for Batch {
    /// The keys of one field have the same paging; those of several fields (aliases) are asked for one by one.
    async fn load(&mut self, keys: &[PageKey]) -> HashMap<PageKey, Answer<Page<VersionId>>> {
        let mut groups: HashMap<_, Vec<&PageKey>> = HashMap::new();
        for key in keys {
            groups.entry((discriminant(&key.0), &key.1)).or_default().push(key);
        }
        let mut out = HashMap::new();
        for ((_, request), keys) in groups {
            let scopes: Vec<Scope> = keys.iter().map(|(scope, _)| scope.clone()).collect();
            let pages = self.app.assets.pages(&self.caller, &scopes, &Filter::default(), request).await;
            let keys: Vec<_> = keys.into_iter().cloned().collect();
            out.extend(answers(&keys, pages.map(|pages| pages.into_iter().map(Some).collect())));
        }
        out
    }
}

impl BatchFn<ReceiptsKey, Answer<Page<String>>> for Batch {
    /// As for pages of assets.
    async fn load(&mut self, keys: &[ReceiptsKey]) -> HashMap<ReceiptsKey, Answer<Page<String>>> {
        let mut groups: HashMap<_, Vec<VersionId>> = HashMap::new();
        for (version, request) in keys {
            groups.entry(request).or_default().push(*version);
        }
        let mut out = HashMap::new();
        for (request, versions) in groups {
            let pages = self.app.receipts.pages(&self.caller, &versions, request).await;
            let keys: Vec<_> = versions.into_iter().map(|version| (version, request.clone())).collect();
            out.extend(answers(&keys, pages.map(|pages| pages.into_iter().map(Some).collect())));
        }
        out
    }
}
