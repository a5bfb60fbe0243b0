//! Process memory: bounded in bytes, with the library's eviction (S3-FIFO like).

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::cache::entry::Entry;

#[derive(Clone)]
struct Bytes;

impl Weighter<Arc<str>, Arc<Entry>> for Bytes {
    fn weight(&self, key: &Arc<str>, entry: &Arc<Entry>) -> u64 {
        key.len() as u64 + entry.weight
    }
}

/// The in-process store.
pub(in crate::cache) struct Memory {
    entries: Cache<Arc<str>, Arc<Entry>, Bytes>,
}

/// Mean size of an entry, bytes; only sizes the map beforehand.
const TYPICAL: u64 = 2_000;

impl Memory {
    /// A store of at most `bytes`; 0 keeps nothing.
    pub(in crate::cache) fn new(bytes: u64) -> Self {
        Self { entries: Cache::with_weighter((bytes / TYPICAL) as usize, bytes, Bytes) }
    }

    pub(in crate::cache) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    pub(in crate::cache) fn put(&self, key: Arc<str>, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
    }

    /// Whether it keeps nothing.
    pub(in crate::cache) fn is_off(&self) -> bool {
        self.entries.capacity() == 0
    }

    /// Entries and bytes held.
    pub(in crate::cache) fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.weight())
    }
}
