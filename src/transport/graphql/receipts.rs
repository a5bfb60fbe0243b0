//! Receipts in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, Enum, ID, Object};
use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;

use super::assets::AssetNode;
use super::error::{Nullable, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection};
use super::relay::global_id;
use super::scalars::Satoshis;
use crate::domain::receipts::{NEWEST, Receipt, Status};
use crate::error::Result;

/// Where a receipt stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Status", name = "ReceiptStatus")]
enum ReceiptStatus {
    /// Quoted, not paid.
    Pending,
    /// A payment was submitted.
    Paid,
    /// The payment is proven deep enough.
    Confirmed,
    /// Used up.
    Consumed,
    /// The quote ran out unpaid.
    Expired,
}

/// What a consumer asked a price for, paid, and may use.
pub(super) struct ReceiptNode(pub(super) Arc<Receipt>);

/// What a consumer asked a price for, paid, and may use.
#[Object(name = "Receipt")]
impl ReceiptNode {
    /// Relay global identifier.
    pub(super) async fn id(&self) -> ID {
        global_id("Receipt", &self.0.receipt_id)
    }

    /// Identifier.
    async fn receipt_id(&self) -> &str {
        &self.0.receipt_id
    }

    /// Where it stands.
    async fn status(&self) -> ReceiptStatus {
        self.0.status.into()
    }

    /// Units bought.
    async fn quantity(&self) -> i64 {
        self.0.quantity
    }

    /// Price of one unit.
    async fn unit_price(&self) -> Satoshis {
        Satoshis(self.0.unit_price_sat)
    }

    /// Price of all.
    async fn amount(&self) -> Satoshis {
        Satoshis(self.0.amount_sat)
    }

    /// The paying transaction.
    async fn payment_txid(&self) -> Option<&str> {
        self.0.payment_txid.as_deref()
    }

    /// When it was asked for.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it ends.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// What is bought.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(self.0.version_id).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }
}

pub(super) type ReceiptConnection = Connection<String, ReceiptNode, EmptyFields, EmptyFields>;

/// A page of a version's receipts; those of all its siblings come with one statement.
pub(super) async fn of_version(loaders: &Loaders, id: VersionId, arguments: Arguments) -> Result<ReceiptConnection> {
    let request = arguments.request(&NEWEST)?;
    let page = loaders.receipts_of(id, request.clone()).await?;
    let ids: Vec<String> = page.rows.iter().map(|row| row.id.clone()).collect();
    let mut found = loaders.receipts(&ids).await?.into_iter();
    Ok(connection(&request, &page, EmptyFields, |_| found.next().flatten().map(ReceiptNode)))
}

#[derive(Default)]
pub(super) struct ReceiptQuery;

#[Object]
impl ReceiptQuery {
    /// One receipt; null when there is none of that identifier.
    async fn receipt(&self, ctx: &Context<'_>, receipt_id: String) -> Nullable<ReceiptNode> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let id = super::relay::identifier(receipt_id, "receiptId")?;
            Ok(loaders.receipt(id).await?.map(ReceiptNode))
        };
        nullable(outcome.await)
    }
}
