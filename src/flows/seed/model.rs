//! The rows of the market. Fields are named and typed as the columns they go to.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

/// Everything there is to insert, in an order that satisfies every reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Market {
    /// The registry.
    pub producers: Vec<SeedProducer>,
    /// Manifests, parents before children. They carry neither `versionId` nor `signatures`.
    pub manifests: Vec<Value>,
    /// Version id of the manifest at the same index.
    pub version_ids: Vec<String>,
    /// At most one a version, in the order of the versions.
    pub declarations: Vec<SeedDeclaration>,
    /// From the genesis to the tip, all on the best chain.
    pub headers: Vec<SeedHeader>,
    /// Policies.
    pub policies: Vec<SeedPolicy>,
    /// Price rules.
    pub price_rules: Vec<SeedPriceRule>,
    /// Advisories with their targets.
    pub advisories: Vec<SeedAdvisory>,
    /// Receipts.
    pub receipts: Vec<SeedReceipt>,
}

/// A row of `producers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedProducer {
    /// `prd_` and 32 hex digits, from the key.
    pub producer_id: String,
    /// Compressed secp256k1 public key, 66 hex digits.
    pub identity_key: String,
    /// Display name.
    pub display_name: String,
    /// Web site, under the reserved `.example`.
    pub website: String,
    /// P2PKH script of the identity key.
    pub payout_script_hex: String,
    /// When it registered.
    pub created_at: DateTime<Utc>,
}

/// A row of `declarations`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedDeclaration {
    /// What is declared.
    pub version_id: String,
    /// The declaring transaction.
    pub txid: String,
    /// Index of the declaring output.
    pub vout: i32,
    /// `DLM1`.
    pub kind: String,
    /// The transaction, hex.
    pub raw_tx: String,
    /// Its proof; `None` while it waits for a block.
    pub envelope: Option<Value>,
    /// Block of the proof.
    pub block_hash: Option<String>,
    /// Its height.
    pub block_height: Option<i32>,
    /// When it was broadcast.
    pub created_at: DateTime<Utc>,
    /// When the proof came, else as `created_at`.
    pub updated_at: DateTime<Utc>,
}

/// A row of `block_headers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedHeader {
    /// Block hash.
    pub hash: String,
    /// Height, the genesis being 0.
    pub height: i32,
    /// Hash of the block before; zeros for the genesis.
    pub prev_hash: String,
    /// Root over the block's transactions.
    pub merkle_root: String,
    /// The 80 bytes.
    pub raw: Vec<u8>,
    /// Always true here.
    pub on_best_chain: bool,
    /// The header's own time.
    pub received_at: DateTime<Utc>,
}

/// A row of `policies`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedPolicy {
    /// Identifier.
    pub policy_id: String,
    /// Display name.
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// The rules.
    pub doc: Value,
    /// First saved.
    pub created_at: DateTime<Utc>,
    /// Last saved.
    pub updated_at: DateTime<Utc>,
}

/// A row of `price_rules`: exactly one of `version_id` and `producer_id` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedPriceRule {
    /// Identifier.
    pub rule_id: String,
    /// Scope: one version.
    pub version_id: Option<String>,
    /// Scope: all of a producer's.
    pub producer_id: Option<String>,
    /// Least quantity it applies to.
    pub tier_from: i32,
    /// Satoshis a unit.
    pub satoshis: i64,
    /// First saved.
    pub created_at: DateTime<Utc>,
    /// Last saved.
    pub updated_at: DateTime<Utc>,
}

/// A row of `advisories`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedAdvisory {
    /// Identifier.
    pub advisory_id: String,
    /// `BLOCK` or `WARN`; the column `type`.
    #[serde(rename = "type")]
    pub advisory_type: String,
    /// For people.
    pub reason: String,
    /// Details.
    pub payload: Option<Value>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it ends; `None` is never.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whom it concerns.
    pub targets: Vec<SeedAdvisoryTarget>,
}

/// A row of `advisory_targets`: exactly one of the two is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedAdvisoryTarget {
    /// One version.
    pub version_id: Option<String>,
    /// All of a producer's.
    pub producer_id: Option<String>,
}

/// A row of `receipts`. Amounts are satoshis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedReceipt {
    /// Identifier.
    pub receipt_id: String,
    /// What is bought.
    pub version_id: String,
    /// `pending`, `paid`, `confirmed`, `consumed` or `expired`.
    pub status: String,
    /// Units.
    pub quantity: i32,
    /// Price of a unit by the market's price rules.
    pub unit_price_sat: i64,
    /// Price of all; the sum of `outputs`.
    pub amount_sat: i64,
    /// What the paying transaction should leave to the miner.
    pub fee_sat: i64,
    /// `[{satoshis, scriptHex}]`, sorted by script, then amount.
    pub outputs: Value,
    /// SHA-256 of the canonical `{amountSat, outputs, versionId}`.
    pub quote_template_hash: Option<String>,
    /// When the price ends.
    pub quote_expires_at: Option<DateTime<Utc>>,
    /// The paying transaction.
    pub payment_txid: Option<String>,
    /// When it was submitted.
    pub paid_at: Option<DateTime<Utc>>,
    /// When the receipt ends unless paid.
    pub expires_at: DateTime<Utc>,
    /// When the quote was asked for.
    pub created_at: DateTime<Utc>,
    /// Last change of state.
    pub updated_at: DateTime<Utc>,
}
