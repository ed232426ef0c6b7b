//! A client is configured. Starts nothing.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::alt_svc::AltSvcCache;
use super::hsts::HstsCache;
use super::interceptor::Interceptor;
use super::{HttpClient, Interceptors};
use crate::config::{ClientConfig, Configurable, EgressPolicy, RequestConfig, Sealed};
use crate::error::{Error, ErrorKind};

/// Configures an [`HttpClient`]. The settings of [`Configurable`] become the defaults of its requests.
///
/// # Examples
///
/// ```
/// use marmot::prelude::*;
/// use std::time::Duration;
///
/// let client = HttpClient::builder()
///     .connect_timeout(Duration::from_secs(5))
///     .default_header("x-team", "marmots")
///     .max_connections_per_host(8)
///     .build()?;
/// # Ok::<(), marmot::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct HttpClientBuilder {
    request: RequestConfig,
    client: ClientConfig,
    interceptors: Interceptors,
    #[cfg(feature = "record")]
    cassette: Option<super::cassette::Cassette>,
    #[cfg(feature = "record")]
    har: Option<super::har::HarRecorder>,
    invalid: Option<Error>,
}

impl fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = ClientConfig { request: Arc::new(self.request.clone()), ..self.client.clone() };
        f.debug_struct("HttpClientBuilder")
            .field("config", &config)
            .field("interceptors", &self.interceptors)
            .field("invalid", &self.invalid)
            .finish()
    }
}

impl HttpClientBuilder {
    /// A builder with nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn from_parts(client: ClientConfig, interceptors: Interceptors) -> Self {
        Self { request: (*client.request).clone(), client, interceptors, ..Self::default() }
    }

    /// A header for every request that does not set one of that name. Repeat it for several values. Default: none.
    pub fn default_header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(self.client.default_headers.append(name, value)),
            (Err(_), _) => self.set_invalid("a default header's name is not valid".into()),
            (Ok(name), Err(_)) => self.set_invalid(format!("the value of the default header `{name}` is not valid")),
        }
        self
    }

    /// Replaces the default headers: by pairs of names and values, or by those of a `&HeaderMap`.
    pub fn default_headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        self.client.default_headers = HeaderMap::new();
        headers.into_iter().fold(self, |builder, (name, value)| builder.default_header(name, value))
    }

    /// Keeps cookies in a new [`CookieJar`](crate::cookies::CookieJar) of this client's own. Default: no.
    pub fn cookies(self) -> Self {
        self.cookie_jar(crate::cookies::CookieJar::new())
    }

    /// Remembers which hosts want TLS, and asks them over TLS only (HSTS, RFC 6797). Default: nothing is remembered.
    pub fn hsts(mut self, cache: HstsCache) -> Self {
        self.interceptors.memory.hsts = Some(cache);
        self
    }

    /// Remembers where else origins answer, and asks there first (Alt-Svc, RFC 7838). An alternative that cannot be
    /// reached is left alone for a while. Default: nothing is remembered.
    pub fn alt_svc(mut self, cache: AltSvcCache) -> Self {
        self.interceptors.memory.alt_svc = Some(cache);
        self
    }

    /// The most agents that drive the client's transfers, each on a core and with connections of its own. One is enough
    /// for many thousands of requests; another joins when all there are keep a core busy each, stays if they carry more
    /// with it, and requests to a busy origin are spread over them. 0 and the default: as many as the machine has cores,
    /// but no more than 4.
    ///
    /// With the default, and no [`connection_cache_size`](Self::connection_cache_size), a thread that waits in a blocking
    /// call while others do may also be given an agent to run by itself, which spares it two changes of threads. There are
    /// no more of those than threads that wait at once, nor than 32; only requests by `http:` get one, as those by `https:`
    /// may share a connection. Idle for 10 seconds they end, with their connections.
    ///
    /// With [`max_connections`](Self::max_connections) or
    /// [`max_connections_per_host`](Self::max_connections_per_host) there is one agent, which keeps them.
    pub fn agents(mut self, most: usize) -> Self {
        self.client.agents = Some(most).filter(|most| *most > 0);
        self
    }

    /// The most connections open at once; further requests wait for one. 0 and the default: unlimited.
    ///
    /// (`CURLMOPT_MAX_TOTAL_CONNECTIONS`)
    pub fn max_connections(mut self, most: usize) -> Self {
        self.client.max_connections = Some(most).filter(|most| *most > 0);
        self
    }

    /// The most connections open at once to one host and port. 0 and the default: unlimited.
    ///
    /// (`CURLMOPT_MAX_HOST_CONNECTIONS`)
    pub fn max_connections_per_host(mut self, most: usize) -> Self {
        self.client.max_connections_per_host = Some(most).filter(|most| *most > 0);
        self
    }

    /// The most connections that an agent keeps open without a request, 1 at least; beyond it the oldest is closed.
    /// Default: 256, and those that were in use at the same time in the last second or two.
    ///
    /// (`CURLMOPT_MAXCONNECTS`, which counts the connections in use as well and is set accordingly)
    pub fn connection_cache_size(mut self, most: usize) -> Self {
        self.client.connection_cache_size = Some(most);
        self
    }

    /// The most requests at once on one HTTP/2 connection; a server may allow fewer. Default: 100.
    ///
    /// (`CURLMOPT_MAX_CONCURRENT_STREAMS`)
    pub fn max_concurrent_streams(mut self, most: u32) -> Self {
        self.client.max_concurrent_streams = Some(most.max(1));
        self
    }

    /// The only hosts that requests of this client, redirects included, may go to; any other fails with
    /// [`ErrorKind::EgressDenied`] and is not asked. Default: all. Short for an [`EgressPolicy`] with this list alone.
    ///
    /// An entry is `name`, `name:port` or `*.domain`. The name is compared, not the address it resolves to.
    pub fn allowed_hosts(self, hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.egress(EgressPolicy::new().allow_hosts(hosts).allow_proxies(true).allow_unix_sockets(true))
    }

    /// Adds a step around every request of this client: redirects and retries happen inside of it. The first one added is
    /// the outermost. Default: none.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.outer.push(Arc::new(interceptor));
        self
    }

    /// Adds a step around every single transfer of this client: each attempt and each hop of a redirect goes through it.
    /// Default: none.
    pub fn network_interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.network.push(Arc::new(interceptor));
        self
    }

    /// Records requests in a file, or answers them from one: see [`cassette`](crate::cassette). Innermost of all steps. The
    /// last one given counts. Default: none.
    #[cfg(feature = "record")]
    pub fn cassette(mut self, cassette: super::cassette::Cassette) -> Self {
        self.cassette = Some(cassette);
        self
    }

    /// Keeps what passes, to be saved as HAR: see [`har`](crate::har). Around a cassette, inside of all other steps. Times
    /// of requests are measured as by [`Configurable::metrics`]. The last one given counts. Default: none.
    #[cfg(feature = "record")]
    pub fn har(mut self, recorder: super::har::HarRecorder) -> Self {
        self.har = Some(recorder);
        self
    }

    fn set_invalid(&mut self, detail: String) {
        self.invalid.get_or_insert_with(|| Error::new(ErrorKind::InvalidConfiguration).with_detail(detail));
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] for the first setting that cannot be used, a damaged cassette for one;
    /// [`ErrorKind::Io`] for a cassette that cannot be opened.
    pub fn build(#[cfg_attr(not(feature = "record"), expect(unused_mut))] mut self) -> Result<HttpClient, Error> {
        if let Some(error) = self.invalid.or_else(|| self.request.invalid.clone()) {
            return Err(error);
        }
        #[cfg(feature = "record")]
        if let Some(recorder) = self.har.take() {
            self.interceptors.network.push(Arc::new(recorder));
        }
        #[cfg(feature = "record")]
        if let Some(cassette) = self.cassette.take() {
            self.interceptors.offline = cassette.is_offline();
            self.interceptors.network.push(Arc::new(cassette.step()?));
        }
        let config = ClientConfig { request: Arc::new(self.request), ..self.client };
        Ok(HttpClient::with_config(config, self.interceptors))
    }
}

impl Sealed for HttpClientBuilder {
    fn with_config(mut self, change: impl FnOnce(&mut RequestConfig)) -> Self {
        change(&mut self.request);
        self
    }
}

impl Configurable for HttpClientBuilder {}
