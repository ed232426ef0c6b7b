//! Options and infos of libcurl that the curl crate does not declare. Strings are copied by libcurl.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use curl::easy::Easy2;
use curl::multi::{Easy2Handle, Multi, Socket};
use libc::{c_int, c_long};
use zeroize::Zeroizing;

use super::sockets::{self, Mark};

pub(super) fn check(code: curl_sys::CURLcode) -> Result<(), curl::Error> {
    if code == curl_sys::CURLE_OK { Ok(()) } else { Err(curl::Error::new(code)) }
}

/// Options that take a `long` and may be set with any value.
#[derive(Clone, Copy)]
pub(crate) enum LongOption {
    /// `CURLOPT_SUPPRESS_CONNECT_HEADERS`
    SuppressConnectHeaders = 265,
    /// `CURLOPT_DISALLOW_USERNAME_IN_URL`
    DisallowUsernameInUrl = 278,
    /// `CURLOPT_HTTP_VERSION`, for the values that the curl crate does not name
    HttpVersion = 84,
    /// `CURLOPT_EXPECT_100_TIMEOUT_MS`
    ExpectTimeout = 227,
    /// `CURLOPT_MAXAGE_CONN`
    MaxAgeConnection = 288,
    /// `CURLOPT_MAXLIFETIME_CONN`
    MaxLifetimeConnection = 314,
    /// `CURLOPT_SSLVERSION`
    SslVersion = 32,
    /// `CURLOPT_NETRC`
    NetRc = 51,
    /// `CURLOPT_HTTPPROXYTUNNEL`
    HttpProxyTunnel = 61,
    /// `CURLOPT_SSL_VERIFYPEER`
    VerifyPeer = 64,
    /// `CURLOPT_SSL_VERIFYHOST`
    VerifyHost = 81,
    /// `CURLOPT_DNS_CACHE_TIMEOUT`
    DnsCacheTimeout = 92,
    /// `CURLOPT_HTTPAUTH`
    HttpAuth = 107,
    /// `CURLOPT_PROXYAUTH`
    ProxyAuth = 111,
    /// `CURLOPT_IPRESOLVE`
    IpResolve = 113,
    /// `CURLOPT_LOCALPORT`
    LocalPort = 139,
    /// `CURLOPT_LOCALPORTRANGE`
    LocalPortRange = 140,
    /// `CURLOPT_SSL_OPTIONS`
    SslOptions = 216,
    /// `CURLOPT_TCP_FASTOPEN`
    TcpFastOpen = 244,
    /// `CURLOPT_PROXY_SSL_VERIFYPEER`
    ProxyVerifyPeer = 248,
    /// `CURLOPT_PROXY_SSL_VERIFYHOST`
    ProxyVerifyHost = 249,
    /// `CURLOPT_PROXY_SSLVERSION`
    ProxySslVersion = 250,
    /// `CURLOPT_PROXY_SSL_OPTIONS`
    ProxySslOptions = 261,
    /// `CURLOPT_SOCKS5_AUTH`
    Socks5Auth = 267,
    /// `CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS`
    HappyEyeballsTimeoutMs = 271,
}

/// Options that take a `curl_off_t` and may be set with any value.
#[derive(Clone, Copy)]
pub(crate) enum OffsetOption {
    /// `CURLOPT_MAX_SEND_SPEED_LARGE`
    MaxSendSpeed = 30145,
    /// `CURLOPT_MAX_RECV_SPEED_LARGE`
    MaxReceiveSpeed = 30146,
}

pub(crate) fn set_offset<H>(easy: &mut Easy2<H>, option: OffsetOption, value: u64) -> Result<(), curl::Error> {
    let value = curl_sys::curl_off_t::try_from(value).unwrap_or(curl_sys::curl_off_t::MAX);
    // SAFETY: each `OffsetOption` takes a curl_off_t.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option as curl_sys::CURLoption, value) })
}

/// Options that take a string, which libcurl copies.
#[derive(Clone, Copy)]
pub(crate) enum TextOption {
    /// `CURLOPT_PROXY`
    Proxy = 10_004,
    /// `CURLOPT_SSLCERT`
    SslCert = 10_025,
    /// `CURLOPT_KEYPASSWD`
    KeyPassword = 10_026,
    /// `CURLOPT_INTERFACE`
    Interface = 10_062,
    /// `CURLOPT_CAINFO`
    CaInfo = 10_065,
    /// `CURLOPT_SSL_CIPHER_LIST`
    SslCipherList = 10_083,
    /// `CURLOPT_SSLCERTTYPE`
    SslCertType = 10_086,
    /// `CURLOPT_SSLKEY`
    SslKey = 10_087,
    /// `CURLOPT_CAPATH`
    CaPath = 10_097,
    /// `CURLOPT_NETRC_FILE`
    NetRcFile = 10_118,
    /// `CURLOPT_USERNAME`
    UserName = 10_173,
    /// `CURLOPT_PASSWORD`
    Password = 10_174,
    /// `CURLOPT_PROXYUSERNAME`
    ProxyUserName = 10_175,
    /// `CURLOPT_PROXYPASSWORD`
    ProxyPassword = 10_176,
    /// `CURLOPT_NOPROXY`
    NoProxy = 10_177,
    /// `CURLOPT_DNS_SERVERS`
    DnsServers = 10_211,
    /// `CURLOPT_PINNEDPUBLICKEY`
    PinnedPublicKey = 10_230,
    /// `CURLOPT_UNIX_SOCKET_PATH`
    UnixSocketPath = 10_231,
    /// `CURLOPT_PROXY_CAINFO`
    ProxyCaInfo = 10_246,
    /// `CURLOPT_PROXY_CAPATH`
    ProxyCaPath = 10_247,
    /// `CURLOPT_PROXY_SSLCERT`
    ProxySslCert = 10_254,
    /// `CURLOPT_PROXY_SSLCERTTYPE`
    ProxySslCertType = 10_255,
    /// `CURLOPT_PROXY_SSLKEY`
    ProxySslKey = 10_256,
    /// `CURLOPT_PROXY_KEYPASSWD`
    ProxyKeyPassword = 10_258,
    /// `CURLOPT_PROXY_SSL_CIPHER_LIST`
    ProxySslCipherList = 10_259,
    /// `CURLOPT_PROXY_PINNEDPUBLICKEY`
    ProxyPinnedPublicKey = 10_263,
    /// `CURLOPT_ABSTRACT_UNIX_SOCKET`
    AbstractUnixSocket = 10_264,
    /// `CURLOPT_TLS13_CIPHERS`
    Tls13Ciphers = 10_276,
    /// `CURLOPT_PROXY_TLS13_CIPHERS`
    ProxyTls13Ciphers = 10_277,
    /// `CURLOPT_DOH_URL`
    DohUrl = 10_279,
    /// `CURLOPT_AWS_SIGV4`
    AwsSigV4 = 10_305,
}

/// Options that take bytes, which libcurl copies.
#[derive(Clone, Copy)]
pub(crate) enum BlobOption {
    /// `CURLOPT_SSLCERT_BLOB`
    SslCert = 40_291,
    /// `CURLOPT_SSLKEY_BLOB`
    SslKey = 40_292,
    /// `CURLOPT_PROXY_SSLCERT_BLOB`
    ProxySslCert = 40_293,
    /// `CURLOPT_PROXY_SSLKEY_BLOB`
    ProxySslKey = 40_294,
    /// `CURLOPT_CAINFO_BLOB`
    CaInfo = 40_309,
    /// `CURLOPT_PROXY_CAINFO_BLOB`
    ProxyCaInfo = 40_310,
}

/// Sets a string, or clears it with `None`. Text with a NUL in it is refused.
pub(crate) fn set_text<H>(easy: &mut Easy2<H>, option: TextOption, text: Option<&str>) -> Result<(), curl::Error> {
    let mut copy = Zeroizing::new(Vec::new());
    if let Some(text) = text {
        // At once with its full size, so that no part of a password is left behind by growing.
        copy.reserve_exact(text.len() + 1);
        copy.extend_from_slice(text.as_bytes());
        copy.push(0);
    }
    let text = if copy.is_empty() {
        ptr::null()
    } else {
        let bad = |_| curl::Error::new(curl_sys::CURLE_BAD_FUNCTION_ARGUMENT);
        CStr::from_bytes_with_nul(&copy).map_err(bad)?.as_ptr()
    };
    // SAFETY: each `TextOption` takes a string that libcurl copies, or NULL to clear it.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option as curl_sys::CURLoption, text) })
}

/// Sets bytes.
pub(crate) fn set_blob<H>(easy: &mut Easy2<H>, option: BlobOption, bytes: &[u8]) -> Result<(), curl::Error> {
    let blob = curl_sys::curl_blob {
        data: bytes.as_ptr().cast_mut().cast(),
        len: bytes.len(),
        flags: curl_sys::CURL_BLOB_COPY,
    };
    // SAFETY: each `BlobOption` takes a blob; with CURL_BLOB_COPY libcurl copies and does not write.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option as curl_sys::CURLoption, &raw const blob) })
}

pub(crate) fn set_long<H>(easy: &mut Easy2<H>, option: LongOption, value: c_long) -> Result<(), curl::Error> {
    // SAFETY: each `LongOption` takes a long.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option as curl_sys::CURLoption, value) })
}

/// The libcurl that is linked. It writes the account of itself anew each time that it is asked, so that is done once.
pub(crate) fn linked() -> &'static curl::Version {
    static LINKED: OnceLock<curl::Version> = OnceLock::new();
    LINKED.get_or_init(curl::Version::get)
}

/// Sets `CURLOPT_PROTOCOLS_STR`: the URL schemes that may be used. A libcurl without TLS refuses a list with a secure one.
pub(crate) fn set_protocols<H>(easy: &mut Easy2<H>, plain: &CStr, with_tls: &CStr) -> Result<(), curl::Error> {
    const PROTOCOLS_STR: curl_sys::CURLoption = 10318;
    let protocols = if linked().feature_ssl() { with_tls } else { plain };
    // SAFETY: libcurl copies the string.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), PROTOCOLS_STR, protocols.as_ptr()) })
}

/// Sets or clears `CURLOPT_CUSTOMREQUEST`. `None` gives the method that the other options imply.
pub(crate) fn set_method<H>(easy: &mut Easy2<H>, method: Option<&CStr>) -> Result<(), curl::Error> {
    let method = method.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: libcurl copies the string and takes NULL to clear it.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_CUSTOMREQUEST, method) })
}

/// Sets `CURLOPT_INFILESIZE_LARGE`; `None` is "unknown".
pub(crate) fn set_upload_size<H>(easy: &mut Easy2<H>, size: Option<u64>) -> Result<(), curl::Error> {
    let size = size.and_then(|size| curl_sys::curl_off_t::try_from(size).ok()).unwrap_or(-1);
    // SAFETY: the option takes a curl_off_t.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_INFILESIZE_LARGE, size) })
}

/// Infos of the `curl_off_t` kind: microseconds and bytes.
#[derive(Clone, Copy)]
pub(crate) enum Info {
    SizeUpload = 0x60_0000 + 7,
    SizeDownload = 0x60_0000 + 8,
    TotalTime = 0x60_0000 + 50,
    NameLookupTime = 0x60_0000 + 51,
    ConnectTime = 0x60_0000 + 52,
    PreTransferTime = 0x60_0000 + 53,
    StartTransferTime = 0x60_0000 + 54,
    AppConnectTime = 0x60_0000 + 56,
    /// Since libcurl 8.10.
    PostTransferTime = 0x60_0000 + 67,
}

/// Leave to ask libcurl about a transfer, while its handle lives.
#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    raw: *mut curl_sys::CURL,
    handle: PhantomData<&'a ()>,
}

impl<'a> Live<'a> {
    /// # Safety
    ///
    /// `raw` is an easy handle that lives for `'a`.
    pub(super) unsafe fn new(raw: *mut curl_sys::CURL) -> Self {
        Self { raw, handle: PhantomData }
    }

    pub(crate) fn of<H>(easy: &'a Easy2<H>) -> Self {
        Self { raw: easy.raw(), handle: PhantomData }
    }

    pub(crate) fn of_running<H>(easy: &'a Easy2Handle<H>) -> Self {
        Self { raw: easy.raw(), handle: PhantomData }
    }

    /// A number of the transfer (`curl_easy_getinfo`), or 0 where libcurl has none.
    pub(crate) fn number(self, info: Info) -> u64 {
        let mut value: curl_sys::curl_off_t = 0;
        // SAFETY: each `Info` writes one curl_off_t.
        let code = unsafe { curl_sys::curl_easy_getinfo(self.raw, info as curl_sys::CURLINFO, &raw mut value) };
        if code == curl_sys::CURLE_OK { u64::try_from(value).unwrap_or(0) } else { 0 }
    }

    /// How many connections the transfer made (`CURLINFO_NUM_CONNECTS`): none where it used an open one.
    pub(crate) fn connections_made(self) -> c_long {
        const NUM_CONNECTS: curl_sys::CURLINFO = 0x20_0000 + 26;
        let mut value: c_long = 0;
        // SAFETY: the info writes one long.
        let _ = unsafe { curl_sys::curl_easy_getinfo(self.raw, NUM_CONNECTS, &raw mut value) };
        value
    }

    /// The socket of the transfer's connection (`CURLINFO_ACTIVESOCKET`).
    fn socket(self) -> Option<Socket> {
        const ACTIVE_SOCKET: curl_sys::CURLINFO = 0x50_0000 + 44;
        let mut socket: curl_sys::curl_socket_t = -1;
        // SAFETY: the info writes one socket.
        let code = unsafe { curl_sys::curl_easy_getinfo(self.raw, ACTIVE_SOCKET, &raw mut socket) };
        (code == curl_sys::CURLE_OK && socket >= 0).then_some(socket)
    }

    /// Marks the connection of the transfer as it is now.
    pub(crate) fn mark(self) -> Option<Mark> {
        Mark::set(self.socket()?)
    }

    /// From now on the transfer's connection counts as readable when this much can be read of it, or its end.
    pub(crate) fn tell_of(self, bytes: u32) {
        if let Some(socket) = self.socket() {
            sockets::tell_of(socket, bytes);
        }
    }

    /// Whether the transfer goes through a proxy (`CURLINFO_USED_PROXY`, since libcurl 8.7).
    pub(crate) fn uses_proxy(self) -> bool {
        const USED_PROXY: curl_sys::CURLINFO = 0x20_0000 + 66;
        let mut value: c_long = 0;
        // SAFETY: the info writes one long.
        let code = unsafe { curl_sys::curl_easy_getinfo(self.raw, USED_PROXY, &raw mut value) };
        code == curl_sys::CURLE_OK && value != 0
    }
}

/// The number of the connection of a transfer in a multi handle (`CURLINFO_CONN_ID`, since libcurl 8.2); negative while it
/// has none.
pub(crate) fn connection_id<H>(easy: &Easy2Handle<H>) -> i64 {
    const CONN_ID: curl_sys::CURLINFO = 0x60_0000 + 64;
    let mut id: curl_sys::curl_off_t = 0;
    // SAFETY: the info writes one curl_off_t.
    let code = unsafe { curl_sys::curl_easy_getinfo(easy.raw(), CONN_ID, &raw mut id) };
    if code == curl_sys::CURLE_OK { id } else { 0 }
}

/// Whether a transfer in a multi handle has got no addresses yet (`CURLINFO_NAMELOOKUP_TIME_T`).
pub(crate) fn waits_for_name<H>(easy: &Easy2Handle<H>) -> bool {
    let live = Live { raw: easy.raw(), handle: PhantomData };
    live.number(Info::NameLookupTime) == 0
}

/// Pauses and resumes the two directions of a transfer (`curl_easy_pause`). Not for use inside a callback.
pub(crate) fn pause<H>(easy: &Easy2Handle<H>, receiving: bool, sending: bool) -> Result<(), curl::Error> {
    const RECEIVE: c_int = 1;
    const SEND: c_int = 4;
    let bits = (c_int::from(receiving) * RECEIVE) | (c_int::from(sending) * SEND);
    // SAFETY: the handle lives and is driven by this thread, which is in no callback: it holds `easy`.
    check(unsafe { curl_sys::curl_easy_pause(easy.raw(), bits) })
}

/// Limits the streams of each HTTP/2 connection (`CURLMOPT_MAX_CONCURRENT_STREAMS`, since libcurl 7.67).
pub(crate) fn set_max_streams(multi: &Multi, most: u32) {
    const MAX_CONCURRENT_STREAMS: curl_sys::CURLMoption = 16;
    let most = c_long::from(i32::try_from(most).unwrap_or(i32::MAX));
    // SAFETY: the option takes a long; an unknown option is an error code, and the limit is then libcurl's own.
    let _ = unsafe { curl_sys::curl_multi_setopt(multi.raw(), MAX_CONCURRENT_STREAMS, most) };
}

/// Lets `curl_multi_cleanup` return without waiting for a name that is still being resolved (`CURLMOPT_QUICK_EXIT`).
///
/// A libcurl that does not know the option keeps its old behaviour.
pub(crate) fn set_quick_exit(multi: &Multi) {
    const QUICK_EXIT: curl_sys::CURLMoption = 21;
    let on: c_long = 1;
    // SAFETY: the option takes a long; an unknown option is an error code, which is fine here.
    let _ = unsafe { curl_sys::curl_multi_setopt(multi.raw(), QUICK_EXIT, on) };
}
