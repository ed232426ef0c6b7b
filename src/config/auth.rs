//! Credentials as the header value they become. Never shown by `Debug`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

/// The value of an `Authorization` header, marked as sensitive.
#[derive(Clone, Debug)]
pub(crate) struct Auth(pub(crate) HeaderValue);

impl Auth {
    /// RFC 7617: the user name holds no colon, neither holds control characters.
    pub(crate) fn basic(user: String, password: String) -> Result<Self, String> {
        if user.contains(':') {
            return Err("the user name of basic authentication holds a colon (RFC 7617 2)".into());
        }
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err("user or password hold control characters (RFC 7617 2)".into());
        }
        Self::from_text(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }

    /// RFC 6750 2.1: the token is sent as it is.
    pub(crate) fn bearer(token: &str) -> Result<Self, String> {
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err("the bearer token is empty or holds white space".into());
        }
        Self::from_text(&format!("Bearer {token}"))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut value =
            HeaderValue::from_str(text).map_err(|_| "the token holds characters that a header cannot".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}
