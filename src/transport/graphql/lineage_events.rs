//! Lineage events in GraphQL: those that were taken, those that could not be, and taking one.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection, cost};
use super::publish::Committed;
use super::relay::identifier;
use super::scalars::Json;
use crate::domain::lineage::events::{DeadLetter, Filter, Kept, LATEST, NEWEST};
use crate::domain::lineage::node::{name_of, namespace_of, run_id_of};
use crate::domain::within;
use crate::error::{Error, Result};
use crate::flows::lineage;

/// An OpenLineage event that was taken.
pub(super) struct LineageEvent(pub(super) Arc<Kept>);

#[Object]
impl LineageEvent {
    /// SHA-256 of its canonical JSON, hexadecimal.
    async fn event_hash(&self) -> &str {
        &self.0.event_hash
    }

    /// When what it tells of happened.
    async fn event_time(&self) -> DateTime<Utc> {
        self.0.event_time
    }

    /// Namespace of its job, or of its dataset.
    async fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Its job; null for an event of a dataset.
    async fn job_name(&self) -> Option<&str> {
        self.0.job_name.as_deref()
    }

    /// Its run; null for an event that is about none.
    async fn run_id(&self) -> Option<&str> {
        self.0.run_id.as_deref()
    }

    /// `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`; null for an event that is about no run.
    async fn event_type(&self) -> Option<&str> {
        self.0.event_type.as_deref()
    }

    /// When it was taken.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// The event as it came.
    #[graphql(complexity = 50)]
    async fn payload(&self, ctx: &Context<'_>) -> Nullable<Json> {
        let found = ctx.data_unchecked::<Loaders>().payload(self.0.event_hash.clone()).await;
        nullable(found.and_then(|document| document.map(|d| Json::read(ctx, &d)).transpose()))
    }
}

/// What came as an event and could not be understood.
pub(super) struct LineageDeadLetter(DeadLetter);

#[Object]
impl LineageDeadLetter {
    /// SHA-256 of what came, hexadecimal.
    async fn payload_hash(&self) -> &str {
        &self.0.payload_hash
    }

    /// What came, as text.
    #[graphql(complexity = 50)]
    async fn payload(&self, ctx: &Context<'_>) -> async_graphql::Result<&str> {
        let room = &ctx.data_unchecked::<Loaders>().room;
        room.take(self.0.payload.len()).map_err(|error| graphql(&error))?;
        Ok(&self.0.payload)
    }

    /// What is wrong with it: a list of `{pointer, message}`, the pointer a JSON pointer.
    #[graphql(complexity = 5)]
    async fn errors(&self, ctx: &Context<'_>) -> async_graphql::Result<Json> {
        Json::read(ctx, &self.0.errors).map_err(|error| graphql(&error))
    }

    /// How often it came.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// When it came first.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it came last.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

pub(super) type EventConnection = Connection<String, LineageEvent, EmptyFields, EmptyFields>;
pub(super) type DeadLetterConnection = Connection<String, LineageDeadLetter, EmptyFields, EmptyFields>;

/// Which events.
#[derive(InputObject, Default)]
struct LineageEventFilter {
    /// Of this namespace.
    namespace: Option<String>,
    /// Of the job of this name.
    job_name: Option<String>,
    /// Of this run.
    run_id: Option<String>,
    /// That tell of this: `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`.
    event_type: Option<String>,
}

impl LineageEventFilter {
    fn read(self) -> Result<Filter> {
        if let Some(namespace) = &self.namespace {
            namespace_of(namespace)?;
        }
        if let Some(name) = &self.job_name {
            name_of(name, "jobName")?;
        }
        if let Some(run_id) = &self.run_id {
            run_id_of(run_id)?;
        }
        if let Some(kind) = &self.event_type {
            within(kind, 20, "eventType")?;
        }
        let Self { namespace, job_name, run_id, event_type } = self;
        Ok(Filter { namespace, job_name, run_id, event_type })
    }
}

#[derive(Default)]
pub(super) struct LineageEventQuery;

#[Object]
impl LineageEventQuery {
    /// The lineage events that were taken, the latest first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn lineage_events(
        &self, ctx: &Context<'_>, filter: Option<LineageEventFilter>, first: Option<i32>, after: Option<String>,
        last: Option<i32>, before: Option<String>,
    ) -> async_graphql::Result<EventConnection> {
        let outcome = async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let request = Arguments { first, after, last, before }.request(&NEWEST)?;
            let filter = filter.unwrap_or_default().read()?;
            let found = loaders.app.lineage.events_page(&loaders.caller, &filter, &request).await?;
            let mut events = found.events.iter();
            Ok(connection(&request, &found.page, EmptyFields, |_| events.next().cloned().map(LineageEvent)))
        };
        outcome.await.map_err(|error: Error| graphql(&error))
    }

    /// What came as lineage events and could not be understood, the last first. For administrators.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn lineage_dead_letters(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<DeadLetterConnection> {
        let outcome = async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let request = Arguments { first, after, last, before }.request(&LATEST)?;
            let (page, letters) = loaders.app.lineage.dead_letters(&loaders.caller, &request).await?;
            let mut letters = letters.into_iter();
            Ok(Some(connection(&request, &page, EmptyFields, |_| letters.next().map(LineageDeadLetter))))
        };
        nullable(outcome.await)
    }
}

/// An OpenLineage event.
#[derive(InputObject)]
struct IngestLineageEventInput {
    /// The event, as OpenLineage clients send it.
    event: Json,
}

/// An event that was taken.
#[derive(SimpleObject)]
struct IngestLineageEventPayload {
    /// False when it was taken before.
    is_new: bool,
}

/// A dead letter to be read again.
#[derive(InputObject)]
struct RetryDeadLetterInput {
    /// Its hash.
    payload_hash: String,
}

/// A dead letter that is an event now.
#[derive(SimpleObject)]
struct RetryDeadLetterPayload {
    /// Its hash.
    payload_hash: String,
    /// False when the event was taken before.
    is_new: bool,
}

#[derive(Default)]
pub(super) struct LineageMutation;

#[Object]
impl LineageMutation {
    /// Takes an OpenLineage event, as `POST /api/v1/lineage` does. What cannot be understood is refused, and kept as a dead
    /// letter. For administrators.
    #[graphql(complexity = "500 + child_complexity")]
    async fn ingest_lineage_event(
        &self, ctx: &Context<'_>, input: IngestLineageEventInput,
    ) -> Nullable<IngestLineageEventPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                let event = input.event.0.into_json().map_err(Error::internal)?;
                lineage::ingest(&loaders.app, &loaders.caller, &event.to_string()).await
            };
            let (is_new, token) = outcome.await.map_err(|error| graphql(&error))?;
            token.into_iter().for_each(|token| ctx.data_unchecked::<Arc<Committed>>().note(token));
            Ok(IngestLineageEventPayload { is_new })
        })
        .await
    }

    /// Reads a dead letter again: a server that has learned since may understand it. For administrators.
    #[graphql(complexity = "500 + child_complexity")]
    async fn retry_dead_letter(
        &self, ctx: &Context<'_>, input: RetryDeadLetterInput,
    ) -> Nullable<RetryDeadLetterPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                let payload_hash = identifier(input.payload_hash, "payloadHash")?;
                let (is_new, token) = lineage::retry(&loaders.app, &loaders.caller, &payload_hash).await?;
                ctx.data_unchecked::<Arc<Committed>>().note(token);
                Ok(RetryDeadLetterPayload { payload_hash, is_new })
            };
            outcome.await.map_err(|error: Error| graphql(&error))
        })
        .await
    }
}
