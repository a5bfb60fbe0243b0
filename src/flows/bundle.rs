//! The bundle: an ancestry with every version's manifest and proof, for whoever wants to check it without us.
//!
//! What is cached (`bundle:<versionId>:<depth>`) is the structure: it changes with the ancestry and the declarations, not
//! with the chain. Confirmations are computed at each answer, from the header mirror of that moment.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::cache::{Cached, Key, Kind, Loaded};
pub use crate::domain::assets::ancestry::TOO_LARGE;
use crate::domain::assets::ancestry::{self, Altered, Ancestor, Published};
use crate::domain::caller::Caller;
use crate::domain::spv::{Beef, Bump, Declared, Envelope, Flaw, Hash32, Spv, Verified, View, decode_hex};
use crate::error::{self, Error, Result};

/// An ancestry with its manifests and declarations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Structure {
    /// The target first, then by depth and identifier.
    pub nodes: Vec<Node>,
}

/// A version of the ancestry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// The version, its parents, and its manifest.
    pub version: Ancestor,
    /// What it declared on chain.
    pub declared: Option<Declared>,
}

impl Cached for Structure {
    const KIND: Kind = Kind::Bundle;

    fn size(&self) -> usize {
        let manifest = |p: &Published| 300 + p.manifest.text().len();
        let node = |node: &Node| {
            200 + 64 * node.version.parents.len()
                + node.version.published.as_ref().map_or(0, manifest)
                + node.declared.as_ref().map_or(0, Cached::size)
        };
        self.nodes.iter().map(node).sum()
    }
}

impl Structure {
    /// The target.
    pub fn target(&self) -> Option<&Node> {
        self.nodes.first()
    }

    /// `(child, parent)`, of versions that are both within the depth, in the order of the nodes.
    pub fn edges(&self) -> Vec<(VersionId, VersionId)> {
        let within: HashSet<VersionId> = self.nodes.iter().map(|node| node.version.version_id).collect();
        let edges = |node: &Node| {
            let child = node.version.version_id;
            node.version.parents.iter().map(move |parent| (child, *parent)).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(edges).filter(|(_, parent)| within.contains(parent)).collect()
    }

    /// The versions whose parents the depth leaves out, by depth and identifier. Empty when the ancestry is whole.
    pub fn cut(&self) -> Vec<VersionId> {
        let within: HashSet<VersionId> = self.nodes.iter().map(|node| node.version.version_id).collect();
        let is_cut = |node: &&Node| node.version.parents.iter().any(|parent| !within.contains(parent));
        self.nodes.iter().filter(is_cut).map(|node| node.version.version_id).collect()
    }

    /// How many generations each node is from the target, on the longest way: a shorter one beside it hides none. On a circle,
    /// which only a writer that bypasses us can make, there is no end to them: as many as there are nodes.
    pub fn generations(&self) -> Vec<u32> {
        let places: HashMap<VersionId, usize> =
            self.nodes.iter().enumerate().map(|(at, node)| (node.version.version_id, at)).collect();
        let parents = |at: usize| self.nodes[at].version.parents.iter().filter_map(|id| places.get(id).copied());
        let mut children = vec![0usize; self.nodes.len()];
        (0..self.nodes.len()).flat_map(parents).for_each(|parent| children[parent] += 1);
        let most = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let (mut depths, mut open) = (vec![None; self.nodes.len()], Vec::new());
        open.extend(children.first().filter(|count| **count == 0).map(|_| (0, 0)));
        let mut found = vec![0; self.nodes.len()];
        while let Some((at, depth)) = open.pop() {
            depths[at] = Some(depth);
            for parent in parents(at) {
                found[parent] = found[parent].max(depth + 1);
                children[parent] -= 1;
                if children[parent] == 0 {
                    open.push((parent, found[parent]));
                }
            }
        }
        depths.into_iter().map(|depth| depth.unwrap_or(most)).collect()
    }

    /// The first version that was never published, or has no proof: then there is no bundle.
    ///
    /// # Errors
    /// `incomplete-lineage` with the hint `missing-manifest:<id>` or `missing-envelope:<id>`.
    pub fn complete(&self) -> Result<()> {
        let missing = |what: &str, node: &Node| {
            let id = node.version.version_id;
            Error::new(error::Kind::Conflict, "incomplete-lineage", format!("an ancestor has no {what}: {id}"))
                .hint(format!("missing-{what}:{id}"))
        };
        if let Some(node) = self.nodes.iter().find(|node| node.version.published.is_none()) {
            return Err(missing("manifest", node));
        }
        let has_proof = |node: &Node| node.declared.as_ref().is_some_and(|d| d.proof != Err(Flaw::Unproven));
        match self.nodes.iter().find(|node| !has_proof(node)) {
            Some(node) => Err(missing("envelope", node)),
            None => Ok(()),
        }
    }

    /// The blocks that the proofs are about.
    pub fn blocks(&self) -> impl Iterator<Item = Hash32> {
        self.nodes.iter().filter_map(|node| node.declared.as_ref()?.block_hash())
    }
}

impl Node {
    /// What the best chain makes of the version's proof.
    ///
    /// # Errors
    /// The first flaw.
    pub fn verified(&self, chain: &View) -> Result<Verified, Flaw> {
        let declared = self.declared.as_ref().ok_or(Flaw::Unproven)?;
        // A proof is of what was published, not of what somebody has made of it since.
        match self.version.published.as_ref().and_then(|published| published.altered) {
            Some(Altered::Manifest) => return Err(Flaw::OtherManifest),
            Some(Altered::Parents) => return Err(Flaw::OtherParents),
            None => {}
        }
        declared.against(chain)
    }
}

/// A bundle in which every proof holds.
#[derive(Debug)]
pub struct Bundle {
    /// The ancestry.
    pub structure: Arc<Structure>,
    /// What each node's proof proves, in the order of the nodes.
    pub verified: Vec<Verified>,
}

/// The depth that is asked for, checked.
///
/// # Errors
/// `bad-request` when it is above `BUNDLE_MAX_DEPTH`.
pub fn depth(app: &App, asked: Option<u32>) -> Result<u32> {
    let most = app.terms.bundle_max_depth;
    let depth = asked.unwrap_or(most);
    if depth > most {
        return Err(Error::invalid(format!("`depth` must be a whole number, 0 to {most}")).hint("depth"));
    }
    Ok(depth)
}

/// The ancestry of `target` down to `depth` (which [`depth`] has checked); `None` when the target is not published.
///
/// # Errors
/// `lineage-too-large`; `unavailable` or `timeout` when the database does not answer.
pub async fn structure(app: &App, caller: &Caller, target: VersionId, depth: u32) -> Result<Option<Arc<Structure>>> {
    Ok(structures(app, caller, &[target], depth).await?.pop().flatten())
}

/// The same of many, in order. One statement for the ancestries and one for the declarations of those not cached.
///
/// # Errors
/// As [`structure`]; `lineage-too-large` when all together are.
pub async fn structures(
    app: &App, caller: &Caller, targets: &[VersionId], depth: u32,
) -> Result<Vec<Option<Arc<Structure>>>> {
    let key = |target: &VersionId| {
        Key::new(format!("bundle:{target}:{depth}")).built_under(format!("cache:bundle:lock:{target}"))
    };
    let for_load = app.clone();
    let load = move |targets: Vec<VersionId>| {
        let app = for_load.clone();
        async move { read(&app, &targets, depth).await }.boxed()
    };
    app.bundles.get_many(caller.ledger(), targets, key, load).await
}

async fn read(app: &App, targets: &[VersionId], depth: u32) -> Result<Vec<Loaded<Structure>>> {
    let begun = Instant::now();
    let ancestries = app.assets.ancestries(targets, depth).await?;
    let ids: BTreeSet<VersionId> = ancestries.iter().flatten().map(|version| version.version_id).collect();
    let ids: Vec<VersionId> = ids.into_iter().collect();
    let declared = app.spv.declarations(&ids, ancestry::MAX_BYTES).await?.ok_or_else(ancestry::too_large)?;
    let structure = |(versions, target): (Vec<Ancestor>, &VersionId)| {
        let mut tags = ancestry::tags(&versions, *target);
        tags.extend(versions.iter().flat_map(|version| Spv::tags_of(&version.version_id)));
        let node = |version: Ancestor| Node { declared: declared.get(&version.version_id).cloned(), version };
        let nodes: Vec<Node> = versions.into_iter().map(node).collect();
        Loaded { value: (!nodes.is_empty()).then_some(Structure { nodes }), tags }
    };
    let built = ancestries.into_iter().zip(targets).map(structure).collect();
    metrics::histogram!("overlay_bundle_build_seconds").record(begun.elapsed());
    Ok(built)
}

/// The bundle of `target` down to `depth` (which [`depth`] has checked).
///
/// # Errors
/// `not-found`; `incomplete-lineage` and `lineage-too-large`; `invalid-envelope` with `versionId` and `reason` when a proof
/// does not hold against the best chain; `unavailable` or `timeout` when the database does not answer.
pub async fn bundle(app: &App, caller: &Caller, target: VersionId, depth: u32) -> Result<Bundle> {
    let structure = structure(app, caller, target, depth).await?;
    let structure = structure.ok_or_else(|| Error::not_found("no version of that id is published"))?;
    structure.complete()?;
    let chain = app.spv.view(caller, structure.blocks()).await?;
    let verify = |node: &Node| {
        node.verified(&chain).map_err(|flaw| {
            let id = node.version.version_id;
            let message = format!("the proof of {id} does not hold: {}", flaw.code());
            Error::new(error::Kind::Conflict, "invalid-envelope", message)
                .detail("versionId", id.to_string())
                .detail("reason", flaw.code())
        })
    };
    let verified = structure.nodes.iter().map(verify).collect::<Result<_>>()?;
    Ok(Bundle { structure, verified })
}

impl Bundle {
    /// Every node's transaction with its path, in the order of the nodes.
    ///
    /// # Errors
    /// `internal`: a proof that holds can be written in every form.
    pub fn bumps(&self) -> Result<Vec<(Vec<u8>, Bump)>> {
        let nodes = self.structure.nodes.iter().zip(&self.verified);
        let bump = |(node, verified): (&Node, &Verified)| {
            let envelope = node.declared.as_ref().and_then(|declared| declared.envelope.as_ref());
            let envelope = envelope.ok_or_else(|| Error::internal("a proof that holds has an envelope"))?;
            let envelope: Envelope = serde_json::from_str(envelope.text()).map_err(Error::internal)?;
            let raw = decode_hex(&envelope.raw_tx).map_err(Error::internal)?;
            Ok((raw, envelope.to_bump(verified.block_height).map_err(Error::internal)?))
        };
        nodes.map(bump).collect()
    }

    /// The whole as one BEEF: every transaction, and for each block one path. Parents come before their children and the
    /// target last, which is what stock readers take a BEEF to be about (BRC-62).
    ///
    /// # Errors
    /// As [`Self::bumps`].
    pub fn beef(&self) -> Result<Vec<u8>> {
        let mut proven = self.bumps()?;
        proven.reverse();
        Beef::of(proven).and_then(|beef| beef.to_bytes_v1()).map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(parents: &[&[usize]]) -> Structure {
        let id = |n: usize| VersionId::from_bytes([n as u8; 32]);
        let node = |(n, parents): (usize, &&[usize])| Node {
            version: Ancestor {
                version_id: id(n),
                depth: 0,
                parents: parents.iter().map(|parent| id(*parent)).collect(),
                published: None,
            },
            declared: None,
        };
        Structure { nodes: parents.iter().enumerate().map(node).collect() }
    }

    #[test]
    fn generations_are_counted_on_the_longest_way() {
        assert_eq!(structure(&[&[1, 2, 3], &[2], &[3], &[]]).generations(), [0, 1, 2, 3]);
        assert_eq!(structure(&[&[3, 1], &[2, 9], &[], &[2]]).generations(), [0, 1, 2, 1]);
        assert_eq!(structure(&[&[]]).generations(), [0]);
        assert_eq!(structure(&[]).generations(), [] as [u32; 0]);
        // A circle has no end, and neither has what lies behind it.
        assert_eq!(structure(&[&[1, 3], &[2], &[1, 3], &[]]).generations(), [0, 4, 4, 4]);
        assert_eq!(structure(&[&[0]]).generations(), [1]);
    }
}
