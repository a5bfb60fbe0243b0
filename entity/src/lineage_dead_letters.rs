//! Events that were rejected or failed: nothing is dropped silently.

use sea_orm::entity::prelude::*;

/// A row of `lineage_dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "lineage_dead_letters")]
pub struct Model {
    /// Number of the letter, in order of arrival.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The body as it came; text, because it may be what `jsonb` refuses.
    #[sea_orm(column_type = "Text")]
    pub payload: String,
    /// Why, an array.
    #[sea_orm(column_type = "JsonBinary")]
    pub errors: Json,
    /// How often it was tried again.
    pub attempts: i32,
    /// When to try again; null when that cannot help.
    pub next_try_at: Option<DateTimeUtc>,
    /// SHA-256 of the body, 64 hex digits: what is refused again is the same letter.
    #[sea_orm(column_type = "Text")]
    pub payload_hash: Option<String>,
    /// When we received it.
    pub created_at: DateTimeUtc,
    /// When we received it last, or tried it again.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
