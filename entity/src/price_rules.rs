//! Prices: for one version or for all of one producer, from a quantity up.

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `price_rules`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "price_rules")]
pub struct Model {
    /// Id of the rule, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub rule_id: String,
    /// The version it prices; exactly one of this and `producer_id` is set.
    pub version_id: Option<VersionId>,
    /// The producer whose versions it prices.
    #[sea_orm(column_type = "Text")]
    pub producer_id: Option<String>,
    /// Least quantity it holds for, at least 1; unique within its scope.
    pub tier_from: i32,
    /// Price of one unit in satoshis, more than 0.
    pub satoshis: i64,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The version it prices.
    #[sea_orm(
        belongs_to = "super::assets::Entity",
        from = "Column::VersionId",
        to = "super::assets::Column::VersionId"
    )]
    Assets,
    /// The producer whose versions it prices.
    #[sea_orm(
        belongs_to = "super::producers::Entity",
        from = "Column::ProducerId",
        to = "super::producers::Column::ProducerId"
    )]
    Producers,
}

impl Related<super::assets::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Assets.def()
    }
}

impl Related<super::producers::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Producers.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
