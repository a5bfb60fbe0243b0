//! What the server can do: all that a transport may hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::cache::Cache;
use crate::coherence::{Feed, Token};
use crate::db::{Db, Tx};
use crate::domain::advisories::AdvisoryRoom;
use crate::domain::assets::{self, Assets};
use crate::domain::lineage::graph::Lineage;
use crate::domain::lineage::intake::Intake;
use crate::domain::policies::{self, Policies};
use crate::domain::prices::Prices;
use crate::domain::producers::{self, Producers};
use crate::domain::receipts::broadcast::Provider;
use crate::domain::receipts::{self, Receipts};
use crate::domain::sessions::Sessions;
use crate::domain::spv::Spv;
use crate::error::{Error, Result};
use crate::https::Https;

/// All that the server can do. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Rooms>);

impl std::ops::Deref for App {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.0
    }
}

/// The rooms, and what they stand on.
pub struct Rooms {
    /// Published versions.
    pub assets: Assets,
    /// Who publishes.
    pub producers: Producers,
    /// Rules for ancestries.
    pub policies: Policies,
    /// What was bought.
    pub receipts: Receipts,
    /// What a unit costs.
    pub prices: Prices,
    /// Recalls and warnings.
    pub advisories: AdvisoryRoom,
    /// Headers and declarations.
    pub spv: Spv,
    /// Who asks.
    pub sessions: Sessions,
    /// What lineage events tell.
    pub lineage: Lineage,
    /// Where lineage events wait to be kept.
    pub intake: Intake,
    /// The cache as bundles use it.
    pub bundles: Cache,
    /// What is asked of ancestries and prices.
    pub terms: Terms,
    /// Whether the header source fails, so that the chain may be longer than is known.
    pub unstable: AtomicBool,
    /// The change feed: how fresh reads are.
    pub feed: Arc<Feed>,
    /// The way to other servers.
    pub https: Https,
    /// The cache, for its state.
    pub cache: Cache,
    /// The database, for its state.
    pub db: Db,
}

/// What the server asks of ancestries and prices where nobody says otherwise.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Deepest ancestry that is walked.
    pub bundle_max_depth: u32,
    /// Namespace of lineage events in which datasets are versions of the catalogue.
    pub lineage_namespace: String,
    /// Deepest graph of lineage events.
    pub lineage_max_depth: u32,
    /// Whether bundles are kept in Redis.
    pub use_redis_bundles: bool,
    /// Confirmations a proof needs.
    pub policy_min_confs: u32,
    /// Policy used when none is named.
    pub policy_default_id: Option<String>,
    /// Price where no rule applies, satoshis.
    pub price_default_sats: i64,
    /// How what is sold is paid.
    pub trade: Trade,
}

/// How what is sold is paid.
#[derive(Debug, Clone)]
pub struct Trade {
    /// How long a quote holds.
    pub quote_ttl: Duration,
    /// How long a receipt waits for its payment.
    pub receipt_ttl: Duration,
    /// The server's own share of a payment, in billionths; the producer gets the rest.
    pub own_share: u32,
    /// Output script that the server's share goes to, lower-case hex. Without one the producer gets all.
    pub own_script: Option<String>,
    /// Whether outputs must match exactly; else they may hold more.
    pub is_strict: bool,
    /// Whether payments are sent to the network from here.
    pub is_live: bool,
    /// Where to, in this order.
    pub providers: Vec<Provider>,
}

impl App {
    /// Furnishes the rooms. The keys `admins` may issue advisories and edit policies.
    pub fn new(db: Db, cache: Cache, feed: Arc<Feed>, terms: Terms, admins: BTreeSet<String>) -> Self {
        let (redis, session_ttl) = (cache.redis().cloned(), cache.ttls().sessions());
        Self(Arc::new(Rooms {
            sessions: Sessions::new(db.clone(), redis, admins, session_ttl),
            assets: Assets::new(db.clone(), cache.clone()),
            producers: Producers::new(db.clone(), cache.clone()),
            policies: Policies::new(db.clone(), cache.clone()),
            receipts: Receipts::new(db.clone(), cache.clone()),
            prices: Prices::new(db.clone(), cache.clone(), terms.price_default_sats),
            advisories: AdvisoryRoom::new(db.clone(), cache.clone()),
            spv: Spv::new(db.clone(), cache.clone()),
            lineage: Lineage::new(db.clone(), cache.clone(), terms.lineage_max_depth),
            intake: Intake::default(),
            bundles: if terms.use_redis_bundles { cache.clone() } else { cache.unshared() },
            terms,
            unstable: AtomicBool::new(false),
            feed,
            https: Https::default(),
            cache,
            db,
        }))
    }

    /// Whether writes are taken now. Those that read before they write ask first: to read may take long when PostgreSQL is away.
    ///
    /// # Errors
    /// `unavailable` when the change feed is too old.
    pub fn takes_writes(&self) -> Result<()> {
        if self.cache.clock().is_trustworthy() {
            return Ok(());
        }
        Err(Error::unavailable("the database cannot be followed now: nothing was changed, try again"))
    }

    /// Runs `work` in one transaction. When this answers, the change is committed, this process's reads include it, and
    /// the other processes have been told to look; the token names it for reads elsewhere. `name` is for traces.
    ///
    /// # Errors
    /// Whatever `work` answers, and nothing is then applied. `unavailable` when the change feed is too old: a write whose
    /// effect no cache could be told of is refused.
    pub async fn write<T, F>(&self, name: &'static str, work: F) -> Result<(T, Token)>
    where
        T: Send,
        F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T>> + Send,
    {
        self.takes_writes()?;
        let (value, commit) = self.db.transact(name, work).await?;
        // Before the answer: whoever is told of the write must find it.
        let token = self.feed.committed(&commit).await;
        self.cache.forget(commit.tags.iter().flat_map(|tag| entity_keys(tag)));
        self.feed.wake_others();
        Ok((value, token))
    }
}

/// The keys of what a tag names alone, deleted from Redis for people who look there; nothing rests on it.
fn entity_keys(tag: &str) -> Vec<Arc<str>> {
    let Some((kind, id)) = tag.split_once(':').filter(|(_, id)| *id != "*") else { return Vec::new() };
    match kind {
        "asset" => id.parse().map_or_else(|_| Vec::new(), |id| assets::keys_of(id).to_vec()),
        "producer" => vec![producers::key_of(id.to_owned())],
        "policy" => vec![policies::key_of(id.to_owned())],
        "receipt" => vec![receipts::key_of(id.to_owned())],
        _ => Vec::new(),
    }
}
