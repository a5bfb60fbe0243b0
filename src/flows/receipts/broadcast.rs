//! Payments are sent to the network, sent again while nobody can be reached, and followed until they are in a block.
//!
//! A payment is first written down and then sent: a server that dies in between has lost nothing, the next sweep sends it, and to
//! send it twice does no harm. Who sends it has claimed it for a while, so that several servers do not all do.

mod store;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::pay;
use crate::app::App;
use crate::domain::hex::decode_hex;
use crate::domain::receipts::broadcast::{self, Sent};
use crate::domain::spv::Bump;
use crate::error::{Error, Kind, Result};
use crate::flows::publish::Evidence;

/// What a round has sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Round {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

/// Sends the payments that are due, or that of one receipt alone.
///
/// # Errors
/// What the database answers. That a payment could not be sent is no error here: it stays due.
pub(super) async fn send_due(app: &App, receipt_id: Option<&str>, now: DateTime<Utc>) -> Result<Round> {
    let mut round = Round::default();
    if !store::has_due(&app.db, receipt_id, now).await? {
        return Ok(round);
    }
    let only = receipt_id.map(str::to_owned);
    let (claimed, _) =
        app.write("receipts.claim", move |tx| Box::pin(async move { store::claim_due(tx, only, now).await })).await?;
    let providers = &app.terms.trade.providers;
    let sent = join_all(claimed.iter().map(|p| broadcast::send(&app.https, providers, &p.txid, &p.raw))).await;
    for (payment, sent) in claimed.into_iter().zip(sent) {
        let outcome = match &sent {
            Sent::Accepted(_) => {
                round.accepted += 1;
                "accepted"
            }
            Sent::Refused(_) => {
                round.refused += 1;
                "refused"
            }
            Sent::Unreached(why) => {
                let receipt = &payment.receipt_id;
                tracing::warn!(receipt, why, "a payment could not be sent; it will be tried again");
                "unreached"
            }
        };
        metrics::counter!("overlay_broadcasts_total", "outcome" => outcome).increment(1);
        app.write("receipts.sent", move |tx| Box::pin(async move { store::sent(tx, &payment, &sent, now).await }))
            .await?;
    }
    Ok(round)
}

/// What a client is told whose payment was just sent.
///
/// # Errors
/// `payment-refused` with what the network says: the receipt waits for another.
pub(super) async fn verdict(app: &App, receipt_id: &str, txid: &str) -> Result<()> {
    let Some(why) = store::refusal(&app.db, receipt_id, txid).await? else { return Ok(()) };
    let message = "the network refuses the payment: the receipt waits for another transaction";
    Err(Error::new(Kind::Unprocessable, "payment-refused", message).hint("rawTx").detail("reason", why))
}

/// Asks for the proofs of payments that were taken, and puts them to their receipts.
///
/// # Errors
/// What the database answers. A service that does not answer, or whose proof does not hold, is asked again.
pub(super) async fn follow(app: &App, now: DateTime<Utc>) -> Result<()> {
    if !store::has_unproven(&app.db, now).await? {
        return Ok(());
    }
    let (claimed, _) =
        app.write("receipts.follow", move |tx| Box::pin(async move { store::claim_unproven(tx, now).await })).await?;
    let asked = claimed.iter().map(async |payment| {
        for provider in &app.terms.trade.providers {
            if let Ok(Some(path)) = provider.path(&app.https, &payment.txid).await {
                return Some(path);
            }
        }
        None
    });
    let paths = join_all(asked).await;
    for (payment, path) in claimed.iter().zip(paths) {
        let Some(path) = path else { continue };
        let outcome = async {
            let bump = Bump::from_hex(&path).map_err(Error::internal)?;
            let raw = decode_hex(&payment.raw).map_err(Error::internal)?;
            let txid = payment.txid.parse().map_err(Error::internal)?;
            pay::attach(app, None, &payment.receipt_id, (txid, raw), Evidence::Bump(bump), now).await
        };
        // A block that the mirror does not have yet, most likely.
        if let Err(error) = outcome.await {
            tracing::debug!(receipt = payment.receipt_id, ?error, "a service's proof does not hold yet");
        }
    }
    Ok(())
}
