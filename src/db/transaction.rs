//! Transactions: several statements on one connection.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sea_orm::sqlx::{AssertSqlSafe, Executor, Postgres, query::Query, query_with};
use sea_orm::{DbErr, FromQueryResult, QueryResult, Statement, Value, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

use super::loan::Connection;
use super::{epoch_token, fault, observed, statement};
use crate::error::{Error, Result};

/// How transactions begin.
#[derive(Clone)]
pub(super) struct Begin {
    sql: Arc<str>,
    is_pooled: bool,
}

impl Default for Begin {
    fn default() -> Self {
        Self { sql: "begin".into(), is_pooled: false }
    }
}

impl Begin {
    /// As of one moment, and for reading alone.
    pub(super) fn snapshot() -> Self {
        Self { sql: "begin isolation level repeatable read read only".into(), is_pooled: false }
    }

    /// Through a pooler, whose connections are not ours to set up: what else a session has is set for the transaction, in the
    /// same message. A server that is a standby refuses `read write`: what a pooler leads to may have become one.
    pub(super) fn pooled(statement_timeout: Duration) -> Self {
        let ms = statement_timeout.as_millis();
        let sql = format!("begin read write; set local statement_timeout = {ms}; set local jit = off");
        Self { sql: sql.into(), is_pooled: true }
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.is_pooled
    }
}

/// A transaction on a connection of the pool. Dropped, it is rolled back on the way to the pool.
pub(super) struct Open {
    connection: Mutex<Connection>,
    /// Whether statements get names, to be prepared once a connection. A pooler would look for them on other connections.
    has_names: bool,
}

/// A statement as the driver takes it.
pub(super) fn query<'q>(statement: Statement, has_name: bool) -> Query<'q, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    query_with(AssertSqlSafe(statement.sql), SqlxValues(values)).persistent(has_name)
}

impl Open {
    pub(super) async fn begin(mut connection: Connection, how: &Begin) -> Result<Self, DbErr> {
        connection.begin(how.sql.clone()).await.map_err(fault::sqlx_error)?;
        Ok(Self { connection: Mutex::new(connection), has_names: !how.is_pooled })
    }

    fn query<'q>(&self, statement: Statement) -> Query<'q, Postgres, SqlxValues> {
        query(statement, self.has_names)
    }

    pub(super) async fn all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = self.connection.lock().await.fetch_all(self.query(statement)).await.map_err(fault::sqlx_error)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    pub(super) async fn one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let row =
            self.connection.lock().await.fetch_optional(self.query(statement)).await.map_err(fault::sqlx_error)?;
        Ok(row.map(QueryResult::from))
    }

    /// Answers the number of rows touched.
    pub(super) async fn execute(&self, statement: Statement) -> Result<u64, DbErr> {
        let done = self.connection.lock().await.execute(self.query(statement)).await.map_err(fault::sqlx_error)?;
        Ok(done.rows_affected())
    }

    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.connection.into_inner().end("commit").await.map_err(fault::sqlx_error)
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        self.connection.into_inner().end("rollback").await.map_err(fault::sqlx_error)
    }
}

/// What a committed transaction changed.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The transaction's id.
    pub xid: u64,
    /// The tags its statements logged.
    pub tags: Vec<String>,
    /// The epoch it belongs to, as the change feed names it; empty when none has begun.
    pub epoch: String,
}

/// An open transaction.
pub struct Tx {
    pub(super) tx: Open,
    pub(super) statements: Arc<AtomicU64>,
}

impl Tx {
    /// Runs a statement; answers the number of rows it touched.
    ///
    /// # Errors
    /// As [`super::Db::all`].
    pub async fn execute(&self, name: &'static str, sql: &str, values: Vec<Value>) -> Result<u64> {
        observed(&self.statements, name, self.tx.execute(statement(sql, values))).await
    }

    /// All rows of a statement.
    ///
    /// # Errors
    /// As [`super::Db::all`].
    pub async fn all<T: FromQueryResult>(&self, name: &'static str, sql: &str, values: Vec<Value>) -> Result<Vec<T>> {
        let rows = observed(&self.statements, name, self.tx.all(statement(sql, values))).await?;
        Ok(rows.iter().map(|row| T::from_query_result(row, "")).collect::<Result<_, _>>()?)
    }

    pub(super) async fn commit_facts(&self) -> Result<Commit> {
        const SQL: &str = concat!(
            "select pg_current_xact_id()::text as xid, \
             (select coalesce(array_agg(distinct t), '{}') from public.change_log, unnest(tags) t \
              where xid = pg_current_xact_id()) as tags, \
             (select ",
            epoch_token!(),
            " from public.cache_epoch) as epoch"
        );
        let row: Option<QueryResult> =
            observed(&self.statements, "db.commit_facts", self.tx.one(statement(SQL, vec![]))).await?;
        let row = row.ok_or_else(|| Error::internal("a row of constants is never absent"))?;
        let xid: String = row.try_get("", "xid")?;
        let epoch: Option<String> = row.try_get("", "epoch")?;
        let xid = xid.parse().map_err(Error::internal)?;
        Ok(Commit { xid, tags: row.try_get("", "tags")?, epoch: epoch.unwrap_or_default() })
    }
}
