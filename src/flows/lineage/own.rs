//! Events of our own: what is published, proven and recalled here is told like what others tell, in the same transaction.
//! Their namespace is `OL_NAMESPACE`, and a version is a dataset named by its identifier.
//!
//! The same is told in the same words, whoever tries it again: an event's time is that of what it tells of, and its run's
//! identifier comes from what it tells.

use chrono::{DateTime, SecondsFormat, Utc};
use overlay_entity::ids::VersionId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::take;
use crate::db::Tx;
use crate::domain::advisories::Advisory;
use crate::domain::assets::manifest::Published;
use crate::domain::lineage::event::{Event, read};
use crate::domain::spv::{Hash32, Verified};
use crate::error::{Error, Result};

/// Who says it, as OpenLineage wants it: a URI.
const PRODUCER: &str = "urn:overlay:server";

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACET: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/DatasetFacet";

/// Tells events in a transaction that makes them true.
///
/// # Errors
/// What the database answers.
pub(crate) async fn tell(tx: &Tx, events: Vec<Value>) -> Result<()> {
    let read = |event| read(event).map_err(|faults| Error::internal(format!("an event of our own: {faults:?}")));
    let events: Vec<Event> = events.into_iter().map(read).collect::<Result<_>>()?;
    take(tx, events.iter()).await.map(|_new| ())
}

/// Most inputs of an event: a version with more parents is told in several.
const AT_ONCE: usize = 1_000;

/// A version was published, as its manifest says.
pub(crate) fn published(namespace: &str, published: &Published) -> Vec<Value> {
    let id = published.version_id;
    let facet =
        json!({"datasetId": published.dataset_id, "name": published.name, "contentHash": published.content_hash});
    let output = dataset(namespace, id, json!({"overlay_version": of(facet)}));
    let told = |parents: &[VersionId]| {
        let inputs: Vec<Value> = parents.iter().map(|parent| dataset(namespace, *parent, Value::Null)).collect();
        event(namespace, &format!("publish::{id}"), "", published.created_at, json!(inputs), json!([output]))
    };
    if published.parents.is_empty() { vec![told(&[])] } else { published.parents.chunks(AT_ONCE).map(told).collect() }
}

/// A version was proven to be declared on chain.
pub(crate) fn proven(namespace: &str, id: VersionId, txid: Hash32, verified: &Verified, now: DateTime<Utc>) -> Value {
    let (hash, height) = (verified.block_hash, verified.block_height);
    let facet = json!({"txid": txid, "blockHash": hash, "blockHeight": height});
    let output = dataset(namespace, id, json!({"overlay_proof": of(facet)}));
    event(namespace, &format!("prove::{id}"), &hash.to_string(), now, json!([]), json!([output]))
}

/// Versions were recalled, or warned of; `None` when an advisory is about no version.
pub(crate) fn recalled(namespace: &str, advisory: &Advisory, versions: &[VersionId]) -> Option<Value> {
    let facet =
        json!({"advisoryId": advisory.advisory_id, "type": advisory.severity.as_str(), "reason": advisory.reason});
    recall(namespace, &advisory.advisory_id, "issued", versions, &of(facet), advisory.created_at)
}

/// What was said of versions is said no more.
pub(crate) fn withdrawn(
    namespace: &str, advisory_id: &str, versions: &[VersionId], now: DateTime<Utc>,
) -> Option<Value> {
    let deleted = of(json!({"_deleted": true}));
    recall(namespace, advisory_id, "withdrawn", versions, &deleted, now)
}

/// Each advisory has a facet of its own: a version may have several, and they end one by one.
fn recall(
    namespace: &str, advisory_id: &str, what: &str, versions: &[VersionId], facet: &Value, time: DateTime<Utc>,
) -> Option<Value> {
    let name = format!("overlay_advisory_{advisory_id}");
    let inputs: Vec<Value> = versions.iter().map(|id| dataset(namespace, *id, json!({&name: facet}))).collect();
    let job = format!("recall::{advisory_id}");
    (!inputs.is_empty()).then(|| event(namespace, &job, what, time, json!(inputs), json!([])))
}

fn dataset(namespace: &str, id: VersionId, facets: Value) -> Value {
    let mut dataset = json!({"namespace": namespace, "name": id});
    if !facets.is_null() {
        dataset["facets"] = facets;
    }
    dataset
}

/// A facet with what every facet must have.
fn of(mut facet: Value) -> Value {
    facet["_producer"] = json!(PRODUCER);
    facet["_schemaURL"] = json!(FACET);
    facet
}

fn event(namespace: &str, job: &str, once: &str, time: DateTime<Utc>, inputs: Value, outputs: Value) -> Value {
    let digest = Sha256::digest(format!("{namespace}\n{job}\n{once}"));
    let bytes: [u8; 16] = std::array::from_fn(|at| digest[at]);
    json!({
        "eventType": "COMPLETE", "eventTime": time.to_rfc3339_opts(SecondsFormat::Micros, true), "producer": PRODUCER,
        "schemaURL": SCHEMA, "run": {"runId": Builder::from_custom_bytes(bytes).into_uuid()},
        "job": {"namespace": namespace, "name": job}, "inputs": inputs, "outputs": outputs,
    })
}
