//! Producers in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::assets::{AssetConnection, related};
use super::error::{Nullable, graphql, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection, cost};
use super::relay::global_id;
use crate::domain::assets::{self, Scope};
use crate::domain::page::Order;
use crate::domain::producers::{self, Producer};
use crate::error::Error;

/// Who publishes.
pub(super) struct ProducerNode(pub(super) Arc<Producer>);

/// Who publishes assets.
#[Object(name = "Producer")]
impl ProducerNode {
    /// Relay global identifier.
    pub(super) async fn id(&self) -> ID {
        global_id("Producer", &self.0.producer_id)
    }

    /// Identifier.
    async fn producer_id(&self) -> &str {
        &self.0.producer_id
    }

    /// Compressed secp256k1 public key, 66 hex digits.
    async fn identity_key(&self) -> &str {
        &self.0.identity_key
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.display_name
    }

    /// Web site, if any.
    async fn website(&self) -> Option<&str> {
        self.0.website.as_deref()
    }

    /// When it was registered.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// What it published, the last changed first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn assets(
        &self, ctx: &Context<'_>, first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<AssetConnection> {
        let arguments = Arguments { first, after, last, before };
        let scope = Scope::Producer(self.0.producer_id.clone());
        Some(related(ctx, scope, arguments, &assets::NEWEST).await.map_err(|e| graphql(&e)))
    }
}

/// How producers are ordered; equals by identifier.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProducerOrder {
    /// By name.
    NameAsc,
    /// Registered last first.
    CreatedAtDesc,
}

impl ProducerOrder {
    pub(super) fn order(self) -> &'static Order {
        match self {
            Self::NameAsc => &producers::BY_NAME,
            Self::CreatedAtDesc => &producers::NEWEST,
        }
    }
}

#[derive(Default)]
pub(super) struct ProducerQuery;

#[Object]
impl ProducerQuery {
    /// One producer; null when there is none of that identifier.
    async fn producer(&self, ctx: &Context<'_>, producer_id: String) -> Nullable<ProducerNode> {
        let producer_id = match super::relay::identifier(producer_id, "producerId") {
            Ok(id) => id,
            Err(error) => return Some(Err(graphql(&error))),
        };
        let found = ctx.data_unchecked::<Loaders>().producer(producer_id).await;
        nullable(found.map(|producer| producer.map(ProducerNode)))
    }

    /// Producers, by name unless told.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn producers(
        &self, ctx: &Context<'_>, #[graphql(default_with = "ProducerOrder::NameAsc")] order_by: ProducerOrder,
        first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
    ) -> Nullable<Connection<String, ProducerNode, EmptyFields, EmptyFields>> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let request = Arguments { first, after, last, before }.request(order_by.order())?;
            let page = loaders.app.producers.page(&loaders.caller, &request).await?;
            let ids = page.rows.iter().map(|row| loaders.producer(row.id.clone()));
            let found = futures_util::future::join_all(ids).await;
            let found: Vec<_> = found.into_iter().collect::<Result<_, Error>>()?;
            let mut found = found.into_iter();
            Ok(connection(&request, &page, EmptyFields, |_| found.next().flatten().map(ProducerNode)))
        };
        Some(outcome.await.map_err(|e: Error| graphql(&e)))
    }
}
