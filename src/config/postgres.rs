//! PostgreSQL: where it is, what stands in front of it, and the certificates that go with it.

use url::Url;

use super::parse::{Reader, has_scheme};
use crate::coherence::ReplicaConfig;
use crate::db;

/// What the settings say of PostgreSQL.
pub(super) struct Postgres {
    /// The primary; `None` for a private one.
    pub(super) database: Option<db::Config>,
    pub(super) replicas: ReplicaConfig,
    /// Sizes and time-outs, for a private one.
    pub(super) sizes: db::Config,
}

const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

pub(super) fn postgres(r: &mut Reader<'_>) -> Postgres {
    let sizes = sizes(r);
    let tls = Tls::read(r);
    let url = r.text("PG_URL").or_else(|| r.pg_url_of_parts(tls.ca.is_some()));
    r.check("PG_URL", |url| has_scheme(url, &SCHEMES));
    r.check("PG_POOLER_URL", |url| has_scheme(url, &SCHEMES));
    r.check("PG_READ_URLS", |urls| urls.split(',').all(|u| has_scheme(u.trim(), &SCHEMES)));
    let pooler = r.text("PG_POOLER_URL").map(|url| tls.on("PG_POOLER_URL", &url, r));
    let database = url.map(|url| db::Config { url: tls.on("PG_URL", &url, r), pooler, ..sizes.clone() });
    if database.is_none() && r.text("PG_POOLER_URL").is_some() {
        r.fault_because("PG_POOLER_URL", "needs PG_URL, which names PostgreSQL itself".into());
    }
    let replicas = replicas(r, &sizes, &tls);
    Postgres { database, replicas, sizes }
}

fn sizes(r: &mut Reader<'_>) -> db::Config {
    let sizes = db::Config {
        pool_min: r.number("PG_POOL_MIN", 0, 1_000),
        pool_max: r.number("PG_POOL_MAX", 1, 1_000),
        standstill: r.ms("PG_POOL_WAIT_MS", 1, 600_000),
        statement_timeout: r.ms("SQL_TIMEOUT_MS", 10, 600_000),
        ..db::Config::new("")
    };
    if sizes.pool_min > sizes.pool_max {
        r.fault("PG_POOL_MAX");
    }
    sizes
}

fn replicas(r: &mut Reader<'_>, sizes: &db::Config, tls: &Tls) -> ReplicaConfig {
    let urls = r.text("PG_READ_URLS").unwrap_or_default();
    // Half of the time, so that the primary can be asked after a replica that is too slow.
    let sizes = db::Config { statement_timeout: sizes.statement_timeout / 2, ..sizes.clone() };
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let databases = urls.map(|url| db::Config { url: tls.on("PG_READ_URLS", url, r), ..sizes.clone() }).collect();
    ReplicaConfig { databases, max_lag: r.ms("PG_READ_MAX_LAG_MS", 1, 86_400_000) }
}

/// Files of certificates, which go into every URL: whoever connects reads them there.
struct Tls {
    ca: Option<String>,
    client: Option<(String, String)>,
}

impl Tls {
    fn read(r: &mut Reader<'_>) -> Self {
        let certificate = "-----BEGIN CERTIFICATE-----";
        let mut file = |name, mark| r.pem(name, mark).and(r.text(name));
        let ca = file("PG_TLS_CA", certificate);
        let (shown, key) = (file("PG_TLS_CERT", certificate), file("PG_TLS_KEY", "PRIVATE KEY-----"));
        if r.text("PG_TLS_CERT").is_some() != r.text("PG_TLS_KEY").is_some() {
            r.fault_because("PG_TLS_KEY", "PG_TLS_CERT and PG_TLS_KEY are set together".into());
        }
        Self { ca, client: shown.zip(key) }
    }

    /// The URL with what it does not say itself. With an authority of our own the certificate is checked, name and all.
    fn on(&self, name: &'static str, url: &str, r: &mut Reader<'_>) -> String {
        let Ok(mut parsed) = Url::parse(url.trim()) else { return url.to_owned() };
        if self.ca.is_none() && self.client.is_none() {
            return url.to_owned();
        }
        let given: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
        let all = |names: &'static [&str]| {
            given.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.as_str())
        };
        let said = |names| all(names).next();
        // Said twice, the last one counts for the driver: none may say less.
        let mut modes = all(&["sslmode", "ssl-mode"]).peekable();
        let says_mode = modes.peek().is_some();
        if self.ca.is_some() && modes.any(|mode| !["verify-ca", "verify-full"].contains(&mode)) {
            r.fault_because(
                name,
                "must say sslmode=verify-full (or verify-ca) with PG_TLS_CA: else no certificate is checked".into(),
            );
        }
        let mut more: Vec<(&str, &str)> = Vec::new();
        if let Some(ca) = &self.ca {
            more.extend((!says_mode).then_some(("sslmode", "verify-full")));
            more.extend(
                said(&["sslrootcert", "ssl-root-cert", "ssl-ca"]).is_none().then_some(("sslrootcert", ca.as_str())),
            );
        }
        if let (Some((certificate, key)), None) = (&self.client, said(&["sslcert", "ssl-cert"])) {
            more.extend([("sslcert", certificate.as_str()), ("sslkey", key)]);
        }
        parsed.query_pairs_mut().extend_pairs(more);
        parsed.into()
    }
}
