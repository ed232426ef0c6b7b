//! Connections to Redis: for calls, one that all share and that is made anew when it is lost; for the feed, one of its own.
//! Knows no jobs. A call ends within [`PATIENCE`], whatever the network does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, RedisError, RedisResult, Value, cmd};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::super::QueueError;
use super::address::Address;
use super::scripts::{Script, Scripts, Text};

/// The longest that a call takes. Long enough for a cluster to find the new master of a slot by a second try.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that Redis takes for an answer, and for a connection.
const ANSWER: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(2);
/// A client of the crate would try 16 times; the callers here have more patience, or none.
const RETRIES: u32 = 3;

/// Makes connections.
pub(super) enum Connector {
    Server(Box<Client>),
    Cluster { calls: Box<ClusterClient>, feed: Box<ClusterClient> },
}

impl Connector {
    /// `block`: how long the reader of the feed waits for an answer at most.
    pub(super) fn new(address: &Address, block: Duration) -> Result<Self, QueueError> {
        if !address.is_cluster {
            return Ok(Self::Server(Box::new(Client::open(address.nodes[0].clone()).map_err(unavailable)?)));
        }
        let client = |answer: Duration| {
            let builder = ClusterClient::builder(address.nodes.clone());
            let builder = builder.connection_timeout(CONNECT).response_timeout(answer).overall_response_timeout(None);
            builder.retries(RETRIES).build().map(Box::new).map_err(unavailable)
        };
        Ok(Self::Cluster { calls: client(ANSWER)?, feed: client(block + ANSWER)? })
    }

    async fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Server(client) => Connection::Server(server(client, ANSWER).await?),
            Self::Cluster { calls, .. } => Connection::Cluster(calls.get_async_connection().await?),
        })
    }

    /// One for commands that block, without the limit that the crate sets to all answers.
    pub(super) async fn connect_for_feed(&self, block: Duration) -> RedisResult<Connection> {
        let connecting = async {
            Ok(match self {
                Self::Server(client) => Connection::Server(server(client, block + ANSWER).await?),
                Self::Cluster { feed, .. } => Connection::Cluster(feed.get_async_connection().await?),
            })
        };
        timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(late()))
    }
}

async fn server(client: &Client, answer: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new();
    let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(answer));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// A connection that many may use at once.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn ask(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd).await?.extract_error(),
            Self::Cluster(connection) => connection.req_packed_command(cmd).await?.extract_error(),
        }
    }
}

/// Runs scripts, on a connection that is made anew when it is lost.
pub(super) struct Calls {
    connector: std::sync::Arc<Connector>,
    scripts: Scripts,
    /// The key that leads to the right node of a cluster.
    route: String,
    kept: Mutex<Option<Connection>>,
    /// One at a time connects, and the others use what it has got.
    connecting: tokio::sync::Mutex<()>,
    /// Where the connection lives. A caller's own runtime may end before the queue does.
    runtime: Handle,
}

impl Calls {
    pub(super) fn new(connector: std::sync::Arc<Connector>, scripts: Scripts, route: String) -> Self {
        let (kept, connecting) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Self { connector, scripts, route, kept, connecting, runtime: Handle::current() }
    }

    /// Runs a script. What it returns is for the caller to understand.
    pub(super) async fn run(&self, script: Script, args: &[&str]) -> Result<Value, QueueError> {
        let text = self.scripts.get(script);
        let trying = async {
            let first = self.attempt(text, args).await;
            match first {
                // A connection that was lost while nobody used it shows this when it is used next.
                Err(error) if error.is_connection_dropped() && script.is_repeatable() => self.attempt(text, args).await,
                other => other,
            }
        };
        timeout(PATIENCE, trying).await.unwrap_or_else(|_| Err(late())).map_err(unavailable)
    }

    async fn attempt(&self, text: &Text, args: &[&str]) -> RedisResult<Value> {
        let mut connection = self.connection().await?;
        let command = |name, script| {
            let mut command = cmd(name);
            command.arg(script).arg(1).arg(&self.route).arg(args);
            command
        };
        let mut result = connection.ask(&command("EVALSHA", &text.sha)).await;
        if result.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT")) {
            // New, restarted, or another node: the whole text, which it keeps from now on.
            result = connection.ask(&command("EVAL", &text.text)).await;
        }
        // A cluster's connection looks after itself.
        if let (Err(error), Connection::Server(_)) = (&result, &connection)
            // A replica now: another one may be found behind the name.
            && (error.is_io_error() || error.is_unrecoverable_error() || error.code() == Some("READONLY"))
        {
            *self.kept() = None;
        }
        result
    }

    async fn connection(&self) -> RedisResult<Connection> {
        if let Some(connection) = self.kept().clone() {
            return Ok(connection);
        }
        let _one = self.connecting.lock().await;
        if let Some(connection) = self.kept().clone() {
            return Ok(connection);
        }
        let connector = self.connector.clone();
        let connecting = self.runtime.spawn(async move { connector.connect().await });
        let connection = connecting.await.map_err(|_| late())??;
        *self.kept() = Some(connection.clone());
        Ok(connection)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late() -> RedisError {
    (::redis::ErrorKind::Io, "no answer in time").into()
}

/// What Redis or the network complains of. Neither knows the password.
pub(super) fn unavailable(error: RedisError) -> QueueError {
    let hint = match error.code() {
        Some("MOVED" | "ASK" | "CROSSSLOT") => "; it is a cluster: use redis+cluster://",
        _ => "",
    };
    QueueError::Unavailable(format!("Redis: {error}{hint}"))
}
