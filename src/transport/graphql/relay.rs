//! Relay's object identification: any object by its global identifier.

use async_graphql::{Context, ID, Interface, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::assets::AssetNode;
use super::error::{Nullable, graphql, nullable};
use super::loaders::Loaders;
use super::policies::PolicyNode;
use super::producers::ProducerNode;
use super::receipts::ReceiptNode;
use crate::domain::within;
use crate::error::{Error, Result};

/// An object with a global identifier.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Relay global identifier."))]
pub(super) enum Node {
    Asset(AssetNode),
    Producer(ProducerNode),
    Policy(PolicyNode),
    Receipt(ReceiptNode),
}

/// Most objects of one `nodes`.
const MAX_NODES: usize = 200;

/// Longest identifier, bytes.
const MAX_ID: usize = 500;

/// The global identifier of an object: `base64("<type>:<id>")`.
pub(super) fn global_id(kind: &str, id: &str) -> ID {
    ID(STANDARD.encode(format!("{kind}:{id}")))
}

/// An identifier that a client gave as text.
///
/// # Errors
/// `bad-request` naming `argument` for one that nothing can have.
pub(super) fn identifier(id: String, argument: &'static str) -> Result<String> {
    within(&id, MAX_ID, argument)?;
    Ok(id)
}

/// Finds an object; an identifier that is none of ours finds nothing.
async fn find(loaders: &Loaders, id: &ID) -> Result<Option<Node>> {
    let decoded = STANDARD.decode(id.as_str()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((kind, id)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return Err(Error::invalid("`id` is not a global identifier of this server").hint("id"));
    };
    let text = identifier(id.to_owned(), "id")?;
    Ok(match kind {
        "Asset" => match id.parse() {
            Ok(id) => loaders.asset(id).await?.map(|asset| Node::Asset(AssetNode(asset))),
            Err(_) => None,
        },
        "Producer" => loaders.producer(text).await?.map(|producer| Node::Producer(ProducerNode(producer))),
        "Policy" => loaders.policy(text).await?.map(|policy| Node::Policy(PolicyNode(policy))),
        "Receipt" => loaders.receipt(text).await?.map(|receipt| Node::Receipt(ReceiptNode(receipt))),
        _ => None,
    })
}

#[derive(Default)]
pub(super) struct RelayQuery;

#[Object]
impl RelayQuery {
    /// An object by its global identifier.
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Nullable<Node> {
        nullable(find(ctx.data_unchecked::<Loaders>(), &id).await)
    }

    /// Objects by their global identifiers, in order, at most 200; null for what is not there.
    #[graphql(complexity = "ids.len().saturating_mul(child_complexity).saturating_add(1)")]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> async_graphql::Result<Vec<Nullable<Node>>> {
        if ids.len() > MAX_NODES {
            return Err(graphql(&Error::invalid(format!("`ids` must be at most {MAX_NODES}")).hint("ids")));
        }
        let loaders = ctx.data_unchecked::<Loaders>();
        let found = futures_util::future::join_all(ids.iter().map(|id| find(loaders, id))).await;
        Ok(found.into_iter().map(nullable).collect())
    }
}
