//! A graph of lineage as JSON: in a form of our own, and as Cytoscape reads it.

use serde::Serialize;

use crate::domain::lineage::event::Named;
use crate::domain::lineage::graph::{Direction, Graph};
use crate::domain::lineage::node::Kind;
use crate::flows::lineage::standing::Standing;

#[derive(Serialize)]
struct Simple<'a> {
    node: &'a str,
    depth: u32,
    direction: &'static str,
    nodes: Vec<Dataset<'a>>,
    edges: Vec<Edge<'a>>,
    /// Identifiers of the nodes that have edges which are not shown.
    frontier: Vec<&'a str>,
    stats: Stats,
}

#[derive(Serialize)]
struct Dataset<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    named: &'a Named,
    depth: u32,
}

#[derive(Serialize)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    job: &'a str,
    /// How it stands to the manifest that is on chain.
    standing: &'static str,
}

#[derive(Serialize)]
struct Stats {
    nodes: usize,
    edges: usize,
    truncated: bool,
}

/// The identifiers of a graph's datasets, and of its jobs, in its order.
fn ids(graph: &Graph) -> (Vec<String>, Vec<String>) {
    let datasets = graph.nodes.iter().map(|node| node.named.id(Kind::Dataset)).collect();
    (datasets, graph.jobs.iter().map(|job| job.id(Kind::Job)).collect())
}

/// As Overlay draws it.
pub(super) fn simple(graph: &Graph, standings: &[Standing], depth: u32, way: Direction) -> serde_json::Result<Vec<u8>> {
    let (ids, jobs) = ids(graph);
    let id = |place: u32| ids[place as usize].as_str();
    let nodes = graph.nodes.iter().zip(&ids);
    let edges = graph.edges.iter().zip(standings).map(|(edge, standing)| Edge {
        from: id(edge.from),
        to: id(edge.to),
        job: &jobs[edge.job as usize],
        standing: standing.as_str(),
    });
    serde_json::to_vec(&Simple {
        node: id(0),
        depth,
        direction: way.as_str(),
        nodes: nodes.map(|(node, id)| Dataset { id, kind: "dataset", named: &node.named, depth: node.depth }).collect(),
        edges: edges.collect(),
        frontier: graph.frontier.iter().map(|place| id(*place)).collect(),
        stats: Stats { nodes: graph.nodes.len(), edges: graph.edges.len(), truncated: graph.is_truncated },
    })
}

#[derive(Serialize)]
struct Cyto<'a> {
    elements: Elements<'a>,
}

#[derive(Serialize)]
struct Elements<'a> {
    nodes: Vec<Data<CytoNode<'a>>>,
    edges: Vec<Data<CytoEdge<'a>>>,
}

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

#[derive(Serialize)]
struct CytoNode<'a> {
    id: &'a str,
    label: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    namespace: &'a str,
    depth: u32,
    /// Whether it has edges that are not shown.
    frontier: bool,
}

#[derive(Serialize)]
struct CytoEdge<'a> {
    id: String,
    source: &'a str,
    target: &'a str,
    label: &'a str,
    job: &'a str,
    standing: &'static str,
}

/// As Cytoscape reads its elements.
pub(super) fn cyto(graph: &Graph, standings: &[Standing]) -> serde_json::Result<Vec<u8>> {
    let (ids, jobs) = ids(graph);
    let nodes = graph.nodes.iter().zip(&ids).enumerate().map(|(at, (node, id))| CytoNode {
        id,
        label: &node.named.name,
        kind: "dataset",
        namespace: &node.named.namespace,
        depth: node.depth,
        frontier: graph.frontier.binary_search(&(at as u32)).is_ok(),
    });
    let edges = graph.edges.iter().zip(standings).map(|(edge, standing)| CytoEdge {
        // Names of three things may be longer than anybody wants an identifier.
        id: format!("edge:{}:{}:{}", edge.from, edge.to, edge.job),
        source: &ids[edge.from as usize],
        target: &ids[edge.to as usize],
        label: &graph.jobs[edge.job as usize].name,
        job: &jobs[edge.job as usize],
        standing: standing.as_str(),
    });
    let elements =
        Elements { nodes: nodes.map(|data| Data { data }).collect(), edges: edges.map(|data| Data { data }).collect() };
    serde_json::to_vec(&Cyto { elements })
}
