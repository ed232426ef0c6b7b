//! The public client. Everything here ends in one path: a request, an easy handle, an agent, a future.
//!
//! - [`builder`]: a client is configured.
//! - [`send`]: a request becomes a future of a response: by one [`hop`], or through the client's steps ([`interceptor`]):
//!   [`retry`], [`redirect`], [`remember`]. [`trail`] tells how a response came about.
//! - [`cassette`], [`har`] (feature `record`): what passes is recorded and replayed. Their parts: [`redact`],
//!   [`tap`], [`watch`].
//! - [`tower`] (feature `tower`): the client as a service.
//! - [`drive`]: a request is run by the caller's own handler.
//! - [`websocket`]: a request becomes a WebSocket.
//! - [`blocking`]: the only place that blocks.
//! - [`download`]: a request whose response becomes a file, whole or not at all.
//! - [`events`]: a request that goes on and on, with [`sse`], its format; [`events_blocking`] for a thread that may block;
//!   [`backoff`] and [`timer`] say when again.
//! - [`hsts`], [`alt_svc`]: what servers said about their hosts; [`kept`] and [`lexer`] serve both.
//! - [`request`], [`response`], [`verbs`]: extension traits and shorthands. [`text`]: charsets. [`url`]: text becomes a URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, Uri};

use crate::agent::Agents;
use crate::body::{AsyncBody, Body};
use crate::config::{ClientConfig, RequestConfig};
#[cfg(feature = "script")]
use crate::easy::options::concern_handle;
use crate::easy::prepare::Prepare;
use crate::error::Error;
use crate::handler::Handler;
use blocking::Patience;
use interceptor::{Interceptor, Steps};
use redirect::Redirects;
use remember::Memory;
use retry::Retries;

mod alt_svc;
mod backoff;
pub(crate) mod blocking;
mod builder;
#[cfg(feature = "record")]
pub mod cassette;
mod download;
mod drive;
mod events;
mod events_blocking;
#[cfg(feature = "record")]
pub mod har;
mod hop;
mod hsts;
pub mod interceptor;
mod kept;
mod lexer;
#[cfg(feature = "record")]
mod redact;
mod redirect;
mod remember;
mod request;
mod response;
mod retry;
mod send;
mod sse;
mod stats;
#[cfg(feature = "record")]
mod tap;
mod text;
mod timer;
#[cfg(feature = "tower")]
pub mod tower;
mod trail;
mod url;
mod verbs;
mod version;
#[cfg(feature = "record")]
mod watch;
pub(crate) mod websocket;

pub use alt_svc::AltSvcCache;
#[cfg(feature = "script")]
pub(crate) use backoff::retry_after;
pub use blocking::CancelToken;
pub use builder::HttpClientBuilder;
pub use download::{Download, Downloaded};
pub use drive::Driving;
pub use events::EventStream;
pub use events_blocking::BlockingEvents;
pub use hsts::HstsCache;
pub use request::{RequestBuilderExt, RequestExt};
pub use response::{AsyncReadResponseExt, ReadResponseExt, ResponseExt};
pub use send::ResponseFuture;
pub use sse::Event;
pub use stats::Stats;
#[cfg(feature = "script")]
pub(crate) use text::decode as decode_text;
#[cfg(feature = "stripe")]
pub(crate) use timer::sleep;
pub use trail::Redirected;
pub use url::parse_url;
pub use verbs::*;
pub(crate) use version::version;

/// An HTTP client: connections, defaults and the agents that drive its transfers.
///
/// Clones share all of it. An agent has a thread while it has work; when the last clone is gone it finishes the transfers
/// whose responses are still being read, and ends. Dropping a client waits for nothing.
///
/// The `_async` methods work under any executor and need none of its services; the blocking ones work everywhere, inside
/// an asynchronous runtime too (where they block that runtime's thread). A blocking call runs the agent itself while it
/// waits, if nobody else does.
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

/// What a builder collects for the steps of its client: the user's own, outside and inside, and what is remembered.
#[derive(Clone, Default)]
pub(crate) struct Interceptors {
    outer: Vec<Arc<dyn Interceptor>>,
    network: Vec<Arc<dyn Interceptor>>,
    memory: Memory,
    /// The innermost of them answers every request itself: none is sent, not even by handlers.
    offline: bool,
}

impl std::fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} and {} network", self.outer.len(), self.network.len())
    }
}

pub(crate) struct Inner {
    agents: Arc<Agents>,
    config: ClientConfig,
    /// What handles are set up with, unless a request's own settings concern them.
    handle: Arc<RequestConfig>,
    /// What requests go through, from the outside in.
    steps: Steps,
    /// Some of the steps have something to do for every request.
    intercepted: bool,
    /// What the steps were made of. WebSockets use the memory without the others.
    own: Interceptors,
}

impl Inner {
    /// Starts a transfer. Its handler is told, too, of what keeps it from starting.
    fn start(&self, prepare: Prepare) -> Result<(), Error> {
        match prepare.into_easy(self.agents.pool()) {
            Ok(easy) => {
                self.agents.execute(easy);
                Ok(())
            }
            Err((error, mut handler)) => {
                let _ = handler.on_error(error.clone());
                Err(error)
            }
        }
    }
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
            std::sync::LazyLock::new(|| HttpClient::with_config(ClientConfig::default(), Interceptors::default()));
        &SHARED
    }

    fn with_config(config: ClientConfig, own: Interceptors) -> Self {
        let limits = crate::agent::Limits {
            agents: config.agents,
            connections: config.max_connections,
            connections_per_host: config.max_connections_per_host,
            connection_cache: config.connection_cache_size,
            spare_connections: None,
            streams: config.max_concurrent_streams,
        };
        let intercepted = !own.outer.is_empty() || !own.network.is_empty() || own.memory.is_needed();
        let ours: [Arc<dyn Interceptor>; 3] = [Arc::new(Retries), Arc::new(Redirects), Arc::new(own.memory.clone())];
        let steps = own.outer.iter().cloned().chain(ours).chain(own.network.iter().cloned()).collect();
        let handle = config.request.clone();
        Self {
            inner: Arc::new(Inner { agents: Arc::new(Agents::new(limits)), config, handle, steps, intercepted, own }),
        }
    }

    /// The same client, its connections included, whose requests have those settings unless they bring their own.
    #[cfg(feature = "script")]
    pub(crate) fn with_settings(&self, settings: RequestConfig) -> Self {
        let Inner { agents, config, handle, steps, intercepted, own } = &*self.inner;
        let anew = concern_handle(&settings);
        let request = Arc::new(settings.merged_over(&config.request));
        let handle = if anew { request.clone() } else { handle.clone() };
        let config = ClientConfig { request, ..config.clone() };
        let (agents, steps, own) = (agents.clone(), steps.clone(), own.clone());
        Self { inner: Arc::new(Inner { agents, config, handle, steps, intercepted: *intercepted, own }) }
    }

    /// A builder with the settings of this client, interceptors, cookies and recordings included. What is built has
    /// connections of its own.
    pub fn to_builder(&self) -> HttpClientBuilder {
        HttpClientBuilder::from_parts(self.inner.config.clone(), self.inner.own.clone())
    }

    /// Sends a request and waits for the head of its response. The body streams.
    ///
    /// # Errors
    ///
    /// Every [`ErrorKind`](crate::ErrorKind) that a request can meet before its response is here. A status like 404 is
    /// not an error.
    pub fn send<B: Into<Body>>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        let request = request.map(|body| body.into().into_async());
        let response = self.wait_for(&Patience::default(), || self.send_async(request));
        response.and_then(|response| response).map(|response| response.map(Body::from))
    }

    /// Waits for what `start` starts. An agent of this client that comes along with that, or later, is run meanwhile.
    pub(crate) fn wait_for<F: Future>(
        &self,
        patience: &Patience,
        start: impl FnOnce() -> F,
    ) -> Result<F::Output, Error> {
        blocking::block_on_offering(&self.inner.agents, start, patience)
    }

    /// Runs a future on this thread until it is ready. While it waits, the thread works on the client's transfers.
    ///
    /// Any executor runs the client's futures; the transfers then have a thread of their own. Here nothing goes from thread
    /// to thread: of many small requests at once each takes about a tenth less time, and a fifth less CPU time.
    ///
    /// Others' requests of the same client are worked on as well. As on a runtime with one thread all of them stand still
    /// while the future computes for long, and for ever if it blocks until one of them is done: with another executor, or
    /// in another thread that it joins. The library's own blocking calls may be made inside.
    ///
    /// # Panics
    ///
    /// If the future does.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/server.in")); }
    /// # let url = server::serve(|request| server::response("200", request.split(' ').nth(1).unwrap()));
    /// use futures::future::try_join_all;
    /// use marmot::HttpClient;
    /// use marmot::prelude::*;
    ///
    /// let client = HttpClient::new()?;
    /// let texts = client.block_on(try_join_all(["/one", "/two"].map(|path| {
    ///     let response = client.get_async(format!("{url}{path}"));
    ///     async { response.await?.text().await }
    /// })))?;
    /// assert_eq!(texts, ["/one", "/two"]);
    /// # Ok::<(), marmot::Error>(())
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        blocking::endless(self.wait_for(&Patience::default(), || future))
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

    /// What the client is doing now and has done so far.
    ///
    /// The agents are asked and answer at once, unless a handler holds one up; after a second without an answer its part of
    /// the gauges is missing. Do not call it from a handler's methods.
    pub fn stats(&self) -> Stats {
        let agents = &self.inner.agents;
        let deadline = Some(std::time::Instant::now() + Duration::from_secs(1));
        let patience = Patience { deadline, cancel: None };
        let mut stats = Stats::default();
        for report in agents.report() {
            let Some(report) = blocking::block_on_with(report, &patience).ok().and_then(Result::ok) else { continue };
            stats.agents += 1;
            stats.open += report.open;
            stats.idle += report.open.saturating_sub(report.in_use);
            stats.in_flight += report.in_flight;
            stats.waiting += report.waiting;
        }
        let counters = agents.counters();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            started: count(&counters.started),
            completed: count(&counters.completed),
            failed: count(&counters.failed),
            reused: count(&counters.reused),
            ..stats
        }
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
            for ended in all_ended {
                let _ = ended.await;
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
