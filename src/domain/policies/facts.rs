//! What a policy is evaluated over: facts of the target and of every version it was made from. Nothing is invented: what is
//! not known is absent. Facts are written into the audit, and read from there to evaluate again.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::Anonymization;

/// Everything that an evaluation looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// When it was asked, seconds since 1970.
    pub evaluated_at: i64,
    /// The version that is asked about.
    pub target: NodeFacts,
    /// What it was made from, in any order.
    pub ancestors: Vec<NodeFacts>,
}

/// What is known of a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeFacts {
    /// The version.
    pub version_id: String,
    /// Generations from the target, on the longest way.
    pub depth: u32,
    /// Confirmations of its proof; 0 when it is not proven.
    pub confirmations: u32,
    /// Whether a recall of it or its producer is in force.
    pub is_recalled: bool,
    /// Who published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_id: Option<String>,
    /// The producer's key, 66 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_key: Option<String>,
    /// Price of a unit, satoshis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    /// What its manifest says.
    #[serde(flatten)]
    pub said: ManifestFacts,
}

/// What a manifest says, as far as policies ask. Each field is read at one place:
///
/// | fact | JSON pointer |
/// |---|---|
/// | `classification`, `license`, `piiFlags` | `/policy/classification`, `/policy/license`, `/policy/pii_flags` |
/// | `anonymization` | `/policy/anonymization` |
/// | `geoOrigin`, `createdAt` | `/provenance/geoOrigin`, `/provenance/createdAt` |
/// | `uptime`, `hasBillingAccount` | `/provenance/producer/uptime`, `/provenance/producer/billingAccount` (a text) |
/// | `inThreatFeed` | `/policy/inThreatFeed` |
/// | `schemaHash`, `mimeType`, `sizeBytes` | `/content/schema/schemaHash`, `/content/mimeType`, `/content/sizeBytes` |
/// | all others | `/content/<name>` |
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestFacts {
    /// `public`, `internal`, `restricted` or `clinical-research`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<String>,
    /// SPDX identifier or free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Kinds of personal data; empty when it holds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pii_flags: Option<Vec<String>>,
    /// Level of anonymisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymization: Option<Anonymization>,
    /// Where the data come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo_origin: Option<String>,
    /// When it was made, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// The producer's uptime, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
    /// Whether the producer has a billing account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_billing_account: Option<bool>,
    /// Whether a threat feed lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_threat_feed: Option<bool>,
    /// Hash of the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_hash: Option<String>,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Tags of an ontology.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ontology_tags: Option<Vec<String>>,
    /// Rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Hash of the distribution profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution_profile_hash: Option<String>,
    /// Missing values, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_value_percentage: Option<f64>,
    /// Outlier score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_score: Option<f64>,
    /// Share of unique rows, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniqueness_ratio: Option<f64>,
    /// Feature set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_set_id: Option<String>,
    /// Shares for training, validation and test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<[f64; 3]>,
    /// Model it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_model_id: Option<String>,
    /// Bias score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias_score: Option<f64>,
    /// Drift score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_score: Option<f64>,
}

impl ManifestFacts {
    /// What `manifest` says. What is of another form than expected says nothing.
    pub fn of(manifest: &Value) -> Self {
        let at = |pointer: &str| manifest.pointer(pointer);
        let text = |pointer: &str| at(pointer).and_then(Value::as_str).map(str::to_owned);
        // What cannot be is not known.
        let number =
            |pointer: &str, most: f64| at(pointer).and_then(Value::as_f64).filter(|n| (0.0..=most).contains(n));
        let count = |pointer: &str| at(pointer).and_then(whole);
        let texts = |pointer: &str| {
            at(pointer)?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        let share = |name: &str| number(&format!("/content/split/{name}"), 1.0);
        let created = text("/provenance/createdAt").and_then(|t| DateTime::parse_from_rfc3339(&t).ok());
        Self {
            classification: text("/policy/classification"),
            license: text("/policy/license"),
            pii_flags: texts("/policy/pii_flags"),
            anonymization: at("/policy/anonymization").and_then(Anonymization::read),
            geo_origin: text("/provenance/geoOrigin"),
            created_at: created.map(|time| time.timestamp()),
            uptime: number("/provenance/producer/uptime", 100.0),
            has_billing_account: text("/provenance/producer/billingAccount").map(|account| !account.is_empty()),
            in_threat_feed: at("/policy/inThreatFeed").and_then(Value::as_bool),
            schema_hash: text("/content/schema/schemaHash"),
            mime_type: text("/content/mimeType"),
            size_bytes: count("/content/sizeBytes"),
            ontology_tags: texts("/content/ontologyTags"),
            row_count: count("/content/rowCount"),
            distribution_profile_hash: text("/content/distributionProfileHash"),
            null_value_percentage: number("/content/nullValuePercentage", 100.0),
            outlier_score: number("/content/outlierScore", f64::MAX),
            uniqueness_ratio: number("/content/uniquenessRatio", 1.0),
            feature_set_id: text("/content/featureSetId"),
            split: share("train").zip(share("validation")).zip(share("test")).map(|((a, b), c)| [a, b, c]),
            parent_model_id: text("/content/parentModelId"),
            bias_score: number("/content/biasScore", f64::MAX),
            drift_score: number("/content/driftScore", f64::MAX),
        }
    }
}

/// A count, however it is written: `5.0` is 5 in the canonical form of a manifest, and so for its identifier.
fn whole(value: &Value) -> Option<u64> {
    // Up to which a float tells whole numbers apart.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let written = || value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=MOST).contains(n));
    value.as_u64().or_else(|| written().map(|n| n as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_canonical_form_has_one_set_of_facts() {
        for (written, read) in [
            (json!(10), Some(10)),
            (json!(10.0), Some(10)),
            (json!(10.5), None),
            (json!(-1), None),
            (json!("10"), None),
        ] {
            let facts = ManifestFacts::of(&json!({"content": {"rowCount": written, "sizeBytes": written}}));
            assert_eq!((facts.row_count, facts.size_bytes), (read, read), "{written}");
        }
        let level = |k: Value| {
            ManifestFacts::of(&json!({"policy": {"anonymization": {"type": "k-anon", "k": k}}})).anonymization
        };
        assert_eq!(level(json!(5.0)), Some(Anonymization::KAnon { k: 5 }));
        assert_eq!(level(json!(5)), level(json!(5.0)));
        assert_eq!((level(json!(0)), level(json!(5.5)), level(json!(1e30))), (None, None, None));
    }

    #[test]
    fn what_cannot_be_is_not_known() {
        let manifest = json!({
            "policy": {"anonymization": {"type": "dp", "epsilon": -5}},
            "provenance": {"producer": {"uptime": 101}},
            "content": {"nullValuePercentage": -50, "uniquenessRatio": 5000, "outlierScore": -1, "biasScore": -0.1, "driftScore": -1,
                "split": {"train": 2, "validation": -1, "test": 0}},
        });
        assert_eq!(ManifestFacts::of(&manifest), ManifestFacts::default());
    }
}
