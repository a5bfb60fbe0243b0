//! Policies in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, ID, Object};
use chrono::{DateTime, Utc};

use super::error::{Nullable, graphql, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection, cost};
use super::relay::global_id;
use super::runs::RunConnection;
use super::scalars::Json;
use crate::domain::policies::runs::RunsOf;
use crate::domain::policies::{self, Policy};
use crate::error::Error;

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
    async fn document(&self) -> Nullable<Json> {
        nullable(Json::read(&self.0.doc).map(Some))
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
