//! A catalogue entry becomes a manifest.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{DAY, SeedProducer, at, catalogue::Spec};
use crate::domain::{assets::manifest::version_id, spv::encode_hex};

/// The manifest of an entry and its version id; `id_of` knows the parents' ids.
pub(super) fn write(spec: &Spec, producer: &SeedProducer, id_of: impl Fn(&str) -> String) -> (Value, String) {
    let dataset = spec.dataset();
    let schema_uri = format!("{}/schemas/{dataset}.json", producer.website);
    let parents: Vec<String> = spec.parents.iter().map(|parent| id_of(parent)).collect();
    let transforms: Vec<Value> = spec.transforms.iter().map(|name| json!({ "name": name })).collect();

    let mut content = object(json!({
        "name": spec.name,
        // There is no content behind the demo; a hash of the entry's key stands for it.
        "contentHash": sha256_hex(&format!("content of {}", spec.key)),
        "sizeBytes": spec.size_bytes,
        "mimeType": spec.mime_type,
        "schema": { "uri": schema_uri, "schemaHash": sha256_hex(&format!("schema of {dataset}")) },
    }));
    content.extend(object(spec.content.clone()));
    let mut policy = object(json!({
        "license": spec.license,
        "classification": spec.classification,
        "pii_flags": spec.pii_flags,
        "tags": spec.tags,
    }));
    policy.extend(object(spec.policy.clone()));

    let manifest = json!({
        "type": "datasetVersionManifest",
        "datasetId": dataset,
        "description": spec.description,
        "content": content,
        "lineage": { "parents": parents, "transforms": transforms },
        "provenance": {
            "createdAt": at(created(spec)).format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "producer": {
                "identityKey": producer.identity_key,
                "name": producer.display_name,
                "website": producer.website,
            },
            "locations": [{ "uri": format!("{}/data/{}", producer.website, spec.key.replace('@', "/")) }],
            "geoOrigin": spec.geo_origin,
        },
        "policy": policy,
    });
    let id = version_id(&manifest);
    (manifest, id)
}

/// When the version was made, in seconds of the market's calendar: on its day, at an hour that its name decides.
pub(super) fn created(spec: &Spec) -> i64 {
    let jitter: i64 = spec.key.bytes().map(i64::from).sum();
    spec.day * DAY + 6 * 3_600 + jitter * 37 % (12 * 3_600)
}

/// Lower-case hex of SHA-256 over a text.
pub(super) fn sha256_hex(text: &str) -> String {
    encode_hex(&Sha256::digest(text.as_bytes()))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
