//! Who publishes: the registry of producers.

use sea_orm::entity::prelude::*;

/// A row of `producers`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "producers")]
pub struct Model {
    /// Id of the producer, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub producer_id: String,
    /// Compressed secp256k1 public key, 66 lower-case hex; unique.
    #[sea_orm(unique, column_type = "Text")]
    pub identity_key: String,
    /// Name to show, at most 500 characters; may be empty.
    #[sea_orm(column_type = "Text")]
    pub display_name: String,
    /// Home page.
    #[sea_orm(column_type = "Text")]
    pub website: Option<String>,
    /// Locking script that the producer's share of a payment goes to, lower-case hex.
    #[sea_orm(column_type = "Text")]
    pub payout_script_hex: Option<String>,
    /// When the producer was registered.
    pub created_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Versions this producer published.
    #[sea_orm(has_many = "super::assets::Entity")]
    Assets,
    /// Prices for all that this producer sells.
    #[sea_orm(has_many = "super::price_rules::Entity")]
    PriceRules,
}

impl Related<super::assets::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Assets.def()
    }
}

impl Related<super::price_rules::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::PriceRules.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
