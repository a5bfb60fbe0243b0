//! What a snapshot on a replica says of itself.

use sea_orm::FromQueryResult;

use super::Unfit;
use crate::coherence::clock::{Epoch, Moment};
use crate::db::Snapshot;
use crate::error::{Error, Result};

/// The first statement of a snapshot, so the snapshot is older than every answer of a function here. Recovery only ends and the
/// timeline only grows: where the functions say "still in recovery, still on this timeline", so was it when the snapshot was taken.
/// `received_tli` is seen by members of `pg_read_all_stats` alone and is null for others; `greatest` leaves it out then.
const SIGHT: &str = "\
    select pg_snapshot_xmin(pg_current_snapshot())::text as horizon, pg_is_in_recovery() as is_standby, \
           (select system_identifier::text from pg_control_system()) as system, \
           (select oid::text from pg_database where datname = current_database()) as database, m.token, \
           greatest((select timeline_id from pg_control_checkpoint()), \
                    (select min_recovery_end_timeline from pg_control_recovery()), \
                    (select received_tli from pg_stat_wal_receiver)) <= m.timeline as is_on_line \
    from (select 1) as one left join public.epoch_mark m on true";

#[derive(FromQueryResult)]
struct Sight {
    horizon: String,
    is_standby: bool,
    system: String,
    database: String,
    token: Option<String>,
    is_on_line: Option<bool>,
}

/// The moment that a new snapshot shows.
///
/// # Errors
/// Why it shows none that can be trusted.
pub(super) async fn moment(snapshot: &Snapshot) -> Result<Moment, Unfit> {
    let sight: Result<Option<Sight>> = snapshot.one(SIGHT).await;
    let sight = sight.map_err(Unfit::Away)?.ok_or(Unfit::Away(Error::internal("one row was asked for")))?;
    if !sight.is_standby {
        return Err(Unfit::Because("it is not in recovery: no replica, or one that was promoted"));
    }
    let (Some(token), Some(is_on_line)) = (sight.token, sight.is_on_line) else {
        return Err(Unfit::Because("it shows no epoch: another database, or one that has not caught up yet"));
    };
    if !is_on_line {
        return Err(Unfit::Because("it is on another timeline than the primary"));
    }
    let as_of = sight.horizon.parse().map_err(|e| Unfit::Away(Error::internal(e)))?;
    Ok(Moment { epoch: Epoch::new(&sight.system, &sight.database, &token), as_of })
}
