//! The SQL of events and dead letters.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use super::{DeadLetter, Filter, Kept, too_large};
use crate::db::Db;
use crate::domain::Document;
use crate::domain::page::{self, Request, Row, Source};
use crate::error::Result;

const COLUMNS: &str = "t.event_hash, t.event_time, t.namespace, t.job_name, t.run_id, t.event_type, t.created_at";

#[derive(FromQueryResult)]
struct EventRow {
    event_hash: String,
    event_time: DateTime<Utc>,
    namespace: String,
    job_name: Option<String>,
    run_id: Option<String>,
    event_type: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<EventRow> for Kept {
    fn from(row: EventRow) -> Self {
        let EventRow { event_hash, event_time, namespace, job_name, run_id, event_type, created_at } = row;
        Self { event_hash, event_time, namespace, job_name, run_id, event_type, created_at }
    }
}

#[derive(FromQueryResult)]
struct PageRow {
    sort: String,
    #[sea_orm(nested)]
    event: EventRow,
}

pub(super) async fn page(db: &Db, filter: &Filter, request: &Request) -> Result<Vec<(Row<String>, Kept)>> {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    for (column, value) in filter.columns() {
        values.push(value.clone().into());
        conditions.push(format!("{column} = ${}", values.len()));
    }
    let conditions = conditions.join(" and ");
    let from = "public.lineage_event_audit t";
    let source = Source { from, id: "event_hash", conditions: &conditions, columns: COLUMNS };
    let sql = page::select_rows(source, request, values.len() + 1);
    values.extend(request.place().map(Value::from));
    let rows: Vec<PageRow> = db.all("lineage.events_page", &sql, values).await?;
    Ok(rows
        .into_iter()
        .map(|row| (Row { id: row.event.event_hash.clone(), sort: row.sort }, row.event.into()))
        .collect())
}

pub(super) async fn event(db: &Db, hash: &str) -> Result<Option<Kept>> {
    let sql = format!("select {COLUMNS} from public.lineage_event_audit t where t.event_hash = $1");
    let row: Option<EventRow> = db.one("lineage.event", &sql, vec![hash.into()]).await?;
    Ok(row.map(Kept::from))
}

#[derive(FromQueryResult)]
struct PayloadRow {
    event_hash: String,
    payload: Option<serde_json::Value>,
}

pub(super) async fn payloads(db: &Db, hashes: &[String], most: i64) -> Result<HashMap<String, Document>> {
    const SQL: &str = "\
        with found as materialized (select event_hash, payload_json from public.lineage_event_audit \
            where event_hash = any($1::text[])) \
        select event_hash, case when (select sum(octet_length(payload_json::text)) from found) <= $2 then payload_json end \
            as payload from found";
    let rows: Vec<PayloadRow> = db.all("lineage.payloads", SQL, vec![hashes.to_vec().into(), most.into()]).await?;
    rows.into_iter().map(|row| Ok((row.event_hash, Document::new(&row.payload.ok_or_else(too_large)?)?))).collect()
}

#[derive(FromQueryResult)]
struct LetterRow {
    sort: String,
    payload_hash: String,
    payload: Option<String>,
    errors: serde_json::Value,
    attempts: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<LetterRow> for DeadLetter {
    type Error = crate::error::Error;

    fn try_from(row: LetterRow) -> Result<Self> {
        let LetterRow { payload_hash, payload, errors, attempts, created_at, updated_at, .. } = row;
        let (payload, errors) = (payload.ok_or_else(too_large)?, Document::new(&errors)?);
        Ok(Self { payload_hash, payload, errors, attempts, created_at, updated_at })
    }
}

pub(super) async fn dead_letters(db: &Db, request: &Request, most: i64) -> Result<Vec<(Row<String>, DeadLetter)>> {
    // A letter that came before letters had hashes has none.
    let conditions = "payload_hash is not null";
    let columns = "t.payload_hash, t.payload, t.errors, t.attempts, t.created_at, t.updated_at";
    let source = Source { from: "public.lineage_dead_letters t", id: "payload_hash", conditions, columns };
    let (rows, order) = (page::select(source, request, 2), request.order_by("t"));
    let mut values: Vec<Value> = vec![most.into()];
    values.extend(request.place().map(Value::from));
    let sql = format!(
        "with t as materialized ({rows}) \
         select t.sort, t.payload_hash, case when sum(octet_length(t.payload)) over () <= $1 then t.payload end as payload, \
            t.errors, t.attempts, t.created_at, t.updated_at from t order by {order}"
    );
    let rows: Vec<LetterRow> = db.all("lineage.dead_letters", &sql, values).await?;
    let read = |row: LetterRow| Ok((Row { id: row.payload_hash.clone(), sort: row.sort.clone() }, row.try_into()?));
    rows.into_iter().map(read).collect()
}

pub(super) async fn dead_letter(db: &Db, hash: &str) -> Result<Option<DeadLetter>> {
    const SQL: &str = "select '' as sort, payload_hash, payload, errors, attempts, created_at, updated_at \
        from public.lineage_dead_letters where payload_hash = $1";
    let row: Option<LetterRow> = db.one("lineage.dead_letter", SQL, vec![hash.into()]).await?;
    row.map(TryInto::try_into).transpose()
}
