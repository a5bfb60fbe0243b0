//! Ancestry: one row an edge from a version to one it was derived from.

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `asset_parents`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "asset_parents")]
pub struct Model {
    /// The derived version.
    #[sea_orm(primary_key, auto_increment = false)]
    pub child_version_id: VersionId,
    /// The version it was derived from; may not be published (yet).
    #[sea_orm(primary_key, auto_increment = false)]
    pub parent_version_id: VersionId,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The derived version. The parent has no relation: it may not exist.
    #[sea_orm(
        belongs_to = "super::assets::Entity",
        from = "Column::ChildVersionId",
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
