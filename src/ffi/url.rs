//! The URL of an easy handle. libcurl reads its text anew for each request; a URL that comes again is given to it as it was
//! read before (`CURLOPT_CURLU`), which curl-sys does not declare.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{self, NonNull};

use curl::easy::Easy2;

use super::held::{Callbacks, Held};
use super::options::check;

/// `CURLOPT_CURLU`, since libcurl 7.63.
const CURLU: curl_sys::CURLoption = 10_282;
/// `CURLUPART_URL`
const WHOLE: c_int = 0;
/// `CURLU_NON_SUPPORT_SCHEME`, as the handle knows which schemes it may use, and `CURLU_DISALLOW_USER`, which it asks for
/// where it reads a text.
const FLAGS: c_uint = 1 << 3 | 1 << 5;

unsafe extern "C" {
    fn curl_url() -> *mut c_void;
    fn curl_url_set(url: *mut c_void, part: c_int, text: *const c_char, flags: c_uint) -> c_int;
    fn curl_url_cleanup(url: *mut c_void);
}

/// A URL as libcurl has read it (`CURLU *`).
pub(super) struct Parsed(NonNull<c_void>);

impl Parsed {
    fn new(text: &CStr) -> Option<Self> {
        // SAFETY: takes nothing.
        let parsed = Self(NonNull::new(unsafe { curl_url() })?);
        // SAFETY: libcurl copies what it needs of the string.
        let code = unsafe { curl_url_set(parsed.0.as_ptr(), WHOLE, text.as_ptr(), FLAGS) };
        (code == 0).then_some(parsed)
    }
}

impl Drop for Parsed {
    fn drop(&mut self) {
        // SAFETY: `curl_url` made it, and the handle has forgotten it.
        unsafe { curl_url_cleanup(self.0.as_ptr()) };
    }
}

/// Gives the handle the URL that the parts make: scheme, `://`, host with port, and the rest. `again`: it has it already.
pub(crate) fn set_url<T>(easy: &mut Easy2<Held<T>>, parts: [&str; 4], again: bool) -> Result<(), curl::Error> {
    let raw = easy.raw();
    let parsed = &mut easy.get_mut().url;
    // Older versions lose the zone of an address on this way.
    if again && (parsed.is_some() || parts[2].contains('%')) {
        return Ok(());
    }
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    parts.iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
    let text = CString::new(text)?;
    if again {
        // What it cannot read here, it refuses in the transfer, and says why.
        if let Some(new) = Parsed::new(&text) {
            let new = parsed.insert(new);
            // SAFETY: it lives in the handler that the handle owns, until the handle has forgotten it.
            check(unsafe { curl_sys::curl_easy_setopt(raw, CURLU, new.0.as_ptr()) })?;
        }
        return Ok(());
    }
    if parsed.is_some() {
        // SAFETY: NULL makes libcurl forget it before it is dropped.
        check(unsafe { curl_sys::curl_easy_setopt(raw, CURLU, ptr::null_mut::<c_void>()) })?;
        *parsed = None;
    }
    // SAFETY: libcurl copies the string.
    check(unsafe { curl_sys::curl_easy_setopt(raw, curl_sys::CURLOPT_URL, text.as_ptr()) })
}

/// Takes all options back, and with them the URL.
pub(crate) fn reset<T: Callbacks>(easy: &mut Easy2<Held<T>>) {
    easy.reset();
    easy.get_mut().url = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libcurl_cannot_read_is_left_to_the_transfer() {
        assert!(Parsed::new(c"http://a.test:80/x?y").is_some());
        assert!(Parsed::new(c"ws://a.test/").is_some());
        assert!(Parsed::new(c"http://[").is_none());
        assert!(Parsed::new(c"http://user@a.test/").is_none());
    }
}
