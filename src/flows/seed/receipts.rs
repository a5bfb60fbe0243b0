//! Who bought what: receipts in every state, and the transactions that paid them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    DAY, SeedPriceRule, SeedReceipt, Shop, at, chain::Mined, manifests::sha256_hex, producers::OVERLAY_PAYOUT,
    rules::unit_price,
};
use crate::domain::receipts::split::{self, QuotedOutput, template_hash};
use crate::domain::spv::{Input, Output, Transaction, decode_hex, sha256d};

/// How long a price holds, seconds: the default of `PRICE_QUOTE_TTL_SEC`.
const QUOTE_TTL: i64 = 120;
/// How long a receipt waits for its payment, seconds: the default of `RECEIPT_TTL_SEC`.
const RECEIPT_TTL: i64 = 1_800;
/// Billionths of a payment that go to the market: the default of `PAY_SPLITS_JSON`.
const OVERLAY_SHARE: u32 = 50_000_000;

/// Catalogue entry, quantity, state, day it was quoted on.
const SALES: [(&str, i32, &str, i64); 13] = [
    ("weather-gridded@1", 1, "consumed", 168),
    ("corvid-instruct@1.1", 1, "consumed", 169),
    ("census-2025-grid@1", 40, "confirmed", 170),
    ("load-forecast@2", 12, "confirmed", 171),
    ("landcover-map@1", 1, "confirmed", 174),
    ("osm-roads@2026-04", 1, "expired", 169),
    ("corvid-base@1", 2, "expired", 175),
    ("variant-frequencies@1", 500, "paid", 179),
    ("corvid-instruct@1.1", 10, "paid", 179),
    ("wind-features@1", 100, "paid", 179),
    ("polyphon-asr@1", 1, "pending", 180),
    ("income-model@1", 3, "pending", 180),
    ("optical-mosaic@1", 25, "pending", 180),
];

/// The receipts, and the payments among them that are in a block.
pub(super) fn all(shop: &Shop<'_>, rules: &[SeedPriceRule]) -> (Vec<SeedReceipt>, Vec<Mined>) {
    let mut mined = Vec::new();
    let receipts = (0..)
        .zip(SALES)
        .map(|(number, (key, quantity, status, day))| {
            let asked = day * DAY + 8 * 3_600 + number * 1_913;
            let (receipt, payment) = sale(shop, rules, key, quantity, status, (number, asked));
            if let "confirmed" | "consumed" = status {
                mined.push(Mined { since: asked, tx: payment });
            }
            receipt
        })
        .collect();
    (receipts, mined)
}

fn sale(
    shop: &Shop<'_>, rules: &[SeedPriceRule], key: &str, quantity: i32, status: &str, (number, asked): (i64, i64),
) -> (SeedReceipt, Transaction) {
    let receipt_id = format!("rcp_{}", &sha256_hex(&format!("receipt {number}"))[..32]);
    let version_id = shop.version(key);
    let producer = shop.producer_of(key);
    let unit_price_sat = unit_price(rules, &version_id, &producer.producer_id, quantity);
    let amount_sat = unit_price_sat * i64::from(quantity);

    let split = split::outputs(amount_sat, Some((OVERLAY_PAYOUT, OVERLAY_SHARE)), &producer.payout_script_hex);
    let outputs = json!(split);
    let payment = payment(&receipt_id, &split);

    let paid = !matches!(status, "pending" | "expired");
    // A pending receipt of the demo waits for years, or the first sweep would leave none to look at.
    let end = |ttl: i64| -> DateTime<Utc> { if status == "pending" { at(3_650 * DAY) } else { at(asked + ttl) } };
    let created_at = at(asked);
    let receipt = SeedReceipt {
        quote_template_hash: Some(template_hash(&version_id, amount_sat, &split)),
        quote_expires_at: Some(end(QUOTE_TTL)),
        payment_txid: paid.then(|| payment.txid().to_string()),
        paid_at: paid.then(|| at(asked + 45)),
        expires_at: end(RECEIPT_TTL),
        created_at,
        updated_at: created_at
            + TimeDelta::seconds(match status {
                "pending" => 0,
                "paid" => 45,
                "expired" => RECEIPT_TTL,
                "confirmed" => 5 * DAY + DAY / 4,
                _ => 5 * DAY + DAY / 2,
            }),
        fee_sat: fee(&payment),
        receipt_id,
        version_id,
        status: status.into(),
        quantity,
        unit_price_sat,
        amount_sat,
        outputs,
    };
    (receipt, payment)
}

/// Pays the outputs exactly, from a coin that is made up.
fn payment(receipt_id: &str, split: &[QuotedOutput]) -> Transaction {
    let output = |output: &QuotedOutput| Output {
        satoshis: output.satoshis.unsigned_abs(),
        script: decode_hex(&output.script_hex).expect("the payout scripts are hex constants"),
    };
    Transaction {
        version: 1,
        inputs: vec![Input {
            prev_txid: sha256d(receipt_id.as_bytes()),
            prev_vout: 0,
            script: Vec::new(),
            sequence: u32::MAX,
        }],
        outputs: split.iter().map(output).collect(),
        lock_time: 0,
    }
}

/// Half a satoshi a byte, rounded up, with 107 bytes for the signature and key that the made-up input lacks.
fn fee(payment: &Transaction) -> i64 {
    let bytes = payment.to_bytes().len() + 107;
    i64::try_from(bytes.div_ceil(2)).unwrap_or(i64::MAX)
}
