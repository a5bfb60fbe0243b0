//! The SQL of taking over an old installation: rows go to it as JSON, a batch a statement.

use std::collections::{HashMap, HashSet};

use sea_orm::FromQueryResult;
use serde_json::{Value, json};

use super::tables::{Into, Shape, Table};
use super::{Item, Need, Ready};
use crate::db::{Db, Tx};
use crate::domain::lineage::event::Event;
use crate::error::{Error, Result};
use crate::flows::import::Catalogue;
use crate::flows::import::store::{Note, Rows, insert, note};
use crate::flows::lineage::{self, Letter, own};

#[derive(FromQueryResult)]
struct Named {
    name: String,
}

async fn named(db: &Db, sql: &str, values: Vec<String>) -> Result<HashSet<String>> {
    if values.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Named> = db.all("import.present", sql, vec![values.into()]).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

const VERSIONS: &str = "select version_id as name from public.assets where version_id = any($1)";
const RECEIPTS: &str = "select receipt_id as name from public.receipts where receipt_id = any($1)";
const ADVISORIES: &str = "select advisory_id as name from public.advisories where advisory_id = any($1)";
const EVENTS: &str = "select event_hash as name from public.lineage_event_audit where event_hash = any($1) \
    union all select payload_hash from public.lineage_dead_letters where payload_hash = any($1)";

/// Those of `needs` that are there.
pub(super) async fn present(db: &Db, needs: &HashSet<Need>) -> Result<Vec<Need>> {
    let (mut versions, mut receipts, mut advisories) = (Vec::new(), Vec::new(), Vec::new());
    for need in needs {
        match need {
            Need::Version(id) => versions.push(id.to_string()),
            Need::Receipt(id) => receipts.push(id.clone()),
            Need::Advisory(id) => advisories.push(id.clone()),
        }
    }
    let versions = named(db, VERSIONS, versions).await?;
    let mut present: Vec<Need> = versions.iter().filter_map(|id| id.parse().ok()).map(Need::Version).collect();
    present.extend(named(db, RECEIPTS, receipts).await?.into_iter().map(Need::Receipt));
    present.extend(named(db, ADVISORIES, advisories).await?.into_iter().map(Need::Advisory));
    Ok(present)
}

/// The identifiers of producers by their keys.
pub(super) async fn producers(db: &Db, keys: Vec<String>) -> Result<HashMap<String, String>> {
    #[derive(FromQueryResult)]
    struct Registered {
        identity_key: String,
        producer_id: String,
    }
    const SQL: &str = "select identity_key, producer_id from public.producers where identity_key = any($1)";
    let rows: Vec<Registered> = db.all("import.registered", SQL, vec![keys.into()]).await?;
    Ok(rows.into_iter().map(|row| (row.identity_key, row.producer_id)).collect())
}

/// Of each row: `None` when it is not here; else the columns in which what is here differs.
pub(super) async fn known(db: &Db, table: &Table, ready: &[Ready]) -> Result<Vec<Option<Vec<String>>>> {
    let keys = || ready.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    let here = match &table.into {
        Into::Catalogue => named(db, VERSIONS, keys()).await?,
        Into::Events => named(db, EVENTS, keys()).await?,
        Into::Rows(shape) => return compared(db, shape, ready).await,
        Into::Derived(sql) => {
            #[derive(FromQueryResult)]
            struct Found {
                n: i64,
            }
            let found: Vec<Found> = db.all("import.derived", sql, vec![numbered(ready).0.into()]).await?;
            let mut answer = vec![None; ready.len()];
            found.iter().filter_map(|found| usize::try_from(found.n).ok()).for_each(|at| answer[at] = Some(Vec::new()));
            return Ok(answer);
        }
    };
    Ok(ready.iter().map(|one| here.contains(&one.key).then(Vec::new)).collect())
}

/// The rows as one JSON array, each with its place, and whose it is.
fn numbered(ready: &[Ready]) -> (Value, Vec<usize>) {
    let (mut rows, mut owners) = (Vec::new(), Vec::new());
    for (owner, one) in ready.iter().enumerate() {
        let Item::Rows(items) = &one.item else { continue };
        for item in items {
            let mut row = item.clone();
            // Looked up by its place among all; those that follow from others have one row each.
            row["n"] = json!(rows.len());
            rows.push(row);
            owners.push(owner);
        }
    }
    (Value::Array(rows), owners)
}

/// The columns as a statement reads them from JSON. Names and types are ours, never the file's.
fn recordset(shape: &Shape) -> String {
    let columns: Vec<String> = shape.columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    format!("jsonb_to_recordset($1) as n(n bigint, {})", columns.join(", "))
}

async fn compared(db: &Db, shape: &Shape, ready: &[Ready]) -> Result<Vec<Option<Vec<String>>>> {
    #[derive(FromQueryResult)]
    struct Same {
        n: i64,
        differs: Vec<String>,
    }
    let join = |(at, column): (usize, &&str)| {
        let is = if at == 0 { "=" } else { "is not distinct from" };
        format!("t.{column} {is} n.{column}")
    };
    let differs = |(name, _): &&(&str, &str)| !shape.loose.contains(name);
    let case = |(name, _): &(&str, &str)| format!("case when t.{name} is distinct from n.{name} then '{name}' end");
    let sql = format!(
        "select n.n, array_remove(array[{}]::text[], null) as differs from {} join public.{} t on {}",
        shape.columns.iter().filter(differs).map(case).collect::<Vec<_>>().join(", "),
        recordset(shape),
        shape.table,
        shape.key.iter().enumerate().map(join).collect::<Vec<_>>().join(" and "),
    );
    let (rows, owners) = numbered(ready);
    let same: Vec<Same> = db.all("import.known", &sql, vec![rows.into()]).await?;
    let mut answer: Vec<Option<Vec<String>>> = vec![None; ready.len()];
    for Same { n, differs } in same {
        if let Some(owner) = usize::try_from(n).ok().and_then(|n| owners.get(n)) {
            answer[*owner].get_or_insert_default().extend(differs);
        }
    }
    Ok(answer)
}

/// What a batch writes.
enum Writing {
    Nothing,
    /// Manifests, and what lineage is told of them.
    Catalogue(Box<Rows>, Vec<Value>),
    Events(Vec<Event>, Vec<Letter>),
    /// A statement, its rows and how many these are.
    Rows(String, Value, u64),
}

impl Writing {
    fn of(namespace: &str, table: &Table, ready: &[Ready]) -> Self {
        match &table.into {
            _ if ready.is_empty() => Self::Nothing,
            Into::Derived(_) => Self::Nothing,
            Into::Catalogue => {
                let versions = ready.iter().filter_map(|one| match &one.item {
                    Item::Version(checked) => Some(checked.as_ref()),
                    _ => None,
                });
                let told = versions.clone().flat_map(|checked| own::published(namespace, &checked.published)).collect();
                Self::Catalogue(Box::new(Rows::of(versions)), told)
            }
            Into::Events => {
                let (mut events, mut letters) = (Vec::new(), Vec::new());
                for one in ready {
                    match &one.item {
                        Item::Event(event) => events.push(event.as_ref().clone()),
                        Item::Letter(letter) => letters.push(letter.clone()),
                        Item::Version(_) | Item::Rows(_) => {}
                    }
                }
                Self::Events(events, letters)
            }
            Into::Rows(shape) => {
                let columns: Vec<&str> = shape.columns.iter().map(|(name, _)| *name).collect();
                let (columns, table, from) = (columns.join(", "), shape.table, recordset(shape));
                let (rows, owners) = numbered(ready);
                let sql = format!("insert into public.{table} ({columns}) select {columns} from {from} order by n.n");
                Self::Rows(sql, rows, owners.len() as u64)
            }
        }
    }

    async fn write(self, tx: &Tx) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Catalogue(rows, told) => {
                insert(tx, *rows).await?;
                own::tell(tx, told).await
            }
            Self::Events(events, letters) => {
                lineage::take(tx, events.iter()).await?;
                lineage::bury_in(tx, letters).await
            }
            Self::Rows(sql, rows, count) => match tx.execute("import.rows", &sql, vec![rows.into()]).await? {
                written if written == count => Ok(()),
                _ => Err(Error::internal("not all rows were written")),
            },
        }
    }
}

/// Loads rows that are not here, and notes how far the import has come, in one transaction.
///
/// # Errors
/// [`Error::REFUSED`] when the database refuses one of them; nothing is loaded then.
pub(super) async fn load(into: Catalogue<'_>, table: &Table, ready: &[Ready], told: Note, added: u64) -> Result<()> {
    let writing = Writing::of(into.namespace, table, ready);
    let work = into.db.transact("import.legacy", move |tx| {
        Box::pin(async move {
            writing.write(tx).await?;
            note(tx, told, added).await
        })
    });
    work.await.map(|_committed| ())
}
