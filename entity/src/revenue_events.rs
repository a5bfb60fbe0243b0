//! What happened to the money; append only (the database refuses UPDATE and DELETE).

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `revenue_events`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "revenue_events")]
pub struct Model {
    /// Number of the event, in order of arrival.
    #[sea_orm(primary_key)]
    pub event_id: i64,
    /// The receipt.
    #[sea_orm(column_type = "Text")]
    pub receipt_id: String,
    /// The version that was bought.
    pub version_id: VersionId,
    /// `quoted`, `submitted`, `confirmed`, `reverted` or `refund`.
    #[sea_orm(column_name = "type", column_type = "Text")]
    pub event_type: String,
    /// Satoshis it is about, never negative: the type says which way they went.
    pub amount_sat: i64,
    /// More, an object.
    #[sea_orm(column_type = "JsonBinary")]
    pub details: Json,
    /// When it happened.
    pub created_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The receipt.
    #[sea_orm(
        belongs_to = "super::receipts::Entity",
        from = "Column::ReceiptId",
        to = "super::receipts::Column::ReceiptId"
    )]
    Receipts,
}

impl Related<super::receipts::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Receipts.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
