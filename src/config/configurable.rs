//! The trait through which settings are set. One method a setting: its meaning, default, unit and source stand here.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;

#[cfg(any(feature = "gzip", feature = "zstd"))]
use crate::body::ContentCoding;
use crate::cookies::CookieJar;

use super::{
    Auth, AwsSigV4, CaCertificates, ConnectTo, Credentials, DnsCache, EgressPolicy, IpVersion, LowSpeed, NetRc,
    NetworkInterface, Progress, ProgressFn, Proxy, RECEIVE_BUFFERS, RedirectPolicy, RequestConfig, ResolveMap,
    RetryPolicy, Roots, TlsConfig, UPLOAD_BUFFERS, UnixSocket, VersionNegotiation,
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
    /// The error's phase is [`NameResolution`](crate::error::TimeoutPhase::NameResolution). The limit is kept here:
    /// libcurl has none.
    #[must_use]
    fn resolve_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.resolve_timeout = Some(limit.into()))
    }

    /// The most time from the end of the request to the head of its response. The time that an upload takes does not
    /// count. Default: unlimited.
    ///
    /// The error's phase is [`Response`](crate::error::TimeoutPhase::Response). The limit is kept here: libcurl has
    /// none for HTTP.
    #[must_use]
    fn response_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with_config(|config| config.response_timeout = Some(limit.into()))
    }

    /// The most time in which nothing at all moves, neither up nor down, once a connection is made. Time in which the
    /// caller does not read, or has nothing to send, does not count. Noticed up to a fifth of itself too late. Default: unlimited.
    ///
    /// The error's phase is [`Stall`](crate::error::TimeoutPhase::Stall). The limit is kept here: libcurl's is
    /// [`low_speed_timeout`](Self::low_speed_timeout).
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

    /// Whether a request that may share a connection (HTTP/2) waits for one that is being made, rather than make another.
    /// Default: yes, where HTTP/2 can come of it.
    ///
    /// (`CURLOPT_PIPEWAIT`)
    #[must_use]
    fn pipewait(self, wait: bool) -> Self {
        self.with_config(|config| config.pipewait = Some(wait))
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

    /// Compresses the bodies of requests, and says so in `Content-Encoding` (RFC 9110 8.4). Empty bodies and requests
    /// that set that header themselves are sent as they are. Not every server takes it. Default: no.
    ///
    /// A body in memory is compressed when it is sent, on the caller's thread; a streaming one while it is sent, and its
    /// length is not known then.
    #[cfg(any(feature = "gzip", feature = "zstd"))]
    #[must_use]
    fn compress_request(self, coding: impl Into<Option<ContentCoding>>) -> Self {
        self.with_config(|config| config.compress_request = Some(coding.into()))
    }

    /// Tells `function` how far the transfer has come: at most ten times a second, and at the end. Default: nobody.
    ///
    /// It is called on the thread that runs the agent and must not block. Redirects and retries begin anew.
    ///
    /// (`CURLOPT_XFERINFOFUNCTION`)
    #[must_use]
    fn on_progress(self, function: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        let function = ProgressFn(std::sync::Arc::new(function));
        self.with_config(|config| config.progress = Some(function))
    }

    /// Which targets requests may have. Policies add up: a request's own does not take its client's away. Default: all.
    ///
    /// (`CURLOPT_OPENSOCKETFUNCTION`, `CURLOPT_PREREQFUNCTION`)
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

    /// Whether and how far redirects (RFC 9110 15.4) are followed. Default: [`RedirectPolicy::None`].
    ///
    /// Credentials do not travel to another origin.
    #[must_use]
    fn redirect_policy(self, policy: RedirectPolicy) -> Self {
        self.with_config(|config| config.redirect_policy = Some(policy))
    }

    /// Sets `Referer` (RFC 9110 10.1.3) to the redirecting URL, without its credentials and fragment; to another origin
    /// only `scheme://host:port/`, and from https to http none. Default: off.
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
    /// Default: none but these.
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

    /// Tries failed requests again, where that is safe (RFC 9110 9.2.2). Default: no.
    ///
    /// On a request, `None` turns off what the client's configuration turned on.
    #[must_use]
    fn retry(self, policy: impl Into<Option<RetryPolicy>>) -> Self {
        let policy = policy.into();
        self.with_config(|config| config.retry = Some(policy))
    }

    /// Keeps cookies in this jar and sends those that fit (RFC 6265bis). Clones of a jar share their cookies. Default:
    /// none.
    ///
    /// A request that sets `Cookie` itself sends both. On a request, `None` leaves the client's jar out.
    #[must_use]
    fn cookie_jar(self, jar: impl Into<Option<CookieJar>>) -> Self {
        let jar = jar.into();
        self.with_config(|config| config.cookie_jar = Some(jar))
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

    /// Whether to ask for compressed responses (RFC 9110 12.5.3) and decompress them. Default: on.
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

    /// Sends user and password with every request (Basic authentication, RFC 7617). Default: none.
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
    /// [`basic_auth`](Self::basic_auth), it stays with the origin. Default: none.
    #[must_use]
    fn bearer_auth(self, token: impl AsRef<str>) -> Self {
        let auth = Auth::bearer(token.as_ref());
        self.with_config(|config| match auth {
            Ok(auth) => config.auth = Some(Some(auth)),
            Err(detail) => config.set_invalid(detail),
        })
    }

    /// Whether `user:password@` in a URL (RFC 3986 3.2.1) is used for Basic authentication. Default: no, and such a URL
    /// is refused.
    #[must_use]
    fn url_credentials(self, allow: bool) -> Self {
        self.with_config(|config| config.url_credentials = Some(allow))
    }

    /// The `User-Agent` header (RFC 9110 10.1.5), unless the request sets one. Default: `marmot/VERSION`.
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
    ///
    /// (`CURLINFO_TOTAL_TIME_T` and its relatives)
    #[must_use]
    fn metrics(self, measure: bool) -> Self {
        self.with_config(|config| config.metrics = Some(measure))
    }

    /// How servers are verified, and what they are offered: see [`TlsConfig`]. What it leaves unset stays as it was.
    /// Default: the platform's authorities, TLS 1.2 and newer.
    #[must_use]
    fn tls(self, tls: TlsConfig) -> Self {
        self.with_config(|config| config.tls = tls.merged_over(&config.tls))
    }

    /// The same for proxies of the scheme `https`. They are verified as strictly, and share no setting with
    /// [`tls`](Self::tls).
    ///
    /// (`CURLOPT_PROXY_SSL_VERIFYPEER` and the other options of that kind)
    #[must_use]
    fn proxy_tls(self, tls: TlsConfig) -> Self {
        self.with_config(|config| config.proxy_tls = tls.merged_over(&config.proxy_tls))
    }

    /// The certificate authorities to trust *instead of* the platform's. Default: those. Short for [`TlsConfig::roots`].
    ///
    /// (`CURLOPT_CAINFO`, `CURLOPT_CAINFO_BLOB`)
    #[must_use]
    fn ca_certificates(self, certificates: CaCertificates) -> Self {
        self.tls(TlsConfig::new().roots(Roots::only(certificates)))
    }

    /// Accepts any certificate for any name. Whoever sits on the way can then read and change everything. Default: no.
    /// Short for [`TlsConfig::danger_accept_invalid_certs`].
    ///
    /// (`CURLOPT_SSL_VERIFYPEER`, `CURLOPT_SSL_VERIFYHOST`)
    #[must_use]
    fn danger_accept_invalid_certs(self, accept: bool) -> Self {
        self.tls(TlsConfig::new().danger_accept_invalid_certs(accept))
    }

    /// The proxies to use, or `None` to use none. Default: those of the environment, see
    /// [`proxy_from_env`](Self::proxy_from_env).
    ///
    /// An error of the proxy itself is [`ErrorKind::ProxyRefused`](crate::ErrorKind::ProxyRefused), and what fails on
    /// the way to it names it. A response of an HTTP proxy to an `http` request, such as 407, is a response.
    ///
    /// (`CURLOPT_PROXY`)
    #[must_use]
    fn proxy(self, proxy: impl Into<Option<Proxy>>) -> Self {
        let proxy = proxy.into();
        self.with_config(|config| {
            if let Some(detail) = proxy.as_ref().and_then(Proxy::invalid) {
                config.set_invalid(detail.to_owned());
            }
            config.proxy = Some(proxy);
        })
    }

    /// Whether the environment says which [`proxy`](Self::proxy) to use, where none is set here. Default: yes.
    ///
    /// The variables are `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in small letters or, except for the
    /// first, in capitals. They are read with the first request of the program.
    #[must_use]
    fn proxy_from_env(self, obey: bool) -> Self {
        self.with_config(|config| config.proxy_from_env = Some(obey))
    }

    /// Authenticates by the server's challenge (Digest authentication, RFC 7616): the password itself is not sent. As
    /// for [`basic_auth`](Self::basic_auth), it stays with the origin, and a request's own `Authorization` header wins.
    /// Default: none.
    ///
    /// The response that challenges is not seen, unless it is the last one. A body in memory is sent again with the
    /// answer; of a streamed one nothing is sent before.
    ///
    /// (`CURLOPT_HTTPAUTH`, `CURLOPT_USERNAME`, `CURLOPT_PASSWORD`)
    #[must_use]
    fn digest_auth(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let credentials = Credentials::new(user, password);
        self.with_config(|config| match credentials {
            Ok(credentials) => config.auth = Some(Some(Auth::Digest(credentials))),
            Err(detail) => config.set_invalid(detail),
        })
    }

    /// Signs every request in the way of AWS, version 4. As for [`basic_auth`](Self::basic_auth), it stays with the
    /// origin, and a request's own `Authorization` header wins. Default: none.
    ///
    /// The body is part of what is signed. One that is streamed can be sent to `s3` only, or with the digest in a header
    /// `x-amz-content-sha256`.
    ///
    /// (`CURLOPT_AWS_SIGV4`)
    #[must_use]
    fn aws_sigv4(self, sign: AwsSigV4) -> Self {
        self.with_config(|config| match sign.check() {
            Ok(()) => config.auth = Some(Some(Auth::AwsSigV4(sign))),
            Err(detail) => config.set_invalid(detail),
        })
    }

    /// Looks user and password for the host up in a file, for Basic authentication, unless the request has credentials.
    /// Default: `None`, no file is read.
    ///
    /// (`CURLOPT_NETRC`, `CURLOPT_NETRC_FILE`)
    #[must_use]
    fn netrc(self, file: impl Into<Option<NetRc>>) -> Self {
        self.with_config(|config| config.netrc = Some(file.into()))
    }

    /// Addresses for names, instead of those of DNS. Default: none. A request's map replaces its client's.
    ///
    /// (`CURLOPT_RESOLVE`)
    #[must_use]
    fn resolve(self, map: ResolveMap) -> Self {
        self.with_config(|config| config.names.resolve = Some(map))
    }

    /// Other hosts to connect to. Default: none. A request's list replaces its client's. With an HTTP proxy it means a
    /// tunnel.
    ///
    /// (`CURLOPT_CONNECT_TO`)
    #[must_use]
    fn connect_to(self, to: ConnectTo) -> Self {
        self.with_config(|config| config.names.connect_to = Some(to))
    }

    /// How long a resolved name is remembered: a duration, in whole seconds, or a [`DnsCache`]. Default: 60 seconds.
    ///
    /// (`CURLOPT_DNS_CACHE_TIMEOUT`)
    #[must_use]
    fn dns_cache_timeout(self, time: impl Into<DnsCache>) -> Self {
        self.with_config(|config| config.names.cache = Some(time.into()))
    }

    /// The DNS servers to ask, as `host:port` with commas between. Default: those of the system.
    ///
    /// Only a libcurl with c-ares can do it; with the one that this crate brings along it is an error.
    ///
    /// (`CURLOPT_DNS_SERVERS`)
    #[must_use]
    fn dns_servers<'a>(self, servers: impl Into<Option<&'a str>>) -> Self {
        let servers = servers.into().map(Into::into);
        self.with_config(|config| config.names.servers = Some(servers))
    }

    /// The `https` URL of a server that is asked for addresses (DNS over HTTPS, RFC 8484). Default: the system resolves.
    ///
    /// That server is verified with the authorities that [`tls`](Self::tls) trusts, whatever else is accepted there. Its
    /// own name is resolved by the system, and it is asked directly, not through a [`proxy`](Self::proxy).
    ///
    /// (`CURLOPT_DOH_URL`)
    #[must_use]
    fn dns_over_https<'a>(self, url: impl Into<Option<&'a str>>) -> Self {
        let url = url.into().map(|url| url::Url::parse(url).ok().filter(|url| url.scheme() == "https"));
        self.with_config(|config| {
            if matches!(url, Some(None)) {
                config.set_invalid("DNS over HTTPS needs an https URL".into());
            }
            // As it was understood, not as it was written: the two may differ by line breaks.
            config.names.over_https = Some(url.flatten().map(|url| url.as_str().into()));
        })
    }

    /// Which addresses of a host are used. Default: [`IpVersion::Any`].
    ///
    /// (`CURLOPT_IPRESOLVE`)
    #[must_use]
    fn ip_version(self, version: IpVersion) -> Self {
        self.with_config(|config| config.names.ip_version = Some(version))
    }

    /// The head start of the first address family over the other (RFC 8305), in whole milliseconds. Default: 200 ms.
    ///
    /// (`CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS`)
    #[must_use]
    fn happy_eyeballs_timeout(self, time: Duration) -> Self {
        self.with_config(|config| config.names.happy_eyeballs = Some(time))
    }

    /// The side of this machine that connections leave from. Default: the system chooses.
    ///
    /// (`CURLOPT_INTERFACE`)
    #[must_use]
    fn interface(self, interface: impl Into<Option<NetworkInterface>>) -> Self {
        self.with_config(|config| config.sockets.interface = Some(interface.into()))
    }

    /// The ports of this side that connections may have. Default: the system chooses.
    ///
    /// (`CURLOPT_LOCALPORT`, `CURLOPT_LOCALPORTRANGE`)
    #[must_use]
    fn local_port_range(self, ports: impl Into<Option<RangeInclusive<u16>>>) -> Self {
        let ports = ports.into().map(|ports| (*ports.start(), *ports.end()));
        self.with_config(|config| {
            if ports.is_some_and(|(first, last)| first == 0 || last < first) {
                config.set_invalid("a range of local ports begins with 1 or more and is not empty".into());
            }
            config.sockets.local_ports = Some(ports);
        })
    }

    /// Connects to the socket at that path, whatever the host of the URL, redirects included, and without a proxy.
    /// Default: `None`, TCP.
    ///
    /// (`CURLOPT_UNIX_SOCKET_PATH`)
    #[must_use]
    fn unix_socket(self, path: impl Into<Option<PathBuf>>) -> Self {
        let socket = path.into().map(UnixSocket::path);
        self.with_config(|config| config.sockets.unix = Some(socket))
    }

    /// The same with a socket of Linux's abstract name space. Default: TCP.
    ///
    /// (`CURLOPT_ABSTRACT_UNIX_SOCKET`)
    #[must_use]
    fn abstract_unix_socket(self, name: impl AsRef<str>) -> Self {
        let socket = UnixSocket::Abstract(name.as_ref().into());
        self.with_config(|config| config.sockets.unix = Some(Some(socket)))
    }

    /// Sends data with the first packet of a connection (RFC 7413). Default: no.
    ///
    /// (`CURLOPT_TCP_FASTOPEN`)
    #[must_use]
    fn tcp_fast_open(self, fast: bool) -> Self {
        self.with_config(|config| config.sockets.fast_open = Some(fast))
    }

    /// The most bytes read from a connection at once, 1 KiB to 10 MiB. Default: 64 KiB.
    ///
    /// (`CURLOPT_BUFFERSIZE`)
    #[must_use]
    fn receive_buffer_size(self, bytes: usize) -> Self {
        self.with_config(|config| {
            if !RECEIVE_BUFFERS.contains(&bytes) {
                config.set_invalid("the receive buffer has 1 KiB to 10 MiB".into());
            }
            config.sockets.receive_buffer = Some(bytes);
        })
    }

    /// The most bytes of a request's body handed to a connection at once, 16 KiB to 2 MiB. Each upload takes as much memory
    /// beside its body. Default: for bodies in memory 64 KiB up to that size, and for larger ones a quarter of it, but 256 KiB
    /// at least; 512 KiB for others.
    ///
    /// (`CURLOPT_UPLOAD_BUFFERSIZE`)
    #[must_use]
    fn upload_buffer_size(self, bytes: usize) -> Self {
        self.with_config(|config| {
            if !UPLOAD_BUFFERS.contains(&bytes) {
                config.set_invalid("the upload buffer has 16 KiB to 2 MiB".into());
            }
            config.sockets.upload_buffer = Some(bytes);
        })
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
