//! Redis may vanish, hang, forget, or lie: reads go on and are right.

use futures_util::future::join_all;
use overlay::devstack::RedisServer;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::Value;

use crate::harness::{Setup, TestApp, connected, private_redis, until_held, with_database};

/// A session with the Redis under test.
pub(super) async fn session(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    // Patient: a machine that is busy with other tests is slow to answer.
    let patient = Some(std::time::Duration::from_secs(20));
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(patient).set_response_timeout(patient);
    client.get_multiplexed_async_connection_with_config(&config).await.expect("Redis answers")
}

pub(super) async fn keys(session: &mut redis::aio::MultiplexedConnection) -> Vec<String> {
    redis::cmd("KEYS").arg("*").query_async(session).await.expect("keys")
}

/// Waits until there is a key of this pattern.
pub(super) async fn appearing(session: &mut redis::aio::MultiplexedConnection, pattern: &str) -> Vec<String> {
    let found = async {
        loop {
            let found: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(session).await.expect("keys");
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), found).await.expect("the key is written")
}

/// Waits until the background writer has put `wanted` keys there.
pub(super) async fn filled(session: &mut redis::aio::MultiplexedConnection, wanted: usize) -> Vec<String> {
    let full = async {
        loop {
            let found = keys(session).await;
            if found.len() >= wanted {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), full).await.expect("Redis is filled")
}

pub(super) async fn names(app: &TestApp) -> Vec<Value> {
    // A named caller's answer is made anew each time, of entries.
    let answer = app.get("/listings?limit=20").header("cookie", "a=b").send().await.expect("answer");
    let listing: Value = answer.json().await.expect("JSON");
    listing["items"].as_array().expect("items").iter().map(|item| item["name"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_finds_in_redis_what_the_first_has_loaded() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url());
        let first = TestApp::start(&setup, database).await;
        first.settled().await;
        let shown = names(&first).await;
        let found = filled(&mut session(server.url()).await, 23).await;
        assert!(found.iter().any(|k| k.starts_with("cache:listings:")), "{found:?}");
        // One row more than the page shows tells that there are more.
        assert_eq!(found.iter().filter(|k| k.starts_with("cache:asset:")).count(), 21);
        let second = TestApp::start(&setup, database).await;
        second.settled().await;
        let (again, statements) = second.statements(names(&second)).await;
        assert_eq!(again, shown);
        // The seed check at the start counts; the read itself finds everything in Redis.
        assert_eq!(statements, 0);
        // A change by somebody else is seen through Redis too.
        first.sql("update assets set name = 'changed'").await;
        second.caught_up().await;
        assert!(names(&second).await.iter().all(|name| name == "changed"));
        first.stop().await;
        second.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_truncated_or_foreign_entry_is_a_miss() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url()).with("CACHE_MEMORY_MB", "0");
        let app = TestApp::start(&setup, database).await;
        app.settled().await;
        let shown = names(&app).await;
        let mut session = session(server.url()).await;
        let found = filled(&mut session, 23).await;
        let asset = found.iter().find(|k| k.starts_with("cache:asset:")).expect("an asset");
        let whole: Vec<u8> = redis::cmd("GET").arg(asset).query_async(&mut session).await.expect("bytes");
        let half = &whole[..whole.len() / 2];
        let poisons: [&[u8]; 6] = [b"", b"\0\xff garbage", half, b"{}\n{}", &whole, b"[1,2,3]\nnull"];
        for (index, poison) in poisons.into_iter().enumerate() {
            // The whole entry of one key under every other is foreign there.
            for key in &found {
                let () = redis::cmd("SET").arg(key).arg(poison).query_async(&mut session).await.expect("set");
            }
            let again = names(&app).await;
            assert_eq!(again, shown, "poison {index}");
        }
        for key in &found {
            let () = redis::cmd("DEL").arg(key).query_async(&mut session).await.expect("del");
            let () = redis::cmd("LPUSH").arg(key).arg("x").query_async(&mut session).await.expect("push");
        }
        assert_eq!(names(&app).await, shown, "a value of another Redis type");
        app.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_under_load_fails_no_read_and_its_return_is_noticed() {
    let Some((server, folder)) = private_redis().await else { return };
    with_database(async |database| {
        // No memory, so that every read would go to Redis.
        let setup = Setup::seeded().redis(server.url()).with("CACHE_MEMORY_MB", "0").with("REDIS_TIMEOUT_MS", "100");
        let app = TestApp::start(&setup, database).await;
        let shown = names(&app).await;
        let reads = async {
            for _ in 0..20 {
                for read in join_all((0..10).map(|_| names(&app))).await {
                    assert_eq!(read, shown);
                }
            }
        };
        let (killed, ()) = tokio::join!(server.kill(), reads);
        killed.expect("killed");
        // The time-out or the broken connection is noticed by a call.
        while app.app.cache.redis().is_some_and(|r| r.is_connected()) {
            assert_eq!(names(&app).await, shown);
        }
        let health = app.json("/health").await;
        assert_eq!((health["status"].as_str(), health["cache"].as_str()), (Some("degraded"), Some("redis:error")));
        app.json("/health/ready").await;
        let back = RedisServer::start(&folder).await.expect("starts again");
        connected(app.app.cache.redis().expect("configured")).await;
        assert_eq!(names(&app).await, shown);
        assert_eq!(app.json("/health").await["status"], "ok");
        app.stop().await;
        back.stop().await.expect("stops");
    })
    .await;
}

/// How often Redis was asked for values.
async fn asked(session: &mut redis::aio::MultiplexedConnection) -> u64 {
    let told: String = redis::cmd("INFO").arg("commandstats").query_async(session).await.expect("info");
    let calls = told.lines().find_map(|line| line.strip_prefix("cmdstat_mget:calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or_default()
}

/// Asks for searches that nobody else asks for.
async fn search(app: &TestApp, what: &str, times: usize) {
    for ten in (0..times).collect::<Vec<_>>().chunks(10) {
        let answers = ten.iter().map(|n| app.get(&format!("/listings/search?q={what}{n}")).send());
        for answer in join_all(answers).await {
            assert_eq!(answer.expect("an answer").status(), 200);
        }
    }
}

/// Where Redis never has anything, it is not asked each time; as soon as it has something, it is.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_asked_as_long_as_that_is_worth_it() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url());
        let (first, second) = (TestApp::start(&setup, database).await, TestApp::start(&setup, database).await);
        first.settled().await;
        second.settled().await;
        let mut session = session(server.url()).await;
        search(&first, "crawled", 1_100).await;
        let before = asked(&mut session).await;
        search(&first, "again", 320).await;
        let calls = asked(&mut session).await - before;
        // For the answer and for the page within it, one time in sixteen each; some of another kind.
        assert!((20..120).contains(&calls), "{calls} calls for 320 misses");

        // The other process has found nothing wanting yet, so it writes all that it loads.
        search(&second, "shared", 100).await;
        search(&second, "last", 1).await;
        // Writes happen in order.
        appearing(&mut session, "cache:listings:*last0*").await;
        let ((), statements) = first.statements(search(&first, "shared", 100)).await;
        // Ten are under way at a time.
        assert!(statements <= 26, "{statements} statements for 100 answers that Redis has");
        first.stop().await;
        second.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}

/// What it is rarely asked for is served from it all the same when PostgreSQL cannot be asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_redis_alone_has_is_served_while_every_connection_is_held() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url()).with("PG_POOL_MAX", "2").with("PG_POOL_WAIT_MS", "300");
        let (first, second) = (TestApp::start(&setup, database).await, TestApp::start(&setup, database).await);
        first.settled().await;
        second.settled().await;
        for hundred in 0..11 {
            search(&first, &format!("crawled{hundred}x"), 100).await;
        }
        search(&second, "shared", 40).await;
        search(&second, "last", 1).await;
        appearing(&mut session(server.url()).await, "cache:listings:*last0*").await;
        let outsider = crate::harness::session(&first.database_url).await;
        let lock = outsider.begin().await.expect("begins");
        lock.execute_unprepared("lock table assets").await.expect("locked");
        let held: Vec<_> = [7, 8].map(|n| tokio::spawn(first.get(&format!("/listings?limit={n}")).send())).into();
        until_held(&first.database_url, 2).await;
        // Each is answered, with 200.
        search(&first, "shared", 40).await;
        assert_eq!(first.get("/listings?limit=9").send().await.expect("answer").status(), 503);
        lock.rollback().await.expect("ends");
        for held in held {
            assert_eq!(held.await.expect("ends").expect("answer").status(), 200);
        }
        overlay::db::close(&outsider).await;
        first.stop().await;
        second.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}
