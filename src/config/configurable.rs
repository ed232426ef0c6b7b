//! The trait through which settings are set. One method a setting: its meaning, default, unit and source stand here.

use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;

use super::{
    Auth, CaCertificates, EgressPolicy, LowSpeed, Progress, ProgressFn, RedirectPolicy, RequestConfig, RetryPolicy,
    VersionNegotiation,
};

mod sealed {
    /// Only this crate says what is configurable.
    pub trait Sealed {
        #[doc(hidden)]
        fn with_config(self, change: impl FnOnce(&mut crate::config::RequestConfig)) -> Self;
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

    /// The most time that the name of the host may take to be resolved. Default: no limit of its own; it is part of
    /// [`connect_timeout`](Self::connect_timeout).
    ///
    /// The error's phase is [`NameResolution`](crate::error::TimeoutPhase::NameResolution).
    #[must_use]
    fn resolve_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.resolve_timeout = Some(limit.into()))
    }

    /// The most time from the end of the request to the head of its response. The time that an upload takes does not
    /// count. Default: unlimited.
    ///
    /// The error's phase is [`Response`](crate::error::TimeoutPhase::Response).
    #[must_use]
    fn response_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.response_timeout = Some(limit.into()))
    }

    /// The most time in which nothing at all moves, neither up nor down, once a connection is made. Time in which the
    /// caller does not read, or has nothing to send, does not count. Kept to a tenth of itself. Default: unlimited.
    ///
    /// The error's phase is [`Stall`](crate::error::TimeoutPhase::Stall).
    #[must_use]
    fn stall_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.stall_timeout = Some(limit.into()))
    }

    /// A connection that was idle for longer is not used again, and closed. In whole seconds; `None`: however long it was
    /// idle. Default: 118 seconds.
    ///
    /// (`CURLOPT_MAXAGE_CONN`)
    #[must_use]
    fn connection_idle_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.connection_idle_timeout = Some(limit.into()))
    }

    /// A connection that was made longer ago is not used again, and closed when it is idle. In whole seconds. Default:
    /// unlimited.
    ///
    /// (`CURLOPT_MAXLIFETIME_CONN`)
    #[must_use]
    fn connection_max_life(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.connection_max_life = Some(limit.into()))
    }

    /// The most bytes that the body of a response may have, as it comes; more is
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge). A declared length beyond it fails at once. See also
    /// [`max_decompressed_size`](Self::max_decompressed_size). Default: unlimited.
    #[must_use]
    fn max_response_size(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with_config(|config| config.max_response_size = Some(bytes.into()))
    }

    /// Bytes per second that are received at most, on average over some seconds. Default: unlimited.
    ///
    /// (`CURLOPT_MAX_RECV_SPEED_LARGE`)
    #[must_use]
    fn max_download_speed(self, bytes_per_second: impl Into<Option<u64>>) -> Self {
        self.with_config(|config| config.max_download_speed = Some(bytes_per_second.into()))
    }

    /// Bytes per second that are sent at most, on average over some seconds. Default: unlimited.
    ///
    /// (`CURLOPT_MAX_SEND_SPEED_LARGE`)
    #[must_use]
    fn max_upload_speed(self, bytes_per_second: impl Into<Option<u64>>) -> Self {
        self.with_config(|config| config.max_upload_speed = Some(bytes_per_second.into()))
    }

    /// Sends `Expect: 100-continue` (RFC 9110 10.1.1) with every body, and the body when the server says so or after
    /// `patience`. A server that refuses gets no body. Default: not sent.
    ///
    /// (`CURLOPT_EXPECT_100_TIMEOUT_MS`)
    #[must_use]
    fn expect_continue(self, patience: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.expect_continue = Some(patience.into()))
    }

    /// Tells `function` how far the transfer has come: at most ten times a second, and at the end. Default: nobody.
    ///
    /// It is called on an agent's thread and must not block. Redirects and retries begin anew.
    ///
    /// (`CURLOPT_XFERINFOFUNCTION`)
    #[must_use]
    fn on_progress(self, function: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        let function = ProgressFn(std::sync::Arc::new(function));
        self.with_config(|config| config.progress = Some(function))
    }

    /// Which targets requests may have. Policies add up: a request's own does not take its client's away. Default: all.
    #[must_use]
    fn egress(self, policy: EgressPolicy) -> Self {
        self.with_config(|config| {
            config.egress.add(policy);
            if let Some(detail) = config.egress.invalid().map(str::to_owned) {
                config.set_invalid(detail);
            }
        })
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

    /// Names headers that hold secrets, in addition to those that are known: a redirect to another origin drops them.
    ///
    /// Known are `Authorization`, `Cookie`, `Proxy-Authorization`, every value marked as
    /// [sensitive](http::HeaderValue::set_sensitive), and names that sound like a key: with a word like `key`, `auth`,
    /// `signature`, `session` or `credential` between their hyphens, or with `token`, `secret` or `password` anywhere.
    #[must_use]
    fn secret_headers(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names: Result<Vec<HeaderName>, _> = names.into_iter().map(|name| name.as_ref().parse()).collect();
        self.with_config(|config| match names {
            Ok(names) => config.secret_headers = Some(names),
            Err(_) => config.set_invalid("one of the secret headers has no valid name".into()),
        })
    }

    /// Tries failed requests again, where that is safe. Default: no.
    ///
    /// On a request, `None` turns off what the client's configuration turned on.
    #[must_use]
    fn retry(self, policy: impl Into<Option<RetryPolicy>>) -> Self {
        let policy = policy.into();
        self.with_config(|config| config.retry = Some(policy))
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
