//! PostgreSQL: the pool, named statements, transactions that say what they changed, and snapshots to read in.
//!
//! Every statement of the house passes through here, so that each has a name in traces and metrics and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sea_orm::sqlx::{AssertSqlSafe, Executor};
use sea_orm::{Database, DatabaseConnection, DbBackend, DbErr, FromQueryResult, QueryResult, Statement, Value};
use tracing::Instrument;

use crate::error::Result;

mod columns;
mod deed;
mod exists;
mod fault;
mod gate;
mod loan;
mod pool;
mod snapshot;
pub mod tally;
mod transaction;

pub use columns::{Columns, FromColumns, InOrder};
pub use deed::Deed;
use fault::{acquire_error, explained, is_lost, sqlx_error};
use gate::Gate;
use loan::{Connection, Loans};
pub use pool::{Config, PoolStats, close, connect};
use pool::{first, options, sized};
use snapshot::SNAPSHOT;
pub use snapshot::{Snapshot, is_in_snapshot};
use transaction::{Begin, Open, query};
pub use transaction::{Commit, Tx};

/// SQL over `cache_epoch` for the epoch's token. The start of the server belongs to it: an orderly stop leaves the unlogged
/// tables as they are, and the files of an earlier time may be put in their place while it is down.
macro_rules! epoch_token {
    () => {
        "cache_epoch.tableoid::text || '.' || cache_epoch.token::text || '.' || extract(epoch from pg_postmaster_start_time())::text"
    };
}
pub(crate) use epoch_token;

/// A database: the primary, or a replica to take snapshots of. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: DatabaseConnection,
    max: u32,
    gate: Arc<Gate>,
    loans: Arc<Loans>,
    statements: Arc<AtomicU64>,
    begin: Begin,
}

impl Db {
    /// Connects the pool, through the pooler if there is one.
    ///
    /// # Errors
    /// `unavailable` when PostgreSQL cannot be reached.
    pub async fn connect(config: &Config) -> Result<Self> {
        let (name, min, max) = ("serve", config.pool_min, config.pool_max);
        let (pool, begin) = match &config.pooler {
            None => (first(config, name, min, max).await?, Begin::default()),
            Some(url) => {
                let mut options = sized(url, config, name, min, max);
                // Poolers refuse parameters that they do not keep apart for their clients.
                options.map_sqlx_postgres_opts(|options| options.extra_float_digits(None));
                (Database::connect(options).await.map_err(explained)?, Begin::pooled(config.statement_timeout))
            }
        };
        Ok(Self::over(pool, config, begin))
    }

    fn over(pool: DatabaseConnection, config: &Config, begin: Begin) -> Self {
        let gate = Gate::new(config.pool_max, config.acquire_timeout, config.standstill);
        Self {
            pool,
            max: config.pool_max,
            gate: Arc::new(gate),
            loans: Arc::default(),
            statements: Arc::default(),
            begin,
        }
    }

    /// A pool that connects when it is first used: a replica that is away is no reason not to start.
    ///
    /// # Errors
    /// `unavailable` when the address cannot be read.
    pub async fn lazy(config: &Config, name: &str) -> Result<Self> {
        let mut options = options(config, name, 0, config.pool_max);
        options.connect_lazy(true);
        Ok(Self::over(Database::connect(options).await?, config, Begin::default()))
    }

    /// Opens a snapshot.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { tx: self.open(&Begin::snapshot()).await? })
    }

    /// Opens a transaction.
    async fn open(&self, how: &Begin) -> Result<Open, DbErr> {
        // What begins it is part of reaching PostgreSQL: an old connection may lead to a server that stands still.
        Box::pin(async {
            let connection = self.connection().await?;
            self.gate.reach(Open::begin(connection, how)).await
        })
        .await
    }

    /// A connection: one that was just used, or one of the pool's.
    async fn connection(&self) -> Result<Connection, DbErr> {
        let seat = match self.loans.take(self.gate.pass().await?) {
            Ok(connection) => return Ok(connection),
            Err(seat) => seat,
        };
        let acquired = async { self.pool.get_postgres_connection_pool().acquire().await.map_err(acquire_error) };
        Ok(self.loans.lent(self.gate.reach(Box::pin(acquired)).await?, seat))
    }

    /// The pool itself, for the migrator.
    pub fn pool(&self) -> &DatabaseConnection {
        &self.pool
    }

    /// How many statements this pool has been sent since it was opened.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// All rows of a statement. `name` is its name in traces and metrics, `<room>.<what>`.
    ///
    /// # Errors
    /// `unavailable`, `timeout`, or `internal` when PostgreSQL refuses the statement.
    pub async fn all<T: FromQueryResult>(&self, name: &'static str, sql: &str, values: Vec<Value>) -> Result<Vec<T>> {
        let rows = match SNAPSHOT.try_with(Arc::clone) {
            Ok(snapshot) => self.observed(name, snapshot.tx.all(statement(sql, values))).await?,
            Err(_) => {
                let read = || self.read(statement(sql, values.clone()));
                self.observed(name, self.retried(name, read)).await?
            }
        };
        Ok(rows.iter().map(|row| T::from_query_result(row, "")).collect::<Result<_, _>>()?)
    }

    /// Through a pooler a statement is a transaction: else what prepares it and what runs it may go to two connections.
    async fn read(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        // On the heap: it is part of what every request is made of.
        Box::pin(async {
            if !self.begin.is_pooled() {
                let mut connection = self.connection().await?;
                let rows = query(statement, true).fetch_all(&mut *connection).await.map_err(sqlx_error)?;
                connection.give_back();
                return Ok(rows.into_iter().map(QueryResult::from).collect());
            }
            let tx = self.open(&self.begin).await?;
            let rows = tx.all(statement).await?;
            tx.commit().await?;
            Ok(rows)
        })
        .await
    }

    async fn read_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Box::pin(async {
            let mut connection = self.connection().await?;
            let row = query(statement, true).fetch_optional(&mut *connection).await.map_err(sqlx_error)?;
            connection.give_back();
            Ok(row.map(QueryResult::from))
        })
        .await
    }

    /// A read whose connection turns out to be lost is made again on another: after a restart of PostgreSQL every idle one
    /// is. Each attempt takes one of them out of the pool.
    async fn retried<T, F>(&self, name: &'static str, read: impl Fn() -> F) -> Result<T, DbErr>
    where
        F: Future<Output = Result<T, DbErr>>,
    {
        for _ in 0..=self.max {
            match read().await {
                Err(cause) if is_lost(&cause) => {
                    metrics::counter!("overlay_sql_retries_total", "statement" => name).increment(1);
                }
                outcome => return outcome,
            }
        }
        read().await
    }

    /// The first row of a statement, if any.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn one<T: FromQueryResult>(
        &self, name: &'static str, sql: &str, values: Vec<Value>,
    ) -> Result<Option<T>> {
        let row = match SNAPSHOT.try_with(Arc::clone) {
            Ok(snapshot) => self.observed(name, snapshot.tx.one(statement(sql, values))).await?,
            Err(_) if self.begin.is_pooled() => {
                let read = || self.read(statement(sql, values.clone()));
                self.observed(name, self.retried(name, read)).await?.into_iter().next()
            }
            Err(_) => {
                let read = || self.read_one(statement(sql, values.clone()));
                self.observed(name, self.retried(name, read)).await?
            }
        };
        Ok(row.map(|row| T::from_query_result(&row, "")).transpose()?)
    }

    /// A round trip that proves the database answers; how long it took.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn ping(&self) -> Result<Duration> {
        let begun = Instant::now();
        let ask = Box::pin(async {
            let mut connection = self.connection().await?;
            connection.execute("select 1").await.map_err(sqlx_error)?;
            connection.give_back();
            Ok(())
        });
        self.observed("db.ping", ask).await?;
        Ok(begun.elapsed())
    }

    /// Runs `work` in one transaction and commits it. The answer carries what it changed, read back from the change
    /// feed before the commit.
    ///
    /// # Errors
    /// Whatever `work` answers (nothing is then applied), or what the commit itself meets.
    pub async fn transact<T, F>(&self, name: &'static str, work: F) -> Result<(T, Commit)>
    where
        T: Send,
        F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T>> + Send,
    {
        let begun = self.observed("db.begin", self.open(&self.begin)).await?;
        let tx = Tx { tx: begun, statements: self.statements.clone() };
        let outcome = work(&tx).instrument(tracing::info_span!("transaction", name)).await;
        match outcome {
            Ok(value) => {
                let commit = tx.commit_facts().await?;
                deed::begins();
                self.observed("db.commit", tx.tx.commit()).await?;
                Ok((value, commit))
            }
            Err(error) => {
                // A failed rollback leaves nothing behind either: the connection is closed with its transaction.
                if let Err(cause) = tx.tx.rollback().await {
                    tracing::debug!(%cause, "rollback failed");
                }
                Err(error)
            }
        }
    }

    /// Runs `work` while no other process runs what it guards with the same `lock`.
    ///
    /// # Errors
    /// What `work` answers, or as [`Self::all`].
    pub async fn exclusively<T>(
        &self, name: &'static str, lock: i64, work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // The lock belongs to the session, and ends with it however this ends.
        let session = async {
            let (connection, _seat) = self.connection().await?.into_inner();
            let mut session = connection.detach();
            let sql = format!("select pg_advisory_lock({lock})");
            session.execute(AssertSqlSafe(sql)).await.map_err(sqlx_error)?;
            Ok(session)
        };
        let session = self.observed(name, session).await?;
        let outcome = work.await;
        if let Err(cause) = sea_orm::sqlx::Connection::close(session).await {
            tracing::debug!(%cause, "a session did not close in order");
        }
        outcome
    }

    /// How the pool stands.
    pub fn pool_stats(&self) -> PoolStats {
        let pool = self.pool.get_postgres_connection_pool();
        PoolStats { size: pool.size(), idle: pool.num_idle() + self.loans.count(), max: self.max }
    }

    /// Closes all connections, as [`close`] does.
    pub async fn close(self) {
        self.loans.close();
        close(&self.pool).await;
    }

    /// Runs an upkeep statement (`vacuum`, `analyze`), which may take as long as it takes.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn maintain(&self, name: &'static str, sql: &str) -> Result<()> {
        let work = async {
            // A session of its own: however this ends, no other statement gets to run without a time-out.
            let (connection, _seat) = self.connection().await?.into_inner();
            let mut session = connection.detach();
            // One simple-protocol message would be one transaction, in which `vacuum` may not run.
            for statement in ["set statement_timeout = 0", sql] {
                session.execute(AssertSqlSafe(statement)).await.map_err(sqlx_error)?;
            }
            sea_orm::sqlx::Connection::close(session).await.map_err(sqlx_error)
        };
        self.observed(name, work).await
    }

    async fn observed<T>(&self, name: &'static str, work: impl Future<Output = Result<T, DbErr>>) -> Result<T> {
        observed(&self.statements, name, work).await
    }
}

fn statement(sql: &str, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

async fn observed<T>(
    statements: &AtomicU64, name: &'static str, work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T> {
    statements.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    let span = tracing::info_span!("sql", otel.kind = "client", db.system = "postgresql", db.operation.name = name);
    let outcome = work.instrument(span).await;
    let took = begun.elapsed();
    metrics::histogram!("overlay_sql_seconds", "statement" => name).record(took);
    tally::note(|tally| tally.add_sql(took));
    outcome.map_err(|cause| {
        let error = crate::error::Error::from(cause);
        metrics::counter!("overlay_sql_errors_total", "statement" => name, "code" => error.code()).increment(1);
        tracing::warn!(statement = name, ?error, "statement failed");
        error
    })
}
