//! Taking over a table, batch by batch.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use serde::Serialize;
use tokio::task::block_in_place;

use super::cells::Row;
use super::tables::{Into, Table, described};
use super::{Context, Item, Need, Progress, Ready, Source, Taken, Way, note_of, store};
use crate::error::{Error, Result};
use crate::flows::import::store::{Before, End, Note, progress as progress_of};
use crate::flows::import::{Catalogue, write_failed};

/// Rows in one transaction.
pub(super) const BATCH: usize = 1_000;

/// Bytes of rows in one transaction.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// One row of the file of rejects.
#[derive(Serialize)]
struct Reject<'a> {
    table: &'a str,
    row: i64,
    /// Whether it was taken over, but for what the reasons tell.
    taken: bool,
    reasons: &'a [String],
}

pub(super) struct Import<'a> {
    pub(super) into: Catalogue<'a>,
    pub(super) source: &'a mut (dyn Source + Send),
    pub(super) way: Way,
    pub(super) context: Context,
    /// In a dry run, what would be there.
    pub(super) would_be: HashSet<Need>,
    pub(super) rejects: &'a mut (dyn Write + Send),
    pub(super) remarks: u64,
}

impl Import<'_> {
    pub(super) async fn table(
        &mut self, table: &Table, rows: u64, progress: &mut (dyn Progress + Send),
    ) -> Result<Taken> {
        let note = note_of(self.source.name(), table);
        let before = match self.way {
            Way::Real => progress_of(self.into.db, &note).await?,
            Way::Dry => Before::default(),
        };
        let mut taken = Taken {
            table: table.name.to_owned(),
            rows,
            done: before.lines,
            new: before.added,
            known: before.lines.saturating_sub(before.added + before.rejected),
            refused: before.rejected,
        };
        progress.at(&taken);
        if before.finished {
            return Ok(taken);
        }
        let mut after = match before.lines {
            0 => None,
            lines => Some(block_in_place(|| self.source.row_at(table.name, lines))?.unwrap_or(i64::MAX)),
        };
        loop {
            let found = block_in_place(|| self.source.rows(table.name, after, BATCH, BATCH_BYTES))?;
            let end = if found.is_empty() { End::Reached } else { End::NotYet };
            after = found.last().map_or(after, |row| Some(row.number));
            self.batch(table, &note, &found, end, &mut taken).await?;
            progress.at(&taken);
            if end == End::Reached {
                return Ok(taken);
            }
        }
    }

    /// Deals with a batch: reads its rows, leaves out what is known, and loads the rest with the note.
    async fn batch(&mut self, table: &Table, note: &str, rows: &[Row], end: End, taken: &mut Taken) -> Result<()> {
        let (mut ready, mut refused) = (Vec::new(), Vec::new());
        for row in rows {
            match (table.read)(row, &self.context) {
                Ok(one) => ready.push(Ready { number: row.number, ..one }),
                Err(reasons) => refused.push((row.number, reasons)),
            }
        }
        self.leave_orphans(&mut ready, &mut refused).await?;
        let known = self.leave_known(table, &mut ready, &mut refused).await?;
        let mut new = ready.len() as u64;
        for one in &ready {
            if let Some(remark) = &one.remark {
                self.remarks += 1;
                self.reject(table, one.number, true, std::slice::from_ref(remark))?;
            }
        }
        for (number, reasons) in &refused {
            self.reject(table, *number, false, reasons)?;
        }
        let mut bad = refused.len() as u64;
        taken.done += rows.len() as u64;
        let noted = |bad: u64| Note::of(Some(note), taken.done, bad, end);
        match self.way {
            Way::Dry => self.would_be.extend(ready.iter().filter_map(|one| would_be(table, one))),
            Way::Real => match store::load(self.into, table, &ready, noted(bad), new).await {
                Err(error) if error.code() == Error::REFUSED => {
                    // One of them is at fault: each alone, then the note.
                    for one in ready.chunks(1) {
                        match store::load(self.into, table, one, Note::none(), 0).await {
                            Err(error) if error.code() == Error::REFUSED => {
                                let cause = error.inside().map(ToString::to_string).unwrap_or_default();
                                self.reject(table, one[0].number, false, &[format!("{}: {cause}", error.message())])?;
                                (new, bad) = (new - 1, bad + 1);
                            }
                            outcome => outcome?,
                        }
                    }
                    store::load(self.into, table, &[], noted(bad), new).await?;
                }
                outcome => outcome?,
            },
        }
        (taken.new, taken.known, taken.refused) = (taken.new + new, taken.known + known, taken.refused + bad);
        Ok(())
    }

    /// Takes out rows that name what is not there.
    async fn leave_orphans(&self, ready: &mut Vec<Ready>, refused: &mut Vec<(i64, Vec<String>)>) -> Result<()> {
        let mut missing: HashSet<Need> = ready.iter().filter_map(|one| one.need.clone()).collect();
        missing.retain(|need| !self.would_be.contains(need));
        for there in store::present(self.into.db, &missing).await? {
            missing.remove(&there);
        }
        ready.retain(|one| match one.need.as_ref().filter(|need| missing.contains(need)) {
            Some(need) => {
                refused.push((one.number, vec![described(need)]));
                false
            }
            None => true,
        });
        Ok(())
    }

    /// Takes out rows that are here already; answers how many. Those that say something else are refused.
    async fn leave_known(
        &self, table: &Table, ready: &mut Vec<Ready>, refused: &mut Vec<(i64, Vec<String>)>,
    ) -> Result<u64> {
        let before = ready.len() + refused.len();
        let mut met: HashMap<String, String> = HashMap::new();
        let derived = matches!(table.into, Into::Derived(_)) && self.way == Way::Real;
        let mut known = store::known(self.into.db, table, ready).await?.into_iter();
        ready.retain(|one| {
            let known = known.next().unwrap_or_default();
            let says = if let Item::Rows(rows) = &one.item {
                serde_json::to_string(rows).unwrap_or_default()
            } else {
                String::new()
            };
            let reason = match (known, met.get(&one.key)) {
                (Some(differs), _) if differs.is_empty() => return false,
                (Some(differs), _) => format!("is here already, and differs in: {}", differs.join(", ")),
                (None, _) if derived => "no row of this file that was taken over tells of it".to_owned(),
                (None, Some(met)) if *met == says => return false,
                (None, Some(_)) => "another row of this file says something else of the same".to_owned(),
                (None, None) => {
                    met.insert(one.key.clone(), says);
                    return true;
                }
            };
            refused.push((one.number, vec![reason]));
            false
        });
        Ok((before - ready.len() - refused.len()) as u64)
    }

    /// What producers are called here, by what they were called there.
    pub(super) async fn registered(&self) -> Result<HashMap<String, String>> {
        let here = store::producers(self.into.db, self.context.keys.values().cloned().collect()).await?;
        let called = |(id, key): (&String, &String)| match here.get(key) {
            Some(here) => Some((id.clone(), here.clone())),
            None => (self.way == Way::Dry).then(|| (id.clone(), id.clone())),
        };
        Ok(self.context.keys.iter().filter_map(called).collect())
    }

    fn reject(&mut self, table: &Table, row: i64, taken: bool, reasons: &[String]) -> Result<()> {
        let reject = Reject { table: table.name, row, taken, reasons };
        let json = serde_json::to_string(&reject).map_err(Error::internal)?;
        writeln!(self.rejects, "{json}").map_err(write_failed)
    }
}

/// What others may name, once this row is taken over.
fn would_be(table: &Table, one: &Ready) -> Option<Need> {
    match (table.name, &one.item) {
        (_, Item::Version(checked)) => Some(Need::Version(checked.published.version_id)),
        ("receipts", _) => Some(Need::Receipt(one.key.clone())),
        ("advisories", _) => Some(Need::Advisory(one.key.clone())),
        _ => None,
    }
}
