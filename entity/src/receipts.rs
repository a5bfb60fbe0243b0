//! Receipts: who may consume what, and how it was paid.

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `receipts`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "receipts")]
pub struct Model {
    /// Id of the receipt, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub receipt_id: String,
    /// The version that is bought.
    pub version_id: VersionId,
    /// `pending`, `paid`, `confirmed`, `consumed` or `expired`; paid, confirmed and consumed need a `payment_txid`.
    #[sea_orm(column_type = "Text")]
    pub status: String,
    /// Units, at least 1.
    pub quantity: i32,
    /// Price of one unit in satoshis when the receipt was made.
    pub unit_price_sat: i64,
    /// What is to be paid, in satoshis.
    pub amount_sat: i64,
    /// Fee in satoshis.
    pub fee_sat: i64,
    /// The quoted outputs, an array of `{scriptHex, satoshis}`; empty before a quote.
    #[sea_orm(column_type = "JsonBinary")]
    pub outputs: Json,
    /// SHA-256 of the canonical quote, 64 lower-case hex.
    #[sea_orm(column_type = "Text")]
    pub quote_template_hash: Option<String>,
    /// Until when the quote can be paid.
    pub quote_expires_at: Option<DateTimeUtc>,
    /// The paying transaction, 64 lower-case hex in display order; unique.
    #[sea_orm(unique, column_type = "Text")]
    pub payment_txid: Option<String>,
    /// When the payment was accepted.
    pub paid_at: Option<DateTimeUtc>,
    /// When the receipt expires if it is still pending.
    pub expires_at: DateTimeUtc,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
    /// The key that asked for it, 66 hex digits; null when nobody in particular did.
    #[sea_orm(column_type = "Text")]
    pub buyer_key: Option<String>,
    /// The paying transaction itself, hex.
    #[sea_orm(column_type = "Text")]
    pub payment_raw_tx: Option<String>,
    /// What proves that it is in a block.
    #[sea_orm(column_type = "JsonBinary")]
    pub payment_envelope: Option<Json>,
    /// That block, 64 lower-case hex in display order.
    #[sea_orm(column_type = "Text")]
    pub payment_block_hash: Option<String>,
    /// How far the payment has come on its way to the network: `due` or `accepted`; null when it is not sent from here.
    #[sea_orm(column_type = "Text")]
    pub broadcast: Option<String>,
    /// Host of the service that has taken it.
    #[sea_orm(column_type = "Text")]
    pub broadcast_by: Option<String>,
    /// Why it could not be sent at the last try, or was refused.
    #[sea_orm(column_type = "Text")]
    pub broadcast_note: Option<String>,
    /// How often it was tried, or its proof asked for.
    pub broadcast_tries: i32,
    /// When it is tried again.
    pub broadcast_next_at: Option<DateTimeUtc>,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The version that is bought.
    #[sea_orm(
        belongs_to = "super::assets::Entity",
        from = "Column::VersionId",
        to = "super::assets::Column::VersionId"
    )]
    Assets,
    /// What happened to its money.
    #[sea_orm(has_many = "super::revenue_events::Entity")]
    RevenueEvents,
}

impl Related<super::assets::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Assets.def()
    }
}

impl Related<super::revenue_events::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::RevenueEvents.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
