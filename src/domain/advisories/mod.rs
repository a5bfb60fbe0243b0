//! Advisories: recalls and warnings about versions and producers.

mod store;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Cached, Key, Kind, Merge, Params};
use crate::coherence::Tag;
use crate::db::Db;
use crate::domain::Document;
use crate::domain::caller::Caller;
use crate::error::Result;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Do not use it, nor anything made from it.
    Block,
    /// Look before you use it.
    Warn,
}

impl Severity {
    /// As the table and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "BLOCK",
            Self::Warn => "WARN",
        }
    }
}

/// One advisory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Advisory {
    /// Identifier.
    pub advisory_id: String,
    /// How bad it is.
    pub severity: Severity,
    /// For people.
    pub reason: String,
    /// Details.
    pub payload: Option<Document>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it ends; `None` is never.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Advisory {
    /// Whether it counts at `now`: an expired one does not.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

/// The advisories about one target that had not expired when they were read, the oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Advisories(pub Vec<Advisory>);

impl Cached for Advisory {
    const KIND: Kind = Kind::Advisory;

    fn size(&self) -> usize {
        200 + self.advisory_id.len() + self.reason.len() + self.payload.as_ref().map_or(0, |p| p.text().len())
    }
}

impl Cached for Advisories {
    const KIND: Kind = Kind::Advisory;

    fn size(&self) -> usize {
        self.0.iter().map(Cached::size).sum()
    }
}

/// Whom advisories are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One version.
    Version(VersionId),
    /// All of a producer's versions.
    Producer(String),
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct AdvisoryRoom {
    cache: Cache,
    by_target: Merge<Target, Advisories>,
    by_id: Merge<String, Advisory>,
}

impl AdvisoryRoom {
    /// A room over the database and the cache.
    pub fn new(db: Db, cache: Cache) -> Self {
        let by_id = Merge::new(db.clone(), |db, ids: Vec<String>| async move { store::by_id(&db, ids).await });
        let by_target = Merge::new(db, |db, targets: Vec<Target>| async move { store::about(&db, &targets).await });
        Self { cache, by_target, by_id }
    }

    /// The advisory of that identifier, if it counts at `now`.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn find(&self, caller: &Caller, id: &str, now: DateTime<Utc>) -> Result<Option<Advisory>> {
        let key = |id: &String| Key::new(format!("ol:cache:advisory:{}", Params::default().with("id", id).canonical()));
        let tags = |id: &String| vec![Tag::new(format!("advisory:{id}"))];
        let found = self.cache.find_many(caller.ledger(), &[id.to_owned()], key, tags, &self.by_id).await?;
        let found = found.into_iter().flatten().next();
        // Its end comes with time alone.
        caller.ledger().live(crate::cache::Outcome::Hit);
        Ok(found.filter(|advisory| advisory.is_active(now)).map(|advisory| (*advisory).clone()))
    }

    /// What is said about each of `targets` and counts at `now`, in order. One statement for those not cached.
    ///
    /// # Errors
    /// `unavailable` or `timeout` when the database does not answer.
    pub async fn about(&self, caller: &Caller, targets: &[Target], now: DateTime<Utc>) -> Result<Vec<Vec<Advisory>>> {
        let found = self.cache.find_many(caller.ledger(), targets, key, tags, &self.by_target).await?;
        let active = |advisories: Arc<Advisories>| {
            if advisories.0.iter().any(|a| a.expires_at.is_some()) {
                // The end of an advisory comes with time alone: nothing in the feed tells of it.
                caller.ledger().live(crate::cache::Outcome::Hit);
            }
            advisories.0.iter().filter(|a| a.is_active(now)).cloned().collect()
        };
        Ok(found.into_iter().map(|advisories| advisories.map(active).unwrap_or_default()).collect())
    }
}

fn key(target: &Target) -> Key<Advisories> {
    Key::new(match target {
        Target::Version(id) => format!("ol:cache:advisories:version={id}"),
        Target::Producer(id) => {
            format!("ol:cache:advisories:{}", Params::default().with("producer", id).canonical())
        }
    })
}

/// A target's rows come and go under the target's tag. What an advisory itself says changes under `advisory:<id>`, which its
/// target does not know beforehand, so the collection stands for it: recalls are rare.
fn tags(target: &Target) -> Vec<Tag> {
    let about = match target {
        Target::Version(id) => Tag::new(format!("advisories@asset:{id}")),
        Target::Producer(id) => Tag::new(format!("advisories@producer:{id}")),
    };
    vec![about, Tag::new("advisories")]
}

/// Advisories by target, as the store finds them.
type ByTarget = HashMap<Target, Advisories>;
