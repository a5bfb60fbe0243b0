//! Health for people and orchestrators, and metrics for Prometheus.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Setup, connected, private_redis, with};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn health_has_the_promised_shape() {
    with(Setup::empty(), async |app| {
        for path in ["/health", "/health/ready"] {
            let health = app.json(path).await;
            assert!(
                chrono::DateTime::parse_from_rfc3339(health["timestamp"].as_str().expect("text")).is_ok(),
                "{health}"
            );
            for (field, value) in [
                ("ok", json!(true)),
                ("status", json!("ok")),
                ("database", json!("postgresql:ok")),
                ("cache", json!("in-process:ok")),
            ] {
                assert_eq!(health[field], value, "{path}: {health}");
            }
        }
        let live = app.json("/health/live").await;
        assert_eq!((&live["ok"], &live["status"]), (&json!(true), &json!("ok")));
        let query = "{ health { status version postgresqlMs hasRedis redisMs feedLagMs } }";
        for _ in 0..2 {
            let request = app.post(query, Value::Null);
            let answer = request.send().await.expect("answer");
            assert!(
                answer.headers()["cache-control"].to_str().is_ok_and(|v| v.contains("no-cache") || v == "no-store")
            );
            let told = answer.json::<Value>().await.expect("JSON")["data"]["health"].take();
            assert_eq!(
                (&told["status"], &told["hasRedis"], &told["redisMs"]),
                (&json!("OK"), &json!(false), &Value::Null)
            );
            assert!(told["postgresqlMs"].as_f64().is_some_and(|ms| ms > 0.0), "{told}");
            assert!(told["version"].is_string() && told["feedLagMs"].is_f64(), "{told}");
        }
        // However often a document asks, the parts are asked once.
        let many: String = (0..50).map(|n| format!("a{n}: health {{ postgresqlMs redisMs }} ")).collect();
        let told = app.query(&format!("{{ {many} }}"), Value::Null).await;
        let told = told.as_object().expect("an object");
        assert!(told.len() == 50 && told.values().all(|one| *one == told["a0"]), "{told:?}");
        let stores = app.json("/health/db").await;
        assert_eq!(keys(&stores), ["features", "feed", "latency_ms", "pool", "postgresql", "redis"]);
        assert_eq!((&stores["postgresql"], &stores["redis"]), (&json!("ok"), &json!("none")));
        assert_eq!(stores["features"], json!({"hybrid_db": true, "cache_aside": true, "redis_bundles": false}));
        assert_eq!(keys(&stores["pool"]), ["idle", "max", "size"]);
        assert_eq!(stores["pool"]["max"], 20);
        assert_eq!(keys(&stores["feed"]), ["horizon", "lag_ms"]);
        assert!(
            stores["feed"]["horizon"].as_u64().is_some_and(|h| h > 0) && stores["feed"]["lag_ms"].is_number(),
            "{stores}"
        );
        assert_eq!(keys(&stores["latency_ms"]), ["postgresql", "redis"]);
        assert!(stores["latency_ms"]["postgresql"].is_number() && stores["latency_ms"]["redis"].is_null(), "{stores}");
        for path in ["/health", "/health/db", "/health/live", "/health/ready"] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_server_is_degraded_and_ready() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with(Setup::seeded().redis(redis.url()), async |app| {
        connected(app.app.cache.redis().expect("Redis is configured")).await;
        let health = app.json("/health").await;
        assert_eq!((&health["status"], &health["cache"]), (&json!("ok"), &json!("redis:ok")), "{health}");
        let stores = app.json("/health/db").await;
        assert_eq!((&stores["redis"], &stores["features"]["redis_bundles"]), (&json!("ok"), &json!(true)), "{stores}");
        assert!(stores["latency_ms"]["redis"].is_number(), "{stores}");
        redis.kill().await.expect("kill");
        for path in ["/health", "/health/ready"] {
            let health = app.json(path).await;
            assert_eq!((&health["ok"], &health["status"]), (&json!(true), &json!("degraded")), "{path}: {health}");
            assert_eq!(health["cache"], "redis:error");
        }
        assert_eq!(app.json("/health/db").await["redis"], "error");
        assert_eq!(app.json("/listings?limit=2").await["items"].as_array().map(Vec::len), Some(2), "reads go on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgresql_the_server_is_in_error_and_alive() {
    with(Setup::empty(), async |app| {
        // A closed pool is a database that is away.
        app.app.db.clone().close().await;
        for path in ["/health", "/health/ready"] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            let health: Value = answer.json().await.expect("JSON");
            let told = (&health["ok"], &health["status"], &health["database"]);
            assert_eq!(told, (&json!(false), &json!("error"), &json!("postgresql:error")), "{path}");
        }
        let answer = app.get("/health/db").send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(app.json("/health/live").await["ok"], true);
        let answer = app.get("/listings").send().await.expect("answer");
        assert_eq!(answer.headers()["retry-after"], "1");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let errors = app.errors("{ assets { totalCount } }", json!({})).await;
        assert_eq!(errors[0]["extensions"]["code"], "UNAVAILABLE", "{errors}");
    })
    .await;
}

/// The names that `describe` in src/telemetry.rs describes.
fn described() -> BTreeSet<String> {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/telemetry.rs")).expect("source");
    let body = source.split_once("fn describe()").expect("the function").1;
    body.lines()
        .filter(|l| l.trim_start().starts_with("describe_"))
        .filter_map(|l| l.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_that_are_described() {
    /// These appear with the first fault or slow request, or with read replicas, or with events.
    const ELSEWHERE: [&str; 33] = [
        "overlay_headers_looks_total",
        "overlay_headers_height",
        "overlay_reorgs_total",
        "overlay_reorg_depth",
        "overlay_receipts_settled_total",
        "overlay_broadcasts_total",
        "overlay_persisted_queries_total",
        "overlay_untrusted_documents_total",
        "overlay_subscriptions",
        "overlay_subscription_events_total",
        "overlay_websockets",
        "overlay_websocket_closings_total",
        "overlay_turned_away_total",
        "overlay_cache_invalid_total",
        "overlay_bundle_build_seconds",
        "overlay_headers_look_seconds",
        "overlay_ready_decisions_total",
        "overlay_graphql_errors_total",
        "overlay_slow_requests_total",
        "overlay_lineage_events_total",
        "overlay_feed_errors_total",
        "overlay_redis_faults_total",
        "overlay_redis_writes_dropped_total",
        "overlay_replica_fit",
        "overlay_replica_horizon_lag",
        "overlay_replica_lag_seconds",
        "overlay_replica_loads_total",
        "overlay_sql_errors_total",
        "overlay_sql_retries_total",
        "overlay_flights_joined_total",
        "overlay_staleness_seconds",
        "overlay_wakeups_total",
        "overlay_cache_spare_misses_estimated",
    ];
    let Some((redis, _folder)) = private_redis().await else { return };
    with(Setup::seeded().redis(redis.url()), async |app| {
        app.json("/listings").await;
        app.query("{ assets { nodes { name } } }", json!({})).await;
        let answer = app.get("/metrics").send().await.expect("answer");
        assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
        let text = answer.text().await.expect("body");
        let shown: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        let described = described();
        assert!(described.len() > 12, "{described:?}");
        let missing: Vec<_> = described.difference(&shown).filter(|name| !ELSEWHERE.contains(&name.as_str())).collect();
        assert!(missing.is_empty(), "described, and not shown: {missing:?}");
        let nameless: Vec<_> = shown.difference(&described).collect();
        assert!(nameless.is_empty(), "shown, and not described: {nameless:?}");
        for name in &shown {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        }
        assert!(
            text.contains("overlay_http_seconds_bucket{route=\"/listings\",method=\"GET\",status=\"200\""),
            "{text}"
        );
        assert!(!text.contains(&app.version("Wind power features").await), "an identifier is no label");
    })
    .await;
}

/// What is counted by its reason is counted under it.
#[tokio::test(flavor = "multi_thread")]
async fn verdicts_builds_errors_and_ended_values_are_counted() {
    with(Setup::seeded(), async |app| {
        let counted = async |series: &str| {
            let text = app.get("/metrics").send().await.expect("answer").text().await.expect("body");
            text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok()).unwrap_or_default()
        };
        let version = app.version("Wind power features").await;
        app.json(&format!("/ready?versionId={}", "0".repeat(64))).await;
        assert_eq!(counted("overlay_ready_decisions_total{reason=\"not-found\"}").await, 1.0);
        assert_eq!(counted("overlay_bundle_build_seconds_count").await, 1.0);
        assert!(counted("overlay_pool_wait_seconds_count").await > 0.0);
        app.errors("{ assets(first: -1) { totalCount } }", json!({})).await;
        assert!(counted("overlay_graphql_errors_total{code=\"BAD_REQUEST\"}").await >= 1.0);
        app.settled().await;
        let asset = "query($id: Hex32!) { asset(versionId: $id) { name } }";
        app.query(asset, json!({"id": version})).await;
        assert_eq!(counted("overlay_cache_invalid_total{tag=\"asset\"}").await, 0.0);
        app.sql(&format!("update assets set updated_at = now() where version_id = '{version}'")).await;
        app.caught_up().await;
        app.query(asset, json!({"id": version})).await;
        assert_eq!(counted("overlay_cache_invalid_total{tag=\"asset\"}").await, 1.0);
    })
    .await;
}
