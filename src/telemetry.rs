//! Tracing, OpenTelemetry export and Prometheus metrics: started first, flushed last.

use std::io::IsTerminal;
use std::time::Duration;

use axum::http::HeaderMap;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::Log;
use crate::error::{Error, Result};

/// What must be flushed before the process ends.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log and, when `OTEL_EXPORTER_OTLP_ENDPOINT` (or its `_TRACES_` form) is set, the export of traces. All other
/// `OTEL_*` variables mean what OpenTelemetry says they do.
///
/// # Errors
/// `bad-request` when the exporter cannot be built, or a subscriber is set already.
pub fn start(log: &Log) -> Result<Telemetry> {
    let filter = || log.filter.parse::<Targets>().map_err(|e| Error::invalid(format!("LOG_FILTER: {e}")));
    let format =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if log.json {
        format.json().flatten_event(true).with_span_list(false).with_filter(filter()?).boxed()
    } else {
        format.with_target(false).with_filter(filter()?).boxed()
    };
    let traces = if wants_traces() { Some(provider()?) } else { None };
    // Without an endpoint there is no layer at all, so a span that the log does not want costs nothing.
    let export = traces.as_ref().map(|p| {
        tracing_opentelemetry::layer()
            .with_tracer(p.tracer("overlay"))
            .with_filter(Targets::new().with_target("overlay", tracing::Level::INFO))
    });
    Registry::default()
        .with(lines)
        .with(export)
        .try_init()
        .map_err(|e| Error::invalid("the log was started twice").because(e))?;
    Ok(Telemetry { traces })
}

fn wants_traces() -> bool {
    let set = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty());
    let off = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|v| v.eq_ignore_ascii_case("true"))
        || std::env::var("OTEL_TRACES_EXPORTER").is_ok_and(|v| v == "none");
    !off && (set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

fn provider() -> Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .map_err(|e| Error::invalid("the OTLP exporter cannot be built from the OTEL_* settings").because(e))?;
    let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "overlay".into());
    let resource = opentelemetry_sdk::Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Telemetry {
    /// Sends what is not sent yet. Blocks for seconds at most.
    pub fn flush(self) {
        if let Some(Err(error)) = self.traces.map(|t| t.shutdown()) {
            tracing::warn!(%error, "some traces were not exported");
        }
    }
}

/// Makes a span a child of the trace that the request's `traceparent` names, if it names one.
pub fn continue_trace(span: &tracing::Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Headers(headers));
    // Fails when no export layer is there, which is the normal case.
    let _without_export = span.set_parent(parent);
}

/// The trace that a span belongs to; where none are exported, the one that the request's `traceparent` names.
pub fn trace_id(span: &tracing::Span, headers: &HeaderMap) -> Option<String> {
    let exported = span.context().span().span_context().clone();
    let trace = if exported.is_valid() {
        exported
    } else if headers.contains_key("traceparent") {
        TraceContextPropagator::new().extract(&Headers(headers)).span().span_context().clone()
    } else {
        return None;
    };
    trace.is_valid().then(|| trace.trace_id().to_string())
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| v.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Upper bounds of the buckets for times in seconds.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Installs the process's metrics recorder; a second call answers the first one's handle.
///
/// # Errors
/// `internal` when another recorder was installed.
pub fn metrics() -> Result<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Result<PrometheusHandle>> = std::sync::OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .map_err(Error::internal)?;
        let handle = builder.install_recorder().map_err(Error::internal)?;
        describe();
        let own = handle.clone();
        // A thread, since it outlives any runtime that asked for it first.
        let thread = std::thread::Builder::new().name("metrics".into());
        thread.spawn(move || keep_up(&own)).map_err(Error::internal)?;
        Ok(handle)
    };
    HANDLE.get_or_init(install).clone()
}

/// Time between two looks at what was measured.
const UPKEEP: Duration = Duration::from_secs(5);

/// Counts what was measured into the histograms' buckets. The exporter keeps each value until somebody scrapes it: where nobody
/// does, a process would grow by a hundred bytes for each request.
fn keep_up(handle: &PrometheusHandle) -> ! {
    loop {
        std::thread::sleep(UPKEEP);
        handle.run_upkeep();
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!("overlay_http_seconds", "Time from a request's arrival to its answer's headers");
    describe_histogram!("overlay_sql_seconds", "Time for one SQL statement, waiting for a connection included");
    describe_histogram!("overlay_pool_wait_seconds", "Time until a PostgreSQL connection came free, or none did");
    describe_counter!("overlay_pool_refused_total", "Statements for which no PostgreSQL connection came free");
    describe_counter!("overlay_slow_requests_total", "Requests that took SLOW_REQUEST_MS or longer, by route");
    describe_counter!("overlay_sql_errors_total", "SQL statements that failed");
    describe_histogram!("overlay_redis_seconds", "Time for one call to Redis");
    describe_counter!("overlay_redis_faults_total", "Calls to Redis that failed; each was a miss");
    describe_counter!("overlay_redis_writes_dropped_total", "Entries not written: too many waiting, or too large");
    describe_gauge!("overlay_redis_connected", "1 while there is a working connection to Redis");
    describe_counter!("overlay_cache_total", "Look-ups by kind, layer and outcome");
    describe_counter!(
        "overlay_cache_locks_total",
        "Costly values by how they came about: built, found, impatient, alone"
    );
    describe_gauge!("overlay_cache_memory_entries", "Entries in process memory");
    describe_gauge!("overlay_cache_memory_bytes", "Bytes they are taken to occupy");
    describe_counter!("overlay_connections_total", "Connections accepted");
    describe_counter!("overlay_connections_handed_over_total", "Connections that sent other than plain reads");
    describe_counter!("overlay_graphql_executions_total", "Documents executed, by a plan or by the general executor");
    describe_counter!("overlay_flights_joined_total", "Look-ups that waited for a load already under way, by kind");
    describe_gauge!("overlay_cache_spare_misses_estimated", "Misses by collisions of tags in the clock, estimated");
    describe_gauge!("overlay_response_memory_entries", "Whole answers in process memory");
    describe_gauge!("overlay_response_memory_bytes", "Bytes they are taken to occupy");
    describe_counter!("overlay_cache_invalid_total", "Values in memory that a change ended, by kind of tag");
    describe_histogram!("overlay_bundle_build_seconds", "Time for building bundles from the database");
    describe_histogram!("overlay_headers_look_seconds", "Time for one look at the source of block headers");
    describe_counter!("overlay_ready_decisions_total", "Verdicts on readiness, by what stands in the way first");
    describe_counter!("overlay_graphql_errors_total", "Errors told in GraphQL, by code");
    describe_counter!("overlay_audit_total", "Kept answers compared with PostgreSQL, by outcome");
    describe_counter!("overlay_audit_wrong_total", "Kept answers that were found wrong: must stay 0");
    describe_histogram!("overlay_staleness_seconds", "Age of the newest poll when an audited answer was served");
    describe_counter!("overlay_sql_retries_total", "Reads made again because their connection was lost");
    describe_counter!("overlay_wakeups_total", "Wake-ups of other processes after a commit, by direction");
    describe_gauge!("overlay_feed_horizon_age_seconds", "Time for which a writing transaction has held the horizon");
    describe_counter!("overlay_lineage_events_total", "Lineage events that came, by outcome");
    describe_gauge!("overlay_pool_connections", "PostgreSQL connections by state");
    describe_histogram!("overlay_feed_poll_seconds", "Time for one poll of the change feed");
    describe_counter!("overlay_feed_polls_total", "Polls of the change feed");
    describe_counter!("overlay_feed_errors_total", "Polls of the change feed that failed");
    describe_counter!("overlay_feed_epochs_total", "New epochs of the database's history");
    describe_gauge!("overlay_feed_lag_seconds", "Age of what the change feed has told");
    describe_gauge!("overlay_feed_horizon", "Transaction id below which everything is known");
    describe_counter!("overlay_headers_looks_total", "Looks at the source of block headers, by outcome");
    describe_gauge!("overlay_headers_height", "Height of the tip that this process wrote last");
    describe_counter!("overlay_reorgs_total", "Reorganisations of the best chain that this process wrote");
    describe_histogram!("overlay_reorg_depth", "Blocks that a reorganisation took off");
    describe_counter!("overlay_receipts_settled_total", "Receipts that the sweep moved on, by outcome");
    describe_counter!("overlay_broadcasts_total", "Payments sent to the network, by outcome");
    describe_counter!("overlay_persisted_queries_total", "Documents named by a hash, by where they were found");
    describe_counter!("overlay_untrusted_documents_total", "Documents that are not on the safelist, by outcome");
    describe_gauge!("overlay_subscriptions", "Open subscriptions");
    describe_counter!("overlay_subscription_events_total", "Events told to subscribers");
    describe_gauge!("overlay_websockets", "Open WebSockets");
    describe_counter!("overlay_websocket_closings_total", "WebSockets closed, by code of the close frame");
    describe_counter!("overlay_turned_away_total", "What was not let in, by reason");
    describe_counter!("overlay_replica_loads_total", "Loads that a read replica might answer, by outcome");
    describe_gauge!("overlay_replica_fit", "1 while the read replica is read");
    describe_gauge!("overlay_replica_horizon_lag", "Transaction ids by which the read replica is behind");
    describe_gauge!("overlay_replica_lag_seconds", "Time by which the read replica is behind");
}
