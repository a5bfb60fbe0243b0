//! Changes that nobody waits for: what is put, what is forgotten, which locks are let go.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use redis::Cmd;
use tokio::sync::{mpsc, oneshot};

use super::Inner;

/// Changes that may wait; more are dropped, since a cache entry can always be built again.
pub(super) const QUEUE: usize = 4_096;

/// Bytes of entries that may wait.
pub(super) const QUEUE_BYTES: usize = 64 << 20;

/// Most changes sent at once.
const BATCH: usize = 256;

/// An entry to be written.
pub(in crate::cache) struct Write {
    pub(in crate::cache) key: Arc<str>,
    pub(in crate::cache) bytes: Vec<u8>,
    pub(in crate::cache) ttl_ms: u64,
}

/// Something to be done in Redis some time soon.
pub(super) enum Change {
    Put(Write),
    Forget(Arc<str>),
    /// Deletes the lock `key` if it still holds `token`.
    Release {
        key: Arc<str>,
        token: String,
    },
    /// Says when all before it is done.
    Mark(oneshot::Sender<()>),
}

impl Change {
    /// Bytes that wait with it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(write) => write.bytes.len(),
            Self::Forget(_) | Self::Release { .. } | Self::Mark(_) => 0,
        }
    }
}

/// Compare and delete in one step: a lock that was lost meanwhile is somebody else's. A plain EVAL, so that a user of
/// few rights need not be allowed to keep scripts.
const RELEASE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('unlink', KEYS[1]) end return 0";

/// Sends what is queued, as much as is there at once.
pub(super) async fn write(inner: Weak<Inner>, mut queue: mpsc::Receiver<Change>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let Some(store) = inner.upgrade() else { return };
        let bytes = batch.iter().map(Change::bytes).sum();
        store.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let (marks, rest): (Vec<Change>, Vec<Change>) = batch.drain(..).partition(|c| matches!(c, Change::Mark(_)));
        let (changes, releases) = commands(rest.into_iter());
        store.send("set", changes).await;
        // After the entries: who gets a lock next finds what its holder has built.
        store.send("release", releases).await;
        for mark in marks {
            if let Change::Mark(done) = mark {
                let _gone = done.send(());
            }
        }
    }
}

/// The commands that leave every key as the last change of it wants it; their order does not matter any more. Releases
/// are apart.
fn commands(batch: impl DoubleEndedIterator<Item = Change>) -> (Vec<Cmd>, Vec<Cmd>) {
    let mut settled = HashSet::new();
    let (mut changes, mut releases) = (Vec::new(), Vec::new());
    let mut gone = redis::cmd("UNLINK");
    for change in batch.rev() {
        match change {
            Change::Put(write) if settled.insert(write.key.clone()) => {
                let set = redis::cmd("SET").arg(&*write.key).arg(write.bytes).arg("PX").arg(write.ttl_ms.max(1)).take();
                changes.push(set);
            }
            Change::Forget(key) if settled.insert(key.clone()) => {
                gone.arg(&*key);
            }
            // A later change has the last word.
            Change::Put(_) | Change::Forget(_) | Change::Mark(_) => {}
            Change::Release { key, token } => {
                releases.push(redis::cmd("EVAL").arg(RELEASE).arg(1).arg(&*key).arg(token).take());
            }
        }
    }
    if gone.args_iter().count() > 1 {
        changes.push(gone);
    }
    (changes, releases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, byte: u8) -> Change {
        Change::Put(Write { key: key.into(), bytes: vec![byte], ttl_ms: 0 })
    }

    fn told(batch: Vec<Change>) -> (Vec<String>, Vec<String>) {
        let text = |commands: Vec<Cmd>| {
            let words = |c: &Cmd| String::from_utf8_lossy(&c.get_packed_command()).replace("\r\n", " ");
            let mut told: Vec<String> = commands.iter().map(words).collect();
            told.sort();
            told
        };
        let (changes, releases) = commands(batch.into_iter());
        (text(changes), text(releases))
    }

    #[test]
    fn the_last_change_of_a_key_wins_and_deletes_are_one_command() {
        let forget = |key: &str| Change::Forget(key.into());
        let (changes, releases) = told(vec![
            put("a", b'1'),
            forget("a"),
            forget("b"),
            put("b", b'2'),
            put("b", b'3'),
            forget("c"),
            Change::Release { key: "l".into(), token: "t".into() },
        ]);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(
            changes[0].contains("UNLINK") && changes[0].contains(" a ") && changes[0].contains(" c "),
            "{changes:?}"
        );
        assert!(!changes[0].contains(" b ") && changes[1].contains("SET $1 b $1 3"), "{changes:?}");
        assert!(releases.len() == 1 && releases[0].contains("EVAL"), "{releases:?}");
        assert_eq!(told(vec![]), (vec![], vec![]));
    }
}
