//! Runs: what was decided, when, and on what grounds. Append only.

mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use super::Policies;
use super::evaluate::Decision;
use crate::cache::{Cached, Key, Kind, Loaded, Params};
use crate::coherence::Tag;
use crate::domain::Document;
use crate::domain::caller::Caller;
use crate::domain::page::{Order, Page, Request, Row};
use crate::error::{Error, Result};

/// Decided last first.
pub const NEWEST: Order =
    Order { name: "evaluated-desc", column: "evaluated_at", cast: "timestamptz", descending: true };

/// One evaluation, without its evidence, which may be large.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Identifier.
    pub run_id: String,
    /// The policy, which may be gone; `None` for one that came with the request.
    pub policy_id: Option<String>,
    /// The version that was judged.
    pub version_id: VersionId,
    /// What was decided.
    pub decision: Decision,
    /// Codes of the hard constraints that did not hold.
    pub reasons: Vec<String>,
    /// Codes of the soft ones.
    pub warnings: Vec<String>,
    /// When.
    pub evaluated_at: DateTime<Utc>,
}

/// A page of runs with the runs themselves: they never change, and belong to no other page that is read often.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunPage {
    /// The page.
    pub page: Page<String>,
    /// Its runs, in its order.
    pub runs: Vec<Arc<Run>>,
}

impl RunPage {
    fn of(request: &Request, found: Vec<(Row<String>, Run)>) -> Self {
        let (page, runs) = Page::with(request, found);
        Self { page, runs: runs.into_iter().map(Arc::new).collect() }
    }
}

impl Cached for RunPage {
    const KIND: Kind = Kind::PolicyRun;

    fn size(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| 24 + text.len()).sum::<usize>();
        self.runs.iter().map(|run| 400 + texts(&run.reasons) + texts(&run.warnings)).sum()
    }
}

/// Whose runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RunsOf {
    /// Those of a policy.
    Policy(String),
    /// Those that judged a version.
    Version(VersionId),
}

impl RunsOf {
    /// The column that names them, and their value in it.
    fn column(&self) -> (&'static str, String) {
        match self {
            Self::Policy(id) => ("policy_id", id.clone()),
            Self::Version(id) => ("version_id", id.to_string()),
        }
    }

    fn tag(&self) -> Tag {
        match self {
            Self::Policy(id) => Tag::new(format!("policy_runs@policy:{id}")),
            Self::Version(id) => Tag::new(format!("policy_runs@asset:{id}")),
        }
    }
}

impl Policies {
    /// The same page of the runs of several policies, or of several versions, no two of which are the same. One statement for
    /// those not cached.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn runs_of(&self, caller: &Caller, whose: &[RunsOf], request: &Request) -> Result<Vec<Arc<RunPage>>> {
        let (db, for_load) = (self.db.clone(), request.clone());
        let load = move |whose: Vec<RunsOf>| {
            let (db, request) = (db.clone(), for_load.clone());
            async move {
                let groups = store::pages(&db, &whose, &request).await?;
                let pages = whose.iter().zip(groups).map(|(whose, found)| Loaded {
                    value: Some(RunPage::of(&request, found)),
                    tags: vec![whose.tag()],
                });
                Ok(pages.collect())
            }
            .boxed()
        };
        let key = |whose: &RunsOf| {
            let (column, id) = whose.column();
            let params = request.params(Params::default().with(column, id));
            Key::new(format!("cache:policy:runs:{}", params.canonical()))
        };
        let pages = self.cache.get_many(caller.ledger(), whose, key, load).await?;
        pages.into_iter().map(|p| p.ok_or_else(|| Error::internal("a page is never absent"))).collect()
    }

    /// What each run compared, and all that is needed to evaluate again. One statement; not cached: it is large, and asked for
    /// seldom.
    ///
    /// # Errors
    /// As [`Self::runs_of`].
    pub async fn evidence(&self, caller: &Caller, ids: &[String]) -> Result<Vec<Option<Arc<Document>>>> {
        // Nothing tells an answer that is kept when it ends.
        caller.ledger().live(crate::cache::Outcome::Miss);
        let mut found = store::evidence(&self.db, ids).await?;
        Ok(ids.iter().map(|id| found.remove(id).map(Arc::new)).collect())
    }
}
