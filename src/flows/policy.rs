//! Evaluating policies: gathering the facts, and leaving an audit of every decision from which it can be made again.

mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bundle::Node;
use super::ready::Ancestry;
use crate::app::App;
use crate::domain::Fault;
use crate::domain::advisories::Severity;
use crate::domain::assets::Asset;
use crate::domain::caller::Caller;
use crate::domain::policies::document::PolicyDocument;
use crate::domain::policies::evaluate::{Evaluation, evaluate, preview};
use crate::domain::policies::facts::{Facts, ManifestFacts, NodeFacts};
use crate::domain::producers::Producer;
use crate::error::{Error, Kind, Result};

/// A policy that is to be applied.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its identifier, when it is a saved one.
    pub policy_id: Option<String>,
    /// Its rules.
    pub document: PolicyDocument,
}

/// Which policy is asked for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// The server's own, if it has one.
    Default,
    /// A saved one.
    Saved(String),
    /// One that came along.
    Inline(Value),
}

/// The code of a policy that there is not.
pub const NOT_FOUND: &str = "policy-not-found";

/// The policy that is asked for; `None` when none applies.
///
/// # Errors
/// `policy-not-found` when there is none of that identifier, or it is switched off; `invalid-policy` with the faults.
pub async fn chosen(app: &App, caller: &Caller, asked: Asked) -> Result<Option<Applied>> {
    let id = match asked {
        Asked::Inline(document) => {
            let document = PolicyDocument::parse(&document).map_err(|faults| invalid(&faults))?;
            return Ok(Some(Applied { policy_id: None, document }));
        }
        Asked::Saved(id) => id,
        Asked::Default => match &app.terms.policy_default_id {
            Some(id) => id.clone(),
            None => return Ok(None),
        },
    };
    let found = match can_be_id(&id) {
        true => app.policies.get_many(caller, std::slice::from_ref(&id)).await?.pop().flatten(),
        false => None,
    };
    let policy = found.filter(|policy| policy.enabled);
    let policy = policy
        .ok_or_else(|| Error::new(Kind::NotFound, NOT_FOUND, "no policy of that id is in force").hint("policyId"))?;
    let document: Value = serde_json::from_str(policy.doc.text()).map_err(Error::internal)?;
    let document = PolicyDocument::parse(&document).map_err(|faults| invalid(&faults))?;
    Ok(Some(Applied { policy_id: Some(id), document }))
}

/// Whether there could be a policy of that id: what cannot be is not looked for, and becomes no key of the cache.
pub fn can_be_id(id: &str) -> bool {
    (1..=200).contains(&id.len()) && !id.contains('\0')
}

/// The error of a faulty document.
pub(super) fn invalid(faults: &[Fault]) -> Error {
    Fault::refusal(Kind::Unprocessable, "invalid-policy", faults)
}

/// Evaluates a policy over each of `ancestries`, and writes the audit: all of it in one transaction.
///
/// # Errors
/// What the database answers: without its audit there is no decision.
pub(super) async fn decide(
    app: &App, caller: &Caller, applied: &Applied, ancestries: &[&Ancestry], now: DateTime<Utc>,
) -> Result<Vec<Evaluation>> {
    if ancestries.is_empty() {
        return Ok(Vec::new());
    }
    // It is made at a moment, and goes on record: no kept answer may stand for it.
    caller.ledger().live(crate::cache::Outcome::Miss);
    let (mut evaluations, mut runs) = (Vec::new(), Vec::new());
    for (facts, ancestry) in gather(app, caller, ancestries, now).await?.into_iter().zip(ancestries) {
        let evaluation = evaluate(&applied.document, &facts);
        let target = ancestry.structure.target().ok_or_else(|| Error::internal("an ancestry has a target"))?;
        let evidence = json!({"document": applied.document, "facts": facts, "checks": evaluation.evidence});
        runs.push(store::Run {
            run_id: Uuid::now_v7().to_string(),
            version_id: target.version.version_id,
            decision: evaluation.decision,
            reasons: json!(evaluation.reasons),
            warnings: json!(evaluation.warnings),
            evidence,
        });
        evaluations.push(evaluation);
    }
    let policy_id = applied.policy_id.clone();
    app.write("policy.run", move |tx| Box::pin(async move { store::record(tx, runs, policy_id, now).await })).await?;
    Ok(evaluations)
}

/// The facts of each ancestry.
async fn gather(app: &App, caller: &Caller, ancestries: &[&Ancestry], now: DateTime<Utc>) -> Result<Vec<Facts>> {
    let nodes = || ancestries.iter().flat_map(|ancestry| &ancestry.structure.nodes);
    let producer_of = |node: &Node| Some(node.version.published.as_ref()?.producer_id.clone());
    let producers: Vec<String> = nodes().map(|node| producer_of(node).unwrap_or_default()).collect();
    let known = app.producers.get_many(caller, &producers).await?;
    let priced: Vec<_> = nodes().zip(&producers).map(|(n, p)| (n.version.version_id, p.clone())).collect();
    let prices = app.prices.of_one_unit(caller, &priced).await?;
    let mut beside = known.iter().zip(&prices);
    let mut facts_of = |ancestry: &Ancestry, depth: u32, at: usize| {
        let node = &ancestry.structure.nodes[at];
        let (producer, price) = beside.next().ok_or_else(|| Error::internal("one for each version"))?;
        let said = match &node.version.published {
            Some(published) => {
                let manifest: Value = serde_json::from_str(published.manifest.text()).map_err(Error::internal)?;
                ManifestFacts::of(&manifest)
            }
            None => ManifestFacts::default(),
        };
        let is_published = node.version.published.is_some();
        Ok(NodeFacts {
            version_id: node.version.version_id.to_string(),
            depth,
            confirmations: ancestry.proofs[at].map_or(0, |verified| verified.confirmations),
            is_recalled: ancestry.advisories[at].iter().any(|advisory| advisory.severity == Severity::Block),
            producer_id: producer_of(node),
            identity_key: producer.as_ref().map(|producer| producer.identity_key.clone()),
            price: is_published.then_some(price.satoshis),
            said,
        })
    };
    let facts = |ancestry: &&Ancestry| {
        let depths = ancestry.structure.generations().into_iter().enumerate();
        let all = depths.map(|(at, depth)| facts_of(ancestry, depth, at)).collect::<Result<Vec<_>>>();
        let mut all = all?.into_iter();
        let target = all.next().ok_or_else(|| Error::internal("an ancestry has a target"))?;
        Ok(Facts { evaluated_at: now.timestamp(), target, ancestors: all.collect() })
    };
    ancestries.iter().map(facts).collect()
}

/// What a policy would say of rows of the catalogue, as far as they tell. Writes nothing.
///
/// # Errors
/// `unavailable` or `timeout` when the database does not answer.
pub async fn previews(
    app: &App, caller: &Caller, document: &PolicyDocument, assets: &[Arc<Asset>], now: DateTime<Utc>,
) -> Result<Vec<Evaluation>> {
    let ids: Vec<String> = assets.iter().map(|asset| asset.producer_id.clone()).collect();
    let producers = app.producers.get_many(caller, &ids).await?;
    if document.max_data_age_seconds.is_some() {
        // Age grows without a trace in the feed.
        caller.ledger().live(crate::cache::Outcome::Hit);
    }
    let evaluate = |(asset, producer): (&Arc<Asset>, &Option<Arc<Producer>>)| {
        let row = NodeFacts {
            version_id: asset.version_id.to_string(),
            producer_id: Some(asset.producer_id.clone()),
            identity_key: producer.as_ref().map(|producer| producer.identity_key.clone()),
            said: ManifestFacts {
                classification: asset.classification.clone(),
                license: asset.license.clone(),
                pii_flags: Some(asset.pii_flags.clone()),
                mime_type: asset.mime_type.clone(),
                created_at: Some(asset.created_at.timestamp()),
                ..ManifestFacts::default()
            },
            ..NodeFacts::default()
        };
        preview(document, row, now.timestamp())
    };
    Ok(assets.iter().zip(&producers).map(evaluate).collect())
}
