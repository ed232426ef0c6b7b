//! An HTTP client on libcurl's multi interface: async and blocking without a runtime, and scriptable in Rhai.

pub mod error;

pub(crate) mod ffi;

mod body;

pub mod config;

pub mod handler;

mod easy;

mod agent;

mod client;

#[cfg(feature = "script")]
pub mod script;

pub use body::{AsyncBody, Body};
pub use client::*;
pub use http::{self, Request, Response};

/// What a program that sends requests usually needs.
pub mod prelude {
    pub use crate::client::{AsyncReadResponseExt, HttpClient, ReadResponseExt, RequestExt, ResponseExt};
    pub use crate::config::Configurable;
    pub use http::Request;
}

pub use error::{Error, ErrorKind};
pub use handler::Metrics;

/// The version of this crate, of the linked libcurl and its libraries, and what they can do, in a few lines.
pub fn version() -> &'static str {
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let curl = curl::Version::get();
        let mut libraries = vec![format!("libcurl/{}", curl.version())];
        libraries.extend(curl.ssl_version().map(str::to_owned));
        libraries.extend(curl.libz_version().map(|version| format!("zlib/{version}")));
        libraries.extend(curl.nghttp2_version().map(|version| format!("nghttp2/{version}")));
        let protocols: Vec<_> = curl.protocols().filter(|name| name.starts_with("http")).collect();
        let features = [
            ("HTTP2", curl.feature_http2()),
            ("HTTP3", curl.feature_http3()),
            ("TLS", curl.feature_ssl()),
            ("gzip", cfg!(feature = "gzip")),
            ("brotli", cfg!(feature = "brotli")),
            ("zstd", cfg!(feature = "zstd")),
            ("IPv6", curl.feature_ipv6()),
            ("AsynchDNS", curl.feature_async_dns()),
        ];
        let features: Vec<_> = features.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
        format!(
            "{}\n{}\nprotocols: {}\nfeatures: {}",
            env!("CARGO_PKG_VERSION"),
            libraries.join(" "),
            protocols.join(" "),
            features.join(" "),
        )
    });
    &TEXT
}
