//! PostgreSQL and Redis of a checkout's own, for `make run` and for tests.
//!
//! Nobody should have to set up a database to see the server run. So this module finds the binaries
//! ([`find`]), keeps their files under one folder that git ignores, and starts and stops them with us.
//!
//! What must stay true:
//! - **No TCP.** Both servers listen on unix sockets only, so two checkouts never clash over a port.
//! - **Sockets live in a folder of mode 0700.** PostgreSQL is told to trust whoever connects; the
//!   folder is the lock on that door.
//! - **One live owner a checkout**, by a file lock the kernel drops when the owner dies, however it
//!   dies. Whoever holds it may stop what a dead owner left running, and does.
//! - **A data folder is complete or absent.** It is made beside its place and renamed into it.
//!
//! As root the servers run as somebody else ([`user`]), since PostgreSQL refuses root.

mod daemon;
mod error;
mod find;
mod home;
mod postgres;
mod redis;
#[cfg(test)]
mod tests;
mod user;

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

pub use error::Error;
pub use redis::RedisServer;

use error::At;
use find::Found;
use home::Home;
use postgres::Postgres;

/// What to start, and where its files go.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for data, logs and the lock, e.g. `<checkout>/.overlay`. Made when absent.
    pub root: PathBuf,
    /// Start PostgreSQL; an error when it is not installed.
    pub postgres: bool,
    /// Start Redis; [`DevStack::redis_url`] is `None` when it is not installed.
    pub redis: bool,
    /// Whether a committed row survives a power cut. Only a database that nobody will miss may say no.
    pub durable: bool,
    /// Make the data folder, when absent, as a standby of the server at this address; for tests of read replicas.
    pub standby_of: Option<String>,
}

impl Options {
    /// Both servers, safe for data that somebody cares about.
    pub fn new(root: impl Into<PathBuf>) -> Options {
        Options { root: root.into(), postgres: true, redis: true, durable: true, standby_of: None }
    }
}

/// The running servers of one checkout.
///
/// [`stop`](DevStack::stop) it: dropping it only asks the servers to stop and cannot wait.
#[derive(Debug)]
pub struct DevStack {
    postgres: Option<Postgres>,
    redis: Option<RedisServer>,
    // Last, so that the lock outlives the servers it speaks for.
    _lock: Lock,
}

impl DevStack {
    /// Starts what `o` asks for and returns when both accept connections. The first start of a
    /// checkout makes the database and takes about a second, later ones about a tenth.
    pub async fn start(o: &Options) -> Result<DevStack, Error> {
        DevStack::start_with(o, &Found::search(&o.root)).await
    }

    async fn start_with(o: &Options, found: &Found) -> Result<DevStack, Error> {
        fs::create_dir_all(&o.root).at("make", &o.root)?;
        let root = fs::canonicalize(&o.root).at("resolve", &o.root)?;
        let mut lock = Lock::take(&root)?;
        let home = Home::settle(&root)?;
        let postgres = if o.postgres { Some(Postgres::start(&home, found, o).await?) } else { None };
        let redis = match &found.redis {
            Some(binary) if o.redis => Some(RedisServer::start_binary(&home, binary).await?),
            _ => None,
        };
        lock.announce(postgres.as_ref().map(Postgres::url), redis.as_ref().map(RedisServer::url))?;
        Ok(DevStack { postgres, redis, _lock: lock })
    }

    /// Where PostgreSQL listens, as sqlx and SeaORM read it.
    pub fn pg_url(&self) -> Option<&str> {
        self.postgres.as_ref().map(Postgres::url)
    }

    /// Where Redis listens, as the `redis` crate reads it. `None` when it was not asked for or no
    /// `redis-server` is installed; then the caller should say so loudly.
    pub fn redis_url(&self) -> Option<&str> {
        self.redis.as_ref().map(RedisServer::url)
    }

    /// Stops both servers in order and waits. What does not stop in time is killed.
    pub async fn stop(self) -> Result<(), Error> {
        let DevStack { postgres, redis, _lock } = self;
        let redis = match redis {
            Some(redis) => redis.stop().await,
            None => Ok(()),
        };
        let postgres = match postgres {
            Some(postgres) => postgres.stop().await,
            None => Ok(()),
        };
        postgres.and(redis)
    }
}

/// Proof that no other live process uses this checkout's servers. Children do not inherit it, so it
/// ends with us even when they live on. The file tells who holds it and where the servers listen.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    fn take(root: &Path) -> Result<Lock, Error> {
        let path = root.join("lock");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).at("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).at("read", &path)?;
                let mut lines = text.lines().map(str::to_owned);
                let pid = lines.next().unwrap_or_default();
                let mut url = || lines.next().filter(|url| !url.is_empty());
                return Err(Error::InUse { root: root.into(), pid, pg_url: url(), redis_url: url() });
            }
            Err(TryLockError::Error(e)) => return Err(e).at("lock", &path),
        }
        file.set_len(0).and_then(|()| file.rewind()).at("write", &path)?;
        writeln!(file, "{}", std::process::id()).at("write", &path)?;
        Ok(Lock { path, file })
    }

    /// Tells other processes of this checkout where the servers listen.
    fn announce(&mut self, pg_url: Option<&str>, redis_url: Option<&str>) -> Result<(), Error> {
        let text = format!("{}\n{}\n", pg_url.unwrap_or_default(), redis_url.unwrap_or_default());
        self.file.write_all(text.as_bytes()).at("write", &self.path)
    }
}
