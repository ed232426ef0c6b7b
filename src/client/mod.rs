//! The public client. Everything here ends in one path: a request, an easy handle, an agent, a future.
//!
//! - [`builder`]: a client is configured.
//! - [`send`]: a request becomes a future of a response, redirects included; [`redirect`] holds their rules.
//! - [`drive`]: a request is run by the caller's own handler.
//! - [`websocket`]: a request becomes a WebSocket.
//! - [`blocking`]: the only place that blocks.
//! - [`request`], [`response`], [`verbs`]: extension traits and shorthands. [`text`]: charsets.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};

use crate::agent::Agents;
use crate::body::{AsyncBody, Body};
use crate::config::ClientConfig;
use crate::error::Error;
use crate::handler::Handler;

pub(crate) mod blocking;
mod builder;
mod drive;
mod redirect;
mod request;
mod response;
mod send;
mod text;
mod verbs;
mod version;
pub(crate) mod websocket;

pub use blocking::CancelToken;
pub use builder::HttpClientBuilder;
pub use drive::Driving;
pub use request::RequestExt;
pub use response::{AsyncReadResponseExt, ReadResponseExt, ResponseExt};
pub use send::ResponseFuture;
#[cfg(feature = "script")]
pub(crate) use text::decode as decode_text;
pub use verbs::*;
pub(crate) use version::version;

/// An HTTP client: connections, defaults and an agent thread that drives its transfers.
///
/// Clones share all of it. The thread starts with the first request; when the last clone is gone it finishes the
/// transfers whose responses are still being read, and ends. Dropping a client waits for nothing.
///
/// The `_async` methods work under any executor and need none of its services; the blocking ones work everywhere, inside
/// an asynchronous runtime too (where they block that runtime's thread).
///
/// # Examples
///
/// ```no_run
/// use marmot::prelude::*;
///
/// let client = HttpClient::new()?;
/// let text = client.get("https://example.org/")?.text()?;
/// # Ok::<(), marmot::Error>(())
/// ```
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    agents: Agents,
    config: ClientConfig,
}

impl HttpClient {
    /// A client with the default settings.
    ///
    /// # Errors
    ///
    /// As for [`HttpClientBuilder::build`].
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Configures a client.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder::default()
    }

    /// The client behind the free functions, made when it is first used.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: std::sync::LazyLock<HttpClient> =
            std::sync::LazyLock::new(|| HttpClient::with_config(ClientConfig::default()));
        &SHARED
    }

    fn with_config(config: ClientConfig) -> Self {
        let limits = crate::agent::Limits {
            connections: config.max_connections,
            connections_per_host: config.max_connections_per_host,
            connection_cache: config.connection_cache_size,
        };
        Self { inner: Arc::new(Inner { agents: Agents::new(limits), config }) }
    }

    /// Sends a request and waits for the head of its response. The body streams.
    ///
    /// # Errors
    ///
    /// Every [`ErrorKind`](crate::ErrorKind) that a request can meet before its response is here. A status like 404 is
    /// not an error.
    pub fn send<B: Into<Body>>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        let future = self.send_async(request.map(|body| body.into().into_async()));
        blocking::block_on(future).map(|response| response.map(Body::from))
    }

    /// Sends a request. The future completes with the head of the response; the body streams.
    ///
    /// The request starts at once, not with the first poll. Dropping the future ends it.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_async<B: Into<AsyncBody>>(&self, request: Request<B>) -> ResponseFuture {
        ResponseFuture::start(self.inner.clone(), request.map(Into::into))
    }

    /// Runs a request with a handler of your own. The future gives the handler back when the transfer is over.
    ///
    /// The client's default headers and settings apply; redirects are not followed and nothing is decompressed. The
    /// request starts at once. Dropping the future ends it.
    ///
    /// # Errors
    ///
    /// The future fails if the handler panicked. Everything else is told to the handler ([`Handler::on_error`]).
    pub fn drive<H: Handler>(&self, request: Request<()>, handler: H) -> Driving<H> {
        drive::start(&self.inner, request, handler)
    }

    /// Ends the client: new requests are refused, those in flight may go on for `grace` and then fail with
    /// [`ErrorKind::ClientShutDown`](crate::ErrorKind::ClientShutDown). Returns when all have ended.
    ///
    /// All clones are ended with it. Responses whose bodies are being read are in flight.
    pub fn shutdown(&self, grace: Duration) {
        blocking::block_on(self.shutdown_async(grace));
    }

    /// As [`shutdown`](Self::shutdown), asynchronously. It begins at once, and goes on if the future is dropped.
    pub fn shutdown_async(&self, grace: Duration) -> impl Future<Output = ()> + Send + 'static {
        let all_ended = self.inner.agents.shut_down(grace);
        async move {
            if let Some(all_ended) = all_ended {
                let _ = all_ended.await;
            }
        }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// A URL from whatever `http` can make one of.
fn to_uri<U>(uri: U) -> Result<Uri, Error>
where
    Uri: TryFrom<U>,
    <Uri as TryFrom<U>>::Error: Into<http::Error>,
{
    Uri::try_from(uri).map_err(|error| {
        let error: http::Error = error.into();
        Error::from(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_lost_agent_fails_its_requests_and_the_next_one_gets_a_new_agent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = HttpClient::new().unwrap();
        let lost = client.get_async(&url);
        let (mut silent, _) = listener.accept().unwrap();
        client.inner.agents.break_agent();
        assert_eq!(blocking::block_on(lost).unwrap_err().kind(), ErrorKind::AgentLost);
        assert!(silent.read_to_end(&mut Vec::new()).is_ok(), "its connection is closed");

        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        });
        assert_eq!(client.get(&url).unwrap().status(), 204);
        served.join().unwrap();
    }
}
