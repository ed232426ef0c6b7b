//! One cookie, as it is kept. Knows no rule about where it is sent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

/// What a server said about requests that other sites cause. Kept, not enforced: this client is no browser with sites
/// that embed each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// Only for requests that the site itself causes.
    Strict,
    /// Also for links that lead to the site.
    Lax,
    /// For all requests; such a cookie is `Secure`.
    None,
}

/// A cookie of a [`CookieJar`](super::CookieJar), as it was when it was looked up.
///
/// `Debug` shows no value. The value is overwritten in memory when the jar and all copies have let go of it. Cheap to
/// clone.
#[derive(Clone)]
pub struct Cookie(Arc<Fields>);

/// What a cookie is made of.
#[derive(PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) name: Box<[u8]>,
    pub(super) value: Zeroizing<Vec<u8>>,
    /// Canonical, without a leading dot.
    pub(super) domain: Box<str>,
    pub(super) path: Box<str>,
    pub(super) expires: Option<SystemTime>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) host_only: bool,
    pub(super) same_site: Option<SameSite>,
}

impl Cookie {
    pub(super) fn new(fields: Fields) -> Self {
        Self(Arc::new(fields))
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.0
    }

    /// The name, case-sensitive; empty if the cookie has none. Bytes that are not UTF-8 are replaced.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.name)
    }

    /// The value as the server wrote it, quotes included. Bytes that are not UTF-8 are replaced.
    pub fn value(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.value)
    }

    /// The value's bytes.
    pub fn value_bytes(&self) -> &[u8] {
        &self.0.value
    }

    /// The host that the cookie belongs to, in lower case, without a leading dot; IPv6 addresses in brackets.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// The path at and below which the cookie is sent.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// When the cookie ends, at most 400 days after it was set; `None` for a session cookie.
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.expires
    }

    /// Whether the cookie is sent over TLS (and to this machine) only.
    pub fn secure(&self) -> bool {
        self.0.secure
    }

    /// Whether the server wants the cookie kept from scripts of its pages. It is sent all the same.
    pub fn http_only(&self) -> bool {
        self.0.http_only
    }

    /// What the server said about requests that other sites cause; `None` if nothing.
    pub fn same_site(&self) -> Option<SameSite> {
        self.0.same_site
    }

    /// Whether the cookie is sent to its host only, not to names below it.
    pub fn host_only(&self) -> bool {
        self.0.host_only
    }

    /// Whether the cookie has an end of its own; otherwise it is a session cookie.
    pub fn persistent(&self) -> bool {
        self.0.expires.is_some()
    }

    /// RFC 6265bis 5.7: a cookie that is stored under these replaces the one before.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let (this, other) = (self.fields(), other.fields());
        this.name == other.name
            && this.domain == other.domain
            && this.host_only == other.host_only
            && this.path == other.path
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.0.expires.is_some_and(|expires| expires <= now)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookie")
            .field("name", &self.name())
            .field("domain", &self.domain())
            .field("path", &self.path())
            .field("expires", &self.expires())
            .field("secure", &self.secure())
            .field("http_only", &self.http_only())
            .field("host_only", &self.host_only())
            .field("same_site", &self.same_site())
            .finish_non_exhaustive()
    }
}
