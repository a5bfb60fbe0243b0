//! The ancestry of a version, as the database has it: every version it was made from, and theirs, down to a depth.

mod store;

use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use super::manifest::version_id;
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::Document;
use crate::error::{Error, Kind, Result};

/// Most versions of an ancestry that is walked, and of all that are walked at once.
pub const MAX_NODES: usize = 5_000;

/// Most bytes of all its manifests together: they are held in memory, and sent, as one.
pub const MAX_BYTES: i64 = 16 << 20;

/// Most steps from a version to a parent, of all that are walked at once.
pub const MAX_EDGES: i64 = 50_000;

/// The code of an ancestry beyond that.
pub const TOO_LARGE: &str = "lineage-too-large";

/// A version of an ancestry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ancestor {
    /// The version.
    pub version_id: VersionId,
    /// Steps from the target, on the shortest way.
    pub depth: u32,
    /// The versions it was made from, by identifier, whether they are within the depth or not.
    pub parents: Vec<VersionId>,
    /// What was published; `None` for a parent that nobody has published.
    pub published: Option<Published>,
}

/// What an ancestry tells of a published version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// Who published it.
    pub producer_id: String,
    /// Hash of the manifest, 64 hex digits.
    pub manifest_hash: String,
    /// The manifest.
    pub manifest: Document,
    /// What of the rows is not as it was published.
    pub altered: Option<Altered>,
}

/// What somebody has changed who wrote past us. Identifiers are hashes, so it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Altered {
    /// The manifest's hash is not the version's identifier.
    Manifest,
    /// The manifest names a parent that the version has no edge to.
    Parents,
}

/// What is not as it was published. Edges beyond the manifest's are no harm: they ask for more.
fn altered(id: VersionId, manifest: &serde_json::Value, parents: &[VersionId]) -> Option<Altered> {
    if version_id(manifest) != id.to_string() {
        return Some(Altered::Manifest);
    }
    let named = manifest.pointer("/lineage/parents").and_then(serde_json::Value::as_array);
    let has_edge = |parent: &serde_json::Value| {
        let parent = parent.as_str().and_then(|parent| parent.parse().ok());
        parent.is_some_and(|parent: VersionId| parents.binary_search(&parent).is_ok())
    };
    named.is_some_and(|named| !named.iter().all(has_edge)).then_some(Altered::Parents)
}

/// The ancestries of `targets` down to `depth`, in order: each with the target first, then by depth and identifier; empty when
/// it is not published. One statement. Ends on cycles, which only a writer that bypasses us can make.
///
/// # Errors
/// `lineage-too-large` when there are more than [`MAX_NODES`], [`MAX_EDGES`], or [`MAX_BYTES`] of manifests, in all; else what the database
/// answers.
pub(super) async fn walk(db: &Db, targets: &[VersionId], depth: u32) -> Result<Vec<Vec<Ancestor>>> {
    let walked = store::walk(db, targets, depth).await?.into_iter();
    let is_published = |nodes: &Vec<Ancestor>| nodes.first().is_some_and(|node| node.published.is_some());
    Ok(walked.map(|nodes| if is_published(&nodes) { nodes } else { Vec::new() }).collect())
}

/// The error of an ancestry that is too large to be walked.
pub fn too_large() -> Error {
    let message = format!(
        "the ancestry has more than {MAX_NODES} versions, {MAX_EDGES} steps from one to a parent, or {} MiB of manifests or \
         proofs: ask for less depth",
        MAX_BYTES >> 20
    );
    Error::new(Kind::Conflict, TOO_LARGE, message).hint("depth")
}

/// What an ancestry depends on: its versions' rows and edges. The rows of those not published too: they may come.
pub fn tags(nodes: &[Ancestor], target: VersionId) -> Vec<Tag> {
    let tag = |id: &VersionId| Tag::new(format!("asset:{id}"));
    std::iter::once(tag(&target)).chain(nodes.iter().map(|node| tag(&node.version_id))).collect()
}
