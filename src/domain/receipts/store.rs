//! The receipts' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use sea_orm::{FromQueryResult, Value};

use super::broadcast::Broadcast;
use super::{Receipt, Status};
use crate::db::Db;
use crate::domain::page::{self, Request, Row, Source};
use crate::error::{Error, Result};

const COLUMNS: &str = "r.receipt_id, r.version_id, r.status, r.quantity::bigint as quantity, r.unit_price_sat, \
    r.amount_sat, r.payment_txid, r.broadcast, r.created_at, r.expires_at";

#[derive(FromQueryResult)]
struct ReceiptRow {
    receipt_id: String,
    version_id: String,
    status: String,
    quantity: i64,
    unit_price_sat: i64,
    amount_sat: i64,
    payment_txid: Option<String>,
    broadcast: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<ReceiptRow> for Receipt {
    type Error = Error;

    fn try_from(row: ReceiptRow) -> Result<Self> {
        let status = match row.status.as_str() {
            "pending" => Status::Pending,
            "paid" => Status::Paid,
            "confirmed" => Status::Confirmed,
            "consumed" => Status::Consumed,
            "expired" => Status::Expired,
            other => return Err(Error::internal(format!("no such status: {other:?}"))),
        };
        Ok(Self {
            receipt_id: row.receipt_id,
            version_id: row.version_id.parse().map_err(Error::internal)?,
            status,
            quantity: row.quantity,
            unit_price_sat: row.unit_price_sat,
            amount_sat: row.amount_sat,
            payment_txid: row.payment_txid,
            broadcast: row.broadcast.as_deref().map(Broadcast::parse).transpose()?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Receipt>> {
    let sql = format!("select {COLUMNS} from public.receipts r where r.receipt_id = any($1::text[])");
    let rows: Vec<ReceiptRow> = db.all("receipts.by_ids", &sql, vec![ids.to_vec().into()]).await?;
    rows.into_iter().map(|row| Ok((row.receipt_id.clone(), row.try_into()?))).collect()
}

struct PageRow {
    position: i64,
    sort: String,
    receipt: ReceiptRow,
}

impl FromQueryResult for PageRow {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self {
            position: row.try_get(pre, "position")?,
            sort: row.try_get(pre, "sort")?,
            receipt: ReceiptRow::from_query_result(row, pre)?,
        })
    }
}

/// A page of the receipts of each of several versions, in one statement, with the receipts themselves.
pub(super) async fn pages(
    db: &Db, versions: &[VersionId], request: &Request,
) -> Result<Vec<Vec<(Row<String>, Receipt)>>> {
    let source = Source { from: "public.receipts", id: "receipt_id", conditions: "version_id = scope.name", at: true };
    let inner = page::select(source, request, 2);
    let sql = format!(
        "select scope.position, page.sort, {COLUMNS} \
         from unnest($1::text[]) with ordinality as scope(name, position) \
         cross join lateral (select row_number() over () as n, ordered.* from ({inner}) as ordered) as page \
         join public.receipts r on r.ctid = page.at order by scope.position, page.n"
    );
    let mut values: Vec<Value> = vec![versions.iter().map(ToString::to_string).collect::<Vec<_>>().into()];
    values.extend(request.cursor.iter().flat_map(|c| [c.sort.clone().into(), c.id.clone().into()]));
    let rows: Vec<PageRow> = db.all("receipts.pages", &sql, values).await?;
    let mut groups: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(versions.len()).collect();
    for PageRow { position, sort, receipt } in rows {
        let receipt = Receipt::try_from(receipt)?;
        // Ordinality counts from one.
        let group = usize::try_from(position - 1).ok().and_then(|p| groups.get_mut(p));
        let group = group.ok_or_else(|| Error::internal("a row of no version"))?;
        group.push((Row { id: receipt.receipt_id.clone(), sort }, receipt));
    }
    Ok(groups)
}
