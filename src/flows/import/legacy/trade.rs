//! Prices, policies, advisories, receipts and revenue of the old schema.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cells::{Reader, Row};
use super::tables::Shape;
use super::{Context, Need, Ready};
use crate::domain::hex::encode_hex;
use crate::domain::policies::document::PolicyDocument;
use crate::flows::prices::MAX_AMOUNT;

pub(super) const PRICE_RULES: Shape = Shape {
    table: "price_rules",
    key: &["rule_id"],
    columns: &[
        ("rule_id", "text"),
        ("version_id", "text"),
        ("producer_id", "text"),
        ("tier_from", "integer"),
        ("satoshis", "bigint"),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
    ],
    loose: &["created_at", "updated_at"],
};

pub(super) const POLICIES: Shape = Shape {
    table: "policies",
    key: &["policy_id"],
    columns: &[
        ("policy_id", "text"),
        ("name", "text"),
        ("enabled", "boolean"),
        ("doc", "jsonb"),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
    ],
    loose: &["created_at", "updated_at"],
};

pub(super) const ADVISORIES: Shape = Shape {
    table: "advisories",
    key: &["advisory_id"],
    columns: &[
        ("advisory_id", "text"),
        ("type", "text"),
        ("reason", "text"),
        ("payload", "jsonb"),
        ("created_at", "timestamptz"),
        ("expires_at", "timestamptz"),
    ],
    loose: &[],
};

pub(super) const TARGETS: Shape = Shape {
    table: "advisory_targets",
    key: &["advisory_id", "version_id", "producer_id"],
    columns: &[("advisory_id", "text"), ("version_id", "text"), ("producer_id", "text")],
    loose: &[],
};

pub(super) const RECEIPTS: Shape = Shape {
    table: "receipts",
    key: &["receipt_id"],
    columns: &[
        ("receipt_id", "text"),
        ("version_id", "text"),
        ("status", "text"),
        ("quantity", "integer"),
        ("unit_price_sat", "bigint"),
        ("amount_sat", "bigint"),
        ("fee_sat", "bigint"),
        ("outputs", "jsonb"),
        ("quote_template_hash", "text"),
        ("quote_expires_at", "timestamptz"),
        ("payment_txid", "text"),
        ("paid_at", "timestamptz"),
        ("expires_at", "timestamptz"),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
    ],
    loose: &["updated_at"],
};

pub(super) const REVENUE: Shape = Shape {
    table: "revenue_events",
    // Its number here is another; the one that it had is in the details.
    key: &["receipt_id", "details"],
    columns: &[
        ("receipt_id", "text"),
        ("version_id", "text"),
        ("type", "text"),
        ("amount_sat", "bigint"),
        ("details", "jsonb"),
        ("created_at", "timestamptz"),
    ],
    loose: &[],
};

/// A rule's identifier, which was a number: from what it is about, so that it is the same whenever it is taken over.
fn rule_id(scope: &str, tier: i64) -> String {
    format!("prc_{}", &encode_hex(&Sha256::digest(format!("{scope}\n{tier}")))[..32])
}

fn producer(from: &mut Reader<'_>, context: &Context) -> Option<String> {
    let id = from.text(&["producer_id"])?;
    let here = context.producers.get(&id);
    if here.is_none() {
        from.fault(format!("producer_id: producer {id} was not taken over"));
    }
    here.cloned()
}

/// A row that is about nothing is a fault.
fn names_one(from: &mut Reader<'_>) {
    if from.text(&["version_id"]).is_none() && from.text(&["producer_id"]).is_none() {
        from.fault("names neither a version nor a producer");
    }
}

pub(super) fn price_rule(row: &Row, context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let version = from.text(&["version_id"]).and_then(|_| from.version("version_id"));
    let producer = producer(&mut from, context);
    let tier = from.whole("tier_from", 1, i32::MAX.into());
    let satoshis = from.whole("satoshis", 1, MAX_AMOUNT);
    let (created, updated) = (from.instant_of("created_at"), from.instant("updated_at"));
    if version.is_some() && producer.is_some() {
        from.fault("names both a version and a producer");
    }
    names_one(&mut from);
    from.end(|| {
        let (tier, created) = (tier.unwrap_or(1), created?);
        let id = match (&version, &producer) {
            (Some(version), _) => rule_id(&format!("version {version}"), tier),
            (None, Some(producer)) => rule_id(&format!("producer {producer}"), tier),
            (None, None) => return None,
        };
        let row = json!({"rule_id": id, "version_id": version, "producer_id": producer, "tier_from": tier,
            "satoshis": satoshis?, "created_at": created, "updated_at": updated.unwrap_or(created)});
        let ready = Ready::row(id, row);
        Some(match version {
            Some(version) => ready.needs(Need::Version(version)),
            None => ready,
        })
    })
}

/// The price of a version held where no rule of the version did: it is the version's rule from one unit up.
pub(super) fn price(row: &Row, context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let (version, satoshis) = (from.version("version_id"), from.whole("satoshis", 1, MAX_AMOUNT));
    from.end(|| {
        let (version, id) = (version?, rule_id(&format!("version {}", version?), 1));
        let row = json!({"rule_id": id, "version_id": version, "producer_id": null, "tier_from": 1,
            "satoshis": satoshis?, "created_at": context.begun, "updated_at": context.begun});
        Some(Ready::row(id, row).needs(Need::Version(version)))
    })
}

pub(super) fn policy(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let id = from.named(&["policy_id"], 200);
    let name = from.text(&["name"]).or_else(|| id.clone());
    if name.as_ref().is_some_and(|name| name.chars().count() > 500) {
        from.fault("name: is longer than 500 characters");
    }
    let enabled = from.flag("enabled", true);
    let document = from.json(&["doc_json", "doc", "policy_json"]).unwrap_or_else(|| json!({}));
    match PolicyDocument::parse(&document) {
        Ok(_) => {}
        Err(faults) => faults.iter().for_each(|fault| from.fault(format!("doc_json{fault}"))),
    }
    let (created, updated) = (from.instant_of("created_at"), from.instant("updated_at"));
    from.end(|| {
        let (id, created) = (id?, created?);
        let row = json!({"policy_id": id, "name": name?, "enabled": enabled, "doc": document, "created_at": created,
            "updated_at": updated.unwrap_or(created)});
        Some(Ready::row(id, row))
    })
}

pub(super) fn advisory(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let id = from.named(&["advisory_id"], 200);
    let kind = from.text(&["type"]).unwrap_or_default().to_ascii_uppercase();
    if !["BLOCK", "WARN"].contains(&kind.as_str()) {
        from.fault("type: must be BLOCK or WARN");
    }
    let reason = from.named(&["reason"], 4 * 5_000);
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > 5_000) {
        from.fault("reason: is longer than 5,000 characters");
    }
    let payload = from.json(&["payload_json", "payload"]);
    let (created, expires) = (from.instant_of("created_at"), from.instant("expires_at"));
    if created.zip(expires).is_some_and(|(created, expires)| expires <= created) {
        from.fault("expires_at: is not after created_at");
    }
    from.end(|| {
        let id = id?;
        let row = json!({"advisory_id": id, "type": kind, "reason": reason?, "payload": payload,
            "created_at": created?, "expires_at": expires});
        Some(Ready::row(id, row))
    })
}

/// A target may have named a version and a producer: it was about both.
pub(super) fn target(row: &Row, context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let id = from.named(&["advisory_id"], 200);
    let version = from.text(&["version_id"]).and_then(|_| from.version("version_id"));
    let producer = producer(&mut from, context);
    names_one(&mut from);
    from.end(|| {
        let id = id?;
        let one = |version: Value, producer: Value| json!({"advisory_id": id, "version_id": version, "producer_id": producer});
        let of_version = version.map(|version| one(json!(version), Value::Null));
        let of_producer = producer.map(|producer| one(Value::Null, json!(producer)));
        let rows: Vec<Value> = of_version.into_iter().chain(of_producer).collect();
        let key = json!(rows).to_string();
        (!rows.is_empty()).then(|| Ready::rows(key, rows).needs(Need::Advisory(id)))
    })
}

pub(super) fn receipt(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let (id, version) = (from.named(&["receipt_id"], 200), from.version("version_id"));
    let status = from.text(&["status"]).unwrap_or_else(|| "pending".into());
    // A quote has no state of its own here.
    let status = if status == "quoted" { "pending".to_owned() } else { status };
    if !["pending", "paid", "confirmed", "consumed", "expired"].contains(&status.as_str()) {
        from.fault("status: must be pending, quoted, paid, confirmed, consumed or expired");
    }
    let quantity = from.whole("quantity", 1, i32::MAX.into());
    let amount = from.whole("amount_sat", 1, MAX_AMOUNT);
    if from.text(&["amount_sat"]).is_none() {
        from.fault("amount_sat: is missing");
    }
    let unit = from.whole("unit_price_sat", 1, i64::MAX);
    let fee = from.whole("fee_sat", 0, i64::MAX).unwrap_or(0);
    let outputs = from.json(&["payment_outputs_json", "outputs_json"]).unwrap_or_else(|| json!([]));
    if !outputs.as_array().is_some_and(|all| all.iter().all(is_output)) {
        from.fault("payment_outputs_json: must be an array of {scriptHex, satoshis}");
    }
    let (hash, txid) = (from.hex("quote_template_hash", Some(64)), from.hex("payment_txid", Some(64)));
    if txid.is_none() && !["pending", "expired"].contains(&status.as_str()) {
        from.fault(format!("payment_txid: is missing: nothing shows that a receipt that is {status} was paid"));
    }
    let (quoted, paid) = (from.instant("quote_expires_at"), from.instant("paid_at"));
    let (created, expires) = (from.instant_of("created_at"), from.instant_of("expires_at"));
    let seen = from.instant("last_seen");
    from.end(|| {
        let (id, version, quantity, amount, created) = (id?, version?, quantity.unwrap_or(1), amount?, created?);
        // A quote that is open was hashed by another rule: it has to be asked for anew.
        let is_open = status == "pending";
        let row = json!({"receipt_id": id, "version_id": version, "status": status, "quantity": quantity,
            "unit_price_sat": unit.unwrap_or_else(|| (amount / quantity).max(1)), "amount_sat": amount, "fee_sat": fee,
            "outputs": if is_open { json!([]) } else { outputs },
            "quote_template_hash": hash.filter(|_| !is_open), "quote_expires_at": quoted.filter(|_| !is_open),
            "payment_txid": txid, "paid_at": paid, "expires_at": expires?, "created_at": created,
            "updated_at": seen.or(paid).unwrap_or(created)});
        Some(Ready::row(id, row).needs(Need::Version(version)))
    })
}

fn is_output(output: &Value) -> bool {
    output["scriptHex"].is_string() && output["satoshis"].is_u64()
}

pub(super) fn revenue(row: &Row, _context: &Context) -> Result<Ready, Vec<String>> {
    let mut from = Reader::new(row);
    let number = row.number;
    let (receipt, version) = (from.named(&["receipt_id"], 200), from.version("version_id"));
    let told = from.text(&["type"]).unwrap_or_else(|| "pay".into());
    let kind = match told.as_str() {
        "pay" => "submitted",
        "quoted" | "submitted" | "confirmed" | "reverted" | "refund" => told.as_str(),
        _ => {
            from.fault(format!("type: nothing here is like {told}"));
            ""
        }
    };
    let amount = from.whole("amount_sat", 0, MAX_AMOUNT);
    let quantity = from.whole("quantity", 0, i64::MAX);
    let created = from.instant_of("created_at");
    from.end(|| {
        let receipt = receipt?;
        let details = json!({"imported": {"eventId": number, "type": told, "quantity": quantity}});
        let row = json!({"receipt_id": receipt, "version_id": version?, "type": kind, "amount_sat": amount?,
            "details": details, "created_at": created?});
        Some(Ready::row(number.to_string(), row).needs(Need::Receipt(receipt)))
    })
}
