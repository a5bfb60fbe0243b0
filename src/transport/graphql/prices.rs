//! Prices in GraphQL.

use std::sync::Arc;

use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::error::{Nullable, graphql, made, nullable};
use super::loaders::Loaders;
use super::publish::Committed;
use super::scalars::{Hex32, Satoshis};
use crate::domain::prices::RuleSource;
use crate::flows::prices::{self, PriceQuote, Rule, Scope};

/// Which rule a price follows.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "RuleSource", name = "PriceRuleSource")]
enum Source {
    /// A rule for this version.
    Version,
    /// A rule for all of the producer's versions.
    Producer,
    /// No rule: the server's default.
    Default,
}

/// What a quantity of a version costs now.
pub(super) struct QuoteObject(pub(super) PriceQuote);

#[Object(name = "PriceQuote")]
impl QuoteObject {
    /// The version.
    async fn version_id(&self) -> Hex32 {
        Hex32(self.0.asset.version_id)
    }

    /// SHA-256 of its content.
    async fn content_hash(&self) -> &str {
        &self.0.asset.content_hash
    }

    /// Units.
    async fn quantity(&self) -> i32 {
        self.0.quantity
    }

    /// What one costs.
    async fn unit_price(&self) -> Satoshis {
        Satoshis(self.0.unit.satoshis)
    }

    /// What all cost.
    async fn total(&self) -> Satoshis {
        Satoshis(self.0.total)
    }

    /// Which rule says so.
    async fn rule_source(&self) -> Source {
        self.0.unit.source.into()
    }

    /// The rule's least quantity; 1 for the default.
    async fn tier_from(&self) -> i32 {
        self.0.unit.tier_from
    }

    /// Until when a receipt gets this price, if nobody changes the rules.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }
}

/// What a unit costs from a quantity on.
struct RuleObject(Rule);

#[Object(name = "PriceRule")]
impl RuleObject {
    /// Identifier.
    async fn rule_id(&self) -> &str {
        &self.0.rule_id
    }

    /// The version it is about; null when it is about all of a producer's.
    async fn version_id(&self) -> Option<Hex32> {
        match &self.0.scope {
            Scope::Version(id) => Some(Hex32(*id)),
            Scope::Producer(_) => None,
        }
    }

    /// The producer whose versions it is about; null when it is about one version.
    async fn producer_id(&self) -> Option<&str> {
        match &self.0.scope {
            Scope::Version(_) => None,
            Scope::Producer(id) => Some(id),
        }
    }

    /// The least quantity.
    async fn tier_from(&self) -> i32 {
        self.0.tier_from
    }

    /// What a unit costs.
    async fn unit_price(&self) -> Satoshis {
        Satoshis(self.0.satoshis)
    }
}

/// A price, for one of `versionId` and `producerId`, in the place of the one of the same tier.
#[derive(InputObject)]
struct SetPriceRuleInput {
    /// The version it is about.
    version_id: Option<Hex32>,
    /// The producer whose versions it is about.
    producer_id: Option<String>,
    /// The least quantity it is for.
    #[graphql(default = 1)]
    tier_from: i32,
    /// What a unit costs.
    unit_price: Satoshis,
}

/// The price as it is kept.
#[derive(SimpleObject)]
struct SetPriceRulePayload {
    /// The rule.
    rule: RuleObject,
}

/// A price to be removed, of one of `versionId` and `producerId`.
#[derive(InputObject)]
struct RemovePriceRuleInput {
    /// The version it is about.
    version_id: Option<Hex32>,
    /// The producer whose versions it is about.
    producer_id: Option<String>,
    /// The least quantity it is for.
    #[graphql(default = 1)]
    tier_from: i32,
}

/// A price that was removed.
#[derive(SimpleObject)]
struct RemovePriceRulePayload {
    /// The version it was about.
    version_id: Option<Hex32>,
    /// The producer whose versions it was about.
    producer_id: Option<String>,
    /// The least quantity it was for.
    tier_from: i32,
}

#[derive(Default)]
pub(super) struct PriceQuery;

#[Object]
impl PriceQuery {
    /// What a quantity of a version costs now; null when it is not published.
    #[graphql(complexity = "5 + child_complexity")]
    async fn price(
        &self, ctx: &Context<'_>, version_id: Hex32, #[graphql(default = 1)] quantity: i32,
    ) -> Nullable<QuoteObject> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let found = prices::quote(&loaders.app, &loaders.caller, version_id.0, quantity, Utc::now()).await;
        nullable(found.map(|quote| quote.map(QuoteObject)))
    }
}

#[derive(Default)]
pub(super) struct PriceMutation;

#[Object]
impl PriceMutation {
    /// Sets a price. For the producer of what is priced.
    #[graphql(complexity = "500 + child_complexity")]
    async fn set_price_rule(&self, ctx: &Context<'_>, input: SetPriceRuleInput) -> Nullable<SetPriceRulePayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let outcome = async {
                loaders.caller.may_write()?;
                let scope = Scope::of(input.version_id.map(|id| id.0), input.producer_id)?;
                prices::set(&loaders.app, &loaders.caller, scope, input.tier_from, input.unit_price.0).await
            };
            let (rule, token) = outcome.await.map_err(|error| graphql(&error))?;
            ctx.data_unchecked::<Arc<Committed>>().note(token);
            Ok(SetPriceRulePayload { rule: RuleObject(rule) })
        })
        .await
    }

    /// Removes a price. For the producer of what is priced.
    #[graphql(complexity = "500 + child_complexity")]
    async fn remove_price_rule(
        &self, ctx: &Context<'_>, input: RemovePriceRuleInput,
    ) -> Nullable<RemovePriceRulePayload> {
        made(async {
            let loaders = ctx.data_unchecked::<Loaders>();
            let RemovePriceRuleInput { version_id, producer_id, tier_from } = input;
            let outcome = async {
                loaders.caller.may_write()?;
                let scope = Scope::of(version_id.map(|id| id.0), producer_id.clone())?;
                prices::remove(&loaders.app, &loaders.caller, scope, tier_from).await
            };
            ctx.data_unchecked::<Arc<Committed>>().note(outcome.await.map_err(|error| graphql(&error))?);
            Ok(RemovePriceRulePayload { version_id, producer_id, tier_from })
        })
        .await
    }
}
