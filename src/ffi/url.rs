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
/// `CURLU_NON_SUPPORT_SCHEME`: the handle knows which schemes it may use.
const ANY_SCHEME: c_uint = 1 << 3;

unsafe extern "C" {
    fn curl_url() -> *mut c_void;
    fn curl_url_set(url: *mut c_void, part: c_int, text: *const c_char, flags: c_uint) -> c_int;
    fn curl_url_cleanup(url: *mut c_void);
}

/// What a handle was told last.
#[derive(Default)]
pub(super) struct Told {
    text: CString,
    /// From the second time on.
    parsed: Option<Parsed>,
}

/// A URL as libcurl has read it (`CURLU *`).
struct Parsed(NonNull<c_void>);

// SAFETY: a `CURLU` is plain memory, of no thread in particular, and is used by one at a time: that which has the handle.
unsafe impl Send for Parsed {}

impl Parsed {
    fn new(text: &CStr) -> Option<Self> {
        // SAFETY: takes nothing.
        let parsed = Self(NonNull::new(unsafe { curl_url() })?);
        // SAFETY: libcurl copies what it needs of the string.
        let code = unsafe { curl_url_set(parsed.0.as_ptr(), WHOLE, text.as_ptr(), ANY_SCHEME) };
        (code == 0).then_some(parsed)
    }
}

impl Drop for Parsed {
    fn drop(&mut self) {
        // SAFETY: `curl_url` made it, and the handle has forgotten it.
        unsafe { curl_url_cleanup(self.0.as_ptr()) };
    }
}

/// Gives the handle the URL that the parts make.
pub(crate) fn set_url<T>(easy: &mut Easy2<Held<T>>, parts: [&str; 4]) -> Result<(), curl::Error> {
    let raw = easy.raw();
    let told = &mut easy.get_mut().url;
    if is_made_of(told.text.as_bytes(), parts) {
        // What it cannot read here, it refuses in the transfer, and says why.
        if told.parsed.is_none()
            && let Some(parsed) = Parsed::new(&told.text)
        {
            let parsed = told.parsed.insert(parsed);
            // SAFETY: it lives in the handler that the handle owns, until the handle has forgotten it.
            check(unsafe { curl_sys::curl_easy_setopt(raw, CURLU, parsed.0.as_ptr()) })?;
        }
        return Ok(());
    }
    if told.parsed.is_some() {
        // SAFETY: NULL makes libcurl forget it before it is dropped.
        check(unsafe { curl_sys::curl_easy_setopt(raw, CURLU, ptr::null_mut::<c_void>()) })?;
        told.parsed = None;
    }
    let mut text = std::mem::take(&mut told.text).into_bytes();
    text.clear();
    text.reserve_exact(parts.map(str::len).iter().sum::<usize>() + 1);
    parts.iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
    let text = CString::new(text)?;
    // SAFETY: libcurl copies the string.
    check(unsafe { curl_sys::curl_easy_setopt(raw, curl_sys::CURLOPT_URL, text.as_ptr()) })?;
    told.text = text;
    Ok(())
}

/// Takes all options back, and with them the URL.
pub(crate) fn reset<T: Callbacks>(easy: &mut Easy2<Held<T>>) {
    easy.reset();
    easy.get_mut().url = Told::default();
}

fn is_made_of(mut text: &[u8], parts: [&str; 4]) -> bool {
    parts.iter().all(|part| text.strip_prefix(part.as_bytes()).map(|rest| text = rest).is_some()) && text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compared_with_its_parts() {
        let parts = ["http", "://", "a.test", "/x"];
        assert!(is_made_of(b"http://a.test/x", parts));
        for other in [&b""[..], b"http://a.test/", b"http://a.test/xy", b"http://b.test/x", b"https://a.test/x"] {
            assert!(!is_made_of(other, parts), "{other:?}");
        }
    }

    #[test]
    fn what_libcurl_cannot_read_is_left_to_the_transfer() {
        assert!(Parsed::new(c"http://a.test:80/x?y").is_some());
        assert!(Parsed::new(c"ws://a.test/").is_some());
        assert!(Parsed::new(c"http://[").is_none());
    }
}
