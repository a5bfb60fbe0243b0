//! How a server ends: it says that it will, then it takes nothing new, and finishes what it has begun.

use tokio::sync::watch;

/// Where a server is on its way to its end, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves on, and says that it will not for long: it is not ready, and the next answer on a connection is its last.
    Draining,
    /// It takes no more connections, and ends those on which nothing is under way.
    Stopping,
}

/// The phase of a server, for who decides of it.
#[derive(Clone)]
pub struct Drain(watch::Sender<Phase>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Drain {
    /// The server has come so far.
    pub fn reach(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// The same for a connection.
    pub(super) fn watch(&self) -> Watch {
        let mut phase = self.0.subscribe();
        if self.phase() != Phase::Serving {
            phase.mark_changed();
        }
        Watch(phase)
    }

    /// Waits until nobody watches: each connection does until it ends.
    pub(super) async fn unwatched(&self) {
        self.0.closed().await;
    }
}

/// The phase of a server, for who serves one of its connections.
#[derive(Clone)]
pub(super) struct Watch(watch::Receiver<Phase>);

impl Watch {
    /// Whether the server has begun to end. Cheap, since each answer asks: it compares versions, and ours stays as it is.
    pub(super) fn is_ending(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Resolves when the server has come to `phase`.
    pub(super) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut watched = self.0.clone();
        async move {
            // Without anybody to decide, the end has come.
            let _or_none = watched.wait_for(|reached| *reached >= phase).await;
        }
    }
}
