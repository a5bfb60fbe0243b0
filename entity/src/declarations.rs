//! The declaration of a version on the chain, and its proof.

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `declarations`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "declarations")]
pub struct Model {
    /// The declared version.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version_id: VersionId,
    /// Declaring transaction, 64 lower-case hex in display order; unique.
    #[sea_orm(unique, column_type = "Text")]
    pub txid: String,
    /// Index of the declaring output; 0 when the transaction is not known to have one.
    pub vout: i32,
    /// `DLM1`, `TRN1` or `UNKNOWN`.
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    /// The whole transaction, lower-case hex.
    #[sea_orm(column_type = "Text")]
    pub raw_tx: Option<String>,
    /// The SPV envelope, an object; null while unproven.
    #[sea_orm(column_type = "JsonBinary")]
    pub envelope: Option<Json>,
    /// Block of the envelope, 64 lower-case hex in display order; it may have left the best chain.
    #[sea_orm(column_type = "Text")]
    pub block_hash: Option<String>,
    /// Height of that block.
    pub block_height: Option<i32>,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The declared version.
    #[sea_orm(
        belongs_to = "super::assets::Entity",
        from = "Column::VersionId",
        to = "super::assets::Column::VersionId"
    )]
    Assets,
}

impl Related<super::assets::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Assets.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
