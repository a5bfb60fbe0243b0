//! Prices: what a quantity of a version costs, and the rules that producers set.

mod store;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use overlay_entity::ids::VersionId;
use uuid::Uuid;

use crate::app::App;
use crate::coherence::Token;
use crate::domain::assets::Asset;
use crate::domain::caller::Caller;
use crate::domain::prices::tiers::{Tiers, UnitPrice};
use crate::error::{Error, Kind, Result};

/// Most satoshis there will ever be: no amount is larger.
pub const MAX_AMOUNT: i64 = 2_100_000_000_000_000;

/// What a quantity costs now.
#[derive(Debug)]
pub struct PriceQuote {
    /// What is priced.
    pub asset: Arc<Asset>,
    /// Units.
    pub quantity: i32,
    /// What one costs.
    pub unit: UnitPrice,
    /// What all cost, satoshis.
    pub total: i64,
    /// Until when a receipt gets this price, if nobody changes the rules.
    pub expires_at: DateTime<Utc>,
}

/// What `quantity` units of a version cost at `now`; `None` when it is not published.
///
/// # Errors
/// `bad-request` for a quantity below 1; `amount-too-large`; what the database answers.
pub async fn quote(
    app: &App, caller: &Caller, version_id: VersionId, quantity: i32, now: DateTime<Utc>,
) -> Result<Option<PriceQuote>> {
    possible(quantity)?;
    let Some(asset) = app.assets.get_many(caller, &[version_id]).await?.pop().flatten() else { return Ok(None) };
    let priced = (version_id, asset.producer_id.clone());
    let tiers = app.prices.tiers(caller, &[priced]).await?.pop().flatten();
    quoted(app, caller, asset, tiers.as_deref(), quantity, now).map(Some)
}

fn possible(quantity: i32) -> Result<()> {
    if quantity >= 1 {
        return Ok(());
    }
    Err(Error::invalid("`quantity` must be a whole number, 1 to 2147483647").hint("quantity"))
}

/// What `quantity` units cost by the rules that were read.
///
/// # Errors
/// `bad-request` for a quantity below 1; `amount-too-large`.
pub fn quoted(
    app: &App, caller: &Caller, asset: Arc<Asset>, tiers: Option<&Tiers>, quantity: i32, now: DateTime<Utc>,
) -> Result<PriceQuote> {
    possible(quantity)?;
    let unit = app.prices.at(tiers, quantity);
    let total = unit.satoshis.checked_mul(i64::from(quantity)).filter(|total| *total <= MAX_AMOUNT);
    let total = total.ok_or_else(|| {
        let message = "there are not that many satoshis: ask for fewer units";
        Error::new(Kind::Unprocessable, "amount-too-large", message).hint("quantity")
    })?;
    // It holds from the moment it is told.
    caller.ledger().live(crate::cache::Outcome::Hit);
    let expires_at = now.trunc_subsecs(0) + app.terms.trade.quote_ttl;
    Ok(PriceQuote { asset, quantity, unit, total, expires_at })
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One version.
    Version(VersionId),
    /// All versions of a producer.
    Producer(String),
}

impl Scope {
    /// The scope that a request names.
    ///
    /// # Errors
    /// `bad-request` unless exactly one of the two is given.
    pub fn of(version_id: Option<VersionId>, producer_id: Option<String>) -> Result<Self> {
        match (version_id, producer_id) {
            (Some(id), None) => Ok(Self::Version(id)),
            (None, Some(id)) if (1..=200).contains(&id.len()) && !id.contains('\0') => Ok(Self::Producer(id)),
            (None, Some(_)) => Err(Error::invalid("a producer's id is 1 to 200 bytes").hint("producerId")),
            _ => Err(Error::invalid("one of `versionId` and `producerId` must be given").hint("versionId")),
        }
    }
}

/// A rule: what a unit costs from a quantity on.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Identifier.
    pub rule_id: String,
    /// What it is about.
    pub scope: Scope,
    /// The least quantity.
    pub tier_from: i32,
    /// Satoshis a unit.
    pub satoshis: i64,
}

/// Sets a price, in the place of the one of the same scope and tier; answers the rule.
///
/// # Errors
/// `identity-required`; `not-found`; `forbidden` when the version, or the producer, is another's; `bad-request` naming what
/// is wrong; what the database answers.
pub async fn set(app: &App, caller: &Caller, scope: Scope, tier_from: i32, satoshis: i64) -> Result<(Rule, Token)> {
    may_price(app, caller, &scope).await?;
    check_tier(tier_from)?;
    if !(1..=MAX_AMOUNT).contains(&satoshis) {
        let message = format!("`satoshis` must be a whole number, 1 to {MAX_AMOUNT}");
        return Err(Error::invalid(message).hint("satoshis"));
    }
    let rule = Rule { rule_id: format!("prc_{}", Uuid::now_v7().simple()), scope, tier_from, satoshis };
    app.write("price.set", move |tx| Box::pin(async move { store::set(tx, rule).await })).await
}

/// Removes a price.
///
/// # Errors
/// As [`set`]; `not-found` too when there is no such rule.
pub async fn remove(app: &App, caller: &Caller, scope: Scope, tier_from: i32) -> Result<Token> {
    may_price(app, caller, &scope).await?;
    check_tier(tier_from)?;
    let (found, token) = app
        .write("price.remove", move |tx| Box::pin(async move { store::remove(tx, &scope, tier_from).await }))
        .await?;
    let absent = || Error::not_found("there is no price rule of that scope and tier").hint("tierFrom");
    if found { Ok(token) } else { Err(absent()) }
}

fn check_tier(tier_from: i32) -> Result<()> {
    let wrong = || Error::invalid("`tierFrom` must be a whole number, 1 to 2147483647").hint("tierFrom");
    if tier_from >= 1 { Ok(()) } else { Err(wrong()) }
}

/// Whether the caller may set the scope's prices: its producer may.
async fn may_price(app: &App, caller: &Caller, scope: &Scope) -> Result<()> {
    caller.may_write()?;
    app.takes_writes()?;
    let producer_id = match scope {
        Scope::Producer(id) => id.clone(),
        Scope::Version(id) => {
            let asset = app.assets.get_many(caller, &[*id]).await?.pop().flatten();
            let absent = || Error::not_found("no version of that id is published").hint("versionId");
            asset.ok_or_else(absent)?.producer_id.clone()
        }
    };
    let producer = app.producers.get(caller, producer_id).await?;
    let absent = || Error::not_found("there is no producer of that id").hint("producerId");
    caller.may_write_as(&producer.ok_or_else(absent)?.identity_key)
}
