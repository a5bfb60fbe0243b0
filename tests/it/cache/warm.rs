//! What is asked for most is known, and a server that starts has it before it says that it is ready.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::redis::{appearing, keys, session};
use crate::harness::process::binary;
use crate::harness::{Setup, TestApp, private_redis, with_database};

const HOT: &str = "/listings?limit=3";

/// Asks until it has certainly been counted.
async fn ask_often(app: &TestApp) {
    for _ in 0..130 {
        assert_eq!(app.get(HOT).send().await.expect("answer").status(), StatusCode::OK);
    }
}

async fn status(app: &TestApp, path: &str) -> (StatusCode, Value) {
    let answer = app.get(path).send().await.expect("answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

async fn ready(app: &TestApp) {
    let ready = async {
        while status(app, "/health/ready").await.0 != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ready).await.expect("it becomes ready");
}

/// Takes away all but the counts.
async fn forget_answers(session: &mut redis::aio::MultiplexedConnection) {
    for key in keys(session).await.iter().filter(|key| !key.starts_with("ol:popular")) {
        let _gone: i64 = redis::cmd("DEL").arg(key).query_async(session).await.expect("deletes");
    }
}

async fn count(session: &mut redis::aio::MultiplexedConnection, request: &str, times: u32) {
    let _new: i64 =
        redis::cmd("ZADD").arg("ol:popular").arg(times).arg(request).query_async(session).await.expect("adds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_has_what_is_asked_for_most() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url()).with("WARM_REQUESTS", "20");
        let mut redis = session(server.url()).await;
        let first = TestApp::start(&setup, database).await;
        first.settled().await;
        ask_often(&first).await;
        appearing(&mut redis, "ol:popular").await;
        first.stop().await;
        // Whoever writes to Redis can have nothing done that a stranger could not ask for.
        count(&mut redis, "nonsense", 900).await;
        let publish = json!({"method": "POST", "target": "/publish", "headers": [], "body": "{}"});
        count(&mut redis, &publish.to_string(), 901).await;
        for (warm, is_warm) in [("20", true), ("0", false)] {
            forget_answers(&mut redis).await;
            let app = TestApp::start(&setup.clone().with("WARM_REQUESTS", warm), database).await;
            ready(&app).await;
            app.settled().await;
            let (answer, statements) = app.statements(app.get(HOT).send()).await;
            let cached = answer.expect("answer").headers()["cache-status"].to_str().expect("text").contains("hit");
            assert_eq!((cached, statements == 0), (is_warm, is_warm), "{statements} statements");
            app.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_warms_up_it_serves_and_is_not_ready() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let mut redis = session(server.url()).await;
        for offset in 0..3 {
            let request =
                json!({"method": "GET", "target": format!("/listings?offset={offset}"), "headers": [], "body": ""});
            count(&mut redis, &request.to_string(), 1).await;
        }
        let setup = Setup::seeded().redis(server.url()).with("WARM_REQUESTS", "20").with("WARM_RATE", "1");
        let app = TestApp::start(&setup, database).await;
        let (code, body) = status(&app, "/health/ready").await;
        assert_eq!((code, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("warming")));
        assert_eq!(status(&app, "/health/live").await.0, StatusCode::OK);
        assert_eq!(status(&app, HOT).await.0, StatusCode::OK);
        ready(&app).await;
        app.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_fills_redis() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let app = TestApp::start(&Setup::seeded(), database).await;
        let mut redis = session(server.url()).await;
        let request = json!({"method": "GET", "target": HOT, "headers": [], "body": ""});
        count(&mut redis, &request.to_string(), 1).await;
        let mut command = Command::new(binary());
        command
            .arg("warm")
            .current_dir(std::env::temp_dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([("PG_URL", app.database_url.as_str()), ("REDIS_URL", server.url())]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joins").expect("runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            told,
            "asked for the 1 requests that are asked for most\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let found = keys(&mut redis).await;
        assert!(found.iter().any(|key| key.starts_with("cache:listings:")), "{found:?}");
        app.stop().await;
    })
    .await;
}
