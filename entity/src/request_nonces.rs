//! Nonces of signed requests that were accepted; each may be used once.

use sea_orm::entity::prelude::*;

/// A row of `request_nonces`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "request_nonces")]
pub struct Model {
    /// The key that signed, 66 hex digits.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub identity_key: String,
    /// What it named the request by, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub nonce: String,
    /// When it was accepted.
    pub used_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
