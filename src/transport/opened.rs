//! A request from its arrival on: its id, its span, what it costs; and the line of the log about one that took long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use tracing::{Instrument, Span};

use crate::db::tally::{self, Tally};

/// A request that has begun. Put into its extensions by who looked at it before the router did.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) begun: Instant,
    pub(super) route: String,
    /// Its id, as it is answered.
    pub(super) id: String,
    pub(super) span: Span,
    /// What it costs, where somebody wants to know.
    tally: Option<Arc<Tally>>,
    /// The trace of its caller.
    trace_id: Option<String>,
}

impl Opened {
    /// A request that `begun`, with its own `id`. `slow` is the time from which on it is to say why it took so long.
    pub(super) fn new(
        begun: Instant, (method, route): (&str, &str), id: String, headers: &HeaderMap, slow: Option<Duration>,
    ) -> Self {
        let span = span(method, route, &id);
        crate::telemetry::continue_trace(&span, headers);
        let tally = slow.map(|_| Arc::default());
        Self { begun, route: route.to_owned(), id, trace_id: crate::telemetry::trace_id(&span, headers), span, tally }
    }

    /// The route as the router knows it.
    pub(super) fn routed(&mut self, method: &str, route: &str) {
        if self.route != route {
            self.route = route.to_owned();
            self.span.record("http.route", route).record("otel.name", format!("{method} {route}"));
        }
    }

    /// Runs `work` for the request.
    pub(super) async fn within<F: Future>(&self, work: F) -> F::Output {
        tally::within(self.tally.clone(), work).instrument(self.span.clone()).await
    }

    /// Says why it took so long, if it did. `cache` is where its answer came from.
    pub(super) fn told(&self, status: StatusCode, elapsed: Duration, cache: &str, slow: Option<Duration>) {
        let (Some(tally), Some(slow)) = (&self.tally, slow) else { return };
        if elapsed < slow {
            return;
        }
        metrics::counter!("overlay_slow_requests_total", "route" => self.route.clone()).increment(1);
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let ((statements, sql), (redis_calls, redis)) = (tally.sql(), tally.redis());
        let _in = self.span.enter();
        tracing::warn!(
            route = self.route,
            operation = tally.operation(),
            status = status.as_u16(),
            total_ms = ms(elapsed),
            statements,
            sql_ms = ms(sql),
            pool_wait_ms = ms(tally.pool_wait()),
            redis_calls,
            redis_ms = ms(redis),
            joined = tally.joined(),
            cache,
            trace_id = self.trace_id,
            id = self.id,
            "slow request"
        );
    }
}

fn span(method: &str, route: &str, id: &str) -> Span {
    tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request_id = id,
    )
}
