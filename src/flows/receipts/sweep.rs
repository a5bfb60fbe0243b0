//! What time and the chain do to receipts: those that nobody paid expire, payments are sent and followed, those whose payment is
//! proven deep enough are confirmed, and those whose block has left the best chain fall back.

use std::time::Duration;

use chrono::Utc;
use tokio::task::JoinHandle;

use super::{broadcast, pay, store};
use crate::app::App;
use crate::domain::caller::Caller;
use crate::domain::spv::{Checked, Envelope};
use crate::error::{Error, Result};

/// Sweeps until it is dropped. Every process does: rows that another is at are passed over.
#[derive(Debug)]
pub struct Sweeper(JoinHandle<()>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sweeper {
    /// Begins to sweep, once in every `pause`.
    pub fn start(app: App, pause: Duration) -> Self {
        Self(tokio::spawn(async move {
            let mut is_failing = false;
            loop {
                tokio::time::sleep(pause).await;
                let outcome = settle(&app).await;
                // Once for each outage.
                match &outcome {
                    Err(error) if !is_failing => {
                        tracing::warn!(%error, "receipts cannot be settled; every sweep tries again");
                    }
                    Ok(_) if is_failing => tracing::info!("receipts are settled again"),
                    _ => {}
                }
                is_failing = outcome.is_err();
            }
        }))
    }
}

/// What a sweep changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Receipts that ran out.
    pub expired: u64,
    /// Receipts whose payment is proven deep enough.
    pub confirmed: u64,
    /// Receipts whose payment's block has left the best chain.
    pub reverted: u64,
    /// Payments that the network has taken.
    pub sent: u64,
    /// Payments that it refuses.
    pub refused: u64,
}

/// Brings all receipts up to the time and the best chain of now.
///
/// # Errors
/// What the database answers; what was settled before stays so.
pub async fn settle(app: &App) -> Result<Settled> {
    let mut settled = Settled::default();
    // Looked at first: nearly every time there is nothing to do, and a transaction would be one for nothing.
    if store::has_expired(&app.db).await? {
        let expire = async |tx: &crate::db::Tx| store::expire(tx).await;
        settled.expired = app.write("receipts.expire", |tx| Box::pin(expire(tx))).await?.0;
    }
    if store::has_reverted(&app.db).await? {
        let revert = async |tx: &crate::db::Tx| store::revert(tx).await;
        settled.reverted = app.write("receipts.revert", |tx| Box::pin(revert(tx))).await?.0;
    }
    if app.terms.trade.is_live {
        let round = broadcast::send_due(app, None, Utc::now()).await?;
        (settled.sent, settled.refused) = (round.accepted, round.refused);
        broadcast::follow(app, Utc::now()).await?;
    }
    let mut after = String::new();
    loop {
        let batch = store::unconfirmed(&app.db, &after).await?;
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.receipt_id);
        settled.confirmed += confirm(app, batch).await?;
    }
    for (outcome, count) in
        [("expired", settled.expired), ("confirmed", settled.confirmed), ("reverted", settled.reverted)]
    {
        if count > 0 {
            metrics::counter!("overlay_receipts_settled_total", "outcome" => outcome).increment(count);
        }
    }
    Ok(settled)
}

/// Confirms those of a batch whose proof holds now, deep enough.
async fn confirm(app: &App, batch: Vec<store::Unconfirmed>) -> Result<u64> {
    let caller = Caller::anonymous();
    let checked: Vec<(String, Checked)> = batch
        .into_iter()
        .filter_map(|row| {
            let envelope: Envelope = serde_json::from_value(row.envelope).ok()?;
            Checked::of(&envelope).ok().filter(|c| c.txid.to_string() == row.txid).map(|c| (row.receipt_id, c))
        })
        .collect();
    let chain = app.spv.view(&caller, checked.iter().map(|(_, checked)| checked.block_hash)).await?;
    let mut confirmed = 0;
    for (receipt_id, checked) in checked {
        let Ok(verified) = checked.against(&chain) else { continue };
        if verified.confirmations < app.terms.policy_min_confs {
            continue;
        }
        let details = pay::details(checked.txid, &verified);
        confirmed += app
            .write("receipt.confirm", move |tx| {
                Box::pin(async move {
                    let row = store::locked(tx, &receipt_id)
                        .await?
                        .ok_or_else(|| Error::internal("a receipt is not deleted"))?;
                    // Somebody else may have been quicker.
                    if row.receipt.status != crate::domain::receipts::Status::Paid {
                        return Ok(0);
                    }
                    store::confirmed(tx, &row.receipt, &details, Utc::now()).await.map(|()| 1)
                })
            })
            .await?
            .0;
    }
    Ok(confirmed)
}
