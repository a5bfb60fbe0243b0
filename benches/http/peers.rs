//! The servers that are measured: ours, as it is shipped, and bare ones that do the least that could be called an answer.
//! Each is a process of its own, so that its CPU time can be read.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sea_orm::sqlx::postgres::{PgPool, PgPoolOptions};
use sea_orm::sqlx::{Row, query};

/// A bare server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Answers fixed bytes.
    Static,
    /// Fetches fixed bytes from Redis.
    Redis,
    /// Reads an asset and its producer from PostgreSQL, whatever is asked.
    Postgres,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Static => "axum: static",
            Self::Redis => "axum: redis",
            Self::Postgres => "axum: postgres",
        }
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: String,
    child: Child,
}

impl Server {
    /// Ours, with more settings.
    pub(crate) async fn overlay(settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::var("OVERLAY_BIN").unwrap_or_else(|_| "target/fast/overlay".into()));
        // What is asked of it is not audited: the audit's own reads would be counted.
        command.envs([("AUDIT_EVERY", "0"), ("CACHE_MEMORY_MB", "1024")]).envs(settings.iter().copied());
        Self::start(command, "/health").await
    }

    /// A bare one that answers `body`.
    pub(crate) async fn bare(peer: Peer, body: &[u8]) -> Self {
        let file = std::env::temp_dir().join(format!("overlay-bench-{}", std::process::id()));
        std::fs::write(&file, body).expect("a file");
        if peer == Peer::Redis {
            let mut redis = redis_connection().await;
            redis::cmd("SET").arg("bench:body").arg(body).exec_async(&mut redis).await.expect("Redis takes it");
        }
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--peer", peer.name()]).arg(file);
        Self::start(command, "/").await
    }

    async fn start(mut command: Command, probe: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        command.env("OVERLAY_PORT", port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the server starts");
        let server = Self { address, child };
        for _ in 0..200 {
            let url = format!("http://{}{probe}", server.address);
            if reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a server does not answer at {}", server.address);
    }

    /// CPU seconds it has used.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // Fields 14 and 15 in ticks of a hundredth, counted behind the name, which may hold blanks.
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        (ticks(11) + ticks(12)) as f64 / 100.0
    }

    pub(crate) fn stop(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

pub(crate) fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make bench`"))
}

async fn redis_connection() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(environment("REDIS_URL")).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}

/// The first column of a query's rows.
pub(crate) async fn rows(sql: &str) -> Vec<String> {
    let pool = pool().await;
    let rows = query(sea_orm::sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&pool).await.expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn pool() -> PgPool {
    PgPoolOptions::new().max_connections(20).connect(&environment("PG_URL")).await.expect("PostgreSQL answers")
}

/// Runs as the bare server `name`.
pub(crate) async fn serve(name: &str, arguments: &[String]) {
    let body = bytes::Bytes::from(std::fs::read(&arguments[0]).expect("the body"));
    let router = if name == Peer::Static.name() {
        Router::new().fallback(move || async move { json(body) })
    } else if name == Peer::Redis.name() {
        let redis = redis_connection().await;
        Router::new().fallback(move || async move {
            let mut redis = redis.clone();
            json(redis::cmd("GET").arg("bench:body").query_async::<Vec<u8>>(&mut redis).await.expect("Redis answers"))
        })
    } else {
        Router::new().fallback(from_postgres).with_state(pool().await)
    };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", environment("OVERLAY_PORT"))).await;
    axum::serve(listener.expect("a port"), router).await.expect("it serves");
}

fn json(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// An asset and its producer by the identifier that the request names, wherever it does: one prepared statement, written as
/// JSON. A request that names none is the probe.
async fn from_postgres(State(pool): State<PgPool>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 10).await.expect("a body");
    let text = format!("{} {}", parts.uri, String::from_utf8_lossy(&body));
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let Some(id) = text.split(|c: char| !c.is_ascii_alphanumeric()).find(is_id) else { return json("{}") };
    const SQL: &str = "select a.name, a.description, a.dataset_id, a.policy_meta, a.updated_at::text as updated_at, \
        p.producer_id, p.display_name from assets a join producers p using (producer_id) where a.version_id = $1";
    let row = query(SQL).bind(id).fetch_one(&pool).await.expect("a row");
    let text = |name: &str| row.get::<String, _>(name);
    let meta: serde_json::Value = row.get("policy_meta");
    let asset = serde_json::json!({"data": {"asset": {
        "versionId": id, "name": text("name"), "description": text("description"), "datasetId": text("dataset_id"),
        "license": meta["license"], "tags": meta["tags"], "updatedAt": text("updated_at"),
        "producer": {"producerId": text("producer_id"), "name": text("display_name")},
    }}});
    json(serde_json::to_vec(&asset).expect("JSON"))
}
