//! Verification facts: which version was verified in which block, never with how many confirmations.

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `bundle_audit`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "bundle_audit")]
pub struct Model {
    /// The verified version.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version_id: VersionId,
    /// Block that its proof led to, 64 lower-case hex in display order.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub block_hash: String,
    /// Height of that block.
    pub block_height: i32,
    /// When the proof was last verified.
    pub verified_at: DateTimeUtc,
    /// Whether the block has left the best chain since.
    pub reorged: bool,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The verified version.
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
