//! Every field of a document: met, violated, unknown; and what holds for every evaluation.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::document::PolicyDocument;
use super::super::facts::{Facts, ManifestFacts, NodeFacts};
use super::*;

fn id(n: u32) -> String {
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
fn facts() -> Facts {
    Facts { evaluated_at: 1_767_312_000, target: node(1, 0), ancestors: vec![node(2, 1), node(3, 2), node(4, 2)] }
}

fn run(document: &Value, facts: &Facts) -> Evaluation {
    evaluate(&PolicyDocument::parse(document).unwrap_or_else(|faults| panic!("{faults:?}")), facts)
}

type Edit = fn(&mut Facts);

/// Field, a value that is met, one that is violated, how its input goes missing (if it can), the code, whether it is soft,
/// and how a grandparent alone violates the first value, for checks on every version.
type Row = (&'static str, Value, Value, Option<Edit>, &'static str, bool, Option<Edit>);

fn table() -> Vec<Row> {
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
const BY_FACTS: [(&str, Edit); 3] = [
    ("requiresBillingAccount", |f| f.target.said.has_billing_account = Some(false)),
    ("requiresValidSplit", |f| f.target.said.split = Some([0.8, 0.1, 0.2])),
    ("blockIfInThreatFeed", |f| f.target.said.in_threat_feed = Some(true)),
];

#[test]
fn every_field_is_met_violated_and_unknown() {
    for (field, met, violated, missing, code, soft, far) in table() {
        let code = format!("POLICY.{code}");
        let expect = |document: &Value, facts: &Facts, codes: &[String]| {
            let found = run(document, facts);
            let (listed, other) =
                if soft { (&found.warnings, &found.reasons) } else { (&found.reasons, &found.warnings) };
            assert_eq!((&listed[..], other.is_empty()), (codes, true), "{field}: {document}");
            let worst = if soft { Decision::Warn } else { Decision::Block };
            assert_eq!(found.decision, if codes.is_empty() { Decision::Allow } else { worst });
            found
        };
        let found = expect(&json!({field: met}), &facts(), &[]);
        if field != "allowRecalled" {
            assert_eq!((found.evidence.len(), found.evidence[0].check.as_str()), (1, field));
            assert_eq!((found.evidence[0].outcome, found.evidence[0].count), (Outcome::Met, 0));
        }
        let mut by_facts = facts();
        let document = match BY_FACTS.iter().find(|(name, _)| *name == field) {
            Some((_, edit)) => {
                edit(&mut by_facts);
                json!({field: met})
            }
            None => json!({field: violated}),
        };
        if field == "allowRecalled" {
            by_facts.ancestors[2].is_recalled = true;
            expect(&json!({field: true}), &by_facts, &[]);
        }
        let found = expect(&document, &by_facts, std::slice::from_ref(&code));
        assert_eq!(found.evidence[0].outcome, Outcome::Violated);
        if let Some(missing) = missing {
            let mut facts = facts();
            missing(&mut facts);
            let found = expect(&json!({field: met}), &facts, &[format!("{code}.UNKNOWN")]);
            assert_eq!(found.evidence[0].outcome, Outcome::Unknown);
        }
        if let Some(far) = far {
            let mut facts = facts();
            if field == "producerAllowList" {
                facts.ancestors[2].producer_id = Some("prd_9".into());
            }
            far(&mut facts);
            let found = expect(&json!({field: met}), &facts, &[code]);
            assert_eq!((&found.evidence[0].version_ids, found.evidence[0].count), (&vec![id(4)], 1), "{field}");
        }
    }
}

/// A field that comes without a row above fails here.
#[test]
fn every_field_of_a_document_has_a_row() {
    let rows = table();
    let all: Map<String, Value> = rows.iter().map(|row| (row.0.to_owned(), row.1.clone())).collect();
    let document = PolicyDocument::parse(&Value::Object(all.clone())).expect("all at once");
    let PolicyDocument {
        min_confs: Some(_),
        allow_recalled: Some(_),
        classification_allow_list: Some(_),
        producer_allow_list: Some(_),
        producer_block_list: Some(_),
        max_lineage_depth: Some(_),
        required_ancestor: Some(_),
        required_schema_hash: Some(_),
        required_mime_types: Some(_),
        required_ontology_tags: Some(_),
        license_allow_list: Some(_),
        pii_flags_block_list: Some(_),
        geo_origin_allow_list: Some(_),
        max_price_per_byte: Some(_),
        max_total_cost_for_lineage: Some(_),
        max_data_age_seconds: Some(_),
        requires_billing_account: Some(_),
        min_producer_uptime: Some(_),
        min_row_count: Some(_),
        max_row_count: Some(_),
        required_distribution_profile_hash: Some(_),
        max_null_value_percentage: Some(_),
        max_outlier_score: Some(_),
        min_uniqueness_ratio: Some(_),
        required_feature_set_id: Some(_),
        requires_valid_split: Some(_),
        required_parent_model_id: Some(_),
        max_bias_score: Some(_),
        max_drift_score: Some(_),
        block_if_in_threat_feed: Some(_),
        min_anonymization_level: Some(_),
    } = &document
    else {
        panic!("a field has no row");
    };
    assert_eq!(evaluate(&document, &facts()).decision, Decision::Allow);
    // `allowRecalled: true` checks nothing.
    assert_eq!(evaluate(&document, &facts()).evidence.len(), rows.len() - 1);
    let written = serde_json::to_value(&document).expect("JSON");
    assert_eq!(PolicyDocument::parse(&written).expect("reads"), document);
    assert_eq!(written.as_object().expect("object").keys().collect::<BTreeSet<_>>(), all.keys().collect());
}

#[test]
fn another_kind_of_anonymisation_is_not_enough() {
    let mut facts = facts();
    facts.target.said.anonymization = Some(Anonymization::Dp { epsilon: 0.5 });
    for (level, decision) in [
        (json!({"type": "dp", "epsilon": 0.5}), Decision::Allow),
        (json!({"type": "dp", "epsilon": 0.4}), Decision::Block),
        (json!({"type": "k-anon", "k": 1}), Decision::Block),
    ] {
        assert_eq!(run(&json!({"minAnonymizationLevel": level}), &facts).decision, decision);
    }
}

#[test]
fn faults_are_told_all_at_once_by_place() {
    let document = json!({
        "minConfs": -1, "minconfs": 1, "allowRecalled": "no", "licenseAllowList": [""], "geoOriginAllowList": "DE",
        "requiredAncestor": "AB", "maxNullValuePercentage": 101, "minUniquenessRatio": 1.5, "maxBiasScore": -0.1,
        "minAnonymizationLevel": {"type": "k-anon", "epsilon": 1}, "maxDriftScore": null, "a/b": 1,
        "minRowCount": 5, "maxRowCount": 4, "classificationAllowList": ["public"],
    });
    let faults = PolicyDocument::parse(&document).expect_err("faulty");
    let found: BTreeSet<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    let expected = [
        "/minConfs",
        "/minconfs",
        "/allowRecalled",
        "/licenseAllowList",
        "/geoOriginAllowList",
        "/requiredAncestor",
        "/maxNullValuePercentage",
        "/minUniquenessRatio",
        "/maxBiasScore",
        "/minAnonymizationLevel",
        "/maxDriftScore",
        "/a~1b",
        "/minRowCount",
    ];
    assert_eq!(found, expected.into_iter().collect());
    for wrong in [json!([]), json!(null), json!("x"), json!(7)] {
        assert!(PolicyDocument::parse(&wrong).is_err());
    }
    let level = |value: Value| PolicyDocument::parse(&json!({"minAnonymizationLevel": value}));
    assert!(level(json!({"type": "k-anon", "k": 0})).is_err() && level(json!({"type": "dp", "epsilon": 0})).is_err());
    assert!(level(json!({"type": "other"})).is_err() && level(json!({"type": "dp", "epsilon": 1, "k": 2})).is_err());
}

/// Random documents over random facts: the order of ancestors and lists leaves no trace, what is written can be evaluated
/// again to the same bytes, and one more constraint never makes a decision milder.
#[test]
fn order_leaves_no_trace_and_audits_replay() {
    let seed = std::env::var("OVERLAY_TEST_SEED").map_or(0x5eed, |text| text.parse().expect("a number"));
    let mut state: u64 = seed;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let rows = table();
    for round in 0..500 {
        let mut facts = facts();
        for _ in 0..next(6) {
            let row = &rows[next(rows.len())];
            let edit = if next(2) == 0 { row.3 } else { row.6 };
            edit.into_iter().for_each(|edit| edit(&mut facts));
        }
        let mut document = Map::new();
        let mut last = Decision::Allow;
        for _ in 0..1 + next(8) {
            let row = &rows[next(rows.len())];
            let value = if next(2) == 0 || row.2.is_null() { &row.1 } else { &row.2 };
            if document.contains_key(row.0)
                || row.0.ends_with("RowCount") && document.keys().any(|k| k.ends_with("RowCount"))
            {
                continue;
            }
            document.insert(row.0.to_owned(), value.clone());
            let decision = run(&Value::Object(document.clone()), &facts).decision;
            assert!(decision >= last, "seed {seed} round {round}: {document:?}");
            last = decision;
        }
        let document = Value::Object(document);
        let bytes = serde_json::to_vec(&run(&document, &facts)).expect("JSON");
        let mut other = facts.clone();
        other.ancestors.reverse();
        let mut turned = document.clone();
        turned
            .as_object_mut()
            .expect("object")
            .values_mut()
            .filter_map(Value::as_array_mut)
            .for_each(|list| list.reverse());
        assert_eq!(serde_json::to_vec(&run(&turned, &other)).expect("JSON"), bytes, "seed {seed} round {round}");
        let text = serde_json::to_string(&facts).expect("JSON");
        let read: Facts = serde_json::from_str(&text).expect("reads");
        assert_eq!(serde_json::to_vec(&run(&document, &read)).expect("JSON"), bytes, "seed {seed} round {round}");
        let again: Evaluation = serde_json::from_slice(&bytes).expect("reads");
        assert_eq!(serde_json::to_vec(&again).expect("JSON"), bytes);
    }
}

#[test]
fn a_preview_is_no_stricter_than_the_whole() {
    for (field, met, violated, ..) in table() {
        for value in [met, violated].into_iter().filter(|value| !value.is_null()) {
            let document = PolicyDocument::parse(&json!({field: value})).expect("good");
            let facts = facts();
            let found = preview(&document, facts.target.clone(), facts.evaluated_at);
            assert!(found.decision <= evaluate(&document, &facts).decision, "{field}");
        }
    }
    let listed = PolicyDocument::parse(&json!({"licenseAllowList": ["GPL"], "minConfs": 99})).expect("good");
    let found = preview(&listed, facts().target, 0);
    assert_eq!((found.decision, found.evidence.len()), (Decision::Block, 1));
}
