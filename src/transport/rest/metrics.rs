//! `/metrics` for Prometheus.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::transport::http::{Served, typed};

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(served): State<Served>) -> Response {
    let app = &served.app;
    let pool = app.db.pool_stats();
    metrics::gauge!("overlay_pool_connections", "state" => "open").set(f64::from(pool.size));
    metrics::gauge!("overlay_pool_connections", "state" => "idle").set(pool.idle as f64);
    metrics::gauge!("overlay_pool_connections", "state" => "max").set(f64::from(pool.max));
    let (entries, bytes) = app.cache.memory_size();
    metrics::gauge!("overlay_cache_memory_entries").set(entries as f64);
    metrics::gauge!("overlay_cache_memory_bytes").set(bytes as f64);
    let (entries, bytes) = served.answers.memory_size();
    metrics::gauge!("overlay_response_memory_entries").set(entries as f64);
    metrics::gauge!("overlay_response_memory_bytes").set(bytes as f64);
    metrics::gauge!("overlay_feed_horizon_age_seconds").set(app.feed.horizon_age().as_secs_f64());
    let clock = app.cache.clock();
    metrics::gauge!("overlay_feed_lag_seconds").set(clock.age().map_or(f64::INFINITY, |age| age.as_secs_f64()));
    metrics::gauge!("overlay_feed_horizon").set(clock.moment().as_of as f64);
    metrics::counter!("overlay_feed_polls_total").absolute(app.feed.polls());
    let replicas = app.cache.replicas();
    if !replicas.is_empty() {
        let stats = replicas.stats();
        let counts =
            [("used", stats.used), ("fallback", stats.fallback), ("skipped", stats.skipped), ("error", stats.error)];
        for (outcome, count) in counts {
            metrics::counter!("overlay_replica_loads_total", "outcome" => outcome).absolute(count);
        }
    }
    let connected = app.cache.redis().is_some_and(|r| r.is_connected());
    metrics::gauge!("overlay_redis_connected").set(f64::from(u8::from(connected)));
    typed("text/plain; version=0.0.4; charset=utf-8", served.metrics.render())
}
