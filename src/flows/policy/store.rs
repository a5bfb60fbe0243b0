//! The audit's SQL.

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use serde_json::Value;

use crate::db::Tx;
use crate::domain::policies::evaluate::Decision;
use crate::error::Result;

/// A row of `policy_runs`, but for what all rows written together share.
pub(super) struct Run {
    pub(super) run_id: String,
    pub(super) version_id: VersionId,
    pub(super) decision: Decision,
    pub(super) reasons: Value,
    pub(super) warnings: Value,
    /// What was compared, and all that is needed to evaluate again: `{document, facts, checks}`.
    pub(super) evidence: Value,
}

const RECORD: &str = "\
    insert into public.policy_runs (run_id, policy_id, version_id, decision, reasons, warnings, evidence, evaluated_at) \
    select r.run_id, $7, r.version_id, r.decision, r.reasons::jsonb, r.warnings::jsonb, r.evidence::jsonb, $8 \
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) \
        as r (run_id, version_id, decision, reasons, warnings, evidence)";

/// Records runs of one policy; `policy_id` is `None` for one that came along.
pub(super) async fn record(
    tx: &Tx, runs: Vec<Run>, policy_id: Option<String>, evaluated_at: DateTime<Utc>,
) -> Result<()> {
    let column = |of: fn(&Run) -> String| sea_orm::Value::from(runs.iter().map(of).collect::<Vec<_>>());
    let values = vec![
        column(|run| run.run_id.clone()),
        column(|run| run.version_id.to_string()),
        column(|run| run.decision.as_str().to_owned()),
        column(|run| run.reasons.to_string()),
        column(|run| run.warnings.to_string()),
        column(|run| run.evidence.to_string()),
        policy_id.into(),
        evaluated_at.into(),
    ];
    tx.execute("policy.record", RECORD, values).await?;
    Ok(())
}
