//! Buying: a receipt is asked for, quoted, paid, and confirmed by a proof.
//!
//! `pending → paid → confirmed → consumed`, `pending → expired`, `confirmed → paid` when the payment's block leaves the best
//! chain, and `paid → pending` when the network refuses it. The database keeps to these ways whoever writes (`m0009_payments`,
//! `m0010_broadcast`); here each step locks the row first.

mod broadcast;
mod pay;
mod store;
mod sweep;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use overlay_entity::ids::VersionId;

use crate::app::App;
use crate::coherence::Token;
use crate::domain::assets::Asset;
use crate::domain::caller::Caller;
use crate::domain::receipts::split::{self, QuotedOutput};
use crate::domain::receipts::{Receipt, Status};
use crate::error::{Error, Kind, Result};
use crate::flows::prices;

pub use pay::{prove, submit};
pub use sweep::{Sweeper, settle};

/// What a transaction costs to be mined, satoshis a byte, as a hint for who makes one.
pub const FEE_RATE_HINT: f64 = 0.5;

/// A receipt and what it is for.
#[derive(Debug)]
pub struct Sale {
    /// The receipt.
    pub receipt: Receipt,
    /// What is bought.
    pub asset: Arc<Asset>,
}

/// What pays a receipt.
#[derive(Debug)]
pub struct Quote {
    /// The receipt it pays.
    pub receipt: Receipt,
    /// The outputs that the payment must have.
    pub outputs: Vec<QuotedOutput>,
    /// SHA-256 of the canonical JSON of `{versionId, amountSat, outputs}`.
    pub template_hash: String,
    /// Until when it may be submitted.
    pub expires_at: DateTime<Utc>,
}

/// Asks for a receipt: `quantity` units of a version, at the price of now. With an idempotency key, the same again answers
/// the receipt that there is.
///
/// # Errors
/// `identity-required`; `not-found`; `bad-request` for a quantity below 1; `amount-too-large`; `idempotency-key-reused` when
/// the key stands for another purchase; what the database answers.
pub async fn create(
    app: &App, caller: &Caller, version_id: VersionId, quantity: i32, now: DateTime<Utc>,
) -> Result<(Sale, Token)> {
    let receipt_id = caller.new_id("rcp")?;
    app.takes_writes()?;
    // The developer's purchases are everybody's.
    let buyer_key = caller.signer().ok().map(|signer| signer.key.clone());
    let quote = prices::quote(app, caller, version_id, quantity, now).await?;
    let quote = quote.ok_or_else(|| Error::not_found("no version of that id is published").hint("versionId"))?;
    // PostgreSQL keeps microseconds.
    let now = now.trunc_subsecs(6);
    let receipt = Receipt {
        receipt_id,
        version_id,
        status: Status::Pending,
        quantity: i64::from(quantity),
        unit_price_sat: quote.unit.satoshis,
        amount_sat: quote.total,
        payment_txid: None,
        broadcast: None,
        created_at: now,
        expires_at: Some(now + app.terms.trade.receipt_ttl),
    };
    let (receipt, token) = app
        .write("receipt.create", move |tx| Box::pin(async move { store::create(tx, receipt, buyer_key).await }))
        .await?;
    Ok((Sale { receipt, asset: quote.asset }, token))
}

/// A receipt and what it is for; `None` when there is none of that identifier.
///
/// # Errors
/// What the database answers.
pub async fn sale(app: &App, caller: &Caller, receipt_id: &str) -> Result<Option<Sale>> {
    let found = app.receipts.get_many(caller, &[receipt_id.to_owned()]).await?.pop().flatten();
    let Some(receipt) = found else { return Ok(None) };
    let asset = app.assets.get_many(caller, &[receipt.version_id]).await?.pop().flatten();
    Ok(asset.map(|asset| Sale { receipt: (*receipt).clone(), asset }))
}

/// Quotes a receipt: the outputs that pay it. A quote that has not run out is answered again as it is.
///
/// # Errors
/// `identity-required`; `not-found`; `forbidden` when another asked for it; `receipt-expired`; `already-paid`; `no-payout-script` when the producer has said nowhere
/// what to pay to; what the database answers.
pub async fn quote(app: &App, caller: &Caller, receipt_id: &str, now: DateTime<Utc>) -> Result<(Quote, Token)> {
    caller.may_write()?;
    app.takes_writes()?;
    let sale = sale(app, caller, receipt_id).await?.ok_or_else(absent)?;
    let producer = app.producers.get(caller, sale.asset.producer_id.clone()).await?;
    let script = producer.and_then(|producer| producer.payout_script_hex.clone());
    let trade = app.terms.trade.clone();
    let (id, caller, now) = (receipt_id.to_owned(), caller.clone(), now.trunc_subsecs(6));
    app.write("receipt.quote", move |tx| {
        Box::pin(async move {
            let row = store::locked(tx, &id).await?.ok_or_else(absent)?.bought_by(&caller)?;
            row.unpaid(now)?;
            if let Some(quote) = row.quote().filter(|quote| quote.expires_at > now) {
                return Ok(quote);
            }
            let script = script.ok_or_else(|| {
                let message = "the producer has not registered a script to be paid to";
                Error::new(Kind::Conflict, "no-payout-script", message)
            })?;
            let own = trade.own_script.as_deref().map(|script| (script, trade.own_share));
            let outputs = split::outputs(row.receipt.amount_sat, own, &script);
            let version_id = row.receipt.version_id.to_string();
            let template_hash = split::template_hash(&version_id, row.receipt.amount_sat, &outputs);
            // A quote does not outlive its receipt.
            let end = row.receipt.expires_at.map_or(now + trade.quote_ttl, |end| end.min(now + trade.quote_ttl));
            let quote = Quote { receipt: row.receipt, outputs, template_hash, expires_at: end };
            store::quoted(tx, &quote, now).await?;
            Ok(quote)
        })
    })
    .await
}

fn absent() -> Error {
    Error::not_found("there is no receipt of that id").hint("receiptId")
}
