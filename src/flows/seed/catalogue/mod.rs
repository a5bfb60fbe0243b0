//! What is published: datasets and models from raw to evaluation, four lines of trade that share some ancestors.

mod earth;
mod language;
mod life;
mod society;

use serde_json::{Value, json};

/// Media types.
const CSV: &str = "text/csv";
const PARQUET: &str = "application/vnd.apache.parquet";
const GEOTIFF: &str = "image/tiff; application=geotiff";
const NETCDF: &str = "application/netcdf";
const PBF: &str = "application/vnd.openstreetmap.data+pbf";
const JSONL: &str = "application/jsonl";
const JSON: &str = "application/json";
const SAFETENSORS: &str = "application/vnd.safetensors";
const ONNX: &str = "application/onnx";

/// One version to publish.
pub(super) struct Spec {
    /// `dataset@version`, what the other parts of the seed call it.
    pub(super) key: &'static str,
    /// Index into the producers.
    pub(super) producer: usize,
    /// Day of the market's calendar it was made on, later than its parents'.
    pub(super) day: i64,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) mime_type: &'static str,
    pub(super) size_bytes: i64,
    pub(super) license: &'static str,
    pub(super) classification: &'static str,
    pub(super) pii_flags: &'static [&'static str],
    pub(super) tags: &'static [&'static str],
    pub(super) geo_origin: &'static str,
    /// Keys of other entries.
    pub(super) parents: &'static [&'static str],
    /// What was done to the parents.
    pub(super) transforms: &'static [&'static str],
    /// More members of `content`.
    pub(super) content: Value,
    /// More members of `policy`.
    pub(super) policy: Value,
}

impl Spec {
    /// A public version under CC-BY-4.0 without parents; the methods below say what differs.
    fn new(key: &'static str, producer: usize, day: i64, name: &'static str) -> Self {
        Self {
            key,
            producer,
            day,
            name,
            description: "",
            mime_type: PARQUET,
            size_bytes: 0,
            license: "CC-BY-4.0",
            classification: "public",
            pii_flags: &[],
            tags: &[],
            geo_origin: "EU",
            parents: &[],
            transforms: &[],
            content: json!({}),
            policy: json!({}),
        }
    }

    fn about(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    fn file(self, mime_type: &'static str, size_bytes: i64) -> Self {
        Self { mime_type, size_bytes, ..self }
    }

    fn terms(self, license: &'static str, classification: &'static str) -> Self {
        Self { license, classification, ..self }
    }

    fn pii(self, pii_flags: &'static [&'static str]) -> Self {
        Self { pii_flags, ..self }
    }

    fn tags(self, tags: &'static [&'static str]) -> Self {
        Self { tags, ..self }
    }

    fn geo(self, geo_origin: &'static str) -> Self {
        Self { geo_origin, ..self }
    }

    fn from(self, parents: &'static [&'static str], transforms: &'static [&'static str]) -> Self {
        Self { parents, transforms, ..self }
    }

    fn content(self, content: Value) -> Self {
        Self { content, ..self }
    }

    fn policy(self, policy: Value) -> Self {
        Self { policy, ..self }
    }

    /// The key without its version: the manifest's `datasetId`.
    pub(super) fn dataset(&self) -> &'static str {
        self.key.split_once('@').map_or(self.key, |(dataset, _)| dataset)
    }
}

/// Row count and quality figures of a table: percent of nulls, then two scores from 0 to 1.
fn table(rows: i64, null_percent: f64, outlier_score: f64, uniqueness_ratio: f64) -> Value {
    json!({
        "rowCount": rows,
        "nullValuePercentage": null_percent,
        "outlierScore": outlier_score,
        "uniquenessRatio": uniqueness_ratio,
    })
}

/// A feature table: as [`table`], and what the feature set is called.
fn features(id: &str, rows: i64, null_percent: f64, outlier_score: f64, uniqueness_ratio: f64) -> Value {
    let mut content = table(rows, null_percent, outlier_score, uniqueness_ratio);
    content["featureSetId"] = id.into();
    content
}

/// A split of a feature set, as fractions in hundredths that add up to 100.
fn split(feature_set: &str, rows: i64, train: u8, validation: u8) -> Value {
    let fraction = |hundredths: u8| f64::from(hundredths) / 100.0;
    json!({
        "featureSetId": feature_set,
        "rowCount": rows,
        "split": {
            "train": fraction(train),
            "validation": fraction(validation),
            "test": fraction(100 - train - validation),
        },
    })
}

/// Scores of a model or its evaluation, from 0 to 1.
fn scores(bias: f64, drift: f64) -> Value {
    json!({ "biasScore": bias, "driftScore": drift })
}

/// All entries, in no particular order.
pub(super) fn all() -> Vec<Spec> {
    [society::all(), earth::all(), life::all(), language::all()].into_iter().flatten().collect()
}
