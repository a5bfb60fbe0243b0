//! Receipts in GraphQL.

use std::sync::Arc;

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;

use super::assets::AssetNode;
use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::page::{Arguments, connection};
use super::publish::{Committed, ProofInput};
use super::relay::{global_id, identifier};
use super::scalars::{Hex32, Satoshis};
use crate::domain::hex::decode_hex;
use crate::domain::receipts::broadcast::Broadcast;
use crate::domain::receipts::{NEWEST, Receipt, Status};
use crate::error::{Error, Result};
use crate::flows::receipts::{self, FEE_RATE_HINT, Quote};

/// Where a receipt stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Status", name = "ReceiptStatus")]
enum ReceiptStatus {
    /// Quoted, not paid.
    Pending,
    /// A payment was submitted.
    Paid,
    /// The payment is proven deep enough.
    Confirmed,
    /// Used up.
    Consumed,
    /// The quote ran out unpaid.
    Expired,
}

/// How far a payment has come on its way to the network.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Broadcast", name = "BroadcastState")]
enum BroadcastState {
    /// It is to be sent, or sent again.
    Due,
    /// A service has taken it.
    Accepted,
}

/// What a consumer asked a price for, paid, and may use.
pub(super) struct ReceiptNode(pub(super) Arc<Receipt>);

/// What a consumer asked a price for, paid, and may use.
#[Object(name = "Receipt")]
impl ReceiptNode {
    /// Relay global identifier.
    pub(super) async fn id(&self) -> ID {
        global_id("Receipt", &self.0.receipt_id)
    }

    /// Identifier.
    async fn receipt_id(&self) -> &str {
        &self.0.receipt_id
    }

    /// Where it stands.
    async fn status(&self) -> ReceiptStatus {
        self.0.status.into()
    }

    /// Units bought.
    async fn quantity(&self) -> i64 {
        self.0.quantity
    }

    /// Price of one unit.
    async fn unit_price(&self) -> Satoshis {
        Satoshis(self.0.unit_price_sat)
    }

    /// Price of all.
    async fn amount(&self) -> Satoshis {
        Satoshis(self.0.amount_sat)
    }

    /// The paying transaction.
    async fn payment_txid(&self) -> Option<&str> {
        self.0.payment_txid.as_deref()
    }

    /// How far the payment has come on its way to the network; null when it is not sent from here.
    async fn broadcast(&self) -> Option<BroadcastState> {
        self.0.broadcast.map(Into::into)
    }

    /// When it was asked for.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it ends.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// What is bought.
    async fn asset(&self, ctx: &Context<'_>) -> Nullable<AssetNode> {
        let found = ctx.data_unchecked::<Loaders>().asset(self.0.version_id).await;
        nullable(found.map(|asset| asset.map(AssetNode)))
    }
}

pub(super) type ReceiptConnection = Connection<String, ReceiptNode, EmptyFields, EmptyFields>;

/// A page of a version's receipts; those of all its siblings come with one statement.
pub(super) async fn of_version(loaders: &Loaders, id: VersionId, arguments: Arguments) -> Result<ReceiptConnection> {
    let request = arguments.request(&NEWEST)?;
    let page = loaders.receipts_of(id, request.clone()).await?;
    let ids: Vec<String> = page.rows.iter().map(|row| row.id.clone()).collect();
    let mut found = loaders.receipts(&ids).await?.into_iter();
    Ok(connection(&request, &page, EmptyFields, |_| found.next().flatten().map(ReceiptNode)))
}

#[derive(Default)]
pub(super) struct ReceiptQuery;

#[Object]
impl ReceiptQuery {
    /// One receipt; null when there is none of that identifier.
    async fn receipt(&self, ctx: &Context<'_>, receipt_id: String) -> Nullable<ReceiptNode> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let outcome = async {
            let id = identifier(receipt_id, "receiptId")?;
            Ok(loaders.receipt(id).await?.map(ReceiptNode))
        };
        nullable(outcome.await)
    }
}

/// An output that a payment must have.
#[derive(SimpleObject)]
struct PaymentOutput {
    /// Output script, lower-case hex.
    script_hex: String,
    /// What it holds.
    amount: Satoshis,
}

/// What pays a receipt.
struct QuoteObject(Quote);

#[Object(name = "PaymentQuote")]
impl QuoteObject {
    /// The receipt it pays.
    async fn receipt(&self) -> ReceiptNode {
        ReceiptNode(Arc::new(self.0.receipt.clone()))
    }

    /// The outputs that the payment must have, by script and amount.
    async fn outputs(&self) -> Vec<PaymentOutput> {
        let outputs = self.0.outputs.iter();
        outputs.map(|o| PaymentOutput { script_hex: o.script_hex.clone(), amount: Satoshis(o.satoshis) }).collect()
    }

    /// SHA-256 of the canonical JSON of `{versionId, amountSat, outputs}`.
    async fn template_hash(&self) -> &str {
        &self.0.template_hash
    }

    /// What a transaction costs to be mined, satoshis a byte, as a hint.
    async fn fee_rate_hint(&self) -> f64 {
        FEE_RATE_HINT
    }

    /// Until when the payment may be submitted.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }
}

/// What is to be bought. With the header `Idempotency-Key`, or `extensions.idempotencyKey` in the request, the same again answers
/// the receipt that there is.
#[derive(InputObject)]
struct CreateReceiptInput {
    /// The version.
    version_id: Hex32,
    /// Units.
    #[graphql(default = 1)]
    quantity: i32,
}

/// A receipt to be quoted.
#[derive(InputObject)]
struct QuotePaymentInput {
    /// The receipt.
    receipt_id: String,
}

/// The transaction that pays a receipt.
#[derive(InputObject)]
struct SubmitPaymentInput {
    /// The receipt.
    receipt_id: String,
    /// The transaction, hex.
    raw_tx: String,
}

/// What proves that a receipt's payment is in a block.
#[derive(InputObject)]
struct AttachPaymentProofInput {
    /// The receipt.
    receipt_id: String,
    /// The proof.
    proof: ProofInput,
}

/// The receipt that was made.
#[derive(SimpleObject)]
struct CreateReceiptPayload {
    /// The receipt.
    receipt: ReceiptNode,
}

/// The quote.
#[derive(SimpleObject)]
struct QuotePaymentPayload {
    /// What pays the receipt.
    quote: QuoteObject,
}

/// The receipt as it stands.
#[derive(SimpleObject)]
struct SubmitPaymentPayload {
    /// The receipt.
    receipt: ReceiptNode,
}

/// The receipt as it stands.
#[derive(SimpleObject)]
struct AttachPaymentProofPayload {
    /// The receipt.
    receipt: ReceiptNode,
}

#[derive(Default)]
pub(super) struct ReceiptMutation;

#[Object]
impl ReceiptMutation {
    /// Asks for a receipt, at the price of now.
    #[graphql(complexity = "500 + child_complexity")]
    async fn create_receipt(&self, ctx: &Context<'_>, input: CreateReceiptInput) -> Nullable<CreateReceiptPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let CreateReceiptInput { version_id, quantity } = input;
            let made = receipts::create(&loaders.app, &loaders.caller, version_id.0, quantity, Utc::now()).await;
            let (sale, token) = made.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(CreateReceiptPayload { receipt: ReceiptNode(Arc::new(sale.receipt)) })
        })
        .await
    }

    /// Quotes a receipt: the outputs that pay it. The same again until it runs out.
    #[graphql(complexity = "500 + child_complexity")]
    async fn quote_payment(&self, ctx: &Context<'_>, input: QuotePaymentInput) -> Nullable<QuotePaymentPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                loaders.caller.may_write()?;
                let id = identifier(input.receipt_id, "receiptId")?;
                receipts::quote(&loaders.app, &loaders.caller, &id, Utc::now()).await
            };
            let (quote, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(QuotePaymentPayload { quote: QuoteObject(quote) })
        })
        .await
    }

    /// Submits the transaction that pays a receipt. The same again changes nothing.
    #[graphql(complexity = "500 + child_complexity")]
    async fn submit_payment(&self, ctx: &Context<'_>, input: SubmitPaymentInput) -> Nullable<SubmitPaymentPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                loaders.caller.may_write()?;
                let id = identifier(input.receipt_id, "receiptId")?;
                let raw = decode_hex(&input.raw_tx)
                    .map_err(|cause| Error::invalid(format!("`rawTx`: {cause}")).hint("rawTx"))?;
                receipts::submit(&loaders.app, &loaders.caller, &id, &raw, Utc::now()).await
            };
            let (sale, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(SubmitPaymentPayload { receipt: ReceiptNode(Arc::new(sale.receipt)) })
        })
        .await
    }

    /// Puts a proof to a receipt's payment. Proven deep enough, the receipt is confirmed.
    #[graphql(complexity = "500 + child_complexity")]
    async fn attach_payment_proof(
        &self, ctx: &Context<'_>, input: AttachPaymentProofInput,
    ) -> Nullable<AttachPaymentProofPayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                loaders.caller.may_write()?;
                let id = identifier(input.receipt_id, "receiptId")?;
                receipts::prove(&loaders.app, &loaders.caller, &id, input.proof.read()?, Utc::now()).await
            };
            let (sale, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(AttachPaymentProofPayload { receipt: ReceiptNode(Arc::new(sale.receipt)) })
        })
        .await
    }
}
