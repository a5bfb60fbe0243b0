//! The server under test: a database of its own, cloned from a migrated template; a listener of its own; everything
//! removed afterwards, whether the test passed or not.

pub(crate) mod chain;
pub(crate) mod keys;
pub(crate) mod makers;
pub(crate) mod node;
pub(crate) mod otlp;
pub(crate) mod process;
pub(crate) mod program;
mod proxy;
pub(crate) mod socket;
mod stores;
mod wire;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use overlay::app::App;
use overlay::boot::{self, Server};
use overlay::cache::{Redis, RedisConfig};
use overlay::config::Config;
use overlay::db;
use overlay::error::Kind;
use overlay::flows::seed;
use reqwest::{RequestBuilder, Response, StatusCode};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};

pub(crate) use proxy::{Mode, Proxy};
pub(crate) use stores::{Database, private_redis};
pub(crate) use wire::{Answer, Wire};

/// A new folder.
pub(crate) fn folder() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("overlay-it-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder).expect("folder");
    folder
}

/// Settings of a server under test, beside the defaults.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) settings: HashMap<&'static str, String>,
    /// Load the demo market.
    pub(crate) seeded: bool,
    /// The Redis to use; none by default, so that a test counts what it thinks it counts.
    pub(crate) redis: Option<String>,
}

impl Setup {
    /// A server with the demo market.
    pub(crate) fn seeded() -> Self {
        Self { seeded: true, ..Self::default() }
    }

    /// A server with an empty catalogue.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.insert(name, value.into());
        self
    }

    pub(crate) fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis = Some(url.into());
        self
    }

    pub(crate) fn config(&self, pg_url: &str) -> Config {
        let read = |name: &str| match name {
            "PG_URL" => Some(self.settings.get(name).cloned().unwrap_or_else(|| pg_url.to_owned())),
            "REDIS_URL" => self.redis.clone(),
            "OVERLAY_PORT" => Some("0".into()),
            // A loaded machine must not turn a slow answer of Redis into a miss.
            "REDIS_TIMEOUT_MS" => Some(self.settings.get(name).cloned().unwrap_or_else(|| "2000".into())),
            "SQL_TIMEOUT_MS" | "REQUEST_TIMEOUT_MS" | "PG_POOL_WAIT_MS" => {
                Some(self.settings.get(name).cloned().unwrap_or_else(|| "60000".into()))
            }
            "MAX_STALENESS_MS" => Some(self.settings.get(name).cloned().unwrap_or_else(|| "30000".into())),
            // Tests count statements.
            "AUDIT_EVERY" => Some(self.settings.get(name).cloned().unwrap_or_else(|| "0".into())),
            "RECEIPT_SWEEP_MS" => Some(self.settings.get(name).cloned().unwrap_or_else(|| "3600000".into())),
            name => self.settings.get(name).cloned(),
        };
        Config::read(&read).unwrap_or_else(|faults| panic!("{faults:?}"))
    }
}

/// A running server and what a test needs beside it.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) url: String,
    pub(crate) database_url: String,
    pub(crate) http: reqwest::Client,
    /// A session of somebody else's: what it writes, the server does not know of.
    outsider: DatabaseConnection,
    server: Server,
}

impl TestApp {
    /// A server on `database`.
    pub(crate) async fn start(setup: &Setup, database: &Database) -> Self {
        let config = setup.config(&database.url);
        let pg = config.database.clone().expect("PG_URL is set");
        let redis: Option<RedisConfig> = config.redis.clone();
        let app = furnished(&config, &pg, redis.as_ref()).await;
        if let Some(redis) = app.cache.redis() {
            connected(redis).await;
        }
        let outsider = session(&database.url).await;
        if setup.seeded {
            // The check for an empty catalogue is a read like any other. Tests of Redis count it among what is kept.
            if redis.is_some() {
                settled(&app, &outsider).await;
            }
            seed::if_empty(&app).await.expect("seed");
        }
        let server = Server::start(&config, app.clone()).await.expect("listen");
        Self {
            app,
            url: format!("http://{}", server.address),
            database_url: database.url.clone(),
            http: reqwest::Client::new(),
            outsider,
            server,
        }
    }

    /// A server on `database` that reaches it through a proxy, once all that was committed so far can be cached.
    pub(crate) async fn behind_proxy(setup: &Setup, database: &Database) -> (Self, Proxy) {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        let app = Self::start(&setup.clone().with("PG_URL", url), database).await;
        app.settled().await;
        (app, proxy)
    }

    pub(crate) async fn stop(self) {
        db::close(&self.outsider).await;
        self.server.stop().await;
    }

    /// Runs SQL in the outsider's session; answers the rows touched.
    pub(crate) async fn sql(&self, sql: &str) -> u64 {
        self.outsider.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).rows_affected()
    }

    /// The first column of a query's rows, as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.outsider, sql).await
    }

    pub(crate) fn outsider(&self) -> &DatabaseConnection {
        &self.outsider
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    /// A GET that must succeed, as JSON.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.expect("answer");
        let status = answer.status();
        let body = answer.text().await.expect("body");
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    pub(crate) fn post(&self, query: &str, variables: Value) -> RequestBuilder {
        self.http.post(format!("{}/graphql", self.url)).json(&json!({"query": query, "variables": variables}))
    }

    /// A GraphQL query that must succeed: its data.
    pub(crate) async fn query(&self, query: &str, variables: Value) -> Value {
        let mut answer: Value = self.post(query, variables).send().await.expect("answer").json().await.expect("JSON");
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        answer["data"].take()
    }

    /// A GraphQL query that must fail: its errors.
    pub(crate) async fn errors(&self, query: &str, variables: Value) -> Value {
        let mut answer: Value = self.post(query, variables).send().await.expect("answer").json().await.expect("JSON");
        assert!(answer["errors"].is_array(), "{query} was answered: {answer}");
        answer["errors"].take()
    }

    /// How many statements the server sends while `work` runs.
    pub(crate) async fn statements<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.app.db.statements();
        let outcome = work.await;
        (outcome, self.app.db.statements() - before)
    }

    /// Waits until the feed has heard of everything committed so far.
    pub(crate) async fn caught_up(&self) {
        self.app.feed.reach(overlay::coherence::Consistency::Strong).await.expect("the feed answers");
    }

    /// Waits until all that was committed so far can be cached.
    pub(crate) async fn settled(&self) {
        settled(&self.app, &self.outsider).await;
    }

    /// Version ids of the catalogue by name.
    pub(crate) async fn version(&self, name: &str) -> String {
        let found = self.rows(&format!("select version_id from assets where name = '{name}'")).await;
        found.into_iter().next().unwrap_or_else(|| panic!("no asset is called {name}"))
    }
}

/// The first column of a query's rows in that database, as text.
pub(crate) async fn rows_of(url: &str, sql: &str) -> Vec<String> {
    let session = session(url).await;
    let rows = rows(&session, sql).await;
    db::close(&session).await;
    rows
}

/// Waits until `count` statements wait for a lock.
pub(crate) async fn until_held(url: &str, count: usize) {
    let waiting = "select count(*)::text from pg_stat_activity \
                   where datname = current_database() and wait_event_type = 'Lock'";
    while rows_of(url, waiting).await != [count.to_string()] {}
}

async fn rows(outsider: &DatabaseConnection, sql: &str) -> Vec<String> {
    let rows = outsider.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    let rows = rows.unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.iter().map(|row| row.try_get_by_index::<String>(0).expect("a text")).collect()
}

/// Waits until all that was committed so far can be cached. A horizon stays behind any transaction that writes, in
/// whichever database of the server it does: other tests hold it back for as long as they write.
async fn settled(app: &App, outsider: &DatabaseConnection) {
    let next = rows(outsider, "select pg_snapshot_xmax(pg_current_snapshot())::text").await;
    let next: u64 = next[0].parse().expect("a transaction id");
    let passed = async {
        while app.cache.clock().moment().as_of < next {
            app.feed.reach(overlay::coherence::Consistency::Strong).await.expect("the feed answers");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), passed).await.expect("other tests' transactions end");
}

/// The rooms. A machine that is busy with other tests may take longer to let a connection in than a server waits for one.
async fn furnished(config: &Config, pg: &db::Config, redis: Option<&RedisConfig>) -> App {
    for _ in 0..10 {
        match boot::furnish(config, pg, redis).await {
            Ok(app) => return app,
            Err(error) if error.kind() == Kind::Unavailable => eprintln!("once more: {error:?}"),
            Err(error) => panic!("furnish: {error:?}"),
        }
    }
    panic!("PostgreSQL lets nobody in");
}

/// A configuration for a machine that may be slow.
pub(crate) fn patient(url: &str) -> db::Config {
    let long = std::time::Duration::from_secs(120);
    db::Config { statement_timeout: long, acquire_timeout: long, standstill: long, ..db::Config::new(url) }
}

/// A database session of its own: what it sets, stays set.
pub(crate) async fn session(url: &str) -> DatabaseConnection {
    db::connect(&patient(url), "outsider", 1, 1).await.expect("connect")
}

/// Waits until the supervisor has a connection.
pub(crate) async fn connected(redis: &Redis) {
    let ready = async {
        while !redis.is_connected() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ready).await.expect("Redis answers in 20 s");
}

/// Runs a test on a server of its own.
pub(crate) async fn with(setup: Setup, test: impl AsyncFnOnce(&TestApp)) {
    with_database(async |database| {
        let app = TestApp::start(&setup, database).await;
        let outcome = AssertUnwindSafe(test(&app)).catch_unwind().await;
        app.stop().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    })
    .await;
}

/// Runs a test on a database of its own, with as many servers as it starts.
pub(crate) async fn with_database(test: impl AsyncFnOnce(&Arc<Database>)) {
    let database = Arc::new(Database::create().await);
    let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
    database.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The error code and hint of a REST answer that must have `status`.
pub(crate) async fn refused(answer: Response, status: StatusCode) -> (String, Option<String>) {
    let got = answer.status();
    let body = answer.text().await.expect("body");
    assert_eq!(got, status, "{body}");
    let body: Value = serde_json::from_str(&body).expect("errors are JSON");
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    (text("error").expect("a code"), text("hint"))
}
