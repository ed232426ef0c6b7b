//! Why a cookie is not stored. Words only, never a value.

use std::fmt;

/// The rule that a cookie breaks (RFC 6265bis 5.6 and 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedCookie {
    ControlCharacter,
    Empty,
    TooLong,
    NoHost,
    DomainNotAscii,
    PublicSuffix,
    ForeignDomain,
    SecureInClear,
    WouldReplaceSecure,
    SameSiteNoneInClear,
    SecurePrefix,
    HostPrefix,
    NamelessPrefix,
}

impl fmt::Display for RefusedCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlCharacter => "it holds a control character",
            Self::Empty => "it has neither name nor value",
            Self::TooLong => "name and value are longer than 4096 bytes",
            Self::NoHost => "the URL has no host",
            Self::DomainNotAscii => "its domain is not ASCII",
            Self::PublicSuffix => "its domain is a public suffix",
            Self::ForeignDomain => "its domain is not the host's or one above it",
            Self::SecureInClear => "it is Secure, and the URL is not",
            Self::WouldReplaceSecure => "it would stand before a Secure cookie, and the URL is not secure",
            Self::SameSiteNoneInClear => "it has SameSite=None and is not Secure",
            Self::SecurePrefix => "its name begins with __Secure- and it is not Secure",
            Self::HostPrefix => "its name begins with __Host- and it is not Secure, has a Domain, or no Path=/",
            Self::NamelessPrefix => "it has no name, and its value begins like a prefixed name",
        })
    }
}
