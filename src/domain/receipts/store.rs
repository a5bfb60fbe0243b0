//! The receipts' SQL.

use std::collections::HashMap;

use overlay_entity::ids::VersionId;
use sea_orm::{DbErr, Value};

use super::Receipt;
use crate::db::{Columns, Db, FromColumns, InOrder};
use crate::domain::page::{self, Request, Row, Source};
use crate::error::Result;

const COLUMNS: &str = "t.receipt_id, t.version_id, t.status, t.quantity::bigint as quantity, t.unit_price_sat, \
    t.amount_sat, t.payment_txid, t.broadcast, t.created_at, t.expires_at";

/// From [`COLUMNS`].
impl FromColumns for Receipt {
    fn from_columns(row: &mut Columns<'_>) -> Result<Self, DbErr> {
        Ok(Self {
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
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Receipt>> {
    let sql = format!("select {COLUMNS} from public.receipts t where receipt_id = any($1::text[])");
    let rows: Vec<InOrder<Receipt>> = db.all("receipts.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    Ok(rows.into_iter().map(|InOrder(receipt)| (receipt.receipt_id.clone(), receipt)).collect())
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
    let rows: Vec<InOrder<(i64, (String, Receipt))>> = db.all("receipts.pages", &sql, values).await?;
    let row = |InOrder((place, (sort, receipt))): InOrder<(i64, (String, Receipt))>| {
        Ok((place, (Row { id: receipt.receipt_id.clone(), sort }, receipt)))
    };
    page::by_scope(versions.len(), rows.into_iter().map(row))
}
