//! Snapshots: what a load reads on a replica, all of it as of one moment.

use std::sync::Arc;

use sea_orm::FromQueryResult;

use super::statement;
use super::transaction::Open;
use crate::error::Result;

tokio::task_local! {
    /// Where statements outside of transactions are read, while a load runs on a replica.
    pub(super) static SNAPSHOT: Arc<Snapshot>;
}

/// One snapshot of a database, taken by its first statement: all that is read in it belongs to one moment.
pub struct Snapshot {
    // Dropped, it is rolled back on the way to the pool, which costs the reader no round trip.
    pub(super) tx: Open,
}

impl Snapshot {
    /// The first row of a statement, if any.
    ///
    /// # Errors
    /// As [`super::Db::all`].
    pub async fn one<T: FromQueryResult>(&self, sql: &str) -> Result<Option<T>> {
        let row = self.tx.one(statement(sql, vec![])).await?;
        Ok(row.map(|row| T::from_query_result(&row, "")).transpose()?)
    }

    /// Runs `work`; whatever it reads with [`super::Db::all`] and [`super::Db::one`] is read in this snapshot. Transactions, and tasks that it
    /// spawns, are not: they go to the primary.
    pub async fn within<F: Future>(self, work: F) -> F::Output {
        SNAPSHOT.scope(Arc::new(self), work).await
    }
}

/// Whether what is read now is read in a snapshot.
pub fn is_in_snapshot() -> bool {
    SNAPSHOT.try_with(|_| ()).is_ok()
}
