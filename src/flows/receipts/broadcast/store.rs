//! The SQL of sending payments.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value as SqlValue};
use serde_json::json;

use crate::db::{Db, Tx};
use crate::domain::receipts::Status;
use crate::domain::receipts::broadcast::{Broadcast, Sent};
use crate::error::Result;
use crate::flows::receipts::store as receipts;

/// A payment on its way.
#[derive(FromQueryResult)]
pub(super) struct Payment {
    pub(super) receipt_id: String,
    pub(super) txid: String,
    /// The transaction, hex.
    pub(super) raw: String,
}

/// Payments at a time: each may take as long as all services together.
const MOST: &str = "20";

const DUE: &str =
    "status = 'paid' and broadcast = 'due' and broadcast_next_at <= $1 and ($2::text is null or receipt_id = $2)";

const UNPROVEN: &str = "status = 'paid' and broadcast = 'accepted' and payment_envelope is null and broadcast_next_at <= $1 and $2::text is null";

fn those(which: &str) -> String {
    format!("select receipt_id from public.receipts where {which}")
}

/// Claims payments for half a minute, and twice as long each time, ten minutes at the most.
async fn claim(tx: &Tx, name: &'static str, which: &str, values: Vec<SqlValue>) -> Result<Vec<Payment>> {
    let sql = format!(
        "update public.receipts set broadcast_tries = broadcast_tries + 1, \
            broadcast_next_at = $1 + least(interval '10 minutes', interval '30 seconds' * power(2, least(broadcast_tries, 10))) \
         where receipt_id in ({} order by broadcast_next_at limit {MOST} for update skip locked) \
         returning receipt_id, payment_txid as txid, payment_raw_tx as raw",
        those(which)
    );
    tx.all(name, &sql, values).await
}

fn values(receipt_id: Option<&str>, now: DateTime<Utc>) -> Vec<SqlValue> {
    vec![now.into(), receipt_id.map(str::to_owned).into()]
}

pub(super) async fn has_due(db: &Db, receipt_id: Option<&str>, now: DateTime<Utc>) -> Result<bool> {
    db.is_there("receipts.has_due", &those(DUE), values(receipt_id, now)).await
}

pub(super) async fn claim_due(tx: &Tx, receipt_id: Option<String>, now: DateTime<Utc>) -> Result<Vec<Payment>> {
    claim(tx, "receipts.claim_due", DUE, values(receipt_id.as_deref(), now)).await
}

pub(super) async fn has_unproven(db: &Db, now: DateTime<Utc>) -> Result<bool> {
    db.is_there("receipts.has_unproven", &those(UNPROVEN), values(None, now)).await
}

pub(super) async fn claim_unproven(tx: &Tx, now: DateTime<Utc>) -> Result<Vec<Payment>> {
    claim(tx, "receipts.claim_unproven", UNPROVEN, values(None, now)).await
}

const ACCEPTED: &str = "\
    update public.receipts set broadcast = 'accepted', broadcast_by = $2, broadcast_note = null, broadcast_tries = 0, \
        broadcast_next_at = $3 + interval '1 minute', updated_at = $3 where receipt_id = $1";

const REFUSED: &str = "\
    update public.receipts set status = 'pending', payment_txid = null, payment_raw_tx = null, paid_at = null, \
        broadcast = null, broadcast_by = null, broadcast_note = $2, broadcast_tries = 0, broadcast_next_at = null, \
        updated_at = $3 where receipt_id = $1";

const UNREACHED: &str = "update public.receipts set broadcast_note = $2 where receipt_id = $1";

/// Notes what came of sending a payment, unless something else has happened to its receipt meanwhile.
pub(super) async fn sent(tx: &Tx, payment: &Payment, sent: &Sent, now: DateTime<Utc>) -> Result<()> {
    let Some(receipt) = receipts::locked(tx, &payment.receipt_id).await?.map(|held| held.receipt) else {
        return Ok(());
    };
    let is_ours = receipt.payment_txid.as_deref() == Some(&payment.txid);
    if !is_ours || (receipt.status, receipt.broadcast) != (Status::Paid, Some(Broadcast::Due)) {
        return Ok(());
    }
    let txid = &payment.txid;
    let (sql, told, event) = match sent {
        Sent::Accepted(by) => (ACCEPTED, by, Some(("broadcast", json!({"txid": txid, "by": by})))),
        Sent::Refused(why) => (REFUSED, why, Some(("refused", json!({"txid": txid, "reason": why})))),
        Sent::Unreached(why) => (UNREACHED, why, None),
    };
    let mut values = vec![receipt.receipt_id.clone().into(), told.clone().into()];
    values.extend(event.is_some().then(|| SqlValue::from(now)));
    tx.execute("receipts.sent", sql, values).await?;
    match event {
        Some((kind, details)) => receipts::log(tx, &receipt, kind, details).await,
        None => Ok(()),
    }
}

const REFUSAL: &str = "\
    select e.details->>'reason' as reason from public.revenue_events e join public.receipts r using (receipt_id) \
    where e.receipt_id = $1 and e.type = 'refused' and e.details->>'txid' = $2 and r.payment_txid is distinct from $2 \
    order by e.event_id desc limit 1";

/// Why the network refuses a payment, if it was that one that was refused.
pub(super) async fn refusal(db: &Db, receipt_id: &str, txid: &str) -> Result<Option<String>> {
    #[derive(FromQueryResult)]
    struct Why {
        reason: String,
    }
    let found: Option<Why> = db.one("receipts.refusal", REFUSAL, vec![receipt_id.into(), txid.into()]).await?;
    Ok(found.map(|why| why.reason))
}
