//! What is asked for most, counted in a sorted set that all processes share.

use std::time::Duration;

use super::Redis;

/// The set.
const KEY: &str = "ol:popular";

/// Held by whoever halved the counts last.
const HALVED: &str = "ol:popular:halved";

/// How often all counts are halved: what was asked for long ago counts for less and less.
const HALF_LIFE: Duration = Duration::from_secs(3_600);

/// How long the set outlives its last count.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Most members.
const MOST: isize = 10_000;

impl Redis {
    /// Counts requests, each with how often it was asked. Lost counts are no loss.
    pub async fn count(&self, asked: Vec<(String, u32)>) {
        let mut commands: Vec<redis::Cmd> = asked
            .iter()
            .map(|(request, times)| redis::cmd("ZINCRBY").arg(KEY).arg(times).arg(request).take())
            .collect();
        commands.push(redis::cmd("EXPIRE").arg(KEY).arg(KEPT.as_secs()).take());
        self.inner.send("count", commands).await;
        // The least of them go when there are too many.
        let trim = redis::cmd("ZREMRANGEBYRANK").arg(KEY).arg(0).arg(-MOST - 1).take();
        let _trimmed: Option<i64> = self.inner.call("count", trim).await;
        if self.lock(HALVED, "", HALF_LIFE).await == Some(true) {
            let halve = redis::cmd("ZUNIONSTORE").arg(KEY).arg(1).arg(KEY).arg("WEIGHTS").arg("0.5").take();
            let _halved: Option<i64> = self.inner.call("count", halve).await;
        }
    }

    /// The requests asked for most, those first.
    pub async fn popular(&self, most: usize) -> Vec<String> {
        let command = redis::cmd("ZREVRANGE").arg(KEY).arg(0).arg(most.saturating_sub(1)).take();
        let found: Vec<Vec<u8>> = self.inner.patient("popular", command).await.unwrap_or_default();
        // Whoever can write there may write anything: what is no text is no request.
        found.into_iter().filter_map(|request| String::from_utf8(request).ok()).collect()
    }

    /// Waits until what was put is written, or given up.
    pub async fn written(&self) {
        let (done, is_done) = tokio::sync::oneshot::channel();
        if self.changes.send(super::Change::Mark(done)).await.is_ok() {
            let _written = is_done.await;
        }
    }
}
