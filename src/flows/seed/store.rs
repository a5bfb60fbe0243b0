//! The seed's SQL: rows come as JSON, named like the columns they go to.

use serde::Serialize;
use serde_json::{Value, json};

use super::Market;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};

/// The registry goes first: a manifest would register its producer without a payout script.
pub(super) async fn producers(db: &Db, market: &Market) -> Result<()> {
    let rows = value(&market.producers)?;
    db.transact("seed.producers", |tx| {
        Box::pin(async move {
            const COLUMNS: &str = "producer_id, identity_key, display_name, website, payout_script_hex, created_at";
            insert(tx, "producers", COLUMNS, rows).await
        })
    })
    .await?;
    Ok(())
}

/// All that refers to producers and versions, in one transaction.
pub(super) async fn rest(db: &Db, market: &Market) -> Result<()> {
    // PostgreSQL reads bytes from text as `\x…`.
    let mut headers = value(&market.headers)?;
    for (row, header) in headers.as_array_mut().into_iter().flatten().zip(&market.headers) {
        let hex = header.raw.iter().fold(String::from("\\x"), |hex, byte| hex + &format!("{byte:02x}"));
        row["raw"] = Value::String(hex);
    }
    let targets = market.advisories.iter().flat_map(|advisory| {
        let id = &advisory.advisory_id;
        let row = move |t: &super::SeedAdvisoryTarget| {
            json!({"advisory_id": id, "version_id": t.version_id, "producer_id": t.producer_id})
        };
        advisory.targets.iter().map(row).collect::<Vec<_>>()
    });
    let rows = [
        ("block_headers", "hash, height, prev_hash, merkle_root, raw, on_best_chain, received_at", headers),
        (
            "declarations",
            "version_id, txid, vout, kind, raw_tx, envelope, block_hash, block_height, created_at, updated_at",
            value(&market.declarations)?,
        ),
        ("policies", "policy_id, name, enabled, doc, created_at, updated_at", value(&market.policies)?),
        (
            "price_rules",
            "rule_id, version_id, producer_id, tier_from, satoshis, created_at, updated_at",
            value(&market.price_rules)?,
        ),
        ("advisories", "advisory_id, type, reason, payload, created_at, expires_at", value(&market.advisories)?),
        ("advisory_targets", "advisory_id, version_id, producer_id", Value::Array(targets.collect())),
        (
            "receipts",
            "receipt_id, version_id, status, quantity, unit_price_sat, amount_sat, fee_sat, outputs, quote_template_hash, \
             quote_expires_at, payment_txid, paid_at, expires_at, created_at, updated_at",
            value(&market.receipts)?,
        ),
    ];
    db.transact("seed.rest", |tx| {
        Box::pin(async move {
            for (table, columns, rows) in rows {
                insert(tx, table, columns, rows).await?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(())
}

async fn insert(tx: &Tx, table: &str, columns: &str, rows: Value) -> Result<()> {
    let sql = format!(
        "insert into public.{table} ({columns}) select {columns} from jsonb_populate_recordset(null::public.{table}, $1) \
         on conflict do nothing"
    );
    tx.execute("seed.insert", &sql, vec![rows.into()]).await?;
    Ok(())
}

fn value<T: Serialize>(rows: &T) -> Result<Value> {
    serde_json::to_value(rows).map_err(Error::internal)
}
