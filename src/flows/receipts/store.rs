//! The SQL of buying. Whoever changes a receipt holds its row, and leaves a line in the revenue log.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value as SqlValue};
use serde_json::{Value, json};

use super::Quote;
use crate::db::{Db, Tx};
use crate::domain::caller::Caller;
use crate::domain::hex::decode_hex;
use crate::domain::receipts::split::QuotedOutput;
use crate::domain::receipts::{Receipt, Status};
use crate::domain::spv::Hash32;
use crate::error::{Error, Kind, Result};

const COLUMNS: &str = "receipt_id, version_id, status, quantity::bigint as quantity, unit_price_sat, amount_sat, \
    payment_txid, broadcast, created_at, expires_at, buyer_key, outputs, quote_template_hash, quote_expires_at";

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
    expires_at: DateTime<Utc>,
    buyer_key: Option<String>,
    outputs: Value,
    quote_template_hash: Option<String>,
    quote_expires_at: Option<DateTime<Utc>>,
}

/// A receipt whose row is held, with its quote.
pub(super) struct Held {
    pub(super) receipt: Receipt,
    buyer_key: Option<String>,
    outputs: Vec<QuotedOutput>,
    quoted: Option<(String, DateTime<Utc>)>,
}

impl Held {
    fn of(row: ReceiptRow) -> Result<Self> {
        Ok(Self {
            receipt: Receipt {
                receipt_id: row.receipt_id,
                version_id: row.version_id.parse().map_err(Error::internal)?,
                status: row.status.parse()?,
                quantity: row.quantity,
                unit_price_sat: row.unit_price_sat,
                amount_sat: row.amount_sat,
                payment_txid: row.payment_txid,
                broadcast: row.broadcast.as_deref().map(str::parse).transpose()?,
                created_at: row.created_at,
                expires_at: Some(row.expires_at),
            },
            buyer_key: row.buyer_key,
            outputs: serde_json::from_value(row.outputs).map_err(Error::internal)?,
            quoted: row.quote_template_hash.zip(row.quote_expires_at),
        })
    }

    /// The quote that was made last.
    pub(super) fn quote(&self) -> Option<Quote> {
        let (template_hash, expires_at) = self.quoted.clone()?;
        Some(Quote { receipt: self.receipt.clone(), outputs: self.outputs.clone(), template_hash, expires_at })
    }

    /// Whether the caller may pay it: whoever asked for it, or everybody when nobody in particular did. Otherwise anybody who
    /// reads of a receipt could stand in the way of its payment.
    pub(super) fn bought_by(self, caller: &Caller) -> Result<Self> {
        match &self.buyer_key {
            Some(key) => caller.may_write_as(key).map(|()| self),
            None => Ok(self),
        }
    }

    /// Whether it still waits for its payment at `now`.
    pub(super) fn unpaid(&self, now: DateTime<Utc>) -> Result<()> {
        let is_over = self.receipt.expires_at.is_some_and(|end| end <= now);
        match self.receipt.status {
            Status::Pending if !is_over => Ok(()),
            Status::Pending | Status::Expired => {
                Err(Error::new(Kind::Gone, "receipt-expired", "the receipt ran out unpaid: ask for another"))
            }
            Status::Paid | Status::Confirmed | Status::Consumed => {
                Err(Error::new(Kind::Conflict, "already-paid", "another transaction pays this receipt"))
            }
        }
    }
}

const CREATE: &str = "\
    insert into public.receipts (receipt_id, version_id, quantity, unit_price_sat, amount_sat, created_at, updated_at, \
        expires_at, buyer_key) \
    values ($1, $2, $3, $4, $5, $6, $6, $7, $8) on conflict (receipt_id) do nothing";

/// Makes the receipt, or finds the one that an earlier try has made.
pub(super) async fn create(tx: &Tx, receipt: Receipt, buyer_key: Option<String>) -> Result<Receipt> {
    let Receipt { receipt_id, version_id, quantity, unit_price_sat, amount_sat, created_at, expires_at, .. } = &receipt;
    let quantity32 = i32::try_from(*quantity).map_err(Error::internal)?;
    let values: Vec<SqlValue> = vec![
        receipt_id.clone().into(),
        version_id.to_string().into(),
        quantity32.into(),
        (*unit_price_sat).into(),
        (*amount_sat).into(),
        (*created_at).into(),
        (*expires_at).into(),
        buyer_key.into(),
    ];
    if tx.execute("receipts.create", CREATE, values).await? > 0 {
        return Ok(receipt);
    }
    let made = locked(tx, receipt_id).await?.ok_or_else(|| Error::internal("what is in the way is there"))?.receipt;
    if (made.version_id, made.quantity) != (*version_id, *quantity) {
        return Err(Caller::reused());
    }
    Ok(made)
}

/// The receipt, its row held until the transaction ends.
pub(super) async fn locked(tx: &Tx, receipt_id: &str) -> Result<Option<Held>> {
    let sql = format!("select {COLUMNS} from public.receipts where receipt_id = $1 for update");
    let rows: Vec<ReceiptRow> = tx.all("receipts.locked", &sql, vec![receipt_id.into()]).await?;
    rows.into_iter().next().map(Held::of).transpose()
}

const LOG: &str = "\
    insert into public.revenue_events (receipt_id, version_id, type, amount_sat, details) values ($1, $2, $3, $4, $5)";

pub(super) async fn log(tx: &Tx, receipt: &Receipt, kind: &str, details: Value) -> Result<()> {
    let Receipt { receipt_id, version_id, amount_sat, .. } = receipt;
    let values = vec![
        receipt_id.clone().into(),
        version_id.to_string().into(),
        kind.into(),
        (*amount_sat).into(),
        details.into(),
    ];
    tx.execute("revenue.log", LOG, values).await?;
    Ok(())
}

const QUOTED: &str = "\
    update public.receipts set outputs = $2, quote_template_hash = $3, quote_expires_at = $4, updated_at = $5 \
    where receipt_id = $1";

pub(super) async fn quoted(tx: &Tx, quote: &Quote, now: DateTime<Utc>) -> Result<()> {
    let outputs = serde_json::to_value(&quote.outputs).map_err(Error::internal)?;
    let values = vec![
        quote.receipt.receipt_id.clone().into(),
        outputs.into(),
        quote.template_hash.clone().into(),
        quote.expires_at.into(),
        now.into(),
    ];
    tx.execute("receipts.quoted", QUOTED, values).await?;
    log(tx, &quote.receipt, "quoted", json!({"templateHash": quote.template_hash})).await
}

const PAID: &str = "\
    update public.receipts set status = 'paid', payment_txid = $2, payment_raw_tx = $3, paid_at = $4, updated_at = $4, \
        broadcast = case when $5 then 'due' end, broadcast_next_at = case when $5 then $4 end, broadcast_note = null \
    where receipt_id = $1 and not exists (select from public.receipts where payment_txid = $2)";

/// Writes a payment down; where payments are sent from here, it is due then.
pub(super) async fn paid(
    tx: &Tx, receipt: &Receipt, (txid, raw): (&str, &str), is_sent: bool, now: DateTime<Utc>,
) -> Result<()> {
    let used = || Error::new(Kind::Conflict, "transaction-used", "the transaction pays another receipt").hint("rawTx");
    let values = vec![receipt.receipt_id.clone().into(), txid.into(), raw.into(), now.into(), is_sent.into()];
    match tx.execute("receipts.paid", PAID, values).await {
        // Two that submit the same at a time: the second finds the first one's by the index.
        Err(error) if error.code() == Error::REFUSED => Err(used().because(error)),
        Err(error) => Err(error),
        Ok(0) => Err(used()),
        Ok(_) => {
            log(tx, receipt, "submitted", json!({"txid": txid, "broadcast": if is_sent { "live" } else { "dryrun" }}))
                .await
        }
    }
}

const PROVEN: &str = "\
    update public.receipts set payment_envelope = $2, payment_block_hash = $3, updated_at = $4 where receipt_id = $1";

pub(super) async fn proven(
    tx: &Tx, receipt: &Receipt, envelope: &Value, block: Hash32, now: DateTime<Utc>,
) -> Result<()> {
    let values = vec![receipt.receipt_id.clone().into(), envelope.clone().into(), block.to_string().into(), now.into()];
    tx.execute("receipts.proven", PROVEN, values).await?;
    Ok(())
}

const CONFIRMED: &str = "update public.receipts set status = 'confirmed', updated_at = $2 where receipt_id = $1";

pub(super) async fn confirmed(tx: &Tx, receipt: &Receipt, details: &Value, now: DateTime<Utc>) -> Result<()> {
    tx.execute("receipts.confirmed", CONFIRMED, vec![receipt.receipt_id.clone().into(), now.into()]).await?;
    log(tx, receipt, "confirmed", details.clone()).await
}

/// A receipt's payment: `None` when there is no such receipt, and within it when nothing was submitted. Of one that was loaded
/// from elsewhere only the identifier may be known; then its bytes are empty.
pub(super) async fn payment(db: &Db, receipt_id: &str) -> Result<Option<Option<(Hash32, Vec<u8>)>>> {
    #[derive(FromQueryResult)]
    struct Payment {
        payment_txid: Option<String>,
        payment_raw_tx: Option<String>,
    }
    const SQL: &str = "select payment_txid, payment_raw_tx from public.receipts where receipt_id = $1";
    let found: Option<Payment> = db.one("receipts.payment", SQL, vec![receipt_id.into()]).await?;
    let Some(Payment { payment_txid, payment_raw_tx }) = found else { return Ok(None) };
    let Some(txid) = payment_txid else { return Ok(Some(None)) };
    let raw = decode_hex(&payment_raw_tx.unwrap_or_default()).map_err(Error::internal)?;
    Ok(Some(Some((txid.parse().map_err(Error::internal)?, raw))))
}

/// A paid receipt with a proof.
#[derive(FromQueryResult)]
pub(super) struct Unconfirmed {
    pub(super) receipt_id: String,
    pub(super) txid: String,
    pub(super) envelope: Value,
}

const UNCONFIRMED: &str = "\
    select receipt_id, payment_txid as txid, payment_envelope as envelope from public.receipts \
    where status = 'paid' and payment_envelope is not null and receipt_id > $1 order by receipt_id limit 200";

/// The next paid receipts with a proof, by identifier.
pub(super) async fn unconfirmed(db: &Db, after: &str) -> Result<Vec<Unconfirmed>> {
    db.all("receipts.unconfirmed", UNCONFIRMED, vec![after.into()]).await
}

pub(super) async fn has_expired(db: &Db) -> Result<bool> {
    const SQL: &str = "select from public.receipts where status = 'pending' and expires_at <= now()";
    db.is_there("receipts.has_expired", SQL, Vec::new()).await
}

pub(super) async fn expire(tx: &Tx) -> Result<u64> {
    const SQL: &str = "\
        update public.receipts set status = 'expired', updated_at = now() where receipt_id in ( \
            select receipt_id from public.receipts where status = 'pending' and expires_at <= now() \
            order by expires_at limit 1000 for update skip locked)";
    tx.execute("receipts.expire", SQL, Vec::new()).await
}

/// Confirmed, and their block has left the best chain. A receipt whose block nobody told, or whose block is not in the mirror at
/// all, stays as it is.
const REVERTED: &str = "\
    select r.receipt_id from public.receipts r join public.block_headers h on h.hash = r.payment_block_hash \
    where r.status = 'confirmed' and not h.on_best_chain";

pub(super) async fn has_reverted(db: &Db) -> Result<bool> {
    db.is_there("receipts.has_reverted", REVERTED, Vec::new()).await
}

pub(super) async fn revert(tx: &Tx) -> Result<u64> {
    let sql = format!(
        "with gone as (update public.receipts set status = 'paid', updated_at = now() \
            where receipt_id in ({REVERTED} order by r.receipt_id limit 1000 for update of r skip locked) \
            returning receipt_id, version_id, amount_sat, payment_txid, payment_block_hash) \
         insert into public.revenue_events (receipt_id, version_id, type, amount_sat, details) \
         select receipt_id, version_id, 'reverted', amount_sat, \
            jsonb_build_object('txid', payment_txid, 'blockHash', payment_block_hash) from gone"
    );
    tx.execute("receipts.revert", &sql, Vec::new()).await
}
