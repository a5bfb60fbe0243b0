//! What has changed lately, transaction by transaction, for those who want to be told and not to ask.
//!
//! A transaction is told once every transaction with a smaller id has finished: then its place among the others is settled,
//! and is the same in every process and after a restart. Somebody who was cut off says how far they came and goes on from
//! there; what lies too far back for that is a gap, which is said and never passed over.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::clock::Epoch;

/// Most transactions that are remembered.
const MAX_CHANGES: usize = 65_536;

/// Most bytes of tags that are remembered.
const MAX_BYTES: usize = 16 << 20;

/// One transaction's changes.
#[derive(Debug)]
pub struct Change {
    /// The transaction's id.
    pub xid: u64,
    /// The tags it touched, sorted, each once.
    pub tags: Box<[Box<str>]>,
}

impl Change {
    fn bytes(&self) -> usize {
        self.tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum::<usize>() + 64
    }
}

/// How far somebody has come: everything before the tag at `place` of transaction `xid`. Written `<epoch>.<xid>.<place>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The stretch of history.
    pub epoch: Epoch,
    /// The transaction that comes next.
    pub xid: u64,
    /// How many of its tags are behind already.
    pub place: usize,
}

impl Position {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.split_once('.')?;
        let (xid, place) = rest.split_once('.')?;
        let digits = |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(());
        digits(xid).and(digits(place))?;
        Some(Self { epoch: Epoch::parse(epoch)?, xid: xid.parse().ok()?, place: place.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.xid, self.place)
    }
}

/// What comes next at a position.
#[derive(Debug)]
pub enum Next {
    /// A transaction, of which the first `place` tags are behind already.
    Change {
        /// The transaction.
        change: Arc<Change>,
        /// How many of its tags are behind.
        place: usize,
    },
    /// Changes may have been missed: what lay there is not remembered any more.
    Missed(Missed),
}

/// Why changes may have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// They are too many, or too long ago.
    TooFarBack,
    /// The database's history began anew, as after a crash or a fail-over.
    NewHistory,
}

#[derive(Debug)]
struct Ring {
    epoch: Epoch,
    /// Every change from this transaction on is here.
    begins: u64,
    /// Every change below this transaction is here.
    ends: u64,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

/// The changes that are remembered, newest last.
#[derive(Debug)]
pub struct Changes {
    ring: RwLock<Ring>,
    /// Moves when there is something new to be told.
    moved: watch::Sender<u64>,
    ended: watch::Sender<bool>,
}

impl Default for Changes {
    fn default() -> Self {
        let ring = Ring { epoch: Epoch::NONE, begins: 0, ends: 0, changes: VecDeque::new(), bytes: 0 };
        Self { ring: RwLock::new(ring), moved: watch::Sender::new(0), ended: watch::Sender::new(false) }
    }
}

impl Changes {
    /// Takes what a poll saw: of `epoch`, every transaction from `from` to below `horizon`, in any order. What lies before
    /// `from` and is not here yet was not seen by anybody.
    pub(super) fn take(&self, epoch: Epoch, from: u64, horizon: u64, seen: Vec<(u64, Vec<String>)>) {
        let settled = sorted(seen, from, horizon);
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let has_gap = ring.epoch != epoch || ring.ends < from;
        if has_gap {
            *ring = Ring { epoch, begins: from, ends: from, changes: VecDeque::new(), bytes: 0 };
        }
        let is_news = has_gap || !settled.is_empty();
        let known = ring.ends;
        for change in settled.into_iter().filter(|change| change.xid >= known) {
            ring.bytes += change.bytes();
            ring.changes.push_back(Arc::new(change));
        }
        ring.ends = known.max(horizon);
        while ring.changes.len() > MAX_CHANGES || ring.bytes > MAX_BYTES {
            let Some(oldest) = ring.changes.pop_front() else { break };
            ring.bytes -= oldest.bytes();
            ring.begins = oldest.xid + 1;
        }
        drop(ring);
        if is_news {
            self.moved.send_modify(|count| *count += 1);
        }
    }

    /// Where what is told from now on begins.
    pub fn now(&self) -> Position {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        Position { epoch: ring.epoch, xid: ring.ends, place: 0 }
    }

    /// Whether a position names a transaction that this history has not come to.
    pub fn is_ahead(&self, position: &Position) -> bool {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        position.epoch == ring.epoch && position.xid > ring.ends
    }

    /// Follows the changes from a position on.
    pub fn follow(self: &Arc<Self>, from: Position) -> Cursor {
        let (moved, ended) = (self.moved.subscribe(), self.ended.subscribe());
        Cursor { changes: self.clone(), position: from, moved, ended }
    }

    /// Resolves when the server is about to stop. While this is held, [`Self::end`] waits for it.
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Tells nothing more: who follows is sent home, and waited for.
    pub async fn end(&self) {
        self.ended.send_replace(true);
        self.ended.closed().await;
    }

    /// What comes at `position`, which is moved past it.
    fn step(&self, position: &mut Position) -> Option<Next> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let missed = if position.epoch != ring.epoch {
            Some(Missed::NewHistory)
        } else {
            (position.xid < ring.begins).then_some(Missed::TooFarBack)
        };
        if let Some(missed) = missed {
            *position = Position { epoch: ring.epoch, xid: ring.begins, place: 0 };
            return Some(Next::Missed(missed));
        }
        let at = ring.changes.partition_point(|change| change.xid < position.xid);
        let Some(change) = ring.changes.get(at).cloned() else {
            if position.xid < ring.ends {
                *position = Position { xid: ring.ends, place: 0, ..*position };
            }
            return None;
        };
        let place = if change.xid == position.xid { position.place } else { 0 };
        *position = Position { xid: change.xid + 1, place: 0, ..*position };
        Some(Next::Change { change, place })
    }
}

/// The transactions from `from` to below `horizon`, by id, each with its tags sorted.
fn sorted(mut seen: Vec<(u64, Vec<String>)>, from: u64, horizon: u64) -> Vec<Change> {
    seen.retain(|(xid, _)| (from..horizon).contains(xid));
    seen.sort_by_key(|(xid, _)| *xid);
    let of_one = seen.chunk_by_mut(|(a, _), (b, _)| a == b);
    of_one
        .map(|rows| {
            let xid = rows[0].0;
            let mut tags: Vec<String> = rows.iter_mut().flat_map(|(_, tags)| std::mem::take(tags)).collect();
            tags.sort_unstable();
            tags.dedup();
            Change { xid, tags: tags.into_iter().map(String::into_boxed_str).collect() }
        })
        .collect()
}

/// Somebody who is told.
#[derive(Debug)]
pub struct Cursor {
    changes: Arc<Changes>,
    position: Position,
    moved: watch::Receiver<u64>,
    ended: watch::Receiver<bool>,
}

impl Cursor {
    /// How far it has come: everything before is behind.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether everything that is there has been told.
    pub fn is_at_the_end(&self) -> bool {
        let ring = self.changes.ring.read().unwrap_or_else(PoisonError::into_inner);
        let is_newer = |change: &Arc<Change>| change.xid >= self.position.xid;
        self.position.epoch == ring.epoch && !ring.changes.back().is_some_and(is_newer)
    }

    /// What comes next, once it is there. `None` when the server is about to stop.
    pub async fn next(&mut self) -> Option<Next> {
        loop {
            if *self.ended.borrow() {
                return None;
            }
            // Before looking: what comes meanwhile is not slept over.
            self.moved.mark_unchanged();
            if let Some(next) = self.changes.step(&mut self.position) {
                return Some(next);
            }
            tokio::select! {
                moved = self.moved.changed() => moved.ok()?,
                ended = self.ended.changed() => ended.ok()?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(name: &str) -> Epoch {
        Epoch::new("s", "d", name)
    }

    fn poll(changes: &Changes, from: u64, horizon: u64, seen: &[(u64, &[&str])]) {
        let seen = seen.iter().map(|(xid, tags)| (*xid, tags.iter().map(|t| t.to_string()).collect())).collect();
        changes.take(epoch("a"), from, horizon, seen);
    }

    fn told(next: Option<Next>) -> String {
        match next {
            None => "nothing".into(),
            Some(Next::Missed(why)) => format!("{why:?}"),
            Some(Next::Change { change, place }) => format!("{}:{}", change.xid, change.tags[place..].join(",")),
        }
    }

    #[test]
    fn forms() {
        let position = Position { epoch: epoch("a"), xid: 7, place: 2 };
        assert_eq!(Position::parse(&position.to_string()), Some(position));
        let name = epoch("a");
        for bad in [
            "",
            "1.2.3",
            &format!("{name}.7"),
            &format!("{name}.+7.0"),
            &format!("{name}.7."),
            &format!("{name}.7.1.1"),
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_transaction_is_told_once_in_the_order_of_ids_when_it_has_settled() {
        let changes = Changes::default();
        poll(&changes, 10, 10, &[]);
        let mut at = changes.now();
        // 12 has committed, 11 has not: neither is told.
        poll(&changes, 10, 11, &[(12, &["b"])]);
        assert_eq!(told(changes.step(&mut at)), "nothing");
        poll(&changes, 11, 14, &[(12, &["b"]), (11, &["c"]), (12, &["a", "b"])]);
        assert_eq!(told(changes.step(&mut at)), "11:c");
        let between = at;
        assert_eq!(told(changes.step(&mut at)), "12:a,b");
        assert_eq!(told(changes.step(&mut at)), "nothing");
        assert_eq!(at.xid, 14);
        // Who comes back is told the rest, and of a transaction that was told in part the rest too.
        for (mut from, rest) in [(between, "12:a,b"), (Position { xid: 12, place: 1, ..at }, "12:b")] {
            assert_eq!(told(changes.step(&mut from)), rest);
            assert_eq!(told(changes.step(&mut from)), "nothing");
        }
        assert!(changes.is_ahead(&Position { xid: 15, ..at }) && !changes.is_ahead(&at));
    }

    #[test]
    fn a_gap_is_told() {
        let changes = Changes::default();
        poll(&changes, 10, 12, &[(11, &["a"])]);
        let mut at = Position { epoch: epoch("a"), xid: 9, place: 0 };
        assert_eq!(told(changes.step(&mut at)), "TooFarBack");
        assert_eq!(told(changes.step(&mut at)), "11:a");
        // The feed itself has missed something.
        poll(&changes, 20, 22, &[(21, &["b"])]);
        assert_eq!(told(changes.step(&mut at)), "TooFarBack");
        assert_eq!(told(changes.step(&mut at)), "21:b");
        changes.take(epoch("b"), 5, 7, vec![(6, vec!["c".into()])]);
        assert_eq!(told(changes.step(&mut at)), "NewHistory");
        assert_eq!(told(changes.step(&mut at)), "6:c");
    }

    #[test]
    fn memory_is_bounded_and_what_was_dropped_is_a_gap() {
        let changes = Changes::default();
        poll(&changes, 0, 1, &[]);
        let (mut first, long) = (changes.now(), "x".repeat(1 << 20));
        for xid in 1..40 {
            poll(&changes, xid, xid + 1, &[(xid, &[&long])]);
        }
        let ring = changes.ring.read().expect("whole");
        assert!(ring.bytes <= MAX_BYTES && ring.changes.len() < 17, "{} {}", ring.bytes, ring.changes.len());
        drop(ring);
        assert_eq!(told(changes.step(&mut first)), "TooFarBack");
        assert!(told(changes.step(&mut first)).starts_with("25:"));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_and_sent_home() {
        let changes = Arc::new(Changes::default());
        poll(&changes, 1, 1, &[]);
        let mut cursor = changes.follow(changes.now());
        let waiting = tokio::spawn(async move { (told(cursor.next().await), told(cursor.next().await)) });
        tokio::task::yield_now().await;
        poll(&changes, 1, 2, &[(1, &["a"])]);
        changes.end().await;
        let (first, then) = waiting.await.expect("no panic");
        // Either it was told before the end, or the end came first.
        assert!(first == "1:a" || first == "nothing", "{first}");
        assert_eq!(then, "nothing");
    }
}
