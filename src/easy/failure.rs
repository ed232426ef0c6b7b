//! libcurl's error codes become errors of this crate. Looks at the transfer, changes nothing.

use std::fmt;
use std::io;

use super::route::readable;
use crate::config::ProxyServer;
use crate::error::{Error, ErrorKind, TimeoutPhase};
use crate::ffi::options::{Info, Live, linked};
use crate::ffi::wall;

/// What libcurl said, as the cause of an [`Error`]; the curl crate's own type stays private.
#[derive(Debug)]
struct CurlError {
    code: u32,
    text: String,
}

impl fmt::Display for CurlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (libcurl error {})", self.text, self.code)
    }
}

impl std::error::Error for CurlError {}

/// Explains why a transfer ended. `responded` tells whether the head of the response was complete, `proxy` what it went
/// through.
pub(super) fn explain(
    error: &curl::Error,
    live: Live<'_>,
    os_error: Option<i32>,
    responded: bool,
    proxy: Option<&ProxyServer>,
) -> Error {
    let said = readable(error.extra_description().unwrap_or_else(|| error.description()));
    let kind = kind(error, &said, responded);
    let mut result = match kind {
        ErrorKind::Timeout => Error::timeout(timeout_phase(&said, live, responded)),
        kind => Error::new(kind),
    };
    let mut detail = None;
    if matches!(kind, ErrorKind::ConnectionFailed | ErrorKind::Io) {
        if let Some(number) = os_error.filter(|number| *number != 0) {
            detail = Some(os_detail(number));
        } else if error.is_got_nothing() {
            detail = Some("the connection was closed before a response".to_owned());
        } else if kind == ErrorKind::ConnectionFailed && wall::is_reached() {
            detail = Some("no descriptor below 1024 is free, and this build of libcurl can use no other".to_owned());
        }
    }
    if let Some(proxy) = proxy.filter(|_| !responded) {
        // Which of the two a certificate or a delay belongs to, libcurl does not tell.
        let part =
            if matches!(kind, ErrorKind::ConnectionFailed | ErrorKind::ProxyRefused) { "the" } else { "by way of the" };
        let why = detail.or_else(|| refusal(kind, &said)).map_or_else(String::new, |detail| format!(": {detail}"));
        detail = Some(format!("{part} proxy {proxy}{why}"));
    }
    if let Some(detail) = detail {
        result = result.with_detail(detail);
    }
    result.with_source(CurlError { code: error.code(), text: said })
}

/// `"status 407"`, where a proxy gave one.
fn refusal(kind: ErrorKind, said: &str) -> Option<String> {
    let (_, status) = said.rsplit_once("response ").filter(|_| kind == ErrorKind::ProxyRefused)?;
    let digits: String = status.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("status {digits}"))
}

/// `"connection refused"`, without the number that `io::Error` appends.
fn os_detail(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

fn kind(error: &curl::Error, said: &str, responded: bool) -> ErrorKind {
    // libcurl has no code of its own for this one.
    if said.contains("CONNECT tunnel failed") {
        return ErrorKind::ProxyRefused;
    }
    match error.code() {
        curl_sys::CURLE_URL_MALFORMAT => ErrorKind::InvalidRequest,
        curl_sys::CURLE_UNSUPPORTED_PROTOCOL if said.contains("HTTP/0.9") || said.contains("in response") => {
            ErrorKind::ProtocolViolation
        }
        curl_sys::CURLE_UNSUPPORTED_PROTOCOL => ErrorKind::InvalidRequest,
        curl_sys::CURLE_COULDNT_RESOLVE_HOST | curl_sys::CURLE_COULDNT_RESOLVE_PROXY => ErrorKind::NameResolution,
        curl_sys::CURLE_COULDNT_CONNECT | curl_sys::CURLE_INTERFACE_FAILED => ErrorKind::ConnectionFailed,
        // The handshake with a SOCKS proxy.
        97 => ErrorKind::ProxyRefused,
        curl_sys::CURLE_PARTIAL_FILE => ErrorKind::ResponseBodyTruncated,
        // A body that lacks its end, chunked or by the connection's close in the middle of a chunk.
        curl_sys::CURLE_RECV_ERROR if responded && is_truncation(said) => ErrorKind::ResponseBodyTruncated,
        curl_sys::CURLE_RECV_ERROR | 8 if is_malformed(said) => ErrorKind::ProtocolViolation,
        // 61: a transfer coding that was not asked for; content codings are not undone by libcurl.
        8 | curl_sys::CURLE_BAD_CONTENT_ENCODING => ErrorKind::ProtocolViolation,
        curl_sys::CURLE_HTTP2 | 92 if said.contains("PROTOCOL_ERROR") => ErrorKind::ProtocolViolation,
        // A stream or connection of HTTP/2 that was ended: what a reset is to HTTP/1. 92: one stream.
        curl_sys::CURLE_HTTP2 | 92 => ErrorKind::Io,
        curl_sys::CURLE_OPERATION_TIMEDOUT => ErrorKind::Timeout,
        curl_sys::CURLE_SSL_CONNECT_ERROR | curl_sys::CURLE_SSL_CIPHER | curl_sys::CURLE_USE_SSL_FAILED => {
            if is_about_certificate(said) {
                ErrorKind::BadServerCertificate
            } else {
                ErrorKind::Tls
            }
        }
        // 51 in old versions, 60 now; pinned key, status of the certificate.
        51 | 60 | 83 | 90 | 91 => ErrorKind::BadServerCertificate,
        // OpenSSL about a key that does not fit its certificate.
        curl_sys::CURLE_BAD_FUNCTION_ARGUMENT if said.contains("private key") => ErrorKind::BadClientCertificate,
        curl_sys::CURLE_BAD_FUNCTION_ARGUMENT => ErrorKind::InvalidConfiguration,
        curl_sys::CURLE_SSL_CERTPROBLEM | 98 => ErrorKind::BadClientCertificate,
        curl_sys::CURLE_SSL_CACERT_BADFILE | curl_sys::CURLE_SSL_ENGINE_NOTFOUND => ErrorKind::InvalidConfiguration,
        curl_sys::CURLE_READ_ERROR => ErrorKind::RequestBody,
        curl_sys::CURLE_SEND_FAIL_REWIND => ErrorKind::RequestBodyNotRewindable,
        curl_sys::CURLE_FILESIZE_EXCEEDED | 100 => ErrorKind::TooLarge,
        curl_sys::CURLE_ABORTED_BY_CALLBACK | curl_sys::CURLE_WRITE_ERROR => ErrorKind::Cancelled,
        _ => ErrorKind::Io,
    }
}

fn is_truncation(said: &str) -> bool {
    ["outstanding read data", "bytes remaining to read", "bytes missing"].iter().any(|words| said.contains(words))
}

fn is_malformed(said: &str) -> bool {
    ["chunk", "Chunk", "header", "Header", "Content-Length", "status line", "Nul byte", "HTTP/"]
        .iter()
        .any(|word| said.contains(word))
}

fn is_about_certificate(said: &str) -> bool {
    said.to_ascii_lowercase().contains("certificate") && !said.contains("client certificate")
}

/// libcurl has one code for all timeouts; its words and how far the transfer came tell them apart.
fn timeout_phase(said: &str, live: Live<'_>, responded: bool) -> TimeoutPhase {
    if said.contains("too slow") {
        return TimeoutPhase::LowSpeed;
    }
    if responded {
        return TimeoutPhase::Body;
    }
    if said.starts_with("Resolving") {
        return TimeoutPhase::NameResolution;
    }
    if said.starts_with("Connection") || said.starts_with("SSL connection") || live.number(Info::PreTransferTime) == 0 {
        let resolved = live.number(Info::NameLookupTime) > 0;
        return if resolved { TimeoutPhase::Connect } else { TimeoutPhase::NameResolution };
    }
    // An older libcurl does not tell when the request was out.
    let tells = linked().version_num() >= 0x08_0a_00;
    if tells && live.number(Info::PostTransferTime) == 0 { TimeoutPhase::Send } else { TimeoutPhase::Response }
}
