//! Every field of a document: met, violated, unknown; and what holds for every evaluation.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::document::PolicyDocument;
use super::super::facts::Facts;
use super::*;
use table::{BY_FACTS, facts, id, table};

mod table;

fn run(document: &Value, facts: &Facts) -> Evaluation {
    evaluate(&PolicyDocument::parse(document).unwrap_or_else(|faults| panic!("{faults:?}")), facts)
}

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

/// What is compared is told in the same measure.
#[test]
fn the_fewest_confirmations_are_told() {
    let document = PolicyDocument::parse(&json!({"minConfs": 3, "allowRecalled": false})).expect("good");
    let mut facts = facts();
    facts.ancestors[1].confirmations = 2;
    let [confirmations, recalls] = &evaluate(&document, &facts).evidence[..] else { panic!("two checks") };
    assert_eq!((&confirmations.expected, &confirmations.actual, confirmations.count), (&json!(3), &json!(2), 1));
    assert_eq!(recalls.actual, json!(4), "versions that were looked at");
}
