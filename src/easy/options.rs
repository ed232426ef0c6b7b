//! The configuration applied to an easy handle. Every setting is named here; what concerns one request is in `prepare`.

use std::time::Duration;

use curl::easy::SslOpt;

use super::Easy;

use crate::config::{CONNECT_TIMEOUT, CaSource, RequestConfig, Version};
use crate::error::{Error, ErrorKind};
use crate::ffi::options::{self, LongOption, OffsetOption};
use crate::ffi::sockets;

/// The most that libcurl reads from a socket at once. With an agent 64 KiB did best: libcurl reads up to ten times a
/// turn, and larger buffers only overshoot the watermark.
const RECEIVE_BUFFER: usize = 64 << 10;

/// Applies all settings that can be the same for many requests, to a handle that was just reset.
pub(super) fn configure(easy: &mut Easy, config: &RequestConfig) -> Result<(), Error> {
    // Without `..`, so that a setting forgotten here does not compile.
    let RequestConfig {
        connect_timeout,
        low_speed,
        connection_idle_timeout,
        connection_max_life,
        max_download_speed,
        max_upload_speed,
        expect_continue,
        progress,
        egress,
        version,
        tcp_keepalive,
        tcp_nodelay,
        ca_certificates,
        accept_invalid_certs,
        // Reported by `prepare` before anything is applied.
        invalid: _,
        // Part of the request: its time, its headers.
        timeout: _,
        resolve_timeout: _,
        response_timeout: _,
        stall_timeout: _,
        max_response_size: _,
        auth: _,
        user_agent: _,
        decompress: _,
        url_credentials: _,
        // Applied by the client.
        redirect_policy: _,
        auto_referer: _,
        redirect_to_http: _,
        secret_headers: _,
        retry: _,
        max_decompressed_size: _,
        max_decompression_ratio: _,
        metrics: _,
    } = config;
    let failed = |error: curl::Error| Error::new(ErrorKind::InvalidConfiguration).with_source(error);

    options::set_protocols(easy, c"http,https").map_err(failed)?;
    options::set_long(easy, LongOption::SuppressConnectHeaders, 1).map_err(failed)?;
    options::set_long(easy, LongOption::DisallowUsernameInUrl, 1).map_err(failed)?;
    sockets::report_closed(easy).map_err(failed)?;
    easy.buffer_size(RECEIVE_BUFFER).map_err(failed)?;

    let limit = connect_timeout.unwrap_or(Some(CONNECT_TIMEOUT));
    easy.connect_timeout(limit.map_or(FOREVER, at_least_a_millisecond)).map_err(failed)?;
    if let Some(limit) = low_speed.flatten() {
        easy.low_speed_limit(limit.bytes_per_second).map_err(failed)?;
        easy.low_speed_time(limit.time.clamp(Duration::from_secs(1), LONGEST_LOW_SPEED)).map_err(failed)?;
    }
    if let Some(limit) = connection_idle_timeout {
        // 0 is "however long".
        let seconds = limit.map_or(0, |limit| limit.as_secs().max(1));
        options::set_long(easy, LongOption::MaxAgeConnection, to_long(seconds)).map_err(failed)?;
    }
    if let Some(limit) = connection_max_life.flatten() {
        options::set_long(easy, LongOption::MaxLifetimeConnection, to_long(limit.as_secs().max(1))).map_err(failed)?;
    }
    if let Some(speed) = max_download_speed.flatten() {
        options::set_offset(easy, OffsetOption::MaxReceiveSpeed, speed.max(1)).map_err(failed)?;
    }
    if let Some(speed) = max_upload_speed.flatten() {
        options::set_offset(easy, OffsetOption::MaxSendSpeed, speed.max(1)).map_err(failed)?;
    }
    if let Some(patience) = expect_continue.flatten() {
        let milliseconds = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        options::set_long(easy, LongOption::ExpectTimeout, to_long(milliseconds)).map_err(failed)?;
    }
    if progress.is_some() {
        easy.progress(true).map_err(failed)?;
    }
    if !egress.is_open() {
        crate::ffi::egress::guard(easy).map_err(failed)?;
    }
    options::set_long(easy, LongOption::HttpVersion, curl_version(version.unwrap_or_default().0)?).map_err(failed)?;
    easy.tcp_nodelay(tcp_nodelay.unwrap_or(true)).map_err(failed)?;
    if let Some(interval) = tcp_keepalive.flatten() {
        let interval = interval.clamp(Duration::from_secs(1), LONGEST_KEEPALIVE);
        easy.tcp_keepalive(true).map_err(failed)?;
        easy.tcp_keepidle(interval).map_err(failed)?;
        easy.tcp_keepintvl(interval).map_err(failed)?;
    }
    match ca_certificates.as_ref().map(|certificates| &certificates.0) {
        Some(CaSource::File(path)) => easy.cainfo(path).map_err(failed)?,
        Some(CaSource::Pem(bytes)) => easy.ssl_cainfo_blob(bytes).map_err(failed)?,
        None if cfg!(feature = "rustls") => easy.ssl_options(SslOpt::new().native_ca(true)).map_err(failed)?,
        None => {}
    }
    if accept_invalid_certs.unwrap_or(false) {
        easy.ssl_verify_peer(false).map_err(failed)?;
        easy.ssl_verify_host(false).map_err(failed)?;
    }
    Ok(())
}

/// libcurl holds this time in 16 bits of seconds.
const LONGEST_LOW_SPEED: Duration = Duration::from_secs(u16::MAX as u64);
/// Linux holds this time in 15 bits of seconds.
const LONGEST_KEEPALIVE: Duration = Duration::from_secs(i16::MAX as u64);
/// libcurl takes 0 for "its default", which is 300 seconds; this is "no limit".
const FOREVER: Duration = Duration::from_millis(i32::MAX as u64);

/// A duration as libcurl takes it: 0 would mean "no limit", and more than it can hold would be refused.
pub(super) fn at_least_a_millisecond(limit: Duration) -> Duration {
    limit.clamp(Duration::from_millis(1), FOREVER)
}

fn to_long(number: u64) -> libc::c_long {
    // libcurl holds all of these in 31 bits.
    number.min(i32::MAX as u64) as libc::c_long
}

fn curl_version(version: Version) -> Result<libc::c_long, Error> {
    let (number, available, name) = match version {
        Version::Latest => (4, true, ""),
        Version::Http10 => (1, true, ""),
        Version::Http11 => (2, true, ""),
        Version::Http2 => (3, curl::Version::get().feature_http2(), "HTTP/2"),
        Version::Http2PriorKnowledge => (5, curl::Version::get().feature_http2(), "HTTP/2"),
        Version::Http3 => (30, curl::Version::get().feature_http3(), "HTTP/3"),
    };
    if available {
        Ok(number)
    } else {
        Err(Error::new(ErrorKind::InvalidConfiguration)
            .with_detail(format!("the linked libcurl {} has no {name}", curl::Version::get().version())))
    }
}
