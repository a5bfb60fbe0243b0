//! Taking over an old installation: the tables of its SQLite schema, checked row by row, transformed and loaded.
//!
//! Every row is accounted for: it is new here, or was known, or is refused with its reasons, which go to a file. Rows are loaded
//! in batches, each one transaction together with the note of how far its table has come: an import that was cut off goes on
//! there, and one that is done again changes nothing. What is here already is never changed by an import: a row that says
//! something else about it is refused.

mod batch;
mod cells;
mod chain;
#[cfg(feature = "importer")]
mod sqlite;
mod store;
mod tables;
mod trade;

use std::collections::{HashMap, HashSet};
use std::io::Write;

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use serde::Serialize;
use serde_json::Value;
use tokio::task::block_in_place;

use self::batch::{BATCH, BATCH_BYTES, Import};
pub use self::cells::{Cell, Row};
#[cfg(feature = "importer")]
pub use self::sqlite::Sqlite;
use self::tables::{ALL, Table};
use super::{Catalogue, Checked, write_failed};
use crate::db::Db;
use crate::domain::Fault;
use crate::domain::lineage::event::Event;
use crate::error::{Error, Result};
use crate::flows::lineage::Letter;

/// An old installation's tables, as they stood at one moment.
pub trait Source {
    /// Names what is read, by its bytes.
    fn name(&self) -> &str;

    /// All tables, with their numbers of rows.
    ///
    /// # Errors
    /// When they cannot be read.
    fn tables(&mut self) -> Result<Vec<(String, u64)>>;

    /// The first rows of a table, or the next ones after that of a number: `most`, or as few as have `bytes` bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    fn rows(&mut self, table: &str, after: Option<i64>, most: usize, bytes: usize) -> Result<Vec<Row>>;

    /// The number of the `count`-th row of a table.
    ///
    /// # Errors
    /// When it cannot be read.
    fn row_at(&mut self, table: &str, count: u64) -> Result<Option<i64>>;
}

/// What became of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The table of the old schema.
    pub table: String,
    /// Rows that it has.
    pub rows: u64,
    /// Rows dealt with, those of an earlier run that was cut off included.
    pub done: u64,
    /// Rows that are new here.
    pub new: u64,
    /// Rows that say what was known, or what follows from other rows.
    pub known: u64,
    /// Rows refused.
    pub refused: u64,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The tables taken over, in order.
    pub taken: Vec<Taken>,
    /// Tables that nothing here is like, with their numbers of rows.
    pub left: Vec<(String, u64)>,
    /// Rows that were taken over without a part of them, by this run.
    pub remarks: u64,
}

/// Where an import stands, for a progress bar.
pub trait Progress {
    /// A table is under way.
    fn at(&mut self, taken: &Taken);
}

/// How to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// For good.
    Real,
    /// Everything but writing. What only the database can see, such as a key that another row has, shows when it is real.
    Dry,
}

/// What a row names that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    Version(VersionId),
    Receipt(String),
    Advisory(String),
}

/// What a row becomes.
pub(crate) enum Item {
    Version(Box<Checked>),
    Event(Box<Event>),
    Letter(Letter),
    Rows(Vec<Value>),
}

/// A row that can be taken over.
pub(crate) struct Ready {
    number: i64,
    /// What it is known by, here or in the batch.
    key: String,
    item: Item,
    need: Option<Need>,
    /// What is left out of it.
    remark: Option<String>,
}

impl Ready {
    fn of(key: String, item: Item) -> Self {
        Self { number: 0, key, item, need: None, remark: None }
    }

    fn row(key: String, row: Value) -> Self {
        Self::rows(key, vec![row])
    }

    fn rows(key: String, rows: Vec<Value>) -> Self {
        Self::of(key, Item::Rows(rows))
    }

    fn version(checked: Checked) -> Self {
        Self::of(checked.published.version_id.to_string(), Item::Version(Box::new(checked)))
    }

    fn event(event: Event) -> Self {
        Self::of(event.hash.clone(), Item::Event(Box::new(event)))
    }

    fn letter(text: &str, faults: &[Fault]) -> Self {
        let letter = Letter::new(text, faults);
        Self::of(letter.hash().to_owned(), Item::Letter(letter))
    }

    fn needs(self, need: Need) -> Self {
        Self { need: Some(need), ..self }
    }
}

/// What reading a row needs to know of others.
pub(crate) struct Context {
    /// Keys of the old schema's producers, by their identifiers there.
    keys: HashMap<String, String>,
    /// Identifiers here of those that were taken over, by their identifiers there.
    producers: HashMap<String, String>,
    begun: DateTime<Utc>,
}

/// Takes over what `source` holds.
///
/// # Errors
/// When the source cannot be read or has no table that is known; when the rejects cannot be written; what the database answers.
/// All batches before that are applied, and the next run goes on after them.
pub async fn run(
    into: Catalogue<'_>, source: &mut (dyn Source + Send), way: Way, rejects: &mut (dyn Write + Send),
    progress: &mut (dyn Progress + Send),
) -> Result<Report> {
    let there = block_in_place(|| source.tables())?;
    if !there.iter().any(|(name, _)| name == "manifests") {
        return Err(Error::invalid("the file has no table `manifests`: it is no installation of the old server"));
    }
    let keys = block_in_place(|| producer_keys(source, &there))?;
    let context = Context { keys, producers: HashMap::new(), begun: Utc::now() };
    let mut import = Import { into, source, way, context, would_be: HashSet::new(), rejects, remarks: 0 };
    let mut report = Report::default();
    for table in &ALL {
        let Some((_, rows)) = there.iter().find(|(name, _)| name == table.name) else { continue };
        report.taken.push(import.table(table, *rows, progress).await?);
        if table.name == "producers" {
            import.context.producers = import.registered().await?;
        }
    }
    report.left = there.into_iter().filter(|(name, _)| !ALL.iter().any(|table| table.name == name)).collect();
    report.remarks = import.remarks;
    import.rejects.flush().map_err(write_failed)?;
    if way == Way::Real && report.taken.iter().any(|taken| taken.new > 0) {
        super::store::analyze(into.db).await?;
    }
    Ok(report)
}

/// Forgets how far an import of this source has come.
///
/// # Errors
/// What the database answers.
pub async fn forget(db: &Db, source: &(impl Source + ?Sized)) -> Result<()> {
    for table in &ALL {
        super::forget(db, &note_of(source.name(), table)).await?;
    }
    Ok(())
}

fn note_of(source: &str, table: &Table) -> String {
    format!("{source}:{}", table.name)
}

/// The producers' keys by their identifiers. The old server registered some without one: theirs is the one that all their
/// manifests name.
fn producer_keys(source: &mut (dyn Source + Send), there: &[(String, u64)]) -> Result<HashMap<String, String>> {
    let mut keys = HashMap::new();
    let mut keyless: HashMap<String, HashSet<String>> = HashMap::new();
    let text = |row: &Row, name: &str| match row.cells.get(name) {
        Some(Cell::Text(text)) if !text.trim().is_empty() => Some(text.clone()),
        _ => None,
    };
    let mut walk = |table: &str, look: &mut dyn FnMut(&Row)| -> Result<()> {
        let mut after = None;
        while there.iter().any(|(name, _)| name == table) {
            let rows = source.rows(table, after, BATCH, BATCH_BYTES)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.number);
            rows.iter().for_each(&mut *look);
        }
        Ok(())
    };
    walk("producers", &mut |row| match (text(row, "producer_id"), text(row, "identity_key")) {
        (Some(id), Some(key)) => drop(keys.insert(id, key.trim().to_ascii_lowercase())),
        (Some(id), None) => drop(keyless.insert(id, HashSet::new())),
        (None, _) => {}
    })?;
    if !keyless.is_empty() {
        walk("manifests", &mut |row| {
            let named = text(row, "producer_id").and_then(|id| keyless.get_mut(&id));
            let manifest = || serde_json::from_str::<Value>(&text(row, "manifest_json")?).ok();
            let key =
                |manifest: Value| Some(manifest["provenance"]["producer"]["identityKey"].as_str()?.to_lowercase());
            if let Some((keys, key)) = named.and_then(|keys| Some((keys, manifest().and_then(key)?))) {
                keys.insert(key);
            }
        })?;
    }
    let only =
        |(id, named): (String, HashSet<String>)| (named.len() == 1).then(|| Some((id, named.into_iter().next()?)));
    keys.extend(keyless.into_iter().filter_map(only).flatten());
    Ok(keys)
}
