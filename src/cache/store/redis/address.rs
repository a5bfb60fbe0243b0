//! What `REDIS_URL` may say, and the certificates that go with it.
//!
//! One server: `redis://`, `rediss://` (TLS) and `redis+unix://`. Several hosts, separated by commas:
//! `redis-cluster://user:password@host:port,host:port` and `redis-sentinel://user:password@host:port,host:port/name/db`,
//! or `rediss-…` for TLS; `redis+cluster` and `redis+sentinel` are other spellings of the same. User and password are the
//! data servers'; the sentinels' own go by the names that go-redis gave them, `?sentinel_username=…&sentinel_password=…`.

use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use url::Url;

use crate::error::{Error, Result};

/// How to reach Redis. Not `Debug`: it holds passwords and keys.
#[derive(Clone)]
pub struct Config {
    /// Where it is, in one of the forms above; may hold a password, so it is never logged.
    pub url: String,
    /// Longest wait for an answer to one call.
    pub timeout: Duration,
    /// Certificates of one's own, for TLS.
    pub tls: Option<Tls>,
}

/// Certificates of one's own, as PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authorities that may sign the server's certificate; `None` for those of the web.
    pub ca: Option<Vec<u8>>,
    /// A certificate to show to the server, and its key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Config {
    /// Whether the URL and the certificates can be used at all. Connects to nothing.
    ///
    /// # Errors
    /// `bad-request`; the message says what is wrong and quotes nothing of the URL, which may hold a password.
    pub fn check(&self) -> Result<()> {
        Address::parse(self).map(|_| ())
    }
}

/// Where the entries are.
pub(super) enum Address {
    /// One server.
    Server(ConnectionInfo),
    /// The server that the sentinels call the master of this name.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        name: String,
        /// How to log in there; its host and port are replaced by what the sentinels answer.
        master: Box<ConnectionInfo>,
    },
    /// All the masters of a cluster.
    Cluster(Box<ClusterClient>),
}

/// Most that is waited for one connection to be made.
const CONNECT: Duration = Duration::from_secs(1);

/// The port of a sentinel when the URL names none.
const SENTINEL_PORT: u16 = 26_379;

const FORMS: &str = "must be redis://host:port/db, rediss://host:port/db, redis+unix:///path, \
    redis-cluster://host:port,host:port or redis-sentinel://host:port,host:port/name/db (rediss-… for TLS), with \
    user:password@ before the first host; characters of a password other than letters, digits and -._~ are written as %XX";

impl Address {
    pub(super) fn parse(config: &Config) -> Result<Self> {
        let (scheme, rest) = config.url.trim().split_once("://").ok_or_else(malformed)?;
        let scheme = scheme.to_ascii_lowercase();
        if rest.contains('#') {
            let why = "must not hold a `#`: certificates are always checked (REDIS_TLS_CA names a CA of your own)";
            return Err(fault(why));
        }
        let certificates = config.tls.as_ref().map(Tls::certificates);
        let (tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (false, scheme.strip_prefix("redis").unwrap_or(&scheme)),
        };
        if certificates.is_some() && !tls {
            return Err(fault("must begin with rediss: REDIS_TLS_CA, REDIS_TLS_CERT and REDIS_TLS_KEY are for TLS"));
        }
        match kind.replace('+', "-").as_str() {
            "" => {
                let info =
                    connection(Url::parse(&format!("{scheme}://{rest}")).map_err(|_| malformed())?, &certificates)?;
                Ok(Self::Server(info))
            }
            "-unix" | "unix" if !tls => {
                Ok(Self::Server(connection(Url::parse(&format!("unix://{rest}")).map_err(|_| malformed())?, &None)?))
            }
            "-cluster" => cluster(Hosts::parse(tls, rest)?, certificates, config.timeout),
            "-sentinel" => sentinel(Hosts::parse(tls, rest)?, &certificates),
            _ => Err(malformed()),
        }
    }
}

impl Tls {
    fn certificates(&self) -> TlsCertificates {
        let client = self.client.clone();
        TlsCertificates {
            root_cert: self.ca.clone(),
            client_tls: client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
        }
    }
}

/// A URL with several hosts, as one URL for each, and what comes after them.
struct Hosts {
    urls: Vec<Url>,
    path: Vec<String>,
    query: Vec<(String, String)>,
}

impl Hosts {
    fn parse(tls: bool, rest: &str) -> Result<Self> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (scheme, at) = (if tls { "rediss" } else { "redis" }, if user.is_empty() { "" } else { "@" });
        let url = |host: &str| Url::parse(&format!("{scheme}://{user}{at}{}", host.trim()));
        let urls = hosts.split(',').map(url).collect::<Result<_, _>>().map_err(|_| malformed())?;
        let path = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { urls, path, query })
    }
}

fn cluster(hosts: Hosts, certificates: Option<TlsCertificates>, timeout: Duration) -> Result<Address> {
    if !hosts.query.is_empty() || !matches!(hosts.path.as_slice(), [] | [_]) || hosts.path.iter().any(|db| db != "0") {
        return Err(fault("names a cluster: it has database 0 alone, and takes no parameters"));
    }
    let nodes = hosts.urls.into_iter().map(|url| connection(url, &None)).collect::<Result<Vec<_>>>()?;
    let builder = ClusterClient::builder(nodes)
        .connection_timeout(CONNECT)
        .response_timeout(patience(timeout))
        // One for a slot that has moved, one for a connection that was lost; the caller does not wait for more.
        .retries(2)
        .min_retry_wait(5)
        .max_retry_wait(50);
    let builder = match certificates {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    Ok(Address::Cluster(Box::new(builder.build().map_err(|_| certificate_fault())?)))
}

fn sentinel(hosts: Hosts, certificates: &Option<TlsCertificates>) -> Result<Address> {
    let (name, db) = match hosts.path.as_slice() {
        [name] => (name, "0"),
        [name, db] => (name, db.as_str()),
        _ => {
            return Err(fault(
                "names sentinels: the master's name must follow them, …host:port/name or …host:port/name/db",
            ));
        }
    };
    let db =
        db.parse::<u32>().map_err(|_| fault("names sentinels: after the master's name, only a database's number"))?;
    let (mut user, mut password) = (None, None);
    for (key, value) in hosts.query {
        match key.as_str() {
            "sentinel_username" => user = Some(value),
            "sentinel_password" => password = Some(value),
            _ => return Err(fault("names sentinels: the parameters are sentinel_username and sentinel_password")),
        }
    }
    let mut sentinels = Vec::with_capacity(hosts.urls.len());
    let mut master = None;
    for mut url in hosts.urls {
        if url.port().is_none() {
            url.set_port(Some(SENTINEL_PORT)).map_err(|()| malformed())?;
        }
        let info = connection(url, certificates)?;
        let own = info.redis_settings().clone();
        let mut asked = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &user {
            asked = asked.set_username(user);
        }
        if let Some(password) = &password {
            asked = asked.set_password(password);
        }
        sentinels.push(info.clone().set_redis_settings(asked));
        master.get_or_insert_with(|| Box::new(info.set_redis_settings(own.set_db(db.into()))));
    }
    Ok(Address::Sentinel { sentinels, name: name.clone(), master: master.ok_or_else(malformed)? })
}

fn connection(url: Url, certificates: &Option<TlsCertificates>) -> Result<ConnectionInfo> {
    // The causes may quote the URL, and with it a password.
    let mut info = url.into_connection_info().map_err(|_| malformed())?;
    let host = match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.as_str(),
        _ => "",
    };
    if host.contains(',') {
        return Err(malformed());
    }
    if let Some(certificates) = certificates {
        let client = Client::build_with_tls(info, certificates.clone()).map_err(|_| certificate_fault())?;
        info = client.get_connection_info().clone();
    }
    // Nobody reads that name, and a user with few rights may not set it.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    Ok(info.set_redis_settings(settings))
}

/// How long the client itself waits for an answer. Ours is the shorter wait and decides; this one ends what was
/// abandoned.
pub(super) fn patience(timeout: Duration) -> Duration {
    2 * timeout + Duration::from_millis(100)
}

/// `address`, at another host and port.
pub(super) fn moved(address: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let addr = match address.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    address.clone().set_addr(addr)
}

fn fault(why: &'static str) -> Error {
    Error::invalid(why).hint("REDIS_URL")
}

fn malformed() -> Error {
    fault(FORMS)
}

fn certificate_fault() -> Error {
    let why = "must be PEM: certificates in REDIS_TLS_CA and REDIS_TLS_CERT, that certificate's key in REDIS_TLS_KEY";
    Error::invalid(why).hint("REDIS_TLS_CA")
}

#[cfg(test)]
mod tests;
