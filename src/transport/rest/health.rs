//! Health: for people and old clients (`/health`, `/health/db`, `/openlineage/health`), and for orchestrators (`/health/live`, `/health/ready`).

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::flows::health::{self, Health, Status};
use crate::transport::drain::Phase;
use crate::transport::http::Served;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/health", get(overall))
        .route("/health/db", get(stores))
        .route("/health/live", get(|| async { answer(StatusCode::OK, json!({"ok": true, "status": "ok"})) }))
        .route("/health/ready", get(ready))
        .route("/openlineage/health", get(overall))
}

/// Whether requests may be sent here: not before the server has warmed up, nor once it is about to end, however it is.
async fn ready(State(served): State<Served>) -> Response {
    let (status, mut body) = examined(&served).await;
    let why = match served.drain.phase() {
        Phase::Serving if served.is_warming.load(Ordering::Relaxed) => "warming",
        Phase::Serving => return answer(status, body),
        _ => "draining",
    };
    body["ok"] = false.into();
    body["status"] = why.into();
    answer(StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn overall(State(served): State<Served>) -> Response {
    let (status, body) = examined(&served).await;
    answer(status, body)
}

/// Redis away is *degraded* and still 200: reads work.
async fn examined(served: &Served) -> (StatusCode, Value) {
    let health = health::check(&served.app).await;
    let body = json!({
        "ok": health.status != Status::Error,
        "status": health.status.label(),
        "timestamp": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "database": format!("postgresql:{}", if health.postgresql.is_some() { "ok" } else { "error" }),
        "cache": cache(&health),
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status(&health), body)
}

async fn stores(State(served): State<Served>) -> Response {
    let health = health::check(&served.app).await;
    let ms = |time: Option<Duration>| time.map(|t| (t.as_secs_f64() * 1e6).round() / 1e3);
    let word = |up: bool| if up { "ok" } else { "error" };
    let redis = if health.has_redis { word(health.redis.is_some()) } else { "none" };
    let body = json!({
        "postgresql": word(health.postgresql.is_some()),
        "redis": redis,
        "features": {"hybrid_db": true, "cache_aside": true, "redis_bundles": served.app.terms.use_redis_bundles && health.has_redis},
        "pool": {"size": health.pool.size, "idle": health.pool.idle, "max": health.pool.max},
        "feed": {"lag_ms": ms(health.feed_lag), "horizon": health.horizon},
        "latency_ms": {"postgresql": ms(health.postgresql), "redis": ms(health.redis)},
    });
    answer(status(&health), body)
}

fn cache(health: &Health) -> &'static str {
    match (health.has_redis, health.redis) {
        (true, Some(_)) => "redis:ok",
        (true, None) => "redis:error",
        (false, _) => "in-process:ok",
    }
}

fn status(health: &Health) -> StatusCode {
    match health.status {
        Status::Error => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok | Status::Degraded => StatusCode::OK,
    }
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
