//! How far redirects are followed. Plain data; the rules are in `client::redirect`.

/// Whether redirects (RFC 9110 15.4) are followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RedirectPolicy {
    /// A redirect is a response like any other.
    #[default]
    None,
    /// Follow redirects without a limit of number.
    Follow,
    /// Follow at most this many; one more is [`ErrorKind::TooManyRedirects`](crate::error::ErrorKind::TooManyRedirects).
    Limit(u32),
}

impl RedirectPolicy {
    /// How many redirects are followed; `None` follows none at all.
    pub(crate) fn limit(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Follow => Some(u32::MAX),
            Self::Limit(limit) => Some(*limit),
        }
    }
}
