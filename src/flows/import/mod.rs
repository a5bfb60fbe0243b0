//! Bulk import of manifests, one JSON object a line.
//!
//! Lines are checked one by one; a line that is refused goes to a file with its number and the reasons, and the rest goes
//! on. Accepted lines are applied in batches, each one transaction together with the note of how far the import has come:
//! a line is applied wholly or not at all, and an import that was cut off goes on where its last batch ended. Since a
//! version is named by its hash, applying a line twice changes nothing. Lineage is told of a batch in its transaction.
//! [`legacy`] takes over whole installations of the old server.

pub mod digest;
pub mod legacy;
mod store;

use std::io::{BufRead, Write};

use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::db::{Db, Tx};
use crate::domain::assets::manifest::{self, Published};
use crate::error::{Error, Result};

/// Lines in one transaction.
const BATCH: usize = 2_000;

/// Bytes of lines in one transaction: long lines make smaller batches.
const BATCH_BYTES: u64 = 8 << 20;

/// Longest line, bytes.
const MAX_LINE: usize = 1 << 20;

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines read, those of an earlier run that was cut off included.
    pub lines: u64,
    /// Lines not looked at again, because an earlier run had applied them.
    pub resumed_after: u64,
    /// Versions that are new in the catalogue.
    pub added: u64,
    /// Versions that were there already.
    pub known: u64,
    /// Lines refused.
    pub rejected: u64,
}

/// One refused line, as it is written to the file of rejects.
#[derive(Serialize)]
struct Reject<'a> {
    line: u64,
    reasons: &'a [String],
    /// The start of the line, to find it by.
    text: &'a str,
}

/// A checked line.
pub(crate) struct Checked {
    line: u64,
    text: Vec<u8>,
    published: Published,
    manifest: Value,
}

/// Where an import stands, for a progress bar.
pub trait Progress {
    /// `bytes` of the input are dealt with, `report` so far.
    fn at(&mut self, bytes: u64, report: &Report);
}

/// What is imported into.
#[derive(Clone, Copy)]
pub struct Catalogue<'a> {
    /// Its database.
    pub db: &'a Db,
    /// The namespace of its versions in lineage, `OL_NAMESPACE`.
    pub namespace: &'a str,
}

/// Imports `input`, and tells lineage of it. `source` names it for resuming: the same name must mean the same bytes; without
/// one, an import that was cut off begins anew, which costs time and changes nothing.
///
/// # Errors
/// When the input cannot be read, the rejects cannot be written, or the database fails; all batches before that are
/// applied, and the next run goes on after them.
pub async fn jsonl(
    into: Catalogue<'_>, mut input: impl BufRead + Send, source: Option<&str>, rejects: &mut (dyn Write + Send),
    progress: &mut (dyn Progress + Send),
) -> Result<Report> {
    let mut state = State { report: Report::default(), noted: 0, rejects };
    let done = match source {
        Some(source) => store::progress(into.db, source).await?.lines,
        None => 0,
    };
    state.report.resumed_after = done;
    let (mut bytes, mut batched, mut batch, mut line) = (0, 0, Vec::with_capacity(BATCH), Vec::new());
    loop {
        line.clear();
        let length = read_line(&mut input, &mut line)?;
        if length == 0 {
            break;
        }
        bytes += length;
        state.report.lines += 1;
        if state.report.lines <= done || line.trim_ascii().is_empty() {
            continue;
        }
        match check(state.report.lines, &line) {
            Ok(checked) => batch.push(checked),
            Err(reasons) => state.reject(state.report.lines, &reasons, &line)?,
        }
        if batch.len() >= BATCH || bytes - batched >= BATCH_BYTES {
            batched = bytes;
            apply(into, source, store::End::NotYet, &mut state, &mut batch).await?;
            progress.at(bytes, &state.report);
        }
    }
    apply(into, source, store::End::Reached, &mut state, &mut batch).await?;
    state.rejects.flush().map_err(write_failed)?;
    if state.report.added > 0 {
        // The planner must know what was brought in before the first query comes.
        store::analyze(into.db).await?;
    }
    progress.at(bytes, &state.report);
    Ok(state.report)
}

/// Forgets how far an import of `source` has come, so that the next one begins at its first line.
///
/// # Errors
/// What the database answers.
pub async fn forget(db: &Db, source: &str) -> Result<()> {
    store::forget(db, source).await
}

/// Reads one line, however long; keeps [`MAX_LINE`] bytes and one of it.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<u64> {
    let mut length = 0;
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::invalid("the input cannot be read").because(e)),
        };
        let end = available.iter().position(|b| *b == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        let room = (MAX_LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(&available[..taken.min(room)]);
        input.consume(taken);
        length += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(length);
        }
    }
}

fn check(number: u64, line: &[u8]) -> Result<Checked, Vec<String>> {
    if line.len() > MAX_LINE {
        return Err(vec![format!("the line is longer than {MAX_LINE} bytes")]);
    }
    let manifest: Value = serde_json::from_slice(line).map_err(|e| vec![format!("not JSON: {e}")])?;
    match manifest::check(&manifest) {
        Ok(published) => Ok(Checked { line: number, text: line[..line.len().min(200)].to_vec(), published, manifest }),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

fn write_failed(cause: std::io::Error) -> Error {
    Error::invalid("the file of rejects cannot be written").because(cause)
}

/// Applies a batch; when the database refuses it, line by line, so that only the lines at fault are refused.
async fn apply(
    into: Catalogue<'_>, source: Option<&str>, end: store::End, state: &mut State<'_>, batch: &mut Vec<Checked>,
) -> Result<()> {
    let checked = std::mem::take(batch);
    match store::apply(into, &checked, state.note(source, end)).await {
        Ok(added) => state.applied(checked.len() as u64, added),
        Err(error) if error.code() == Error::REFUSED => {
            for one in checked.chunks(1) {
                match store::apply(into, one, store::Note::none()).await {
                    Ok(added) => state.applied(1, added),
                    Err(error) if error.code() == Error::REFUSED => {
                        let cause = error.inside().map(ToString::to_string).unwrap_or_default();
                        state.reject(one[0].line, &[format!("{}: {cause}", error.message())], &one[0].text)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            store::apply(into, &[], state.note(source, end)).await?;
        }
        Err(error) => return Err(error),
    }
    state.noted = state.report.rejected;
    Ok(())
}

/// What an import carries along.
struct State<'a> {
    report: Report,
    /// Refused lines that a note has counted.
    noted: u64,
    rejects: &'a mut (dyn Write + Send),
}

impl State<'_> {
    fn applied(&mut self, lines: u64, added: u64) {
        self.report.added += added;
        self.report.known += lines - added;
    }

    fn note(&self, source: Option<&str>, end: store::End) -> store::Note {
        store::Note::of(source, self.report.lines, self.report.rejected - self.noted, end)
    }

    fn reject(&mut self, line: u64, reasons: &[String], text: &[u8]) -> Result<()> {
        self.report.rejected += 1;
        let text = String::from_utf8_lossy(&text[..text.len().min(200)]);
        let reject = Reject { line, reasons, text: text.trim_end() };
        let json = serde_json::to_string(&reject).map_err(Error::internal)?;
        writeln!(self.rejects, "{json}").map_err(write_failed)
    }
}

/// Publishes one checked manifest as part of a transaction; whether it was not known before.
///
/// # Errors
/// What the database answers.
pub(crate) async fn publish(tx: &Tx, manifest: &Value, published: Published) -> Result<bool> {
    let checked = [Checked { line: 0, text: Vec::new(), published, manifest: manifest.clone() }];
    Ok(store::insert(tx, store::Rows::of(&checked)).await? > 0)
}

/// Publishes manifests that are part of the program, and tells of it.
///
/// # Errors
/// `internal` when one of them is faulty; what the database answers.
pub(crate) async fn manifests(app: &App, manifests: &[Value]) -> Result<u64> {
    let checked: Vec<Checked> = manifests
        .iter()
        .map(|manifest| {
            let published = manifest::check(manifest).map_err(|f| Error::internal(format!("{f:?}")))?;
            Ok(Checked { line: 0, text: Vec::new(), published, manifest: manifest.clone() })
        })
        .collect::<Result<_>>()?;
    let into = Catalogue { db: &app.db, namespace: &app.terms.lineage_namespace };
    store::apply(into, &checked, store::Note::none()).await
}
