//! Events that were taken, as they came, and letters that could not be read.

mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::graph::Lineage;
use crate::cache::{Cached, Key, Kind, Loaded, Outcome, Params};
use crate::coherence::Tag;
use crate::domain::Document;
use crate::domain::caller::Caller;
use crate::domain::page::{Order, Page, Request, Row};
use crate::error::{Error, Result};

/// The latest first.
pub const NEWEST: Order = Order { name: "event-desc", column: "event_time", cast: "timestamptz", descending: true };

/// Refused last first.
pub const LATEST: Order = Order { name: "letter-desc", column: "updated_at", cast: "timestamptz", descending: true };

/// Most bytes of payloads that are read at once.
const MAX_BYTES: i64 = 16 << 20;

/// An event, without what it says, which may be large.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// SHA-256 of its canonical JSON, 64 hex digits.
    pub event_hash: String,
    /// When what it tells of happened.
    pub event_time: DateTime<Utc>,
    /// Namespace of its job, or of its dataset.
    pub namespace: String,
    /// Its job; `None` for an event of a dataset.
    pub job_name: Option<String>,
    /// Its run, if it is about one.
    pub run_id: Option<String>,
    /// What happened to the run.
    pub event_type: Option<String>,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
}

/// A page of events: they never change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPage {
    /// The page.
    pub page: Page<String>,
    /// Its events, in its order.
    pub events: Vec<Arc<Kept>>,
}

impl EventPage {
    fn of(request: &Request, found: Vec<(Row<String>, Kept)>) -> Self {
        let (page, events) = Page::with(request, found);
        Self { page, events: events.into_iter().map(Arc::new).collect() }
    }
}

impl Cached for EventPage {
    const KIND: Kind = Kind::Lineage;
    const MAY_BE_ABSENT: bool = false;

    fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let event = |e: &Arc<Kept>| 400 + e.namespace.len() + optional(&e.job_name) + optional(&e.run_id);
        self.events.iter().map(event).sum()
    }
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this namespace.
    pub namespace: Option<String>,
    /// Of the job of this name.
    pub job_name: Option<String>,
    /// Of this run.
    pub run_id: Option<String>,
    /// That tell of this.
    pub event_type: Option<String>,
}

impl Filter {
    /// What is compared, by column.
    fn columns(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let columns = [
            ("namespace", &self.namespace),
            ("job_name", &self.job_name),
            ("run_id", &self.run_id),
            ("event_type", &self.event_type),
        ];
        columns.into_iter().filter_map(|(column, value)| Some((column, value.as_ref()?)))
    }
}

/// What could not be understood.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// SHA-256 of what came, 64 hex digits.
    pub payload_hash: String,
    /// What came, as text.
    pub payload: String,
    /// What is wrong with it: a list of `{pointer, message}`.
    pub errors: Document,
    /// How often it came.
    pub attempts: i32,
    /// When it came first.
    pub created_at: DateTime<Utc>,
    /// When it came last.
    pub updated_at: DateTime<Utc>,
}

impl Lineage {
    /// A page of the events of a filter.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn events_page(&self, caller: &Caller, filter: &Filter, request: &Request) -> Result<Arc<EventPage>> {
        let params = filter.columns().fold(Params::default(), |params, (column, value)| params.with(column, value));
        let key = Key::new(format!("ol:cache:lineage:events:{}", request.params(params).canonical()));
        // The narrowest that every event of the page belongs to.
        let tag =
            filter.namespace.as_ref().map_or_else(|| "lineage_events".to_owned(), |name| format!("lineage@{name}"));
        let (db, filter, request) = (self.db.clone(), filter.clone(), request.clone());
        let load = move || {
            let (db, filter, request, tag) = (db.clone(), filter.clone(), request.clone(), tag.clone());
            async move {
                let page = EventPage::of(&request, store::page(&db, &filter, &request).await?);
                Ok(Loaded { value: Some(page), tags: vec![Tag::new(tag)] })
            }
        };
        let page = self.cache.get(caller.ledger(), key, load).await?;
        page.ok_or_else(|| Error::internal("a page is never absent"))
    }

    /// An event by its hash.
    ///
    /// # Errors
    /// As [`Self::events_page`].
    pub async fn event(&self, caller: &Caller, hash: &str) -> Result<Option<Kept>> {
        caller.ledger().live(Outcome::Miss);
        store::event(&self.db, hash).await
    }

    /// What events say, by hash. One statement; not cached: it is large, and asked for seldom.
    ///
    /// # Errors
    /// As [`Self::events_page`]; `response-too-large` when all together are.
    pub async fn payloads(&self, caller: &Caller, hashes: &[String]) -> Result<Vec<Option<Arc<Document>>>> {
        caller.ledger().live(Outcome::Miss);
        let mut found = store::payloads(&self.db, hashes, MAX_BYTES).await?;
        Ok(hashes.iter().map(|hash| found.remove(hash).map(Arc::new)).collect())
    }

    /// A page of what could not be understood, for administrators.
    ///
    /// # Errors
    /// `identity-required` or `forbidden`; as [`Self::events_page`].
    pub async fn dead_letters(&self, caller: &Caller, request: &Request) -> Result<(Page<String>, Vec<DeadLetter>)> {
        caller.ledger().live(Outcome::Miss);
        caller.may_administer()?;
        Ok(Page::with(request, store::dead_letters(&self.db, request, MAX_BYTES).await?))
    }

    /// One of them, for administrators.
    ///
    /// # Errors
    /// As [`Self::dead_letters`].
    pub async fn dead_letter(&self, caller: &Caller, hash: &str) -> Result<Option<DeadLetter>> {
        caller.ledger().live(Outcome::Miss);
        caller.may_administer()?;
        store::dead_letter(&self.db, hash).await
    }
}

/// The error of payloads that are too large to be read at once.
fn too_large() -> Error {
    let message = format!("what is asked for has more than {} MiB: ask for fewer with `first`", MAX_BYTES >> 20);
    Error::new(crate::error::Kind::PayloadTooLarge, "response-too-large", message).hint("first")
}
