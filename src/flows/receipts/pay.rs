//! A payment is submitted, and proven.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};

use super::{Sale, absent, broadcast, sale, store};
use crate::app::App;
use crate::coherence::Token;
use crate::domain::caller::Caller;
use crate::domain::hex::encode_hex;
use crate::domain::receipts::Status;
use crate::domain::receipts::split::unpaid;
use crate::domain::spv::{Checked, Hash32, Transaction, Verified};
use crate::error::{Error, Kind, Result};
use crate::flows::publish::{Evidence, enveloped, not_proven};

/// Submits the transaction that pays a receipt. The same again changes nothing, however far the receipt has come.
///
/// # Errors
/// `identity-required`; `bad-request` for bytes that are no transaction; `not-found`; `forbidden` when another asked for it; `not-quoted`; `quote-expired`,
/// `receipt-expired`; `outputs-missing` when it does not pay what was quoted; `already-paid` when another transaction does;
/// `transaction-used` when it pays another receipt; `payment-refused` when the network does not take it; what the database answers.
/// Nothing is then changed.
pub async fn submit(
    app: &App, caller: &Caller, receipt_id: &str, raw_tx: &[u8], now: DateTime<Utc>,
) -> Result<(Sale, Token)> {
    caller.may_write()?;
    app.takes_writes()?;
    let payment = Transaction::parse(raw_tx)
        .map_err(|cause| Error::invalid(format!("`rawTx` is no transaction: {cause}")).hint("rawTx"))?;
    let (txid, raw) = (payment.txid().to_string(), encode_hex(raw_tx));
    let paid: Vec<(String, u64)> = payment.outputs.iter().map(|o| (encode_hex(&o.script), o.satoshis)).collect();
    let (is_strict, is_live) = (app.terms.trade.is_strict, app.terms.trade.is_live);
    let sent = txid.clone();
    let (id, buyer, now) = (receipt_id.to_owned(), caller.clone(), now.trunc_subsecs(6));
    let ((), token) = app
        .write("receipt.submit", move |tx| {
            Box::pin(async move {
                let row = store::locked(tx, &id).await?.ok_or_else(absent)?.bought_by(&buyer)?;
                if row.receipt.payment_txid.as_deref() == Some(&txid) {
                    return Ok(());
                }
                row.unpaid(now)?;
                let quote = row.quote().ok_or_else(|| {
                    let message = "ask for a quote first: it says which outputs pay the receipt";
                    Error::new(Kind::Conflict, "not-quoted", message)
                })?;
                if quote.expires_at <= now {
                    return Err(Error::new(Kind::Gone, "quote-expired", "the quote ran out: ask for another"));
                }
                if let Some(missing) = unpaid(&quote.outputs, &paid, is_strict) {
                    let form = if is_strict { "exactly" } else { "at least" };
                    let message = format!(
                        "no output of {form} {} satoshis to {} is left for it",
                        missing.satoshis, missing.script_hex
                    );
                    return Err(Error::new(Kind::Conflict, "outputs-missing", message).hint("rawTx"));
                }
                store::paid(tx, &row.receipt, (&txid, &raw), is_live, now).await
            })
        })
        .await?;
    if is_live {
        broadcast::send_due(app, Some(receipt_id), now).await?;
        broadcast::verdict(app, receipt_id, &sent).await?;
    }
    Ok((sale(app, caller, receipt_id).await?.ok_or_else(absent)?, token))
}

/// Puts a proof to a receipt's payment: with enough confirmations the receipt is confirmed at once, and otherwise when the chain
/// has grown.
///
/// # Errors
/// `identity-required`; `not-found`; `forbidden` when another asked for it; `not-paid`; `spv-verification-failed` with the `reason`; what the database answers.
pub async fn prove(
    app: &App, caller: &Caller, receipt_id: &str, evidence: Evidence, now: DateTime<Utc>,
) -> Result<(Sale, Token)> {
    caller.may_write()?;
    app.takes_writes()?;
    let payment = store::payment(&app.db, receipt_id).await?.ok_or_else(absent)?.ok_or_else(|| {
        let message = "no transaction was submitted for it: submit one first";
        Error::new(Kind::Conflict, "not-paid", message)
    })?;
    let token = attach(app, Some(caller), receipt_id, payment, evidence, now).await?;
    Ok((sale(app, caller, receipt_id).await?.ok_or_else(absent)?, token))
}

/// Puts a proof to a receipt's payment on behalf of its `buyer`, or on the server's own.
pub(super) async fn attach(
    app: &App, buyer: Option<&Caller>, receipt_id: &str, (txid, raw): (Hash32, Vec<u8>), evidence: Evidence,
    now: DateTime<Utc>,
) -> Result<Token> {
    let buyer = buyer.cloned();
    let reader = buyer.clone().unwrap_or_else(Caller::anonymous);
    let envelope = enveloped(app, &reader, txid, &raw, evidence).await?;
    let checked = Checked::of(&envelope).map_err(|refusal| not_proven(refusal.code(), refusal.code()))?;
    if checked.txid != txid {
        return Err(not_proven("txid-mismatch-rawtx-vs-proof", "it is about another transaction"));
    }
    let chain = app.spv.view(&reader, [checked.block_hash]).await?;
    let verified = checked.against(&chain).map_err(|refusal| not_proven(refusal.code(), refusal.code()))?;
    let envelope = serde_json::to_value(&envelope).map_err(Error::internal)?;
    let is_deep = verified.confirmations >= app.terms.policy_min_confs;
    let (id, now) = (receipt_id.to_owned(), now.trunc_subsecs(6));
    let ((), token) = app
        .write("receipt.prove", move |tx| {
            Box::pin(async move {
                let row = store::locked(tx, &id).await?.ok_or_else(absent)?;
                let row = match &buyer {
                    Some(buyer) => row.bought_by(buyer)?,
                    None => row,
                };
                store::proven(tx, &row.receipt, &envelope, verified.block_hash, now).await?;
                if is_deep && row.receipt.status == Status::Paid {
                    store::confirmed(tx, &row.receipt, &details(txid, &verified), now).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(token)
}

/// What the revenue log says of a proof.
pub(super) fn details(txid: Hash32, verified: &Verified) -> Value {
    json!({"txid": txid, "blockHash": verified.block_hash, "blockHeight": verified.block_height})
}
