//! Advisories in GraphQL.

use std::sync::Arc;

use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::publish::Committed;
use super::scalars::{Hex32, Json};
use crate::domain::advisories::{Advisory, Severity};
use crate::error::Error;
use crate::flows::advisories::{self, Issue};

/// How bad it is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdvisoryType {
    /// Do not use it, nor anything made from it.
    Block,
    /// Look before you use it.
    Warn,
}

/// A recall or a warning.
pub(super) struct AdvisoryObject(pub(super) Advisory);

#[Object(name = "Advisory")]
impl AdvisoryObject {
    /// Identifier.
    async fn advisory_id(&self) -> &str {
        &self.0.advisory_id
    }

    /// How bad it is.
    #[graphql(name = "type")]
    async fn kind(&self) -> AdvisoryType {
        match self.0.severity {
            Severity::Block => AdvisoryType::Block,
            Severity::Warn => AdvisoryType::Warn,
        }
    }

    /// For people.
    async fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Details.
    #[graphql(complexity = 5)]
    async fn payload(&self, ctx: &Context<'_>) -> Nullable<Json> {
        nullable(self.0.payload.as_ref().map(|payload| Json::read(ctx, payload)).transpose())
    }

    /// When it was issued.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it ends; null is never.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }
}

/// An advisory to be issued, about at least one version or producer.
#[derive(InputObject)]
struct IssueAdvisoryInput {
    /// How bad it is.
    #[graphql(name = "type")]
    kind: AdvisoryType,
    /// For people.
    reason: String,
    /// Details.
    payload: Option<Json>,
    /// When it ends; never unless told.
    expires_at: Option<DateTime<Utc>>,
    /// The versions it is about.
    #[graphql(default)]
    version_ids: Vec<Hex32>,
    /// The producers it is about, by identifier or identity key.
    #[graphql(default)]
    producer_ids: Vec<String>,
}

/// An advisory that was issued.
#[derive(SimpleObject)]
struct IssueAdvisoryPayload {
    /// The advisory.
    advisory: AdvisoryObject,
}

/// An advisory to be withdrawn.
#[derive(InputObject)]
struct WithdrawAdvisoryInput {
    /// Its identifier.
    advisory_id: String,
}

/// An advisory that was withdrawn.
#[derive(SimpleObject)]
struct WithdrawAdvisoryPayload {
    /// Its identifier.
    advisory_id: String,
}

#[derive(Default)]
pub(super) struct AdvisoryMutation;

#[Object]
impl AdvisoryMutation {
    /// Issues an advisory. It counts in the very next read. For administrators.
    #[graphql(complexity = "500 + child_complexity")]
    async fn issue_advisory(&self, ctx: &Context<'_>, input: IssueAdvisoryInput) -> Nullable<IssueAdvisoryPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                let payload =
                    input.payload.map(|payload| payload.0.into_json()).transpose().map_err(Error::internal)?;
                let issue = Issue {
                    severity: match input.kind {
                        AdvisoryType::Block => Severity::Block,
                        AdvisoryType::Warn => Severity::Warn,
                    },
                    reason: input.reason,
                    payload,
                    expires_at: input.expires_at,
                    versions: input.version_ids.into_iter().map(|id| id.0).collect(),
                    producers: input.producer_ids,
                };
                advisories::issue(&loaders.app, &loaders.caller, issue, Utc::now()).await
            };
            let (advisory, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(IssueAdvisoryPayload { advisory: AdvisoryObject(advisory) })
        })
        .await
    }

    /// Withdraws an advisory. For administrators.
    #[graphql(complexity = "500 + child_complexity")]
    async fn withdraw_advisory(
        &self, ctx: &Context<'_>, input: WithdrawAdvisoryInput,
    ) -> Nullable<WithdrawAdvisoryPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let withdrawn = advisories::withdraw(&loaders.app, &loaders.caller, &input.advisory_id).await;
            ctx.data_unchecked::<Arc<Committed>>().note(withdrawn.map_err(|error| graphql(&error))?);
            Ok(WithdrawAdvisoryPayload { advisory_id: input.advisory_id })
        })
        .await
    }
}
