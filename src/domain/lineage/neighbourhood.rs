//! What Marquez shows around a job or a dataset: all that is connected with it, jobs and datasets in turn, whichever way.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batch::Touch;
use super::catalogue::store::by_keys;
use super::catalogue::{Dataset, Job};
use super::event::Named;
use super::graph::{BUDGET, Lineage, key};
use super::node::{Kind, NodeId};
use super::store;
use super::walk::Walk;
use crate::cache::{self, Cached, Loaded};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::error::{Error, Result};

/// The facets that are shown.
const FACETS: [&str; 7] =
    ["schema", "documentation", "dataSource", "lifecycleStateChange", "sourceCodeLocation", "jobType", "columnLineage"];

/// Jobs and datasets that are connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbourhood {
    /// The datasets, by name, with a few of their facets.
    pub datasets: Vec<Dataset>,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Who reads and writes what.
    pub io: Vec<Io>,
    /// Whether a bound left something out.
    pub is_truncated: bool,
}

/// A job reads or writes a dataset; by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// Place of the job.
    pub job: u32,
    /// Place of the dataset.
    pub dataset: u32,
    /// Whether it writes.
    pub is_output: bool,
}

impl Cached for Neighbourhood {
    const KIND: cache::Kind = cache::Kind::Lineage;
}

/// A job or a dataset.
type Thing = (Kind, Named);

impl Lineage {
    /// What is connected with a job or a dataset by at most `depth` jobs more than those next to it; `None` when no event names
    /// it. Deeper than `OL_QUERY_MAX_DEPTH` nobody looks.
    ///
    /// # Errors
    /// `bad-request` naming `nodeId`; `lineage-too-large`; `unavailable` or `timeout` when the database does not answer.
    pub async fn neighbourhood(&self, caller: &Caller, node: &str, depth: u32) -> Result<Option<Arc<Neighbourhood>>> {
        let id = NodeId::read(node, "nodeId")?;
        let depth = depth.min(self.max_depth);
        let room = self.clone();
        let load = move || {
            let (room, id) = (room.clone(), id.clone());
            async move {
                let _turn = room.turns.acquire().await.map_err(Error::internal)?;
                read(&room.db, &id, depth).await
            }
        };
        self.cache.get(caller.ledger(), key(node, depth, "both", "marquez"), load).await
    }
}

fn tags((kind, named): &Thing) -> [Tag; 2] {
    let key = named.key();
    [Tag::new(format!("lineage_{}:{key}", kind.as_str())), Tag::new(format!("lineage_io:{key}"))]
}

async fn read(db: &Db, id: &NodeId, depth: u32) -> Result<Loaded<Neighbourhood>> {
    let things = |meanings: &[Named]| meanings.iter().map(|named| (id.kind, named.clone())).collect::<Vec<Thing>>();
    let Some(at) = store::first_named(db, id).await? else {
        return Ok(Loaded { value: None, tags: things(&id.meanings).iter().flat_map(tags).collect() });
    };
    let mut walk = Walk::from([(id.kind, id.meanings[at].clone())], BUDGET);
    // From a dataset the jobs next to it are one step away, and their datasets two.
    let steps = 2 * depth + if id.kind == Kind::Dataset { 2 } else { 1 };
    while walk.depth() < steps && !walk.level().is_empty() && !walk.is_truncated() {
        let (steps, unseen) = store::touching(db, walk.level()).await?;
        walk.take(steps, unseen);
    }
    let found = walk.end([]);
    let keys = |kind: Kind| found.depths.keys().filter(|thing| thing.0 == kind).map(|thing| thing.1.key()).collect();
    let (datasets, jobs): (Vec<Dataset>, Vec<Job>) = tokio::try_join!(
        by_keys(db, Kind::Dataset, keys(Kind::Dataset), &FACETS),
        by_keys(db, Kind::Job, keys(Kind::Job), &FACETS)
    )?;
    let places = |all: Vec<Named>| (0..).zip(all).map(|(at, named)| (named, at)).collect::<BTreeMap<Named, u32>>();
    let dataset_places = places(datasets.iter().map(|dataset| dataset.named.clone()).collect());
    let job_places = places(jobs.iter().map(|job| job.named.clone()).collect());
    let io = |touch: &Touch| {
        let (job, dataset) = (*job_places.get(&touch.job)?, *dataset_places.get(&touch.dataset)?);
        Some(Io { job, dataset, is_output: touch.is_output })
    };
    // A meaning with a longer namespace may come.
    let tags = things(&id.meanings[..at]).iter().chain(found.depths.keys()).flat_map(tags).collect();
    let io = found.edges.iter().filter_map(io).collect();
    Ok(Loaded { value: Some(Neighbourhood { io, datasets, jobs, is_truncated: found.is_truncated }), tags })
}
