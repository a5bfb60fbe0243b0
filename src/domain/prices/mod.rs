//! Prices: what one unit of a version costs.

mod store;
pub mod tiers;

use std::sync::Arc;

use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Cached, Key, Kind, Merge};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::error::Result;
use tiers::{Tiers, UnitPrice};

/// Which rule a price follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSource {
    /// A rule for this version.
    Version,
    /// A rule for all of the producer's versions.
    Producer,
    /// No rule: the server's default.
    Default,
}

/// The price of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Satoshis a unit.
    pub satoshis: i64,
    /// The rule that says so.
    pub source: RuleSource,
}

impl Cached for Price {
    const KIND: Kind = Kind::Price;
}

/// A version and its producer, which together decide the price.
pub type Priced = (VersionId, String);

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Prices {
    cache: Cache,
    by_version: Merge<Priced, Price>,
    tiers: Merge<Priced, Tiers>,
    default_sats: i64,
}

impl Prices {
    /// A room over the database and the cache; `default_sats` is the price where no rule applies.
    pub fn new(db: Db, cache: Cache, default_sats: i64) -> Self {
        let by_version =
            Merge::new(db.clone(), |db, versions: Vec<Priced>| async move { store::of_one_unit(&db, &versions).await });
        let tiers = Merge::new(db, |db, versions: Vec<Priced>| async move { store::tiers(&db, &versions).await });
        Self { cache, by_version, tiers, default_sats }
    }

    /// The price of one unit of each version: the version's rule, else the producer's, else the default.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn of_one_unit(&self, caller: &Caller, versions: &[Priced]) -> Result<Vec<Arc<Price>>> {
        // The producer is part of the key: somebody else's row must not answer when a version changes hands.
        let key = |(version, producer): &Priced| Key::new(format!("cache:price:{version}:{producer}"));
        let found = self.cache.find_many(caller.ledger(), versions, key, tags, &self.by_version).await?;
        // The default is a setting, not a row: it is not cached, so that a restart with another one is seen at once.
        let default = || Arc::new(Price { satoshis: self.default_sats, source: RuleSource::Default });
        Ok(found.into_iter().map(|price| price.unwrap_or_else(default)).collect())
    }
}

impl Prices {
    /// The rules of each version, which say what a unit costs at any [quantity](Self::at).
    ///
    /// # Errors
    /// As [`Self::of_one_unit`].
    pub async fn tiers(&self, caller: &Caller, versions: &[Priced]) -> Result<Vec<Option<Arc<Tiers>>>> {
        let key = |(version, producer): &Priced| Key::new(format!("cache:price:tiers:{version}:{producer}"));
        self.cache.find_many(caller.ledger(), versions, key, tags, &self.tiers).await
    }

    /// What a unit costs by these rules when `quantity` of them are bought.
    pub fn at(&self, tiers: Option<&Tiers>, quantity: i32) -> UnitPrice {
        tiers.unwrap_or(&Tiers::default()).unit_price(quantity, self.default_sats)
    }
}

fn tags((version, producer): &Priced) -> Vec<Tag> {
    vec![Tag::new(format!("price:{version}")), Tag::new(format!("price@producer:{producer}"))]
}
