//! The graph of lineage events, in GraphQL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_graphql::{Context, Enum, Object, SimpleObject};
use tokio::sync::OnceCell;

use super::assets::AssetNode;
use super::error::{Nullable, graphql, nullable};
use super::loaders::Loaders;
use crate::app::App;
use crate::domain::caller::Caller;
use crate::domain::lineage::columns::Columns;
use crate::domain::lineage::event::Named;
use crate::domain::lineage::graph::{Direction, Graph};
use crate::domain::lineage::node::Kind;
use crate::error::Result;
use crate::flows::lineage::standing::{Standing, standings};

/// What a list of a graph counts as in the cost of a query: there may be more in it, within the bounds of graphs.
const LIST: usize = 100;

/// What a graph counts as: a dozen statements, where other fields take a part of one.
pub(super) const GRAPH: usize = 2_000;

/// Which way a graph is walked.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Direction")]
pub(super) enum LineageDirection {
    /// To what a dataset is made of.
    Up,
    /// To what is made of it.
    Down,
    /// Both, each by itself.
    Both,
}

/// How an edge stands to the manifest of what it leads to.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Standing")]
pub(super) enum LineageStanding {
    /// A manifest that is proven on the best chain states it too.
    Anchored,
    /// Events say it, and nobody has proven it.
    Claimed,
    /// The manifest states other origins.
    Contradicted,
}

/// Datasets around one, and the jobs that made them of each other, as events tell it.
pub(super) struct Lineage {
    graph: Arc<Graph>,
    depth: u32,
    direction: Direction,
    beside: Arc<Beside>,
}

/// What is known beside a graph: found for all its edges at once, when it is asked of one.
#[derive(Default)]
struct Beside {
    /// How the edges stand, in their order.
    standings: OnceCell<Vec<Standing>>,
    /// What is said of the columns of each node that an edge leads to, by its place.
    columns: OnceCell<BTreeMap<u32, Arc<Columns>>>,
}

impl Lineage {
    /// The graph around a dataset; `None` when no event names it.
    ///
    /// # Errors
    /// `bad-request` naming `node` or `depth`.
    pub(super) async fn around(
        loaders: &Loaders, node: &str, depth: Option<i32>, direction: LineageDirection,
    ) -> Result<Option<Self>> {
        let room = &loaders.app.lineage;
        // What is negative is as much out of range as what is too much.
        let depth = room.depth(depth.map(|depth| u32::try_from(depth).unwrap_or(u32::MAX)))?;
        let direction = Direction::from(direction);
        let graph = room.graph(&loaders.caller, node, depth, direction).await?;
        Ok(graph.map(|graph| Self { graph, depth, direction, beside: Arc::default() }))
    }
}

/// At most 2,000 datasets and 10,000 edges each way.
#[Object]
impl Lineage {
    /// The dataset that was asked for, as `dataset:<namespace>:<name>`.
    async fn node(&self) -> String {
        self.graph.start().id(Kind::Dataset)
    }

    /// How many steps were followed.
    async fn depth(&self) -> u32 {
        self.depth
    }

    /// Which way.
    async fn direction(&self) -> LineageDirection {
        self.direction.into()
    }

    /// The datasets, the one that was asked for first, then by depth and name.
    #[graphql(complexity = "LIST * child_complexity")]
    async fn nodes(&self) -> Vec<LineageDataset> {
        let node = |place: usize| LineageDataset { graph: self.graph.clone(), place };
        (0..self.graph.nodes.len()).map(node).collect()
    }

    /// What was made of what.
    #[graphql(complexity = "LIST * child_complexity")]
    async fn edges(&self) -> Vec<LineageEdge> {
        let edge = |place| LineageEdge { graph: self.graph.clone(), place, beside: self.beside.clone() };
        (0..self.graph.edges.len()).map(edge).collect()
    }

    /// Whether a bound left something out that the depth would show.
    async fn truncated(&self) -> bool {
        self.graph.is_truncated
    }
}

/// A dataset of a graph.
pub(super) struct LineageDataset {
    graph: Arc<Graph>,
    place: usize,
}

impl LineageDataset {
    fn named(&self) -> &Named {
        &self.graph.nodes[self.place].named
    }
}

#[Object]
impl LineageDataset {
    /// `dataset:<namespace>:<name>`.
    async fn node(&self) -> String {
        self.named().id(Kind::Dataset)
    }

    /// Its namespace.
    async fn namespace(&self) -> &str {
        &self.named().namespace
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.named().name
    }

    /// Steps from the dataset that was asked for, on the shortest way.
    async fn depth(&self) -> u32 {
        self.graph.nodes[self.place].depth
    }

    /// Whether it has edges that were not followed, because of a bound or of the depth.
    async fn frontier(&self) -> bool {
        u32::try_from(self.place).is_ok_and(|place| self.graph.frontier.binary_search(&place).is_ok())
    }

    /// The version of the catalogue that it is: of a dataset in the namespace OL_NAMESPACE whose name is a version's identifier.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let Named { namespace, name } = self.named();
        let id = name.parse().ok().filter(|_| *namespace == loaders.app.terms.lineage_namespace)?;
        nullable(loaders.asset(id).await.map(|asset| asset.map(AssetNode)))
    }
}

/// A column was made of another.
#[derive(SimpleObject)]
pub(super) struct LineageColumn {
    /// The column that was read.
    from: String,
    /// The column that was made of it.
    to: String,
}

/// What is said of the columns of each node that an edge leads to, by its place.
async fn columns(app: &App, caller: &Caller, graph: &Graph) -> Result<BTreeMap<u32, Arc<Columns>>> {
    let places: BTreeSet<u32> = graph.edges.iter().map(|edge| edge.to).collect();
    let datasets: Vec<Named> = places.iter().map(|place| graph.nodes[*place as usize].named.clone()).collect();
    let found = app.lineage.columns(caller, &datasets).await?;
    Ok(places.into_iter().zip(found).filter_map(|(place, columns)| Some((place, columns?))).collect())
}

/// A dataset was made of another.
pub(super) struct LineageEdge {
    graph: Arc<Graph>,
    place: usize,
    beside: Arc<Beside>,
}

impl LineageEdge {
    fn dataset(&self, place: u32) -> LineageDataset {
        LineageDataset { graph: self.graph.clone(), place: place as usize }
    }
}

#[Object]
impl LineageEdge {
    /// What was read.
    async fn from(&self) -> LineageDataset {
        self.dataset(self.graph.edges[self.place].from)
    }

    /// What was written.
    async fn to(&self) -> LineageDataset {
        self.dataset(self.graph.edges[self.place].to)
    }

    /// The job that did it, as `job:<namespace>:<name>`.
    async fn job(&self) -> String {
        self.graph.jobs[self.graph.edges[self.place].job as usize].id(Kind::Job)
    }

    /// The columns of what was written, and those of what was read that they were made of, as the facet `columnLineage` says.
    #[graphql(complexity = "5 + 5 * child_complexity")]
    async fn columns(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<LineageColumn>> {
        let Loaders { app, caller, room, .. } = ctx.data_unchecked();
        let found = self.beside.columns.get_or_try_init(|| columns(app, caller, &self.graph)).await;
        let edge = &self.graph.edges[self.place];
        let (from, said) = (&self.graph.nodes[edge.from as usize].named, found.map_err(|error| graphql(&error))?);
        let column = |(from, to): (&str, &str)| LineageColumn { from: from.to_owned(), to: to.to_owned() };
        let columns: Vec<_> = said.get(&edge.to).into_iter().flat_map(|said| said.of(from)).map(column).collect();
        let bytes = columns.iter().map(|column| column.from.len() + column.to.len()).sum();
        room.take(bytes).map_err(|error| graphql(&error))?;
        Ok(columns)
    }

    /// How it stands to the manifest of what it leads to.
    async fn standing(&self, ctx: &Context<'_>) -> async_graphql::Result<LineageStanding> {
        let Loaders { app, caller, .. } = ctx.data_unchecked();
        let found = self.beside.standings.get_or_try_init(|| standings(app, caller, &self.graph)).await;
        let standing = found.map_err(|error| graphql(&error))?.get(self.place).copied();
        Ok(standing.unwrap_or(Standing::Claimed).into())
    }
}

#[derive(Default)]
pub(super) struct LineageQuery;

#[Object]
impl LineageQuery {
    /// What a dataset is made of, and what is made of it, as lineage events tell it. `node` is `dataset:<namespace>:<name>`: of
    /// several readings the one counts whose namespace is longest and known. Null when no event names it.
    #[graphql(complexity = "GRAPH + child_complexity")]
    async fn lineage(
        &self, ctx: &Context<'_>, node: String, depth: Option<i32>,
        #[graphql(default_with = "LineageDirection::Both")] direction: LineageDirection,
    ) -> Nullable<Lineage> {
        nullable(Lineage::around(ctx.data_unchecked(), &node, depth, direction).await)
    }
}
