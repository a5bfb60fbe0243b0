//! The graph around a dataset: what it is made of, and what is made of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::event::Named;
use super::node::{Kind, NodeId};
use super::store;
use super::walk::{Budget, Found, Walk};
use crate::cache::{self, Cache, Cached, Key, Loaded, Params};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::error::{Error, Result};

/// How much of a graph is shown each way.
pub const BUDGET: Budget = Budget { nodes: 2_000, edges: 10_000, bytes: 4 << 20 };

/// Walks that may go on at a time, each with a connection to the database: others need some too, and a walk can be long.
const AT_ONCE: usize = 4;

/// Steps when nothing is said.
const DEFAULT_DEPTH: u32 = 5;

/// Which way edges are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what a dataset is made of.
    Up,
    /// To what is made of it.
    Down,
    /// Both, each by itself: what a dataset's origins are also used for is not shown.
    Both,
}

impl Direction {
    /// As clients spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        }
    }
}

/// A dataset of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Which.
    pub named: Named,
    /// Steps from the dataset that was asked for, on the shortest way.
    pub depth: u32,
}

/// A step of a graph, by places in its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Place of the dataset that is read.
    pub from: u32,
    /// Place of the dataset that is written.
    pub to: u32,
    /// Place of the job that does it.
    pub job: u32,
}

/// Datasets around one, and what made them of each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// The dataset that was asked for first, then by depth and name.
    pub nodes: Vec<Node>,
    /// The jobs, by name.
    pub jobs: Vec<Named>,
    /// The edges, by names.
    pub edges: Vec<Step>,
    /// Places of the nodes that have edges which were not followed, because of a bound or of the depth.
    pub frontier: Vec<u32>,
    /// Whether a bound left something out that the depth would show.
    pub is_truncated: bool,
}

impl Cached for Graph {
    const KIND: cache::Kind = cache::Kind::Lineage;

    fn size(&self) -> usize {
        let named = |named: &Named| 60 + named.bytes();
        self.nodes.iter().map(|node| 20 + named(&node.named)).sum::<usize>()
            + self.jobs.iter().map(named).sum::<usize>()
            + 40 * self.edges.len()
            + 8 * self.frontier.len()
    }
}

impl Graph {
    /// The dataset that was asked for.
    ///
    /// # Panics
    /// Never: a graph has it.
    pub fn start(&self) -> &Named {
        &self.nodes[0].named
    }

    fn of(walks: Vec<(Names, Found<u32, Edge>)>) -> Self {
        let is_truncated = walks.iter().any(|(_, found)| found.is_truncated);
        let (mut depths, mut edges, mut cut) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut names = Names::default();
        for (own, found) in walks {
            let numbers: Vec<u32> = own.0.into_iter().map(|named| names.number(named)).collect();
            let of = |own: u32| numbers[own as usize];
            for (node, depth) in found.depths {
                let known = depths.entry(of(node)).or_insert(depth);
                *known = depth.min(*known);
            }
            edges.extend(found.edges.iter().map(|e| Edge { from: of(e.from), to: of(e.to), job: of(e.job) }));
            cut.extend(found.frontier.into_iter().map(of));
        }
        let mut nodes: Vec<(u32, u32)> = depths.into_iter().map(|(node, depth)| (depth, node)).collect();
        nodes.sort_by_key(|(depth, node)| (*depth, names.named(*node)));
        let jobs: BTreeSet<u32> = edges.iter().map(|edge| edge.job).collect();
        let mut jobs: Vec<u32> = jobs.into_iter().collect();
        jobs.sort_by_key(|job| names.named(*job));
        let places: HashMap<u32, u32> = (0..).zip(&nodes).map(|(at, (_, node))| (*node, at)).collect();
        let job_places: HashMap<u32, u32> = (0..).zip(&jobs).map(|(at, job)| (*job, at)).collect();
        let step = |edge: &Edge| Step { from: places[&edge.from], to: places[&edge.to], job: job_places[&edge.job] };
        let mut edges: Vec<Step> = edges.iter().map(step).collect();
        let mut by_name: Vec<usize> = (0..nodes.len()).collect();
        by_name.sort_by_key(|at| names.named(nodes[*at].1));
        let mut ranks = vec![0_u32; nodes.len()];
        (0..).zip(by_name).for_each(|(rank, at)| ranks[at] = rank);
        edges.sort_by_key(|step| (ranks[step.from as usize], ranks[step.to as usize], step.job));
        let frontier: BTreeSet<u32> = cut.iter().filter_map(|node| places.get(node).copied()).collect();
        Self {
            edges,
            frontier: frontier.into_iter().collect(),
            nodes: nodes.into_iter().map(|(depth, node)| Node { named: names.named(node).clone(), depth }).collect(),
            jobs: jobs.into_iter().map(|job| names.named(job).clone()).collect(),
            is_truncated,
        }
    }
}

/// An edge of a walk, by the numbers of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) job: u32,
}

/// The names that a walk comes by, each with a number: it compares what it comes by again and again, and names may be long.
#[derive(Default)]
pub(super) struct Names(IndexSet<Named>);

impl Names {
    /// The number of a name.
    pub(super) fn number(&mut self, named: Named) -> u32 {
        self.0.insert_full(named).0 as u32
    }

    /// The name of a number that [`Self::number`] gave.
    pub(super) fn named(&self, number: u32) -> &Named {
        &self.0[number as usize]
    }
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Lineage {
    pub(super) db: Db,
    pub(super) cache: Cache,
    pub(super) max_depth: u32,
    /// Walks that may go on at a time.
    pub(super) turns: Arc<Semaphore>,
}

impl Lineage {
    /// A room over the database and the cache, whose graphs are at most this deep.
    pub fn new(db: Db, cache: Cache, max_depth: u32) -> Self {
        Self { db, cache, max_depth, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The deepest that may be asked for.
    pub fn max_depth(&self) -> u32 {
        self.max_depth
    }

    /// The depth that is asked for, checked.
    ///
    /// # Errors
    /// `bad-request` when it is above `OL_QUERY_MAX_DEPTH`.
    pub fn depth(&self, asked: Option<u32>) -> Result<u32> {
        let most = self.max_depth;
        let depth = asked.unwrap_or(DEFAULT_DEPTH.min(most));
        if depth > most {
            return Err(Error::invalid(format!("`depth` must be a whole number, 0 to {most}")).hint("depth"));
        }
        Ok(depth)
    }

    /// The graph around a dataset (`dataset:<namespace>:<name>`) to a depth that [`Self::depth`] has checked; `None` when no event
    /// names it. A statement for each level, and two.
    ///
    /// # Errors
    /// `bad-request` naming `node`; `unavailable` or `timeout` when the database does not answer.
    pub async fn graph(&self, caller: &Caller, node: &str, depth: u32, way: Direction) -> Result<Option<Arc<Graph>>> {
        let id = NodeId::read(node, "node")?;
        if id.kind != Kind::Dataset {
            return Err(Error::invalid("`node` must be a dataset: `dataset:<namespace>:<name>`").hint("node"));
        }
        let key = key(node, depth, way.as_str(), "simple");
        let room = self.clone();
        let load = move || {
            let (room, id) = (room.clone(), id.clone());
            async move { read(&room, &id.meanings, depth, way).await }
        };
        self.cache.get(caller.ledger(), key, load).await
    }
}

/// The key of what is drawn around a node: `ol:cache:lineage:<node>|<depth>|<direction>|<format>`.
pub(super) fn key<V: Cached>(node: &str, depth: u32, way: &str, format: &str) -> Key<V> {
    let named = Params::default().with("node", node).canonical();
    let named = named.strip_prefix("node=").unwrap_or(&named);
    Key::new(format!("ol:cache:lineage:{named}|{depth}|{way}|{format}"))
        .built_under(format!("ol:cache:lineage:lock:{named}"))
}

/// What a graph depends on of a node: its edges.
fn edges_of(named: &Named) -> Tag {
    Tag::new(format!("lineage_edges:{}", named.key()))
}

fn existence_of(named: &Named) -> [Tag; 2] {
    [Tag::new(format!("lineage_dataset:{}", named.key())), edges_of(named)]
}

async fn read(room: &Lineage, meanings: &[Named], depth: u32, way: Direction) -> Result<Loaded<Graph>> {
    let Some(at) = store::first_known(&room.db, meanings).await? else {
        return Ok(Loaded { value: None, tags: meanings.iter().flat_map(existence_of).collect() });
    };
    let start = &meanings[at];
    let walk = |is_up| walk(room, start, depth, is_up);
    let walks = match way {
        Direction::Up => vec![walk(true).await?],
        Direction::Down => vec![walk(false).await?],
        Direction::Both => <[_; 2]>::from(tokio::try_join!(walk(true), walk(false))?).into(),
    };
    let graph = Graph::of(walks);
    // A longer namespace may come, and this one is there as long as it has edges, or else its row.
    let mut tags: Vec<Tag> = meanings[..at].iter().flat_map(existence_of).collect();
    if graph.edges.is_empty() {
        tags.extend(existence_of(start));
    }
    tags.extend(graph.nodes.iter().map(|node| edges_of(&node.named)));
    Ok(Loaded { value: Some(graph), tags })
}

/// Each level as it is when it is read: edges come, and do not go, so nothing is shown that never was.
async fn walk(room: &Lineage, start: &Named, depth: u32, is_up: bool) -> Result<(Names, Found<u32, Edge>)> {
    let (db, _turn) = (&room.db, room.turns.acquire().await.map_err(Error::internal)?);
    let mut names = Names::default();
    let mut walk = Walk::from([names.number(start.clone())], BUDGET);
    while walk.depth() < depth && !walk.level().is_empty() && !walk.is_truncated() {
        let (steps, unseen) = store::steps(db, &mut names, walk.level(), is_up).await?;
        walk.take(steps, unseen);
    }
    let beyond =
        if walk.level().is_empty() { Vec::new() } else { store::going_on(db, &names, walk.level(), is_up).await? };
    Ok((names, walk.end(beyond)))
}
