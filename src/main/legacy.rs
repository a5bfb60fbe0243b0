//! The command `import sqlite`: the file, progress, the report. What is done with the rows is `flows::import::legacy`.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use overlay::boot::{self, upkeep};
use overlay::db::{self, Db};
use overlay::error::{Error, Result};
use overlay::flows::import::Catalogue;
use overlay::flows::import::legacy::{self, Progress, Report, Sqlite, Taken, Way};

use crate::import::WhenNeeded;

/// The lock under which an import runs; the number is arbitrary and ours.
const LOCK: i64 = 5_717_354_855;

/// What the command was told.
pub(crate) struct Order<'a> {
    pub(crate) file: &'a Path,
    pub(crate) rejects: Option<&'a Path>,
    pub(crate) from_start: bool,
    pub(crate) way: Way,
}

/// Imports a file; says what became of its rows.
pub(crate) async fn into(
    database: &db::Config, namespace: &str, order: Order<'_>, say: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let file = order.file.to_owned();
    let mut source = tokio::task::spawn_blocking(move || Sqlite::open(&file)).await.map_err(Error::internal)??;
    let db = Db::connect(&upkeep(database)).await?;
    if order.way == Way::Real {
        boot::migrate(&db).await?;
    } else if let Some(step) = boot::missing(&db).await?.first() {
        let message = format!("the schema lacks {step}, and a dry run changes nothing: run `overlay migrate up`");
        return Err(Error::invalid(message + ", on a copy of the database while old servers run on this one"));
    }
    if order.from_start && order.way == Way::Real {
        legacy::forget(&db, &source).await?;
    }
    let own = if order.way == Way::Dry { "dry-run.rejects.jsonl" } else { "rejects.jsonl" };
    let rejects_at = order.rejects.map_or_else(|| order.file.with_extension(own), Path::to_owned);
    if order.way == Way::Dry && order.rejects.is_none() && rejects_at.exists() {
        std::fs::remove_file(&rejects_at).map_err(|cause| {
            Error::invalid(format!("{} of an earlier dry run is in the way", rejects_at.display())).because(cause)
        })?;
    }
    let mut rejects = WhenNeeded::new(rejects_at.clone(), order.file)?;
    let begun = std::time::Instant::now();
    let mut bar = Bar::new();
    let catalogue = Catalogue { db: &db, namespace };
    let work = legacy::run(catalogue, &mut source, order.way, &mut rejects, &mut bar);
    // Two at a time would each take the other's rows for somebody else's.
    let report = match order.way {
        Way::Real => db.exclusively("import.legacy", LOCK, work).await?,
        Way::Dry => work.await?,
    };
    bar.0.finish_and_clear();
    say(&told(&report, order.way, begun.elapsed().as_secs_f64()))?;
    if rejects_at.exists() && (report.remarks > 0 || report.taken.iter().any(|taken| taken.refused > 0)) {
        say(&format!("what is refused, and why: {}\n", rejects_at.display()))?;
    }
    db.close().await;
    Ok(())
}

fn told(report: &Report, way: Way, seconds: f64) -> String {
    let mut text = format!("{:18}{:>10}{:>10}{:>10}{:>10}\n", "table", "rows", "new", "known", "refused");
    for Taken { table, rows, new, known, refused, .. } in &report.taken {
        text += &format!("{table:18}{rows:>10}{new:>10}{known:>10}{refused:>10}\n");
    }
    for (table, rows) in &report.left {
        text += &format!("{table:18}{rows:>10}  left: nothing here is like it\n");
    }
    let sum = |of: fn(&Taken) -> u64| report.taken.iter().map(of).sum::<u64>();
    let (rows, refused) = (sum(|taken| taken.rows), sum(|taken| taken.refused));
    text += &match way {
        Way::Real => format!("{rows} rows in {seconds:.1} s, {refused} refused"),
        Way::Dry => format!("{rows} rows read in {seconds:.1} s, {refused} would be refused; nothing was written"),
    };
    if report.remarks > 0 {
        text += &format!("; {} taken over without a part of them", report.remarks);
    }
    text + "\n"
}

/// A progress bar on a terminal, a line a table elsewhere.
struct Bar(ProgressBar, String);

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left, {msg}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())), String::new())
    }
}

impl Progress for Bar {
    fn at(&mut self, taken: &Taken) {
        let begins = self.1 != taken.table;
        if begins {
            self.1.clone_from(&taken.table);
            self.0.reset_eta();
        }
        self.0.set_length(taken.rows);
        self.0.set_position(taken.done);
        self.0.set_message(format!("{}: {} new, {} refused", taken.table, taken.new, taken.refused));
        if self.0.is_hidden() && begins {
            tracing::info!(table = taken.table, rows = taken.rows, done = taken.done, "importing");
        }
    }
}
