//! The policies' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use super::Policy;
use crate::db::Db;
use crate::domain::Document;
use crate::domain::page::{self, Request, Row, Source};
use crate::error::Result;

const COLUMNS: &str = "t.policy_id, t.name, t.enabled, t.doc, t.created_at, t.updated_at";

#[derive(FromQueryResult)]
struct PolicyRow {
    policy_id: String,
    name: String,
    enabled: bool,
    doc: serde_json::Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<PolicyRow> for Policy {
    type Error = crate::error::Error;

    fn try_from(row: PolicyRow) -> Result<Self> {
        let PolicyRow { policy_id, name, enabled, doc, created_at, updated_at } = row;
        Ok(Self { policy_id, name, enabled, doc: Document::new(&doc)?, created_at, updated_at })
    }
}

struct PageRow {
    sort: String,
    policy: PolicyRow,
}

impl FromQueryResult for PageRow {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self { sort: row.try_get(pre, "sort")?, policy: PolicyRow::from_query_result(row, pre)? })
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Policy>> {
    let sql = format!("select {COLUMNS} from public.policies t where policy_id = any($1::text[])");
    let rows: Vec<PolicyRow> = db.all("policies.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    rows.into_iter().map(|row| Ok((row.policy_id.clone(), row.try_into()?))).collect()
}

pub(super) async fn page(db: &Db, request: &Request) -> Result<Vec<(Row<String>, Policy)>> {
    let values = request.place().map(Value::from).collect();
    let source = Source { from: "public.policies t", id: "policy_id", conditions: "", columns: COLUMNS };
    let sql = page::select_rows(source, request, 1);
    let rows: Vec<PageRow> = db.all("policies.page", &sql, values).await?;
    let row = |row: PageRow| Ok((Row { id: row.policy.policy_id.clone(), sort: row.sort }, row.policy.try_into()?));
    rows.into_iter().map(row).collect()
}
