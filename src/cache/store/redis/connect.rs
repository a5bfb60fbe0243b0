//! Making connections: to a server, to the master that sentinels name, to a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bb8::ManageConnection;
use bb8_redis::RedisConnectionManager;
use futures_util::future::{join_all, select_ok};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Role, Value};

use super::address::{Address, moved, patience};

/// Makes connections to one address. A bb8 pool drives it.
pub(super) struct Dial {
    pub(super) address: Address,
    pub(super) timeout: Duration,
}

/// A connection that any number of calls share.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection as the pool keeps it.
pub(super) struct Pooled {
    pub(super) connection: Connection,
    /// Whether it has passed its last check. One that hangs never ends its check: the pool, which stops waiting, would keep it
    /// and try no other.
    is_sound: bool,
}

impl ManageConnection for Dial {
    type Connection = Pooled;
    type Error = RedisError;

    async fn connect(&self) -> RedisResult<Pooled> {
        let connection = match &self.address {
            Address::Server(info) => self.server(info.clone()).await.map(Connection::Server),
            Address::Cluster(client) => {
                let mut connection = client.get_async_connection().await?;
                is_whole(&mut connection).await?;
                Ok(Connection::Cluster(connection))
            }
            Address::Sentinel { sentinels, name, master } => {
                // All are asked at once: one that is away costs no time, and one that is cut off from the others and still
                // names the old master does not lead to a connection.
                let asked = sentinels.iter().map(|sentinel| Box::pin(self.through(sentinel, name, master)));
                select_ok(asked).await.map(|(connection, _)| Connection::Server(connection))
            }
        };
        connection.map(|connection| Pooled { connection, is_sound: true })
    }

    async fn is_valid(&self, pooled: &mut Pooled) -> RedisResult<()> {
        pooled.is_sound = false;
        redis::cmd("PING").query_async::<()>(&mut pooled.connection).await?;
        match (&self.address, &mut pooled.connection) {
            (Address::Sentinel { .. }, Connection::Server(connection)) => is_master(connection).await,
            (_, Connection::Cluster(connection)) => is_whole(connection).await,
            _ => Ok(()),
        }?;
        pooled.is_sound = true;
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        !pooled.is_sound
    }
}

impl Dial {
    async fn server(&self, info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        let mut connection = RedisConnectionManager::new(info)?.connect().await?;
        connection.set_response_timeout(patience(self.timeout));
        Ok(connection)
    }

    /// A connection to the master that this sentinel names, if it is one.
    async fn through(
        &self, sentinel: &ConnectionInfo, name: &str, master: &ConnectionInfo,
    ) -> RedisResult<MultiplexedConnection> {
        let mut sentinel = self.server(sentinel.clone()).await?;
        let asked = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).take();
        let found: Option<(String, u16)> = asked.query_async(&mut sentinel).await?;
        let (host, port) = found.ok_or((ErrorKind::MasterNameNotFoundBySentinel, "a sentinel knows no such master"))?;
        let mut connection = self.server(moved(master, host, port)).await?;
        is_master(&mut connection).await?;
        Ok(connection)
    }
}

/// Sentinels are slow to say that a master is none any more; it says so itself.
async fn is_master(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    match redis::cmd("ROLE").query_async(connection).await? {
        Role::Primary { .. } => Ok(()),
        _ => Err((ErrorKind::Io, "the server is not the master").into()),
    }
}

/// Every master of a cluster must answer: Redis itself refuses to work with less, and no call shall wait for what is known
/// to be away. The client does not tell: it leaves masters out that it could not reach when it connected, and only
/// calls that touch them fail. So this one touches keys all over the slots.
async fn is_whole(connection: &mut ClusterConnection) -> RedisResult<()> {
    let mut spread = redis::cmd("MGET");
    for n in 0..SPREAD {
        spread.arg(format!("cache:nothing:{n}"));
    }
    spread.query_async(connection).await
}

/// Keys enough for one to fall to each master of a cluster of a common size. Where one does not, its loss only costs more:
/// calls that touch it fail, and the connection is made anew a few times a second.
const SPREAD: u32 = 64;

impl Connection {
    /// Sends all of `commands`, whose order must not matter. A cluster takes no pipeline across slots: there, each goes its
    /// own way.
    pub(super) async fn send(mut self, commands: Vec<Cmd>) -> RedisResult<()> {
        match &mut self {
            Self::Server(connection) => {
                let mut pipe = redis::pipe();
                for command in commands {
                    pipe.add_command(command).ignore();
                }
                pipe.query_async(connection).await
            }
            Self::Cluster(connection) => {
                let one = |command: Cmd| {
                    let mut connection = connection.clone();
                    async move { command.query_async(&mut connection).await }
                };
                join_all(commands.into_iter().map(one)).await.into_iter().collect()
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Why the last attempt to connect failed, for the log: the server's or the network's words, which quote no password.
#[derive(Clone, Default)]
pub(super) struct Cause(Arc<ArcSwapOption<String>>);

impl Cause {
    pub(super) fn take(&self) -> String {
        self.0.swap(None).map_or_else(|| "no answer in time".to_owned(), |cause| cause.to_string())
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cause")
    }
}

impl bb8::ErrorSink<RedisError> for Cause {
    fn sink(&self, error: RedisError) {
        self.0.store(Some(Arc::new(error.to_string())));
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<RedisError>> {
        Box::new(self.clone())
    }
}
