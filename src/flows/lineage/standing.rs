//! What the chain says of an edge that events claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use overlay_entity::ids::VersionId;

use crate::app::App;
use crate::domain::caller::Caller;
use crate::domain::lineage::graph::{Graph, Step};
use crate::error::Result;
use crate::flows::bundle::{self, Structure};

/// How an edge stands to the manifest of what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A manifest that is proven on the best chain states it too.
    Anchored,
    /// Events say it, and nobody has proven it: not between versions of the catalogue, or of one that is not proven.
    Claimed,
    /// The manifest states other origins.
    Contradicted,
}

impl Standing {
    /// As REST spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Claimed => "claimed",
            Self::Contradicted => "contradicted",
        }
    }
}

/// Versions whose manifests are read at once: together they must not be too large.
const AT_ONCE: usize = 100;

/// How the edges of a graph stand, in its order. Two statements for a hundred versions that are not cached.
///
/// # Errors
/// `unavailable` or `timeout` when the database does not answer; `lineage-too-large` when a hundred manifests are.
pub async fn standings(app: &App, caller: &Caller, graph: &Graph) -> Result<Vec<Standing>> {
    let version = |place: u32| -> Option<VersionId> {
        let named = &graph.nodes[place as usize].named;
        named.name.parse().ok().filter(|_| named.namespace == app.terms.lineage_namespace)
    };
    let between = |step: &Step| Some((version(step.from)?, version(step.to)?));
    let targets: BTreeSet<VersionId> = graph.edges.iter().filter_map(|step| Some(between(step)?.1)).collect();
    if targets.is_empty() {
        return Ok(vec![Standing::Claimed; graph.edges.len()]);
    }
    let targets: Vec<VersionId> = targets.into_iter().collect();
    let mut structures: BTreeMap<VersionId, Arc<Structure>> = BTreeMap::new();
    for some in targets.chunks(AT_ONCE) {
        let found = bundle::structures(app, caller, some, 0).await?;
        structures.extend(some.iter().zip(found).filter_map(|(id, structure)| Some((*id, structure?))));
    }
    let chain = app.spv.view(caller, structures.values().flat_map(|structure| structure.blocks())).await?;
    let standing = |step: &Step| {
        let (from, to) = between(step)?;
        let target = structures.get(&to)?.target()?;
        let is_stated = target.version.parents.contains(&from);
        Some(match (is_stated, target.verified(&chain).is_ok()) {
            (false, _) => Standing::Contradicted,
            (true, true) => Standing::Anchored,
            (true, false) => Standing::Claimed,
        })
    };
    Ok(graph.edges.iter().map(|step| standing(step).unwrap_or(Standing::Claimed)).collect())
}
