//! `/openlineage`: the graph that lineage events make, for people and their pages.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::drawing::{cyto, simple};
use super::marquez::{of_match, part, told_now};
use super::{error, query};
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::domain::lineage::catalogue::{Dataset, Job, Run};
use crate::domain::lineage::event::Named;
use crate::domain::lineage::graph::Direction;
use crate::domain::lineage::node::{self, Kind};
use crate::error::{Error, Result};
use crate::flows::lineage::standing::standings;
use crate::transport::answer::{Hold, finish};
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/openlineage/lineage", get(lineage))
        .route("/openlineage/nodes/dataset/{*node}", get(dataset))
        .route("/openlineage/jobs/{*node}", get(job))
        .route("/openlineage/runs/{runId}", get(runs))
        .route("/openlineage/search", get(search))
}

/// What a path's rest may name: a namespace and a name, each in one piece (`/` as `%2F`), or, with more pieces, cut at any `/`.
fn meanings(rest: &str) -> Result<Vec<Named>> {
    let pieces: Vec<String> = rest
        .split('/')
        .map(|piece| percent_decode_str(piece).decode_utf8().map(|piece| piece.into_owned()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::invalid("the path's names must be UTF-8").hint("node"))?;
    match pieces.as_slice() {
        [namespace, name] => Ok(vec![node::one(namespace, name)?]),
        _ => node::meanings(&pieces.join("/"), '/', "node"),
    }
}

fn parameters(query: Option<&str>, known: &[&'static str]) -> Result<BTreeMap<&'static str, String>> {
    query::read(query.unwrap_or_default(), known)
}

async fn dataset(State(served): State<Served>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    let outcome = async {
        parameters(uri.query(), &[])?;
        let rest = uri.path().strip_prefix("/openlineage/nodes/dataset/").unwrap_or_default();
        let found = served.app.lineage.dataset(&caller, &meanings(rest)?).await?;
        let Dataset { named, facets, latest_event_at, created_at, updated_at } =
            found.ok_or_else(|| Error::not_found("no event names this dataset").hint("node"))?;
        Ok(json!({"id": named.id(Kind::Dataset), "type": "dataset", "namespace": named.namespace, "name": named.name,
            "facets": facets, "latestEventAt": latest_event_at, "createdAt": created_at, "updatedAt": updated_at}))
    };
    told(outcome.await, caller)
}

async fn job(State(served): State<Served>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    let outcome = async {
        parameters(uri.query(), &[])?;
        let rest = uri.path().strip_prefix("/openlineage/jobs/").unwrap_or_default();
        let found = served.app.lineage.job(&caller, &meanings(rest)?).await?;
        let Job { named, facets, inputs, outputs, latest_run, latest_event_at, created_at, updated_at } =
            found.ok_or_else(|| Error::not_found("no event names this job").hint("node"))?;
        Ok(json!({"id": named.id(Kind::Job), "type": "job", "namespace": named.namespace, "name": named.name,
            "facets": facets, "inputs": inputs, "outputs": outputs, "latestRun": latest_run.as_ref().map(of_run),
            "latestEventAt": latest_event_at, "createdAt": created_at, "updatedAt": updated_at}))
    };
    told(outcome.await, caller)
}

fn of_run(run: &Run) -> Value {
    json!({"runId": run.run_id, "job": {"namespace": run.job_namespace, "name": run.job_name}, "state": run.state,
        "startedAt": run.started_at, "endedAt": run.ended_at, "inputs": run.inputs, "outputs": run.outputs,
        "facets": run.facets, "latestEventAt": run.latest_event_at})
}

/// Clients reuse an identifier for runs of several jobs: all of them.
async fn runs(
    State(served): State<Served>, Extension(caller): Extension<Caller>, path: RunId, RawQuery(query): RawQuery,
) -> Response {
    let outcome = async {
        parameters(query.as_deref(), &[])?;
        let Path(run_id) = path.map_err(|_| Error::invalid("the run's identifier must be UTF-8").hint("runId"))?;
        let found = served.app.lineage.runs(&caller, node::run_id_of(&run_id)?).await?;
        if found.is_empty() {
            return Err(Error::not_found("no event names this run").hint("runId"));
        }
        Ok(json!({"runId": run_id, "runs": found.iter().map(of_run).collect::<Vec<_>>()}))
    };
    told(outcome.await, caller)
}

type RunId = std::result::Result<Path<String>, PathRejection>;

async fn search(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    let outcome = async {
        let given = parameters(query.as_deref(), &["q", "limit", "offset"])?;
        let text = given.get("q").map_or("", String::as_str);
        let found = served.app.lineage.search(&caller, text, None, None, part(&given)?).await?;
        Ok(
            json!({"results": found.items.iter().map(|found| of_match(found, Named::id)).collect::<Vec<_>>(), "totalCount": found.total}),
        )
    };
    told(outcome.await, caller)
}

fn told(outcome: Result<Value>, caller: Caller) -> Response {
    match outcome {
        Ok(body) => told_now(&body, caller),
        Err(error) => error::answer(&error),
    }
}

async fn lineage(
    State(served): State<Served>, Extension(caller): Extension<Caller>, RawQuery(query): RawQuery,
) -> Response {
    match drawn(&served, &caller, query.as_deref().unwrap_or_default()).await {
        Ok(bytes) => finish("application/json", bytes, caller, Consistency::Bounded, Hold::Least, None),
        Err(error) => error::answer(&error),
    }
}

async fn drawn(served: &Served, caller: &Caller, query: &str) -> Result<Vec<u8>> {
    let given = query::read(query, &["node", "depth", "direction", "format"])?;
    let room = &served.app.lineage;
    let node = given.get("node").ok_or_else(|| Error::invalid("`node` must be given").hint("node"))?;
    let depth = room.depth(query::number(&given, "depth", 0, u32::MAX)?)?;
    let way = match given.get("direction").map_or("both", String::as_str) {
        "up" => Direction::Up,
        "down" => Direction::Down,
        "both" => Direction::Both,
        _ => return Err(Error::invalid("`direction` must be `up`, `down` or `both`").hint("direction")),
    };
    let is_simple = match given.get("format").map_or("simple", String::as_str) {
        "simple" => true,
        "cyto" => false,
        _ => return Err(Error::invalid("`format` must be `simple` or `cyto`").hint("format")),
    };
    let graph = room.graph(caller, node, depth, way).await?;
    let graph = graph.ok_or_else(|| Error::not_found("no event names this dataset").hint("node"))?;
    let standings = standings(&served.app, caller, &graph).await?;
    let body = if is_simple { simple(&graph, &standings, depth, way) } else { cyto(&graph, &standings) };
    body.map_err(Error::internal)
}
