//! What each field of a document is tried with.

use serde_json::{Value, json};

use super::super::super::facts::{Facts, ManifestFacts, NodeFacts};

pub(super) fn id(n: u32) -> String {
    format!("{n:064x}")
}

/// A manifest about which everything is known.
fn manifest() -> Value {
    json!({
        "policy": {"classification": "public", "license": "MIT", "pii_flags": ["email"],
            "anonymization": {"type": "k-anon", "k": 10}, "inThreatFeed": false},
        "provenance": {"geoOrigin": "DE", "createdAt": "2026-01-01T00:00:00Z",
            "producer": {"uptime": 99.5, "billingAccount": "acct"}},
        "content": {"schema": {"schemaHash": id(7)}, "mimeType": "text/csv", "sizeBytes": 1000, "ontologyTags": ["a", "b"],
            "rowCount": 500, "distributionProfileHash": id(8), "nullValuePercentage": 5.0, "outlierScore": 0.2,
            "uniquenessRatio": 0.9, "featureSetId": "fs", "split": {"train": 0.8, "validation": 0.1, "test": 0.1},
            "parentModelId": "pm", "biasScore": 0.1, "driftScore": 0.2},
    })
}

fn node(n: u32, depth: u32) -> NodeFacts {
    NodeFacts {
        version_id: id(n),
        depth,
        confirmations: 10,
        is_recalled: false,
        producer_id: Some("prd_1".into()),
        identity_key: Some("02ab".into()),
        price: Some(100),
        said: ManifestFacts::of(&manifest()),
    }
}

/// A target, its parent, and two grandparents; a day old.
pub(super) fn facts() -> Facts {
    Facts { evaluated_at: 1_767_312_000, target: node(1, 0), ancestors: vec![node(2, 1), node(3, 2), node(4, 2)] }
}

pub(super) type Edit = fn(&mut Facts);

/// Field, a value that is met, one that is violated, how its input goes missing (if it can), the code, whether it is soft,
/// and how a grandparent alone violates the first value, for checks on every version.
pub(super) type Row = (&'static str, Value, Value, Option<Edit>, &'static str, bool, Option<Edit>);

pub(super) fn table() -> Vec<Row> {
    let far = |edit: Edit| Some(edit);
    vec![
        ("minConfs", json!(10), json!(11), None, "SPV.CONFS_TOO_LOW", false, far(|f| f.ancestors[2].confirmations = 9)),
        ("allowRecalled", json!(true), json!(false), None, "SPV.RECALLED_BLOCKED", false, None),
        (
            "classificationAllowList",
            json!(["public"]),
            json!(["internal"]),
            Some(|f| f.ancestors[1].said.classification = None),
            "PROVENANCE.CLASSIFICATION_NOT_ALLOWED",
            false,
            far(|f| f.ancestors[2].said.classification = Some("restricted".into())),
        ),
        (
            "producerAllowList",
            json!(["02ab"]),
            json!(["prd_2"]),
            Some(|f| (f.target.producer_id, f.target.identity_key) = (None, None)),
            "PRODUCER.NOT_ALLOWED",
            false,
            far(|f| f.ancestors[2].identity_key = Some("03".into())),
        ),
        (
            "producerBlockList",
            json!(["prd_2"]),
            json!(["prd_1"]),
            Some(|f| f.target.identity_key = None),
            "PRODUCER.BLOCK_LISTED",
            false,
            far(|f| f.ancestors[2].producer_id = Some("prd_2".into())),
        ),
        ("maxLineageDepth", json!(2), json!(1), None, "LINEAGE.TOO_DEEP", false, None),
        ("requiredAncestor", json!(id(4)), json!(id(1)), None, "LINEAGE.MISSING_ANCESTOR", false, None),
        (
            "requiredSchemaHash",
            json!(id(7)),
            json!(id(8)),
            Some(|f| f.target.said.schema_hash = None),
            "CONTENT.SCHEMA_MISMATCH",
            false,
            None,
        ),
        (
            "requiredMimeTypes",
            json!(["a/b", "text/csv"]),
            json!(["a/b"]),
            Some(|f| f.target.said.mime_type = None),
            "CONTENT.MIME_NOT_ALLOWED",
            false,
            None,
        ),
        (
            "requiredOntologyTags",
            json!(["b", "a"]),
            json!(["a", "c"]),
            Some(|f| f.target.said.ontology_tags = None),
            "CONTENT.TAGS_MISSING",
            false,
            None,
        ),
        (
            "licenseAllowList",
            json!(["MIT"]),
            json!(["CC0-1.0"]),
            Some(|f| f.ancestors[0].said.license = None),
            "COMPLIANCE.LICENSE_NOT_ALLOWED",
            false,
            far(|f| f.ancestors[2].said.license = Some("GPL".into())),
        ),
        (
            "piiFlagsBlockList",
            json!(["name"]),
            json!(["email"]),
            Some(|f| f.ancestors[0].said.pii_flags = None),
            "COMPLIANCE.PII_BLOCKED",
            false,
            far(|f| f.ancestors[2].said.pii_flags = Some(vec!["name".into()])),
        ),
        (
            "geoOriginAllowList",
            json!(["DE"]),
            json!(["SE"]),
            Some(|f| f.ancestors[0].said.geo_origin = None),
            "COMPLIANCE.GEO_NOT_ALLOWED",
            false,
            far(|f| f.ancestors[2].said.geo_origin = Some("US".into())),
        ),
        (
            "maxPricePerByte",
            json!(0.1),
            json!(0.0999),
            Some(|f| f.target.said.size_bytes = Some(0)),
            "ECON.PRICE_PER_BYTE_EXCEEDED",
            false,
            None,
        ),
        (
            "maxTotalCostForLineage",
            json!(400),
            json!(399),
            Some(|f| f.ancestors[0].price = None),
            "ECON.LINEAGE_COST_EXCEEDED",
            false,
            None,
        ),
        (
            "maxDataAgeSeconds",
            json!(86_400),
            json!(86_399),
            Some(|f| f.target.said.created_at = None),
            "ECON.DATA_TOO_OLD",
            false,
            None,
        ),
        (
            "requiresBillingAccount",
            json!(true),
            Value::Null,
            Some(|f| f.target.said.has_billing_account = None),
            "ECON.BILLING_REQUIRED",
            false,
            None,
        ),
        (
            "minProducerUptime",
            json!(99.5),
            json!(99.6),
            Some(|f| f.target.said.uptime = None),
            "ECON.UPTIME_TOO_LOW",
            true,
            None,
        ),
        (
            "minRowCount",
            json!(500),
            json!(501),
            Some(|f| f.target.said.row_count = None),
            "QA.ROWS_TOO_FEW",
            false,
            None,
        ),
        (
            "maxRowCount",
            json!(500),
            json!(499),
            Some(|f| f.target.said.row_count = None),
            "QA.ROWS_TOO_MANY",
            false,
            None,
        ),
        (
            "requiredDistributionProfileHash",
            json!(id(8)),
            json!(id(9)),
            Some(|f| f.target.said.distribution_profile_hash = None),
            "QA.PROFILE_HASH_MISMATCH",
            false,
            None,
        ),
        (
            "maxNullValuePercentage",
            json!(5),
            json!(4.9),
            Some(|f| f.target.said.null_value_percentage = None),
            "QA.NULL_PERCENT_EXCEEDED",
            true,
            None,
        ),
        (
            "maxOutlierScore",
            json!(0.2),
            json!(0.1),
            Some(|f| f.target.said.outlier_score = None),
            "QA.OUTLIER_TOO_HIGH",
            true,
            None,
        ),
        (
            "minUniquenessRatio",
            json!(0.9),
            json!(0.91),
            Some(|f| f.target.said.uniqueness_ratio = None),
            "QA.UNIQUENESS_TOO_LOW",
            true,
            None,
        ),
        (
            "requiredFeatureSetId",
            json!("fs"),
            json!("other"),
            Some(|f| f.target.said.feature_set_id = None),
            "MLOPS.FEATURE_SET_MISSING",
            false,
            None,
        ),
        (
            "requiresValidSplit",
            json!(true),
            Value::Null,
            Some(|f| f.target.said.split = None),
            "MLOPS.SPLIT_INVALID",
            false,
            None,
        ),
        (
            "requiredParentModelId",
            json!("pm"),
            json!("other"),
            Some(|f| f.target.said.parent_model_id = None),
            "MLOPS.PARENT_MODEL_MISMATCH",
            false,
            None,
        ),
        (
            "maxBiasScore",
            json!(0.1),
            json!(0.0),
            Some(|f| f.target.said.bias_score = None),
            "MLOPS.BIAS_TOO_HIGH",
            true,
            None,
        ),
        (
            "maxDriftScore",
            json!(0.2),
            json!(0.1),
            Some(|f| f.target.said.drift_score = None),
            "MLOPS.DRIFT_TOO_HIGH",
            true,
            None,
        ),
        (
            "blockIfInThreatFeed",
            json!(true),
            Value::Null,
            Some(|f| f.ancestors[0].said.in_threat_feed = None),
            "SEC.THREAT_FEED_BLOCK",
            false,
            far(|f| f.ancestors[2].said.in_threat_feed = Some(true)),
        ),
        (
            "minAnonymizationLevel",
            json!({"type": "k-anon", "k": 10}),
            json!({"type": "k-anon", "k": 11}),
            Some(|f| f.target.said.anonymization = None),
            "SEC.ANON_LEVEL_TOO_LOW",
            false,
            None,
        ),
    ]
}

/// Checks that a row's own value cannot violate: the facts do.
pub(super) const BY_FACTS: [(&str, Edit); 3] = [
    ("requiresBillingAccount", |f| f.target.said.has_billing_account = Some(false)),
    ("requiresValidSplit", |f| f.target.said.split = Some([0.8, 0.1, 0.2])),
    ("blockIfInThreatFeed", |f| f.target.said.in_threat_feed = Some(true)),
];
