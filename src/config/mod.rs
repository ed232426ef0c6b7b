//! Configuration as plain data. Knows nothing of libcurl; nothing here is applied.
//!
//! A [`RequestConfig`] says what can differ from request to request, a [`ClientConfig`] what belongs to a client as a
//! whole. Both are set through [`Configurable`]: on a client's builder the settings are the defaults of its requests, on
//! a request (or its builder) they win over those. What is set nowhere has the default that its method names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};

#[cfg(any(feature = "gzip", feature = "zstd"))]
use crate::body::ContentCoding;
use crate::cookies::CookieJar;
use crate::error::{Error, ErrorKind};
use crate::secret::Shown;

mod auth;
mod configurable;
mod egress;
mod excluded;
mod names;
mod progress;
mod proxy;
mod redirect;
mod retry;
mod sockets;
mod tls;
mod version;

pub(crate) use auth::{Auth, Credentials};
pub use auth::{AwsSigV4, NetRc};
pub use configurable::Configurable;
pub(crate) use configurable::Sealed;
pub use egress::EgressPolicy;
pub(crate) use egress::{Egress, Peer};
pub(crate) use names::{Bracketed, Names, Resolved, is_host};
pub use names::{ConnectTo, DnsCache, IpVersion, ResolveMap};
pub use progress::Progress;
pub(crate) use progress::ProgressFn;
pub use proxy::Proxy;
pub(crate) use proxy::{ProxyKind, ProxyServer};
pub use redirect::{CustomPolicy, RedirectAction, RedirectHop, RedirectPolicy};
pub(crate) use retry::{Outcome, Repeatable};
pub use retry::{RetryBudget, RetryPolicy};
pub use sockets::NetworkInterface;
pub(crate) use sockets::{RECEIVE_BUFFERS, Sockets, UPLOAD_BUFFERS, UnixSocket};
pub use tls::{CaCertificates, ClientCertificate, Roots, TlsConfig, TlsVersion};
pub(crate) use tls::{Identity, IdentityForm, Source as CaSource, Trusted};
pub(crate) use version::Version;
pub use version::VersionNegotiation;

/// A connection attempt that takes longer fails.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes out for each byte in that a decompressed body may have, beyond its first 8 MiB.
#[cfg(feature = "decompress")]
pub(crate) const MAX_RATIO: u32 = 300;
/// How long a resolved name is remembered; libcurl's own default.
pub(crate) const DNS_CACHE: Duration = Duration::from_secs(60);
/// Idle connections that a client keeps.
pub(crate) const CONNECTION_CACHE: usize = 256;

/// Defines settings that are unset until they are set, and how they are laid over others. A setting is one line here.
macro_rules! settings {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            $($(#[$about:meta])* $field:ident: $type:ty,)*
            $(.. $group:ident: $group_type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name {
            $($(#[$about])* pub(crate) $field: Option<$type>,)*
            $(pub(crate) $group: $group_type,)*
        }

        impl $name {
            /// These settings where they are set, those of `base` where they are not.
            #[allow(unused_doc_comments, reason = "what a setting is compiled for stands among its attributes")]
            pub(crate) fn merged_over(mut self, base: &Self) -> Self {
                $($(#[$about])* if self.$field.is_none() {
                    self.$field.clone_from(&base.$field);
                })*
                $(self.$group = self.$group.merged_over(&base.$group);)*
                self
            }

            /// Whether none of them is set.
            #[allow(dead_code, unused_doc_comments, reason = "of groups of settings only; attributes as above")]
            pub(crate) fn is_unset(&self) -> bool {
                $($(#[$about])* if self.$field.is_some() {
                    return false;
                })*
                $(if !self.$group.is_unset() {
                    return false;
                })*
                true
            }
        }
    };
}
pub(crate) use settings;

settings! {
    /// Settings of one request, or the defaults of a client's requests. Each is unset until it is set.
    pub struct RequestConfig {
        timeout: Option<Duration>,
        connect_timeout: Option<Duration>,
        resolve_timeout: Option<Duration>,
        response_timeout: Option<Duration>,
        stall_timeout: Option<Duration>,
        connection_idle_timeout: Option<Duration>,
        connection_max_life: Option<Duration>,
        pipewait: bool,
        low_speed: Option<LowSpeed>,
        version: VersionNegotiation,
        redirect_policy: RedirectPolicy,
        auto_referer: bool,
        redirect_to_http: bool,
        secret_headers: Vec<HeaderName>,
        retry: Option<RetryPolicy>,
        cookie_jar: Option<CookieJar>,
        tcp_keepalive: Option<Duration>,
        tcp_nodelay: bool,
        decompress: bool,
        max_decompressed_size: Option<u64>,
        max_response_size: Option<u64>,
        max_download_speed: Option<u64>,
        max_upload_speed: Option<u64>,
        expect_continue: Option<Duration>,
        #[cfg(any(feature = "gzip", feature = "zstd"))]
        compress_request: Option<ContentCoding>,
        progress: ProgressFn,
        max_decompression_ratio: Option<u32>,
        auth: Option<Auth>,
        url_credentials: bool,
        user_agent: HeaderValue,
        metrics: bool,
        proxy: Option<Proxy>,
        proxy_from_env: bool,
        netrc: Option<NetRc>,
        /// The first setting that cannot be used; reported when the configuration is.
        invalid: Error,
        .. egress: Egress,
        .. tls: TlsConfig,
        .. proxy_tls: TlsConfig,
        .. names: Names,
        .. sockets: Sockets,
    }
}

/// Below `bytes_per_second` for `time`, a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowSpeed {
    pub(crate) bytes_per_second: u32,
    pub(crate) time: Duration,
}

impl RequestConfig {
    fn set_invalid(&mut self, detail: String) {
        self.invalid.get_or_insert_with(|| Error::new(ErrorKind::InvalidConfiguration).with_detail(detail));
    }
}

/// Settings of a client as a whole.
#[derive(Clone, Default)]
pub struct ClientConfig {
    /// The defaults of the client's requests.
    pub(crate) request: Arc<RequestConfig>,
    pub(crate) default_headers: HeaderMap,
    pub(crate) agents: Option<usize>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connections_per_host: Option<usize>,
    pub(crate) connection_cache_size: Option<usize>,
    pub(crate) max_concurrent_streams: Option<u32>,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            request,
            default_headers,
            agents,
            max_connections,
            max_connections_per_host,
            max_concurrent_streams,
            connection_cache_size,
        } = self;
        f.debug_struct("ClientConfig")
            .field("request", request)
            .field("default_headers", &Shown(default_headers, request.secret_headers.as_deref().unwrap_or_default()))
            .field("agents", agents)
            .field("max_connections", max_connections)
            .field("max_connections_per_host", max_connections_per_host)
            .field("max_concurrent_streams", max_concurrent_streams)
            .field("connection_cache_size", connection_cache_size)
            .finish()
    }
}

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
