//! Every accepted OpenLineage event, as it came.

use sea_orm::entity::prelude::*;

/// A row of `lineage_event_audit`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "lineage_event_audit")]
pub struct Model {
    /// SHA-256 of the canonical event, 64 lower-case hex.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub event_hash: String,
    /// When it happened, as the client says.
    pub event_time: DateTimeUtc,
    /// Namespace of the job or, for a DatasetEvent, of the dataset; 1…512 bytes.
    #[sea_orm(column_type = "Text")]
    pub namespace: String,
    /// Name of the job, 1…2,048 bytes; null for a DatasetEvent.
    #[sea_orm(column_type = "Text")]
    pub job_name: Option<String>,
    /// The run, 1…200 bytes, not always a UUID; null unless a RunEvent.
    #[sea_orm(column_type = "Text")]
    pub run_id: Option<String>,
    /// `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`; null when the event has none.
    #[sea_orm(column_type = "Text")]
    pub event_type: Option<String>,
    /// The whole event, an object.
    #[sea_orm(column_type = "JsonBinary")]
    pub payload_json: Json,
    /// When we received it.
    pub created_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
