//! Ten thousand clients ask for one thing at once that no cache has: PostgreSQL is asked once by each process.

use super::setting;
use crate::harness::Wire;
use crate::harness::process::Process;
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::harness::{Setup, TestApp, private_redis, session, with_database};

/// How often the servers sent a statement.
fn sent(metrics: &str, statement: &str) -> f64 {
    let name = format!("overlay_sql_seconds_count{{statement=\"{statement}\"}}");
    metrics.lines().find(|l| l.starts_with(&name)).and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_costs_each_process_one_statement() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let seeded = TestApp::start(&Setup::seeded(), database).await;
        let id = seeded.rows("select min(version_id) from assets").await.remove(0);
        seeded.stop().await;
        let start = || Process::patient(&database.url, &[("REDIS_URL", redis.url())]);
        let processes = [start(), start()];
        let body = format!("{{\"query\":\"{{ asset(versionId: \\\"{id}\\\") {{ name datasetId contentHash }} }}\"}}");
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // The table answers nobody until all have asked, so that they do ask at once.
        let outsider = session(&database.url).await;
        let lock = outsider.begin().await.expect("begin");
        lock.execute_unprepared("lock table assets in access exclusive mode").await.expect("lock");
        let herd = setting("OVERLAY_HERD", 10_000) as usize;
        let asking: Vec<_> = (0..herd)
            .map(|n| {
                let (mut wire, request) = (Wire::new(processes[n % 2].address()), request.clone());
                tokio::spawn(async move { wire.ask(&request).await })
            })
            .collect();
        // They have all asked once every process has as many requests under way; the metrics do not need the database.
        for process in &processes {
            let mut joined = None;
            let under_way = async {
                loop {
                    let metrics = process.metrics().await;
                    let line = metrics.lines().find(|l| l.starts_with("overlay_flights_joined_total{kind=\"asset\"}"));
                    joined = line.and_then(|l| l.rsplit(' ').next()?.parse::<usize>().ok());
                    if joined.is_some_and(|joined| joined + 1 >= herd / 2) {
                        return;
                    }
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(60), under_way)
                .await
                .unwrap_or_else(|_| panic!("not all board the flight; these do: {joined:?}"));
        }
        lock.rollback().await.expect("unlock");
        let mut answers = std::collections::HashSet::new();
        for asked in asking {
            let answer = asked.await.expect("no panic").expect("an answer");
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            assert!(answer.body.starts_with(b"{\"data\":"), "{}", String::from_utf8_lossy(&answer.body));
            answers.insert(answer.body);
        }
        assert_eq!(answers.len(), 1, "all are told the same");
        for process in processes {
            let metrics = process.metrics().await;
            assert!(sent(&metrics, "assets.by_ids") <= 1.0, "{}", sent(&metrics, "assets.by_ids"));
            process.terminate();
        }
    })
    .await;
    redis.stop().await.expect("stops");
}
