//! The receipts' SQL.

use std::collections::HashMap;

use overlay_entity::ids::VersionId;
use sea_orm::{DbErr, FromQueryResult, QueryResult, Value};

use super::Receipt;
use crate::db::{Columns, Db};
use crate::domain::page::{self, Request, Row, Source};
use crate::error::Result;

const COLUMNS: &str = "t.receipt_id, t.version_id, t.status, t.quantity::bigint as quantity, t.unit_price_sat, \
    t.amount_sat, t.payment_txid, t.broadcast, t.created_at, t.expires_at";

/// A receipt from [`COLUMNS`].
fn receipt(mut row: Columns<'_>) -> Result<Receipt, DbErr> {
    Ok(Receipt {
        receipt_id: row.read()?,
        version_id: row.parsed()?,
        status: row.parsed()?,
        quantity: row.read()?,
        unit_price_sat: row.read()?,
        amount_sat: row.read()?,
        payment_txid: row.read()?,
        broadcast: row.parsed_if_any()?,
        created_at: row.read()?,
        expires_at: row.read()?,
    })
}

struct ReceiptRow(Receipt);

impl FromQueryResult for ReceiptRow {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        receipt(Columns::of(row)?).map(Self)
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Receipt>> {
    let sql = format!("select {COLUMNS} from public.receipts t where receipt_id = any($1::text[])");
    let rows: Vec<ReceiptRow> = db.all("receipts.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    Ok(rows.into_iter().map(|ReceiptRow(receipt)| (receipt.receipt_id.clone(), receipt)).collect())
}

/// `position`, `sort`, and [`COLUMNS`].
struct PageRow {
    position: i64,
    sort: String,
    receipt: Receipt,
}

impl FromQueryResult for PageRow {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        let mut row = Columns::of(row)?;
        Ok(Self { position: row.read()?, sort: row.read()?, receipt: receipt(row)? })
    }
}

/// A page of the receipts of each of several versions, in one statement, with the receipts themselves.
pub(super) async fn pages(
    db: &Db, versions: &[VersionId], request: &Request,
) -> Result<Vec<Vec<(Row<String>, Receipt)>>> {
    let (from, conditions) = ("public.receipts t", "version_id = scope.name");
    let source = Source { from, id: "receipt_id", conditions, columns: COLUMNS };
    let sql = page::select_rows_of_each(versions.len(), source, request, 2);
    let mut values: Vec<Value> = vec![versions.iter().map(ToString::to_string).collect::<Vec<_>>().into()];
    values.extend(request.place().map(Value::from));
    let rows: Vec<PageRow> = db.all("receipts.pages", &sql, values).await?;
    let row =
        |PageRow { position, sort, receipt }| Ok((position, (Row { id: receipt.receipt_id.clone(), sort }, receipt)));
    page::by_scope(versions.len(), rows.into_iter().map(row))
}
