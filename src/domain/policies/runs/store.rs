//! The runs' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use super::{Run, RunsOf};
use crate::db::Db;
use crate::domain::Document;
use crate::domain::page::{self, Request, Row, Source};
use crate::error::{Error, Result};

const COLUMNS: &str = "r.run_id, r.policy_id, r.version_id, r.decision, r.reasons, r.warnings, r.evaluated_at";

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
    let source = Source { from: "public.policy_runs", id: "run_id", conditions: &conditions, at: true };
    let inner = page::select(source, request, 2);
    let sql = format!(
        "select scope.position, page.sort, {COLUMNS} \
         from unnest($1::text[]) with ordinality as scope(name, position) \
         cross join lateral (select row_number() over () as n, ordered.* from ({inner}) as ordered) as page \
         join public.policy_runs r on r.ctid = page.at order by scope.position, page.n"
    );
    let mut groups: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(names.len()).collect();
    let mut values: Vec<Value> = vec![names.into()];
    values.extend(request.cursor.iter().flat_map(|c| [c.sort.clone().into(), c.id.clone().into()]));
    let rows: Vec<PageRow> = db.all("policy_runs.pages", &sql, values).await?;
    for PageRow { position, sort, run } in rows {
        let run = Run::try_from(run)?;
        // Ordinality counts from one.
        let group = usize::try_from(position - 1).ok().and_then(|p| groups.get_mut(p));
        group.ok_or_else(|| Error::internal("a row of nobody's"))?.push((Row { id: run.run_id.clone(), sort }, run));
    }
    Ok(groups)
}
