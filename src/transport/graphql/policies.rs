//! Policies in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection, cost};
use super::publish::Committed;
use super::relay::global_id;
use super::runs::{EvaluationObject, RunConnection};
use super::scalars::{Hex32, Json};
use crate::domain::policies::runs::RunsOf;
use crate::domain::policies::{self, Policy};
use crate::error::Error;
use crate::flows::policies::{self as keeping, New};
use crate::flows::{policy, ready};

/// Rules that a consumer may hold an ancestry against.
pub(super) struct PolicyNode(pub(super) Arc<Policy>);

/// Rules that a consumer may hold an ancestry against.
#[Object(name = "Policy")]
impl PolicyNode {
    /// Relay global identifier.
    pub(super) async fn id(&self) -> ID {
        global_id("Policy", &self.0.policy_id)
    }

    /// Identifier.
    async fn policy_id(&self) -> &str {
        &self.0.policy_id
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it may be used.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// The rules.
    #[graphql(complexity = 5)]
    async fn document(&self, ctx: &Context<'_>) -> Nullable<Json> {
        nullable(Json::read(ctx, &self.0.doc).map(Some))
    }

    /// When it was first saved.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it was last saved.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// What it decided, the last first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn runs(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<RunConnection> {
        let arguments = Arguments { first, after, last, before };
        let whose = RunsOf::Policy(self.0.policy_id.clone());
        nullable(super::runs::of(ctx.data_unchecked(), whose, arguments).await.map(Some))
    }
}

#[derive(Default)]
pub(super) struct PolicyQuery;

#[Object]
impl PolicyQuery {
    /// One policy; null when there is none of that identifier.
    async fn policy(&self, ctx: &Context<'_>, policy_id: String) -> Nullable<PolicyNode> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let id = super::relay::identifier(policy_id, "policyId")?;
            Ok(loaders.policy(id).await?.map(PolicyNode))
        };
        nullable(outcome.await)
    }

    /// Policies, by name.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn policies(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<Connection<String, PolicyNode, EmptyFields, EmptyFields>> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let request = Arguments { first, after, last, before }.request(&policies::BY_NAME)?;
            let page = loaders.app.policies.page(&loaders.caller, &request).await?;
            let ids: Vec<String> = page.rows.iter().map(|row| row.id.clone()).collect();
            let mut found = loaders.app.policies.get_many(&loaders.caller, &ids).await?.into_iter();
            Ok(connection(&request, &page, EmptyFields, |_| found.next().flatten().map(PolicyNode)))
        };
        Some(outcome.await.map_err(|e: Error| graphql(&e)))
    }
}

/// A policy to be kept, in the place of the one of its identifier if there is one.
#[derive(InputObject)]
struct SavePolicyInput {
    /// Its identifier; made when none is given.
    policy_id: Option<String>,
    /// Display name.
    name: String,
    /// Whether it may be used.
    #[graphql(default = true)]
    enabled: bool,
    /// The rules.
    document: Json,
}

/// A policy as it is kept.
struct SavePolicyPayload {
    policy_id: String,
}

#[Object]
impl SavePolicyPayload {
    /// The policy.
    async fn policy(&self, ctx: &Context<'_>) -> Nullable<PolicyNode> {
        let found = ctx.data_unchecked::<Loaders>().policy(self.policy_id.clone()).await;
        nullable(found.map(|policy| policy.map(PolicyNode)))
    }
}

/// A policy to be removed.
#[derive(InputObject)]
struct RemovePolicyInput {
    /// Its identifier.
    policy_id: String,
}

/// A policy that was removed. Its runs stay on record.
#[derive(SimpleObject)]
struct RemovePolicyPayload {
    /// Its identifier.
    policy_id: String,
}

/// What to evaluate: one of `policyId` and `policy`.
#[derive(InputObject)]
struct EvaluatePolicyInput {
    /// The version to be judged.
    version_id: Hex32,
    /// A saved policy.
    policy_id: Option<String>,
    /// Rules that come along.
    policy: Option<Json>,
}

/// What the policy decided.
#[derive(SimpleObject)]
struct EvaluatePolicyPayload {
    /// The decision; it is on record.
    evaluation: EvaluationObject,
}

#[derive(Default)]
pub(super) struct PolicyMutation;

#[Object]
impl PolicyMutation {
    /// Keeps a policy. For administrators.
    #[graphql(complexity = "500 + child_complexity")]
    async fn save_policy(&self, ctx: &Context<'_>, input: SavePolicyInput) -> Nullable<SavePolicyPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                let SavePolicyInput { policy_id, name, enabled, document } = input;
                let document = document.0.into_json().map_err(Error::internal)?;
                keeping::save(&loaders.app, &loaders.caller, New { policy_id, name, enabled, document }).await
            };
            let (policy_id, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(SavePolicyPayload { policy_id })
        })
        .await
    }

    /// Removes a policy. For administrators.
    #[graphql(complexity = "500 + child_complexity")]
    async fn remove_policy(&self, ctx: &Context<'_>, input: RemovePolicyInput) -> Nullable<RemovePolicyPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                loaders.caller.may_administer()?;
                let id = super::relay::identifier(input.policy_id.clone(), "policyId")?;
                keeping::remove(&loaders.app, &loaders.caller, &id).await
            };
            ctx.data_unchecked::<Arc<Committed>>().note(outcome.await.map_err(|error| graphql(&error))?);
            Ok(RemovePolicyPayload { policy_id: input.policy_id })
        })
        .await
    }

    /// What a policy says of a version, whatever else stands in the way. Everybody with an identity may ask.
    #[graphql(complexity = "1000 + child_complexity")]
    async fn evaluate_policy(&self, ctx: &Context<'_>, input: EvaluatePolicyInput) -> Nullable<EvaluatePolicyPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                let asked = match (input.policy_id, input.policy) {
                    (Some(id), None) => policy::Asked::Saved(id),
                    (None, Some(document)) => policy::Asked::Inline(document.0.into_json().map_err(Error::internal)?),
                    _ => return Err(Error::invalid("one of `policyId` and `policy` must be given").hint("policyId")),
                };
                ready::evaluation(&loaders.app, &loaders.caller, input.version_id.0, asked, Utc::now()).await
            };
            let evaluation = outcome.await.map_err(|error| graphql(&error))?;
            Ok(EvaluatePolicyPayload { evaluation: EvaluationObject(evaluation) })
        })
        .await
    }
}
