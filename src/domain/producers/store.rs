//! The producers' SQL.

use std::collections::HashMap;

use sea_orm::{DbErr, Value};

use super::Producer;
use crate::db::{Columns, Db, FromColumns, InOrder};
use crate::domain::page::{self, Request, Row, Source};
use crate::error::Result;

const COLUMNS: &str = "t.producer_id, t.identity_key, t.display_name, t.website, t.payout_script_hex, t.created_at";

/// From [`COLUMNS`].
impl FromColumns for Producer {
    fn from_columns(row: &mut Columns<'_>) -> Result<Self, DbErr> {
        Ok(Self {
            producer_id: row.read()?,
            identity_key: row.read()?,
            display_name: row.read()?,
            website: row.read()?,
            payout_script_hex: row.read()?,
            created_at: row.read()?,
        })
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Producer>> {
    let sql = format!("select {COLUMNS} from public.producers t where producer_id = any($1::text[])");
    let rows: Vec<InOrder<Producer>> = db.all("producers.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    Ok(rows.into_iter().map(|InOrder(producer)| (producer.producer_id.clone(), producer)).collect())
}

pub(super) async fn page(db: &Db, request: &Request) -> Result<Vec<(Row<String>, Producer)>> {
    let values = request.place().map(Value::from).collect();
    let source = Source { from: "public.producers t", id: "producer_id", conditions: "", columns: COLUMNS };
    let sql = page::select_rows(source, request, 1);
    let rows: Vec<InOrder<(String, Producer)>> = db.all("producers.page", &sql, values).await?;
    let row = |InOrder((sort, producer)): InOrder<(String, Producer)>| {
        (Row { id: producer.producer_id.clone(), sort }, producer)
    };
    Ok(rows.into_iter().map(row).collect())
}
