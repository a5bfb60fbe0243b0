//! The runs' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use super::{Run, RunsOf};
use crate::db::Db;
use crate::domain::Document;
use crate::domain::page::{self, Request, Row, Source};
use crate::error::{Error, Result};

const COLUMNS: &str = "t.run_id, t.policy_id, t.version_id, t.decision, t.reasons, t.warnings, t.evaluated_at";

#[derive(FromQueryResult)]
struct RunRow {
    run_id: String,
    policy_id: Option<String>,
    version_id: String,
    decision: String,
    reasons: serde_json::Value,
    warnings: serde_json::Value,
    evaluated_at: DateTime<Utc>,
}

impl TryFrom<RunRow> for Run {
    type Error = Error;

    fn try_from(row: RunRow) -> Result<Self> {
        Ok(Self {
            version_id: row.version_id.parse().map_err(Error::internal)?,
            decision: serde_json::from_value(row.decision.into()).map_err(Error::internal)?,
            reasons: serde_json::from_value(row.reasons).map_err(Error::internal)?,
            warnings: serde_json::from_value(row.warnings).map_err(Error::internal)?,
            run_id: row.run_id,
            policy_id: row.policy_id,
            evaluated_at: row.evaluated_at,
        })
    }
}

pub(super) async fn evidence(db: &Db, ids: &[String]) -> Result<HashMap<String, Document>> {
    #[derive(FromQueryResult)]
    struct Evidence {
        run_id: String,
        evidence: serde_json::Value,
    }
    const SQL: &str = "select run_id, evidence from public.policy_runs where run_id = any($1::text[])";
    let rows: Vec<Evidence> = db.all("policy_runs.evidence", SQL, vec![ids.to_vec().into()]).await?;
    rows.into_iter().map(|row| Ok((row.run_id, Document::new(&row.evidence)?))).collect()
}

#[derive(FromQueryResult)]
struct PageRow {
    position: i64,
    sort: String,
    #[sea_orm(nested)]
    run: RunRow,
}

/// A page of the runs of each of several, all of one kind, in one statement, with the runs themselves.
pub(super) async fn pages(db: &Db, whose: &[RunsOf], request: &Request) -> Result<Vec<Vec<(Row<String>, Run)>>> {
    let (columns, names): (Vec<_>, Vec<String>) = whose.iter().map(RunsOf::column).unzip();
    let Some(column) = columns.first() else { return Ok(Vec::new()) };
    let conditions = format!("{column} = scope.name");
    let source = Source { from: "public.policy_runs t", id: "run_id", conditions: &conditions, columns: COLUMNS };
    let scopes = names.len();
    let sql = page::select_rows_of_each(scopes, source, request, 2);
    let mut values: Vec<Value> = vec![names.into()];
    values.extend(request.place().map(Value::from));
    let rows: Vec<PageRow> = db.all("policy_runs.pages", &sql, values).await?;
    let row = |PageRow { position, sort, run }| {
        let run = Run::try_from(run)?;
        Ok((position, (Row { id: run.run_id.clone(), sort }, run)))
    };
    page::by_scope(scopes, rows.into_iter().map(row))
}
