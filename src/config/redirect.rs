//! How far redirects are followed. Plain data; the rules are in `client::redirect`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};

use crate::secret::{Shown, without_secrets};

/// The redirects that [`RedirectPolicy::Follow`] follows at most.
const MOST: u32 = 10;

/// Whether redirects (RFC 9110 15.4) are followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RedirectPolicy {
    /// A redirect is a response like any other.
    #[default]
    None,
    /// Follow at most 10 redirects, as [`Limit(10)`](Self::Limit).
    Follow,
    /// Follow at most this many; one more is [`ErrorKind::TooManyRedirects`](crate::error::ErrorKind::TooManyRedirects).
    Limit(u32),
    /// Ask before each redirect: see [`custom`](Self::custom).
    Custom(CustomPolicy),
}

impl RedirectPolicy {
    /// Asks `decide` before each redirect is followed, and follows at most `limit`.
    ///
    /// The function sees the next request after all rules were applied to it (method, headers that stay behind) and may
    /// change it. Credentials that it leaves in place while it changes the URL to another origin are removed after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use marmot::config::{RedirectAction, RedirectPolicy};
    ///
    /// let same_host = RedirectPolicy::custom(5, |hop| {
    ///     if hop.uri.host() == hop.from.host() { RedirectAction::Follow } else { RedirectAction::Stop }
    /// });
    /// ```
    pub fn custom(limit: u32, decide: impl Fn(&mut RedirectHop<'_>) -> RedirectAction + Send + Sync + 'static) -> Self {
        Self::Custom(CustomPolicy { limit, decide: Arc::new(decide) })
    }

    /// How many redirects are followed; `None` follows none at all.
    pub(crate) fn limit(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Follow => Some(MOST),
            Self::Limit(limit) => Some(*limit),
            Self::Custom(custom) => Some(custom.limit),
        }
    }
}

/// A redirect that is about to be followed.
#[non_exhaustive]
pub struct RedirectHop<'a> {
    /// The status that asks for it.
    pub status: StatusCode,
    /// The headers of the response that asks for it.
    pub response_headers: &'a HeaderMap,
    /// The URL that answered.
    pub from: &'a Uri,
    /// How many redirects of this request were followed before.
    pub followed: u32,
    /// The method of the next request.
    pub method: &'a mut Method,
    /// The URL of the next request.
    pub uri: &'a mut Uri,
    /// The headers of the next request.
    pub headers: &'a mut HeaderMap,
}

impl fmt::Debug for RedirectHop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedirectHop")
            .field("status", &self.status)
            .field("response_headers", &Shown(self.response_headers, &[]))
            .field("from", &without_secrets(self.from))
            .field("followed", &self.followed)
            .field("method", &self.method)
            .field("uri", &without_secrets(self.uri))
            .field("headers", &Shown(self.headers, &[]))
            .finish()
    }
}

/// What to do with a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectAction {
    /// Follow it.
    Follow,
    /// The redirect is the response.
    Stop,
    /// The request fails with [`ErrorKind::NotAllowed`](crate::error::ErrorKind::NotAllowed) and this reason.
    Refuse(String),
}

type Decide = dyn Fn(&mut RedirectHop<'_>) -> RedirectAction + Send + Sync;

/// A function that decides on redirects; made by [`RedirectPolicy::custom`]. Two are equal if they are clones.
#[derive(Clone)]
pub struct CustomPolicy {
    limit: u32,
    decide: Arc<Decide>,
}

impl CustomPolicy {
    pub(crate) fn decide(&self, hop: &mut RedirectHop<'_>) -> RedirectAction {
        (self.decide)(hop)
    }
}

impl fmt::Debug for CustomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomPolicy").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl PartialEq for CustomPolicy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.decide, &other.decide)
    }
}

impl Eq for CustomPolicy {}

impl Hash for CustomPolicy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.decide).hash(state);
    }
}
