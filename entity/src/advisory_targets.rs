//! What an advisory is about: versions and whole producers, known to us or not.

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `advisory_targets`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "advisory_targets")]
pub struct Model {
    /// Number of the target; means nothing outside.
    #[sea_orm(primary_key)]
    pub target_id: i64,
    /// The advisory.
    #[sea_orm(column_type = "Text")]
    pub advisory_id: String,
    /// A version; exactly one of this and `producer_id` is set.
    pub version_id: Option<VersionId>,
    /// A producer, for all its versions.
    #[sea_orm(column_type = "Text")]
    pub producer_id: Option<String>,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The advisory.
    #[sea_orm(
        belongs_to = "super::advisories::Entity",
        from = "Column::AdvisoryId",
        to = "super::advisories::Column::AdvisoryId"
    )]
    Advisories,
}

impl Related<super::advisories::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Advisories.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
