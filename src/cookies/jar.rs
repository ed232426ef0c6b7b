//! The public jar: a lock around the store, and the clock. Knows no rule of its own.

use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{HeaderValue, Uri};
use zeroize::Zeroizing;

use super::cookie::Cookie;
use super::file::{self, Saved};
use super::netscape;
use super::store::Store;
use crate::error::{Error, ErrorKind};
use crate::secret::secret_value;

/// Keeps cookies and picks those that belong to a request (RFC 6265bis).
///
/// Clones share the cookies. The rules are told in the [module](super). `Debug` shows no cookie.
///
/// # Saving
///
/// **Files of cookies hold secrets**: whoever reads one is logged in as you. [`save_to`](Self::save_to) makes files
/// that only their owner may read (on Unix); what a writer of your own does is up to you. Loading adds to what the jar
/// holds, and replaces cookies of the same name, domain and path. Cookies that have expired, and those that the rules
/// do not allow any more, are left out without an error.
#[derive(Clone, Default)]
pub struct CookieJar {
    store: Arc<Mutex<Store>>,
}

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a cookie as if a response from `url` had set it. The text is the value of a `Set-Cookie` header.
    ///
    /// One that is expired removes the cookie of that name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for a cookie that the rules refuse; the message says why.
    pub fn set(&self, set_cookie: &str, url: &Uri) -> Result<(), Error> {
        self.lock().set(set_cookie.as_bytes(), url, SystemTime::now()).map_err(|reason| {
            Error::new(ErrorKind::InvalidRequest).with_detail(format!("the cookie is refused: {reason}")).with_url(url)
        })
    }

    /// Keeps what a response from `url` sets. Cookies that the rules refuse are left out.
    #[allow(dead_code, reason = "wired in by the send path")]
    pub(crate) fn store<'a>(&self, url: &Uri, headers: impl Iterator<Item = &'a HeaderValue>, now: SystemTime) {
        let mut store = self.lock();
        for header in headers {
            // A server's mistake is no error of the request.
            let _ = store.set(header.as_bytes(), url, now);
        }
    }

    /// The `Cookie` header of a request to `url`, marked as sensitive; `None` if no cookie belongs to it.
    #[allow(dead_code, reason = "wired in by the send path")]
    pub(crate) fn header_for(&self, url: &Uri, now: SystemTime) -> Option<HeaderValue> {
        let cookies = self.lock().matching(url, now);
        let mut line = Zeroizing::new(Vec::with_capacity(
            cookies.iter().map(|cookie| cookie.fields().name.len() + cookie.fields().value.len() + 3).sum(),
        ));
        for cookie in &cookies {
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            let fields = cookie.fields();
            if !fields.name.is_empty() {
                line.extend_from_slice(&fields.name);
                line.push(b'=');
            }
            line.extend_from_slice(&fields.value);
        }
        if line.is_empty() {
            return None;
        }
        secret_value(line).ok()
    }

    /// The cookie of that name that is sent to `url`; of several, the one that is sent first.
    pub fn get_by_name(&self, url: &Uri, name: &str) -> Option<Cookie> {
        self.get_for_url(url).into_iter().find(|cookie| *cookie.fields().name == *name.as_bytes())
    }

    /// The cookies that are sent to `url`, in their order: longer paths first, then older ones first.
    pub fn get_for_url(&self, url: &Uri) -> Vec<Cookie> {
        self.lock().matching(url, SystemTime::now())
    }

    /// All cookies, the oldest first.
    pub fn cookies(&self) -> Vec<Cookie> {
        self.lock().all(SystemTime::now()).into_iter().map(|(cookie, _)| cookie).collect()
    }

    /// Removes all cookies of that name that are sent to `url`, and says how many there were.
    pub fn remove(&self, url: &Uri, name: &str) -> usize {
        let mut store = self.lock();
        let cookies = store.matching(url, SystemTime::now());
        cookies.iter().filter(|cookie| *cookie.fields().name == *name.as_bytes() && store.take(cookie)).count()
    }

    /// Removes the cookie with the name, domain and path of this one, and says whether there was one.
    pub fn remove_cookie(&self, cookie: &Cookie) -> bool {
        self.lock().take(cookie)
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many cookies there are, expired ones left out.
    pub fn len(&self) -> usize {
        self.lock().len(SystemTime::now())
    }

    /// Whether there is no cookie.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all cookies in the format of Netscape's and curl's `cookies.txt`, session cookies with 0 as their end.
    ///
    /// The format has no place for `SameSite` and for the time when a cookie was set. Cookies with a tab inside, which
    /// it cannot hold, are left out. The text holds secrets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] from the writer.
    pub fn save_netscape(&self, mut writer: impl Write) -> Result<(), Error> {
        let text = netscape::write(&self.lock().all(SystemTime::now()));
        writer.write_all(&text)?;
        Ok(writer.flush()?)
    }

    /// Adds the cookies of a `cookies.txt`, as curl, browsers' extensions and [`save_netscape`](Self::save_netscape)
    /// write it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] for a line that is no cookie, with its number; [`ErrorKind::TooLarge`] above
    /// 32 MiB; [`ErrorKind::Io`] from the reader. The jar is unchanged then.
    pub fn load_netscape(&self, reader: impl Read) -> Result<(), Error> {
        let now = SystemTime::now();
        let text = file::read_all(reader)?;
        self.add(netscape::read(&text, now)?, now);
        Ok(())
    }

    /// Writes the cookies that have an end, as JSON. The text holds secrets.
    ///
    /// The schema, version 1. Times are in seconds since 1970. `expires` is missing for session cookies, `same_site`
    /// where the server said nothing. A name or value that is not UTF-8 stands in `name_base64` or `value_base64`
    /// instead.
    ///
    /// ```json
    /// {"version": 1, "cookies": [{
    ///   "name": "id", "value": "42", "domain": "example.org", "path": "/", "host_only": true, "secure": true,
    ///   "http_only": true, "same_site": "lax", "created": 1767225600, "expires": 1769817600
    /// }]}
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] from the writer.
    #[cfg(feature = "json")]
    pub fn save_json(&self, writer: impl Write) -> Result<(), Error> {
        self.write_json(writer, false)
    }

    /// Like [`save_json`](Self::save_json), with the session cookies, which a browser would forget.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] from the writer.
    #[cfg(feature = "json")]
    pub fn save_json_with_session(&self, writer: impl Write) -> Result<(), Error> {
        self.write_json(writer, true)
    }

    #[cfg(feature = "json")]
    fn write_json(&self, mut writer: impl Write, with_session: bool) -> Result<(), Error> {
        let mut cookies = self.lock().all(SystemTime::now());
        cookies.retain(|(cookie, _)| with_session || cookie.persistent());
        writer.write_all(&super::json::write(&cookies))?;
        Ok(writer.flush()?)
    }

    /// Adds the cookies that [`save_json`](Self::save_json) wrote. Members that the schema does not know are skipped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] for text that is not of the schema, with the line of a mistake in the JSON,
    /// or the place of a cookie in the list; [`ErrorKind::TooLarge`] above 32 MiB; [`ErrorKind::Io`] from the reader.
    /// The jar is unchanged then.
    #[cfg(feature = "json")]
    pub fn load_json(&self, reader: impl Read) -> Result<(), Error> {
        let now = SystemTime::now();
        let text = file::read_all(reader)?;
        self.add(super::json::read(&text, now)?, now);
        Ok(())
    }

    /// Saves to a file: as JSON if its name ends in `.json`, where session cookies are left out, and otherwise as
    /// `cookies.txt`, which holds them too, as with curl.
    ///
    /// The file is replaced as a whole or not at all, and only its owner may read it (mode 0600, on Unix).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be written, [`ErrorKind::InvalidConfiguration`] for a JSON file without the
    /// feature `json`.
    pub fn save_to(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let mut text = Zeroizing::new(Vec::new());
        if file::is_json(path) {
            #[cfg(feature = "json")]
            self.save_json(&mut *text)?;
            #[cfg(not(feature = "json"))]
            return Err(file::no_json());
        } else {
            self.save_netscape(&mut *text)?;
        }
        file::replace(path, &text)
    }

    /// Adds the cookies of a file that [`save_to`](Self::save_to), or curl, wrote.
    ///
    /// # Errors
    ///
    /// Those of [`load_json`](Self::load_json) for a name that ends in `.json`, otherwise of
    /// [`load_netscape`](Self::load_netscape). A file that is missing is [`ErrorKind::Io`].
    pub fn load_from(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|error| file::at(path, error))?;
        if file::is_json(path) {
            #[cfg(feature = "json")]
            return self.load_json(file);
            #[cfg(not(feature = "json"))]
            return Err(file::no_json());
        }
        self.load_netscape(file)
    }

    fn add(&self, cookies: Vec<Saved>, now: SystemTime) {
        let mut store = self.lock();
        for Saved { cookie, created } in cookies {
            store.insert(cookie, created, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // The store is consistent between any two of its steps that could panic.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_refused_cookie_says_why() {
        let error = CookieJar::new().set("a=secret; Secure", &url("http://u:p@example.org/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(
            error.to_string(),
            "invalid request: the cookie is refused: it is Secure, and the URL is not (http://example.org/)"
        );
    }

    #[test]
    fn clones_share_and_cookies_are_found_and_removed_by_name() {
        let jar = super::super::file::tests::full();
        let twin = jar.clone();
        let here = url("https://www.example.org/x/");
        assert_eq!(twin.get_by_name(&here, "lasting").unwrap().value(), "2");
        assert_eq!(twin.get_for_url(&here).len(), 2);
        assert!(twin.get_by_name(&url("http://www.example.org/x/"), "lasting").is_none());
        assert_eq!(twin.remove(&here, "lasting"), 1);
        assert_eq!(twin.remove(&here, "lasting"), 0);
        assert_eq!(jar.len(), 5);
        let cookie = jar.get_by_name(&here, "wide").unwrap();
        assert!(jar.remove_cookie(&cookie));
        assert!(!jar.remove_cookie(&cookie));
        jar.clear();
        assert!(twin.is_empty());
        fn shared<T: Send + Sync + Clone + Default>() {}
        shared::<CookieJar>();
    }

    #[test]
    fn the_header_is_sensitive_and_debug_shows_no_value() {
        let jar = CookieJar::new();
        jar.set("a=canary", &url("http://example.org/")).unwrap();
        let header = jar.header_for(&url("http://example.org/"), SystemTime::now()).unwrap();
        assert!(header.is_sensitive());
        assert_eq!(header, "a=canary");
        let cookie = jar.get_by_name(&url("http://example.org/"), "a").unwrap();
        assert!(!format!("{jar:?} {cookie:?} {header:?}").contains("canary"));
        assert!(jar.header_for(&url("http://example.com/"), SystemTime::now()).is_none());
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_sent_back_as_they_came() {
        let jar = CookieJar::new();
        let here = url("http://example.org/");
        let headers = [HeaderValue::from_bytes(b"a=\xE9; Path=/; Max-Age=100").unwrap()];
        jar.store(&here, headers.iter(), SystemTime::now());
        assert_eq!(jar.header_for(&here, SystemTime::now()).unwrap().as_bytes(), b"a=\xE9");
        assert_eq!(jar.get_by_name(&here, "a").unwrap().value(), "\u{fffd}");
        #[cfg(feature = "json")]
        {
            let mut text = Vec::new();
            jar.save_json(&mut text).unwrap();
            let other = CookieJar::new();
            other.load_json(&*text).unwrap();
            assert_eq!(other.get_by_name(&here, "a").unwrap().value_bytes(), b"\xE9");
        }
        let mut text = Vec::new();
        jar.save_netscape(&mut text).unwrap();
        let other = CookieJar::new();
        other.load_netscape(&*text).unwrap();
        assert_eq!(other.get_by_name(&here, "a").unwrap().value_bytes(), b"\xE9");
    }
}
