//! The port that a URL means. Opens none.

use http::Uri;

/// The port of a URL, or the usual one of its scheme (RFC 9110 4.2, RFC 6455 3).
pub(crate) fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(match url.scheme_str() {
        Some("https" | "wss") => 443,
        _ => 80,
    })
}
