//! The SQL that asks PostgreSQL how it is.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use crate::db::Db;
use crate::error::{Error, Result};

/// The server itself.
#[derive(FromQueryResult)]
pub(super) struct Server {
    pub(super) version: i32,
    pub(super) text: String,
    pub(super) is_standby: bool,
    pub(super) is_durable: bool,
    /// Whether the session has the parameters that it asked for.
    pub(super) is_own: bool,
    pub(super) max_connections: i32,
    pub(super) encoding: String,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn server(db: &Db) -> Result<Server> {
    const SQL: &str = "select current_setting('server_version_num')::int as version, current_setting('server_version') as text, \
        pg_is_in_recovery() as is_standby, current_setting('fsync')::bool and current_setting('full_page_writes')::bool as is_durable, \
        current_setting('plan_cache_mode') = 'force_generic_plan' as is_own, \
        current_setting('max_connections')::int as max_connections, pg_encoding_to_char(encoding)::text as encoding, \
        clock_timestamp() as now from pg_database where datname = current_database()";
    db.one("doctor.server", SQL, vec![]).await?.ok_or_else(|| Error::internal("there is a current database"))
}

/// The change feed, and what holds it up.
#[derive(FromQueryResult)]
pub(super) struct Feed {
    pub(super) has_trgm: bool,
    pub(super) triggers: i64,
    pub(super) weak_triggers: i64,
    /// Tables of which it does not hear everything.
    pub(super) unheard: Option<String>,
    pub(super) epochs: i64,
    pub(super) bytes: i64,
    /// How long the longest transaction that writes has gone on, seconds.
    pub(super) writing_s: f64,
    pub(super) prepared: i64,
}

/// `covered` are the tables that it should hear of: each has a trigger for every kind of statement.
pub(super) async fn feed(db: &Db, covered: &[&str]) -> Result<Feed> {
    const SQL: &str = "select exists (select from pg_extension where extname = 'pg_trgm') as has_trgm, \
        (select count(*) from pg_trigger where tgname like 'feed\\_%') as triggers, \
        (select count(*) from pg_trigger where tgname like 'feed\\_%' and tgenabled <> 'A') as weak_triggers, \
        (select string_agg(name, ', ' order by name) from unnest($1::text[]) as name where 4 > (select count(*) from pg_trigger \
            where tgrelid = to_regclass('public.' || quote_ident(name)) and tgname like 'feed\\_%')) as unheard, \
        (select count(*) from public.cache_epoch) as epochs, \
        pg_total_relation_size('public.change_log') as bytes, \
        coalesce((select max(extract(epoch from clock_timestamp() - xact_start)) from pg_stat_activity \
            where backend_xid is not null and pid <> pg_backend_pid()), 0)::float8 as writing_s, \
        (select count(*) from pg_prepared_xacts where prepared < now() - interval '1 minute') as prepared";
    let covered: Vec<String> = covered.iter().map(|table| (*table).to_owned()).collect();
    db.one("doctor.feed", SQL, vec![covered.into()]).await?.ok_or_else(|| Error::internal("a row without conditions"))
}

pub(super) async fn has_policy(db: &Db, id: &str) -> Result<bool> {
    db.is_there("doctor.policy", "select 1 from public.policies where policy_id = $1", vec![id.into()]).await
}

/// The names of indexes that PostgreSQL does not use, if there are any.
pub(super) async fn invalid_indexes(db: &Db) -> Result<Option<String>> {
    #[derive(FromQueryResult)]
    struct Names {
        names: Option<String>,
    }
    const SQL: &str =
        "select string_agg(indexrelid::regclass::text, ', ' order by 1) as names from pg_index where not indisvalid";
    let found: Option<Names> = db.one("doctor.indexes", SQL, vec![]).await?;
    Ok(found.and_then(|found| found.names))
}

/// What no other running server and no other database is called.
pub(super) async fn name(db: &Db) -> Result<String> {
    #[derive(FromQueryResult)]
    struct Named {
        name: String,
    }
    const SQL: &str = "select concat_ws(' ', (select system_identifier from pg_control_system()), pg_is_in_recovery(), \
        pg_postmaster_start_time(), oid) as name from pg_database where datname = current_database()";
    let named: Option<Named> = db.one("doctor.name", SQL, vec![]).await?;
    named.map(|named| named.name).ok_or_else(|| Error::internal("there is a current database"))
}
