//! The policy document: what an ancestry is held against. Every field is optional; all that are given apply.
//!
//! Unknown fields and wrong values are refused when a policy is saved, not when it is evaluated, and all at once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::Fault;
use crate::domain::whole::{perhaps, whole};

/// A policy's rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyDocument {
    /// Least confirmations of every version.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "perhaps")]
    pub min_confs: Option<u32>,
    /// Whether recalled versions may be used; `false` forbids them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_recalled: Option<bool>,
    /// Classifications that every version must have one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification_allow_list: Option<Vec<String>>,
    /// Producers (identifiers or identity keys) that every version must come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_allow_list: Option<Vec<String>>,
    /// Producers that no version may come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_block_list: Option<Vec<String>>,
    /// Most generations of ancestors.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "perhaps")]
    pub max_lineage_depth: Option<u32>,
    /// A version that must be among the ancestors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_ancestor: Option<String>,
    /// Schema hash that the target must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_schema_hash: Option<String>,
    /// Media types that the target must have one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_mime_types: Option<Vec<String>>,
    /// Ontology tags that the target must have all of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_ontology_tags: Option<Vec<String>>,
    /// Licences that every version must have one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_allow_list: Option<Vec<String>>,
    /// Kinds of personal data that no version may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pii_flags_block_list: Option<Vec<String>>,
    /// Origins that every version must have one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo_origin_allow_list: Option<Vec<String>>,
    /// Most satoshis for a byte of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_price_per_byte: Option<f64>,
    /// Most satoshis for a unit of every version together.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "perhaps")]
    pub max_total_cost_for_lineage: Option<u64>,
    /// Oldest that the target may be, seconds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "perhaps")]
    pub max_data_age_seconds: Option<u64>,
    /// Whether the target's producer must have a billing account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_billing_account: Option<bool>,
    /// Least uptime of the target's producer, percent. Soft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_producer_uptime: Option<f64>,
    /// Least rows of the target.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "perhaps")]
    pub min_row_count: Option<u64>,
    /// Most rows of the target.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "perhaps")]
    pub max_row_count: Option<u64>,
    /// Hash of the distribution profile that the target must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_distribution_profile_hash: Option<String>,
    /// Most missing values of the target, percent. Soft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_null_value_percentage: Option<f64>,
    /// Highest outlier score of the target. Soft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_outlier_score: Option<f64>,
    /// Least share of unique rows of the target, 0 to 1. Soft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_uniqueness_ratio: Option<f64>,
    /// Feature set that the target must be of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_feature_set_id: Option<String>,
    /// Whether the target must be split into parts for training, validation and test that add up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_valid_split: Option<bool>,
    /// Model that the target must be made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_parent_model_id: Option<String>,
    /// Highest bias score of the target. Soft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bias_score: Option<f64>,
    /// Highest drift score of the target. Soft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drift_score: Option<f64>,
    /// Whether versions that a threat feed lists are forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_if_in_threat_feed: Option<bool>,
    /// How well the target must be anonymised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_anonymization_level: Option<Anonymization>,
}

/// A level of anonymisation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Anonymization {
    /// Everybody is like `k` - 1 others.
    #[serde(rename = "k-anon")]
    KAnon {
        /// At least 1.
        #[serde(deserialize_with = "whole")]
        k: u32,
    },
    /// Differential privacy with a budget of `epsilon`: the less, the better.
    #[serde(rename = "dp")]
    Dp {
        /// Above 0.
        epsilon: f64,
    },
}

impl Anonymization {
    /// The level that a manifest names; `None` when there is no such level.
    pub(super) fn read(level: &Value) -> Option<Self> {
        let read: Self = serde_json::from_value(level.clone()).ok()?;
        read.fault().is_none().then_some(read)
    }

    /// Why there is no such level.
    fn fault(self) -> Option<&'static str> {
        match self {
            Self::KAnon { k: 0 } => Some("`k` must be 1 or more"),
            Self::Dp { epsilon } if !(epsilon.is_finite() && epsilon > 0.0) => Some("`epsilon` must be above 0"),
            _ => None,
        }
    }
}

/// Most entries of a list, and the longest text, characters.
const MAX_ENTRIES: usize = 1_000;
const MAX_TEXT: usize = 200;

impl PolicyDocument {
    /// Reads a document.
    ///
    /// # Errors
    /// All faults found, by field.
    pub fn parse(document: &Value) -> Result<Self, Vec<Fault>> {
        let fault = |pointer: String, rule: String| Fault { pointer, rule };
        let Value::Object(fields) = document else {
            return Err(vec![fault(String::new(), "must be an object".into())]);
        };
        // Field by field, so that one fault does not hide the next.
        let mut faults = Vec::new();
        let mut good = Map::new();
        for (name, value) in fields {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let one = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
            match serde_json::from_value::<Self>(one) {
                // `null` is read as absent, and means nothing.
                Ok(read) if read == Self::default() => faults.push(fault(pointer, "must not be null".into())),
                Ok(read) => match read.range() {
                    Some(rule) => faults.push(fault(pointer, rule)),
                    None => drop(good.insert(name.clone(), value.clone())),
                },
                Err(cause) if cause.to_string().starts_with(&format!("unknown field `{name}`")) => {
                    faults.push(fault(pointer, "is not a field of a policy".into()));
                }
                Err(cause) => faults.push(fault(pointer, cause.to_string())),
            }
        }
        let read: Self = serde_json::from_value(Value::Object(good)).unwrap_or_default();
        if read.min_row_count.zip(read.max_row_count).is_some_and(|(least, most)| least > most) {
            faults.push(fault("/minRowCount".into(), "must not be above maxRowCount".into()));
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// Why a document of one field is out of range.
    fn range(&self) -> Option<String> {
        let lists = [
            &self.classification_allow_list,
            &self.producer_allow_list,
            &self.producer_block_list,
            &self.required_mime_types,
            &self.required_ontology_tags,
            &self.license_allow_list,
            &self.pii_flags_block_list,
            &self.geo_origin_allow_list,
        ];
        let is_text = |text: &String| !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.contains('\0');
        let is_list = |list: &&Vec<String>| list.len() <= MAX_ENTRIES && list.iter().all(is_text);
        if !lists.into_iter().flatten().all(|list| is_list(&list)) {
            return Some(format!("must be a list of at most {MAX_ENTRIES} texts of 1 to {MAX_TEXT} characters"));
        }
        let hashes = [&self.required_ancestor, &self.required_schema_hash, &self.required_distribution_profile_hash];
        let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hashes.into_iter().flatten().all(is_hash) {
            return Some("must be 64 lower-case hex digits".into());
        }
        if ![&self.required_feature_set_id, &self.required_parent_model_id].into_iter().flatten().all(is_text) {
            return Some(format!("must be a text of 1 to {MAX_TEXT} characters"));
        }
        if [self.min_producer_uptime, self.max_null_value_percentage]
            .into_iter()
            .flatten()
            .any(|n| !(0.0..=100.0).contains(&n))
        {
            return Some("must be a percentage, 0 to 100".into());
        }
        if self.min_uniqueness_ratio.is_some_and(|n| !(0.0..=1.0).contains(&n)) {
            return Some("must be a ratio, 0 to 1".into());
        }
        let scores = [self.max_price_per_byte, self.max_outlier_score, self.max_bias_score, self.max_drift_score];
        if scores.into_iter().flatten().any(|n| !n.is_finite() || n < 0.0) {
            return Some("must be a number, 0 or more".into());
        }
        let producers = [&self.producer_allow_list, &self.producer_block_list];
        // It would match nobody: keys are kept in lower case.
        let is_miswritten = |text: &String| {
            text.len() == 66
                && text.bytes().all(|b| b.is_ascii_hexdigit())
                && text.bytes().any(|b| b.is_ascii_uppercase())
        };
        if producers.into_iter().flatten().flatten().any(is_miswritten) {
            return Some("identity keys must be written in lower-case hex digits".into());
        }
        self.min_anonymization_level.and_then(|level| level.fault().map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(document: &Value) -> String {
        PolicyDocument::parse(document).expect_err("a fault").remove(0).to_string()
    }

    #[test]
    fn a_fault_is_told_as_what_it_is() {
        let key = format!("02{}", "AB".repeat(32));
        for list in ["producerBlockList", "producerAllowList"] {
            assert!(rule(&json!({list: ["prd_1", key]})).contains("lower-case"), "{list}");
            assert!(PolicyDocument::parse(&json!({list: ["prd_1", key.to_lowercase()]})).is_ok());
        }
        let inner = rule(&json!({"minAnonymizationLevel": {"type": "k-anon", "k": 5, "epsilon": 1}}));
        assert!(inner.contains("epsilon") && !inner.contains("is not a field of a policy"), "{inner}");
        let level = |k: serde_json::Value| json!({"minAnonymizationLevel": {"type": "k-anon", "k": k}});
        assert!(PolicyDocument::parse(&level(json!(5.0))).is_ok());
        assert!(rule(&level(json!(5.5))).contains("whole"), "{}", rule(&level(json!(5.5))));
        assert_eq!(rule(&json!({"nonsense": 1})), "/nonsense: is not a field of a policy");
    }
}
