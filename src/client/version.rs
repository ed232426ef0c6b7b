//! What is linked. Reads nothing but libcurl's own account of itself.

use std::sync::LazyLock;

use crate::ffi::options::linked;

pub(crate) fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(describe);
    &TEXT
}

fn describe() -> String {
    let curl = linked();
    let mut libraries = vec![format!("libcurl/{}", curl.version())];
    libraries.extend(curl.ssl_version().map(str::to_owned));
    libraries.extend(curl.libz_version().map(|version| format!("zlib/{version}")));
    libraries.extend(curl.nghttp2_version().map(|version| format!("nghttp2/{version}")));
    let protocols: Vec<_> =
        curl.protocols().filter(|name| name.starts_with("http") || name.starts_with("ws")).collect();
    let features = [
        ("HTTP2", curl.feature_http2()),
        ("HTTP3", curl.feature_http3()),
        ("TLS", curl.feature_ssl()),
        ("gzip", cfg!(feature = "gzip")),
        ("brotli", cfg!(feature = "brotli")),
        ("zstd", cfg!(feature = "zstd")),
        ("PSL", cfg!(feature = "psl")),
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
}
