//! WebSockets (RFC 6455): one more transfer on an agent, with a handler of its own. Not a thread each.
//!
//! libcurl asks for the upgrade, through proxies and TLS as for any request, and from the switch of protocols on hands
//! bytes through in both directions (`CURLWS_RAW_MODE`). The frames are read and written here.
//!
//! - [`options`], [`message`]: what the caller sees. [`blocking`]: the blocking twin.
//! - [`handshake`]: the request and its answer.
//! - [`session`]: the rules, with [`incoming`] (bytes to messages), [`frame`] (heads and masks), [`random`].
//! - [`link`]: the two queues between the caller and the transfer. [`handler`]: the transfer's side of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use futures::{Sink, Stream};
use http::header::SET_COOKIE;
use http::{Request, Response};

use super::{HttpClient, Inner, hop};
use crate::config::{RequestConfig, VersionNegotiation};
use crate::cookies::CookieJar;
use crate::easy::prepare::{Prepare, Upload};
use crate::error::{Error, ErrorKind};
use crate::handler::Control;

mod blocking;
mod frame;
mod handler;
mod handshake;
mod incoming;
mod link;
mod message;
mod options;
mod random;
mod session;

pub use blocking::BlockingWebSocket;
pub use message::{CloseFrame, Message};
pub use options::Options;

use link::Link;

/// An open WebSocket: a [`Stream`] of received messages and a [`Sink`] for messages to send.
///
/// The extension traits `StreamExt` and `SinkExt` of `futures` have what is needed: `next`, `send`, `feed`, `flush`,
/// `close`, and `split` for two tasks.
///
/// - Pings are answered by the transfer itself, the latest one if there are several; they and pongs are shown too.
/// - A received close is answered, shown as [`Message::Close`], and then the stream ends. An error is shown once, and
///   then the stream ends.
/// - When about 1 MiB of messages waits to be read, the transfer is paused, and with it the answers to pings. When about
///   1 MiB waits to be sent, the sink is not ready.
/// - `flush` waits until libcurl has handed everything to the system. `close` sends a close with code 1000, unless one was
///   sent, and waits until the other side has closed too.
///
/// Dropping it ends the connection at once, without a close frame and with what was not flushed; after a close was
/// received, its answer still goes out.
///
/// # Errors
///
/// Sending fails with [`ErrorKind::Closed`] after a close of either side, and with the reason after a failure. Receiving
/// fails with [`ErrorKind::ProtocolViolation`] when the server breaks a rule, [`ErrorKind::TooLarge`] for a message over
/// [`Options::max_message_size`], [`ErrorKind::Io`] when the connection ends without a close, and
/// [`ErrorKind::ClientShutDown`].
#[must_use = "dropping the WebSocket ends the connection"]
pub struct WebSocket {
    link: Link,
    head: Response<()>,
    close_timeout: Duration,
}

impl WebSocket {
    /// The subprotocol that the server chose (RFC 6455 1.9).
    pub fn protocol(&self) -> Option<&str> {
        handshake::protocol(&self.head)
    }

    /// The head of the response that opened it. [`ResponseExt`](crate::ResponseExt) tells the addresses.
    pub fn response(&self) -> &Response<()> {
        &self.head
    }

    /// Closes with that code and reason, throws away what is received before the other side's close, and returns the
    /// frame of that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for a code or reason that cannot be sent, [`ErrorKind::Timeout`] if the other side
    /// does not close within [`Options::close_timeout`], and whatever else ends the connection before.
    pub async fn close_with(&mut self, code: u16, reason: &str) -> Result<Option<CloseFrame>, Error> {
        if self.link.is_open() {
            self.link.send(Message::Close(Some(CloseFrame::new(code, reason))), self.close_timeout)?;
        }
        let mut answer = None;
        while let Some(message) = std::future::poll_fn(|cx| self.link.poll_receive(cx)).await {
            if let Message::Close(frame) = message? {
                answer = frame;
            }
        }
        std::future::poll_fn(|cx| self.link.poll_finished(cx)).await?;
        Ok(answer)
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.link.poll_receive(cx)
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.link.poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let close_timeout = self.close_timeout;
        self.link.send(message, close_timeout)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.link.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.link.is_open() {
            let close_timeout = self.close_timeout;
            self.link.send(Message::Close(Some(CloseFrame::new(CloseFrame::NORMAL, ""))), close_timeout)?;
        }
        self.link.poll_finished(cx)
    }
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").field("protocol", &self.protocol()).finish_non_exhaustive()
    }
}

/// Completes with the WebSocket when the server has switched over. Dropping it ends the attempt.
#[must_use = "dropping the future ends the attempt"]
pub struct Connecting(State);

enum State {
    Failed(Error),
    Running { link: Link, close_timeout: Duration, url: http::Uri, jar: Option<CookieJar> },
    Done,
}

impl Future for Connecting {
    type Output = Result<WebSocket, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Running { link, .. } => ready!(link.poll_open(cx)),
            State::Failed(error) => Err(error.clone()),
            State::Done => Err(Error::new(ErrorKind::Cancelled).with_detail("the WebSocket was taken before")),
        };
        Poll::Ready(match (std::mem::replace(&mut self.0, State::Done), result) {
            (State::Running { link, close_timeout, url, jar }, Ok(head)) => {
                if let Some(jar) = jar {
                    jar.store(&url, head.headers().get_all(SET_COOKIE).iter(), SystemTime::now());
                }
                Ok(WebSocket { link, head, close_timeout })
            }
            (_, Err(error)) => Err(error),
            (_, Ok(_)) => Err(Error::new(ErrorKind::Cancelled)),
        })
    }
}

impl HttpClient {
    /// Opens a WebSocket. The future completes when the server has switched over.
    ///
    /// The URL's scheme is `ws` or `wss`; `http` and `https` mean the same. Everything that is set for requests holds:
    /// TLS, credentials, default headers, allowed hosts, timeouts. The total [`timeout`](crate::config::Configurable::timeout)
    /// is the time for opening; the low speed limit does not apply. Redirects are not followed. Each WebSocket has a
    /// connection of its own, over HTTP/1.1. Cookies go along and are kept; interceptors see nothing of it. Opening starts at
    /// once, not with the first poll.
    ///
    /// # Errors
    ///
    /// The future fails with [`ErrorKind::UpgradeRefused`] if the server answers with another status than 101
    /// ([`Error::response`] tells which), with [`ErrorKind::ProtocolViolation`] if its 101 is not for this request, and
    /// otherwise as for [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::{SinkExt, StreamExt};
    /// use marmot::websocket::Message;
    ///
    /// # async fn example(client: marmot::HttpClient) -> Result<(), marmot::Error> {
    /// let mut socket = client.websocket("wss://example.org/chat").await?;
    /// socket.send("hello".into()).await?;
    /// while let Some(message) = socket.next().await {
    ///     if let Message::Text(text) = message? {
    ///         println!("{text}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn websocket<U>(&self, url: U) -> Connecting
    where
        http::Uri: TryFrom<U>,
        <http::Uri as TryFrom<U>>::Error: Into<http::Error>,
    {
        match super::to_uri(url) {
            Ok(uri) => {
                let mut request = Request::new(());
                *request.uri_mut() = uri;
                self.websocket_with(request)
            }
            Err(error) => Connecting(State::Failed(error)),
        }
    }

    /// Opens a WebSocket with a request of your own: its headers, its settings
    /// ([`Configurable`](crate::config::Configurable)), and as its body the [`Options`] of the WebSocket, or `()` for
    /// their defaults.
    ///
    /// # Errors
    ///
    /// As for [`websocket`](Self::websocket), and [`ErrorKind::InvalidRequest`] for a method other than GET and for
    /// headers that belong to the handshake.
    pub fn websocket_with<O: Into<Options>>(&self, request: Request<O>) -> Connecting {
        let (parts, options) = request.into_parts();
        let uri = parts.uri.clone();
        Connecting(match start(&self.inner, Request::from_parts(parts, ()), options.into()) {
            Ok(state) => state,
            Err(error) => State::Failed(error.with_url(&uri)),
        })
    }

    /// As [`websocket`](Self::websocket), blocking.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn websocket_blocking<U>(&self, url: U) -> Result<BlockingWebSocket, Error>
    where
        http::Uri: TryFrom<U>,
        <http::Uri as TryFrom<U>>::Error: Into<http::Error>,
    {
        super::blocking::block_on(self.websocket(url)).map(BlockingWebSocket::from)
    }

    /// As [`websocket_with`](Self::websocket_with), blocking.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn websocket_blocking_with<O: Into<Options>>(&self, request: Request<O>) -> Result<BlockingWebSocket, Error> {
        super::blocking::block_on(self.websocket_with(request)).map(BlockingWebSocket::from)
    }
}

fn start(client: &Arc<Inner>, request: Request<()>, options: Options) -> Result<State, Error> {
    let (mut parts, ()) = request.into_parts();
    let hop::Merged { config, .. } = hop::settings(client, &mut parts.extensions);
    hop::add_default_headers(&client.config, &mut parts.headers);
    let mut request = Request::from_parts(parts, ());
    let expected = handshake::prepare(&mut request, &options.protocols)?;
    if client.own.offline {
        return Err(Error::new(ErrorKind::NoRecording).with_detail("WebSockets are not recorded"));
    }

    let jar = config.cookie_jar.clone().flatten();
    client.own.memory.apply(&mut request, jar.as_ref());

    let limit = config.timeout.flatten();
    // Settings of its own, so that the handle is set up anew for the request after it. Limits on a response's time and
    // speed are not for a conversation.
    let config = Arc::new(RequestConfig {
        timeout: Some(None),
        low_speed: Some(None),
        response_timeout: Some(None),
        stall_timeout: Some(None),
        max_response_size: Some(None),
        version: Some(VersionNegotiation::http11()),
        decompress: Some(false),
        ..(*config).clone()
    });
    let control = Control::new();
    let (port, link) = link::link(control.clone());
    let close_timeout = options.close_timeout;
    let handler = Box::new(handler::Talk::new(port, request.uri().clone(), expected, options, limit));
    let url = request.uri().clone();
    let settings = config.clone();
    let prepare = Prepare { request, upload: Upload::WebSocket, config, settings, time_left: None, handler, control };
    client.start(prepare)?;
    Ok(State::Running { link, close_timeout, url, jar })
}
