//! The evaluator: a document and facts in, a decision with its evidence out. Pure, and the same for the same input in any
//! order, so that an audit can be evaluated again to the same bytes.
//!
//! A check that asks what may be used at all (confirmations, recalls, classification, producer, licence, personal data,
//! origin, threat feed) looks at **every version** of the ancestry. One that asks what the target is good for (content,
//! quality, fitness for training, age and price) looks at **the target** alone: raw data need not be what a model is.
//! Depth, required ancestors and total cost are about the ancestry as a whole.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{Anonymization, PolicyDocument};
use super::facts::{Facts, NodeFacts};

/// What a policy decides; the worse, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Nothing speaks against it.
    Allow,
    /// Only soft constraints are not met.
    Warn,
    /// A hard constraint is not met.
    Block,
}

impl Decision {
    /// As the audit and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The constraint holds.
    Met,
    /// Its input is missing, so it does not hold.
    Unknown,
    /// It does not hold.
    Violated,
}

/// What a check compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The document's field.
    pub check: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What the document asks for.
    pub expected: Value,
    /// What there is: of the target, or of the whole ancestry; of a check on every version the number of versions, and of
    /// confirmations the fewest that one of them has.
    pub actual: Value,
    /// Versions that do not meet it, by identifier, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub version_ids: Vec<String>,
    /// How many do not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub count: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What the policy decides.
    pub decision: Decision,
    /// Codes of the hard constraints that do not hold, sorted.
    pub reasons: Vec<String>,
    /// Codes of the soft ones.
    pub warnings: Vec<String>,
    /// Every check that ran, in the order of the document's fields.
    pub evidence: Vec<Evidence>,
}

/// Most versions that are named.
const MOST_NAMED: usize = 20;

/// How much a constraint weighs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Hard,
    Soft,
}

use Weight::{Hard, Soft};

/// Evaluates a document over facts.
pub fn evaluate(document: &PolicyDocument, facts: &Facts) -> Evaluation {
    let mut run = Run::default();
    for_every_version(&mut run, document, facts);
    for_the_ancestry(&mut run, document, facts);
    for_the_target(&mut run, document, facts);
    run.finish()
}

/// Evaluates what a row of the catalogue can tell: classification, licence, personal data, producer, media type and age.
/// The other constraints are not looked at, so this promises nothing but to be no stricter than [`evaluate`].
pub fn preview(document: &PolicyDocument, row: NodeFacts, now: i64) -> Evaluation {
    let known = PolicyDocument {
        classification_allow_list: document.classification_allow_list.clone(),
        producer_allow_list: document.producer_allow_list.clone(),
        producer_block_list: document.producer_block_list.clone(),
        license_allow_list: document.license_allow_list.clone(),
        pii_flags_block_list: document.pii_flags_block_list.clone(),
        required_mime_types: document.required_mime_types.clone(),
        max_data_age_seconds: document.max_data_age_seconds,
        ..PolicyDocument::default()
    };
    evaluate(&known, &Facts { evaluated_at: now, target: row, ancestors: Vec::new() })
}

/// How far ahead of ours another clock may be, seconds.
const MAX_SKEW: i64 = 600;

fn for_every_version(run: &mut Run, document: &PolicyDocument, facts: &Facts) {
    if let Some(least) = document.min_confs {
        let fewest = std::iter::once(&facts.target).chain(&facts.ancestors).map(|node| node.confirmations).min();
        let holds = |node: &NodeFacts| Some(node.confirmations >= least);
        run.every("minConfs", "POLICY.SPV.CONFS_TOO_LOW", (json!(least), json!(fewest)), facts, &holds);
    }
    let mut each = |check, code, expected: Value, holds: &dyn Fn(&NodeFacts) -> Option<bool>| {
        run.every(check, code, (expected, json!(1 + facts.ancestors.len())), facts, holds);
    };
    if document.allow_recalled == Some(false) {
        each("allowRecalled", "POLICY.SPV.RECALLED_BLOCKED", json!(false), &|node| Some(!node.is_recalled));
    }
    if let Some(list) = &document.classification_allow_list {
        each("classificationAllowList", "POLICY.PROVENANCE.CLASSIFICATION_NOT_ALLOWED", sorted(list), &|node| {
            Some(list.contains(node.said.classification.as_ref()?))
        });
    }
    if let Some(list) = &document.producer_allow_list {
        each("producerAllowList", "POLICY.PRODUCER.NOT_ALLOWED", sorted(list), &|node| is_by(node, list));
    }
    if let Some(list) = &document.producer_block_list {
        each("producerBlockList", "POLICY.PRODUCER.BLOCK_LISTED", sorted(list), &|node| {
            is_by(node, list).map(|listed| !listed)
        });
    }
    if let Some(list) = &document.license_allow_list {
        each("licenseAllowList", "POLICY.COMPLIANCE.LICENSE_NOT_ALLOWED", sorted(list), &|node| {
            Some(list.contains(node.said.license.as_ref()?))
        });
    }
    if let Some(list) = &document.pii_flags_block_list {
        each("piiFlagsBlockList", "POLICY.COMPLIANCE.PII_BLOCKED", sorted(list), &|node| {
            Some(!node.said.pii_flags.as_ref()?.iter().any(|flag| list.contains(flag)))
        });
    }
    if let Some(list) = &document.geo_origin_allow_list {
        each("geoOriginAllowList", "POLICY.COMPLIANCE.GEO_NOT_ALLOWED", sorted(list), &|node| {
            Some(list.contains(node.said.geo_origin.as_ref()?))
        });
    }
    if document.block_if_in_threat_feed == Some(true) {
        each("blockIfInThreatFeed", "POLICY.SEC.THREAT_FEED_BLOCK", json!(true), &|node| {
            node.said.in_threat_feed.map(|listed| !listed)
        });
    }
}

fn for_the_ancestry(run: &mut Run, document: &PolicyDocument, facts: &Facts) {
    if let Some(most) = document.max_lineage_depth {
        let deepest = facts.ancestors.iter().map(|node| node.depth).max().unwrap_or(0);
        run.one("maxLineageDepth", "POLICY.LINEAGE.TOO_DEEP", Hard, json!(most), json!(deepest), Some(deepest <= most));
    }
    if let Some(wanted) = &document.required_ancestor {
        let found = facts.ancestors.iter().any(|node| node.version_id == *wanted);
        let code = "POLICY.LINEAGE.MISSING_ANCESTOR";
        run.one("requiredAncestor", code, Hard, json!(wanted), json!(found), Some(found));
    }
    if let Some(most) = document.max_total_cost_for_lineage {
        let prices = std::iter::once(&facts.target).chain(&facts.ancestors).map(|node| node.price);
        // Prices are positive and below 21 million coins, and there are thousands of them at most.
        let total = prices.map(|price| price.map(i128::from)).sum::<Option<i128>>();
        let code = "POLICY.ECON.LINEAGE_COST_EXCEEDED";
        let actual = json!(total.map(|total| i64::try_from(total).unwrap_or(i64::MAX)));
        run.one(
            "maxTotalCostForLineage",
            code,
            Hard,
            json!(most),
            actual,
            total.map(|total| total <= i128::from(most)),
        );
    }
}

fn for_the_target(run: &mut Run, document: &PolicyDocument, facts: &Facts) {
    let (target, said) = (&facts.target, &facts.target.said);
    if let Some(wanted) = &document.required_schema_hash {
        run.equal("requiredSchemaHash", "POLICY.CONTENT.SCHEMA_MISMATCH", wanted, said.schema_hash.as_ref());
    }
    if let Some(list) = &document.required_mime_types {
        let holds = said.mime_type.as_ref().map(|mime| list.contains(mime));
        let code = "POLICY.CONTENT.MIME_NOT_ALLOWED";
        run.one("requiredMimeTypes", code, Hard, sorted(list), json!(said.mime_type), holds);
    }
    if let Some(list) = &document.required_ontology_tags {
        let holds = said.ontology_tags.as_ref().map(|tags| list.iter().all(|tag| tags.contains(tag)));
        let actual = said.ontology_tags.as_ref().map(|tags| sorted(tags));
        run.one("requiredOntologyTags", "POLICY.CONTENT.TAGS_MISSING", Hard, sorted(list), json!(actual), holds);
    }
    if let Some(most) = document.max_price_per_byte {
        let size = said.size_bytes.filter(|size| *size > 0);
        let per_byte = target.price.zip(size).map(|(price, size)| price as f64 / size as f64);
        run.at_most("maxPricePerByte", "POLICY.ECON.PRICE_PER_BYTE_EXCEEDED", Hard, most, per_byte);
    }
    if let Some(most) = document.max_data_age_seconds {
        // What is from the future is of no age that is known; clocks differ a little.
        let age = said.created_at.map(|created| facts.evaluated_at.saturating_sub(created));
        let age = age.filter(|age| *age >= -MAX_SKEW).map(|age| age.max(0).unsigned_abs());
        let code = "POLICY.ECON.DATA_TOO_OLD";
        run.one("maxDataAgeSeconds", code, Hard, json!(most), json!(age), age.map(|age| age <= most));
    }
    if document.requires_billing_account == Some(true) {
        let (code, has) = ("POLICY.ECON.BILLING_REQUIRED", said.has_billing_account);
        run.one("requiresBillingAccount", code, Hard, json!(true), json!(has), has);
    }
    if let Some(least) = document.min_producer_uptime {
        run.at_least("minProducerUptime", "POLICY.ECON.UPTIME_TOO_LOW", Soft, least, said.uptime);
    }
    let rows = said.row_count;
    if let Some(least) = document.min_row_count {
        let holds = rows.map(|rows| rows >= least);
        run.one("minRowCount", "POLICY.QA.ROWS_TOO_FEW", Hard, json!(least), json!(rows), holds);
    }
    if let Some(most) = document.max_row_count {
        let holds = rows.map(|rows| rows <= most);
        run.one("maxRowCount", "POLICY.QA.ROWS_TOO_MANY", Hard, json!(most), json!(rows), holds);
    }
    if let Some(wanted) = &document.required_distribution_profile_hash {
        let code = "POLICY.QA.PROFILE_HASH_MISMATCH";
        run.equal("requiredDistributionProfileHash", code, wanted, said.distribution_profile_hash.as_ref());
    }
    if let Some(most) = document.max_null_value_percentage {
        let code = "POLICY.QA.NULL_PERCENT_EXCEEDED";
        run.at_most("maxNullValuePercentage", code, Soft, most, said.null_value_percentage);
    }
    if let Some(most) = document.max_outlier_score {
        run.at_most("maxOutlierScore", "POLICY.QA.OUTLIER_TOO_HIGH", Soft, most, said.outlier_score);
    }
    if let Some(least) = document.min_uniqueness_ratio {
        run.at_least("minUniquenessRatio", "POLICY.QA.UNIQUENESS_TOO_LOW", Soft, least, said.uniqueness_ratio);
    }
    for_models(run, document, facts);
}

fn for_models(run: &mut Run, document: &PolicyDocument, facts: &Facts) {
    let said = &facts.target.said;
    if let Some(wanted) = &document.required_feature_set_id {
        run.equal("requiredFeatureSetId", "POLICY.MLOPS.FEATURE_SET_MISSING", wanted, said.feature_set_id.as_ref());
    }
    if document.requires_valid_split == Some(true) {
        let holds = said.split.map(is_split);
        let code = "POLICY.MLOPS.SPLIT_INVALID";
        run.one("requiresValidSplit", code, Hard, json!(true), json!(said.split), holds);
    }
    if let Some(wanted) = &document.required_parent_model_id {
        let code = "POLICY.MLOPS.PARENT_MODEL_MISMATCH";
        run.equal("requiredParentModelId", code, wanted, said.parent_model_id.as_ref());
    }
    if let Some(most) = document.max_bias_score {
        run.at_most("maxBiasScore", "POLICY.MLOPS.BIAS_TOO_HIGH", Soft, most, said.bias_score);
    }
    if let Some(most) = document.max_drift_score {
        run.at_most("maxDriftScore", "POLICY.MLOPS.DRIFT_TOO_HIGH", Soft, most, said.drift_score);
    }
    if let Some(wanted) = document.min_anonymization_level {
        // One kind of anonymisation says nothing about the other.
        let holds = said.anonymization.map(|level| match (wanted, level) {
            (Anonymization::KAnon { k: least }, Anonymization::KAnon { k }) => k >= least,
            (Anonymization::Dp { epsilon: most }, Anonymization::Dp { epsilon }) => epsilon <= most,
            _ => false,
        });
        let code = "POLICY.SEC.ANON_LEVEL_TOO_LOW";
        run.one("minAnonymizationLevel", code, Hard, json!(wanted), json!(said.anonymization), holds);
    }
}

/// Whether the node's producer is listed, by identifier or by key; unknown when neither is known and it might be.
fn is_by(node: &NodeFacts, list: &[String]) -> Option<bool> {
    let names = [&node.producer_id, &node.identity_key];
    let is_listed = names.into_iter().flatten().any(|name| list.contains(name));
    (is_listed || names.into_iter().all(Option::is_some)).then_some(is_listed)
}

/// Three parts, none of them empty, that make one whole: as shares or as percentages.
fn is_split(parts: [f64; 3]) -> bool {
    let whole: f64 = parts.iter().sum();
    parts.iter().all(|part| *part > 0.0) && [1.0, 100.0].iter().any(|one| (whole - one).abs() <= one * 1e-6)
}

/// Lists are sets: their order and repetitions leave no trace.
fn sorted(list: &[String]) -> Value {
    json!(list.iter().collect::<BTreeSet<_>>())
}

/// An evaluation under way.
#[derive(Default)]
struct Run {
    reasons: BTreeSet<String>,
    warnings: BTreeSet<String>,
    evidence: Vec<Evidence>,
}

impl Run {
    /// A check on one value; `holds` is `None` when the value is missing.
    fn one(&mut self, check: &str, code: &str, weight: Weight, expected: Value, actual: Value, holds: Option<bool>) {
        let outcome = match holds {
            Some(true) => Outcome::Met,
            Some(false) => Outcome::Violated,
            None => Outcome::Unknown,
        };
        self.note(code, weight, outcome);
        let check = check.to_owned();
        self.evidence.push(Evidence { check, outcome, expected, actual, version_ids: Vec::new(), count: 0 });
    }

    fn equal(&mut self, check: &str, code: &str, wanted: &String, actual: Option<&String>) {
        self.one(check, code, Hard, json!(wanted), json!(actual), actual.map(|actual| actual == wanted));
    }

    fn at_most(&mut self, check: &str, code: &str, weight: Weight, most: f64, actual: Option<f64>) {
        self.one(check, code, weight, json!(most), json!(actual), actual.map(|actual| actual <= most));
    }

    fn at_least(&mut self, check: &str, code: &str, weight: Weight, least: f64, actual: Option<f64>) {
        self.one(check, code, weight, json!(least), json!(actual), actual.map(|actual| actual >= least));
    }

    /// A check on every version: a version that violates it weighs more than one of which it is not known.
    fn every(
        &mut self, check: &str, code: &str, (expected, actual): (Value, Value), facts: &Facts,
        holds: &dyn Fn(&NodeFacts) -> Option<bool>,
    ) {
        let nodes = || std::iter::once(&facts.target).chain(&facts.ancestors);
        let of = |wanted: Option<bool>| -> BTreeSet<&String> {
            nodes().filter(|node| holds(node) == wanted).map(|node| &node.version_id).collect()
        };
        let (violating, unknown) = (of(Some(false)), of(None));
        let (outcome, offending) = match (violating.is_empty(), unknown.is_empty()) {
            (false, _) => (Outcome::Violated, violating),
            (true, false) => (Outcome::Unknown, unknown),
            (true, true) => (Outcome::Met, violating),
        };
        self.note(code, Hard, outcome);
        self.evidence.push(Evidence {
            check: check.to_owned(),
            outcome,
            expected,
            actual,
            count: offending.len(),
            version_ids: offending.into_iter().take(MOST_NAMED).cloned().collect(),
        });
    }

    fn note(&mut self, code: &str, weight: Weight, outcome: Outcome) {
        let list = if weight == Hard { &mut self.reasons } else { &mut self.warnings };
        match outcome {
            Outcome::Met => {}
            Outcome::Violated => drop(list.insert(code.to_owned())),
            Outcome::Unknown => drop(list.insert(format!("{code}.UNKNOWN"))),
        }
    }

    fn finish(self) -> Evaluation {
        let decision = match (self.reasons.is_empty(), self.warnings.is_empty()) {
            (false, _) => Decision::Block,
            (true, false) => Decision::Warn,
            (true, true) => Decision::Allow,
        };
        let list = |codes: BTreeSet<String>| codes.into_iter().collect();
        Evaluation { decision, reasons: list(self.reasons), warnings: list(self.warnings), evidence: self.evidence }
    }
}

#[cfg(test)]
mod tests;
