//! Configuration as plain data. Knows nothing of libcurl; nothing here is applied.
//!
//! A [`RequestConfig`] says what can differ from request to request, a [`ClientConfig`] what belongs to a client as a
//! whole. Both are set through [`Configurable`]: on a client's builder the settings are the defaults of its requests, on
//! a request (or its builder) they win over those. What is set nowhere has the default that its method names.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderMap;

use crate::error::{Error, ErrorKind};

mod auth;
mod egress;
mod redirect;
mod tls;
mod version;

pub(crate) use auth::Auth;
pub(crate) use egress::HostList;
pub use redirect::RedirectPolicy;
pub use tls::CaCertificates;
pub(crate) use tls::Source as CaSource;
pub(crate) use version::Version;
pub use version::VersionNegotiation;

/// A connection attempt that takes longer fails.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes out for each byte in that a decompressed body may have, beyond its first 8 MiB.
#[cfg(feature = "decompress")]
pub(crate) const MAX_RATIO: u32 = 300;
/// Idle connections that a client keeps.
pub(crate) const CONNECTION_CACHE: usize = 256;

/// Settings of one request, or the defaults of a client's requests. Each is unset until it is set.
#[derive(Clone, Debug, Default)]
pub struct RequestConfig {
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) connect_timeout: Option<Option<Duration>>,
    pub(crate) low_speed: Option<Option<LowSpeed>>,
    pub(crate) version: Option<VersionNegotiation>,
    pub(crate) redirect_policy: Option<RedirectPolicy>,
    pub(crate) auto_referer: Option<bool>,
    pub(crate) redirect_to_http: Option<bool>,
    pub(crate) tcp_keepalive: Option<Option<Duration>>,
    pub(crate) tcp_nodelay: Option<bool>,
    pub(crate) decompress: Option<bool>,
    pub(crate) max_decompressed_size: Option<Option<u64>>,
    pub(crate) max_decompression_ratio: Option<Option<u32>>,
    pub(crate) auth: Option<Option<Auth>>,
    pub(crate) url_credentials: Option<bool>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) metrics: Option<bool>,
    pub(crate) ca_certificates: Option<CaCertificates>,
    pub(crate) accept_invalid_certs: Option<bool>,
    /// The first setting that cannot be used; reported when the configuration is.
    pub(crate) invalid: Option<Error>,
}

/// Below `bytes_per_second` for `time`, a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowSpeed {
    pub(crate) bytes_per_second: u32,
    pub(crate) time: Duration,
}

impl RequestConfig {
    /// These settings where they are set, those of `base` where they are not.
    pub(crate) fn merged_over(self, base: &Self) -> Self {
        // Without `..`, so that a setting forgotten here does not compile.
        let Self {
            timeout,
            connect_timeout,
            low_speed,
            version,
            redirect_policy,
            auto_referer,
            redirect_to_http,
            tcp_keepalive,
            tcp_nodelay,
            decompress,
            max_decompressed_size,
            max_decompression_ratio,
            auth,
            url_credentials,
            user_agent,
            metrics,
            ca_certificates,
            accept_invalid_certs,
            invalid,
        } = self;
        Self {
            timeout: timeout.or(base.timeout),
            connect_timeout: connect_timeout.or(base.connect_timeout),
            low_speed: low_speed.or(base.low_speed),
            version: version.or(base.version),
            redirect_policy: redirect_policy.or_else(|| base.redirect_policy.clone()),
            auto_referer: auto_referer.or(base.auto_referer),
            redirect_to_http: redirect_to_http.or(base.redirect_to_http),
            tcp_keepalive: tcp_keepalive.or(base.tcp_keepalive),
            tcp_nodelay: tcp_nodelay.or(base.tcp_nodelay),
            decompress: decompress.or(base.decompress),
            max_decompressed_size: max_decompressed_size.or(base.max_decompressed_size),
            max_decompression_ratio: max_decompression_ratio.or(base.max_decompression_ratio),
            auth: auth.or_else(|| base.auth.clone()),
            url_credentials: url_credentials.or(base.url_credentials),
            user_agent: user_agent.or_else(|| base.user_agent.clone()),
            metrics: metrics.or(base.metrics),
            ca_certificates: ca_certificates.or_else(|| base.ca_certificates.clone()),
            accept_invalid_certs: accept_invalid_certs.or(base.accept_invalid_certs),
            invalid: invalid.or_else(|| base.invalid.clone()),
        }
    }

    fn set_invalid(&mut self, detail: String) {
        self.invalid.get_or_insert_with(|| Error::new(ErrorKind::InvalidConfiguration).with_detail(detail));
    }
}

/// Settings of a client as a whole.
#[derive(Clone, Debug, Default)]
pub struct ClientConfig {
    /// The defaults of the client's requests.
    pub(crate) request: Arc<RequestConfig>,
    pub(crate) default_headers: HeaderMap,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connections_per_host: Option<usize>,
    pub(crate) connection_cache_size: Option<usize>,
    pub(crate) allowed_hosts: Option<HostList>,
}

mod sealed {
    /// Only this crate says what is configurable.
    pub trait Sealed {
        #[doc(hidden)]
        fn with_config(self, change: impl FnOnce(&mut super::RequestConfig)) -> Self;
    }
}
pub(crate) use sealed::Sealed;

/// Settings that a client and a request share.
///
/// Implemented by [`HttpClientBuilder`](crate::HttpClientBuilder), `http::request::Builder` and `http::Request`. A
/// request's value wins; what it leaves unset is the client's. A limit is taken away again with `None`.
///
/// A value that cannot be used is reported when the client is built, or when the request is sent.
pub trait Configurable: Sealed + Sized {
    /// The most time a request may take, from its start to the end of its body, redirects included. Default: unlimited.
    ///
    /// (`CURLOPT_TIMEOUT_MS`)
    #[must_use]
    fn timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.timeout = Some(limit.into()))
    }

    /// The most time that making a connection may take, name resolution and TLS included. Default: 30 seconds.
    ///
    /// (`CURLOPT_CONNECTTIMEOUT_MS`)
    #[must_use]
    fn connect_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.connect_timeout = Some(limit.into()))
    }

    /// Ends a transfer that stays below `bytes_per_second` for `time`, in whole seconds. Default: off.
    ///
    /// (`CURLOPT_LOW_SPEED_LIMIT`, `CURLOPT_LOW_SPEED_TIME`)
    #[must_use]
    fn low_speed_timeout(self, bytes_per_second: u32, time: Duration) -> Self {
        self.with_config(|config| config.low_speed = Some(Some(LowSpeed { bytes_per_second, time })))
    }

    /// Which versions of HTTP may be used. Default: [`VersionNegotiation::latest_compatible`].
    ///
    /// (`CURLOPT_HTTP_VERSION`)
    #[must_use]
    fn version_negotiation(self, version: VersionNegotiation) -> Self {
        self.with_config(|config| config.version = Some(version))
    }

    /// Whether and how far redirects are followed. Default: [`RedirectPolicy::None`].
    ///
    /// Credentials do not travel to another origin.
    #[must_use]
    fn redirect_policy(self, policy: RedirectPolicy) -> Self {
        self.with_config(|config| config.redirect_policy = Some(policy))
    }

    /// Sets `Referer` to the redirecting URL, without its credentials and fragment, unless the redirect goes from https
    /// to http. Default: off.
    #[must_use]
    fn auto_referer(self) -> Self {
        self.with_config(|config| config.auto_referer = Some(true))
    }

    /// Whether a redirect may lead from https to http. Default: no, and such a redirect is an error.
    #[must_use]
    fn danger_redirect_to_http(self, allow: bool) -> Self {
        self.with_config(|config| config.redirect_to_http = Some(allow))
    }

    /// Sends TCP keep-alive probes after this much idle time, in whole seconds. Default: off.
    ///
    /// (`CURLOPT_TCP_KEEPALIVE`, `CURLOPT_TCP_KEEPIDLE`, `CURLOPT_TCP_KEEPINTVL`)
    #[must_use]
    fn tcp_keepalive(self, interval: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.tcp_keepalive = Some(interval.into()))
    }

    /// Sends small packets at once. This is the default; it takes back a [`tcp_nagle`](Self::tcp_nagle).
    ///
    /// (`CURLOPT_TCP_NODELAY`)
    #[must_use]
    fn tcp_nodelay(self) -> Self {
        self.with_config(|config| config.tcp_nodelay = Some(true))
    }

    /// Lets the system hold small packets back to join them (Nagle's algorithm). Default: no.
    ///
    /// (`CURLOPT_TCP_NODELAY`)
    #[must_use]
    fn tcp_nagle(self) -> Self {
        self.with_config(|config| config.tcp_nodelay = Some(false))
    }

    /// Whether to ask for compressed responses and decompress them. Default: on.
    ///
    /// `Content-Encoding` and `Content-Length` of a response that is decompressed are removed from its headers. A
    /// request that sets `Accept-Encoding` or `Range` itself gets its response as it comes.
    #[must_use]
    fn automatic_decompression(self, decompress: bool) -> Self {
        self.with_config(|config| config.decompress = Some(decompress))
    }

    /// The most bytes a body may decompress to. Default: unlimited.
    #[must_use]
    fn max_decompressed_size(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with_config(|config| config.max_decompressed_size = Some(bytes.into()))
    }

    /// The most bytes out for each byte in that a body may decompress to, looked at beyond its first 8 MiB. Default: 300.
    #[must_use]
    fn max_decompression_ratio(self, ratio: impl Into<Option<u32>>) -> Self {
        self.with_config(|config| config.max_decompression_ratio = Some(ratio.into()))
    }

    /// Sends user and password with every request (Basic authentication, RFC 7617).
    ///
    /// A request's own `Authorization` header wins. The credentials stay with the origin of the request: a redirect to
    /// another one drops them.
    #[must_use]
    fn basic_auth(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let auth = Auth::basic(user.into(), password.into());
        self.with_config(|config| match auth {
            Ok(auth) => config.auth = Some(Some(auth)),
            Err(detail) => config.set_invalid(detail),
        })
    }

    /// Sends a token with every request (Bearer authentication, RFC 6750). As for
    /// [`basic_auth`](Self::basic_auth), it stays with the origin.
    #[must_use]
    fn bearer_auth(self, token: impl AsRef<str>) -> Self {
        let auth = Auth::bearer(token.as_ref());
        self.with_config(|config| match auth {
            Ok(auth) => config.auth = Some(Some(auth)),
            Err(detail) => config.set_invalid(detail),
        })
    }

    /// Whether `user:password@` in a URL is used for Basic authentication. Default: no, and such a URL is refused.
    #[must_use]
    fn url_credentials(self, allow: bool) -> Self {
        self.with_config(|config| config.url_credentials = Some(allow))
    }

    /// The `User-Agent` header, unless the request sets one. Default: `marmot/VERSION`.
    #[must_use]
    fn user_agent(self, agent: impl AsRef<str>) -> Self {
        let value = HeaderValue::from_str(agent.as_ref());
        self.with_config(|config| match value {
            Ok(value) => config.user_agent = Some(value),
            Err(_) => config.set_invalid("the user agent holds characters that a header cannot".into()),
        })
    }

    /// Whether to measure the phases of the transfer, for [`ResponseExt::metrics`](crate::ResponseExt::metrics).
    /// Default: off.
    #[must_use]
    fn metrics(self, measure: bool) -> Self {
        self.with_config(|config| config.metrics = Some(measure))
    }

    /// The certificate authorities to trust *instead of* the platform's.
    ///
    /// (`CURLOPT_CAINFO`, `CURLOPT_CAINFO_BLOB`)
    #[must_use]
    fn ca_certificates(self, certificates: CaCertificates) -> Self {
        self.with_config(|config| config.ca_certificates = Some(certificates))
    }

    /// Accepts any certificate for any name. Whoever sits on the way can then read and change everything. Default: no.
    ///
    /// (`CURLOPT_SSL_VERIFYPEER`, `CURLOPT_SSL_VERIFYHOST`)
    #[must_use]
    fn danger_accept_invalid_certs(self, accept: bool) -> Self {
        self.with_config(|config| config.accept_invalid_certs = Some(accept))
    }
}

impl Sealed for http::request::Builder {
    fn with_config(mut self, change: impl FnOnce(&mut RequestConfig)) -> Self {
        // A builder that failed before reports that when it is built.
        if let Some(extensions) = self.extensions_mut() {
            change(extensions.get_or_insert_default());
        }
        self
    }
}

impl Configurable for http::request::Builder {}

impl<T> Sealed for http::Request<T> {
    fn with_config(mut self, change: impl FnOnce(&mut RequestConfig)) -> Self {
        change(self.extensions_mut().get_or_insert_default());
        self
    }
}

impl<T> Configurable for http::Request<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wins_and_falls_back_to_its_client() {
        let client = RequestConfig::default().set(|config| {
            config.timeout = Some(Some(Duration::from_secs(1)));
            config.connect_timeout = Some(Some(Duration::from_secs(2)));
        });
        let request = RequestConfig::default().set(|config| config.timeout = Some(None));
        let merged = request.merged_over(&client);
        assert_eq!(merged.timeout, Some(None), "a limit can be taken away");
        assert_eq!(merged.connect_timeout, Some(Some(Duration::from_secs(2))));
        assert_eq!(merged.tcp_nodelay, None);
    }

    impl RequestConfig {
        fn set(mut self, change: impl FnOnce(&mut Self)) -> Self {
            change(&mut self);
            self
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let request = http::Request::get("http://localhost/").basic_auth("anna", "s3cret").body(()).unwrap();
        let config = request.extensions().get::<RequestConfig>();
        assert!(!format!("{config:?}").contains("s3cret"));
        let request = http::Request::get("http://localhost/").bearer_auth("t0ken").body(()).unwrap();
        let config = request.extensions().get::<RequestConfig>();
        assert!(!format!("{config:?}").contains("t0ken"));
    }

    #[test]
    fn a_bad_value_is_kept_for_a_typed_error() {
        let request = http::Request::get("http://localhost/").user_agent("a\r\nb").body(()).unwrap();
        let config = request.extensions().get::<RequestConfig>().unwrap();
        assert_eq!(config.invalid.as_ref().unwrap().kind(), ErrorKind::InvalidConfiguration);
    }
}
