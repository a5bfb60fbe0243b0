//! The root of all subscriptions.

use std::sync::{Arc, PoisonError};

use async_graphql::{Context, Enum, Object, Result, SimpleObject, Subscription};
use futures_util::Stream;
use futures_util::future::Either;
use futures_util::stream::{empty, iter};

use super::{About, Begun, Event, Opening, Source, Why};
use crate::cache::Outcome;
use crate::coherence::{Consistency, Feed, Position};
use crate::error::Error;
use crate::transport::graphql::advisories::AdvisoryObject;
use crate::transport::graphql::assets::AssetNode;
use crate::transport::graphql::error::{Nullable, graphql, nullable};
use crate::transport::graphql::lineage_events::LineageEvent;
use crate::transport::graphql::loaders::Loaders;
use crate::transport::graphql::receipts::ReceiptNode;
use crate::transport::graphql::relay::identifier;
use crate::transport::graphql::scalars::Hex32;
use crate::transport::graphql::trust::ChainTip;

/// Most versions that one subscription names.
const MAX_NAMED: usize = 200;

/// Why it is not known what has changed. Read again what you show.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// One statement changed so many objects that they are not told one by one.
    Bulk,
    /// `since` lies further back than is remembered.
    TooFarBack,
    /// The history that `since` belongs to has ended, as after a crash or a fail-over of the database.
    NewHistory,
}

/// What every event has.
#[derive(Clone)]
struct Happened {
    id: Option<String>,
    gap: Option<Gap>,
    token: String,
}

impl From<&Event> for Happened {
    fn from(event: &Event) -> Self {
        let (id, gap) = match &event.about {
            About::One(id) => (Some(id.clone()), None),
            About::Unknown(Why::Bulk) => (None, Some(Gap::Bulk)),
            About::Unknown(Why::TooFarBack) => (None, Some(Gap::TooFarBack)),
            About::Unknown(Why::NewHistory) => (None, Some(Gap::NewHistory)),
        };
        Self { id, gap, token: event.position.to_string() }
    }
}

/// A version was published, changed, or proven anew.
struct AssetChange(Happened);

#[Object]
impl AssetChange {
    /// Give it to the next subscription as `since`, and it goes on after this event.
    async fn token(&self) -> &str {
        &self.0.token
    }

    /// Set when any version may have changed, and it is not known which.
    async fn gap(&self) -> Option<Gap> {
        self.0.gap
    }

    /// The version's identifier; null with `gap`.
    async fn version_id(&self) -> Result<Option<Hex32>> {
        let id = self.0.id.as_deref().map(str::parse).transpose();
        Ok(id.map_err(|cause| graphql(&Error::internal(cause)))?.map(Hex32))
    }

    /// The version as it is now, which may be later than this change; null when it is gone.
    #[graphql(complexity = "1 + child_complexity")]
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = async {
            let Some(id) = &self.0.id else { return Ok(None) };
            let asset = ctx.data_unchecked::<Loaders>().asset(id.parse().map_err(Error::internal)?).await?;
            Ok(asset.map(AssetNode))
        };
        nullable(found.await)
    }
}

/// A receipt came to another state.
struct ReceiptChange(Happened);

#[Object]
impl ReceiptChange {
    /// Give it to the next subscription as `since`, and it goes on after this event.
    async fn token(&self) -> &str {
        &self.0.token
    }

    /// Set when the receipt may have changed, and it is not known whether it has.
    async fn gap(&self) -> Option<Gap> {
        self.0.gap
    }

    /// The receipt as it is now, which may be later than this change; null with `gap`.
    #[graphql(complexity = "1 + child_complexity")]
    async fn receipt(&self, ctx: &Context<'_>) -> Nullable<ReceiptNode> {
        let found = async {
            let Some(id) = &self.0.id else { return Ok(None) };
            Ok(ctx.data_unchecked::<Loaders>().receipt(id.clone()).await?.map(ReceiptNode))
        };
        nullable(found.await)
    }
}

/// An advisory was issued, changed or withdrawn.
struct AdvisoryChange(Happened);

#[Object]
impl AdvisoryChange {
    /// Give it to the next subscription as `since`, and it goes on after this event.
    async fn token(&self) -> &str {
        &self.0.token
    }

    /// Set when any advisory may have changed, and it is not known which.
    async fn gap(&self) -> Option<Gap> {
        self.0.gap
    }

    /// The advisory's identifier; null with `gap`.
    async fn advisory_id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The advisory as it is now; null when it was withdrawn or has expired.
    #[graphql(complexity = "1 + child_complexity")]
    async fn advisory(&self, ctx: &Context<'_>) -> Nullable<AdvisoryObject> {
        let found = async {
            let Some(id) = &self.0.id else { return Ok(None) };
            let Loaders { app, caller, .. } = ctx.data_unchecked();
            Ok(app.advisories.find(caller, id, chrono::Utc::now()).await?.map(AdvisoryObject))
        };
        nullable(found.await)
    }
}

/// A lineage event was taken.
struct LineageEventAddition(Happened);

#[Object]
impl LineageEventAddition {
    /// Give it to the next subscription as `since`, and it goes on after this event.
    async fn token(&self) -> &str {
        &self.0.token
    }

    /// Set when events may have been taken, and it is not known which.
    async fn gap(&self) -> Option<Gap> {
        self.0.gap
    }

    /// The event; null with `gap`, or when it is kept no longer.
    #[graphql(complexity = "1 + child_complexity")]
    async fn event(&self, ctx: &Context<'_>) -> Nullable<LineageEvent> {
        let found = async {
            let Some(hash) = &self.0.id else { return Ok(None) };
            let Loaders { app, caller, .. } = ctx.data_unchecked();
            Ok(app.lineage.event(caller, hash).await?.map(|event| LineageEvent(Arc::new(event))))
        };
        nullable(found.await)
    }
}

/// The best chain grew, or another one became the best.
#[derive(SimpleObject)]
struct ChainTipChange {
    /// Give it to the next subscription as `since`, and it goes on after this event.
    token: String,
    /// Set when the chain may have changed, and it is not known whether it has.
    gap: Option<Gap>,
    /// The last block of the best chain as it is now; null when no header is known.
    chain_tip: Option<ChainTip>,
}

#[derive(Default)]
pub(in crate::transport::graphql) struct ChangeQuery;

#[Object]
impl ChangeQuery {
    /// Ask for it beside what you show, and give it to a subscription as `since`: it tells of every change that the answer does
    /// not include.
    async fn change_token(&self, ctx: &Context<'_>) -> String {
        // An answer that was kept would be true, and tell of changes that it includes.
        ctx.data_unchecked::<Loaders>().caller.ledger().live(Outcome::Hit);
        ctx.data_unchecked::<Begun>().0.to_string()
    }
}

/// The root of all subscriptions.
#[derive(Default)]
pub struct Subscription;

#[Subscription]
impl Subscription {
    /// Tells of every version that is published, changed or proven, or of those named (200 at most). Changes of one
    /// transaction come together, transactions in one order that is the same for everybody.
    async fn asset_changed(
        &self, ctx: &Context<'_>, version_ids: Option<Vec<Hex32>>, since: Option<String>,
    ) -> Result<impl Stream<Item = AssetChange>> {
        if version_ids.as_ref().is_some_and(|ids| ids.len() > MAX_NAMED) {
            let error = Error::invalid(format!("`versionIds` may name {MAX_NAMED} at most")).hint("versionIds");
            return Err(graphql(&error));
        }
        let source = Source::Assets(version_ids.map(|ids| ids.into_iter().map(|id| id.0).collect()));
        follow(ctx, source, since).await.map(|events| map(events, AssetChange))
    }

    /// Tells of every new state of a receipt.
    async fn receipt_changed(
        &self, ctx: &Context<'_>, receipt_id: String, since: Option<String>,
    ) -> Result<impl Stream<Item = ReceiptChange>> {
        let receipt_id = identifier(receipt_id, "receiptId").map_err(|error| graphql(&error))?;
        follow(ctx, Source::Receipt(receipt_id), since).await.map(|events| map(events, ReceiptChange))
    }

    /// Tells of every advisory that is issued, changed or withdrawn.
    async fn advisory_issued(
        &self, ctx: &Context<'_>, since: Option<String>,
    ) -> Result<impl Stream<Item = AdvisoryChange>> {
        follow(ctx, Source::Advisories, since).await.map(|events| map(events, AdvisoryChange))
    }

    /// Tells of every lineage event that is taken.
    async fn lineage_event_added(
        &self, ctx: &Context<'_>, since: Option<String>,
    ) -> Result<impl Stream<Item = LineageEventAddition>> {
        follow(ctx, Source::LineageEvents, since).await.map(|events| map(events, LineageEventAddition))
    }

    /// Tells when the best chain grows, or another one becomes the best.
    async fn chain_tip_changed(
        &self, ctx: &Context<'_>, since: Option<String>,
    ) -> Result<impl Stream<Item = Result<ChainTipChange>>> {
        let events = follow(ctx, Source::Headers, since).await?;
        let Loaders { app, caller, .. } = ctx.data_unchecked();
        // Read here, so that the tip that is told is the one that was read.
        let tip = if events.is_some() { app.spv.tip(caller).await.map_err(|error| graphql(&error))? } else { None };
        Ok(map(events, move |Happened { gap, token, .. }| {
            Ok(ChainTipChange { token, gap, chain_tip: tip.clone().map(ChainTip) })
        }))
    }
}

fn map<T>(event: Option<Happened>, wrap: impl FnOnce(Happened) -> T) -> impl Stream<Item = T> {
    match event {
        Some(event) => Either::Left(iter([wrap(event)])),
        None => Either::Right(empty()),
    }
}

/// The event that is to be answered now. When the document is executed for the first time there is none, and what it wants
/// to be told of is left for who asked.
async fn follow(ctx: &Context<'_>, source: Source, since: Option<String>) -> Result<Option<Happened>> {
    if let Some(event) = ctx.data_opt::<Event>() {
        return Ok(Some(event.into()));
    }
    let Some(opening) = ctx.data_opt::<Arc<Opening>>() else {
        return Err(graphql(&Error::invalid("a subscription cannot be asked like a query")));
    };
    let since = since.map(|token| position(&token)).transpose().map_err(|error| graphql(&error))?;
    if let Some(since) = since {
        let feed = &ctx.data_unchecked::<Loaders>().app.feed;
        reached(feed, &since).await.map_err(|error| graphql(&error))?;
    }
    let mut opened = opening.0.lock().unwrap_or_else(PoisonError::into_inner);
    if opened.replace((source, since)).is_some() {
        return Err(graphql(&Error::invalid("a subscription has one field at its root")));
    }
    Ok(None)
}

fn position(token: &str) -> crate::error::Result<Position> {
    let form =
        "`since` must be the `token` of an event or of `changeToken`, `<32 hex digits>.<transaction id>.<number>`";
    Position::parse(token).ok_or_else(|| Error::invalid(form).hint("since"))
}

/// Waits until this process has come as far as whoever told the token.
pub(super) async fn reached(feed: &Feed, since: &Position) -> crate::error::Result<()> {
    if feed.changes().is_ahead(since) {
        feed.reach(Consistency::Strong).await?;
        if feed.changes().is_ahead(since) {
            return Err(Error::invalid("`since` names what has not happened yet").hint("since"));
        }
    }
    Ok(())
}
