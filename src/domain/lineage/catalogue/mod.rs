//! What is known of datasets, jobs, runs and events, by name and in pages. Read from the database each time: all of it changes
//! with every event, and is looked at seldom.

pub(super) mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::Named;
use super::graph::Lineage;
use super::node::Kind;
use crate::cache::Outcome;
use crate::domain::caller::Caller;
use crate::domain::check_query;
use crate::error::{Error, Kind as Fault, Result};

/// Most things of a page.
pub const MAX_LIMIT: u32 = 1_000;

/// Most things that a page may leave out before it.
pub const MAX_OFFSET: u32 = 100_000;

/// What is counted of many: that there are this many, or more.
pub const MAX_COUNT: i64 = 10_000;

/// Most bytes of a page.
const MAX_BYTES: i64 = 16 << 20;

/// Most things that match a text.
const MAX_FOUND: i64 = 1_000;

/// A dataset, as events describe it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Which.
    #[serde(flatten)]
    pub named: Named,
    /// The latest of each facet.
    pub facets: Map<String, Value>,
    /// Time of the latest event that names it.
    pub latest_event_at: DateTime<Utc>,
    /// When it was first heard of here.
    pub created_at: DateTime<Utc>,
    /// When something of it last changed here.
    pub updated_at: DateTime<Utc>,
}

/// A job, as events describe it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    #[serde(flatten)]
    pub named: Named,
    /// The latest of each facet.
    pub facets: Map<String, Value>,
    /// What it reads, in any of its runs; at most 1,000.
    pub inputs: Vec<Named>,
    /// What it writes.
    pub outputs: Vec<Named>,
    /// Its run of the latest event.
    pub latest_run: Option<Run>,
    /// Time of the latest event that names it.
    pub latest_event_at: DateTime<Utc>,
    /// When it was first heard of here.
    pub created_at: DateTime<Utc>,
    /// When something of it last changed here.
    pub updated_at: DateTime<Utc>,
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its identifier; runs of several jobs may have the same.
    pub run_id: String,
    /// Namespace of its job.
    pub job_namespace: String,
    /// Name of its job.
    pub job_name: String,
    /// `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`.
    pub state: String,
    /// When it began, as far as an event says.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What it read.
    pub inputs: Vec<Named>,
    /// What it wrote.
    pub outputs: Vec<Named>,
    /// The latest of each facet.
    pub facets: Map<String, Value>,
    /// Time of its latest event.
    pub latest_event_at: DateTime<Utc>,
    /// When it was first heard of here.
    pub created_at: DateTime<Utc>,
    /// When something of it last changed here.
    pub updated_at: DateTime<Utc>,
}

/// A job or a dataset that matches a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Match {
    /// Whether it is a job.
    pub is_job: bool,
    /// Which.
    #[serde(flatten)]
    pub named: Named,
    /// When something of it last changed here.
    pub updated_at: DateTime<Utc>,
}

/// A namespace, and since when something in it is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// When something in it was first heard of.
    pub created_at: DateTime<Utc>,
    /// When something in it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How many, 1…[`MAX_LIMIT`].
    pub limit: u32,
    /// How many are left out before, 0…[`MAX_OFFSET`].
    pub offset: u32,
}

/// Part of a list, and how long the list is, as far as it is counted ([`MAX_COUNT`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    /// The part.
    pub items: Vec<T>,
    /// Length of the list.
    pub total: i64,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Those of this time or later.
    pub after: Option<DateTime<Utc>>,
    /// Those before.
    pub before: Option<DateTime<Utc>>,
    /// The oldest first.
    pub is_ascending: bool,
}

impl Lineage {
    /// The first of `meanings` that is a dataset somebody told of.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn dataset(&self, caller: &Caller, meanings: &[Named]) -> Result<Option<Dataset>> {
        caller.ledger().live(Outcome::Miss);
        store::first(&self.db, Kind::Dataset, meanings).await
    }

    /// The first of `meanings` that is a job somebody told of.
    ///
    /// # Errors
    /// As [`Self::dataset`].
    pub async fn job(&self, caller: &Caller, meanings: &[Named]) -> Result<Option<Job>> {
        caller.ledger().live(Outcome::Miss);
        store::first(&self.db, Kind::Job, meanings).await
    }

    /// The runs of this identifier, the latest first, at most 100.
    ///
    /// # Errors
    /// As [`Self::dataset`]; `lineage-too-large`.
    pub async fn runs(&self, caller: &Caller, run_id: &str) -> Result<Vec<Run>> {
        caller.ledger().live(Outcome::Miss);
        store::runs(&self.db, run_id).await
    }

    /// The runs of a job, the latest first.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub async fn runs_of(&self, caller: &Caller, job: &Named, part: Part) -> Result<Listed<Run>> {
        caller.ledger().live(Outcome::Miss);
        store::runs_of(&self.db, job, part).await
    }

    /// The datasets of a namespace, or of all, by name.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub async fn datasets(&self, caller: &Caller, namespace: Option<&str>, part: Part) -> Result<Listed<Dataset>> {
        caller.ledger().live(Outcome::Miss);
        store::page(&self.db, Kind::Dataset, namespace, part).await
    }

    /// The jobs of a namespace, or of all, by name.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub async fn jobs(&self, caller: &Caller, namespace: Option<&str>, part: Part) -> Result<Listed<Job>> {
        caller.ledger().live(Outcome::Miss);
        store::page(&self.db, Kind::Job, namespace, part).await
    }

    /// The namespaces of jobs and datasets, by name; or the one of this name.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub async fn namespaces(&self, caller: &Caller, name: Option<&str>, part: Part) -> Result<Vec<Namespace>> {
        caller.ledger().live(Outcome::Miss);
        store::namespaces(&self.db, name, part).await
    }

    /// The events as they came, the latest first.
    ///
    /// # Errors
    /// As [`Self::runs`].
    pub async fn events(&self, caller: &Caller, window: &Window, part: Part) -> Result<Listed<Value>> {
        caller.ledger().live(Outcome::Miss);
        store::events(&self.db, window, part).await
    }

    /// Jobs and datasets whose names contain a text, whatever its case, by name; of more than 1,000, any.
    ///
    /// # Errors
    /// `bad-request` naming `q`; as [`Self::dataset`].
    pub async fn search(
        &self, caller: &Caller, text: &str, kind: Option<Kind>, namespace: Option<&str>, part: Part,
    ) -> Result<Listed<Match>> {
        check_query(text, "q")?;
        caller.ledger().live(Outcome::Miss);
        store::search(&self.db, text, kind, namespace, part).await
    }
}

/// The error of a page that is too large to be held.
fn too_large() -> Error {
    let message = format!("the page has more than {} MiB: ask for fewer with `limit`", MAX_BYTES >> 20);
    Error::new(Fault::Conflict, "lineage-too-large", message).hint("limit")
}
