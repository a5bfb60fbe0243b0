//! Connections between two statements.
//!
//! The pool asks PostgreSQL about every connection that comes back to it: a second round trip for each statement. So one whose
//! statement has ended well is kept here for the next statement. It goes back to the pool, which looks after its age and whether
//! it is still needed, soon after it was taken from there.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::SqlxError;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection, Postgres};

use super::gate::Seat;

/// How long a connection stays away from the pool.
const LOAN: Duration = Duration::from_secs(1);

/// A connection that is in use, and the seat that it takes. Dropped, the connection is given back once what it was at has ended,
/// and only then is the seat free: whoever gets it must find a connection.
pub(super) struct Connection {
    /// There until it is given away.
    inner: Option<PoolConnection<Postgres>>,
    taken: Instant,
    loans: Arc<Loans>,
    seat: Option<Seat>,
    /// Whether a transaction may be open on it.
    is_in_transaction: bool,
}

const GIVEN_AWAY: &str = "a connection is given away by value";

impl Connection {
    /// Runs what begins a transaction. However that ends, it is rolled back unless [`Self::end`] is called.
    pub(super) async fn begin(&mut self, sql: Arc<str>) -> Result<(), SqlxError> {
        self.is_in_transaction = true;
        self.execute(AssertSqlSafe(sql)).await.map(drop)
    }

    /// Runs what ends the transaction, and gives the connection back.
    pub(super) async fn end(mut self, sql: &'static str) -> Result<(), SqlxError> {
        self.execute(sql).await?;
        self.is_in_transaction = false;
        self.give_back();
        Ok(())
    }

    /// For the next statement: what was sent on it has been answered, and nothing of it is left.
    pub(super) fn give_back(mut self) {
        // The seat is free when this ends, and the connection is there by then.
        self.loans.keep(self.inner.take().expect(GIVEN_AWAY), self.taken);
    }

    /// For what does with it as it likes; it is not given back.
    pub(super) fn into_inner(mut self) -> (PoolConnection<Postgres>, Seat) {
        (self.inner.take().expect(GIVEN_AWAY), self.seat.take().expect(GIVEN_AWAY))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        let (seat, is_in_transaction) = (self.seat.take(), self.is_in_transaction);
        let (loans, taken) = (self.loans.clone(), self.taken);
        tokio::spawn(async move {
            // Either waits for the end of a statement that is under way.
            let ended = if is_in_transaction { inner.execute("rollback").await.map(drop) } else { inner.ping().await };
            match ended {
                Ok(()) => loans.keep(inner, taken),
                Err(_) => {
                    inner.close_on_drop();
                    drop(inner);
                }
            }
            drop(seat);
        });
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.inner.as_ref().expect(GIVEN_AWAY)
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.inner.as_mut().expect(GIVEN_AWAY)
    }
}

/// The connections that are between two statements.
#[derive(Default)]
pub(super) struct Loans(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With the time when each was taken from the pool; what was used last is last.
    idle: Vec<(PoolConnection<Postgres>, Instant)>,
    is_swept: bool,
    is_closed: bool,
}

impl Loans {
    /// A connection that is free, as long as it need not go back.
    pub(super) fn take(self: &Arc<Self>, seat: Seat) -> Result<Connection, Seat> {
        loop {
            let Some((inner, taken)) = self.locked(|kept| kept.idle.pop()) else { return Err(seat) };
            if taken.elapsed() < LOAN {
                return Ok(self.connection(inner, taken, seat));
            }
        }
    }

    /// One that comes from the pool.
    pub(super) fn lent(self: &Arc<Self>, inner: PoolConnection<Postgres>, seat: Seat) -> Connection {
        self.connection(inner, Instant::now(), seat)
    }

    fn connection(self: &Arc<Self>, inner: PoolConnection<Postgres>, taken: Instant, seat: Seat) -> Connection {
        Connection { inner: Some(inner), taken, loans: self.clone(), seat: Some(seat), is_in_transaction: false }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.locked(|kept| kept.idle.len())
    }

    /// Gives all of them back to the pool, now and from now on.
    pub(super) fn close(&self) {
        drop(self.locked(|kept| {
            kept.is_closed = true;
            std::mem::take(&mut kept.idle)
        }));
    }

    fn keep(self: &Arc<Self>, inner: PoolConnection<Postgres>, taken: Instant) {
        if taken.elapsed() >= LOAN {
            return;
        }
        let must_sweep = self.locked(|kept| {
            if kept.is_closed {
                return Err(inner);
            }
            kept.idle.push((inner, taken));
            Ok(!std::mem::replace(&mut kept.is_swept, true))
        });
        if let Ok(true) = must_sweep {
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Gives back what nobody takes any more.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOAN).await;
            let (old, is_swept) = self.locked(|kept| {
                let old: Vec<_> = kept.idle.extract_if(.., |(_, taken)| taken.elapsed() >= LOAN).collect();
                kept.is_swept = !kept.idle.is_empty();
                (old, kept.is_swept)
            });
            drop(old);
            if !is_swept {
                return;
            }
        }
    }

    /// What `work` answers is dropped outside: a connection that goes to the pool starts a task.
    fn locked<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
