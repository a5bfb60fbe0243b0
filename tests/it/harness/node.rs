//! Servers of Redis as an operator may run them: on TCP, in a cluster, behind sentinels, with TLS.
//!
//! What `devstack` starts listens on unix sockets alone, which neither clusters nor sentinels can use.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};

use super::stores::redis_is_optional;

/// A server on a loopback port. It ends when it is dropped, in a panic too.
pub(crate) struct Node {
    pub(crate) port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl Node {
    /// Starts `redis-server` with what `arguments` says for a folder and a free port, and waits until it is ready.
    /// `None` (told loudly) on a machine that has none, or one that cannot do that, and may do without.
    pub(crate) async fn start(arguments: impl Fn(&Path, u16) -> Vec<String>) -> Option<Self> {
        let mut told = String::new();
        // A port that was free may be taken by the time the server wants it.
        for _ in 0..5 {
            let folder = super::folder();
            let port = free_port();
            let arguments = arguments(&folder, port);
            match Self::run(&folder, &arguments).await {
                Ok(child) => return Some(Self { port, folder, arguments, child }),
                Err(log) => told = log,
            }
        }
        assert!(redis_is_optional(), "redis-server: {told}");
        eprintln!("NOT TESTED: redis-server does not start like that: {told}");
        None
    }

    /// A plain server, with `more` arguments.
    pub(crate) async fn plain(more: &[&str]) -> Option<Self> {
        Self::start(|_, port| words(&["--port", &port.to_string()]).into_iter().chain(words(more)).collect()).await
    }

    async fn run(folder: &Path, arguments: &[String]) -> Result<Child, String> {
        let log = folder.join("log");
        let file = std::fs::File::create(&log).expect("a log");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let binary = std::env::split_paths(&path)
            .flat_map(|dir| [dir.join("redis-server"), dir.join("valkey-server")])
            .find(|file| file.is_file())
            .ok_or("this machine has no redis-server")?;
        let mut command = Command::new(binary);
        command.args(arguments).args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        command.current_dir(folder).stdin(Stdio::null()).stdout(file.try_clone().expect("a log")).stderr(file);
        let mut child = command.kill_on_drop(true).spawn().expect("starts");
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        let begun = Instant::now();
        // A sentinel never says that it is ready, but what it watches.
        while !["Ready to accept connections", "+monitor master"].iter().any(|ready| told().contains(ready)) {
            if child.try_wait().expect("is ours").is_some() || begun.elapsed() > Duration::from_secs(20) {
                return Err(told());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(child)
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        self.child = Self::run(&self.folder, &self.arguments).await.expect("starts again");
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A session of an onlooker's.
    pub(crate) async fn session(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{}", self.address())).expect("a URL");
        // Patient: a machine that is busy with other tests is slow to answer.
        let patient = Some(std::time::Duration::from_secs(20));
        let config = redis::AsyncConnectionConfig::new().set_connection_timeout(patient).set_response_timeout(patient);
        client.get_multiplexed_async_connection_with_config(&config).await.expect("Redis answers")
    }

    /// The answer to one command, given as words.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().expect("a command"));
        words.for_each(|word| {
            command.arg(word);
        });
        let answer = command.query_async(&mut self.session().await).await;
        answer.unwrap_or_else(|e| panic!("{:?}: {e}", String::from_utf8_lossy(&command.get_packed_command())))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The child is killed by its own drop; what it still writes goes nowhere.
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), holds)
        .await
        .unwrap_or_else(|_| panic!("30 s went by, and not: {what}"));
}
