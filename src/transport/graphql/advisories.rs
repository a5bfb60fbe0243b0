//! Advisories in GraphQL.

use async_graphql::{Enum, Object};
use chrono::{DateTime, Utc};

use super::error::{Nullable, nullable};
use super::scalars::Json;
use crate::domain::advisories::{Advisory, Severity};

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
    async fn payload(&self) -> Nullable<Json> {
        nullable(self.0.payload.as_ref().map(Json::read).transpose())
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
