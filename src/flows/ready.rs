//! Readiness: whether a version and everything it was made from is published, not recalled, and proven deep enough.
//!
//! The ancestry is the bundle's, down to the deepest that is walked; what lies deeper is not ready, never silently ready.
//! Nothing here is kept: the parts come from the cache, and the verdict is made anew each time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;

use super::bundle::{self, Structure};
use super::policy;
use crate::app::App;
use crate::domain::advisories::{Advisory, Severity, Target};
use crate::domain::caller::Caller;
use crate::domain::policies::evaluate::{Decision, Evaluation};
use crate::domain::spv::{Flaw, Verified, View};
use crate::error::{Error, Kind, Result};

/// Most blockers that are named.
const MOST_NAMED: usize = 100;

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// Where in the ancestry.
    pub version_id: VersionId,
    /// `not-found`, `lineage-too-deep`, `lineage-too-large`, `missing-manifest`, `recalled`, `missing-envelope`, why the
    /// proof is refused, or `policy-block`. Stable.
    pub reason: &'static str,
}

/// A verdict and what it rests on.
#[derive(Debug)]
pub struct Readiness {
    /// What stands in the way, the most telling first; empty when nothing does. At most 100 are named.
    pub blockers: Vec<Blocker>,
    /// Confirmations of the least confirmed version, 0 when one is not proven; `None` when the ancestry is not known whole.
    pub confirmations: Option<u32>,
    /// What the policy says, if one was given and the ancestry is known whole.
    pub policy: Option<Evaluation>,
    /// Whether the header source fails, so that the chain may be longer, or another one, than is known.
    pub is_unstable: bool,
}

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// The version.
    pub target: VersionId,
    /// Confirmations that are needed: more than `POLICY_MIN_CONFS` may be asked for, not fewer.
    pub min_confs: Option<u32>,
    /// The policy to hold it against.
    pub policy: policy::Asked,
}

impl Readiness {
    /// Whether nothing stands in the way.
    pub fn is_ready(&self) -> bool {
        self.blockers.is_empty()
    }

    fn no(version_id: VersionId, reason: &'static str) -> Self {
        Self { blockers: vec![Blocker { version_id, reason }], confirmations: None, policy: None, is_unstable: false }
    }
}

/// An ancestry with all that a verdict needs.
pub struct Ancestry {
    /// Versions, manifests and declarations.
    pub structure: Arc<Structure>,
    /// What each node's proof proves now, in the order of the nodes.
    pub proofs: Vec<Result<Verified, Flaw>>,
    /// What is said about each node or its producer and counts now, in the order of the nodes.
    pub advisories: Vec<Vec<Advisory>>,
    /// The best chain.
    pub chain: View,
}

/// Whether a version is ready at `now`.
///
/// # Errors
/// `policy-not-found`, `invalid-policy`; `unavailable` or `timeout` when the database does not answer. An unknown version is
/// not ready, and no error.
pub async fn readiness(app: &App, caller: &Caller, asked: Asked, now: DateTime<Utc>) -> Result<Readiness> {
    let is_unstable = app.unstable.load(Ordering::Relaxed);
    if is_unstable {
        // The source's return leaves no trace in the feed.
        caller.ledger().live(crate::cache::Outcome::Hit);
    }
    Ok(Readiness { is_unstable, ..verdict(app, caller, asked, now).await? })
}

async fn verdict(app: &App, caller: &Caller, asked: Asked, now: DateTime<Utc>) -> Result<Readiness> {
    let Asked { target, min_confs, policy } = asked;
    let applied = policy::chosen(app, caller, policy).await?;
    let ancestry = match ancestry(app, caller, target, now).await? {
        Ok(ancestry) => ancestry,
        Err(reason) => return Ok(Readiness::no(target, reason)),
    };
    let mut readiness = judge(&ancestry, min_confs.unwrap_or(0).max(app.terms.policy_min_confs));
    if let (Some(applied), Some(_)) = (&applied, readiness.confirmations) {
        let evaluation = policy::decide(app, caller, applied, &ancestry, now).await?;
        if evaluation.decision == Decision::Block {
            readiness.blockers.push(Blocker { version_id: target, reason: "policy-block" });
        }
        readiness.policy = Some(evaluation);
    }
    Ok(readiness)
}

/// What a policy says of a version at `now`, whatever else stands in the way.
///
/// # Errors
/// `not-found`, `lineage-too-deep`, `lineage-too-large` when the ancestry is not known whole; else as [`readiness`].
pub async fn evaluation(
    app: &App, caller: &Caller, target: VersionId, asked: policy::Asked, now: DateTime<Utc>,
) -> Result<Evaluation> {
    let applied = policy::chosen(app, caller, asked).await?;
    let applied = applied.ok_or_else(|| Error::invalid("no policy is given").hint("policyId"))?;
    let refused = |reason: &'static str| match reason {
        "not-found" => Error::not_found("no version of that id is published"),
        reason => Error::new(Kind::Conflict, reason, "the ancestry is not known whole, so it cannot be judged"),
    };
    let ancestry = ancestry(app, caller, target, now).await?.map_err(refused)?;
    if !ancestry.structure.cut().is_empty() {
        return Err(refused("lineage-too-deep"));
    }
    policy::decide(app, caller, &applied, &ancestry, now).await
}

/// The ancestry of `target`, or why it is not known whole.
///
/// # Errors
/// As [`readiness`].
pub async fn ancestry(
    app: &App, caller: &Caller, target: VersionId, now: DateTime<Utc>,
) -> Result<Result<Ancestry, &'static str>> {
    let structure = match bundle::structure(app, caller, target, app.terms.bundle_max_depth).await {
        Ok(Some(structure)) => structure,
        Ok(None) => return Ok(Err("not-found")),
        Err(error) if error.code() == bundle::TOO_LARGE => return Ok(Err(bundle::TOO_LARGE)),
        Err(error) => return Err(error),
    };
    let advisories = advisories(app, caller, &structure, now).await?;
    let chain = structure.view(app, caller).await?;
    let proofs = structure.nodes.iter().map(|node| node.verified(&chain)).collect();
    Ok(Ok(Ancestry { structure, proofs, advisories, chain }))
}

/// What is said about each node or its producer.
async fn advisories(
    app: &App, caller: &Caller, structure: &Structure, now: DateTime<Utc>,
) -> Result<Vec<Vec<Advisory>>> {
    let versions = structure.nodes.iter().map(|node| Target::Version(node.version.version_id));
    let producers: BTreeSet<&String> =
        structure.nodes.iter().filter_map(|node| Some(&node.version.published.as_ref()?.producer_id)).collect();
    let targets: Vec<Target> =
        versions.chain(producers.iter().map(|producer| Target::Producer((*producer).clone()))).collect();
    let mut about = app.advisories.about(caller, &targets, now).await?;
    let by_producer = about.split_off(structure.nodes.len());
    for (node, said) in structure.nodes.iter().zip(&mut about) {
        let producer = node.version.published.as_ref().map(|published| &published.producer_id);
        let at = producer.and_then(|wanted| producers.iter().position(|producer| *producer == wanted));
        said.extend(at.into_iter().flat_map(|at| by_producer[at].iter().cloned()));
    }
    Ok(about)
}

/// The verdict.
fn judge(ancestry: &Ancestry, min_confs: u32) -> Readiness {
    let Ancestry { structure, proofs, advisories, .. } = ancestry;
    let nodes = || structure.nodes.iter().zip(proofs).zip(advisories);
    let cut = structure.cut();
    let too_deep = cut.iter().map(|id| (*id, "lineage-too-deep"));
    let unpublished = nodes().filter(|((node, _), _)| node.version.published.is_none());
    let recalled = nodes().filter(|(_, said)| said.iter().any(|advisory| advisory.severity == Severity::Block));
    let unproven =
        nodes().filter(|((node, _), _)| node.version.published.is_some()).filter_map(|((node, proof), _)| {
            let verified = proof.and_then(|verified| verified.with_confirmations(min_confs).map_err(Flaw::Refused));
            Some((node.version.version_id, verified.err()?.code()))
        });
    let id = |((node, _), _): ((&bundle::Node, _), _)| node.version.version_id;
    let blockers = too_deep
        .chain(unpublished.map(|found| (id(found), "missing-manifest")))
        .chain(recalled.map(|found| (id(found), "recalled")))
        .chain(unproven)
        .take(MOST_NAMED)
        .map(|(version_id, reason)| Blocker { version_id, reason })
        .collect();
    let least = proofs.iter().map(|proof| proof.map_or(0, |verified| verified.confirmations)).min();
    Readiness { blockers, confirmations: least.filter(|_| cut.is_empty()), policy: None, is_unstable: false }
}
