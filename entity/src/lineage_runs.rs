//! Runs that events named, with state, times, and all inputs and outputs named so far.

use sea_orm::entity::prelude::*;

/// A row of `lineage_runs`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "lineage_runs")]
pub struct Model {
    /// Id of the run, 1…200 bytes; real clients send ids that are not UUIDs.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub run_id: String,
    /// Key of the job, 32 hex digits. The database generates it: never set it.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub job_key: String,
    /// Namespace of the job.
    #[sea_orm(column_type = "Text")]
    pub job_namespace: String,
    /// Name of the job.
    #[sea_orm(column_type = "Text")]
    pub job_name: String,
    /// `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// The event that the state comes from, as text that sorts by what counts.
    #[sea_orm(column_type = "Text")]
    pub state_version: String,
    /// When it started, as far as an event said.
    pub started_at: Option<DateTimeUtc>,
    /// When it completed, failed or was aborted.
    pub ended_at: Option<DateTimeUtc>,
    /// Datasets it read, an array of `{namespace, name}` without duplicates.
    #[sea_orm(column_type = "JsonBinary")]
    pub inputs: Json,
    /// Datasets it wrote, an array of `{namespace, name}` without duplicates.
    #[sea_orm(column_type = "JsonBinary")]
    pub outputs: Json,
    /// The latest of each run facet, an object by facet name.
    #[sea_orm(column_type = "JsonBinary")]
    pub facets: Json,
    /// For each facet the event it came from, `<event time, UTC, microseconds> <event hash>`; the greater string wins.
    #[sea_orm(column_type = "JsonBinary")]
    pub facet_versions: Json,
    /// Time of the latest event that named it.
    pub latest_event_at: DateTimeUtc,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
