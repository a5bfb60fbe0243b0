//! Where events wait to be kept: whoever comes while enough others are being kept waits with the rest, and one of them takes all
//! who wait into one transaction. So a client that sends one event at a time costs no transaction of its own when there are many,
//! and waits for nobody when it is alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use super::event::Event;
use crate::coherence::Token;
use crate::error::{Error, Result};

/// Most events that are kept in one transaction, but for those that come in one request.
const MOST: usize = 1_000;

/// Most bytes of events that may wait. Beyond it a client is told to come again.
const ROOM: usize = 64 << 20;

/// Times that events are handed in again of which nothing was told.
const TRIES: usize = 5;

/// What came of the events of a request.
#[derive(Debug, Clone)]
pub struct Taken {
    /// For each event whether it is new.
    pub new: Vec<bool>,
    /// Names the write they were kept in.
    pub token: Token,
}

struct Waiting {
    events: Arc<Vec<Event>>,
    bytes: usize,
    told: oneshot::Sender<Result<Taken>>,
}

/// Events of several requests, to be kept together.
pub struct Group(Vec<Waiting>);

impl Group {
    /// The events, those of each request together.
    pub fn requests(&self) -> impl Iterator<Item = &Arc<Vec<Event>>> {
        self.0.iter().map(|waiting| &waiting.events)
    }

    /// Tells each request what came of its events.
    pub fn tell(self, mut outcome: impl FnMut(&[Event]) -> Result<Taken>) {
        for waiting in self.0 {
            // Whoever has gone away does not want to know.
            let _gone = waiting.told.send(outcome(&waiting.events));
        }
    }

    /// One group for each request.
    pub fn apart(self) -> impl Iterator<Item = Self> {
        self.0.into_iter().map(|waiting| Self(vec![waiting]))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is of more than one request.
    pub fn is_shared(&self) -> bool {
        self.0.len() > 1
    }
}

/// Transactions that go on at a time: the next one is made up while the database is at work.
const AT_ONCE: usize = 2;

/// The queue.
pub struct Intake {
    waiting: Mutex<Vec<Waiting>>,
    turns: Arc<Semaphore>,
}

impl Default for Intake {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Intake {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in the events of a request, which are `bytes` long, and keeps whatever waits when it is this one's turn, with
    /// `keep`, which tells every request of the group. Whoever drops the future loses nothing of others, and what was begun is
    /// done.
    ///
    /// # Errors
    /// `unavailable` when too much waits already; what `keep` tells.
    pub async fn keep(
        &self, events: Vec<Event>, bytes: usize, keep: impl Fn(Group) -> BoxFuture<'static, ()> + Send + Sync,
    ) -> Result<Taken> {
        let events = Arc::new(events);
        for _ in 0..TRIES {
            let mut told = self.wait(&events, bytes)?;
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut told => match outcome {
                        Ok(outcome) => return outcome,
                        // Who had taken them told nothing: nobody knows whether they are kept. To hand them in again is safe.
                        Err(_) => break,
                    },
                    turn = self.turns.clone().acquire_owned() => {
                        let group = self.take();
                        if !group.is_empty() {
                            let work = keep(group);
                            // A task of its own, which holds the turn: whoever leads may go away, and the others' events are
                            // kept all the same. Should it panic, they are handed in again.
                            let _panicked = tokio::spawn(async move {
                                work.await;
                                drop(turn);
                            })
                            .await;
                        }
                    }
                }
            }
        }
        Err(Error::unavailable("the events could not be kept now: send them again"))
    }

    fn wait(&self, events: &Arc<Vec<Event>>, bytes: usize) -> Result<oneshot::Receiver<Result<Taken>>> {
        let mut waiting = self.waiting();
        if waiting.iter().map(|other| other.bytes).sum::<usize>() > ROOM {
            return Err(Error::unavailable("more events come than can be kept: send them again later"));
        }
        let (tell, told) = oneshot::channel();
        waiting.push(Waiting { events: events.clone(), bytes, told: tell });
        Ok(told)
    }

    /// The first who wait, of whom somebody still wants to know.
    fn take(&self) -> Group {
        let mut waiting = self.waiting();
        waiting.retain(|one| !one.told.is_closed());
        let counted = waiting.iter().scan(0, |count, one| {
            *count += one.events.len();
            Some(*count)
        });
        let fitting = counted.take_while(|count| *count <= MOST).count();
        // One request's events stay together, however many they are.
        let taken = fitting.max(usize::from(!waiting.is_empty()));
        Group(waiting.drain(..taken).collect())
    }
}
