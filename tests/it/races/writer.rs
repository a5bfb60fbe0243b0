//! Writers that the servers know nothing of: single statements, transactions over several rows, rolled back and slow ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use overlay::coherence::{Epoch, Token};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};
use tokio::task::JoinHandle;

use super::world::{Dice, Thing, World};
use crate::harness::patient;

/// Starts `count` writers; each has its own things.
pub(super) fn start(world: &Arc<World>, pg_url: &str, count: usize) -> Vec<JoinHandle<()>> {
    (0..count).map(|n| tokio::spawn(write(world.clone(), pg_url.to_owned(), n, count))).collect()
}

async fn write(world: Arc<World>, pg_url: String, own: usize, of: usize) {
    let things: Vec<&Thing> = world.things.iter().skip(own).step_by(of).collect();
    let mut dice = Dice::new(world.seed, 1_000 + own as u64);
    let mut connection = None;
    while !world.is_stopped() {
        let session = match &connection {
            Some(session) => session,
            None => match settle(&pg_url, &things).await {
                Ok(session) => connection.insert(session),
                // The database is away: the nemesis will bring it back.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            },
        };
        if world.may_begin() {
            let outcome = step(session, &things, &mut dice).await;
            world.done();
            if outcome.is_err() {
                connection = None;
            }
        }
        tokio::time::sleep(Duration::from_micros(dice.below(4_000))).await;
    }
}

/// A new session; what was in doubt when the last one broke is looked up.
async fn settle(pg_url: &str, things: &[&Thing]) -> Result<DatabaseConnection, DbErr> {
    let session =
        overlay::db::connect(&patient(pg_url), "writer", 1, 1).await.map_err(|e| DbErr::Custom(e.to_string()))?;
    for thing in things {
        let sql = format!("select name from assets where version_id = '{}'", thing.id);
        let row = session.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let name: String = row.expect("the version is there").try_get_by_index(0)?;
        let count = name.strip_prefix('v').and_then(|n| n.parse().ok()).expect("a count");
        if count > thing.committed.load(Ordering::SeqCst) {
            thing.acknowledged(count, None);
        }
    }
    Ok(session)
}

async fn step(session: &DatabaseConnection, things: &[&Thing], dice: &mut Dice) -> Result<(), DbErr> {
    let one = things[dice.below(things.len() as u64) as usize];
    match dice.below(10) {
        0..6 => {
            let count = next(one);
            let token = raise(session, one, count).await?;
            one.acknowledged(count, token);
        }
        6..8 => {
            // All of its things at once, with time for others to begin and end.
            let tx = session.begin().await?;
            let mut raised = Vec::new();
            for thing in things {
                let count = next(thing);
                raised.push((*thing, count, raise(&tx, thing, count).await?));
                tokio::time::sleep(Duration::from_micros(dice.below(3_000))).await;
            }
            tx.commit().await?;
            for (thing, count, token) in raised {
                thing.acknowledged(count, token);
            }
        }
        8 => {
            // A savepoint that is rolled back gives its subtransaction's id away.
            let tx = session.begin().await?;
            tx.execute_unprepared("savepoint s").await?;
            raise(&tx, one, next(one)).await?;
            tx.execute_unprepared("rollback to s").await?;
            let count = next(one);
            let token = raise(&tx, one, count).await?;
            tx.commit().await?;
            one.acknowledged(count, token);
        }
        _ => {
            let tx = session.begin().await?;
            raise(&tx, one, next(one)).await?;
            tx.rollback().await?;
        }
    }
    Ok(())
}

fn next(thing: &Thing) -> u64 {
    thing.attempted.fetch_add(1, Ordering::SeqCst) + 1
}

/// Counts a thing up; answers the token that will name the commit, made of what the transaction itself sees of its epoch.
async fn raise(session: &impl ConnectionTrait, thing: &Thing, count: u64) -> Result<Option<String>, DbErr> {
    let sql = format!(
        "update assets set name = 'v{count}' where version_id = '{}' returning pg_current_xact_id()::text, \
         (select tableoid::text || '.' || token::text || '.' || extract(epoch from pg_postmaster_start_time())::text \
          from cache_epoch), \
         (select system_identifier::text from pg_control_system()), \
         (select oid::text from pg_database where datname = current_database())",
        thing.id
    );
    let row =
        session.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?.expect("the version is there");
    let text = |index| row.try_get_by_index::<Option<String>>(index);
    let (xid, token, system, database) = (text(0)?, text(1)?, text(2)?, text(3)?);
    // Without a token no epoch has begun yet, and nothing names the commit.
    let token = token.map(|token| Token {
        epoch: Epoch::new(&system.unwrap_or_default(), &database.unwrap_or_default(), &token),
        xid: xid.and_then(|xid| xid.parse().ok()).expect("a transaction id"),
    });
    Ok(token.map(|token| token.to_string()))
}
