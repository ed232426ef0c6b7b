//! How a server is set up: plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use super::auth::Tokens;
use super::hook::Hook;

/// What a server allows, and how much of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Who may call. Default: nobody has to say who they are; that is for loopback addresses only.
    pub tokens: Option<Tokens>,
    /// Origins whose pages may connect, beside the server's own, such as `https://app.example.org`. Default: none.
    pub origins: Vec<String>,
    /// The time limit of jobs that name none. Default: 30 s.
    pub task_timeout: Duration,
    /// The longest time limit that a job may name. Default: an hour.
    pub longest_task: Duration,
    /// The most bytes of a message or of the body of a request. Default: 1 MiB.
    pub message_size: usize,
    /// The most requests in a batch. Default: 50.
    pub batch: usize,
    /// The most connections. Default: 10,000.
    pub connections: usize,
    /// The most WebSockets of a tenant. Default: 8,000.
    pub sessions_per_tenant: usize,
    /// The most calls of a WebSocket that wait for their answers. Default: 64.
    pub calls_per_session: usize,
    /// The most subscriptions of a WebSocket. Default: 64.
    pub subscriptions_per_session: usize,
    /// The most bytes that wait to be sent to a WebSocket. Default: 2 MiB.
    pub outgoing: usize,
    /// The most calls of a tenant in a second, in the long run. Default: 2,000.
    pub calls_per_second: u32,
    /// How long a WebSocket may be silent before it is asked for a sign of life, and after that until it is closed.
    /// Default: 30 s.
    pub silence: Duration,
    /// How long the head of a request, a TLS handshake, a body or a write may take. Default: 15 s.
    pub patience: Duration,
    /// How long calls that are under way have when the server stops. Default: 20 s.
    pub drain: Duration,
    /// Webhooks, by name. Default: none.
    pub hooks: BTreeMap<String, Hook>,
}

impl ServerOptions {
    /// The most bytes of answers that wait until there is room for them, of a WebSocket or in a batch.
    pub(super) fn backlog(&self) -> usize {
        self.outgoing.saturating_mul(4)
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            tokens: None,
            origins: Vec::new(),
            task_timeout: Duration::from_secs(30),
            longest_task: Duration::from_secs(60 * 60),
            message_size: 1 << 20,
            batch: 50,
            connections: 10_000,
            sessions_per_tenant: 8_000,
            calls_per_session: 64,
            subscriptions_per_session: 64,
            outgoing: 2 << 20,
            calls_per_second: 2_000,
            silence: Duration::from_secs(30),
            patience: Duration::from_secs(15),
            drain: Duration::from_secs(20),
            hooks: BTreeMap::new(),
        }
    }
}
