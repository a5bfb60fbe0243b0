//! Subscriptions. A document is executed once to learn what it wants to be told of, and once more for each change, with
//! loaders of its own, so that every answer reads what is true by then.

pub(in crate::transport) mod events;
mod root;
pub(super) mod socket;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::OperationType;
use async_graphql::{Response as Answer, ServerError};
use futures_util::StreamExt;
use overlay_entity::ids::VersionId;

pub(super) use root::ChangeQuery;
pub use root::Subscription;

use super::execute::{Prepared, coded, told};
use super::loaders::Room;
use crate::coherence::{Change, Cursor, Missed, Next, Position};
use crate::domain::caller::Caller;
use crate::transport::http::Served;
use root::reached;

/// What a subscription is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Versions: their own rows, their parents and their proofs. All of them unless they are named.
    Assets(Option<BTreeSet<VersionId>>),
    /// One receipt.
    Receipt(String),
    /// All advisories.
    Advisories,
    /// The best chain.
    Headers,
    /// Lineage events.
    LineageEvents,
}

/// What one event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    /// The object of that identifier.
    One(String),
    /// Nobody knows: a statement that changed so many rows that the feed does not name them, or a gap.
    Unknown(Why),
}

/// Why it is not known what has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Bulk,
    TooFarBack,
    NewHistory,
}

/// What the executor is to answer now.
#[derive(Debug, Clone)]
struct Event {
    about: About,
    /// Where to go on after it.
    position: Position,
}

/// How far the changes had come when an execution began: whatever it reads includes them.
pub(super) struct Begun(pub(super) Position);

/// Where a document leaves what it wants to be told of when it is executed for the first time.
#[derive(Debug, Default)]
struct Opening(Mutex<Option<(Source, Option<Position>)>>);

impl Source {
    /// The events of one transaction that come after its first `place` tags, each with how many are behind then.
    fn events(&self, change: &Change, place: usize) -> Vec<(About, usize)> {
        let mut seen = BTreeSet::new();
        let about = change.tags.iter().map(|tag| self.about(tag)).enumerate();
        // A thing that several tags name is told once, at the first, also to somebody who comes back in between.
        let first = about.filter_map(|(at, about)| {
            let about = about?;
            seen.insert(about.clone()).then_some((About::from(about), at + 1))
        });
        first.filter(|(_, behind)| *behind > place).collect()
    }

    /// What a tag says of things of this kind, if anything.
    fn about(&self, tag: &str) -> Option<Named> {
        if tag == "*" {
            return Some(Named::All);
        }
        let (kind, id) = tag.split_once(':').unwrap_or((tag, ""));
        let is_ours = match self {
            Self::Assets(_) => matches!(kind, "asset" | "proof"),
            Self::Receipt(_) => kind == "receipt",
            Self::Advisories => kind == "advisory",
            Self::Headers => kind == "headers",
            Self::LineageEvents => kind == "lineage_event",
        };
        if !is_ours {
            return None;
        }
        if id == "*" {
            return Some(Named::All);
        }
        let is_wanted = match self {
            Self::Assets(Some(wanted)) => id.parse().is_ok_and(|id| wanted.contains(&id)),
            Self::Receipt(wanted) => wanted == id,
            Self::Assets(None) | Self::Advisories | Self::Headers | Self::LineageEvents => true,
        };
        is_wanted.then(|| Named::One(id.to_owned()))
    }
}

/// What a tag names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    One(String),
    All,
}

impl From<Named> for About {
    fn from(named: Named) -> Self {
        match named {
            Named::One(id) => Self::One(id),
            Named::All => Self::Unknown(Why::Bulk),
        }
    }
}

/// A subscription that is open.
pub(super) struct Live {
    served: Served,
    prepared: Prepared,
    source: Source,
    cursor: Cursor,
    /// Events of the transaction that the cursor has come to last, the next one last.
    waiting: Vec<Event>,
    /// Whether it has caught up with what was there when it began: if changes are missed then, it is its reader who is slow.
    has_caught_up: bool,
}

/// What a subscription has come to.
pub(super) enum Ready {
    /// There is an event to be told.
    Event,
    /// The client takes what it is told too slowly: more has changed meanwhile than is kept.
    TooSlow,
}

impl Live {
    /// Opens a subscription.
    ///
    /// # Errors
    /// Those of validation, and of the arguments.
    pub(super) async fn open(served: &Served, prepared: Prepared) -> Result<Self, Vec<ServerError>> {
        debug_assert!(prepared.is(OperationType::Subscription));
        let opening = Arc::new(Opening::default());
        let request = prepared.request(served, prepared.caller.clone(), room(served)).map_err(|error| vec![error])?;
        let mut stream = served.schema.execute_stream(request.data(opening.clone()));
        if let Some(answer) = stream.next().await.filter(Answer::is_err) {
            return Err(coded(served, answer).errors);
        }
        let opened = opening.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (source, since) =
            opened.ok_or_else(|| vec![told("BAD_REQUEST", "the subscription selects nothing that can be followed")])?;
        let changes = served.app.feed.changes();
        let cursor = changes.follow(since.unwrap_or_else(|| changes.now()));
        metrics::gauge!("overlay_subscriptions").increment(1);
        let (served, waiting) = (served.clone(), Vec::new());
        Ok(Self { served, prepared, source, cursor, waiting, has_caught_up: since.is_none() })
    }

    /// Goes on from a position that the transport was told, rather than from where the document says. From one that cannot be
    /// read, or that has not come, it goes on from now, and says that it does not know what was missed.
    pub(super) async fn resume(&mut self, since: Option<Position>) {
        let changes = self.served.app.feed.changes();
        let known = match since {
            Some(since) => reached(&self.served.app.feed, &since).await.is_ok().then_some(since),
            None => None,
        };
        self.cursor = changes.follow(known.unwrap_or_else(|| changes.now()));
        self.has_caught_up = known.is_none();
        if known.is_none() {
            self.waiting.push(Event { about: About::Unknown(Why::NewHistory), position: self.cursor.position() });
        }
    }

    /// How far it has come, while there is no event to be told.
    pub(super) fn position(&self) -> Position {
        self.cursor.position()
    }

    /// Bytes that an event's answer may take.
    pub(super) fn most(&self) -> usize {
        self.served.http.response_limit
    }

    /// Waits until there is an event; `None` when the server is about to stop. Nothing is lost when it is not waited for to
    /// the end.
    pub(super) async fn ready(&mut self) -> Option<Ready> {
        while self.waiting.is_empty() {
            let epoch = self.cursor.position().epoch;
            self.has_caught_up |= self.cursor.is_at_the_end();
            match self.cursor.next().await? {
                Next::Change { change, place } => {
                    let events = self.source.events(&change, place).into_iter().rev();
                    let at = |place| Position { epoch, xid: change.xid, place };
                    self.waiting = events.map(|(about, behind)| Event { about, position: at(behind) }).collect();
                }
                Next::Missed(Missed::TooFarBack) if self.has_caught_up => return Some(Ready::TooSlow),
                Next::Missed(missed) => {
                    let why = match missed {
                        Missed::TooFarBack => Why::TooFarBack,
                        Missed::NewHistory => Why::NewHistory,
                    };
                    self.waiting.push(Event { about: About::Unknown(why), position: self.cursor.position() });
                }
            }
        }
        Some(Ready::Event)
    }

    /// Tells the event that is ready, and the position after it.
    pub(super) async fn tell(&mut self) -> (Answer, Position) {
        let Some(event) = self.waiting.pop() else { return (failed("nothing has happened"), self.position()) };
        let position = event.position;
        let answer = tokio::time::timeout(self.served.http.timeout, self.answer(event)).await;
        metrics::counter!("overlay_subscription_events_total").increment(1);
        (
            answer.unwrap_or_else(|_| Answer::from_errors(vec![told("TIMEOUT", "the event took too long to read")])),
            position,
        )
    }

    async fn answer(&self, event: Event) -> Answer {
        // A caller of its own, since what a request has read is noted with its caller.
        let caller = Caller::reading(self.prepared.demand);
        let request = match self.prepared.request(&self.served, caller, room(&self.served)) {
            Ok(request) => request,
            Err(error) => return Answer::from_errors(vec![error]),
        };
        let mut stream = self.served.schema.execute_stream(request.data(event));
        stream.next().await.map_or_else(|| failed("the event was lost"), |answer| coded(&self.served, answer))
    }
}

/// Room for one answer.
fn room(served: &Served) -> Arc<Room> {
    Arc::new(Room::new(served.http.response_limit))
}

fn failed(why: &str) -> Answer {
    Answer::from_errors(vec![told("INTERNAL", why)])
}

impl Drop for Live {
    fn drop(&mut self) {
        metrics::gauge!("overlay_subscriptions").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(source: &Source, tags: &[&str], place: usize) -> Vec<(String, usize)> {
        let change = Change { xid: 7, tags: tags.iter().map(|tag| Box::from(*tag)).collect() };
        let name = |about| match about {
            About::One(id) => id.chars().take(4).collect(),
            About::Unknown(why) => format!("{why:?}"),
        };
        source.events(&change, place).into_iter().map(|(about, behind)| (name(about), behind)).collect()
    }

    #[test]
    fn a_thing_is_told_once_a_transaction() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let tags = [&*format!("asset:{a}"), &*format!("asset:{b}"), "assets", &*format!("proof:{a}"), "receipt:r"];
        let expected = |parts: &[(&str, usize)]| parts.iter().map(|(n, p)| (n.to_string(), *p)).collect::<Vec<_>>();
        let all = Source::Assets(None);
        assert_eq!(events(&all, &tags, 0), expected(&[("aaaa", 1), ("bbbb", 2)]));
        assert_eq!(events(&all, &tags, 1), expected(&[("bbbb", 2)]));
        assert_eq!(events(&all, &tags, 2), expected(&[]));
        let one = Source::Assets(Some([b.parse().expect("an id")].into()));
        assert_eq!(events(&one, &tags, 0), expected(&[("bbbb", 2)]));
        assert_eq!(events(&Source::Receipt("r".into()), &tags, 0), expected(&[("r", 5)]));
        assert_eq!(events(&Source::Receipt("s".into()), &tags, 0), expected(&[]));
        assert_eq!(events(&Source::Headers, &["asset:x", "headers"], 0), expected(&[("", 2)]));
        // Nobody knows which.
        for wild in ["*", "asset:*", "proof:*"] {
            assert_eq!(events(&one, &[wild], 0), expected(&[("Bulk", 1)]), "{wild}");
        }
        assert_eq!(events(&one, &["*", "asset:*", "proof:*"], 0), expected(&[("Bulk", 1)]));
        assert_eq!(events(&one, &["assets:*", "receipt:*"], 0), expected(&[]));
    }
}
