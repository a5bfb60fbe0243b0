//! Recalls and warnings.

use sea_orm::entity::prelude::*;

/// A row of `advisories`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "advisories")]
pub struct Model {
    /// Id of the advisory, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub advisory_id: String,
    /// `BLOCK` or `WARN`.
    #[sea_orm(column_name = "type", column_type = "Text")]
    pub advisory_type: String,
    /// Why, 1…5,000 characters.
    #[sea_orm(column_type = "Text")]
    pub reason: String,
    /// More, of any shape.
    #[sea_orm(column_type = "JsonBinary")]
    pub payload: Option<Json>,
    /// When it was issued.
    pub created_at: DateTimeUtc,
    /// From when on it no longer counts; null for never.
    pub expires_at: Option<DateTimeUtc>,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// What it is about.
    #[sea_orm(has_many = "super::advisory_targets::Entity")]
    AdvisoryTargets,
}

impl Related<super::advisory_targets::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::AdvisoryTargets.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
