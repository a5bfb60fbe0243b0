//! The receipts' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use super::{Receipt, Status};
use crate::db::Db;
use crate::error::{Error, Result};

const BY_IDS: &str = "select receipt_id, version_id, status, quantity::bigint as quantity, unit_price_sat, amount_sat, \
    payment_txid, created_at, expires_at from public.receipts where receipt_id = any($1::text[])";

#[derive(FromQueryResult)]
struct ReceiptRow {
    receipt_id: String,
    version_id: String,
    status: String,
    quantity: i64,
    unit_price_sat: i64,
    amount_sat: i64,
    payment_txid: Option<String>,
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
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

pub(super) async fn by_ids(db: &Db, ids: &[String]) -> Result<HashMap<String, Receipt>> {
    let rows: Vec<ReceiptRow> = db.all("receipts.by_ids", BY_IDS, vec![ids.to_vec().into()]).await?;
    rows.into_iter().map(|row| Ok((row.receipt_id.clone(), row.try_into()?))).collect()
}
