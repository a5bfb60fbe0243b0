//! Readiness: whether a version and everything it was made from is published, not recalled, and proven deep enough.
//!
//! The ancestry is the bundle's, down to the deepest that is walked; what lies deeper is not ready, never silently ready.
//! Nothing here is kept: the parts come from the cache, and the verdict is made anew each time.

use std::collections::HashMap;
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
use crate::domain::spv::{Flaw, Verified};
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

/// What a version is held against.
#[derive(Debug)]
pub struct Asked {
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
pub(super) struct Ancestry {
    /// Versions, manifests and declarations.
    pub(super) structure: Arc<Structure>,
    /// What each node's proof proves now, in the order of the nodes.
    pub(super) proofs: Vec<Result<Verified, Flaw>>,
    /// What is said about each node or its producer and counts now, in the order of the nodes.
    pub(super) advisories: Vec<Vec<Advisory>>,
}

/// Whether a version is ready at `now`.
///
/// # Errors
/// `policy-not-found`, `invalid-policy`; `unavailable` or `timeout` when the database does not answer. An unknown version is
/// not ready, and no error.
pub async fn readiness(
    app: &App, caller: &Caller, target: VersionId, asked: Asked, now: DateTime<Utc>,
) -> Result<Readiness> {
    let verdict = readinesses(app, caller, &[target], asked, now).await?.pop();
    verdict.ok_or_else(|| Error::internal("one verdict for each target"))
}

/// Whether each of `targets` is ready at `now`, in order. The number of statements does not grow with theirs.
///
/// # Errors
/// As [`readiness`].
pub async fn readinesses(
    app: &App, caller: &Caller, targets: &[VersionId], asked: Asked, now: DateTime<Utc>,
) -> Result<Vec<Readiness>> {
    let is_unstable = app.unstable.load(Ordering::Relaxed);
    if is_unstable {
        // The source's return leaves no trace in the feed.
        caller.ledger().live(crate::cache::Outcome::Hit);
    }
    let Asked { min_confs, policy } = asked;
    let applied = policy::chosen(app, caller, policy).await?;
    let min_confs = min_confs.unwrap_or(0).max(app.terms.policy_min_confs);
    let ancestries = ancestries(app, caller, targets, now).await?;
    let verdict = |(target, ancestry): (&VersionId, &Result<Ancestry, &'static str>)| match ancestry {
        Ok(ancestry) => judge(ancestry, min_confs),
        Err(reason) => Readiness::no(*target, reason),
    };
    let mut verdicts: Vec<Readiness> = targets.iter().zip(&ancestries).map(verdict).collect();
    if let Some(applied) = applied {
        let known = verdicts.iter_mut().zip(targets).zip(&ancestries);
        let known = known.filter_map(|((verdict, target), ancestry)| {
            verdict.confirmations?;
            Some(((verdict, *target), ancestry.as_ref().ok()?))
        });
        let (verdicts, ancestries): (Vec<_>, Vec<&Ancestry>) = known.unzip();
        let evaluations = policy::decide(app, caller, &applied, &ancestries, now).await?;
        for ((verdict, version_id), evaluation) in verdicts.into_iter().zip(evaluations) {
            if evaluation.decision == Decision::Block {
                verdict.blockers.push(Blocker { version_id, reason: "policy-block" });
            }
            verdict.policy = Some(evaluation);
        }
    }
    for verdict in &verdicts {
        let reason = verdict.blockers.first().map_or("ready", |blocker| blocker.reason);
        metrics::counter!("overlay_ready_decisions_total", "reason" => reason).increment(1);
    }
    Ok(verdicts.into_iter().map(|verdict| Readiness { is_unstable, ..verdict }).collect())
}

/// What a policy says of a version at `now`, whatever else stands in the way. Nothing else is asked for than the decision, and
/// that goes on record, so this is a write.
///
/// # Errors
/// `identity-required`; `not-found`, `lineage-too-deep`, `lineage-too-large` when the ancestry is not known whole; else as [`readiness`].
pub async fn evaluation(
    app: &App, caller: &Caller, target: VersionId, asked: policy::Asked, now: DateTime<Utc>,
) -> Result<Evaluation> {
    caller.may_write()?;
    let applied = policy::chosen(app, caller, asked).await?;
    let applied = applied.ok_or_else(|| Error::invalid("no policy is given").hint("policyId"))?;
    let refused = |reason: &'static str| match reason {
        "not-found" => Error::not_found("no version of that id is published"),
        reason => Error::new(Kind::Conflict, reason, "the ancestry is not known whole, so it cannot be judged"),
    };
    let one = || Error::internal("one for each target");
    let ancestry = ancestries(app, caller, &[target], now).await?.pop().ok_or_else(one)?.map_err(refused)?;
    if !ancestry.structure.cut().is_empty() {
        return Err(refused("lineage-too-deep"));
    }
    policy::decide(app, caller, &applied, &[&ancestry], now).await?.pop().ok_or_else(one)
}

/// The ancestry of each of `targets`, or why it is not known whole.
async fn ancestries(
    app: &App, caller: &Caller, targets: &[VersionId], now: DateTime<Utc>,
) -> Result<Vec<Result<Ancestry, &'static str>>> {
    let structures = structures(app, caller, targets).await?;
    let known: Vec<&Structure> = structures.iter().filter_map(|found| found.as_deref().ok()).collect();
    let mut advisories = advisories(app, caller, &known, now).await?.into_iter();
    let chain = app.spv.view(caller, known.iter().flat_map(|structure| structure.blocks())).await?;
    let mut ancestry = |structure: Arc<Structure>| Ancestry {
        proofs: structure.nodes.iter().map(|node| node.verified(&chain)).collect(),
        advisories: advisories.by_ref().take(structure.nodes.len()).collect(),
        structure,
    };
    Ok(structures.into_iter().map(|found| found.map(&mut ancestry)).collect())
}

async fn structures(
    app: &App, caller: &Caller, targets: &[VersionId],
) -> Result<Vec<Result<Arc<Structure>, &'static str>>> {
    let depth = app.terms.bundle_max_depth;
    match bundle::structures(app, caller, targets, depth).await {
        Ok(found) => return Ok(found.into_iter().map(|structure| structure.ok_or("not-found")).collect()),
        Err(error) if error.code() != bundle::TOO_LARGE => return Err(error),
        Err(_) => {}
    }
    // Together they are too large, or one of them is: one after another, so that as few bytes as can be are held.
    let mut each = Vec::with_capacity(targets.len());
    for target in targets {
        each.push(match bundle::structure(app, caller, *target, depth).await {
            Ok(structure) => structure.ok_or("not-found"),
            Err(error) if error.code() == bundle::TOO_LARGE => Err(bundle::TOO_LARGE),
            Err(error) => return Err(error),
        });
    }
    Ok(each)
}

/// What is said about each node of the structures, one after another, or its producer.
async fn advisories(
    app: &App, caller: &Caller, structures: &[&Structure], now: DateTime<Utc>,
) -> Result<Vec<Vec<Advisory>>> {
    let nodes = || structures.iter().flat_map(|structure| &structure.nodes);
    let producer_of =
        |node: &bundle::Node| Some(Target::Producer(node.version.published.as_ref()?.producer_id.clone()));
    // In the order in which they are met, each once.
    let (mut targets, mut places) = (Vec::new(), HashMap::new());
    for target in nodes().flat_map(|n| [Some(Target::Version(n.version.version_id)), producer_of(n)]).flatten() {
        places.entry(target).or_insert_with_key(|target| {
            targets.push(target.clone());
            targets.len() - 1
        });
    }
    let about = app.advisories.about(caller, &targets, now).await?;
    let said = |node: &bundle::Node| {
        let whom = [Some(Target::Version(node.version.version_id)), producer_of(node)];
        whom.iter().flatten().flat_map(|target| about[places[target]].iter().cloned()).collect()
    };
    Ok(nodes().map(said).collect())
}

/// The verdict.
fn judge(ancestry: &Ancestry, min_confs: u32) -> Readiness {
    let Ancestry { structure, proofs, advisories } = ancestry;
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
