//! Settings: the environment, read once, checked as a whole.
//!
//! [`SETTINGS`] is the one list of names, defaults and accepted forms; the reader, the error messages, `.env.example`
//! and the README's table all follow it (a test compares them). All faults are reported at once, by name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::app::{Terms, Trade};
use crate::cache::{self, RedisConfig, Ttls};
use crate::coherence::{self, Consistency, ReplicaConfig};
use crate::db;
use crate::flows::headers;

mod parse;
mod postgres;
mod redis;
mod safelist;
mod settings;

use parse::Reader;
pub use safelist::{Safelist, SafelistMode};
pub use settings::{SETTINGS, Setting};

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
    /// Lineage events.
    pub ingest: Ingest,
    /// Longest time for a request.
    pub timeout: Duration,
    /// Time from which on a request says in the log why it took so long; `None` for never.
    pub slow: Option<Duration>,
    /// How long a connection may lie still between requests.
    pub idle: Duration,
    /// How long the server serves on once it is to stop.
    pub drain: Duration,
    /// Whether everybody may write, as the developer.
    pub dev_identity: bool,
    /// Browser origins that may read; empty for all.
    pub cors_origins: Vec<String>,
    /// One kept answer in so many is compared with PostgreSQL; 0 for none.
    pub audit_every: u64,
    /// How many of the most popular requests are asked before the server is ready; 0 neither counts nor asks.
    pub warm_requests: usize,
    /// How many of them a second.
    pub warm_rate: u32,
    /// Freshness of a request that does not say.
    pub consistency: Consistency,
    /// GraphQL documents that may be executed.
    pub safelist: Arc<Safelist>,
    /// Whether GraphQL tells of itself: introspection, suggestions in errors, and `/schema.graphql`.
    pub introspection: bool,
    /// Largest GraphQL answer, bytes.
    pub response_limit: usize,
    /// How much is done for whom.
    pub limits: Limits,
}

/// Who may send lineage events, and how many at once.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// SHA-256 of each key that may: the keys themselves are not kept.
    pub keys: Vec<[u8; 32]>,
    /// Largest body, bytes, unpacked.
    pub body_limit: usize,
}

/// How much is done for whom.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests a minute of one address; 0 for any number.
    pub address: u32,
    /// Requests a minute of one identity; 0 for any number.
    pub identity: u32,
    /// Most answers that are made at a time.
    pub in_flight: usize,
    /// Most connections.
    pub connections: usize,
    /// Proxies that are believed whom a request is from.
    pub proxies: Vec<IpNet>,
}

/// Settings of trust and trade: read by the rooms they belong to.
#[derive(Debug, Clone)]
pub struct Market {
    /// What is asked of ancestries and prices.
    pub terms: Terms,
    /// Keys that may issue advisories and edit policies.
    pub admins: BTreeSet<String>,
    /// File or URL of block headers, and how often it is looked at.
    pub headers: Option<headers::Settings>,
    /// Pause between sweeps over the receipts.
    pub sweep: Duration,
    /// How long lineage events are kept, days; `None` is for ever.
    pub lineage_keep_days: Option<u32>,
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
        let postgres = postgres::postgres(&mut r);
        let redis_timeout = r.ms("REDIS_TIMEOUT_MS", 1, 10_000);
        let redis = redis::redis(&mut r, redis_timeout);
        let ttls = ttls(&mut r);
        let memory_mb: u64 = r.number("CACHE_MEMORY_MB", 0, 1_048_576);
        let feed = coherence::Config { busy: r.ms("FEED_POLL_MS", 1, 1_000), ..Default::default() };
        let feed = coherence::Config { idle: feed.idle.max(feed.busy), ..feed };
        let max_staleness = r.ms("MAX_STALENESS_MS", 100, 600_000);
        if max_staleness < feed.busy * 2 {
            r.fault("MAX_STALENESS_MS");
        }
        let config = Self {
            database: postgres.database,
            replicas: postgres.replicas,
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
            database_sizes: postgres.sizes,
            redis_timeout,
        };
        r.check("LOG_FILTER", |t| t.parse::<tracing_subscriber::filter::Targets>().is_ok());
        r.finish(config)
    }
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
    let dev_identity = r.flag("DEV_IDENTITY");
    if dev_identity && !host.is_loopback() {
        r.fault_because("DEV_IDENTITY", "may be true only where OVERLAY_HOST is a loopback address".into());
    }
    Http {
        listen: SocketAddr::new(host, r.number("OVERLAY_PORT", 0, 65_535)),
        port_is_set,
        body_limit: r.size("BODY_SIZE_LIMIT", 64 << 20),
        ingest: ingest(r),
        timeout: r.ms("REQUEST_TIMEOUT_MS", 100, 600_000),
        slow: Some(r.ms("SLOW_REQUEST_MS", 0, 600_000)).filter(|slow| !slow.is_zero()),
        idle: r.ms("IDLE_TIMEOUT_MS", 100, 3_600_000),
        drain: r.ms("DRAIN_MS", 0, 600_000),
        dev_identity,
        cors_origins: origins,
        audit_every: r.number("AUDIT_EVERY", 0, 1_000_000_000),
        warm_requests: r.number("WARM_REQUESTS", 0, 10_000),
        warm_rate: r.number("WARM_RATE", 1, 100_000),
        consistency: match r.choice("CONSISTENCY_DEFAULT", &["bounded", "strong"]) {
            "strong" => Consistency::Strong,
            _ => Consistency::Bounded,
        },
        safelist: Arc::new(safelist::safelist(r)),
        introspection: r.flag("INTROSPECTION"),
        response_limit: r.size("RESPONSE_SIZE_LIMIT", 1 << 30),
        limits: limits(r),
    }
}

fn ingest(r: &mut Reader<'_>) -> Ingest {
    r.check("INGEST_API_KEYS", |t| t.split(',').map(str::trim).all(|k| (16..=200).contains(&k.len())));
    let keys = r.text("INGEST_API_KEYS").unwrap_or_default();
    let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
    let keys = keys.map(|key| Sha256::digest(key).into()).collect();
    Ingest { keys, body_limit: r.size("INGEST_BODY_LIMIT", 64 << 20) }
}

fn limits(r: &mut Reader<'_>) -> Limits {
    let is_limit = |(name, value): (&String, &Value)| {
        ["address", "identity"].contains(&name.as_str()) && value.as_u64().is_some_and(|n| n <= u64::from(u32::MAX))
    };
    let given = r.json("RATE_LIMITS_JSON", |v| v.as_object().is_some_and(|o| o.iter().all(is_limit)));
    let limit = |name: &str| given.get(name).and_then(Value::as_u64).and_then(|n| n.try_into().ok()).unwrap_or(0);
    let proxies = r.text("TRUSTED_PROXIES").unwrap_or_default();
    let proxies = proxies.split(',').map(str::trim).filter(|net| !net.is_empty());
    // An address alone is a network of one.
    let network = |net: &str| net.parse::<IpNet>().ok().or_else(|| net.parse::<IpAddr>().ok().map(IpNet::from));
    let proxies: Option<Vec<IpNet>> = proxies.map(network).collect();
    if proxies.is_none() {
        r.fault("TRUSTED_PROXIES");
    }
    Limits {
        address: limit("address"),
        identity: limit("identity"),
        in_flight: r.number("MAX_IN_FLIGHT", 1, 1_000_000),
        connections: r.number("MAX_CONNECTIONS", 1, 1_000_000),
        proxies: proxies.unwrap_or_default(),
    }
}

fn market(r: &mut Reader<'_>) -> Market {
    r.fallback("HEADERS_SOURCE", "HEADERS_FILE");
    let poll = r.ms("HEADERS_POLL_MS", 100, 3_600_000);
    r.check("OL_NAMESPACE", |t| (1..=200).contains(&t.len()));
    r.check("ADMIN_IDENTITY_KEYS", |t| t.split(',').map(str::trim).all(parse::is_identity_key));
    let admins = r.text("ADMIN_IDENTITY_KEYS").unwrap_or_default();
    Market {
        admins: admins.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect(),
        terms: Terms {
            bundle_max_depth: r.number("BUNDLE_MAX_DEPTH", 0, 64),
            lineage_namespace: r.value("OL_NAMESPACE"),
            lineage_max_depth: r.number("OL_QUERY_MAX_DEPTH", 1, 100),
            use_redis_bundles: r.flag("USE_REDIS_BUNDLES"),
            policy_min_confs: r.number("POLICY_MIN_CONFS", 0, 1_000_000),
            policy_default_id: r.text("POLICY_DEFAULT_ID"),
            price_default_sats: r.number("PRICE_DEFAULT_SATS", 1, 2_100_000_000_000_000),
            trade: trade(r),
        },
        headers: r.text("HEADERS_SOURCE").map(|source| headers::Settings { source, poll }),
        sweep: r.ms("RECEIPT_SWEEP_MS", 100, 3_600_000),
        lineage_keep_days: r.text("LINEAGE_KEEP_DAYS").is_some().then(|| r.number("LINEAGE_KEEP_DAYS", 1, 36_500)),
        feature_flags: r
            .json("FEATURE_FLAGS_JSON", |v| v.as_object().is_some_and(|o| o.values().all(Value::is_boolean))),
    }
}

fn trade(r: &mut Reader<'_>) -> Trade {
    r.check("PAY_SCRIPT_HEX", parse::is_script);
    let splits = r.json("PAY_SPLITS_JSON", parse::is_whole_split);
    let providers = r.text("PAY_PROVIDERS_JSON").map_or(Some(Vec::new()), |text| parse::providers(&text));
    let is_live = r.choice("BROADCAST_MODE", &["dryrun", "live"]) == "live";
    if providers.is_none() {
        r.fault("PAY_PROVIDERS_JSON");
    }
    let providers = providers.unwrap_or_default();
    if is_live && providers.is_empty() {
        r.fault_because("BROADCAST_MODE", "live needs PAY_PROVIDERS_JSON, which says where payments are sent".into());
    }
    Trade {
        quote_ttl: Duration::from_secs(r.number("PRICE_QUOTE_TTL_SEC", 1, 86_400)),
        receipt_ttl: Duration::from_secs(r.number("RECEIPT_TTL_SEC", 1, 31_536_000)),
        // Rounded here and nowhere else: amounts are then split in whole numbers.
        own_share: splits.get("overlay").and_then(Value::as_f64).map_or(0, |share| (share * 1e9).round() as u32),
        own_script: r.text("PAY_SCRIPT_HEX"),
        is_strict: r.flag("PAY_STRICT"),
        is_live,
        providers,
    }
}

#[cfg(test)]
mod tests;
