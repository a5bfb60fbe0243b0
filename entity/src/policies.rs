//! Policies that readiness is asked under.

use sea_orm::entity::prelude::*;

/// A row of `policies`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "policies")]
pub struct Model {
    /// Id of the policy, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub policy_id: String,
    /// Name to show, 1…500 characters.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// The policy document, an object.
    #[sea_orm(column_type = "JsonBinary")]
    pub doc: Json,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
