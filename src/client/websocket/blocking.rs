//! The blocking twin: waits on the asynchronous WebSocket. Holds no socket and no thread of its own.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Sink, Stream};
use http::Response;

use super::super::blocking::{CancelToken, Patience, block_on_with};
use super::WebSocket;
use super::message::{CloseFrame, Message};
use crate::error::Error;

/// A [`WebSocket`] whose methods block. Iterating over it receives.
///
/// # Examples
///
/// ```no_run
/// use marmot::{HttpClient, websocket::{CloseFrame, Message}};
///
/// let mut socket = HttpClient::new()?.websocket_blocking("wss://example.org/echo")?;
/// socket.send("hello")?;
/// assert_eq!(socket.recv()?, Some(Message::text("hello")));
/// socket.close(CloseFrame::NORMAL, "")?;
/// # Ok::<(), marmot::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping the WebSocket ends the connection"]
pub struct BlockingWebSocket {
    socket: WebSocket,
    patience: Patience,
}

impl BlockingWebSocket {
    /// Lets the token end every wait from now on, with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). The
    /// connection stands.
    pub fn cancelled_by(mut self, token: CancelToken) -> Self {
        self.patience.cancel = Some(token);
        self
    }

    /// Sends a message and waits until it is flushed.
    ///
    /// # Errors
    ///
    /// As for [`WebSocket`].
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.flush()
    }

    /// Queues a message to be sent; waits only if about 1 MiB of them waits already. It goes out without a flush.
    ///
    /// # Errors
    ///
    /// As for [`WebSocket`].
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.wait(None, |socket, cx| socket.poll_ready(cx))??;
        Pin::new(&mut self.socket).start_send(message.into())
    }

    /// Waits until everything queued is handed to the system.
    ///
    /// # Errors
    ///
    /// As for [`WebSocket`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.wait(None, |socket, cx| socket.poll_flush(cx))?
    }

    /// Waits for a message; `None` when the WebSocket is closed.
    ///
    /// # Errors
    ///
    /// As for [`WebSocket`].
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.wait(None, |socket, cx| socket.poll_next(cx))?.transpose()
    }

    /// As [`recv`](Self::recv), and fails with a timeout of the phase
    /// [`Deadline`](crate::error::TimeoutPhase::Deadline) if nothing comes in time. The connection stands.
    ///
    /// # Errors
    ///
    /// As for [`WebSocket`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Message>, Error> {
        self.wait(Instant::now().checked_add(limit), |socket, cx| socket.poll_next(cx))?.transpose()
    }

    /// As [`WebSocket::close_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close(&mut self, code: u16, reason: &str) -> Result<Option<CloseFrame>, Error> {
        block_on_with(self.socket.close_with(code, reason), &self.patience)?
    }

    /// As [`WebSocket::protocol`].
    pub fn protocol(&self) -> Option<&str> {
        self.socket.protocol()
    }

    /// As [`WebSocket::response`].
    pub fn response(&self) -> &Response<()> {
        self.socket.response()
    }

    /// The asynchronous WebSocket inside.
    pub fn into_async(self) -> WebSocket {
        self.socket
    }

    fn wait<T>(
        &mut self,
        deadline: Option<Instant>,
        mut poll: impl FnMut(Pin<&mut WebSocket>, &mut std::task::Context<'_>) -> std::task::Poll<T>,
    ) -> Result<T, Error> {
        let patience = Patience { deadline, cancel: self.patience.cancel.clone() };
        let socket = &mut self.socket;
        block_on_with(std::future::poll_fn(|cx| poll(Pin::new(&mut *socket), cx)), &patience)
    }
}

impl From<WebSocket> for BlockingWebSocket {
    fn from(socket: WebSocket) -> Self {
        Self { socket, patience: Patience::default() }
    }
}

impl Iterator for BlockingWebSocket {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv().transpose()
    }
}
