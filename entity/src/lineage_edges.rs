//! Dataset-to-dataset edges: what the graph walks.

use sea_orm::entity::prelude::*;

/// A row of `lineage_edges`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "lineage_edges")]
pub struct Model {
    /// Key of the dataset that was read, 32 hex digits. The database generates the three keys: never set them.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub from_key: String,
    /// Key of the dataset that was written.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub to_key: String,
    /// Key of the job that did it.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub job_key: String,
    /// Namespace of the dataset that was read.
    #[sea_orm(column_type = "Text")]
    pub from_namespace: String,
    /// Name of the dataset that was read.
    #[sea_orm(column_type = "Text")]
    pub from_name: String,
    /// Namespace of the dataset that was written.
    #[sea_orm(column_type = "Text")]
    pub to_namespace: String,
    /// Name of the dataset that was written.
    #[sea_orm(column_type = "Text")]
    pub to_name: String,
    /// Namespace of the job that did it.
    #[sea_orm(column_type = "Text")]
    pub job_namespace: String,
    /// Name of the job that did it.
    #[sea_orm(column_type = "Text")]
    pub job_name: String,
    /// When the edge was first seen.
    pub created_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
