//! Publishing in GraphQL.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, InputObject, Object, OneofObject, Result};

use super::assets::AssetNode;
use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::scalars::{Hex32, Json};
use crate::coherence::Token;
use crate::domain::spv::{Beef, Bump, TscProof, decode_hex};
use crate::error::Error;
use crate::flows::publish::{self, Evidence, Submission};

/// The token of what a request wrote last.
#[derive(Default)]
pub(super) struct Committed(Mutex<Option<String>>);

impl Committed {
    /// Notes what was written last.
    pub(super) fn note(&self, token: Token) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.to_string());
    }

    pub(super) fn token(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A proof, in one of its forms.
#[derive(OneofObject)]
pub(super) enum ProofInput {
    /// An envelope: transaction, Merkle path and block.
    Envelope(Json),
    /// A BUMP (BRC-74), hex.
    Bump(String),
    /// A BEEF (BRC-62, BRC-95, BRC-96) that holds the declaring transaction, hex.
    Beef(String),
    /// A TSC Merkle proof.
    Tsc(Json),
}

impl ProofInput {
    /// The proof as it is checked.
    pub(super) fn read(self) -> Result<Evidence, Error> {
        let refused = |cause: &dyn std::fmt::Display| Error::invalid(format!("`proof`: {cause}")).hint("proof");
        let json = |value: Json| value.0.into_json().map_err(Error::internal);
        Ok(match self {
            Self::Envelope(value) => {
                Evidence::Envelope(serde_json::from_value(json(value)?).map_err(|cause| refused(&cause))?)
            }
            Self::Bump(hex) => Evidence::Bump(Bump::from_hex(&hex).map_err(|cause| refused(&cause))?),
            Self::Beef(hex) => Evidence::Beef(Beef::from_hex(&hex).map_err(|cause| refused(&cause))?),
            Self::Tsc(value) => {
                Evidence::Tsc(TscProof::from_json(&json(value)?.to_string()).map_err(|cause| refused(&cause))?)
            }
        })
    }
}

/// A version to be published.
#[derive(InputObject)]
struct PublishAssetInput {
    /// The manifest. Its hash is the version's identifier.
    manifest: Json,
    /// The transaction that declares it, hex.
    raw_tx: String,
    /// Its proof, if there is one yet.
    proof: Option<ProofInput>,
}

/// A proof that has come for a version published before.
#[derive(InputObject)]
struct AttachProofInput {
    /// The version.
    version_id: Hex32,
    /// Its proof.
    proof: ProofInput,
}

/// A published version.
struct PublishAssetPayload {
    published: publish::Published,
}

#[Object]
impl PublishAssetPayload {
    /// The version.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(self.published.version_id).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }

    /// The declaring transaction.
    async fn txid(&self) -> String {
        self.published.txid.to_string()
    }

    /// Index of the declaring output; 0 when the transaction declares nothing.
    async fn vout(&self) -> u32 {
        self.published.vout
    }

    /// Whether the version was not known before.
    async fn is_new(&self) -> bool {
        self.published.is_new
    }
}

/// A version whose proof was attached.
struct AttachProofPayload {
    version_id: Hex32,
    confirmations: u32,
}

#[Object]
impl AttachProofPayload {
    /// The version.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(self.version_id.0).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }

    /// Blocks from the proof's to the tip, both counted, when it was attached.
    async fn confirmations(&self) -> u32 {
        self.confirmations
    }
}

#[derive(Default)]
pub(super) struct PublishMutation;

#[Object]
impl PublishMutation {
    /// Publishes a version: its manifest, the transaction that declares it, and its proof if there is one. The same again
    /// changes nothing.
    #[graphql(complexity = "500 + child_complexity")]
    async fn publish_asset(&self, ctx: &Context<'_>, input: PublishAssetInput) -> Nullable<PublishAssetPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                loaders.caller.may_write()?;
                let raw_tx = decode_hex(&input.raw_tx)
                    .map_err(|cause| Error::invalid(format!("`rawTx`: {cause}")).hint("rawTx"))?;
                let manifest = input.manifest.0.into_json().map_err(Error::internal)?;
                let evidence = input.proof.map(ProofInput::read).transpose()?;
                publish::publish(&loaders.app, &loaders.caller, Submission { raw_tx, manifest, evidence }).await
            };
            let published = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(published.token);
            Ok(PublishAssetPayload { published })
        })
        .await
    }

    /// Puts a proof to a version that was declared before.
    #[graphql(complexity = "500 + child_complexity")]
    async fn attach_proof(&self, ctx: &Context<'_>, input: AttachProofInput) -> Nullable<AttachProofPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let version_id = input.version_id;
            let outcome = async {
                loaders.caller.may_write()?;
                publish::attach(&loaders.app, &loaders.caller, version_id.0, input.proof.read()?).await
            };
            let (verified, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(AttachProofPayload { version_id, confirmations: verified.confirmations })
        })
        .await
    }
}
