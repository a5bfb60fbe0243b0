//! The producers' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use super::Producer;
use crate::db::Db;
use crate::domain::page::{self, Request, Row};
use crate::error::Result;

const COLUMNS: &str = "t.producer_id, t.identity_key, t.display_name, t.website, t.payout_script_hex, t.created_at";

#[derive(FromQueryResult)]
struct ProducerRow {
    producer_id: String,
    identity_key: String,
    display_name: String,
    website: Option<String>,
    payout_script_hex: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<ProducerRow> for Producer {
    fn from(row: ProducerRow) -> Self {
        let ProducerRow { producer_id, identity_key, display_name, website, payout_script_hex, created_at } = row;
        Self { producer_id, identity_key, display_name, website, payout_script_hex, created_at }
    }
}

struct PageRow {
    sort: String,
    producer: ProducerRow,
}

impl FromQueryResult for PageRow {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self { sort: row.try_get(pre, "sort")?, producer: ProducerRow::from_query_result(row, pre)? })
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Producer>> {
    let sql = format!("select {COLUMNS} from public.producers t where t.producer_id = any($1::text[])");
    let rows: Vec<ProducerRow> = db.all("producers.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    Ok(rows.into_iter().map(|row| (row.producer_id.clone(), row.into())).collect())
}

pub(super) async fn page(db: &Db, request: &Request) -> Result<Vec<(Row<String>, Producer)>> {
    let values: Vec<Value> = request.cursor.iter().flat_map(|c| [c.sort.clone().into(), c.id.clone().into()]).collect();
    let sql = page::select_rows("public.producers", "producer_id", COLUMNS, request);
    let rows: Vec<PageRow> = db.all("producers.page", &sql, values).await?;
    Ok(rows
        .into_iter()
        .map(|row| (Row { id: row.producer.producer_id.clone(), sort: row.sort }, row.producer.into()))
        .collect())
}
