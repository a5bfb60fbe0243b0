//! How long events are kept: what follows from them (jobs, datasets, runs, edges) stays, the events themselves and the letters
//! that could not be read go when their time is over.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinHandle;

use super::store;
use crate::app::App;
use crate::error::Result;

/// Between one look for what is too old and the next.
const PAUSE: Duration = Duration::from_secs(600);

/// Most rows that go in one transaction.
const AT_ONCE: i64 = 5_000;

/// Takes away what is too old, until it is dropped. Every process does: rows that another is at are passed over.
#[derive(Debug)]
pub struct Retention(JoinHandle<()>);

impl Drop for Retention {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Retention {
    /// Begins, at once, and looks again every ten minutes.
    pub fn start(app: App, days: u32) -> Self {
        Self(tokio::spawn(async move {
            loop {
                match forget(&app, Utc::now() - TimeDelta::days(days.into())).await {
                    Ok(0) => {}
                    Ok(count) => tracing::info!("{count} lineage events and dead letters were over {days} days old"),
                    Err(error) => tracing::warn!(%error, "old lineage events cannot be taken away; tried again later"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

/// Takes away the events that were taken before `time`, and the dead letters that came last before it; answers how many.
///
/// # Errors
/// What the database answers; what is away by then stays away.
pub async fn forget(app: &App, time: DateTime<Utc>) -> Result<u64> {
    let mut count = 0;
    // Looked at first: nearly every time there is nothing to do, and a transaction would be one for nothing.
    while store::has_older(&app.db, time).await? {
        let forgotten = app
            .write("lineage.forget", move |tx| Box::pin(async move { store::forget(tx, time, AT_ONCE).await }))
            .await?
            .0;
        if forgotten == 0 {
            // Somebody else is at them.
            break;
        }
        count += forgotten;
    }
    Ok(count)
}
