//! What an operator would look at before the first request and when something is odd: each thing with what to do about it.
//! Nothing is changed.

mod store;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::cache::Redis;
use crate::db::{self, Db};
use crate::error::Result;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// It works, and costs something.
    Warning,
    /// It does not work, or not as it promises.
    Bad,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub state: State,
    /// What is.
    pub what: String,
    /// What to do; empty when it is good.
    pub advice: String,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { state: State::Good, what: what.into(), advice: String::new() }
}

fn wrong(state: State, what: impl Into<String>, advice: &str) -> Finding {
    Finding { state, what: what.into(), advice: advice.into() }
}

/// `state` when `is_wrong`, with what to do.
fn found(is_wrong: bool, state: State, what: impl Into<String>, advice: &str) -> Finding {
    if is_wrong { wrong(state, what, advice) } else { good(what) }
}

/// Oldest PostgreSQL that is supported, as it counts its versions.
const OLDEST: i32 = 130_000;

/// Clocks further apart make tokens, quotes and sessions end too early or too late.
const MAX_SKEW: Duration = Duration::from_secs(1);

/// Longest that a transaction that writes should take.
const MAX_WRITING: f64 = 60.0;

/// Largest change feed that pruning leaves, bytes.
const MAX_FEED: i64 = 1 << 30;

/// What the schema of a database is compared with, and how it compares.
pub struct Schema {
    /// The names of the steps that it lacks, or why that cannot be said.
    pub missing: Result<Vec<String>>,
    /// Lines of its shape that it lacks.
    pub misshapen: Vec<&'static str>,
    /// The tables that the feed is to hear of.
    pub covered: Vec<&'static str>,
}

/// Most lines of a schema's shape that are told.
const MOST_LINES: usize = 8;

impl Schema {
    /// Whether the rest can be looked at: all tables are there, as this program knows them.
    fn is_there(&self) -> bool {
        matches!(&self.missing, Ok(missing) if missing.is_empty())
            && !self.misshapen.iter().any(|line| line.starts_with("table ") || line.starts_with("column "))
    }

    fn findings(&self) -> Vec<Finding> {
        let missing = match &self.missing {
            Ok(missing) => missing,
            Err(error) => {
                let advice = "run the newer program, or take its steps back with it: `overlay migrate down`";
                return vec![wrong(State::Bad, error.message(), advice)];
            }
        };
        if !missing.is_empty() {
            let what = format!("the schema lacks {}", missing.join(", "));
            return vec![wrong(State::Bad, what, "run `overlay migrate up`")];
        }
        let lacks = &self.misshapen;
        let told = lacks.iter().take(MOST_LINES).map(|line| format!("\n        {line}")).collect::<String>();
        let more = if lacks.len() > MOST_LINES { "\n        and others" } else { "" };
        vec![
            good("all steps of the schema are applied"),
            found(
                !lacks.is_empty(),
                State::Bad,
                match lacks.len() {
                    0 => "the schema is whole".into(),
                    count => format!("the schema has not, or not like that, {count} of its parts:{told}{more}"),
                },
                "were they dropped or changed, or is this what is left of a table that was restored alone? docs/operations/restore.md has the ways that bring them back",
            ),
        ]
    }
}

/// Examines PostgreSQL. `pool_max` is how many connections each server may take.
///
/// # Errors
/// What the database answers.
pub async fn postgresql(db: &Db, own: &Schema, pool_max: u32) -> Result<Vec<Finding>> {
    let (begun, here) = (Instant::now(), Utc::now());
    let server = store::server(db).await?;
    let took = begun.elapsed();
    let mut findings = vec![
        found(
            server.version < OLDEST,
            State::Bad,
            format!("PostgreSQL {} answers in {:.1} ms", server.text, took.as_secs_f64() * 1e3),
            "it is older than 13: upgrade it",
        ),
        found(
            server.is_standby,
            State::Bad,
            format!("it is {}", if server.is_standby { "a standby" } else { "a primary" }),
            "PG_URL must name the primary; standbys belong in PG_READ_URLS",
        ),
        found(
            !server.is_own,
            State::Bad,
            if server.is_own { "PG_URL leads to PostgreSQL itself" } else { "PG_URL leads to a pooler" },
            "time-outs, and in transaction mode wake-ups and locks, are lost there: name the pooler in PG_POOLER_URL, and PostgreSQL itself in PG_URL",
        ),
        found(
            server.encoding != "UTF8",
            State::Bad,
            format!("the database is in {}", server.encoding),
            "create it with encoding UTF8, and restore a dump into it",
        ),
        found(
            !server.is_durable,
            State::Warning,
            format!("fsync and full_page_writes are {}", if server.is_durable { "on" } else { "not both on" }),
            "a power cut may lose or break the database: switch them on, but for data that nobody will miss",
        ),
        found(
            i64::from(pool_max) * 2 > i64::from(server.max_connections),
            State::Warning,
            format!("each server may take {pool_max} of {} connections", server.max_connections),
            "two servers would not fit: lower PG_POOL_MAX, or raise max_connections",
        ),
        skew(server.now, here, took),
    ];
    findings.extend(own.findings());
    if own.is_there() {
        findings.extend(schema(db, &own.covered).await?);
    }
    Ok(findings)
}

/// Examines the policy that is used when none is named.
///
/// # Errors
/// What the database answers.
pub async fn policy(db: &Db, id: &str) -> Result<Finding> {
    let (what, advice) =
        (format!("POLICY_DEFAULT_ID is {id}"), "no policy has this id: requests that name none are refused");
    Ok(found(!store::has_policy(db, id).await?, State::Bad, what, advice))
}

/// How far apart the clocks are, at the least.
fn skew(there: DateTime<Utc>, asked: DateTime<Utc>, took: Duration) -> Finding {
    let half = took / 2;
    let apart = (there - (asked + half)).abs().to_std().unwrap_or_default().saturating_sub(half);
    let what = format!("the clocks are {} ms apart", apart.as_millis());
    found(apart > MAX_SKEW, State::Warning, what, "set both by NTP")
}

async fn schema(db: &Db, covered: &[&str]) -> Result<Vec<Finding>> {
    let feed = store::feed(db, covered).await?;
    let indexes = store::invalid_indexes(db).await?;
    Ok(vec![
        found(
            !feed.has_trgm,
            State::Bad,
            if feed.has_trgm { "pg_trgm is installed" } else { "pg_trgm is not installed" },
            "`create extension pg_trgm`: searches need it",
        ),
        found(
            indexes.is_some(),
            State::Bad,
            indexes.map_or_else(
                || "all indexes are valid".into(),
                |names| format!("these indexes are not valid: {names}"),
            ),
            "`reindex index concurrently` each",
        ),
        found(
            feed.weak_triggers > 0,
            State::Bad,
            format!("{} triggers tell the change feed, {} of them not always", feed.triggers, feed.weak_triggers),
            "`alter table … enable always trigger …` for those with tgenabled <> 'A', then empty change_log and cache_epoch: caches \
             have not heard of changes",
        ),
        found(
            feed.unheard.is_some(),
            State::Bad,
            feed.unheard.map_or_else(
                || "the change feed hears of all tables".into(),
                |tables| format!("the change feed does not hear of every change of {tables}"),
            ),
            "the table was restored without its triggers, or they were dropped: make them as the migrations do (`pg_restore --section=post-data` \
             of the whole database has them), then empty change_log and cache_epoch; docs/operations/restore.md",
        ),
        found(
            feed.epochs != 1,
            State::Warning,
            if feed.epochs == 1 { "the history has an epoch" } else { "the history has no epoch" },
            "it gets one when a server starts: none has since the database was restored or has crashed",
        ),
        found(
            feed.bytes > MAX_FEED,
            State::Warning,
            format!("the change feed takes {} MiB", feed.bytes >> 20),
            "servers forget old changes by themselves: does one run, and is FEED_RETENTION_SEC as it should be?",
        ),
        found(
            feed.writing_s > MAX_WRITING,
            State::Warning,
            format!("the longest transaction that writes has taken {:.0} s", feed.writing_s),
            "what others commit meanwhile is not kept in caches: see pg_stat_activity, and end it",
        ),
        found(
            feed.prepared > 0,
            State::Warning,
            format!("{} prepared transactions wait for more than a minute", feed.prepared),
            "each holds the feed's horizon: see pg_prepared_xacts, and commit or roll back",
        ),
    ])
}

/// Examines the way through the pooler of `config` to the server that `db` leads to.
///
/// # Errors
/// What that server answers.
pub async fn pooler(db: &Db, config: &db::Config) -> Result<Finding> {
    let wanted = store::name(db).await?;
    let asked = async {
        let pooled = Db::connect(config).await?;
        let begun = Instant::now();
        let found = store::name(&pooled).await;
        let took = begun.elapsed();
        pooled.close().await;
        found.map(|found| (found, took))
    };
    Ok(match asked.await {
        Ok((found, took)) if found == wanted => {
            good(format!("the pooler leads to the same server, in {:.1} ms", took.as_secs_f64() * 1e3))
        }
        Ok(_) => wrong(
            State::Bad,
            "the pooler leads to another server or database than PG_URL",
            "no server starts like that: let PG_POOLER_URL and PG_URL lead to the same one",
        ),
        Err(error) => wrong(
            State::Bad,
            format!("the pooler does not lead to a server: {}", error.message()),
            "requests go through it: look at PG_POOLER_URL, the pooler's log, and where it leads",
        ),
    })
}

/// Examines the replica that is the `number`th in `PG_READ_URLS`.
pub async fn replica(number: usize, config: &db::Config) -> Finding {
    let asked = async {
        let db = Db::connect(config).await?;
        let server = store::server(&db).await;
        db.close().await;
        server
    };
    match asked.await {
        Ok(server) => found(
            !server.is_standby,
            State::Bad,
            format!("replica {number} is {}", if server.is_standby { "a standby" } else { "not a standby" }),
            "it is not read: rebuild it as a standby of the primary, or take it out of PG_READ_URLS",
        ),
        Err(error) => wrong(
            State::Warning,
            format!("replica {number} does not answer: {}", error.message()),
            "reads go to the primary: look at PG_READ_URLS, the replica and the network",
        ),
    }
}

/// Examines Redis, where there is one.
pub async fn redis(redis: Option<&Redis>) -> Finding {
    let Some(redis) = redis else {
        let advice = "set REDIS_URL: without it there are no sessions, and processes share no cache";
        return wrong(State::Warning, "no Redis is configured", advice);
    };
    let took = match redis.answers(Duration::from_secs(3)).await {
        Ok(took) => took.as_secs_f64() * 1e3,
        Err(_) => {
            return wrong(
                State::Bad,
                "Redis does not answer",
                "look at REDIS_URL, the network, REDIS_TIMEOUT_MS, and the user's rights (docs/OPERATIONS.md, Redis)",
            );
        }
    };
    found(
        !redis.takes_writes().await,
        State::Bad,
        format!("Redis answers in {took:.1} ms"),
        "it takes no writes: is it a replica, full without a `maxmemory-policy`, or has the user no right to (docs/OPERATIONS.md, Redis)?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_within_what_the_way_took() {
        let here = Utc::now();
        let at = |ms: i64| here + chrono::Duration::milliseconds(ms);
        let state = |there, took| skew(there, here, Duration::from_millis(took)).state;
        assert_eq!(state(at(900), 10), State::Good);
        assert_eq!(state(at(-900), 10), State::Good);
        assert_eq!(state(at(1_100), 10), State::Warning);
        assert_eq!(state(at(-1_100), 10), State::Warning);
        // A slow way says nothing of the clocks.
        assert_eq!(state(at(1_900), 2_000), State::Good);
    }
}
