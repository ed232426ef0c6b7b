//! Credentials, as the header value they become or as what libcurl makes one of. Never shown by `Debug`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::secret::secret_value;

/// How a request authenticates itself. All of it belongs to the origin of the request: a redirect to another drops it.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    /// The value of an `Authorization` header, marked as sensitive.
    Header(HeaderValue),
    /// libcurl answers the server's challenge (RFC 7616).
    Digest(Credentials),
    /// libcurl signs the request.
    AwsSigV4(AwsSigV4),
}

impl Auth {
    /// RFC 7617: the user name holds no colon, neither holds control characters.
    pub(crate) fn basic(user: String, password: String) -> Result<Self, String> {
        let password = Zeroizing::new(password);
        if user.contains(':') {
            return Err("the user name of basic authentication holds a colon (RFC 7617 2)".into());
        }
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err("user or password hold control characters (RFC 7617 2)".into());
        }
        let pair = Zeroizing::new(format!("{user}:{}", *password));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
        Self::from_text(format!("Basic {}", *encoded))
    }

    /// RFC 6750 2.1: the token is sent as it is.
    pub(crate) fn bearer(token: &str) -> Result<Self, String> {
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err("the bearer token is empty or holds white space".into());
        }
        Self::from_text(format!("Bearer {token}"))
    }

    fn from_text(text: String) -> Result<Self, String> {
        let bad = |_| "the token holds characters that a header cannot".to_owned();
        secret_value(Zeroizing::new(text.into_bytes())).map(Self::Header).map_err(bad)
    }
}

/// A user and a password. Overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Zeroizing<String>,
    pub(crate) password: Zeroizing<String>,
}

impl Credentials {
    pub(crate) fn new(user: impl Into<String>, password: impl Into<String>) -> Result<Self, String> {
        let (user, password) = (Zeroizing::new(user.into()), Zeroizing::new(password.into()));
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err("user or password hold control characters".into());
        }
        Ok(Self { user, password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Credentials for signing requests in the way of AWS, version 4. The keys are not shown by `Debug`.
///
/// # Examples
///
/// ```
/// use marmot::config::AwsSigV4;
/// use marmot::prelude::*;
///
/// let sign = AwsSigV4::new("AKIDEXAMPLE", "secret", "eu-central-1", "s3");
/// let request = Request::get("https://bucket.s3.eu-central-1.amazonaws.com/key").aws_sigv4(sign).body(())?;
/// # Ok::<(), marmot::http::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it is given to a client or a request"]
pub struct AwsSigV4 {
    pub(crate) credentials: Result<Credentials, String>,
    pub(crate) region: Arc<str>,
    pub(crate) service: Arc<str>,
    pub(crate) session_token: Option<HeaderValue>,
}

impl AwsSigV4 {
    /// The credentials, and the region and service that they are used for.
    pub fn new(
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
        region: impl AsRef<str>,
        service: impl AsRef<str>,
    ) -> Self {
        Self {
            credentials: Credentials::new(access_key, secret_key),
            region: region.as_ref().into(),
            service: service.as_ref().into(),
            session_token: None,
        }
    }

    /// The token of temporary credentials; sent as `X-Amz-Security-Token` and signed with the rest. Default:
    /// none.
    pub fn session_token(mut self, token: impl AsRef<str>) -> Self {
        match secret_value(Zeroizing::new(token.as_ref().into())) {
            Ok(value) => self.session_token = Some(value),
            Err(_) => self.credentials = Err("the session token holds characters that a header cannot".into()),
        }
        self
    }

    /// The first thing in it that cannot be used.
    pub(super) fn check(&self) -> Result<(), String> {
        let plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !plain(&self.region) || !plain(&self.service) {
            return Err("the region and the service of AWS are words of letters, digits and `-`".into());
        }
        self.credentials.as_ref().map(drop).map_err(Clone::clone)
    }
}

impl fmt::Debug for AwsSigV4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSigV4").field("region", &self.region).field("service", &self.service).finish_non_exhaustive()
    }
}

/// Where passwords for hosts are looked up: a file of `machine NAME login USER password PASSWORD` entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum NetRc {
    /// `.netrc` in the user's home directory.
    #[default]
    Default,
    /// This file.
    File(Arc<Path>),
}

impl NetRc {
    /// The file at that path.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into().into())
    }
}
