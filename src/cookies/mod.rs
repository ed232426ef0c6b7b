//! Cookies (RFC 6265bis). Holds and chooses them; sends nothing.
//!
//! A [`CookieJar`] keeps what servers set and picks what belongs to a request, by the rules that browsers follow:
//!
//! - `Set-Cookie` is read leniently, a cookie is limited to 4096 bytes and 400 days, and control characters are
//!   refused.
//! - A domain keeps at most 180 cookies, a jar 3000. When one is too many, expired cookies go first, then of crowded
//!   domains those that are not `Secure`, then those that were used longest ago.
//! - Nobody sets a cookie for another site, nor for a public suffix such as `co.uk` (feature `psl`; without it only
//!   single labels such as `com` count as one). Addresses have cookies of their own only.
//! - `Secure` cookies come from, and go to, `https` and `wss` URLs and this machine: `localhost`, 127.0.0.0/8 and
//!   `[::1]`, which RFC 6265bis lets a client trust. Keep that in mind if a proxy resolves these names elsewhere.
//!   Cookies set in clear never replace them. `__Secure-` and `__Host-` in names hold what they promise.
//! - `SameSite` is kept but not enforced.
//! - A host name with a dot at its end is another host than the one without.
//!
//! ```
//! use marmot::cookies::CookieJar;
//!
//! let jar = CookieJar::new();
//! let url = "https://example.org/account/login".parse()?;
//! jar.set("id=42; Secure; HttpOnly; Max-Age=3600", &url)?;
//! let cookie = jar.get_by_name(&url, "id").expect("it was just set");
//! assert_eq!(cookie.value(), "42");
//! assert_eq!(cookie.path(), "/account");
//! assert!(jar.get_by_name(&"http://example.org/account/".parse()?, "id").is_none(), "it is Secure");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Inside: `parse` and `date` read headers, `host` compares domains and paths, `store` is the storage model, and
//! none of them reads the clock; `jar` is the public face, which does. `netscape`, `json` and `file` save and load.

mod cookie;
pub(crate) mod date;
pub(crate) mod file;
pub(crate) mod host;
mod jar;
#[cfg(feature = "json")]
mod json;
mod netscape;
mod parse;
mod refused;
mod store;

#[cfg(test)]
mod corpus;
#[cfg(test)]
pub(crate) mod mutate;

pub use cookie::{Cookie, SameSite};
pub use jar::CookieJar;
