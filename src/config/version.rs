//! Which versions of HTTP may be used. Plain data.

/// Which versions of HTTP a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionNegotiation(pub(crate) Version);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    Latest,
    Http10,
    Http11,
    Http2,
    Http2PriorKnowledge,
    Http3,
}

impl VersionNegotiation {
    /// HTTP/2 where TLS negotiates it (ALPN), HTTP/1.1 otherwise. The default.
    pub const fn latest_compatible() -> Self {
        Self(Version::Latest)
    }

    /// HTTP/1.0 only.
    pub const fn http10() -> Self {
        Self(Version::Http10)
    }

    /// HTTP/1.1 only.
    pub const fn http11() -> Self {
        Self(Version::Http11)
    }

    /// HTTP/2 where TLS negotiates it, and by upgrade from HTTP/1.1 in clear text.
    pub const fn http2() -> Self {
        Self(Version::Http2)
    }

    /// HTTP/2 without asking first, also in clear text (RFC 9113 3.3).
    pub const fn http2_prior_knowledge() -> Self {
        Self(Version::Http2PriorKnowledge)
    }

    /// HTTP/3, falling back to HTTP/2 or HTTP/1.1. An error where the linked libcurl has no HTTP/3.
    pub const fn http3() -> Self {
        Self(Version::Http3)
    }
}

impl Default for VersionNegotiation {
    fn default() -> Self {
        Self::latest_compatible()
    }
}
