//! Wake-ups: after a commit the other processes are told to poll now.
//!
//! Hints only, by PostgreSQL's NOTIFY, sent after the commit and never inside it: within a transaction it would take a lock
//! that all commits of the cluster share. Whoever misses one polls a few milliseconds later anyway.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sea_orm::ConnectionTrait;
use sea_orm::sqlx::postgres::PgListener;
use tokio::sync::Notify;

use crate::db;

const CHANNEL: &str = "overlay_wake";
const SEND: &str = "notify overlay_wake";

/// Pause between two wake-ups, so that many commits share one.
const PAUSE: Duration = Duration::from_millis(2);

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The handle by which wake-ups are sent.
#[derive(Default)]
pub(super) struct Wake {
    wanted: Notify,
}

impl Wake {
    pub(super) fn others(&self) {
        self.wanted.notify_one();
    }
}

/// Sends what is wanted, and calls `woken` for what others send, until it answers false.
pub(super) fn start(database: db::Config, wake: &Arc<Wake>, woken: impl Fn() -> bool + Send + Sync + 'static) {
    tokio::spawn(send(database.clone(), Arc::downgrade(wake)));
    tokio::spawn(listen(database, woken));
}

async fn send(database: db::Config, wake: Weak<Wake>) {
    let mut connection = None;
    while let Some(wake) = wake.upgrade() {
        // Wakes now and then to notice that nobody will want anything any more.
        if tokio::time::timeout(RETRY, wake.wanted.notified()).await.is_err() {
            continue;
        }
        drop(wake);
        if connection.is_none() {
            // Nothing to be woken by is not a fault: the feed says what is wrong with the database.
            connection = db::connect(&database, "wake", 0, 1).await.ok();
        }
        let sent = match &connection {
            Some(connection) => connection.execute_unprepared(SEND).await.is_ok(),
            None => false,
        };
        metrics::counter!("overlay_wakeups_total", "direction" => if sent { "sent" } else { "lost" }).increment(1);
        tokio::time::sleep(if sent { PAUSE } else { RETRY }).await;
    }
}

async fn listen(database: db::Config, woken: impl Fn() -> bool) {
    loop {
        if let Ok(mut listener) = listener(&database).await {
            // A poll on connecting makes up for what was missed.
            while woken() {
                if listener.recv().await.is_err() {
                    break;
                }
                metrics::counter!("overlay_wakeups_total", "direction" => "received").increment(1);
            }
        }
        if !woken() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listener(database: &db::Config) -> Result<PgListener, sea_orm::SqlxError> {
    let mut listener = PgListener::connect(&database.url).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
