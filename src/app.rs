//! What the server can do: all that a transport may hold.

use std::sync::Arc;

use crate::cache::Cache;
use crate::coherence::Feed;
use crate::db::Db;
use crate::domain::assets::Assets;
use crate::domain::policies::Policies;
use crate::domain::prices::Prices;
use crate::domain::producers::Producers;
use crate::domain::receipts::Receipts;

/// The rooms, and what they stand on. Cheap to clone.
#[derive(Clone)]
pub struct App {
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
    /// The change feed: how fresh reads are.
    pub feed: Arc<Feed>,
    /// The cache, for its state.
    pub cache: Cache,
    /// The database, for its state.
    pub db: Db,
}

impl App {
    /// Furnishes the rooms.
    pub fn new(db: Db, cache: Cache, feed: Arc<Feed>, price_default_sats: i64) -> Self {
        Self {
            assets: Assets::new(db.clone(), cache.clone()),
            producers: Producers::new(db.clone(), cache.clone()),
            policies: Policies::new(db.clone(), cache.clone()),
            receipts: Receipts::new(db.clone(), cache.clone()),
            prices: Prices::new(db.clone(), cache.clone(), price_default_sats),
            feed,
            cache,
            db,
        }
    }
}
