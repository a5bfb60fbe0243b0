//! What alerts are for happens to a real server: what Prometheus would have scraped meanwhile makes the alert fire, and what it
//! would have scraped before does not.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use overlay::devstack::{DevStack, Options};
use redis::AsyncCommands;
use reqwest::StatusCode;
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{alerts, metrics, promtool, read};
use crate::harness::process::Process;
use crate::harness::{Database, Mode, Proxy, folder, private_redis, session, until_held, with_database};

/// Minutes of calm, and of trouble after it. As long as the longest alert needs.
const MINUTES: usize = 40;

/// What a minute of scrapes says: of each series its value and, if it counts something, how much more it was a minute before.
type Minute = BTreeMap<String, (f64, f64)>;

fn scraped(text: &str) -> BTreeMap<String, f64> {
    let value =
        |line: &str| line.rsplit_once(' ').and_then(|(name, value)| Some((labelled(name), value.parse().ok()?)));
    text.lines().filter(|line| !line.starts_with('#')).filter_map(value).collect()
}

/// With the labels that Prometheus gives to what it scrapes.
fn labelled(series: &str) -> String {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let comma = if labels == "}" { "" } else { "," };
    format!("{name}{{instance=\"a\",job=\"overlay\"{comma}{labels}")
}

/// Of two scrapes, the second a minute after the first.
fn minute(before: &str, after: &str) -> Minute {
    let gauges: Vec<&str> = after.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" gauge")).collect();
    let rules = read("docs/monitoring/alerts.yml");
    let (wanted, before) = (metrics(&rules), scraped(before));
    let is_wanted = |name: &str| wanted.iter().any(|wanted| name.starts_with(wanted)) || name.starts_with("redis_");
    let steps = scraped(after).into_iter().filter_map(|(series, value)| {
        let name = series.split('{').next()?;
        let step = if gauges.contains(&name) { 0.0 } else { value - before.get(&series).unwrap_or(&0.0) };
        is_wanted(name).then_some((series, (value, step)))
    });
    let up = (labelled("up"), (1.0, 0.0));
    steps.chain([up]).collect()
}

/// Has Prometheus's own engine look at calm that goes on, and then at trouble that goes on.
fn fires(alert: &str, calm: &Minute, trouble: &Minute) {
    let mut series = String::new();
    let names: std::collections::BTreeSet<&String> = calm.keys().chain(trouble.keys()).collect();
    for name in names {
        let part = |minute: &Minute| match minute.get(name) {
            Some((value, step)) => format!("{value}+{step}x{}", MINUTES - 1),
            None => format!("_x{MINUTES}"),
        };
        let quoted = name.replace('\'', "''");
        series.push_str(&format!("      - series: '{quoted}'\n        values: '{} {}'\n", part(calm), part(trouble)));
    }
    let asked = format!("count by (alertname) (ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
    let text = format!(
        "rule_files: [{rules}]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    promql_expr_test:\n\
         \x20     - {{ expr: '{asked}', eval_time: {calm}m, exp_samples: [] }}\n\
         \x20     - {{ expr: '{asked}', eval_time: {trouble}m, exp_samples: [{{ labels: '{{alertname=\"{alert}\"}}', value: 1 }}] }}\n",
        rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring/alerts.yml"),
        calm = MINUTES - 1,
        trouble = 2 * MINUTES - 1,
    );
    let file = folder().join("injected.yml");
    std::fs::write(&file, &text).expect("a file");
    promtool("test", &file);
}

/// A server on a database of its own.
struct Server {
    process: Process,
    pg_url: String,
    http: reqwest::Client,
}

impl Server {
    fn start(database: &Database, more: &[(&str, &str)]) -> Self {
        Self::at(&database.url, more)
    }

    fn at(pg_url: &str, more: &[(&str, &str)]) -> Self {
        let process = Process::patient(pg_url, more);
        Self { process, pg_url: pg_url.to_owned(), http: reqwest::Client::new() }
    }

    fn ask(&self, path: &str) -> impl Future<Output = StatusCode> + use<> {
        let asked = self.http.get(format!("http://{}{path}", self.process.address())).send();
        async { asked.await.expect("an answer").status() }
    }

    async fn scrape(&self) -> String {
        self.process.metrics().await
    }

    /// Scrapes until a series has such a value.
    async fn until(&self, series: &str, holds: impl Fn(f64) -> bool) -> String {
        let begun = std::time::Instant::now();
        loop {
            let text = self.scrape().await;
            let found = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
            if found.is_some_and(&holds) {
                return text;
            }
            assert!(begun.elapsed().as_secs() < 120, "{series} is {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A minute in which nothing happens but a few requests.
    async fn calm(&self) -> Minute {
        let before = self.scrape().await;
        for _ in 0..20 {
            assert_eq!(self.ask("/listings?limit=3").await, StatusCode::OK);
        }
        minute(&before, &self.scrape().await)
    }

    /// Runs `work` while nobody can read the table of versions, once `waiting` statements wait for that.
    async fn locked<T>(&self, waiting: usize, asks: &[&str], work: impl AsyncFnOnce() -> T) -> T {
        let outsider = session(&self.pg_url).await;
        outsider.execute_unprepared("begin; lock table assets").await.expect("locked");
        let asks: Vec<_> = asks.iter().map(|path| tokio::spawn(self.ask(path))).collect();
        until_held(&self.pg_url, waiting).await;
        let done = work().await;
        outsider.execute_unprepared("commit").await.expect("free again");
        for ask in asks {
            assert_eq!(ask.await.expect("ends"), StatusCode::OK);
        }
        overlay::db::close(&outsider).await;
        done
    }
}

#[test]
fn each_alert_is_provoked() {
    let (rules, own) = (read("docs/monitoring/alerts.yml"), read("tests/it/alerts/injected.rs"));
    for alert in alerts(&rules) {
        assert!(own.contains(&format!("fires(\"{alert}\"")), "{alert}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone() {
    with_database(async |database| {
        let server = Server::start(database, &[]);
        let calm = server.calm().await;
        let address = server.process.address().to_owned();
        server.process.terminate();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        fires("OverlayDown", &calm, &Minute::from([(labelled("up"), (0.0, 0.0))]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_wrong() {
    with_database(async |database| {
        let server = Server::start(database, &[("AUDIT_EVERY", "1")]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        let outsider = session(&database.url).await;
        // A change that nobody is told of.
        outsider.execute_unprepared("alter table assets disable trigger user").await.expect("off");
        outsider.execute_unprepared("update assets set name = 'unheard'").await.expect("changed");
        let after = loop {
            server.ask("/listings?limit=3").await;
            let text = server.scrape().await;
            if !text.contains("overlay_audit_wrong_total 0\n") {
                break text;
            }
        };
        overlay::db::close(&outsider).await;
        fires("OverlayServedWrong", &calm, &minute(&before, &after));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_that_is_gone() {
    with_database(async |database| {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        let server = Server::at(&url, &[]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        proxy.set(Mode::Cut);
        for limit in 4..8 {
            assert_eq!(server.ask(&format!("/listings?limit={limit}")).await, StatusCode::SERVICE_UNAVAILABLE);
        }
        fires("OverlayErrors", &calm, &minute(&before, &server.scrape().await));
        proxy.set(Mode::Open);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_take_long() {
    with_database(async |database| {
        let server = Server::start(database, &[]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        let asks = ["/listings?limit=4", "/listings?limit=5"];
        server.locked(2, &asks, async || tokio::time::sleep(Duration::from_millis(1500)).await).await;
        fires("OverlaySlow", &calm, &minute(&before, &server.scrape().await));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_which_none_was_made_before() {
    with_database(async |database| {
        let server = Server::start(database, &[]);
        // A few more than the alert asks for.
        let asked = async |path: &dyn Fn(usize) -> String| {
            let before = server.scrape().await;
            let asks = (0..700).map(|n| server.ask(&path(n)));
            futures_util::stream::iter(asks)
                .buffer_unordered(16)
                .for_each(async |status| assert_eq!(status, StatusCode::OK))
                .await;
            minute(&before, &server.scrape().await)
        };
        // Not before the server knows that everything which was written when it started has ended.
        while !server.scrape().await.contains("layer=\"memory\",outcome=\"hit\"} 1\n") {
            server.ask("/listings?limit=3").await;
        }
        let calm = asked(&|_| "/listings?limit=3".to_owned()).await;
        let trouble = asked(&|n| format!("/listings/search?q=w{n}")).await;
        fires("OverlayHitRatio", &calm, &trouble);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_all_in_use() {
    with_database(async |database| {
        let server = Server::start(database, &[("PG_POOL_MAX", "2")]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        let asks = ["/listings?limit=4", "/listings?limit=5"];
        let after = server.locked(2, &asks, async || server.scrape().await).await;
        fires("OverlayPool", &calm, &minute(&before, &after));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_stands_still() {
    with_database(async |database| {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        let server = Server::at(&url, &[]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        proxy.set(Mode::BlackHole);
        let after = server.until("overlay_feed_lag_seconds ", |lag| lag > 1.0).await;
        proxy.set(Mode::Open);
        fires("OverlayFeedLag", &calm, &minute(&before, &after));
    })
    .await;
}

/// It takes a minute, as the alert says, and a PostgreSQL of its own, since it holds up every database of one.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_does_not_end() {
    let folder = folder();
    let options = Options { redis: false, durable: false, ..Options::new(&folder) };
    let stack = DevStack::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
    let server = Server::at(stack.pg_url().expect("an address"), &[]);
    let (calm, before) = (server.calm().await, server.scrape().await);
    let outsider = session(&server.pg_url).await;
    outsider.execute_unprepared("begin; select pg_current_xact_id()").await.expect("begun");
    let after = server.until("overlay_feed_horizon_age_seconds ", |age| age > 60.0).await;
    outsider.execute_unprepared("rollback").await.expect("ended");
    overlay::db::close(&outsider).await;
    server.process.terminate();
    stack.stop().await.expect("it stops");
    fires("OverlayHorizonAge", &calm, &minute(&before, &after));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_gone() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let server = Server::start(database, &[("REDIS_URL", redis.url())]);
        server.until("overlay_redis_connected ", |is_connected| is_connected == 1.0).await;
        let (calm, before) = (server.calm().await, server.scrape().await);
        drop(redis);
        let after = server.until("overlay_redis_connected ", |is_connected| is_connected == 0.0).await;
        fires("OverlayRedisAway", &calm, &minute(&before, &after));
    })
    .await;
}

/// What redis_exporter tells is taken from where it takes it.
#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_nearly_full() {
    let Some((server, _folder)) = private_redis().await else { return };
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let mut told = async || {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.expect("told");
        let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        (of("used_memory:").expect("used"), of("maxmemory:").expect("limit"))
    };
    let series = |(used, limit): (f64, f64)| {
        Minute::from([
            (labelled("redis_memory_used_bytes"), (used, 0.0)),
            (labelled("redis_memory_max_bytes"), (limit, 0.0)),
        ])
    };
    let limit = told().await.0 * 4.0;
    let mut other = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let set = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(format!("{limit:.0}")).to_owned();
    set.exec_async(&mut other).await.expect("set");
    let calm = series(told().await);
    let mut full = told().await;
    for n in 0.. {
        if full.0 > 0.85 * full.1 {
            break;
        }
        let _: () = other.set(format!("cache:{n}"), vec![b'x'; 64 << 10]).await.expect("room");
        full = told().await;
    }
    fires("OverlayRedisMemory", &calm, &series(full));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_there_is_room_for() {
    with_database(async |database| {
        let server = Server::start(database, &[("MAX_IN_FLIGHT", "1")]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        let work = async || assert_eq!(server.ask("/listings?limit=5").await, StatusCode::SERVICE_UNAVAILABLE);
        server.locked(1, &["/listings?limit=4"], work).await;
        fires("OverlayTurnedAway", &calm, &minute(&before, &server.scrape().await));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_not_there() {
    with_database(async |database| {
        let calm = Server::start(database, &[]).calm().await;
        let server = Server::start(database, &[("PG_READ_URLS", "postgres://reader@127.0.0.1:1/none")]);
        let trouble = server.until("overlay_replica_fit{replica=\"1\"} ", |fit| fit == 0.0).await;
        fires("OverlayReplicaUnfit", &calm, &minute(&trouble, &trouble));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_headers_that_does_not_answer() {
    with_database(async |database| {
        let calm = Server::start(database, &[]).calm().await;
        let settings = [("HEADERS_SOURCE", "http://127.0.0.1:1/headers"), ("HEADERS_POLL_MS", "100")];
        let server = Server::start(database, &settings);
        let before = server.scrape().await;
        let after = server.until("overlay_headers_looks_total{outcome=\"failed\"} ", |looks| looks > 1.0).await;
        fires("OverlayHeaders", &calm, &minute(&before, &after));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_taken() {
    with_database(async |database| {
        let server = Server::start(database, &[("DEV_IDENTITY", "true")]);
        let (calm, before) = (server.calm().await, server.scrape().await);
        let url = format!("http://{}/api/v1/lineage", server.process.address());
        let refused = server.http.post(url).json(&json!({"no": "event"})).send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        fires("OverlayDeadLetters", &calm, &minute(&before, &server.scrape().await));
    })
    .await;
}
