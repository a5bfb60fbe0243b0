//! Receipts: what a consumer asked a price for, paid, and may use.

pub mod broadcast;
pub mod split;
mod store;

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use self::broadcast::Broadcast;
use crate::cache::{Cache, Cached, Key, Kind, Known, Loaded, Merge, Params};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::domain::page::{Order, Page, Request};
use crate::error::{Error, Result};

/// Asked for last first.
pub const NEWEST: Order = Order { name: "created-desc", column: "created_at", cast: "timestamptz", descending: true };

/// Where a receipt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
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

/// As the database has it; `internal` for a word that is none of these.
impl FromStr for Status {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "pending" => Ok(Self::Pending),
            "paid" => Ok(Self::Paid),
            "confirmed" => Ok(Self::Confirmed),
            "consumed" => Ok(Self::Consumed),
            "expired" => Ok(Self::Expired),
            other => Err(Error::internal(format!("no such status of a receipt: {other:?}"))),
        }
    }
}

/// One receipt. Amounts are satoshis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Identifier.
    pub receipt_id: String,
    /// What is bought.
    pub version_id: VersionId,
    /// Where it stands.
    pub status: Status,
    /// Units bought.
    pub quantity: i64,
    /// Price of one unit, satoshis.
    pub unit_price_sat: i64,
    /// Price of all, satoshis.
    pub amount_sat: i64,
    /// The paying transaction, 64 hex digits.
    pub payment_txid: Option<String>,
    /// How far the payment has come on its way to the network; `None` when it is not sent from here.
    #[serde(default)]
    pub broadcast: Option<Broadcast>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Cached for Receipt {
    const KIND: Kind = Kind::Receipt;

    fn belongs(&self, known: &mut Known<'_>) -> bool {
        known(format_args!("receipts@asset:{}", self.version_id))
    }

    fn size(&self) -> usize {
        // The version, times, amounts, and the names of the fields.
        380 + self.receipt_id.len() + self.payment_txid.as_ref().map_or(4, String::len)
    }
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Receipts {
    db: Db,
    cache: Cache,
    by_id: Merge<String, Receipt>,
}

impl Receipts {
    /// A room over the database and the cache.
    pub fn new(db: Db, cache: Cache) -> Self {
        let by_id = Merge::new(db.clone(), |db, ids: Vec<String>| async move { store::by_ids(&db, &ids).await });
        Self { db, cache, by_id }
    }

    /// The receipts of `ids`, in order.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn get_many(&self, caller: &Caller, ids: &[String]) -> Result<Vec<Option<Arc<Receipt>>>> {
        self.cache.find_many(caller.ledger(), ids, key, tags, &self.by_id).await
    }

    /// The same page of the receipts of several versions, no two of which are the same. One statement for those not cached.
    ///
    /// # Errors
    /// As [`Self::get_many`].
    pub async fn pages(
        &self, caller: &Caller, versions: &[VersionId], request: &Request,
    ) -> Result<Vec<Arc<Page<String>>>> {
        let (room, for_load) = (self.clone(), request.clone());
        let load = move |versions: Vec<VersionId>| {
            let (room, request) = (room.clone(), for_load.clone());
            async move {
                let moment = room.cache.clock().moment();
                let groups = store::pages(&room.db, &versions, &request).await?;
                let pages = versions.iter().zip(groups).map(|(version, found)| {
                    let (rows, receipts): (Vec<_>, Vec<_>) = found.into_iter().unzip();
                    let loaded = receipts.into_iter().map(|receipt: Receipt| {
                        let id = receipt.receipt_id.clone();
                        (key(&id), Loaded { value: Some(receipt), tags: tags(&id) })
                    });
                    room.cache.prime(moment, loaded.collect());
                    let tags = vec![Tag::new(format!("receipts@asset:{version}"))];
                    Loaded { value: Some(Page::of(&request, rows)), tags }
                });
                Ok(pages.collect())
            }
            .boxed()
        };
        let key = |version: &VersionId| {
            let params = request.params(Params::default().with("version", version));
            Key::new(format!("cache:receipt:list:{}", params.canonical()))
        };
        let pages = self.cache.get_many(caller.ledger(), versions, key, load).await?;
        pages.into_iter().map(|p| p.ok_or_else(|| Error::internal("a page is never absent"))).collect()
    }
}

/// The key of what is cached of one receipt alone.
pub fn key_of(id: String) -> Arc<str> {
    key(&id).text().clone()
}

fn key(id: &String) -> Key<Receipt> {
    Key::new(format!("cache:receipt:{id}"))
}

fn tags(id: &String) -> Vec<Tag> {
    vec![Tag::new(format!("receipt:{id}"))]
}
