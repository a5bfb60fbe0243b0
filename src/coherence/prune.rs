//! Forgetting old changes: one replica at a time deletes what every live process has long seen.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::feed::Feed;
use crate::db::{Db, epoch_token};
use crate::error::Result;

/// How often the horizon is sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);

/// The lock that elects the one that prunes; the number is arbitrary and ours.
const LOCK: &str = "select 1 where pg_try_advisory_xact_lock(5717354853)";

const RECORD: &str = concat!(
    "update public.cache_epoch set pruned_below = greatest(pruned_below, $1::text::xid8) where ",
    epoch_token!(),
    " = $2"
);
const DELETE: &str = "delete from public.change_log where xid < $1::text::xid8";

/// Starts the pruner; it ends when the feed is dropped.
///
/// A row may go once a horizon sampled at least `retention` ago lies above it: every transaction below that horizon
/// had finished by then, and every process that polled since has its changes. Rows are not judged by a timestamp: a
/// long transaction's rows are born old and would vanish before others saw them.
pub fn start(db: Db, feed: &Arc<Feed>, retention: Duration) {
    let feed = Arc::downgrade(feed);
    tokio::spawn(run(db, feed, retention));
}

async fn run(db: Db, feed: Weak<Feed>, retention: Duration) {
    let mut samples: VecDeque<(Instant, String, u64)> = VecDeque::new();
    while let Some((token, horizon)) = feed.upgrade().map(|f| f.clock().sample()) {
        if samples.front().is_some_and(|(_, known, _)| *known != token) {
            samples.clear();
        }
        samples.push_back((Instant::now(), token.clone(), horizon));
        let mut bound = None;
        while samples.front().is_some_and(|(at, ..)| at.elapsed() >= retention) {
            bound = samples.pop_front().map(|(.., horizon)| horizon);
        }
        if let Some(bound) = bound {
            match prune(&db, bound, token).await {
                Ok(deleted) => tracing::debug!(bound, deleted, "pruned the change feed"),
                Err(error) => tracing::warn!(?error, "pruning the change feed failed; the next minute tries again"),
            }
        }
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
}

/// Deletes what lies below `bound` and records the bound, in one transaction: a process that finds `pruned_below`
/// above its horizon knows that it may have missed changes. Does nothing while another replica prunes, or when the
/// epoch is no longer `token`'s. Answers the number of rows deleted.
///
/// # Errors
/// What PostgreSQL answers; nothing is then applied.
pub async fn prune(db: &Db, bound: u64, token: String) -> Result<u64> {
    let (deleted, _) = db
        .transact("feed.prune", |tx| {
            Box::pin(async move {
                if tx.execute("feed.prune.elect", LOCK, vec![]).await? == 0 {
                    return Ok(0);
                }
                let bound = bound.to_string();
                if tx.execute("feed.prune.record", RECORD, vec![bound.clone().into(), token.into()]).await? == 0 {
                    return Ok(0);
                }
                tx.execute("feed.prune.delete", DELETE, vec![bound.into()]).await
            })
        })
        .await?;
    Ok(deleted)
}
