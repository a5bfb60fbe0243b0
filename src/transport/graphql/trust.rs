//! Bundles, verdicts and declarations in GraphQL.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_graphql::{Context, Object};
use chrono::Utc;

use super::assets::AssetNode;
use super::error::{Nullable, nullable};
use super::inputs::whole;
use super::loaders::{Loaders, Proven};
use super::runs::EvaluationObject;
use super::scalars::{Hex32, Json};
use crate::domain::spv::Block;
use crate::error::Error;
use crate::flows::bundle::{self, Bundle, Node};
use crate::flows::policy;
use crate::flows::ready::{self, Asked, Blocker, Readiness};

/// An ancestry with every version's manifest and proof. Every proof in it holds against the best chain of this moment.
pub(super) struct BundleObject {
    bundle: Arc<Bundle>,
    depth: u32,
}

#[Object(name = "Bundle")]
impl BundleObject {
    /// The version that the bundle is about.
    async fn target(&self) -> Option<Hex32> {
        self.bundle.structure.target().map(|node| Hex32(node.version.version_id))
    }

    /// How many generations were walked.
    async fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether the ancestry is whole: the depth leaves no ancestor out.
    async fn complete(&self) -> bool {
        self.bundle.structure.cut().is_empty()
    }

    /// The versions whose parents the depth leaves out; empty when the ancestry is whole.
    async fn cut_at(&self) -> Vec<Hex32> {
        self.bundle.structure.cut().into_iter().map(Hex32).collect()
    }

    /// Confirmations of the least confirmed version.
    async fn confirmations(&self) -> u32 {
        self.bundle.verified.iter().map(|verified| verified.confirmations).min().unwrap_or(0)
    }

    /// The versions, the target first, then by generation and identifier.
    #[graphql(complexity = "50 * child_complexity")]
    async fn nodes(&self) -> Vec<BundleNode> {
        (0..self.bundle.verified.len()).map(|at| BundleNode { bundle: self.bundle.clone(), at }).collect()
    }

    /// Who was made from whom.
    #[graphql(complexity = "50 * child_complexity")]
    async fn edges(&self) -> Vec<BundleEdge> {
        let edges = self.bundle.structure.edges().into_iter();
        edges.map(|(child, parent)| BundleEdge { child: Hex32(child), parent: Hex32(parent) }).collect()
    }
}

/// An edge of an ancestry.
#[derive(async_graphql::SimpleObject)]
pub(super) struct BundleEdge {
    /// What was made.
    child: Hex32,
    /// What it was made from.
    parent: Hex32,
}

/// A version in a bundle.
pub(super) struct BundleNode {
    bundle: Arc<Bundle>,
    at: usize,
}

impl BundleNode {
    fn node(&self) -> &Node {
        &self.bundle.structure.nodes[self.at]
    }
}

#[Object]
impl BundleNode {
    /// The version.
    async fn version_id(&self) -> Hex32 {
        Hex32(self.node().version.version_id)
    }

    /// Generations from the target, on the shortest way.
    async fn depth(&self) -> u32 {
        self.node().version.depth
    }

    /// The catalogue's entry.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(self.node().version.version_id).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }

    /// The manifest as it was published. Its hash is the version's identifier.
    #[graphql(complexity = 5)]
    async fn manifest(&self, ctx: &Context<'_>) -> Nullable<Json> {
        let published = self.node().version.published.as_ref();
        nullable(published.map(|published| Json::read(ctx, &published.manifest)).transpose())
    }

    /// The output that declares it, `txid:vout`.
    async fn txo(&self) -> Option<String> {
        self.node().declared.as_ref().map(|declared| format!("{}:{}", declared.txid, declared.vout))
    }

    /// The proof.
    async fn proof(&self) -> Option<ProofObject> {
        let declared = Arc::new(self.node().declared.clone()?);
        Some(ProofObject(Arc::new(Proven { declared, outcome: Ok(self.bundle.verified[self.at]) })))
    }
}

/// A version's declaration on chain.
pub(super) struct DeclarationObject(pub(super) Arc<Proven>);

#[Object(name = "Declaration")]
impl DeclarationObject {
    /// The declaring transaction.
    async fn txid(&self) -> String {
        self.0.declared.txid.to_string()
    }

    /// Index of the declaring output.
    async fn vout(&self) -> u32 {
        self.0.declared.vout
    }

    /// `DLM1`, `TRN1` or `UNKNOWN`.
    async fn kind(&self) -> &str {
        &self.0.declared.kind
    }

    /// The proof, when it holds against the best chain of this moment.
    async fn proof(&self) -> Option<ProofObject> {
        self.0.outcome.is_ok().then(|| ProofObject(self.0.clone()))
    }

    /// Why there is no proof that holds: `missing-envelope`, `onchain-mh-mismatch`, or why verification refuses it.
    async fn flaw(&self) -> Option<&str> {
        self.0.outcome.as_ref().err().map(crate::domain::spv::Flaw::code)
    }
}

/// A proof that holds against the best chain of this moment.
pub(super) struct ProofObject(Arc<Proven>);

#[Object(name = "Proof")]
impl ProofObject {
    /// The proven transaction.
    async fn txid(&self) -> String {
        self.0.declared.txid.to_string()
    }

    /// Its block.
    async fn block_hash(&self) -> Option<String> {
        self.0.outcome.as_ref().ok().map(|verified| verified.block_hash.to_string())
    }

    /// The block's height.
    async fn block_height(&self) -> Option<u32> {
        self.0.outcome.as_ref().ok().map(|verified| verified.block_height)
    }

    /// The block's Merkle root.
    async fn merkle_root(&self) -> Option<String> {
        self.0.outcome.as_ref().ok().map(|verified| verified.merkle_root.to_string())
    }

    /// Blocks from this one to the tip, both counted.
    async fn confirmations(&self) -> u32 {
        self.0.confirmations()
    }

    /// The envelope: the transaction, the Merkle path and the block.
    #[graphql(complexity = 5)]
    async fn envelope(&self, ctx: &Context<'_>) -> Nullable<Json> {
        nullable(self.0.declared.envelope.as_ref().map(|envelope| Json::read(ctx, envelope)).transpose())
    }
}

/// Whether a version may be used.
pub(super) struct ReadinessObject(pub(super) Arc<Readiness>);

#[Object(name = "Readiness")]
impl ReadinessObject {
    /// Whether nothing stands in the way.
    async fn ready(&self) -> bool {
        self.0.is_ready()
    }

    /// The most telling of the blockers.
    async fn reason(&self) -> Option<&str> {
        self.0.blockers.first().map(|blocker| blocker.reason)
    }

    /// What stands in the way, and where in the ancestry; at most 100.
    #[graphql(complexity = "20 * child_complexity")]
    async fn blockers(&self) -> Vec<BlockerObject> {
        self.0.blockers.iter().cloned().map(BlockerObject).collect()
    }

    /// Confirmations of the least confirmed version, 0 when one is not proven; null when the ancestry is not known whole.
    async fn confirmations(&self) -> Option<u32> {
        self.0.confirmations
    }

    /// Whether the header source fails, so that the chain may be longer, or another one, than is known.
    async fn unstable(&self, ctx: &Context<'_>) -> bool {
        // It changes without a trace in the feed.
        ctx.data_unchecked::<Loaders>().caller.ledger().live(crate::cache::Outcome::Hit);
        self.0.is_unstable
    }

    /// What the policy says; null when none was given, or the ancestry is not known whole.
    async fn policy(&self) -> Option<EvaluationObject> {
        self.0.policy.clone().map(EvaluationObject)
    }
}

/// Something that stands in the way.
pub(super) struct BlockerObject(Blocker);

#[Object(name = "Blocker")]
impl BlockerObject {
    /// The version it is about.
    async fn version_id(&self) -> Hex32 {
        Hex32(self.0.version_id)
    }

    /// A stable name.
    async fn reason(&self) -> &str {
        self.0.reason
    }
}

#[derive(Default)]
pub(super) struct TrustQuery;

/// The last block of the best chain.
pub(super) struct ChainTip(pub(super) Arc<Block>);

#[Object]
impl ChainTip {
    /// Block hash.
    async fn hash(&self) -> String {
        self.0.hash.to_string()
    }

    /// Height, the genesis block being 0.
    async fn height(&self) -> u32 {
        self.0.height
    }

    /// Root over the block's transaction ids.
    async fn merkle_root(&self) -> String {
        self.0.merkle_root.to_string()
    }

    /// Whether the header source fails, so that the chain may be longer, or another one, than is known.
    async fn unstable(&self, ctx: &Context<'_>) -> bool {
        let loaders = ctx.data_unchecked::<Loaders>();
        // It changes without a trace in the feed.
        loaders.caller.ledger().live(crate::cache::Outcome::Hit);
        loaders.app.unstable.load(Ordering::Relaxed)
    }
}

#[Object]
impl TrustQuery {
    /// The last block of the best chain; null when no header is known.
    #[graphql(complexity = "3 + child_complexity")]
    async fn chain_tip(&self, ctx: &Context<'_>) -> Nullable<ChainTip> {
        let loaders = ctx.data_unchecked::<Loaders>();
        nullable(loaders.app.spv.tip(&loaders.caller).await.map(|tip| tip.map(ChainTip)))
    }

    /// The ancestry of a version with manifests and proofs, down to `depth` generations (all that are walked unless told).
    #[graphql(complexity = "1000 + child_complexity")]
    async fn bundle(&self, ctx: &Context<'_>, version_id: Hex32, depth: Option<i32>) -> Nullable<BundleObject> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let found = async {
            let depth = bundle::depth(&loaders.app, whole(depth, "depth")?)?;
            let bundle = bundle::bundle(&loaders.app, &loaders.caller, version_id.0, depth).await?;
            Ok(Some(BundleObject { bundle: Arc::new(bundle), depth }))
        };
        nullable(found.await)
    }

    /// Whether a version and everything it was made from is published, not recalled, proven, and, if a policy is given (or
    /// the server has one of its own), allowed by it. `minConfs` may ask for more confirmations than the server does, not for
    /// fewer. Every evaluation of a policy is on record.
    #[graphql(complexity = "1000 + child_complexity")]
    async fn readiness(
        &self, ctx: &Context<'_>, version_id: Hex32, policy_id: Option<String>, policy: Option<Json>,
        min_confs: Option<i32>,
    ) -> Nullable<ReadinessObject> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let found = async {
            let policy = match (policy_id, policy) {
                (Some(_), Some(_)) => {
                    return Err(Error::invalid("`policyId` and `policy` exclude each other").hint("policy"));
                }
                (Some(id), None) => policy::Asked::Saved(id),
                (None, Some(document)) => policy::Asked::Inline(document.0.into_json().map_err(Error::internal)?),
                (None, None) => policy::Asked::Default,
            };
            let asked = Asked { min_confs: whole(min_confs, "minConfs")?, policy };
            ready::readiness(&loaders.app, &loaders.caller, version_id.0, asked, Utc::now()).await
        };
        nullable(found.await.map(|readiness| Some(ReadinessObject(Arc::new(readiness)))))
    }
}
