//! A Redis server that keeps nothing: a cache may start empty.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::daemon::{self, Daemon};
use super::error::{At, Error};
use super::find::Found;
use super::home::Home;
use super::postgres::percent_encode;

const SOCKET: &str = "redis.sock";

const SETTINGS: [(&str, &str); 8] = [
    ("--port", "0"),
    ("--unixsocketperm", "700"),
    ("--save", ""),
    ("--appendonly", "no"),
    ("--maxmemory", "256mb"),
    ("--maxmemory-policy", "allkeys-lru"),
    ("--daemonize", "no"),
    ("--logfile", ""),
];

/// One private `redis-server` on a unix socket.
///
/// A test that wants to break Redis starts its own. Started again on the same folder it has the same
/// URL and no keys.
#[derive(Debug)]
pub struct RedisServer {
    daemon: Daemon,
    url: String,
}

impl RedisServer {
    /// Starts a server whose files are under `dir`, and returns when it answers. Stops one that still
    /// runs there: the folder must have no other live owner.
    pub async fn start(dir: &Path) -> Result<RedisServer, Error> {
        fs::create_dir_all(dir).at("make", dir)?;
        let home = Home::settle(&fs::canonicalize(dir).at("resolve", dir)?)?;
        let found = Found::search(dir).redis.ok_or(Error::NoRedis)?;
        RedisServer::start_binary(&home, &found).await
    }

    pub(super) async fn start_binary(home: &Home, binary: &Path) -> Result<RedisServer, Error> {
        let dir = home.dir("redis")?;
        let socket = home.sockets(&dir, SOCKET)?.join(SOCKET);
        let pid_file = dir.join("redis.pid");
        let left = fs::read_to_string(&pid_file).ok().and_then(|p| p.trim().parse().ok());
        if let Some(pid) = left {
            daemon::stop_orphan(pid, &socket, Signal::TERM).await;
        }
        let mut command = Command::new(binary);
        command.current_dir(&dir).arg("--unixsocket").arg(&socket).arg("--pidfile").arg(&pid_file);
        command.arg("--dir").arg(&dir).args(SETTINGS.iter().flat_map(|(name, value)| [name, value]));
        let mut daemon = Daemon::spawn(home, "redis", &mut command, Signal::TERM)?;
        daemon.until(async || answers(&socket).await.is_some()).await?;
        Ok(RedisServer { daemon, url: format!("redis+unix://{}", percent_encode(&socket, "/")) })
    }

    /// Where it listens, as the `redis` crate reads it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it as a crash would: no farewell to its clients.
    pub async fn kill(self) -> Result<(), Error> {
        self.daemon.kill().await
    }

    /// Asks it to stop and waits.
    pub async fn stop(self) -> Result<(), Error> {
        self.daemon.stop().await
    }
}

async fn answers(socket: &Path) -> Option<()> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    stream.write_all(b"PING\r\n").await.ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.ok()?;
    (&answer == b"+PONG").then_some(())
}
