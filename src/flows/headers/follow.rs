//! Following a header source: it is looked at again and again, and read when it has changed. When it fails, the last tip
//! stays, the pauses grow, and answers that rest on the chain say so.
//!
//! Every process looks for itself, and so knows for itself whether the source can be trusted; of those that find something
//! new, one writes it.

mod remote;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;

use remote::Remote;

use super::{Outcome, sync};
use crate::app::App;
use crate::error::{Error, Result};
use crate::flows::receipts;
use crate::https::Https;

/// Longest pause after failures.
const LONGEST: Duration = Duration::from_secs(300);

/// Largest source, bytes.
const MAX_BYTES: usize = 512 << 20;

/// Longest time that fetching a source may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which source, and how often it is looked at.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A file, or an `http(s)` URL; it may hold a password, so it is never logged.
    pub source: String,
    /// Pause between looks.
    pub poll: Duration,
}

/// Follows a source until it is dropped.
#[derive(Debug)]
pub struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Follower {
    /// Begins to follow.
    pub fn start(app: App, settings: Settings) -> Self {
        Self(tokio::spawn(run(app, settings)))
    }
}

async fn run(app: App, settings: Settings) {
    let source = Source::new(&settings.source, &app.https);
    let (mut seen, mut failures) = (Seen::default(), 0u32);
    loop {
        let begun = Instant::now();
        let looked = look(&app, &source, &mut seen).await;
        metrics::histogram!("overlay_headers_look_seconds").record(begun.elapsed());
        note(&app, looked.as_ref().err(), &mut failures);
        if let Ok(Some(outcome)) = &looked {
            tell(outcome);
        }
        // The first failure is tried again at once after the usual pause; then twice as long each time.
        let pause =
            settings.poll.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST.max(settings.poll));
        tokio::time::sleep(jittered(pause)).await;
    }
}

/// Between nine and eleven tenths: processes that were started together do not ask together for ever.
fn jittered(pause: Duration) -> Duration {
    let tenth = pause / 10;
    let spread = u32::try_from(uuid::Uuid::new_v4().as_u128() % 2_000).unwrap_or_default();
    pause - tenth + tenth * spread / 1_000
}

/// Notes a change between failing and working, once.
fn note(app: &App, error: Option<&Error>, failures: &mut u32) {
    let outcome = if error.is_some() { "failed" } else { "ok" };
    metrics::counter!("overlay_headers_looks_total", "outcome" => outcome).increment(1);
    match (error, *failures) {
        (Some(error), 0) => {
            tracing::warn!(%error, "the header source fails: the last tip stays, and answers are marked as unstable");
            app.unstable.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        (None, 1..) => {
            tracing::info!("the header source works again");
            app.unstable.store(false, std::sync::atomic::Ordering::Relaxed);
        }
        _ => {}
    }
    *failures = if error.is_some() { failures.saturating_add(1) } else { 0 };
}

fn tell(outcome: &Outcome) {
    if let Outcome::Moved { added, removed, height } = *outcome {
        metrics::gauge!("overlay_headers_height").set(f64::from(height));
        if removed > 0 {
            metrics::counter!("overlay_reorgs_total").increment(1);
            metrics::histogram!("overlay_reorg_depth").record(removed as f64);
            tracing::warn!(removed, added, height, "the best chain was reorganised");
        } else {
            tracing::info!(added, height, "new block headers");
        }
    }
}

/// Reads the source if it has changed, and brings the mirror up to it; `None` when there is nothing new.
async fn look(app: &App, source: &Source, seen: &mut Seen) -> Result<Option<Outcome>> {
    let Some((bytes, now)) = source.read(seen).await? else { return Ok(None) };
    let outcome = sync(app, &bytes).await?;
    if let Outcome::Moved { .. } = outcome {
        // What was paid in a block that has left falls back now, not at the next sweep.
        receipts::settle(app).await?;
    }
    if outcome != Outcome::Busy {
        // What failed, or what somebody else was at, is read again.
        *seen = now;
    }
    Ok(Some(outcome))
}

/// What the source was like when it was last taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    file: Option<(SystemTime, u64)>,
    etag: Option<String>,
}

enum Source {
    File(PathBuf),
    Url(Box<Remote>),
}

impl Source {
    fn new(source: &str, https: &Https) -> Self {
        if source.starts_with("http://") || source.starts_with("https://") {
            return Self::Url(Box::new(Remote::new(source, https.clone())));
        }
        Self::File(source.into())
    }

    /// The bytes and what they are recognised by, unless it is what was `seen`.
    async fn read(&self, seen: &Seen) -> Result<Option<(Vec<u8>, Seen)>> {
        match self {
            Self::File(path) => {
                let failed = |cause: std::io::Error| {
                    Error::unavailable(format!("the header file cannot be read: {}", cause.kind())).because(cause)
                };
                let meta = tokio::fs::metadata(path).await.map_err(failed)?;
                let file = Some((meta.modified().map_err(failed)?, meta.len()));
                if seen.file == file {
                    return Ok(None);
                }
                if meta.len() > MAX_BYTES as u64 {
                    return Err(Error::unavailable("the header file is larger than 512 MiB"));
                }
                let bytes = tokio::fs::read(path).await.map_err(failed)?;
                Ok(Some((bytes, Seen { file, etag: None })))
            }
            Self::Url(remote) => {
                let fetched = tokio::time::timeout(PATIENCE, remote.fetch(seen)).await;
                let late = |_| Error::unavailable("the header source does not answer in time");
                Ok(fetched.map_err(late)??.map(|(bytes, etag)| (bytes, Seen { file: None, etag })))
            }
        }
    }
}
