//! Datasets that events named, with the latest of each facet.

use sea_orm::entity::prelude::*;

/// A row of `lineage_datasets`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "lineage_datasets")]
pub struct Model {
    /// Namespace of the dataset, 1…512 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub namespace: String,
    /// Name of the dataset within it, 1…2,048 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    /// The latest of each facet, an object by facet name.
    #[sea_orm(column_type = "JsonBinary")]
    pub facets: Json,
    /// For each facet the event it came from, `<event time, UTC, microseconds> <event hash>`; the greater string wins.
    #[sea_orm(column_type = "JsonBinary")]
    pub facet_versions: Json,
    /// Time of the latest event that named it.
    pub latest_event_at: DateTimeUtc,
    /// Key made of namespace and name, 32 hex digits. The database generates it: never set it.
    #[sea_orm(column_type = "Text")]
    pub dataset_key: String,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
