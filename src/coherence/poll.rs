//! One poll of the change feed: what one statement saw of `change_log`, and of the history it belongs to.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, FromQueryResult, Statement};

use super::clock::{Epoch, History};
use crate::db::{Db, epoch_token};
use crate::error::{Error, Result};

/// Most rows one poll reads. A gap longer than this raises the floor instead, so that a start is quick.
const MAX_ROWS: usize = 200_000;

/// Reads from `$1` on (never below what is pruned), newest first; the horizon is on every row, and there is always one.
const POLL: &str = concat!(
    "select pg_snapshot_xmin(pg_current_snapshot())::text as horizon, \
            pg_snapshot_xmax(pg_current_snapshot())::text as next, ",
    epoch_token!(),
    " as token, cache_epoch.pruned_below::text as pruned_below, c.xid::text as xid, c.tags \
    from (select 1) as one \
    left join public.cache_epoch on true \
    left join lateral (select xid, tags from public.change_log \
                       where xid >= $1::text::xid8 order by xid desc limit 200000) c on true"
);

/// Begins a history. Nothing older than its beginning can be vouched for: a transaction that was prepared before a crash
/// ends after it, and its note in the feed is gone.
const BEGIN: &str = "insert into public.cache_epoch (pruned_below) \
    values (pg_snapshot_xmax(pg_current_snapshot())) on conflict do nothing";

/// Ends a history that is not this database's. A dump that was restored into a cluster with smaller transaction ids
/// carries marks from a future that may never come, and nothing below them could be vouched for; one that was restored
/// piece by piece may leave two tokens.
const DISOWN: &str = "delete from public.cache_epoch; insert into public.cache_epoch (pruned_below) \
    values (pg_snapshot_xmax(pg_current_snapshot())); delete from public.change_log where xid >= pg_snapshot_xmax(pg_current_snapshot())";

/// Which cluster and which database this is.
macro_rules! place {
    () => {
        "(select system_identifier::text from pg_control_system()) as system, \
         (select oid::text from pg_database where datname = current_database()) as database"
    };
}

/// A database that was cloned from a template, or restored from a dump, carries its original's token: the identifiers of
/// database and table tell them apart. The table's is read with each poll, since a restore may replace the tables under us.
const EPOCH: &str = concat!("select ", place!());

#[derive(FromQueryResult)]
struct PollRow {
    horizon: String,
    next: String,
    token: Option<String>,
    pruned_below: Option<String>,
    xid: Option<String>,
    tags: Option<Vec<String>>,
}

/// The epoch of the server that `db` leads to, if one has begun there.
pub(super) async fn epoch_behind(db: &Db) -> Result<Option<Epoch>> {
    #[derive(FromQueryResult)]
    struct Named {
        system: String,
        database: String,
        token: Option<String>,
    }
    const SQL: &str = concat!("select ", place!(), ", (select ", epoch_token!(), " from public.cache_epoch) as token");
    let named: Option<Named> = db.one("feed.epoch", SQL, vec![]).await?;
    Ok(named.and_then(|named| Some(Epoch::new(&named.system, &named.database, &named.token?))))
}

/// What one statement saw.
pub(super) struct Polled {
    pub(super) horizon: u64,
    /// The snapshot's `xmax`: every transaction from it on was unfinished.
    pub(super) next: u64,
    pub(super) token: String,
    pub(super) pruned_below: u64,
    pub(super) changes: Vec<(u64, Vec<String>)>,
}

impl Polled {
    pub(super) async fn read(connection: &DatabaseConnection, from: u64) -> Result<Self> {
        // Few times at most: an empty `cache_epoch` means that history begins anew, and whoever finds it so names it.
        for _ in 0..3 {
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, POLL, [from.to_string().into()]);
            let rows = connection.query_all_raw(statement).await?;
            let rows: Vec<PollRow> =
                rows.iter().map(|r| PollRow::from_query_result(r, "")).collect::<Result<_, _>>()?;
            let first = rows.first().ok_or_else(|| Error::internal("the poll answered no row"))?;
            let (Some(token), Some(pruned_below)) = (first.token.clone(), &first.pruned_below) else {
                connection.execute_unprepared(BEGIN).await?;
                continue;
            };
            let is_torn = rows.iter().any(|row| row.token != first.token);
            let (horizon, next) = (number(&first.horizon)?, number(&first.next)?);
            let pruned_below = number(pruned_below)?;
            let changes = rows
                .into_iter()
                .filter_map(|row| Some((row.xid?, row.tags?)))
                .map(|(xid, tags)| Ok((number(&xid)?, tags)))
                .collect::<Result<Vec<_>>>()?;
            // A next transaction below a horizon that was seen: the files are those of an earlier time.
            if is_torn || next < from || pruned_below > next || changes.iter().any(|(xid, _)| *xid >= next) {
                tracing::warn!(pruned_below, next, "the change feed holds another database's history: beginning anew");
                connection.execute_unprepared(DISOWN).await?;
                continue;
            }
            return Ok(Self { horizon, next, token, pruned_below, changes });
        }
        Err(Error::internal("the epoch token vanished again and again"))
    }

    /// The epoch this poll belongs to. The server is asked for its identity only when the token is not the known one.
    pub(super) async fn epoch(&self, connection: &DatabaseConnection, known: &History) -> Result<Epoch> {
        if known.token == self.token {
            return Ok(known.epoch);
        }
        #[derive(FromQueryResult)]
        struct Identity {
            system: String,
            database: String,
        }
        let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, EPOCH)).await?;
        let row = row.ok_or_else(|| Error::internal("the server did not name itself"))?;
        let identity = Identity::from_query_result(&row, "")?;
        Ok(Epoch::new(&identity.system, &identity.database, &self.token))
    }

    /// Below this, changes may be missing here that were once in the log, or still are.
    pub(super) fn unread_below(&self) -> u64 {
        if self.changes.len() < MAX_ROWS {
            return self.pruned_below;
        }
        // Some rows were left unread, perhaps even of the lowest transaction read.
        let lowest = self.changes.iter().map(|(xid, _)| *xid).min().unwrap_or(0);
        self.pruned_below.max(lowest + 1)
    }

    /// Raises the history's slots and floor, then publishes the horizon: a reader that sees the new horizon must see
    /// every change below it.
    pub(super) fn apply(&self, history: &History) {
        let unread_below = self.unread_below();
        if unread_below > history.horizon() {
            history.raise_floor(unread_below);
        }
        for (xid, tags) in &self.changes {
            for tag in tags {
                history.raise(*xid, tag);
            }
        }
        history.publish(self.horizon);
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|e| Error::internal(format!("not a transaction id: {text:?}: {e}")))
}
