//! The configuration applied to an easy handle. Every setting is named here; what concerns one request is in `prepare`.

use std::path::Path;
use std::time::Duration;

use super::{Easy, route, secure};
use crate::body::ACCEPTED_CODINGS;
use crate::config::{Auth, CONNECT_TIMEOUT, IpVersion, Names, NetRc, RequestConfig, Sockets, UnixSocket, Version};
use crate::error::{Error, ErrorKind};
use crate::ffi::egress as guards;
use crate::ffi::options::{self, LongOption, OffsetOption, TextOption, linked};
use crate::ffi::sockets;

/// The most that libcurl reads from a socket at once. With an agent 64 KiB did best: libcurl reads up to ten times a
/// turn, and larger buffers only overshoot the watermark.
const RECEIVE_BUFFER: usize = 64 << 10;
/// The `User-Agent` of requests that name none.
const AGENT: &str = concat!("marmot/", env!("CARGO_PKG_VERSION"));

/// Applies all settings that can be the same for many requests, to a handle that was just reset.
pub(super) fn configure(easy: &mut Easy, config: &RequestConfig) -> Result<(), Error> {
    // Without `..`, so that a setting forgotten here does not compile.
    let RequestConfig {
        connect_timeout,
        low_speed,
        connection_idle_timeout,
        connection_max_life,
        pipewait: _,
        max_download_speed,
        max_upload_speed,
        expect_continue,
        #[cfg(any(feature = "gzip", feature = "zstd"))]
            compress_request: _,
        progress,
        egress,
        version,
        tcp_keepalive,
        tcp_nodelay,
        auth,
        netrc,
        tls,
        proxy_tls,
        names,
        sockets,
        // Chosen for each URL.
        proxy: _,
        proxy_from_env: _,
        // Reported by `prepare` before anything is applied.
        invalid: _,
        // Part of the request: its time, its headers.
        timeout: _,
        resolve_timeout: _,
        response_timeout: _,
        stall_timeout: _,
        max_response_size: _,
        user_agent: _,
        decompress: _,
        url_credentials: _,
        // Applied by the client.
        redirect_policy: _,
        auto_referer: _,
        redirect_to_http: _,
        secret_headers: _,
        retry: _,
        cookie_jar: _,
        max_decompressed_size: _,
        max_decompression_ratio: _,
        metrics: _,
    } = config;
    options::set_protocols(easy, c"http", c"http,https").map_err(failed)?;
    options::set_long(easy, LongOption::SuppressConnectHeaders, 1).map_err(failed)?;
    options::set_long(easy, LongOption::DisallowUsernameInUrl, 1).map_err(failed)?;
    sockets::report(easy).map_err(failed)?;
    // Less work for libcurl than two headers more in each request. What is coded is decoded on the reader's side.
    easy.useragent(AGENT).map_err(failed)?;
    if let Some(codings) = ACCEPTED_CODINGS {
        easy.accept_encoding(codings).map_err(failed)?;
        easy.http_content_decoding(false).map_err(failed)?;
    }

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
    guards::guard_requests(easy).map_err(failed)?;
    if !egress.is_open() {
        guards::guard_sockets(easy).map_err(failed)?;
    }
    options::set_long(easy, LongOption::HttpVersion, curl_version(version.unwrap_or_default().0)?).map_err(failed)?;
    easy.tcp_nodelay(tcp_nodelay.unwrap_or(true)).map_err(failed)?;
    if let Some(interval) = tcp_keepalive.flatten() {
        let interval = interval.clamp(Duration::from_secs(1), LONGEST_KEEPALIVE);
        easy.tcp_keepalive(true).map_err(failed)?;
        easy.tcp_keepidle(interval).map_err(failed)?;
        easy.tcp_keepintvl(interval).map_err(failed)?;
    }
    secure::servers(easy, tls)?;
    secure::proxies(easy, proxy_tls)?;
    configure_names(easy, names)?;
    configure_sockets(easy, sockets)?;
    configure_auth(easy, auth.as_ref().and_then(Option::as_ref)).map_err(failed)?;
    match netrc.as_ref().and_then(Option::as_ref) {
        Some(NetRc::Default) => options::set_long(easy, LongOption::NetRc, 1).map_err(failed)?,
        Some(NetRc::File(path)) => {
            options::set_long(easy, LongOption::NetRc, 1).map_err(failed)?;
            options::set_text(easy, TextOption::NetRcFile, Some(utf8(path)?)).map_err(failed)?;
        }
        None => {}
    }
    Ok(())
}

/// Whether settings of a request's own are among those that [`configure`] applies, so that a handle which is set up for
/// the client's must be set up anew.
pub(crate) fn concern_handle(config: &RequestConfig) -> bool {
    // Without `..`, as above.
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
        auth,
        netrc,
        tls,
        proxy_tls,
        names,
        sockets,
        proxy,
        proxy_from_env,
        #[cfg(any(feature = "gzip", feature = "zstd"))]
            compress_request: _,
        pipewait: _,
        invalid: _,
        timeout: _,
        resolve_timeout: _,
        response_timeout: _,
        stall_timeout: _,
        max_response_size: _,
        user_agent: _,
        decompress: _,
        url_credentials: _,
        redirect_policy: _,
        auto_referer: _,
        redirect_to_http: _,
        secret_headers: _,
        retry: _,
        cookie_jar: _,
        max_decompressed_size: _,
        max_decompression_ratio: _,
        metrics: _,
    } = config;
    let connection = connect_timeout.is_some() || connection_idle_timeout.is_some() || connection_max_life.is_some();
    let speed = low_speed.is_some() || max_download_speed.is_some() || max_upload_speed.is_some();
    let protocol = expect_continue.is_some() || progress.is_some() || version.is_some() || auth.is_some();
    let socket = tcp_keepalive.is_some() || tcp_nodelay.is_some() || !sockets.is_unset() || !names.is_unset();
    let way = netrc.is_some() || proxy.is_some() || proxy_from_env.is_some() || !egress.is_open();
    connection || speed || protocol || socket || way || !tls.is_unset() || !proxy_tls.is_unset()
}

/// What libcurl makes credentials of by itself; a header that is known beforehand is part of the request.
fn configure_auth(easy: &mut Easy, auth: Option<&Auth>) -> Result<(), curl::Error> {
    const DIGEST: libc::c_long = 2;
    let credentials = match auth {
        Some(Auth::Digest(credentials)) => {
            options::set_long(easy, LongOption::HttpAuth, DIGEST)?;
            credentials
        }
        Some(Auth::AwsSigV4(sign)) => {
            let scope = format!("aws:amz:{}:{}", sign.region, sign.service);
            options::set_text(easy, TextOption::AwsSigV4, Some(&scope))?;
            // Bad credentials were reported as an invalid setting.
            let Ok(credentials) = &sign.credentials else { return Ok(()) };
            credentials
        }
        Some(Auth::Header(_)) | None => return Ok(()),
    };
    options::set_text(easy, TextOption::UserName, Some(&credentials.user))?;
    options::set_text(easy, TextOption::Password, Some(&credentials.password))
}

fn configure_names(easy: &mut Easy, names: &Names) -> Result<(), Error> {
    let Names {
        servers,
        over_https,
        ip_version,
        happy_eyeballs,
        // Part of the way to the target.
        cache: _,
        resolve: _,
        connect_to: _,
    } = names;
    route::check(names)?;
    options::set_long(easy, LongOption::DnsCacheTimeout, route::cache_time(names)).map_err(failed)?;
    if let Some(servers) = servers.as_ref().and_then(Option::as_ref) {
        options::set_text(easy, TextOption::DnsServers, Some(servers))
            .map_err(|error| lacking("DNS servers of your choice, which need c-ares").with_source(error))?;
    }
    if let Some(url) = over_https.as_ref().and_then(Option::as_ref) {
        options::set_text(easy, TextOption::DohUrl, Some(url))
            .map_err(|error| lacking("DNS over HTTPS").with_source(error))?;
    }
    let version = match ip_version.unwrap_or_default() {
        IpVersion::Any => 0,
        IpVersion::V4 => 1,
        IpVersion::V6 => 2,
    };
    options::set_long(easy, LongOption::IpResolve, version).map_err(failed)?;
    if let Some(time) = happy_eyeballs {
        let milliseconds = libc::c_long::try_from(time.as_millis()).unwrap_or(libc::c_long::MAX).min(i32::MAX.into());
        options::set_long(easy, LongOption::HappyEyeballsTimeoutMs, milliseconds).map_err(failed)?;
    }
    Ok(())
}

fn configure_sockets(easy: &mut Easy, sockets: &Sockets) -> Result<(), Error> {
    let Sockets {
        interface,
        local_ports,
        unix,
        fast_open,
        receive_buffer,
        // Depends on the body.
        upload_buffer: _,
    } = sockets;
    easy.buffer_size(receive_buffer.unwrap_or(RECEIVE_BUFFER)).map_err(failed)?;
    if let Some(interface) = interface.as_ref().and_then(Option::as_ref) {
        options::set_text(easy, TextOption::Interface, Some(&interface.0)).map_err(failed)?;
    }
    if let Some((first, last)) = local_ports.flatten() {
        options::set_long(easy, LongOption::LocalPort, first.into()).map_err(failed)?;
        // libcurl counts the ports that it may try.
        options::set_long(easy, LongOption::LocalPortRange, libc::c_long::from(last - first) + 1).map_err(failed)?;
    }
    match unix.as_ref().and_then(Option::as_ref) {
        Some(UnixSocket::Path(path)) => {
            options::set_text(easy, TextOption::UnixSocketPath, Some(utf8(path)?))
                .map_err(|error| lacking("sockets of the file system").with_source(error))?;
        }
        Some(UnixSocket::Abstract(name)) => {
            options::set_text(easy, TextOption::AbstractUnixSocket, Some(name))
                .map_err(|error| lacking("sockets of the abstract name space").with_source(error))?;
        }
        None => {}
    }
    if fast_open.unwrap_or(false) {
        options::set_long(easy, LongOption::TcpFastOpen, 1)
            .map_err(|error| lacking("TCP Fast Open").with_source(error))?;
    }
    Ok(())
}

fn failed(error: curl::Error) -> Error {
    Error::new(ErrorKind::InvalidConfiguration).with_source(error)
}

fn lacking(what: &str) -> Error {
    Error::new(ErrorKind::InvalidConfiguration)
        .with_detail(format!("the linked libcurl {} has no {what}", linked().version()))
}

fn utf8(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::new(ErrorKind::InvalidConfiguration).with_detail("a path is not UTF-8"))
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
        // A libcurl without HTTP/2 refuses to negotiate it; 0 leaves the choice to it.
        Version::Latest => (if linked().feature_http2() { 4 } else { 0 }, true, ""),
        Version::Http10 => (1, true, ""),
        Version::Http11 => (2, true, ""),
        Version::Http2 => (3, linked().feature_http2(), "HTTP/2"),
        Version::Http2PriorKnowledge => (5, linked().feature_http2(), "HTTP/2"),
        Version::Http3 => (30, linked().feature_http3(), "HTTP/3"),
    };
    if available { Ok(number) } else { Err(lacking(name)) }
}
