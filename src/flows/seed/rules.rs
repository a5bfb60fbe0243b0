//! Prices, policies and recalls.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    DAY, SeedAdvisory, SeedAdvisoryTarget, SeedPolicy, SeedPriceRule, Shop, at,
    producers::{ENERGY, GENOMICS, LANGUAGE, SATELLITE, SPEECH, WEATHER},
};

/// What a unit costs where no rule applies: the default of `PRICE_DEFAULT_SATS`.
const DEFAULT_SATS: i64 = 1_234;

/// Producer scope: producer, least quantity, satoshis a unit.
const PRODUCER_PRICES: [(usize, i32, i64); 11] = [
    (WEATHER, 1, 900),
    (WEATHER, 10, 750),
    (WEATHER, 100, 500),
    (SATELLITE, 1, 12_000),
    (SATELLITE, 25, 9_500),
    (GENOMICS, 1, 45_000),
    (LANGUAGE, 1, 6_000),
    (LANGUAGE, 50, 4_200),
    (SPEECH, 1, 1_500),
    (ENERGY, 1, 2_000),
    (ENERGY, 20, 1_600),
];

/// Version scope: catalogue entry, least quantity, satoshis a unit.
const VERSION_PRICES: [(&str, i32, i64); 12] = [
    ("corvid-instruct@1.1", 1, 25_000),
    ("corvid-instruct@1.1", 10, 21_000),
    ("corvid-instruct@1.1", 100, 15_000),
    ("corvid-base@1", 1, 18_000),
    ("landcover-map@1", 1, 30_000),
    ("landcover-map@1", 5, 26_000),
    ("optical-scenes-raw@2026-02", 1, 250_000),
    ("load-forecast@2", 1, 4_800),
    ("load-forecast@2", 12, 3_900),
    ("variant-frequencies@1", 1, 100),
    ("demand-model@2", 1, 7_500),
    ("census-2025-grid@1", 1, 350),
];

/// All price rules.
pub(super) fn price_rules(shop: &Shop<'_>) -> Vec<SeedPriceRule> {
    let rule = |rule_id, version_id, producer_id, tier_from, satoshis| SeedPriceRule {
        rule_id,
        version_id,
        producer_id,
        tier_from,
        satoshis,
        created_at: at(167 * DAY),
        updated_at: at(167 * DAY),
    };
    let by_producer = PRODUCER_PRICES.iter().map(|&(producer, tier, satoshis)| {
        let id = &shop.producers[producer].producer_id;
        rule(format!("price_{id}_{tier}"), None, Some(id.clone()), tier, satoshis)
    });
    let by_version = VERSION_PRICES.iter().map(|&(key, tier, satoshis)| {
        let id = shop.version(key);
        rule(format!("price_{id}_{tier}"), Some(id), None, tier, satoshis)
    });
    by_producer.chain(by_version).collect()
}

/// The price of a unit: the version's highest tier that the quantity reaches, else the producer's, else the default.
pub(super) fn unit_price(rules: &[SeedPriceRule], version_id: &str, producer_id: &str, quantity: i32) -> i64 {
    let best = |in_scope: &dyn Fn(&SeedPriceRule) -> bool| {
        rules
            .iter()
            .filter(|rule| in_scope(rule) && rule.tier_from <= quantity)
            .max_by_key(|rule| rule.tier_from)
            .map(|rule| rule.satoshis)
    };
    best(&|rule| rule.version_id.as_deref() == Some(version_id))
        .or_else(|| best(&|rule| rule.producer_id.as_deref() == Some(producer_id)))
        .unwrap_or(DEFAULT_SATS)
}

/// Five policies, one of them switched off.
pub(super) fn policies(shop: &Shop<'_>) -> Vec<SeedPolicy> {
    let policy = |policy_id: &str, name: &str, enabled, doc: Value| SeedPolicy {
        policy_id: policy_id.into(),
        name: name.into(),
        enabled,
        doc,
        created_at: at(168 * DAY),
        updated_at: at(168 * DAY),
    };
    let producer = |index: usize| shop.producers[index].producer_id.clone();
    vec![
        policy(
            "pol_open-data",
            "Open data only",
            true,
            json!({
                "minConfs": 1,
                "allowRecalled": false,
                "classificationAllowList": ["public"],
                "licenseAllowList": [
                    "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "ODbL-1.0", "ODC-By-1.0", "Apache-2.0", "MIT", "EUPL-1.2",
                ],
                "piiFlagsBlockList": ["name", "email", "address", "birth_date", "genetic", "health", "voice"],
            }),
        ),
        policy(
            "pol_production-ml",
            "Models fit for production",
            true,
            json!({
                "minConfs": 3,
                "allowRecalled": false,
                "maxLineageDepth": 8,
                "maxBiasScore": 0.1,
                "maxDriftScore": 0.1,
                "producerBlockList": [producer(SPEECH)],
            }),
        ),
        policy(
            "pol_clinical",
            "Clinical research, anonymised",
            true,
            json!({
                "minConfs": 6,
                "allowRecalled": false,
                "classificationAllowList": ["clinical-research", "restricted", "public"],
                "producerAllowList": [producer(GENOMICS), shop.producers[super::producers::HOSPITAL].identity_key],
                "piiFlagsBlockList": ["name", "birth_date", "address"],
                "minAnonymizationLevel": { "type": "k-anon", "k": 10 },
            }),
        ),
        policy(
            "pol_eu-tables",
            "European tables of good quality",
            true,
            json!({
                "geoOriginAllowList": ["EU", "DE", "IE", "NL", "SE"],
                "requiredMimeTypes": ["text/csv", "application/vnd.apache.parquet"],
                "minRowCount": 10_000,
                "maxNullValuePercentage": 5,
                "maxOutlierScore": 0.2,
                "minUniquenessRatio": 0.95,
                "maxDataAgeSeconds": 63_072_000,
            }),
        ),
        policy(
            "pol_budget",
            "Tight budget",
            false,
            json!({
                "maxPricePerByte": 0.0001,
                "maxTotalCostForLineage": 60_000,
                "requiredAncestor": shop.version("weather-gridded@1"),
            }),
        ),
    ]
}

/// Three recalls: one that blocks and holds, one that warns of a producer, one that has ended.
pub(super) fn advisories(shop: &Shop<'_>) -> Vec<SeedAdvisory> {
    let advisory =
        |id: &str, kind: &str, reason: &str, payload, day: i64, ends: Option<DateTime<Utc>>, target| SeedAdvisory {
            advisory_id: id.into(),
            advisory_type: kind.into(),
            reason: reason.into(),
            payload: Some(payload),
            created_at: at(day * DAY + 9 * 3_600),
            expires_at: ends,
            targets: vec![target],
        };
    let version = |key| SeedAdvisoryTarget { version_id: Some(shop.version(key)), producer_id: None };
    let producer = |index: usize| SeedAdvisoryTarget {
        version_id: None,
        producer_id: Some(shop.producers[index].producer_id.clone()),
    };
    vec![
        advisory(
            "adv_trip-counts-consent",
            "BLOCK",
            "One depot was counted without the works council's consent. Do not use, nor anything made from it.",
            json!({ "contact": "data-protection@transit-coop.example", "reference": "TDC-2026-04" }),
            170,
            None,
            version("trip-counts-raw@1"),
        ),
        advisory(
            "adv_polyphon-review",
            "WARN",
            "The producer's consent forms are under review; the outcome is expected this year.",
            json!({ "reference": "PSC-REVIEW-2" }),
            172,
            None,
            producer(SPEECH),
        ),
        advisory(
            "adv_stations-summer-time",
            "BLOCK",
            "37 stations are an hour off in summer. Use revision 2025.1.",
            json!({ "replacedBy": shop.version("weather-stations-clean@2025.1") }),
            20,
            Some(at(80 * DAY)),
            version("weather-stations-clean@2025"),
        ),
    ]
}
