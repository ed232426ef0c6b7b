//! How names become addresses, where that is not left to the system. Plain data; resolves nothing.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Addresses for names, instead of those that DNS has.
///
/// It holds for the requests that it is set for, and no others: requests of one client may have different maps.
/// Through an HTTP proxy or one that resolves names itself (`socks4a`, `socks5h`) it has no effect, and the names of
/// proxies are not looked up in it.
///
/// # Examples
///
/// ```
/// use marmot::config::ResolveMap;
///
/// let map = ResolveMap::new().add("example.test", 443, ["127.0.0.1".parse().unwrap()]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a map does nothing until it is given to a client or a request"]
pub struct ResolveMap(pub(crate) Arc<Vec<Resolved>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resolved {
    /// Lower case, without a last dot.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) addresses: Vec<IpAddr>,
}

impl ResolveMap {
    /// A map without entries: names are resolved as ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses of `host` for connections to `port`; they are tried as those of DNS would be. A second call for
    /// the same host and port replaces the first; without addresses it removes it.
    pub fn add(mut self, host: impl AsRef<str>, port: u16, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let host = plain_host(host.as_ref());
        let addresses: Vec<_> = addresses.into_iter().collect();
        let entries = Arc::make_mut(&mut self.0);
        entries.retain(|entry| entry.host != host || entry.port != port);
        if !addresses.is_empty() {
            entries.push(Resolved { host, port, addresses });
        }
        self
    }
}

/// Other hosts to connect to, while the request, TLS included, remains one to the host of its URL.
///
/// # Examples
///
/// ```
/// use marmot::config::ConnectTo;
///
/// // Ask one machine behind a load balancer.
/// let to = ConnectTo::new().add("example.test", 443, "machine-7.example.test", 8443);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it does nothing until it is given to a client or a request"]
pub struct ConnectTo(pub(crate) Arc<Vec<Detour>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detour {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) to_host: String,
    pub(crate) to_port: u16,
}

impl ConnectTo {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// For `host` and `port`, connects to `to_host` and `to_port`. The first entry for a host and port counts.
    pub fn add(mut self, host: impl AsRef<str>, port: u16, to_host: impl AsRef<str>, to_port: u16) -> Self {
        let (host, to_host) = (plain_host(host.as_ref()), plain_host(to_host.as_ref()));
        Arc::make_mut(&mut self.0).push(Detour { host, port, to_host, to_port });
        self
    }
}

/// Lower case, international names in their ASCII form (RFC 5891 4), without a last dot and without brackets.
fn plain_host(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match url::Host::parse(bare) {
        Ok(url::Host::Domain(name)) => name,
        _ => bare.to_ascii_lowercase(),
    }
}

/// Whether text can be a host in one of libcurl's lists, where `:` and `,` separate.
pub(crate) fn is_host(host: &str) -> bool {
    let address = host.parse::<std::net::Ipv6Addr>().is_ok();
    address || (!host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
}

/// Which addresses of a host to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IpVersion {
    /// IPv6 and IPv4, whichever connects first (RFC 8305). The default.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// How long a resolved name is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DnsCache {
    /// For this long, in whole seconds.
    For(Duration),
    /// Not beyond the request.
    Never,
    /// As long as the client lives.
    Forever,
}

impl From<Duration> for DnsCache {
    fn from(time: Duration) -> Self {
        Self::For(time)
    }
}

super::settings! {
    /// The settings about names.
    pub(crate) struct Names {
        resolve: ResolveMap,
        connect_to: ConnectTo,
        cache: DnsCache,
        servers: Option<Arc<str>>,
        over_https: Option<Arc<str>>,
        ip_version: IpVersion,
        happy_eyeballs: Duration,
    }
}

/// `[address]` for IPv6, anything else as it is.
pub(crate) struct Bracketed<'a>(pub(crate) &'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_in_one_form() {
        let here = [IpAddr::from([127, 0, 0, 1])];
        let map = ResolveMap::new().add("Bücher.Test.", 80, here).add("xn--bcher-kva.test", 80, here);
        assert_eq!(map.0.len(), 1, "{map:?}");
        assert_eq!(map.0[0].host, "xn--bcher-kva.test");
        assert!(map.add("bücher.test", 80, []).0.is_empty());
        assert_eq!(plain_host("[::1]"), "::1");
    }

    #[test]
    fn only_hosts_pass_as_hosts() {
        for good in ["a", "a-b_c.d", "127.0.0.1", "::1"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a:b", "a,b", "a b", "*", "+a/", "é"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
