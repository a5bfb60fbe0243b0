//! Audit of policy evaluations; append only (the database refuses UPDATE and DELETE).

use sea_orm::entity::prelude::*;

use crate::ids::VersionId;

/// A row of `policy_runs`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "public", table_name = "policy_runs")]
pub struct Model {
    /// Id of the evaluation, 1…200 bytes.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub run_id: String,
    /// The policy, by id only: it may be removed while its runs stay. Null when the policy came with the request.
    #[sea_orm(column_type = "Text")]
    pub policy_id: Option<String>,
    /// The version that was judged; it may be unknown.
    pub version_id: VersionId,
    /// `allow`, `warn` or `block`.
    #[sea_orm(column_type = "Text")]
    pub decision: String,
    /// Reason codes that block, an array.
    #[sea_orm(column_type = "JsonBinary")]
    pub reasons: Json,
    /// Reason codes that warn, an array.
    #[sea_orm(column_type = "JsonBinary")]
    pub warnings: Json,
    /// What each check compared, an object or array.
    #[sea_orm(column_type = "JsonBinary")]
    pub evidence: Json,
    /// When it was judged.
    pub evaluated_at: DateTimeUtc,
}

/// Ways to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
