//! The SQL of sending payments.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value as SqlValue};
use serde_json::json;

use crate::db::{Db, Tx};
use crate::domain::receipts::broadcast::Sent;
use crate::error::Result;

/// A payment on its way.
#[derive(FromQueryResult)]
pub(super) struct Payment {
    pub(super) receipt_id: String,
    pub(super) txid: String,
    /// The transaction, hex.
    pub(super) raw: String,
}

#[derive(FromQueryResult)]
struct Is {
    there: bool,
}

/// Payments at a time: each may take as long as all services together.
const MOST: &str = "20";

const DUE: &str =
    "status = 'paid' and broadcast = 'due' and broadcast_next_at <= $1 and ($2::text is null or receipt_id = $2)";

const UNPROVEN: &str = "status = 'paid' and broadcast = 'accepted' and payment_envelope is null and broadcast_next_at <= $1 and $2::text is null";

async fn is_there(db: &Db, name: &'static str, which: &str, values: Vec<SqlValue>) -> Result<bool> {
    let sql = format!("select exists(select from public.receipts where {which}) as there");
    let found: Option<Is> = db.one(name, &sql, values).await?;
    Ok(found.is_some_and(|found| found.there))
}

/// Claims payments for half a minute, and twice as long each time, ten minutes at the most.
async fn claim(tx: &Tx, name: &'static str, which: &str, values: Vec<SqlValue>) -> Result<Vec<Payment>> {
    let sql = format!(
        "update public.receipts set broadcast_tries = broadcast_tries + 1, \
            broadcast_next_at = $1 + least(interval '10 minutes', interval '30 seconds' * power(2, least(broadcast_tries, 10))) \
         where receipt_id in (select receipt_id from public.receipts where {which} \
            order by broadcast_next_at limit {MOST} for update skip locked) \
         returning receipt_id, payment_txid as txid, payment_raw_tx as raw"
    );
    tx.all(name, &sql, values).await
}

fn values(receipt_id: Option<&str>, now: DateTime<Utc>) -> Vec<SqlValue> {
    vec![now.into(), receipt_id.map(str::to_owned).into()]
}

pub(super) async fn has_due(db: &Db, receipt_id: Option<&str>, now: DateTime<Utc>) -> Result<bool> {
    is_there(db, "receipts.has_due", DUE, values(receipt_id, now)).await
}

pub(super) async fn claim_due(tx: &Tx, receipt_id: Option<String>, now: DateTime<Utc>) -> Result<Vec<Payment>> {
    claim(tx, "receipts.claim_due", DUE, values(receipt_id.as_deref(), now)).await
}

pub(super) async fn has_unproven(db: &Db, now: DateTime<Utc>) -> Result<bool> {
    is_there(db, "receipts.has_unproven", UNPROVEN, values(None, now)).await
}

pub(super) async fn claim_unproven(tx: &Tx, now: DateTime<Utc>) -> Result<Vec<Payment>> {
    claim(tx, "receipts.claim_unproven", UNPROVEN, values(None, now)).await
}

/// A payment's row while it is still on its way: whatever happened meanwhile is not undone.
const OURS: &str = "receipt_id = $1 and payment_txid = $2 and status = 'paid' and broadcast = 'due'";

const LOG: &str = "\
    insert into public.revenue_events (receipt_id, version_id, type, amount_sat, details) \
    select receipt_id, version_id, $3, amount_sat, $4 from public.receipts where receipt_id = $1 and $2::text is not null";

/// Notes what came of sending a payment.
pub(super) async fn sent(tx: &Tx, payment: &Payment, sent: &Sent, now: DateTime<Utc>) -> Result<()> {
    let which = || -> Vec<SqlValue> { vec![payment.receipt_id.clone().into(), payment.txid.clone().into()] };
    let (sql, more): (String, Vec<SqlValue>) = match sent {
        Sent::Accepted(by) => (
            format!(
                "update public.receipts set broadcast = 'accepted', broadcast_by = $3, broadcast_note = null, \
                 broadcast_tries = 0, broadcast_next_at = $4 + interval '1 minute', updated_at = $4 where {OURS}"
            ),
            vec![by.clone().into(), now.into()],
        ),
        Sent::Refused(why) => (
            format!(
                "update public.receipts set status = 'pending', payment_txid = null, payment_raw_tx = null, paid_at = null, \
                 broadcast = null, broadcast_by = null, broadcast_note = $3, broadcast_tries = 0, broadcast_next_at = null, \
                 updated_at = $4 where {OURS}"
            ),
            vec![why.clone().into(), now.into()],
        ),
        Sent::Unreached(why) => {
            (format!("update public.receipts set broadcast_note = $3 where {OURS}"), vec![why.clone().into()])
        }
    };
    let values = which().into_iter().chain(more).collect();
    if tx.execute("receipts.sent", &sql, values).await? == 0 {
        return Ok(());
    }
    let (kind, details) = match sent {
        Sent::Accepted(by) => ("broadcast", json!({"txid": payment.txid, "by": by})),
        Sent::Refused(why) => ("refused", json!({"txid": payment.txid, "reason": why})),
        Sent::Unreached(_) => return Ok(()),
    };
    let values = which().into_iter().chain([kind.into(), details.into()]).collect();
    tx.execute("revenue.log", LOG, values).await?;
    Ok(())
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
