//! What jobs read and write.

use sea_orm::entity::prelude::*;

/// A row of `lineage_io`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "lineage_io")]
pub struct Model {
    /// Key of the job, 32 hex digits. The database generates the two keys: never set them.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub job_key: String,
    /// Key of the dataset.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub dataset_key: String,
    /// Whether the job writes it; else it reads it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub is_output: bool,
    /// Namespace of the job.
    #[sea_orm(column_type = "Text")]
    pub job_namespace: String,
    /// Name of the job.
    #[sea_orm(column_type = "Text")]
    pub job_name: String,
    /// Namespace of the dataset.
    #[sea_orm(column_type = "Text")]
    pub dataset_namespace: String,
    /// Name of the dataset.
    #[sea_orm(column_type = "Text")]
    pub dataset_name: String,
    /// When it was first seen.
    pub created_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
