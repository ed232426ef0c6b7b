//! Who calls: tokens and their tenants, tickets for browsers, origins. Reads no file and no clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::Url;

use crate::queue::check_name;

/// The fewest characters of a token.
const SHORTEST: usize = 16;
/// How long a ticket can be used.
const TICKET: Duration = Duration::from_secs(30);
/// The most tickets at once, of all tenants and of one.
const TICKETS: usize = 10_000;
const TICKETS_OF_ONE: usize = 1_000;

/// The tenant of a server without tokens.
pub const ALONE: &str = "local";

/// The tokens of a server, each with its tenant. A token itself is not kept.
#[derive(Clone, Default)]
pub struct Tokens(Vec<([u8; 32], String)>);

impl Tokens {
    /// Those of a text with a line for each: the name of the tenant, a space, the token. Empty lines and those that begin
    /// with `#` are passed over. A tenant may have several tokens, so that they can be changed without a gap.
    ///
    /// # Errors
    ///
    /// What is wrong, with the number of the line and without the token.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let mut words = line.split_whitespace();
            let (Some(tenant), Some(token), None) = (words.next(), words.next(), words.next()) else {
                return Err(wrong("a tenant, a space and a token are expected"));
            };
            check_name("a tenant", tenant).map_err(|error| wrong(&error.to_string()))?;
            if token.len() < SHORTEST {
                return Err(wrong(&format!(
                    "the token of `{tenant}` is shorter than {SHORTEST} characters; `openssl rand -hex 24` makes one"
                )));
            }
            if tokens.tenant(token).is_some() {
                return Err(wrong("the token was given before"));
            }
            tokens.0.push((Sha256::digest(token).into(), tenant.to_owned()));
        }
        if tokens.0.is_empty() {
            return Err("there is no token in it".into());
        }
        Ok(tokens)
    }

    /// Whose token that is. All are compared, each in constant time.
    pub(super) fn tenant(&self, token: &str) -> Option<&str> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (known, tenant) in &self.0 {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(tenant.as_str());
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, tenant)| tenant)).finish()
    }
}

/// The token that a request carries (RFC 6750, 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a page of that origin may connect (RFC 6455, 10.2): the server's own pages, and those that are listed. Programs
/// that are no browsers send no origin.
pub(super) fn is_welcome(headers: &HeaderMap, own_scheme: &str, listed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = host.and_then(|host| Url::parse(&format!("{own_scheme}://{host}")).ok());
    // Behind a proxy that ends TLS, the page is https and this server is not.
    let same = |own: &Url, other: &Url| {
        own.host() == other.host()
            && (own.port_or_known_default() == other.port_or_known_default() || own.port() == other.port())
    };
    own.zip(Url::parse(origin).ok()).is_some_and(|(own, origin)| same(&own, &origin))
}

/// A request that names a host other than the loopback's comes from a page that has its name lead here (DNS rebinding).
/// Looked at where there are no tokens to tell friend from foe.
pub(super) fn is_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    match Url::parse(&format!("http://{host}")).ok().as_ref().and_then(Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Tickets by which browsers open WebSockets, as those cannot send headers. Each is good for one use and a short time.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<HashMap<String, (String, Instant)>>);

impl Tickets {
    /// A ticket for a tenant. `None` where there are too many, or no random numbers.
    pub(super) fn issue(&self, tenant: &str, now: Instant) -> Option<String> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).ok()?;
        let ticket = URL_SAFE_NO_PAD.encode(random);
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = 0;
        tickets.retain(|_, (of, until)| {
            own += usize::from(of == tenant);
            *until > now
        });
        // One who asks for many does not keep others from theirs.
        if tickets.len() >= TICKETS || own >= TICKETS_OF_ONE {
            return None;
        }
        tickets.insert(ticket.clone(), (tenant.to_owned(), now + TICKET));
        Some(ticket)
    }

    /// Whose ticket that is. It cannot be used again.
    pub(super) fn redeem(&self, ticket: &str, now: Instant) -> Option<String> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket);
        found.filter(|(_, until)| *until > now).map(|(tenant, _)| tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_line_by_line_and_tell_their_tenant() {
        let text = "# ours\nalice 0123456789abcdef\n\nbob  fedcba9876543210\nalice second-token-of-hers\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.tenant("0123456789abcdef"), Some("alice"));
        assert_eq!(tokens.tenant("second-token-of-hers"), Some("alice"));
        assert_eq!(tokens.tenant("fedcba9876543210"), Some("bob"));
        assert_eq!(tokens.tenant("fedcba9876543211"), None);
        assert!(!format!("{tokens:?}").contains("0123"));
        for (text, what) in [
            ("alice short", "line 1"),
            ("\nalice", "line 2"),
            ("a b c", "line 1"),
            ("al/ice 0123456789abcdef", "tenant"),
            ("alice 0123456789abcdef\nbob 0123456789abcdef", "before"),
            ("# nothing", "no token"),
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert!(error.contains(what) && !error.contains("0123456789abcdef"), "{error}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_not_welcome() {
        let of = |origin: &str, host: &str| {
            HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap()), (header::HOST, host.parse().unwrap())])
        };
        let listed = ["https://app.example.org".to_owned()];
        assert!(is_welcome(&HeaderMap::new(), "http", &listed));
        assert!(is_welcome(&of("http://127.0.0.1:8787", "127.0.0.1:8787"), "http", &listed));
        assert!(is_welcome(&of("https://app.example.org", "127.0.0.1:8787"), "http", &listed));
        assert!(is_welcome(&of("https://marmot.example", "marmot.example"), "http", &listed), "behind a proxy");
        for origin in ["http://evil.example", "http://127.0.0.1:8788", "null", "https://app.example.org.evil.example"] {
            assert!(!is_welcome(&of(origin, "127.0.0.1:8787"), "http", &listed), "{origin}");
        }
        assert!(is_local_host(&of("x", "localhost:8787")) && is_local_host(&of("x", "[::1]:1")));
        assert!(!is_local_host(&of("x", "evil.example:8787")) && !is_local_host(&of("x", "10.0.0.1")));
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_short_time() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue("alice", now).unwrap();
        assert_eq!(tickets.redeem(&ticket, now + TICKET / 2).as_deref(), Some("alice"));
        assert_eq!(tickets.redeem(&ticket, now), None);
        assert_eq!((0..TICKETS).filter_map(|_| tickets.issue("bob", now)).count(), TICKETS_OF_ONE);
        let late = tickets.issue("alice", now).unwrap();
        assert_eq!(tickets.redeem(&late, now + TICKET * 2), None);
    }
}
