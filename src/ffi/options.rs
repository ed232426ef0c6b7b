//! Options and infos of libcurl that the curl crate does not declare. Strings are copied by libcurl.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::ptr;

use curl::easy::Easy2;
use curl::multi::{Easy2Handle, Multi};
use libc::{c_char, c_int, c_long};

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

pub(crate) fn set_long<H>(easy: &mut Easy2<H>, option: LongOption, value: c_long) -> Result<(), curl::Error> {
    // SAFETY: each `LongOption` takes a long.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option as curl_sys::CURLoption, value) })
}

/// Sets `CURLOPT_PROTOCOLS_STR`: the URL schemes that may be used.
pub(crate) fn set_protocols<H>(easy: &mut Easy2<H>, protocols: &CStr) -> Result<(), curl::Error> {
    const PROTOCOLS_STR: curl_sys::CURLoption = 10318;
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

    /// Whether the transfer goes through a proxy (`CURLINFO_USED_PROXY`, since libcurl 8.7).
    pub(crate) fn uses_proxy(self) -> bool {
        const USED_PROXY: curl_sys::CURLINFO = 0x20_0000 + 66;
        let mut value: c_long = 0;
        // SAFETY: the info writes one long.
        let code = unsafe { curl_sys::curl_easy_getinfo(self.raw, USED_PROXY, &raw mut value) };
        code == curl_sys::CURLE_OK && value != 0
    }

    /// The address of the other side of the connection.
    pub(crate) fn remote(self) -> Option<SocketAddr> {
        self.address(curl_sys::CURLINFO_PRIMARY_IP, curl_sys::CURLINFO_PRIMARY_PORT)
    }

    /// The address of this side of the connection.
    pub(crate) fn local(self) -> Option<SocketAddr> {
        self.address(curl_sys::CURLINFO_LOCAL_IP, curl_sys::CURLINFO_LOCAL_PORT)
    }

    fn address(self, ip: curl_sys::CURLINFO, port: curl_sys::CURLINFO) -> Option<SocketAddr> {
        let mut text: *const c_char = ptr::null();
        // SAFETY: the info writes one pointer.
        let code = unsafe { curl_sys::curl_easy_getinfo(self.raw, ip, &raw mut text) };
        if code != curl_sys::CURLE_OK || text.is_null() {
            return None;
        }
        // SAFETY: libcurl owns this string until the next transfer of the handle; it is parsed here.
        let ip: IpAddr = unsafe { CStr::from_ptr(text) }.to_str().ok()?.parse().ok()?;
        let mut number: c_long = 0;
        // SAFETY: the info writes one long.
        let code = unsafe { curl_sys::curl_easy_getinfo(self.raw, port, &raw mut number) };
        let number = u16::try_from(number).ok().filter(|_| code == curl_sys::CURLE_OK)?;
        Some(SocketAddr::new(ip, number))
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

/// Pauses and resumes the two directions of a transfer (`curl_easy_pause`). Not for use inside a callback.
pub(crate) fn pause<H>(easy: &Easy2Handle<H>, receiving: bool, sending: bool) -> Result<(), curl::Error> {
    const RECEIVE: c_int = 1;
    const SEND: c_int = 4;
    let bits = (c_int::from(receiving) * RECEIVE) | (c_int::from(sending) * SEND);
    // SAFETY: the handle lives and is driven by this thread, which is in no callback: it holds `easy`.
    check(unsafe { curl_sys::curl_easy_pause(easy.raw(), bits) })
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
