//! The list of settings.

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
    setting(
        "PG_TLS_CA",
        "",
        "a PEM file",
        "authorities that may sign PostgreSQL's certificate, beside the web's; sslmode is then verify-full",
    ),
    setting("PG_TLS_CERT", "", "a PEM file", "a certificate to show to PostgreSQL"),
    setting("PG_TLS_KEY", "", "a PEM file", "with PG_TLS_CERT: its private key"),
    secret(
        "PG_POOLER_URL",
        "postgres://user:password@host:port/database",
        "a pooler in front of PG_URL (PgBouncer, transaction mode too), for requests; the rest goes to PG_URL",
    ),
    secret("PG_READ_URLS", "postgres:// URLs, separated by commas", "read replicas of PG_URL"),
    setting("PG_READ_MAX_LAG_MS", "10000", "1 to 86400000", "a replica further behind is not read"),
    setting("PG_POOL_MIN", "2", "0 to 1000", "connections kept open"),
    setting("PG_POOL_MAX", "20", "1 to 1000, not below PG_POOL_MIN", "connections at most"),
    setting(
        "PG_POOL_WAIT_MS",
        "80",
        "1 to 600000",
        "when no connection comes free for so long, who waits for one is answered 503",
    ),
    setting("SQL_TIMEOUT_MS", "5000", "10 to 600000", "longest time for one statement"),
    secret(
        "REDIS_URL",
        "redis://, rediss://, redis+unix://, redis-cluster:// or redis-sentinel:// URL",
        "Redis; without it a private one, or process memory alone",
    ),
    setting(
        "REDIS_TLS_CA",
        "",
        "a PEM file",
        "with rediss: authorities that may sign its certificate, instead of the web's",
    ),
    setting("REDIS_TLS_CERT", "", "a PEM file", "with rediss: a certificate to show to Redis"),
    setting("REDIS_TLS_KEY", "", "a PEM file", "with REDIS_TLS_CERT: its private key"),
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
    setting(
        "WARM_REQUESTS",
        "0",
        "0 to 10000",
        "how many of the requests that are asked most a server asks itself before it is ready; 0 neither counts nor asks",
    ),
    setting("WARM_RATE", "200", "1 to 100000", "how many of them a second"),
    setting("CONSISTENCY_DEFAULT", "bounded", "bounded or strong", "what a request without Overlay-Consistency gets"),
    setting(
        "DEV_IDENTITY",
        "false",
        "true or false",
        "whether everybody who reaches the server may write; for development alone (`make run` sets it)",
    ),
    setting("OVERLAY_HOST", "127.0.0.1", "an IP address", "address to listen on"),
    setting("OVERLAY_PORT", "8788", "0 to 65535", "port to listen on; PORT is read when this is not set"),
    setting("BODY_SIZE_LIMIT", "256kb", "a size such as 262144, 256kb or 1mb, at most 64mb", "largest request body"),
    setting("REQUEST_TIMEOUT_MS", "10000", "100 to 600000", "longest time for one request"),
    setting(
        "IDLE_TIMEOUT_MS",
        "150000",
        "100 to 3600000",
        "how long a connection may lie still; longer than at a load balancer in front, so that it is the one to close",
    ),
    setting("SLOW_REQUEST_MS", "1000", "0 to 600000", "a request that takes longer says why in the log; 0 for none"),
    setting(
        "DRAIN_MS",
        "0",
        "0 to 600000",
        "how long the server serves on, not ready, once it is to stop; behind a load balancer, longer than that takes to notice",
    ),
    setting("SAFELIST_FILE", "", "a file of JSON", "GraphQL documents that front ends were built with"),
    setting(
        "SAFELIST_MODE",
        "off",
        "off, log or enforce",
        "whether documents that are not in SAFELIST_FILE are executed, executed and logged, or refused",
    ),
    setting(
        "INTROSPECTION",
        "true",
        "true or false",
        "whether GraphQL tells of its schema, also in suggestions and at /schema.graphql",
    ),
    setting("RESPONSE_SIZE_LIMIT", "16mb", "a size such as 16mb, at most 1024mb", "largest GraphQL answer"),
    setting(
        "RATE_LIMITS_JSON",
        "{}",
        "a JSON object of `address` and `identity` with whole numbers",
        "requests a minute of one address, and of one identity; what is not named or 0 is not limited",
    ),
    setting(
        "TRUSTED_PROXIES",
        "",
        "addresses or networks such as 10.0.0.0/8, separated by commas",
        "proxies whose X-Forwarded-For is believed",
    ),
    setting("MAX_IN_FLIGHT", "10000", "1 to 1000000", "answers made at a time, kept ones aside; more requests get 503"),
    setting("MAX_CONNECTIONS", "20000", "1 to 1000000", "connections at a time; more are closed at once"),
    setting("CORS_ORIGINS", "*", "* or origins separated by commas", "browser origins that may read"),
    setting("BUNDLE_MAX_DEPTH", "8", "0 to 64", "deepest ancestry that is walked"),
    setting("POLICY_MIN_CONFS", "1", "0 to 1000000", "confirmations a proof needs"),
    setting("POLICY_DEFAULT_ID", "", "a policy's id", "policy used when none is named"),
    secret("HEADERS_SOURCE", "a file or an http(s) URL", "block headers; HEADERS_FILE is the old name for a file"),
    setting("HEADERS_POLL_MS", "10000", "100 to 3600000", "pause between looks at the header source"),
    setting("PRICE_DEFAULT_SATS", "1234", "1 to 2100000000000000", "price where no rule applies, satoshis"),
    setting("PRICE_QUOTE_TTL_SEC", "120", "1 to 86400", "how long a quote holds"),
    setting("RECEIPT_TTL_SEC", "1800", "1 to 31536000", "how long a receipt waits for its payment"),
    setting("RECEIPT_SWEEP_MS", "5000", "100 to 3600000", "pause between looks for receipts to expire or confirm"),
    setting(
        "PAY_SPLITS_JSON",
        r#"{"overlay":0.05,"producer":0.95}"#,
        "a JSON object of the shares `overlay` and `producer`, which add up to 1",
        "who gets what of a payment",
    ),
    setting(
        "PAY_SCRIPT_HEX",
        "",
        "an output script of 1 to 10000 bytes, lower-case hex",
        "where the share of `overlay` goes; without it the producer gets all",
    ),
    setting(
        "PAY_STRICT",
        "true",
        "true or false",
        "whether a payment's outputs must be exactly those quoted; else they may hold more",
    ),
    secret(
        "PAY_PROVIDERS_JSON",
        "a JSON list of at most 10 objects with `type` (arc or mapi), `url`, and perhaps `apiKey` and `timeoutMs` (100 to 30000)",
        "services that payments are sent to, in this order",
    ),
    setting("BROADCAST_MODE", "dryrun", "dryrun or live", "whether payments are sent to the network"),
    setting("OL_NAMESPACE", "overlay:dev", "1 to 200 bytes", "namespace of our own lineage events"),
    setting("OL_QUERY_MAX_DEPTH", "10", "1 to 100", "deepest lineage query"),
    setting("LINEAGE_KEEP_DAYS", "", "1 to 36500", "how long lineage events are kept; for ever when it is not set"),
    setting("OL_QUERY_CACHE_TTL_SEC", "", "0 to 2592000", "old name of the lineage TTL, in seconds"),
    setting("FEATURE_FLAGS_JSON", "{}", "a JSON object of names and true or false", "feature switches"),
    secret("ADMIN_IDENTITY_KEYS", "compressed public keys (66 hex digits), separated by commas", "who may administer"),
    secret("INGEST_API_KEYS", "keys of 16 to 200 characters, separated by commas", "who may send lineage events"),
    setting(
        "INGEST_BODY_LIMIT",
        "8mb",
        "a size such as 262144, 256kb or 1mb, at most 64mb",
        "largest body of lineage events, unpacked",
    ),
    setting("LOG_FORMAT", "text", "text or json", "form of the log on standard error"),
    setting(
        "LOG_FILTER",
        "info,sqlx=warn,sea_orm_migration=warn",
        "tracing directives, e.g. info,overlay=debug",
        "what is logged",
    ),
];
