//! What readers of Marquez ask, in its shapes (its `spec/openapi.yml`): its web page and its clients work with this server.
//!
//! What Marquez keeps and events do not tell (owners, tags, versions) is empty. Counts go to 10,000; depths go to
//! `OL_QUERY_MAX_DEPTH`.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{error, query};
use crate::app::App;
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::domain::lineage::catalogue::{
    Dataset, Job, Listed, MAX_LIMIT, MAX_OFFSET, Match, Namespace, Part, Run, Window,
};
use crate::domain::lineage::event::Named;
use crate::domain::lineage::neighbourhood::Neighbourhood;
use crate::domain::lineage::node::{Kind, namespace_of, one, run_id_of};
use crate::error::{Error, Result};
use crate::transport::answer::{Hold, finish};
use crate::transport::http::Served;

/// Depth when nothing is said, as Marquez has it.
const DEPTH: u32 = 20;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/api/v1/lineage", get(lineage))
        .route("/api/v1/events/lineage", get(events))
        .route("/api/v1/search", get(search))
        .route("/api/v1/namespaces", get(namespaces))
        .route("/api/v1/namespaces/{namespace}", get(namespace))
        .route("/api/v1/namespaces/{namespace}/datasets", get(datasets))
        .route("/api/v1/namespaces/{namespace}/datasets/{name}", get(dataset))
        .route("/api/v1/namespaces/{namespace}/jobs", get(jobs))
        .route("/api/v1/namespaces/{namespace}/jobs/{name}", get(job))
        .route("/api/v1/namespaces/{namespace}/jobs/{name}/runs", get(runs))
        .route("/api/v1/jobs", get(all_jobs))
        .route("/api/v1/jobs/runs/{runId}", get(run))
}

/// Parameters by name.
type Given = BTreeMap<&'static str, String>;

/// A question: who asks what, with which of the known parameters.
struct Asked {
    app: App,
    caller: Caller,
    given: Given,
}

async fn answer(
    served: Served, caller: Caller, query: Option<String>, known: &[&'static str],
    told: impl AsyncFnOnce(&Asked) -> Result<Value>,
) -> Response {
    let given = match query::read(query.as_deref().unwrap_or_default(), known) {
        Ok(given) => given,
        Err(error) => return error::answer(&error),
    };
    let asked = Asked { app: served.app.clone(), caller, given };
    match told(&asked).await {
        Ok(body) => told_now(&body, asked.caller),
        Err(error) => error::answer(&error),
    }
}

/// An answer about the present.
pub(super) fn told_now(body: &impl serde::Serialize, caller: Caller) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => finish("application/json", bytes, caller, Consistency::Bounded, Hold::Ask, None),
        Err(cause) => error::answer(&Error::internal(cause)),
    }
}

/// `limit` and `offset`.
pub(super) fn part(given: &Given) -> Result<Part> {
    let limit = query::number(given, "limit", 1, MAX_LIMIT)?.unwrap_or(100);
    Ok(Part { limit, offset: query::number(given, "offset", 0, MAX_OFFSET)?.unwrap_or(0) })
}

type Names<T> = std::result::Result<Path<T>, PathRejection>;

fn names<T>(path: Names<T>) -> Result<T> {
    path.map(|Path(names)| names).map_err(|_| Error::invalid("the path's names must be UTF-8"))
}

fn absent(what: &str) -> Error {
    Error::not_found(format!("no event names this {what}"))
}

type From = (State<Served>, Extension<Caller>, RawQuery);

async fn lineage((State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["nodeId", "depth"], async |asked| {
        let node = asked.given.get("nodeId").ok_or_else(|| Error::invalid("`nodeId` must be given").hint("nodeId"))?;
        let depth = query::number(&asked.given, "depth", 0, u32::MAX)?.unwrap_or(DEPTH);
        let found = asked.app.lineage.neighbourhood(&asked.caller, node, depth).await?;
        Ok(drawn(&*found.ok_or_else(|| absent("node").hint("nodeId"))?))
    })
    .await
}

async fn events((State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["before", "after", "sortDirection", "limit", "offset"], async |asked| {
        let is_ascending = match asked.given.get("sortDirection").map_or("desc", String::as_str) {
            "desc" => false,
            "asc" => true,
            _ => return Err(Error::invalid("`sortDirection` must be `asc` or `desc`").hint("sortDirection")),
        };
        let (after, before) = (time(&asked.given, "after")?, time(&asked.given, "before")?);
        let window = Window { after, before, is_ascending };
        let events = asked.app.lineage.events(&asked.caller, &window, part(&asked.given)?).await?;
        Ok(json!({"events": events.items, "totalCount": events.total}))
    })
    .await
}

fn time(given: &Given, name: &'static str) -> Result<Option<DateTime<Utc>>> {
    let read = |text: &String| {
        let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
        time.filter(|time| (1..=9_999).contains(&chrono::Datelike::year(time)))
            .ok_or_else(|| Error::invalid(format!("`{name}` must be a time such as 2026-01-02T03:04:05Z")).hint(name))
    };
    given.get(name).map(read).transpose()
}

async fn search((State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["q", "filter", "sort", "namespace", "limit", "offset"], async |asked| {
        let kind = match asked.given.get("filter").map(|kind| kind.to_ascii_uppercase()).as_deref() {
            None => None,
            Some("DATASET") => Some(Kind::Dataset),
            Some("JOB") => Some(Kind::Job),
            Some(_) => return Err(Error::invalid("`filter` must be `DATASET` or `JOB`").hint("filter")),
        };
        // Names are what they are sorted by, whatever is asked: an order by time of matches that were cut would be none.
        let text = asked.given.get("q").map_or("", String::as_str);
        let namespace = asked.given.get("namespace").map(String::as_str);
        let part = part(&asked.given)?;
        let found = asked.app.lineage.search(&asked.caller, text, kind, namespace, part).await?;
        Ok(json!({"totalCount": found.total, "results": found.items.iter().map(|found| of_match(found, Named::plain_id)).collect::<Vec<_>>()}))
    })
    .await
}

async fn namespaces((State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["limit", "offset"], async |asked| {
        let found = asked.app.lineage.namespaces(&asked.caller, None, part(&asked.given)?).await?;
        Ok(json!({"namespaces": found.iter().map(of_namespace).collect::<Vec<_>>()}))
    })
    .await
}

async fn namespace(path: Names<String>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &[], async |asked| {
        let (name, only) = (names(path)?, Part { limit: 1, offset: 0 });
        let found = asked.app.lineage.namespaces(&asked.caller, Some(namespace_of(&name)?), only).await?;
        found.first().map(of_namespace).ok_or_else(|| absent("namespace"))
    })
    .await
}

async fn datasets(path: Names<String>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["limit", "offset"], async |asked| {
        let namespace = names(path)?;
        let within = Some(namespace_of(&namespace)?);
        let found = asked.app.lineage.datasets(&asked.caller, within, part(&asked.given)?).await?;
        Ok(json!({"datasets": found.items.iter().map(of_dataset).collect::<Vec<_>>(), "totalCount": found.total}))
    })
    .await
}

async fn dataset(path: Names<(String, String)>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &[], async |asked| {
        let (namespace, name) = names(path)?;
        let found = asked.app.lineage.dataset(&asked.caller, &[one(&namespace, &name)?]).await?;
        found.as_ref().map(of_dataset).ok_or_else(|| absent("dataset"))
    })
    .await
}

fn of_jobs(found: &Listed<Job>) -> Value {
    json!({"jobs": found.items.iter().map(of_job).collect::<Vec<_>>(), "totalCount": found.total})
}

async fn jobs(path: Names<String>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["limit", "offset"], async |asked| {
        let namespace = names(path)?;
        let within = Some(namespace_of(&namespace)?);
        Ok(of_jobs(&asked.app.lineage.jobs(&asked.caller, within, part(&asked.given)?).await?))
    })
    .await
}

async fn all_jobs((State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["limit", "offset"], async |asked| {
        Ok(of_jobs(&asked.app.lineage.jobs(&asked.caller, None, part(&asked.given)?).await?))
    })
    .await
}

async fn job(path: Names<(String, String)>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &[], async |asked| {
        let (namespace, name) = names(path)?;
        let found = asked.app.lineage.job(&asked.caller, &[one(&namespace, &name)?]).await?;
        found.as_ref().map(of_job).ok_or_else(|| absent("job"))
    })
    .await
}

async fn runs(path: Names<(String, String)>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &["limit", "offset"], async |asked| {
        let (namespace, name) = names(path)?;
        let job = one(&namespace, &name)?;
        let found = asked.app.lineage.runs_of(&asked.caller, &job, part(&asked.given)?).await?;
        Ok(json!({"runs": found.items.iter().map(of_run).collect::<Vec<_>>(), "totalCount": found.total}))
    })
    .await
}

async fn run(path: Names<String>, (State(served), Extension(caller), RawQuery(query)): From) -> Response {
    answer(served, caller, query, &[], async |asked| {
        let found = asked.app.lineage.runs(&asked.caller, run_id_of(&names(path)?)?).await?;
        found.first().map(of_run).ok_or_else(|| absent("run"))
    })
    .await
}

/// What matches a text.
pub(super) fn of_match(found: &Match, id: impl Fn(&Named, Kind) -> String) -> Value {
    let (kind, word) = if found.is_job { (Kind::Job, "JOB") } else { (Kind::Dataset, "DATASET") };
    let Named { namespace, name } = &found.named;
    json!({"type": word, "name": name, "namespace": namespace, "updatedAt": found.updated_at, "nodeId": id(&found.named, kind)})
}

fn of_namespace(namespace: &Namespace) -> Value {
    json!({"name": namespace.name, "createdAt": namespace.created_at, "updatedAt": namespace.updated_at,
        "ownerName": "", "description": null, "isHidden": false})
}

fn of_dataset(dataset: &Dataset) -> Value {
    let Named { namespace, name } = &dataset.named;
    let facet = |name: &str, member: &str| dataset.facets.get(name).map_or(Value::Null, |facet| facet[member].clone());
    let fields = facet("schema", "fields");
    let field = |field: &Value| json!({"name": field["name"], "type": field["type"], "description": field["description"], "tags": []});
    let fields: Vec<Value> = fields.as_array().into_iter().flatten().map(field).collect();
    json!({
        "id": dataset.named, "type": "DB_TABLE", "name": name, "physicalName": name, "namespace": namespace,
        "sourceName": facet("dataSource", "name"), "createdAt": dataset.created_at, "updatedAt": dataset.updated_at,
        "lastModifiedAt": dataset.latest_event_at, "description": facet("documentation", "description"),
        "lastLifecycleState": facet("lifecycleStateChange", "lifecycleStateChange"), "fields": fields, "tags": [],
        "currentVersion": null, "columnLineage": null, "facets": dataset.facets, "deleted": false,
    })
}

fn of_job(job: &Job) -> Value {
    let Named { namespace, name } = &job.named;
    let facet = |name: &str, member: &str| job.facets.get(name).map_or(Value::Null, |facet| facet[member].clone());
    let latest = job.latest_run.as_ref().map(of_run);
    let kind = facet("jobType", "processingType");
    json!({
        "id": job.named, "type": if kind == "STREAMING" { "STREAM" } else { "BATCH" }, "name": name, "simpleName": name,
        "namespace": namespace, "parentJobName": null, "createdAt": job.created_at, "updatedAt": job.updated_at,
        "inputs": job.inputs, "outputs": job.outputs, "location": facet("sourceCodeLocation", "url"),
        "description": facet("documentation", "description"), "latestRuns": latest.iter().collect::<Vec<_>>(),
        "latestRun": latest, "facets": job.facets, "labels": [], "tags": [], "currentVersion": null,
    })
}

fn of_run(run: &Run) -> Value {
    let state = match run.state.as_str() {
        "START" | "RUNNING" => "RUNNING",
        "COMPLETE" => "COMPLETED",
        "ABORT" => "ABORTED",
        "FAIL" => "FAILED",
        _ => "NEW",
    };
    let nominal = |member: &str| run.facets.get("nominalTime").map_or(Value::Null, |facet| facet[member].clone());
    let took = run.started_at.zip(run.ended_at).map(|(started, ended)| (ended - started).num_milliseconds());
    let version = |named: &Named| json!({"datasetVersionId": {"namespace": named.namespace, "name": named.name}});
    json!({
        "id": run.run_id, "state": state, "createdAt": run.created_at, "updatedAt": run.updated_at,
        "startedAt": run.started_at, "endedAt": run.ended_at, "durationMs": took,
        "nominalStartTime": nominal("nominalStartTime"), "nominalEndTime": nominal("nominalEndTime"),
        "jobVersion": {"namespace": run.job_namespace, "name": run.job_name, "version": null}, "args": {},
        "inputDatasetVersions": run.inputs.iter().map(version).collect::<Vec<_>>(),
        "outputDatasetVersions": run.outputs.iter().map(version).collect::<Vec<_>>(), "facets": run.facets,
    })
}

/// Identifiers as Marquez's readers write them themselves, and look for them; of those that name two things, the ones that name
/// one.
fn ids<'a>(all: impl Iterator<Item = &'a Named> + Clone, kind: Kind) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    all.clone().for_each(|named| *counts.entry(named.plain_id(kind)).or_default() += 1);
    let id = |named: &Named| Some(named.plain_id(kind)).filter(|id| counts[id] == 1).unwrap_or_else(|| named.id(kind));
    all.map(id).collect()
}

/// Jobs and datasets as Marquez's graph has them: each with the edges that come in and go out.
fn drawn(found: &Neighbourhood) -> Value {
    let datasets = ids(found.datasets.iter().map(|dataset| &dataset.named), Kind::Dataset);
    let jobs = ids(found.jobs.iter().map(|job| &job.named), Kind::Job);
    let mut edges: BTreeMap<&str, [Vec<Value>; 2]> = BTreeMap::new();
    for io in &found.io {
        let (job, dataset) = (jobs[io.job as usize].as_str(), datasets[io.dataset as usize].as_str());
        let (origin, destination) = if io.is_output { (job, dataset) } else { (dataset, job) };
        let edge = json!({"origin": origin, "destination": destination});
        edges.entry(origin).or_default()[1].push(edge.clone());
        edges.entry(destination).or_default()[0].push(edge);
    }
    let mut node = |id: &String, kind: &str, data: Value| {
        let [inward, outward] = edges.remove(id.as_str()).unwrap_or_default();
        json!({"id": id, "type": kind, "data": data, "inEdges": inward, "outEdges": outward})
    };
    let mut graph: Vec<Value> =
        found.datasets.iter().zip(&datasets).map(|(dataset, id)| node(id, "DATASET", of_dataset(dataset))).collect();
    graph.extend(found.jobs.iter().zip(&jobs).map(|(job, id)| node(id, "JOB", of_job(job))));
    json!({"graph": graph})
}
