//! Many ask two servers for a bundle that nobody has built yet: it is built once, by one of them.

use futures_util::future::join_all;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::harness::{Setup, TestApp, private_redis, session, with_database};

/// How often a statement was sent, by all servers of this process.
async fn sent(app: &TestApp, statement: &str) -> u64 {
    let metrics = app.get("/metrics").send().await.expect("answer").text().await.expect("body");
    let name = format!("overlay_sql_seconds_count{{statement=\"{statement}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_bundle_is_built_once_in_all() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(redis.url());
        let apps = [TestApp::start(&setup, database).await, TestApp::start(&setup, database).await];
        for app in &apps {
            app.settled().await;
        }
        let id = apps[0].rows("select child_version_id from asset_parents join declarations on version_id = child_version_id where envelope is not null order by 1 limit 1").await.remove(0);
        // The table answers nobody for a while, so that they all ask while there is nothing.
        let outsider = session(&database.url).await;
        let lock = outsider.begin().await.expect("begin");
        lock.execute_unprepared("lock table asset_parents in access exclusive mode").await.expect("lock");
        let asking = (0..600).map(|n| {
            let request = apps[n % 2].get(&format!("/bundle?versionId={id}"));
            tokio::spawn(async move {
                let answer = request.send().await.expect("answer");
                (answer.status(), answer.bytes().await.expect("body"))
            })
        });
        let asking: Vec<_> = asking.collect();
        let waiting = "select count(*)::text from pg_locks where not granted and relation = 'asset_parents'::regclass";
        while apps[0].rows(waiting).await == ["0"] {
            tokio::task::yield_now().await;
        }
        lock.commit().await.expect("commit");
        let answers: Vec<_> = join_all(asking).await.into_iter().map(|answer| answer.expect("no panic")).collect();
        assert!(answers.iter().all(|answer| answer.0 == StatusCode::OK && answer.1 == answers[0].1));
        assert_eq!((sent(&apps[0], "assets.walk").await, sent(&apps[0], "spv.declared").await), (1, 1));
        for app in apps {
            app.stop().await;
        }
    })
    .await;
}

/// Nothing of a bundle is in Redis where bundles are not kept there, finished answers included.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_stay_out_of_redis_where_they_are_told_to() {
    for (is_shared, responses) in [("true", 2), ("false", 1)] {
        let Some((redis, _folder)) = private_redis().await else { return };
        with_database(async |database| {
            let setup = Setup::seeded().redis(redis.url()).with("USE_REDIS_BUNDLES", is_shared);
            let app = TestApp::start(&setup, database).await;
            app.settled().await;
            let known = "select version_id from declarations where envelope is not null order by 1 limit 1";
            let id = app.rows(known).await.remove(0);
            for origin in ["miss", "hit"] {
                let answer = app.get(&format!("/bundle?versionId={id}")).send().await.expect("answer");
                assert_eq!(answer.headers()["x-cache"], origin);
            }
            // Written after whatever of the bundle is: when it is there, so is the rest.
            app.json("/listings?limit=1&q=marker").await;
            let client = redis::Client::open(redis.url()).expect("a URL");
            let mut session = client.get_multiplexed_async_connection().await.expect("Redis answers");
            let listed = async {
                loop {
                    let mut all = redis::cmd("KEYS");
                    let found: Vec<String> = all.arg("*").query_async(&mut session).await.expect("keys");
                    let count = |start: &str| found.iter().filter(|key| key.starts_with(start)).count();
                    if count("cache:listings:") > 0 && count("ol:cache:response:") >= responses {
                        return (count("bundle:"), count("ol:cache:response:"));
                    }
                    tokio::task::yield_now().await;
                }
            };
            let found = tokio::time::timeout(std::time::Duration::from_secs(20), listed).await.expect("written");
            assert_eq!(found, (usize::from(is_shared == "true"), responses));
            app.stop().await;
        })
        .await;
    }
}
