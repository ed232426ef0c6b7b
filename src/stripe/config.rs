//! What requests to Stripe need: the key, where they go, how long and how often they are tried. Sends nothing and never
//! shows the key.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, Uri};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::error::StripeError;
use crate::config::RetryPolicy;
use crate::secret::{Concealed, secret_value};

/// The version of Stripe's API that requests name unless [`Config::version`] says otherwise. Its subscriptions take
/// `discounts`, and no `coupon` of their own.
pub const API_VERSION: &str = "2025-09-30.clover";

/// The most attempts that may be asked for. All of them are within what a policy of retries has from the start.
const MOST_ATTEMPTS: u32 = 10;

/// How to talk to Stripe. What is wrong with it is told where it is used: by [`Client::new`](super::Client::new) and
/// [`register`](super::register).
///
/// # Examples
///
/// ```
/// use marmot::stripe::Config;
/// use std::time::Duration;
///
/// let config = Config::new().key("sk_test_4711").timeout(Duration::from_secs(10));
/// assert!(!format!("{config:?}").contains("4711"));
/// ```
#[derive(Clone)]
#[must_use = "a configuration has no effect until it is used"]
pub struct Config {
    key: Option<Zeroizing<String>>,
    base_url: String,
    version: String,
    timeout: Duration,
    max_attempts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// Without a key, for `https://api.stripe.com`.
    pub fn new() -> Self {
        Self {
            key: None,
            base_url: "https://api.stripe.com".into(),
            version: API_VERSION.into(),
            timeout: Duration::from_secs(30),
            max_attempts: 3,
        }
    }

    /// The secret key. It is overwritten in memory when the last copy is dropped. Default: none; scripts that run with
    /// such a configuration call `configure_stripe`.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(Zeroizing::new(key.into()));
        self
    }

    /// A key that is overwritten already.
    pub(super) fn key_in(mut self, key: Zeroizing<String>) -> Self {
        self.key = Some(key);
        self
    }

    /// Where requests go, without `/v1`. A live key is sent over https or to loopback only. Default:
    /// `https://api.stripe.com`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// The version of the API, sent as `Stripe-Version`. Default: [`API_VERSION`].
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The most time for one attempt. Default: 30 seconds.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How often a request is sent at most, the first time included: from 1 to 10. Default: 3.
    ///
    /// Tried again are those without a whole answer and those answered with 409, 429 or 500 and above, unless the header
    /// `Stripe-Should-Retry` says otherwise. The waits double from half a second to 8 seconds, of which a random part is
    /// waited; a `Retry-After` of up to a minute is obeyed, a longer one hands the answer to the caller. All requests with
    /// one configuration share a [budget](crate::config::RetryBudget) of 20 retries for a hundred requests and 10 from the
    /// start.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// What of it can be wrong without a key is looked at.
    pub(super) fn check(&self) -> Result<(), StripeError> {
        self.base().and(self.version_header()).and(self.policy()).map(drop)
    }

    /// The configuration as requests use it.
    pub(super) fn settle(&self) -> Result<Settled, StripeError> {
        let key =
            self.key.as_ref().ok_or_else(|| StripeError::invalid("there is no key: give one to `Config::key`"))?;
        let (base, is_safe) = self.base()?;
        let is_live = key.starts_with("sk_live_") || key.starts_with("rk_live_");
        if is_live && !is_safe {
            return Err(StripeError::invalid(format!("a live key is sent over https only, and the base is {base}")));
        }
        let mut concealed = Concealed::default();
        concealed.add(key, "[Stripe key]");
        Ok(Settled {
            concealed,
            authorization: authorization(key)?,
            base,
            version: self.version_header()?,
            timeout: self.timeout,
            policy: self.policy()?,
        })
    }

    /// Where requests go.
    pub(super) fn base_uri(&self) -> Result<Uri, StripeError> {
        let (base, _) = self.base()?;
        Uri::try_from(base.as_str()).map_err(|error| StripeError::invalid(format!("{base} is no URL: {error}")))
    }

    /// Where requests go, and whether nobody can listen on the way.
    fn base(&self) -> Result<(Url, bool), StripeError> {
        let invalid =
            |why: String| StripeError::invalid(format!("the base of Stripe's API, {:?}, {why}", self.base_url));
        let mut url = Url::parse(&self.base_url).map_err(|error| invalid(format!("is not a URL: {error}")))?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || !plain || url.password().is_some() {
            return Err(invalid("is not `https://host`, perhaps with a port and a path".into()));
        }
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        url.set_path(&path);
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_safe = is_loopback || url.scheme() == "https";
        Ok((url, is_safe))
    }

    fn version_header(&self) -> Result<HeaderValue, StripeError> {
        let value = HeaderValue::from_str(&self.version).ok().filter(|value| !value.is_empty());
        value.ok_or_else(|| StripeError::invalid(format!("{:?} is no version of an API", self.version)))
    }

    fn policy(&self) -> Result<RetryPolicy, StripeError> {
        if !(1..=MOST_ATTEMPTS).contains(&self.max_attempts) {
            return Err(StripeError::invalid(format!("max_attempts is from 1 to {MOST_ATTEMPTS}")));
        }
        if self.timeout.is_zero() {
            return Err(StripeError::invalid("the timeout is above zero"));
        }
        Ok(RetryPolicy::new()
            .max_attempts(self.max_attempts)
            .backoff(Duration::from_millis(500), Duration::from_secs(8))
            .statuses([409, 429].into_iter().chain(500..600)))
    }
}

/// The header with the key, marked as sensitive.
fn authorization(key: &str) -> Result<HeaderValue, StripeError> {
    // RFC 6750 2.1 allows less; what matters is that a key cannot end its line, and that a copied space is seen.
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = if key.is_empty() { "is empty" } else { "holds a space or another character that no key has" };
        return Err(StripeError::invalid(format!("the key {why}")));
    }
    secret_value(Zeroizing::new(format!("Bearer {key}").into_bytes()))
        .map_err(|_| StripeError::invalid("the key holds a character that no key has"))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("key", &self.key.as_ref().map(|_| "REDACTED"))
            .field("base_url", &self.base_url)
            .field("version", &self.version)
            .field("timeout", &self.timeout)
            .field("max_attempts", &self.max_attempts)
            .finish()
    }
}

/// A configuration in which nothing is wrong.
pub(super) struct Settled {
    /// The key, to be left out of whatever records a request.
    pub(super) concealed: Concealed,
    pub(super) authorization: HeaderValue,
    pub(super) base: Url,
    pub(super) version: HeaderValue,
    pub(super) timeout: Duration,
    pub(super) policy: RetryPolicy,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &Config) -> String {
        config.settle().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn keys_and_bases_that_cannot_be_are_refused_and_not_shown() {
        let config = Config::new().key("sk_test_c4nary");
        for key in ["", " ", "sk_test_c4nary\n", "sk_test c4nary", "sk_test_c4nary\u{e4}", "c4nary\0"] {
            let message = refused(&config.clone().key(key));
            assert!(message.starts_with("the key ") && !message.contains("c4nary"), "{key:?}: {message}");
        }
        assert!(refused(&Config::new()).contains("no key"));
        for base in ["", "api.stripe.com", "ftp://a.test", "https://a.test/?q", "https://u@a.test", "https://:p@a.test"]
        {
            assert!(refused(&config.clone().base_url(base)).contains("base"), "{base}");
        }
        assert!(refused(&config.clone().version("")).contains("version"));
        assert!(refused(&config.clone().version("a\nb")).contains("version"));
        for attempts in [0, 11] {
            assert!(refused(&config.clone().max_attempts(attempts)).contains("max_attempts"));
        }
        assert!(refused(&config.clone().timeout(Duration::ZERO)).contains("timeout"));
        assert!(!format!("{config:?}").contains("c4nary"));
        let settled = config.settle().unwrap();
        assert!(settled.authorization.is_sensitive());
        assert_eq!(settled.authorization.as_bytes(), b"Bearer sk_test_c4nary");
    }

    #[test]
    fn live_keys_are_not_sent_in_the_clear() {
        for (key, base, fine) in [
            ("sk_live_1", "https://a.test", true),
            ("sk_live_1", "http://a.test", false),
            ("rk_live_1", "http://localhost.a.test", false),
            ("sk_live_1", "http://127.0.0.1:1", true),
            ("sk_live_1", "http://[::1]:1", true),
            ("sk_live_1", "http://localhost:1", true),
            ("sk_test_1", "http://a.test", true),
        ] {
            assert_eq!(refused(&Config::new().key(key).base_url(base)).is_empty(), fine, "{key} {base}");
        }
    }

    #[test]
    fn a_base_may_have_a_path_and_needs_no_version() {
        for (given, base) in [
            ("https://a.test", "https://a.test/"),
            ("https://a.test/v1/", "https://a.test/"),
            ("https://a.test/mock/", "https://a.test/mock"),
            ("https://a.test/mock/v1", "https://a.test/mock"),
        ] {
            let settled = Config::new().key("k").base_url(given).settle().unwrap();
            assert_eq!(settled.base.as_str(), base);
        }
    }
}
