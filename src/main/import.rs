//! The command `import`: files, progress, rejects. What is done with the lines is `flows::import`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use overlay::boot::upkeep;
use overlay::db::{self, Db};
use overlay::error::{Error, Result};
use overlay::flows::import::digest::{digest, opened};
use overlay::flows::import::{self, Catalogue};
use serde::de::IgnoredAny;
use xxhash_rust::xxh3::xxh3_128;

/// A file's name for resuming, which is the hash of its bytes, and their number.
fn source_of(file: &Path) -> Result<(String, u64)> {
    let (hex, bytes) = digest(&[file])?;
    Ok((format!("sha256:{hex}"), bytes))
}

/// Imports a file, or standard input; tells how it went in the log.
pub(crate) async fn into(database: &db::Config, namespace: &str, file: &Path, rejects: Option<&Path>) -> Result<()> {
    let db = Db::connect(&upkeep(database)).await?;
    let (source, bytes, input): (Option<String>, u64, Box<dyn BufRead + Send>) = if file == Path::new("-") {
        (None, 0, Box::new(BufReader::new(std::io::stdin())))
    } else {
        let (source, bytes) = source_of(file)?;
        (Some(source), bytes, Box::new(BufReader::with_capacity(1 << 20, opened(file)?)))
    };
    let rejects_at = match rejects {
        Some(path) => path.to_owned(),
        None if source.is_some() => file.with_extension("rejects.jsonl"),
        None => PathBuf::from("stdin.rejects.jsonl"),
    };
    let mut rejects = WhenNeeded::new(rejects_at.clone(), file)?;
    let begun = std::time::Instant::now();
    let mut bar = Bar::new(bytes);
    let report =
        import::jsonl(Catalogue { db: &db, namespace }, input, source.as_deref(), &mut rejects, &mut bar).await?;
    bar.0.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    tracing::info!(
        "imported {}: {} lines ({} done before), {} added, {} known, {} refused, {seconds:.1} s, {:.0} lines/s{}",
        file.display(),
        report.lines,
        report.resumed_after,
        report.added,
        report.known,
        report.rejected,
        (report.lines - report.resumed_after.min(report.lines)) as f64 / seconds.max(0.001),
        if report.rejected > 0 { format!("; refused lines are in {}", rejects_at.display()) } else { String::new() },
    );
    db.close().await;
    Ok(())
}

/// Forgets how far the import of a file has come.
pub(crate) async fn forget(db: &Db, file: &Path) -> Result<()> {
    if file == Path::new("-") {
        // Standard input has no name to be remembered by.
        return Ok(());
    }
    import::forget(db, &source_of(file)?.0).await
}

/// A file that is made when the first line is written to it. An import that was killed between its rejects and the note of its
/// batch tells them again when it goes on: a line that is there already, whoever wrote it, is not written once more.
pub(crate) struct WhenNeeded {
    path: PathBuf,
    file: Option<File>,
    /// What is there, by the hashes of its lines.
    told: HashSet<u128>,
    /// The line that is being written.
    line: Vec<u8>,
}

impl WhenNeeded {
    /// Rejects of `input` go to `path`.
    pub(crate) fn new(path: PathBuf, input: &Path) -> Result<Self> {
        if std::fs::canonicalize(&path).is_ok_and(|at| std::fs::canonicalize(input).is_ok_and(|input| input == at)) {
            return Err(Error::invalid("--rejects names the input itself: choose another file"));
        }
        Ok(Self { path, file: None, told: HashSet::new(), line: Vec::new() })
    }

    /// Writes a whole line, if it is not there.
    fn tell(&mut self) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(reopened(&self.path, &mut self.told)?),
        };
        if self.told.insert(xxh3_128(&self.line)) {
            file.write_all(&self.line)?;
        }
        self.line.clear();
        Ok(())
    }
}

/// Opens a file of lines for more of them; what there is goes to `told`. A last line without an end that is the beginning of one of
/// ours was being written by a process that was killed, and is taken away; any other is given its end.
fn reopened(path: &Path, told: &mut HashSet<u128>) -> std::io::Result<File> {
    let file = File::options().create(true).append(true).read(true).open(path)?;
    let (mut lines, mut line, mut whole) = (BufReader::new(&file), Vec::new(), 0);
    loop {
        line.clear();
        let length = lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            let is_torn = line.starts_with(b"{\"") && serde_json::from_slice::<IgnoredAny>(&line).is_err();
            if is_torn {
                file.set_len(whole)?;
            } else if length > 0 {
                line.push(b'\n');
                told.insert(xxh3_128(&line));
                (&file).write_all(b"\n")?;
            }
            return Ok(file);
        }
        whole += length as u64;
        told.insert(xxh3_128(&line));
    }
}

impl Write for WhenNeeded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.tell()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// A progress bar on a terminal, a line every ten batches elsewhere.
struct Bar(ProgressBar, u64);

impl Bar {
    fn new(bytes: u64) -> Self {
        let bar = match bytes {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            0 => ProgressBar::new_spinner(),
            bytes => ProgressBar::new(bytes),
        };
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {eta} left, {msg}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())), 0)
    }
}

impl import::Progress for Bar {
    fn at(&mut self, bytes: u64, report: &import::Report) {
        self.0.set_position(bytes);
        self.0.set_message(format!("{} added, {} known, {} refused", report.added, report.known, report.rejected));
        self.1 += 1;
        if self.0.is_hidden() && self.1.is_multiple_of(10) {
            tracing::info!(lines = report.lines, added = report.added, refused = report.rejected, "importing");
        }
    }
}
