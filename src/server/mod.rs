//! The service: clients send scripts over WebSockets and HTTP, and see what becomes of them. Runs no script: jobs go through
//! the queue to workers, and come back through it.
//!
//! Messages are JSON-RPC 2.0, over a WebSocket at `/ws/` or by POST at `/rpc`; the method `rpc.discover` lists all methods.
//! Webhooks come in at `/hooks/NAME`. `/healthz`, `/readyz` and `/metrics` are for those who run it, and so is the page at
//! `/`.
//!
//! # Files
//!
//! - `options`: limits and settings. `auth`: tokens, tickets, origins.
//! - `listen`: connections; `patient`: how long each waits for its peer. `http`: paths. `console`: the page.
//! - `session`: a WebSocket; `state`: its state machine; `outbox`: what waits to be sent; `subscription`: live events.
//! - `protocol`: messages. `methods`: what they ask for. `code`: errors. `discover`: the description of all that.
//! - `library`: named scripts. `schedule`: scripts at times. `hook`: webhooks.

mod auth;
mod code;
mod console;
mod discover;
mod hook;
mod http;
mod library;
mod listen;
mod methods;
mod options;
mod outbox;
mod patient;
mod protocol;
mod schedule;
mod session;
mod state;
mod subscription;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use self::auth::{ALONE, Tokens};
pub use self::hook::{Hook, Scheme};
use self::methods::Service;
pub use self::options::ServerOptions;
use crate::ffi;
use crate::queue::Queue;
use crate::telemetry::Telemetry;

/// How often a server does what is due in the queue.
const TEND: Duration = Duration::from_secs(1);

/// How often what is known of callers who are gone is forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// Descriptors that are kept for what is no connection of a client: requests of scripts, files.
const FOR_SCRIPTS: u64 = 1_024;

/// A server that listens, and is yet to serve.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
}

impl Server {
    /// Listens at an address; port 0 lets the system choose one. Raises the process's soft limit of descriptors to what
    /// [`ServerOptions::connections`] needs; where the hard limit is lower, there are fewer connections, and a warning.
    ///
    /// # Errors
    ///
    /// Where that is not possible, and for an address beyond this machine without tokens: everybody who can reach it could
    /// run scripts.
    pub async fn bind(
        address: SocketAddr,
        queue: Arc<dyn Queue>,
        options: ServerOptions,
        telemetry: Telemetry,
    ) -> io::Result<Self> {
        if options.tokens.is_none() && !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "without tokens, {address} would let everybody run scripts; listen on loopback, or give tokens"
                ),
            ));
        }
        let listener = TcpListener::bind(address).await?;
        let mut options = options;
        options.connections = places(options.connections);
        Ok(Self { listener, tls: None, service: Arc::new(Service::new(queue, options, telemetry)) })
    }

    /// Speaks TLS only, with this certificate (its chain behind it) and key, both as PEM.
    ///
    /// # Errors
    ///
    /// Where they are not valid.
    pub fn tls(mut self, certificate: &[u8], key: &[u8]) -> io::Result<Self> {
        self.tls = Some(listen::tls(certificate, key)?);
        Ok(self)
    }

    /// Whether [`tls`](Self::tls) would take these.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn check_tls(certificate: &[u8], key: &[u8]) -> io::Result<()> {
        listen::tls(certificate, key).map(drop)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` completes; then takes no more connections and calls, lets those that are under way end, no longer
    /// than [`ServerOptions::drain`], and returns.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) {
        let (stopping, stopped) = watch::channel(false);
        let ended = stopping.clone();
        tokio::spawn(async move {
            stop.await;
            let _ = stopping.send(true);
        });
        let tending = tokio::spawn(tend(self.service.clone()));
        let scheduling = tokio::spawn(schedule::keep(self.service.clone()));
        let router = http::router(self.service.clone(), stopped.clone(), self.tls.is_some());
        let options = &self.service.options;
        let telemetry = &self.service.telemetry;
        let connections = listen::serve(self.listener, self.tls, router, options, telemetry, stopped).await;
        // Both have the same time for the calls that are under way; WebSockets end on their own, each of which has a
        // receiver.
        let rest = async {
            let _ = tokio::join!(tokio::time::timeout(options.drain, connections.shutdown()), ended.closed());
        };
        if tokio::time::timeout(options.drain + session::CLOSING, rest).await.is_err() {
            tracing::warn!("some connections were not ended in time");
        }
        tending.abort();
        scheduling.abort();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address().ok()).field("tls", &self.tls.is_some()).finish()
    }
}

/// How many connections there can be of those that are wanted: scripts need descriptors as well, and who fills all places
/// must not take them away.
fn places(wanted: usize) -> usize {
    let all = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(FOR_SCRIPTS);
    let there = match ffi::descriptors::allow(all) {
        Ok(there) => there,
        Err(error) => {
            tracing::warn!(%error, "the limit of descriptors is not known");
            return wanted;
        }
    };
    if there >= all {
        return wanted;
    }
    let places = usize::try_from(there.saturating_sub(FOR_SCRIPTS).max(there / 2)).unwrap_or(wanted).min(wanted);
    tracing::warn!(descriptors = there, "so many descriptors are enough for {places} connections, not for {wanted}");
    places
}

/// Does what is due in the queue and forgets who is gone, for as long as the server runs.
async fn tend(service: Arc<Service>) {
    let mut swept = Instant::now();
    loop {
        if swept.elapsed() >= SWEEP {
            service.sweep();
            swept = Instant::now();
        }
        let next = match service.queue.tend().await {
            Ok(next) => next.unwrap_or(TEND),
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be tended");
                TEND
            }
        };
        tokio::time::sleep(next.clamp(Duration::from_millis(1), TEND)).await;
    }
}
