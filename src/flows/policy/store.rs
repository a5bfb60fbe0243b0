//! The audit's SQL.

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use serde_json::Value;

use crate::db::Tx;
use crate::domain::policies::evaluate::Decision;
use crate::error::Result;

/// A row of `policy_runs`.
pub(super) struct Run {
    pub(super) run_id: String,
    /// `None` for a policy that came along.
    pub(super) policy_id: Option<String>,
    pub(super) version_id: VersionId,
    pub(super) decision: Decision,
    pub(super) reasons: Value,
    pub(super) warnings: Value,
    /// What was compared, and all that is needed to evaluate again: `{document, facts, checks}`.
    pub(super) evidence: Value,
    pub(super) evaluated_at: DateTime<Utc>,
}

const RECORD: &str = "\
    insert into public.policy_runs (run_id, policy_id, version_id, decision, reasons, warnings, evidence, evaluated_at) \
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(super) async fn record(tx: &Tx, run: Run) -> Result<()> {
    let values = vec![
        run.run_id.into(),
        run.policy_id.into(),
        run.version_id.to_string().into(),
        run.decision.as_str().into(),
        run.reasons.into(),
        run.warnings.into(),
        run.evidence.into(),
        run.evaluated_at.into(),
    ];
    tx.execute("policy.record", RECORD, values).await?;
    Ok(())
}
