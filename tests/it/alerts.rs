//! The alert rules in `docs/monitoring`: they ask for what is measured, fire when they should, and say what to do.

mod measured;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use crate::harness::{Setup, private_redis, session, with};

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows `- alert:` in the rules.
fn alerts(rules: &str) -> Vec<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// The metrics of ours that the rules ask for.
fn metrics(rules: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = rules.split(|letter: char| !is_part(letter)).filter(|word| word.starts_with("overlay_"));
    words.map(|word| word.trim_end_matches("_bucket").trim_end_matches("_count")).collect()
}

#[test]
fn alerts_ask_for_what_is_measured_and_say_what_to_do() {
    let (rules, manual) = (read("docs/monitoring/alerts.yml"), read("docs/OPERATIONS.md"));
    assert!(metrics(&rules).len() > 10, "{:?}", metrics(&rules));
    for metric in metrics(&rules) {
        assert!(manual.contains(&format!("`{metric}`")), "{metric} is not in the table of metrics");
    }
    for alert in alerts(&rules) {
        let row = manual.lines().find(|line| line.starts_with(&format!("| `{alert}` |")));
        assert!(row.is_some_and(|row| row.len() > 120), "docs/OPERATIONS.md does not say what to do about {alert}");
    }
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    let folder = format!("{}/docs/monitoring", env!("CARGO_MANIFEST_DIR"));
    let (rules, tests) = (read("docs/monitoring/alerts.yml"), read("docs/monitoring/alerts_test.yml"));
    for alert in alerts(&rules) {
        assert!(tests.contains(&format!("      - alertname: {alert}\n")), "{alert} is never seen to fire");
        assert!(
            tests.contains(&format!("alertname: {alert}, eval_time: 50m, exp_alerts: []")),
            "{alert} is never quiet"
        );
    }
    let promtool = |arguments: &[&str]| Command::new("promtool").args(arguments).current_dir(&folder).output();
    for arguments in [&["check", "rules", "alerts.yml"][..], &["test", "rules", "alerts_test.yml"]] {
        match promtool(arguments) {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(_) => println!("not run: promtool, which comes with Prometheus, is not installed"),
        }
    }
}

/// What alerts look at moves when what they are for happens to a server.
#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_look_at_moves() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with(Setup::empty().with("DEV_IDENTITY", "true").redis(redis.url()), async |app| {
        let told = async |line: &str| {
            let metrics = app.get("/metrics").send().await.expect("answer").text().await.expect("text");
            let found = metrics.lines().find_map(|l| l.strip_prefix(line)?.trim().parse::<f64>().ok());
            found.unwrap_or_else(|| panic!("no {line} in {metrics}"))
        };
        let until = async |line: &str, holds: fn(f64) -> bool| {
            let begun = std::time::Instant::now();
            while !holds(told(line).await) {
                assert!(begun.elapsed().as_secs() < 60, "{line} is {}", told(line).await);
                tokio::task::yield_now().await;
            }
        };
        until("overlay_redis_connected", |value| value == 1.0).await;
        let refused = app.http.post(format!("{}/api/v1/lineage", app.url)).json(&json!({"no": "event"})).send().await;
        assert_eq!(refused.expect("answer").status(), 422);
        assert_eq!(told("overlay_lineage_events_total{outcome=\"refused\"}").await, 1.0);
        assert_eq!(told("overlay_audit_wrong_total").await, 0.0);
        assert!(
            told("overlay_pool_connections{state=\"max\"}").await
                >= told("overlay_pool_connections{state=\"open\"}").await
        );
        // Somebody who writes and does not come to an end.
        let long = session(&app.database_url).await;
        sea_orm::ConnectionTrait::execute_unprepared(&long, "begin; select pg_current_xact_id()").await.expect("begun");
        until("overlay_feed_horizon_age_seconds", |value| value > 0.2).await;
        sea_orm::ConnectionTrait::execute_unprepared(&long, "rollback").await.expect("ended");
        until("overlay_feed_horizon_age_seconds", |value| value < 0.2).await;
        assert!(told("overlay_feed_lag_seconds").await < 60.0);
        drop(redis);
        until("overlay_redis_connected", |value| value == 0.0).await;
    })
    .await;
}
