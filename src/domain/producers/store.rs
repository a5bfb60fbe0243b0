//! The producers' SQL.

use std::collections::HashMap;

use sea_orm::{DbErr, FromQueryResult, QueryResult, Value};

use super::Producer;
use crate::db::{Columns, Db};
use crate::domain::page::{self, Request, Row, Source};
use crate::error::Result;

const COLUMNS: &str = "t.producer_id, t.identity_key, t.display_name, t.website, t.payout_script_hex, t.created_at";

/// A producer from [`COLUMNS`].
fn producer(mut row: Columns<'_>) -> Result<Producer, DbErr> {
    Ok(Producer {
        producer_id: row.read()?,
        identity_key: row.read()?,
        display_name: row.read()?,
        website: row.read()?,
        payout_script_hex: row.read()?,
        created_at: row.read()?,
    })
}

struct ProducerRow(Producer);

impl FromQueryResult for ProducerRow {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        producer(Columns::of(row)?).map(Self)
    }
}

/// `sort`, and [`COLUMNS`].
struct PageRow {
    sort: String,
    producer: Producer,
}

impl FromQueryResult for PageRow {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        let mut row = Columns::of(row)?;
        Ok(Self { sort: row.read()?, producer: producer(row)? })
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Producer>> {
    let sql = format!("select {COLUMNS} from public.producers t where producer_id = any($1::text[])");
    let rows: Vec<ProducerRow> = db.all("producers.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    Ok(rows.into_iter().map(|ProducerRow(producer)| (producer.producer_id.clone(), producer)).collect())
}

pub(super) async fn page(db: &Db, request: &Request) -> Result<Vec<(Row<String>, Producer)>> {
    let values = request.place().map(Value::from).collect();
    let source = Source { from: "public.producers t", id: "producer_id", conditions: "", columns: COLUMNS };
    let sql = page::select_rows(source, request, 1);
    let rows: Vec<PageRow> = db.all("producers.page", &sql, values).await?;
    let row = |PageRow { sort, producer }| (Row { id: producer.producer_id.clone(), sort }, producer);
    Ok(rows.into_iter().map(row).collect())
}
