//! Who asks, in GraphQL: sessions, and what the caller is known as.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::producers::ProducerNode;
use super::publish::Committed;
use crate::domain::caller::Identity;
use crate::domain::sessions::{Opened, Session};
use crate::flows::producers::{self, Profile};

/// A session that has not ended.
#[derive(SimpleObject)]
#[graphql(name = "Session")]
struct SessionObject {
    /// Names it to its owner, and opens nothing.
    session_id: String,
    /// The key that opened it.
    identity_key: String,
    /// When it was opened.
    opened_at: DateTime<Utc>,
}

impl From<Session> for SessionObject {
    fn from(session: Session) -> Self {
        let Session { session_id, identity_key, opened_at } = session;
        Self { session_id, identity_key, opened_at }
    }
}

/// Whom the server takes the caller for.
struct Viewer(Identity);

#[Object]
impl Viewer {
    /// The caller's key, 66 hex digits; null for the developer, who has none.
    async fn identity_key(&self) -> Option<&str> {
        match &self.0 {
            Identity::Signer(signer) => Some(&signer.key),
            Identity::Developer => None,
        }
    }

    /// Whether the caller may issue advisories and edit policies.
    async fn is_admin(&self) -> bool {
        match &self.0 {
            Identity::Signer(signer) => signer.is_admin,
            Identity::Developer => true,
        }
    }

    /// Whether this is the built-in identity of a server for development, which may do everything.
    async fn is_developer(&self) -> bool {
        self.0 == Identity::Developer
    }

    /// The caller's sessions, the oldest first.
    #[graphql(complexity = "10 + 10 * child_complexity")]
    async fn sessions(&self, ctx: &Context<'_>) -> Nullable<Vec<SessionObject>> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let found = loaders.app.sessions.list(&loaders.caller).await;
        nullable(found.map(|sessions| Some(sessions.into_iter().map(SessionObject::from).collect())))
    }
}

#[derive(Default)]
pub(super) struct IdentityQuery;

#[Object]
impl IdentityQuery {
    /// Whom the server takes the caller for; null when the request, sent with POST, proves no identity.
    #[graphql(complexity = "3 + child_complexity")]
    async fn viewer(&self, ctx: &Context<'_>) -> Nullable<Viewer> {
        let loaders = ctx.data_unchecked::<Loaders>();
        // It is nobody else's.
        loaders.caller.ledger().live(crate::cache::Outcome::Hit);
        match loaders.caller.identity() {
            Ok(identity) => Some(Ok(Viewer(identity.clone()))),
            // Nobody knows whether the session has ended: whoever is told that it has logs its user out.
            Err(error) if error.is_passing() => Some(Err(graphql(&error))),
            Err(_) => None,
        }
    }
}

/// A session that was opened.
struct OpenSessionPayload {
    opened: Opened,
    ttl_ms: u64,
}

#[Object]
impl OpenSessionPayload {
    /// What to send as `Authorization: Bearer`. It is told this once, and is all that a request needs to write in your name.
    async fn sid(&self) -> &str {
        &self.opened.sid
    }

    /// The session.
    async fn session(&self) -> SessionObject {
        self.opened.session.clone().into()
    }

    /// How long it lasts unused, milliseconds.
    async fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }
}

/// A session to be closed.
#[derive(InputObject)]
struct CloseSessionInput {
    /// Its identifier, not its secret.
    session_id: String,
}

/// A session that was closed.
#[derive(SimpleObject)]
struct CloseSessionPayload {
    /// What it was.
    session: SessionObject,
}

/// A producer's profile.
#[derive(InputObject)]
struct RegisterProducerInput {
    /// Display name.
    name: String,
    /// Web site, if any: an http or https URL.
    website: Option<String>,
    /// Output script that payments go to, lower-case hex, if any.
    payout_script_hex: Option<String>,
}

/// A producer as it is registered.
struct RegisterProducerPayload {
    producer_id: String,
}

#[Object]
impl RegisterProducerPayload {
    /// The producer.
    async fn producer(&self, ctx: &Context<'_>) -> Nullable<ProducerNode> {
        let found = ctx.data_unchecked::<Loaders>().producer(self.producer_id.clone()).await;
        nullable(found.map(|producer| producer.map(ProducerNode)))
    }
}

#[derive(Default)]
pub(super) struct IdentityMutation;

#[Object]
impl IdentityMutation {
    /// Opens a session for the key that signed the request.
    #[graphql(complexity = "500 + child_complexity")]
    async fn open_session(&self, ctx: &Context<'_>) -> Nullable<OpenSessionPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let sessions = &loaders.app.sessions;
            let opened = sessions.open(&loaders.caller, Utc::now()).await.map_err(|error| graphql(&error))?;
            let ttl_ms = u64::try_from(sessions.ttl().as_millis()).unwrap_or(u64::MAX);
            Ok(OpenSessionPayload { opened, ttl_ms })
        })
        .await
    }

    /// Closes one of the caller's sessions, at once and everywhere.
    #[graphql(complexity = "500 + child_complexity")]
    async fn close_session(&self, ctx: &Context<'_>, input: CloseSessionInput) -> Nullable<CloseSessionPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let closed = loaders.app.sessions.close(&loaders.caller, &input.session_id).await;
            Ok(CloseSessionPayload { session: closed.map_err(|error| graphql(&error))?.into() })
        })
        .await
    }

    /// Registers the key that signed the request, or changes what is said of it.
    #[graphql(complexity = "500 + child_complexity")]
    async fn register_producer(
        &self, ctx: &Context<'_>, input: RegisterProducerInput,
    ) -> Nullable<RegisterProducerPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let RegisterProducerInput { name, website, payout_script_hex } = input;
            let profile = Profile { name, website, payout_script_hex };
            let registered = producers::register(&loaders.app, &loaders.caller, profile).await;
            let (producer_id, token) = registered.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(RegisterProducerPayload { producer_id })
        })
        .await
    }
}
