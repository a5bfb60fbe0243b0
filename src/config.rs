//! Settings: the environment, read once, checked as a whole.
//!
//! [`SETTINGS`] is the one list of names, defaults and accepted forms; the reader, the error messages, `.env.example`
//! and the README's table all follow it (a test compares them). All faults are reported at once, by name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::cache::{self, RedisConfig, Ttls};
use crate::coherence::{self, Consistency, ReplicaConfig};
use crate::db;

mod parse;

use parse::Reader;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// Its value when it is not set; empty for none.
    pub default: &'static str,
    /// The accepted form.
    pub form: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

const fn setting(name: &'static str, default: &'static str, form: &'static str, about: &'static str) -> Setting {
    Setting { name, default, form, about, secret: false }
}

const fn secret(name: &'static str, form: &'static str, about: &'static str) -> Setting {
    Setting { name, default: "", form, about, secret: true }
}

/// Every setting, in the order of `.env.example`.
pub const SETTINGS: &[Setting] = &[
    secret(
        "PG_URL",
        "postgres://user:password@host:port/database",
        "PostgreSQL; without it and PG_HOST a private one is started",
    ),
    setting("PG_HOST", "", "a host name", "PostgreSQL's host, instead of PG_URL"),
    setting("PG_PORT", "5432", "1 to 65535", "with PG_HOST"),
    setting("PG_DATABASE", "overlay", "a name", "with PG_HOST"),
    setting("PG_USER", "overlay", "a name", "with PG_HOST"),
    secret("PG_PASSWORD", "any text", "with PG_HOST"),
    setting("PG_SSL", "prefer", "disable, prefer, require, verify-ca or verify-full", "with PG_HOST"),
    secret("PG_READ_URLS", "postgres:// URLs, separated by commas", "read replicas of PG_URL"),
    setting("PG_READ_MAX_LAG_MS", "10000", "1 to 86400000", "a replica further behind is not read"),
    setting("PG_POOL_MIN", "2", "0 to 1000", "connections kept open"),
    setting("PG_POOL_MAX", "20", "1 to 1000, not below PG_POOL_MIN", "connections at most"),
    setting("SQL_TIMEOUT_MS", "5000", "10 to 600000", "longest time for one statement"),
    secret(
        "REDIS_URL",
        "redis://, rediss:// or redis+unix:// URL",
        "Redis; without it a private one, or process memory alone",
    ),
    setting("OVERLAY_HOME", ".overlay", "a folder", "where private PostgreSQL and Redis keep their files"),
    setting("REDIS_TIMEOUT_MS", "25", "1 to 10000", "longest wait for Redis; then PostgreSQL is asked"),
    setting("USE_REDIS_BUNDLES", "true", "true or false", "whether bundles are kept in Redis"),
    setting(
        "CACHE_TTLS_JSON",
        "{}",
        "a JSON object of names and milliseconds",
        "times to live; what is not named keeps its default",
    ),
    setting("CACHE_MEMORY_MB", "64", "0 to 1048576", "process memory for cached values and, by half, finished answers"),
    setting("SWR_ENABLE", "true", "true or false", "serve values past their TTL while they are refreshed"),
    setting("FEED_POLL_MS", "5", "1 to 1000", "pause between polls of the change feed while there is traffic"),
    setting("FEED_RETENTION_SEC", "900", "60 to 86400", "how long changes are kept in the feed"),
    setting(
        "MAX_STALENESS_MS",
        "1000",
        "100 to 600000, at least twice FEED_POLL_MS",
        "age of the feed above which caches are bypassed",
    ),
    setting(
        "AUDIT_EVERY",
        "1000",
        "0 to 1000000000",
        "one kept answer in so many is compared with PostgreSQL; 0 for none",
    ),
    setting("CONSISTENCY_DEFAULT", "bounded", "bounded or strong", "what a request without Overlay-Consistency gets"),
    setting("OVERLAY_HOST", "127.0.0.1", "an IP address", "address to listen on"),
    setting("OVERLAY_PORT", "8788", "0 to 65535", "port to listen on; PORT is read when this is not set"),
    setting("BODY_SIZE_LIMIT", "256kb", "a size such as 262144, 256kb or 1mb, at most 64mb", "largest request body"),
    setting("REQUEST_TIMEOUT_MS", "10000", "100 to 600000", "longest time for one request"),
    setting("CORS_ORIGINS", "*", "* or origins separated by commas", "browser origins that may read"),
    setting("BUNDLE_MAX_DEPTH", "8", "0 to 64", "deepest ancestry that is walked"),
    setting("POLICY_MIN_CONFS", "1", "0 to 1000000", "confirmations a proof needs"),
    setting("POLICY_DEFAULT_ID", "", "a policy's id", "policy used when none is named"),
    setting("HEADERS_SOURCE", "", "a file or an http(s) URL", "block headers; HEADERS_FILE is the old name for a file"),
    setting("PRICE_DEFAULT_SATS", "1234", "1 to 2100000000000000", "price where no rule applies, satoshis"),
    setting("PRICE_QUOTE_TTL_SEC", "120", "1 to 86400", "how long a quote holds"),
    setting("RECEIPT_TTL_SEC", "1800", "1 to 31536000", "how long a receipt holds"),
    setting(
        "PAY_SPLITS_JSON",
        r#"{"overlay":0.05,"producer":0.95}"#,
        "a JSON object of shares that add up to 1",
        "who gets what",
    ),
    setting("PAY_STRICT", "true", "true or false", "whether outputs must match exactly"),
    secret(
        "PAY_PROVIDERS_JSON",
        "a JSON list of objects with `type` (arc or mapi) and `url`",
        "where payments are broadcast",
    ),
    setting("BROADCAST_MODE", "dryrun", "dryrun or live", "whether payments are broadcast"),
    setting("OL_NAMESPACE", "overlay:dev", "1 to 200 characters", "namespace of our own lineage events"),
    setting("OL_QUERY_MAX_DEPTH", "10", "1 to 100", "deepest lineage query"),
    setting("OL_QUERY_CACHE_TTL_SEC", "", "0 to 2592000", "old name of the lineage TTL, in seconds"),
    setting(
        "RATE_LIMITS_JSON",
        "{}",
        "a JSON object of names and whole numbers",
        "requests a minute (checked, not yet used)",
    ),
    setting("FEATURE_FLAGS_JSON", "{}", "a JSON object of names and true or false", "feature switches"),
    secret("ADMIN_IDENTITY_KEYS", "compressed public keys (66 hex digits), separated by commas", "who may administer"),
    secret("INGEST_API_KEYS", "keys of 16 to 200 characters, separated by commas", "who may send lineage events"),
    setting("LOG_FORMAT", "text", "text or json", "form of the log on standard error"),
    setting(
        "LOG_FILTER",
        "info,sqlx=warn,sea_orm_migration=warn",
        "tracing directives, e.g. info,overlay=debug",
        "what is logged",
    ),
];

/// A fault in the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting's name.
    pub name: &'static str,
    /// What is wrong, and the accepted form.
    pub message: String,
}

/// How to listen and what to accept.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// Whether the port was chosen on purpose: then a taken one is an error.
    pub port_is_set: bool,
    /// Largest request body, bytes.
    pub body_limit: usize,
    /// Longest time for a request.
    pub timeout: Duration,
    /// Browser origins that may read; empty for all.
    pub cors_origins: Vec<String>,
    /// One kept answer in so many is compared with PostgreSQL; 0 for none.
    pub audit_every: u64,
    /// Freshness of a request that does not say.
    pub consistency: Consistency,
}

/// Settings of trust and trade: read by the rooms they belong to.
#[derive(Debug, Clone)]
pub struct Market {
    /// Deepest ancestry that is walked.
    pub bundle_max_depth: u32,
    /// Whether bundles are kept in Redis.
    pub use_redis_bundles: bool,
    /// Confirmations a proof needs.
    pub policy_min_confs: u32,
    /// Policy used when none is named.
    pub policy_default_id: Option<String>,
    /// File or URL of block headers.
    pub headers_source: Option<String>,
    /// Price where no rule applies, satoshis.
    pub price_default_sats: i64,
    /// How long a quote holds.
    pub price_quote_ttl: Duration,
    /// How long a receipt holds.
    pub receipt_ttl: Duration,
    /// Shares by receiver; they add up to 1.
    pub pay_splits: Value,
    /// Whether outputs must match exactly.
    pub pay_strict: bool,
    /// Whether payments are broadcast.
    pub broadcast_live: bool,
    /// Namespace of our own lineage events.
    pub ol_namespace: String,
    /// Deepest lineage query.
    pub ol_query_max_depth: u32,
    /// Feature switches.
    pub feature_flags: Value,
}

/// Form and filter of the log.
#[derive(Debug, Clone)]
pub struct Log {
    /// One JSON object a line.
    pub json: bool,
    /// `tracing` directives.
    pub filter: String,
}

/// All settings, checked. Not `Debug`: it holds passwords.
pub struct Config {
    /// PostgreSQL; `None` for a private one.
    pub database: Option<db::Config>,
    /// Read replicas.
    pub replicas: ReplicaConfig,
    /// Redis; `None` for a private one, or none.
    pub redis: Option<RedisConfig>,
    /// The cache.
    pub cache: cache::Config,
    /// Process memory for finished answers, bytes.
    pub response_memory_bytes: u64,
    /// The change feed.
    pub feed: coherence::Config,
    /// How long changes are kept in the feed.
    pub feed_retention: Duration,
    /// Age of the feed above which caches are bypassed.
    pub max_staleness: Duration,
    /// The listener.
    pub http: Http,
    /// Trust and trade.
    pub market: Market,
    /// The log.
    pub log: Log,
    /// Where private stores keep their files.
    pub home: std::path::PathBuf,
    /// Template for a private database's configuration: its pool sizes and time-outs.
    pub database_sizes: db::Config,
    /// Template for a private Redis's configuration.
    pub redis_timeout: Duration,
}

impl Config {
    /// Reads the settings from `.env` (if there is one) and the environment, which wins.
    ///
    /// # Errors
    /// Every fault found.
    pub fn from_env() -> Result<Self, Vec<Fault>> {
        let file = std::path::Path::new(".env");
        // The fault's own text quotes the line, which may hold a password.
        let message = match dotenvy::from_path(file) {
            Err(dotenvy::Error::LineParse(line, _)) => {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                let number = text.lines().position(|l| l.trim() == line.trim()).map_or(0, |at| at + 1);
                format!("line {number} cannot be read: write NAME=value, and quotes round a value that holds spaces")
            }
            Err(cause) if !cause.not_found() => "cannot be read".to_owned(),
            _ => return Self::read(&|name| std::env::var(name).ok()),
        };
        Err(vec![Fault { name: ".env", message }])
    }

    /// Reads the settings from `get`, which answers a variable's value.
    ///
    /// # Errors
    /// Every fault found.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut r = Reader::new(get);
        let database_sizes = database_sizes(&mut r);
        let url = r.text("PG_URL").or_else(|| r.pg_url_of_parts());
        r.check("PG_URL", |url| parse::has_scheme(url, &["postgres", "postgresql"]));
        let replicas = replicas(&mut r, &database_sizes);
        let redis_timeout = r.ms("REDIS_TIMEOUT_MS", 1, 10_000);
        r.check("REDIS_URL", |url| parse::has_scheme(url, &["redis", "rediss", "redis+unix", "unix"]));
        let redis = r.text("REDIS_URL").map(|url| RedisConfig { url, timeout: redis_timeout });
        let ttls = ttls(&mut r);
        let memory_mb: u64 = r.number("CACHE_MEMORY_MB", 0, 1_048_576);
        let feed = coherence::Config { busy: r.ms("FEED_POLL_MS", 1, 1_000), ..Default::default() };
        let feed = coherence::Config { idle: feed.idle.max(feed.busy), ..feed };
        let max_staleness = r.ms("MAX_STALENESS_MS", 100, 600_000);
        if max_staleness < feed.busy * 2 {
            r.fault("MAX_STALENESS_MS");
        }
        let config = Self {
            database: url.map(|url| db::Config { url, ..database_sizes.clone() }),
            replicas,
            redis,
            // Half for values, half for finished answers made of them.
            cache: cache::Config { memory_bytes: memory_mb << 19, ttls },
            response_memory_bytes: memory_mb << 19,
            feed,
            feed_retention: Duration::from_secs(r.number("FEED_RETENTION_SEC", 60, 86_400)),
            max_staleness,
            http: http(&mut r),
            market: market(&mut r),
            log: Log { json: r.choice("LOG_FORMAT", &["text", "json"]) == "json", filter: r.value("LOG_FILTER") },
            home: r.value("OVERLAY_HOME").into(),
            database_sizes,
            redis_timeout,
        };
        r.check("RATE_LIMITS_JSON", |t| parse::object_of(t, |v| v.as_u64().is_some()));
        r.check("PAY_PROVIDERS_JSON", parse::is_provider_list);
        r.check("ADMIN_IDENTITY_KEYS", |t| t.split(',').map(str::trim).all(parse::is_identity_key));
        r.check("INGEST_API_KEYS", |t| t.split(',').map(str::trim).all(|k| (16..=200).contains(&k.len())));
        r.check("LOG_FILTER", |t| t.parse::<tracing_subscriber::filter::Targets>().is_ok());
        r.finish(config)
    }
}

fn database_sizes(r: &mut Reader<'_>) -> db::Config {
    let sizes = db::Config {
        pool_min: r.number("PG_POOL_MIN", 0, 1_000),
        pool_max: r.number("PG_POOL_MAX", 1, 1_000),
        statement_timeout: r.ms("SQL_TIMEOUT_MS", 10, 600_000),
        ..db::Config::new("")
    };
    if sizes.pool_min > sizes.pool_max {
        r.fault("PG_POOL_MAX");
    }
    sizes
}

fn replicas(r: &mut Reader<'_>, sizes: &db::Config) -> ReplicaConfig {
    r.check("PG_READ_URLS", |urls| urls.split(',').all(|u| parse::has_scheme(u.trim(), &["postgres", "postgresql"])));
    let urls = r.text("PG_READ_URLS").unwrap_or_default();
    // Half of the time, so that the primary can be asked after a replica that is too slow.
    let sizes = db::Config { statement_timeout: sizes.statement_timeout / 2, ..sizes.clone() };
    let database = |url: &str| db::Config { url: url.to_owned(), ..sizes.clone() };
    let databases = urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(database).collect();
    ReplicaConfig { databases, max_lag: r.ms("PG_READ_MAX_LAG_MS", 1, 86_400_000) }
}

fn ttls(r: &mut Reader<'_>) -> Ttls {
    let mut ttls = Ttls::default();
    ttls.set_swr(r.flag("SWR_ENABLE"));
    // The old name counts only where the new one does not say.
    if r.text("OL_QUERY_CACHE_TTL_SEC").is_some() {
        let seconds: u64 = r.number("OL_QUERY_CACHE_TTL_SEC", 0, 2_592_000);
        ttls.set("lineage", seconds * 1_000);
    }
    let given = r.json("CACHE_TTLS_JSON", |v| v.is_object());
    for (name, value) in given.as_object().into_iter().flatten() {
        let known = value.as_u64().filter(|ms| *ms <= Ttls::MAX_MS).is_some_and(|ms| ttls.set(name, ms));
        if !known {
            let names: Vec<_> = ttls.names().collect();
            let message = format!(
                "`{name}` must be one of {}, with a whole number of milliseconds up to {}",
                names.join(", "),
                Ttls::MAX_MS
            );
            r.fault_because("CACHE_TTLS_JSON", message);
        }
    }
    ttls
}

fn http(r: &mut Reader<'_>) -> Http {
    let host: IpAddr = r.parsed("OVERLAY_HOST").unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let port_is_set = r.fallback("OVERLAY_PORT", "PORT");
    let origins = r.value("CORS_ORIGINS");
    let origins: Vec<String> = origins.split(',').map(|o| o.trim().to_owned()).filter(|o| o != "*").collect();
    if !origins.iter().all(|o| parse::has_scheme(o, &["http", "https"])) {
        r.fault("CORS_ORIGINS");
    }
    Http {
        listen: SocketAddr::new(host, r.number("OVERLAY_PORT", 0, 65_535)),
        port_is_set,
        body_limit: r.size("BODY_SIZE_LIMIT", 64 << 20),
        timeout: r.ms("REQUEST_TIMEOUT_MS", 100, 600_000),
        cors_origins: origins,
        audit_every: r.number("AUDIT_EVERY", 0, 1_000_000_000),
        consistency: match r.choice("CONSISTENCY_DEFAULT", &["bounded", "strong"]) {
            "strong" => Consistency::Strong,
            _ => Consistency::Bounded,
        },
    }
}

fn market(r: &mut Reader<'_>) -> Market {
    r.fallback("HEADERS_SOURCE", "HEADERS_FILE");
    r.check("OL_NAMESPACE", |t| (1..=200).contains(&t.chars().count()));
    Market {
        bundle_max_depth: r.number("BUNDLE_MAX_DEPTH", 0, 64),
        use_redis_bundles: r.flag("USE_REDIS_BUNDLES"),
        policy_min_confs: r.number("POLICY_MIN_CONFS", 0, 1_000_000),
        policy_default_id: r.text("POLICY_DEFAULT_ID"),
        headers_source: r.text("HEADERS_SOURCE"),
        price_default_sats: r.number("PRICE_DEFAULT_SATS", 1, 2_100_000_000_000_000),
        price_quote_ttl: Duration::from_secs(r.number("PRICE_QUOTE_TTL_SEC", 1, 86_400)),
        receipt_ttl: Duration::from_secs(r.number("RECEIPT_TTL_SEC", 1, 31_536_000)),
        pay_splits: r.json("PAY_SPLITS_JSON", parse::is_whole_split),
        pay_strict: r.flag("PAY_STRICT"),
        broadcast_live: r.choice("BROADCAST_MODE", &["dryrun", "live"]) == "live",
        ol_namespace: r.value("OL_NAMESPACE"),
        ol_query_max_depth: r.number("OL_QUERY_MAX_DEPTH", 1, 100),
        feature_flags: r
            .json("FEATURE_FLAGS_JSON", |v| v.as_object().is_some_and(|o| o.values().all(Value::is_boolean))),
    }
}

#[cfg(test)]
mod tests;
