//! What can be set for one WebSocket beside the settings of its request. Plain data.

use std::time::Duration;

/// Settings of one WebSocket; the body of the request that opens it.
///
/// # Examples
///
/// ```no_run
/// use marmot::{HttpClient, Request, websocket::Options};
/// use std::time::Duration;
///
/// # async fn example(client: HttpClient) -> Result<(), marmot::Error> {
/// let request = Request::get("wss://example.org/chat")
///     .header("origin", "https://example.org")
///     .body(Options::new().subprotocol("chat.v1").ping_interval(Duration::from_secs(30)))?;
/// let socket = client.websocket_with(request).await?;
/// assert_eq!(socket.protocol(), Some("chat.v1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(super) protocols: Vec<String>,
    pub(super) max_message_size: usize,
    pub(super) ping_interval: Option<Duration>,
    pub(super) close_timeout: Duration,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            protocols: Vec::new(),
            max_message_size: 16 << 20,
            ping_interval: None,
            close_timeout: Duration::from_secs(10),
        }
    }

    /// Offers a subprotocol (RFC 6455 1.9); the one that was offered first is preferred. Default: none.
    ///
    /// Opening the WebSocket fails with [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for a name that
    /// is no token.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// The most bytes that a received message may have, all its fragments together. Default: 16 MiB.
    ///
    /// A larger one fails the connection with [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) and close code 1009, as
    /// soon as its length is known.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sends a ping when nothing was received for this long, and fails with a timeout of the phase
    /// [`Pong`](crate::error::TimeoutPhase::Pong) when nothing is received for that long again. Default: no pings.
    ///
    /// While received messages wait to be read and the transfer is therefore paused, time does not count.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into().map(|interval| interval.max(Duration::from_millis(1)));
        self
    }

    /// How long the other side may take to close after this side has asked to. Default: 10 seconds.
    ///
    /// After that the connection is closed, with a timeout of the phase [`Close`](crate::error::TimeoutPhase::Close).
    pub fn close_timeout(mut self, limit: Duration) -> Self {
        self.close_timeout = limit;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// A request without a body asks for the defaults.
impl From<()> for Options {
    fn from((): ()) -> Self {
        Self::new()
    }
}
