//! What policies decided, in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, Enum, Object};
use chrono::{DateTime, Utc};

use super::assets::AssetNode;
use super::error::{Nullable, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection};
use super::policies::PolicyNode;
use super::scalars::{Hex32, Json};
use crate::domain::policies::evaluate::{Decision, Evaluation};
use crate::domain::policies::runs::{NEWEST, Run, RunsOf};
use crate::error::{Error, Result};

/// What a policy decides.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Decision")]
pub(super) enum PolicyDecision {
    /// Nothing speaks against it.
    Allow,
    /// Only soft constraints are not met.
    Warn,
    /// A hard constraint is not met.
    Block,
}

/// A policy's decision and what it rests on.
pub(super) struct EvaluationObject(pub(super) Evaluation);

#[Object(name = "PolicyEvaluation")]
impl EvaluationObject {
    /// What the policy decides.
    async fn decision(&self) -> PolicyDecision {
        self.0.decision.into()
    }

    /// Codes of the hard constraints that do not hold.
    async fn reasons(&self) -> &[String] {
        &self.0.reasons
    }

    /// Codes of the soft ones.
    async fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Every check that ran, and what it compared.
    #[graphql(complexity = 5)]
    async fn evidence(&self) -> Nullable<Json> {
        let evidence = async_graphql::Value::from_json(serde_json::json!(self.0.evidence));
        nullable(evidence.map(|value| Some(Json(value))).map_err(Error::internal))
    }
}

/// A decision that was made, as it is on record.
pub(super) struct RunObject(Arc<Run>);

#[Object(name = "PolicyRun")]
impl RunObject {
    /// Identifier.
    async fn run_id(&self) -> &str {
        &self.0.run_id
    }

    /// The policy's identifier; null for one that came with the request.
    async fn policy_id(&self) -> Option<&str> {
        self.0.policy_id.as_deref()
    }

    /// The policy as it is now; null when it is gone, or came with the request.
    async fn policy(&self, ctx: &Context<'_>) -> Nullable<PolicyNode> {
        let id = self.0.policy_id.clone()?;
        nullable(ctx.data_unchecked::<Loaders>().policy(id).await.map(|policy| policy.map(PolicyNode)))
    }

    /// The version that was judged.
    async fn version_id(&self) -> Hex32 {
        Hex32(self.0.version_id)
    }

    /// The catalogue's entry of it.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(self.0.version_id).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }

    /// What was decided.
    async fn decision(&self) -> PolicyDecision {
        self.0.decision.into()
    }

    /// Codes of the hard constraints that did not hold.
    async fn reasons(&self) -> &[String] {
        &self.0.reasons
    }

    /// Codes of the soft ones.
    async fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// `{document, facts, checks}`: what the policy said then, what was known, and what each check compared. From the first
    /// two the decision can be made again.
    #[graphql(complexity = 50)]
    async fn evidence(&self, ctx: &Context<'_>) -> Nullable<Json> {
        let found = ctx.data_unchecked::<Loaders>().evidence(self.0.run_id.clone()).await;
        nullable(found.and_then(|document| document.map(|d| Json::read(ctx, &d)).transpose()))
    }

    /// When it was decided.
    async fn evaluated_at(&self) -> DateTime<Utc> {
        self.0.evaluated_at
    }
}

pub(super) type RunConnection = Connection<String, RunObject, EmptyFields, EmptyFields>;

/// A page of runs; those of all siblings come with one statement.
pub(super) async fn of(loaders: &Loaders, whose: RunsOf, arguments: Arguments) -> Result<RunConnection> {
    let request = arguments.request(&NEWEST)?;
    let found = loaders.runs_of(whose, request.clone()).await?;
    let mut runs = found.runs.iter();
    Ok(connection(&request, &found.page, EmptyFields, |_| runs.next().cloned().map(RunObject)))
}
