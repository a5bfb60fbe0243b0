//! Assets in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, ID, Object, Result};
use chrono::{DateTime, Utc};

use super::advisories::AdvisoryObject;
use super::error::{Nullable, graphql, nullable};
use super::inputs::{AssetFilter, AssetOrder, whole};
use super::lineage::{GRAPH, Lineage, LineageDirection};
use super::loaders::Loaders;
use super::page::{Arguments, connection, cost};
use super::prices::QuoteObject;
use super::producers::ProducerNode;
use super::receipts::ReceiptConnection;
use super::relay::global_id;
use super::runs::RunConnection;
use super::scalars::{Bytes, Hex32, Json, Satoshis};
use super::trust::{DeclarationObject, ReadinessObject};
use crate::domain::assets::{self, Asset, Filter, Scope};
use crate::domain::lineage::event::Named;
use crate::domain::lineage::node::Kind;
use crate::domain::page::{Order, Page, Request};
use crate::domain::policies::runs::RunsOf;
use crate::error::Error;
use crate::flows::prices;

/// One published version of a dataset or model.
pub(super) struct AssetNode(pub(super) Arc<Asset>);

impl AssetNode {
    /// What it is called in lineage.
    fn node(&self, loaders: &Loaders) -> String {
        let namespace = loaders.app.terms.lineage_namespace.clone();
        Named { namespace, name: self.0.version_id.to_string() }.id(Kind::Dataset)
    }
}

/// What a connection of assets knows beside its edges.
pub(super) struct AssetTotal {
    scope: Scope,
    filter: Filter,
}

#[Object]
impl AssetTotal {
    /// How many assets there are in all. Counted only when asked for.
    #[graphql(complexity = 20)]
    async fn total_count(&self, ctx: &Context<'_>) -> Nullable<i64> {
        let loaders = ctx.data_unchecked::<Loaders>();
        // What belongs to another object has no filter, and is counted for all its siblings at once.
        nullable(if self.filter == Filter::default() {
            loaders.total(self.scope.clone()).await.map(|total| total.map(|n| *n))
        } else {
            loaders.app.assets.count(&loaders.caller, &self.scope, &self.filter).await.map(Some)
        })
    }
}

pub(super) type AssetConnection = Connection<String, AssetNode, AssetTotal, EmptyFields>;
/// Search results have no total: only the best are ranked.
pub(super) type FoundConnection = Connection<String, AssetNode, EmptyFields, EmptyFields, FoundName, FoundEdgeName>;

pub(super) struct FoundName;
pub(super) struct FoundEdgeName;

impl async_graphql::connection::ConnectionNameType for FoundName {
    fn type_name<T: async_graphql::OutputType>() -> String {
        "SearchConnection".into()
    }
}

impl async_graphql::connection::EdgeNameType for FoundEdgeName {
    fn type_name<T: async_graphql::OutputType>() -> String {
        "SearchEdge".into()
    }
}

/// One published version of a dataset or model, identified by the hash of its manifest.
#[Object(name = "Asset")]
impl AssetNode {
    /// Relay global identifier.
    pub(super) async fn id(&self) -> ID {
        global_id("Asset", &self.0.version_id.to_string())
    }

    /// SHA-256 of the canonical manifest.
    async fn version_id(&self) -> Hex32 {
        Hex32(self.0.version_id)
    }

    /// The dataset this is a version of.
    async fn dataset_id(&self) -> &str {
        &self.0.dataset_id
    }

    /// Its producer's identifier.
    async fn producer_id(&self) -> &str {
        &self.0.producer_id
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Free text; may be empty.
    async fn description(&self, ctx: &Context<'_>) -> async_graphql::Result<&str> {
        ctx.data_unchecked::<Loaders>().room.take(self.0.description.len()).map_err(|error| graphql(&error))?;
        Ok(&self.0.description)
    }

    /// SHA-256 of the content.
    async fn content_hash(&self) -> &str {
        &self.0.content_hash
    }

    /// Hash of the manifest.
    async fn manifest_hash(&self) -> &str {
        &self.0.manifest_hash
    }

    /// IANA media type of the content.
    async fn mime_type(&self) -> Option<&str> {
        self.0.mime_type.as_deref()
    }

    /// Size of the content, bytes.
    async fn size_bytes(&self) -> Option<Bytes> {
        self.0.size_bytes.map(Bytes)
    }

    /// SPDX identifier or free text.
    async fn license(&self) -> Option<&str> {
        self.0.license.as_deref()
    }

    /// `public`, `internal`, `restricted` or `clinical-research`.
    async fn classification(&self) -> Option<&str> {
        self.0.classification.as_deref()
    }

    /// Kinds of personal data the content holds.
    async fn pii_flags(&self) -> &[String] {
        &self.0.pii_flags
    }

    /// Free tags.
    async fn tags(&self) -> &[String] {
        &self.0.tags
    }

    /// When the manifest says it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When the catalogue last changed its row.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// What a quantity of it costs now.
    #[graphql(complexity = "5 + child_complexity")]
    async fn price(&self, ctx: &Context<'_>, #[graphql(default = 1)] quantity: i32) -> Nullable<QuoteObject> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let tiers = loaders.tiers((self.0.version_id, self.0.producer_id.clone())).await?;
            let asset = self.0.clone();
            prices::quoted(&loaders.app, &loaders.caller, asset, tiers.as_deref(), quantity, Utc::now())
        };
        nullable(outcome.await.map(|quote| Some(QuoteObject(quote))))
    }

    /// The manifest as it was published.
    #[graphql(complexity = 5)]
    async fn manifest(&self, ctx: &Context<'_>) -> Nullable<Json> {
        let found = ctx.data_unchecked::<Loaders>().manifest(self.0.version_id).await;
        nullable(found.and_then(|document| document.map(|d| Json::read(ctx, &d)).transpose()))
    }

    /// Who published it.
    async fn producer(&self, ctx: &Context<'_>) -> Nullable<ProducerNode> {
        let found = ctx.data_unchecked::<Loaders>().producer(self.0.producer_id.clone()).await;
        nullable(found.map(|producer| producer.map(ProducerNode)))
    }

    /// Price of one unit.
    async fn unit_price(&self, ctx: &Context<'_>) -> Nullable<Satoshis> {
        let priced = (self.0.version_id, self.0.producer_id.clone());
        let found = ctx.data_unchecked::<Loaders>().price(priced).await;
        nullable(found.map(|price| price.map(|p| Satoshis(p.satoshis))))
    }

    /// Its declaration on chain; null when it was not declared.
    #[graphql(complexity = "3 + child_complexity")]
    async fn declaration(&self, ctx: &Context<'_>) -> Nullable<DeclarationObject> {
        let found = ctx.data_unchecked::<Loaders>().proof(self.0.version_id).await;
        nullable(found.map(|proven| proven.map(DeclarationObject)))
    }

    /// Confirmations of its declaration, now; 0 when it is not proven.
    #[graphql(complexity = 3)]
    async fn confirmations(&self, ctx: &Context<'_>) -> Nullable<u32> {
        let found = ctx.data_unchecked::<Loaders>().proof(self.0.version_id).await;
        nullable(found.map(|proven| Some(proven.map_or(0, |proven| proven.confirmations()))))
    }

    /// What is said about it or its producer and counts now.
    #[graphql(complexity = "3 + 3 * child_complexity")]
    async fn advisories(&self, ctx: &Context<'_>) -> Nullable<Vec<AdvisoryObject>> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let found = loaders.advisories(self.0.version_id, self.0.producer_id.clone()).await;
        nullable(found.map(|said| Some(said.into_iter().map(AdvisoryObject).collect())))
    }

    /// Whether it and everything it was made from may be used, as the root's `readiness` tells, with a saved policy or the
    /// server's own.
    #[graphql(complexity = "200 + child_complexity")]
    async fn readiness(
        &self, ctx: &Context<'_>, policy_id: Option<String>, min_confs: Option<i32>,
    ) -> Nullable<ReadinessObject> {
        let min_confs = match whole(min_confs, "minConfs") {
            Ok(min_confs) => min_confs,
            Err(error) => return Some(Err(graphql(&error))),
        };
        let found = ctx.data_unchecked::<Loaders>().verdict(self.0.version_id, policy_id, min_confs).await;
        nullable(found.map(|verdict| verdict.map(ReadinessObject)))
    }

    /// What it was made of, and what was made of it, as lineage events tell it; null when none names it.
    #[graphql(complexity = "GRAPH + child_complexity")]
    async fn lineage(
        &self, ctx: &Context<'_>, depth: Option<i32>,
        #[graphql(default_with = "LineageDirection::Both")] direction: LineageDirection,
    ) -> Nullable<Lineage> {
        let loaders = ctx.data_unchecked::<Loaders>();
        nullable(Lineage::around(loaders, &self.node(loaders), depth, direction).await)
    }

    /// What it is called in lineage: `dataset:<OL_NAMESPACE>:<versionId>`, for the root's `lineage` and the page `/lineage?node=`.
    async fn lineage_node(&self, ctx: &Context<'_>) -> String {
        self.node(ctx.data_unchecked())
    }

    /// What policies decided of it, the last first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn policy_runs(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<RunConnection> {
        let arguments = Arguments { first, after, last, before };
        let whose = RunsOf::Version(self.0.version_id);
        nullable(super::runs::of(ctx.data_unchecked(), whose, arguments).await.map(Some))
    }

    /// Identifiers of all direct ancestors; some may not be published yet.
    #[graphql(complexity = 5)]
    async fn parent_ids(&self, ctx: &Context<'_>) -> Result<Vec<Hex32>> {
        let parents = ctx.data_unchecked::<Loaders>().parents(self.0.version_id).await;
        Ok(parents.map_err(|e| graphql(&e))?.0.iter().copied().map(Hex32).collect())
    }

    /// The direct ancestors that are published, by identifier; the first 50 unless told.
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn parents(&self, ctx: &Context<'_>, first: Option<i32>) -> Result<Vec<AssetNode>> {
        let arguments = Arguments { first, after: None, last: None, before: None };
        let limit = arguments.request(&assets::CHILDREN).map_err(|e| graphql(&e))?.limit as usize;
        let loaders = ctx.data_unchecked::<Loaders>();
        let parents = loaders.parents(self.0.version_id).await.map_err(|e| graphql(&e))?;
        let (mut ids, mut nodes, mut size) = (&parents.0[..], Vec::new(), limit);
        // Once round, unless some are not published: then the next ones stand in for them.
        while nodes.len() < limit && !ids.is_empty() {
            let (round, rest) = ids.split_at(size.min(ids.len()));
            let found = loaders.assets(round).await;
            nodes.extend(found.map_err(|e| graphql(&e))?.into_iter().flatten().map(AssetNode));
            (ids, size) = (rest, size * 2);
        }
        nodes.truncate(limit);
        Ok(nodes)
    }

    /// What was bought of it, asked for last first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn receipts(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<ReceiptConnection> {
        let arguments = Arguments { first, after, last, before };
        nullable(super::receipts::of_version(ctx.data_unchecked(), self.0.version_id, arguments).await.map(Some))
    }

    /// The direct descendants, by identifier.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn children(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<AssetConnection> {
        let arguments = Arguments { first, after, last, before };
        let scope = Scope::Parent(self.0.version_id);
        Some(related(ctx, scope, arguments, &assets::CHILDREN).await.map_err(|e| graphql(&e)))
    }
}

/// A page of assets that belong to another object; those of all its siblings come with one statement.
pub(super) async fn related(
    ctx: &Context<'_>, scope: Scope, arguments: Arguments, order: &'static Order,
) -> Result<AssetConnection, Error> {
    let loaders = ctx.data_unchecked::<Loaders>();
    let request = arguments.request(order)?;
    // Asked for now, for all siblings at once: their pages are ready at different times, empty ones first.
    let total = async {
        if ctx.look_ahead().field("totalCount").exists() {
            let _answered_again_below = loaders.total(scope.clone()).await;
        }
    };
    let (page, ()) = futures_util::future::join(loaders.page(scope.clone(), request.clone()), total).await;
    let page = page?;
    let extra = AssetTotal { scope, filter: Filter::default() };
    with_assets(loaders, &request, &page, extra).await
}

async fn with_assets<Extra, Name, EdgeName>(
    loaders: &Loaders, request: &Request, page: &Page<overlay_entity::ids::VersionId>, extra: Extra,
) -> Result<Connection<String, AssetNode, Extra, EmptyFields, Name, EdgeName>, Error>
where
    Extra: async_graphql::ObjectType,
    Name: async_graphql::connection::ConnectionNameType,
    EdgeName: async_graphql::connection::EdgeNameType,
{
    let ids: Vec<_> = page.rows.iter().map(|row| row.id).collect();
    let mut found = loaders.assets(&ids).await?.into_iter();
    Ok(connection(request, page, extra, |_| found.next().flatten().map(AssetNode)))
}

#[derive(Default)]
pub(super) struct AssetQuery;

#[Object]
impl AssetQuery {
    /// One asset version; null when it is not published.
    async fn asset(&self, ctx: &Context<'_>, version_id: Hex32) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(version_id.0).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }

    /// Assets of the catalogue, the last changed first unless told.
    #[expect(clippy::too_many_arguments, reason = "the arguments of a GraphQL field are its clients' words")]
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn assets(
        &self, ctx: &Context<'_>, filter: Option<AssetFilter>,
        #[graphql(default_with = "AssetOrder::UpdatedAtDesc")] order_by: AssetOrder, first: Option<i32>,
        after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<AssetConnection> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let filter = filter.unwrap_or_default().filter()?;
            let request = Arguments { first, after, last, before }.request(order_by.order())?;
            let page = loaders.app.assets.page(&loaders.caller, Scope::Catalogue, &filter, &request).await?;
            with_assets(loaders, &request, &page, AssetTotal { scope: Scope::Catalogue, filter }).await
        };
        Some(outcome.await.map_err(|e| graphql(&e)))
    }

    /// Assets that match a text, the best first: words in name, description and tags; names spelt alike where little else is.
    // A search works hardest of all: a query may hold few.
    #[graphql(complexity = "cost(first, last, child_complexity).saturating_add(1000)")]
    async fn search(
        &self, ctx: &Context<'_>, query: String, first: Option<i32>, after: Option<String>, last: Option<i32>,
        before: Option<String>,
    ) -> Nullable<FoundConnection> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let request = Arguments { first, after, last, before }.request(&assets::RANK)?;
            let page = loaders.app.assets.search(&loaders.caller, &query, &request).await?;
            with_assets(loaders, &request, &page, EmptyFields).await
        };
        Some(outcome.await.map_err(|e| graphql(&e)))
    }
}
