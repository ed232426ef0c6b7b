//! How a response came about: the redirects before it and the attempts it took. Plain data.

use http::{Response, StatusCode, Uri};

/// A redirect that was followed on the way to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirected {
    /// The URL that was asked, without user and password.
    pub uri: Uri,
    /// The status that it answered.
    pub status: StatusCode,
}

/// Carried by a response as an extension.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    redirects: Vec<Redirected>,
    attempts: u32,
}

impl Trail {
    pub(super) fn add(&mut self, uri: Uri, status: StatusCode) {
        let uri = crate::error::shown(uri);
        self.redirects.push(Redirected { uri, status });
    }

    pub(super) fn followed(&self) -> u32 {
        self.redirects.len() as u32
    }

    pub(super) fn redirects(&self) -> &[Redirected] {
        &self.redirects
    }

    /// How often the request was sent; redirects do not count.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.max(1)
    }

    /// Puts the redirects into the response.
    pub(super) fn attach<B>(self, response: &mut Response<B>) {
        let trail = response.extensions_mut().get_or_insert_default::<Self>();
        trail.redirects = self.redirects;
    }

    /// Puts the number of attempts into the response.
    pub(super) fn count<B>(response: &mut Response<B>, attempts: u32) {
        response.extensions_mut().get_or_insert_default::<Self>().attempts = attempts;
    }
}
