//! Where requests may go: by scheme, host, port, and by the address that a name resolves to. Resolves nothing itself.
//!
//! Names are checked before anything is sent, addresses when a connection is made and again when one is used again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;

use crate::error::{Error, ErrorKind};
use crate::port::port;

/// Which requests may leave: an allow and deny list of schemes, hosts, ports and addresses.
///
/// It holds for redirects, proxies, WebSockets and connections that are used again. A refusal is
/// [`ErrorKind::EgressDenied`](crate::ErrorKind::EgressDenied) and names the rule. Where a client and its request both
/// have a policy, both must allow.
///
/// Addresses are checked at the moment of connecting, so that a name that resolves to something else the second time
/// ("DNS rebinding") does not pass. Behind a proxy the addresses of targets are not seen here; so where a policy is set,
/// proxies are refused unless [`allow_proxies`](Self::allow_proxies) consents.
///
/// # Examples
///
/// ```
/// use marmot::config::EgressPolicy;
/// use marmot::prelude::*;
/// use marmot::ErrorKind;
///
/// let client = HttpClient::builder().egress(EgressPolicy::public_internet()).build()?;
/// for url in ["http://127.0.0.1/", "http://2130706433/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/"] {
///     assert_eq!(client.get(url).unwrap_err().kind(), ErrorKind::EgressDenied);
/// }
/// # Ok::<(), marmot::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a policy has no effect until it is set"]
pub struct EgressPolicy(Arc<Rules>);

#[derive(Clone, Debug, Default)]
struct Rules {
    schemes: Option<Vec<String>>,
    allowed_hosts: Option<Vec<Host>>,
    denied_hosts: Vec<Host>,
    ports: Option<Vec<RangeInclusive<u16>>>,
    allowed_networks: Vec<IpNet>,
    denied_networks: Vec<IpNet>,
    /// Refuse what is not part of the public internet.
    public_only: bool,
    proxies: bool,
    unix_sockets: bool,
    /// The first entry that could not be read.
    invalid: Option<String>,
}

impl EgressPolicy {
    /// A policy that allows everything but proxies and unix sockets, to be narrowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses all addresses that are not part of the public internet: loopback, private, link-local (with the metadata
    /// services of clouds), shared, unique-local, multicast, reserved and documentation networks, and IPv6 addresses that
    /// stand for IPv4 ones (mapped, compatible, NAT64, 6to4, Teredo).
    pub fn public_internet() -> Self {
        Self::new().change(|rules| rules.public_only = true)
    }

    fn change(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The only URL schemes that are allowed. Default: all that this client speaks.
    pub fn schemes(self, schemes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let list = schemes.into_iter().map(|scheme| scheme.as_ref().to_ascii_lowercase()).collect();
        self.change(|rules| rules.schemes = Some(list))
    }

    /// The only hosts that are allowed. Repeated calls add to the list. Default: all.
    ///
    /// An entry is `name`, `name:port`, `*.domain` (all names below it) or an address. With a scheme, as in
    /// `https://name` or `http://name:8080`, it stands for that scheme (or its WebSocket) and port only, the usual port if
    /// none is named. The name in the URL is compared, not the address that it resolves to.
    pub fn allow_hosts(self, hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.change(|rules| {
            let mut list = rules.allowed_hosts.take().unwrap_or_default();
            rules.add_hosts(hosts, &mut list);
            rules.allowed_hosts = Some(list);
        })
    }

    /// Hosts that are refused, even where another rule allows them. Entries as for [`allow_hosts`](Self::allow_hosts).
    /// Default: none.
    pub fn deny_hosts(self, hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.change(|rules| {
            let mut list = std::mem::take(&mut rules.denied_hosts);
            rules.add_hosts(hosts, &mut list);
            rules.denied_hosts = list;
        })
    }

    /// The only ports that are allowed. Repeated calls add to the list. Default: all.
    pub fn allow_ports(self, ports: RangeInclusive<u16>) -> Self {
        self.change(|rules| rules.ports.get_or_insert_default().push(ports))
    }

    /// Networks that are allowed although [`public_internet`](Self::public_internet) refuses them. An entry is an address
    /// or a network such as `10.1.0.0/16`. Default: none.
    pub fn allow_addresses(self, networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.change(|rules| {
            let list = rules.parse_networks(networks);
            rules.allowed_networks.extend(list);
        })
    }

    /// Networks that are refused, even where another rule allows them. Entries as for
    /// [`allow_addresses`](Self::allow_addresses). Default: none.
    pub fn deny_addresses(self, networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.change(|rules| {
            let list = rules.parse_networks(networks);
            rules.denied_networks.extend(list);
        })
    }

    /// Whether requests may go through a proxy, whose own address is checked then, while it alone sees those of the
    /// targets. Default: no.
    pub fn allow_proxies(self, allow: bool) -> Self {
        self.change(|rules| rules.proxies = allow)
    }

    /// Whether requests may go to unix sockets. Default: no.
    pub fn allow_unix_sockets(self, allow: bool) -> Self {
        self.change(|rules| rules.unix_sockets = allow)
    }
}

impl Rules {
    fn add_hosts(&mut self, hosts: impl IntoIterator<Item = impl AsRef<str>>, list: &mut Vec<Host>) {
        for host in hosts {
            match Host::parse(host.as_ref()) {
                Ok(host) => list.push(host),
                Err(detail) => drop(self.invalid.get_or_insert(detail)),
            }
        }
    }

    fn parse_networks(&mut self, networks: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<IpNet> {
        let mut list = Vec::new();
        for text in networks {
            let text = text.as_ref();
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => list.push(network),
                Err(_) => {
                    let bad = || format!("`{text}` is not an address or a network such as `10.0.0.0/8`");
                    self.invalid.get_or_insert_with(bad);
                }
            }
        }
        list
    }

    fn check_url(&self, url: &Uri) -> Result<(), String> {
        let scheme = url.scheme_str().unwrap_or_default();
        if let Some(schemes) = &self.schemes
            && !schemes.iter().any(|allowed| allowed == scheme)
        {
            return Err(format!("the scheme `{scheme}` is not among the allowed ones"));
        }
        let Some((host, port)) = host_and_port(url) else { return Err("the URL names no host".into()) };
        self.check_port(port)?;
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let inner = address.and_then(inner_v4).map(|inner| inner.to_string());
        let covers = |rule: &Host, host: &str| rule.covers(scheme, host, port);
        let denies = |rule: &&Host| covers(rule, &host) || inner.as_ref().is_some_and(|v4| covers(rule, v4));
        if let Some(rule) = self.denied_hosts.iter().find(denies) {
            return Err(format!("the host `{host}` is refused by `{}`", rule.text));
        }
        if let Some(allowed) = &self.allowed_hosts
            && !allowed.iter().any(|rule| covers(rule, &host))
        {
            return Err(format!("the host `{host}` is not on the list of allowed ones"));
        }
        address.map_or(Ok(()), |address| self.check_address(address))
    }

    fn check_port(&self, port: u16) -> Result<(), String> {
        match &self.ports {
            Some(ports) if !ports.iter().any(|range| range.contains(&port)) => {
                Err(format!("the port {port} is not among the allowed ones"))
            }
            _ => Ok(()),
        }
    }

    fn check_address(&self, address: IpAddr) -> Result<(), String> {
        let refused = |rule: &dyn std::fmt::Display| Err(format!("the address {address} is refused by `{rule}`"));
        let inner = inner_v4(address).map(IpAddr::V4);
        let denies = |network: &&IpNet| network.contains(&address) || inner.is_some_and(|v4| network.contains(&v4));
        if let Some(network) = self.denied_networks.iter().find(denies) {
            return refused(network);
        }
        if !self.public_only || self.allowed_networks.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        match not_public(address) {
            Some((name, network)) => refused(&format_args!("{name} {network}")),
            None => Ok(()),
        }
    }
}

/// All policies that a request is under: each must allow it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Egress(Vec<EgressPolicy>);

/// The other side of a connection that is about to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Address(SocketAddr),
    /// A unix socket, or a family that is unknown here.
    Other,
}

impl Egress {
    pub(crate) fn add(&mut self, policy: EgressPolicy) {
        self.0.push(policy);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_unset(&self) -> bool {
        self.is_open()
    }

    /// A request's policies add to its client's, and replace none.
    pub(crate) fn merged_over(mut self, base: &Self) -> Self {
        self.0.extend_from_slice(&base.0);
        self
    }

    /// The first entry of a policy that could not be read.
    pub(crate) fn invalid(&self) -> Option<&str> {
        self.0.iter().find_map(|policy| policy.0.invalid.as_deref())
    }

    /// Checks what the URL alone tells.
    pub(crate) fn check_url(&self, url: &Uri) -> Result<(), Error> {
        let refuse = |rule: String| denied(rule).with_url(url);
        self.0.iter().try_for_each(|policy| policy.0.check_url(url).map_err(refuse))
    }

    /// Checks the other side of a connection: the target's, or a proxy's.
    pub(crate) fn check_peer(&self, peer: Peer, proxy: bool) -> Result<(), Error> {
        for EgressPolicy(rules) in &self.0 {
            let result = match peer {
                _ if proxy && !rules.proxies => Err("a proxy, and `allow_proxies` does not consent".into()),
                // The port of a proxy is not the target's, which was checked with the URL.
                Peer::Address(address) if proxy => rules.check_address(address.ip()),
                Peer::Address(address) => {
                    rules.check_port(address.port()).and_then(|()| rules.check_address(address.ip()))
                }
                Peer::Other if rules.unix_sockets => Ok(()),
                Peer::Other => Err("not an internet address, and `allow_unix_sockets` does not consent".into()),
            };
            result.map_err(denied)?;
        }
        Ok(())
    }
}

fn denied(rule: String) -> Error {
    Error::new(ErrorKind::EgressDenied).with_detail(rule)
}

/// The host of a URL as libcurl and resolvers understand it, and the port. Every form of an address (`127.1`,
/// `0x7f000001`, `2130706433`) becomes its usual one (WHATWG URL 3.5).
fn host_and_port(url: &Uri) -> Option<(String, u16)> {
    let text = url.host()?;
    Some((canonical(text), port(url)))
}

fn canonical(host: &str) -> String {
    let host = host.trim_end_matches('.');
    match url::Host::parse(host) {
        Ok(host) => host.to_string(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

#[derive(Clone, Debug)]
struct Host {
    /// As it was given.
    text: String,
    /// Over TLS or not; any if absent.
    secure: Option<bool>,
    /// With a leading dot it stands for all names below.
    name: String,
    port: Option<u16>,
}

impl Host {
    /// `host`, `host:port` or `*.domain`, each with a scheme before it or not; IPv6 addresses in brackets.
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a host: write `name`, `name:port`, `*.domain` or `https://name`");
        let (secure, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(is_secure(scheme).ok_or_else(bad)?), rest.trim_end_matches('/')),
            None => (None, text),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| bad())?))
            }
            _ => (rest, secure.map(|secure| if secure { 443 } else { 80 })),
        };
        let bare = host.strip_prefix('*').unwrap_or(host);
        let well_formed = bare.chars().all(|c| c.is_alphanumeric() || "-_.[]:".contains(c));
        if bare.trim_matches('.').is_empty() || !well_formed || (bare != host && !bare.starts_with('.')) {
            return Err(bad());
        }
        let name = match bare.strip_prefix('.') {
            Some(domain) => format!(".{}", canonical(domain)),
            None if bare.contains(':') && !bare.starts_with('[') => canonical(&format!("[{bare}]")),
            None => canonical(bare),
        };
        Ok(Self { text: text.to_owned(), secure, name, port })
    }

    fn covers(&self, scheme: &str, host: &str, port: u16) -> bool {
        let name = if self.name.starts_with('.') { host.ends_with(&self.name) } else { host == self.name };
        name && self.port.is_none_or(|own| own == port)
            && self.secure.is_none_or(|secure| is_secure(scheme) == Some(secure))
    }
}

/// Whether a scheme is one over TLS: a WebSocket begins as a request of its own origin.
fn is_secure(scheme: &str) -> Option<bool> {
    match scheme {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291 2.5.5.2), compatible, translated by NAT64 (RFC 6052
/// 2.1) or reached by 6to4 (RFC 3056 2).
fn inner_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d] = match v6.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => [a, b, c, d],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if !v6.is_loopback() && !v6.is_unspecified() => [a, b, c, d],
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => [a, b, c, d],
        [0x20, 0x02, a, b, c, d, ..] => [a, b, c, d],
        _ => return None,
    };
    Some(Ipv4Addr::new(a, b, c, d))
}

/// The network that keeps an address out of the public internet (the IANA registries of special-purpose addresses).
fn not_public(address: IpAddr) -> Option<(&'static str, &'static str)> {
    const V4: [(&str, &str); 17] = [
        ("this network", "0.0.0.0/8"),
        ("private", "10.0.0.0/8"),
        ("shared", "100.64.0.0/10"),
        ("loopback", "127.0.0.0/8"),
        ("link-local", "169.254.0.0/16"),
        ("private", "172.16.0.0/12"),
        ("protocol assignments", "192.0.0.0/24"),
        ("documentation", "192.0.2.0/24"),
        ("6to4 relay", "192.88.99.0/24"),
        ("private", "192.168.0.0/16"),
        ("benchmarks", "198.18.0.0/15"),
        ("documentation", "198.51.100.0/24"),
        ("documentation", "203.0.113.0/24"),
        ("multicast", "224.0.0.0/4"),
        ("reserved", "240.0.0.0/4"),
        ("broadcast", "255.255.255.255/32"),
        // Alibaba's and Oracle's metadata services lie in the shared and the link-local network; this one does not.
        ("metadata", "168.63.129.16/32"),
    ];
    const V6: [(&str, &str); 15] = [
        ("unspecified", "::/128"),
        ("loopback", "::1/128"),
        ("mapped IPv4", "::ffff:0:0/96"),
        ("compatible IPv4", "::/96"),
        ("translated IPv4", "::ffff:0:0:0/96"),
        ("NAT64", "64:ff9b::/96"),
        ("NAT64", "64:ff9b:1::/48"),
        ("discard", "100::/64"),
        ("protocol assignments", "2001::/23"),
        ("documentation", "2001:db8::/32"),
        ("6to4", "2002::/16"),
        ("unique-local", "fc00::/7"),
        ("link-local", "fe80::/10"),
        ("site-local", "fec0::/10"),
        ("multicast", "ff00::/8"),
    ];
    let table: &[(&str, &str)] = if address.is_ipv4() { &V4 } else { &V6 };
    let covers = |network: &str| network.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
    table.iter().find(|(_, network)| covers(network)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(policy: EgressPolicy) -> Egress {
        assert_eq!(policy.0.invalid, None);
        Egress(vec![policy])
    }

    #[track_caller]
    fn check(policy: EgressPolicy, allowed: &[&str], refused: &[&str]) {
        let egress = egress(policy);
        for url in allowed {
            assert!(egress.check_url(&url.parse().unwrap()).is_ok(), "{url} should be allowed");
        }
        for url in refused {
            let error = egress.check_url(&url.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EgressDenied, "{url}");
        }
    }

    #[test]
    fn names_ports_and_domains_match() {
        check(
            EgressPolicy::new().allow_hosts(["api.example.org"]),
            &["https://api.example.org/", "http://API.Example.org:8080/", "http://api.example.org./"],
            &["http://example.org/", "http://api.example.org.evil.test/", "http://xapi.example.org/"],
        );
        check(
            EgressPolicy::new().allow_hosts(["*.example.org", "[::1]:81"]).allow_hosts(["bücher.example"]),
            &["http://a.example.org/", "http://a.b.example.org/", "http://[::1]:81/", "http://xn--bcher-kva.example/"],
            &["http://example.org/", "http://badexample.org/", "http://[::1]/"],
        );
        check(
            EgressPolicy::new().allow_hosts(["https://a.test", "http://b.test:8080", "wss://*.c.test:9"]),
            &["https://a.test/", "wss://a.test/", "http://b.test:8080/", "https://x.c.test:9/"],
            &[
                "http://a.test:443/",
                "https://a.test:8443/",
                "http://b.test/",
                "https://b.test:8080/",
                "ws://x.c.test:9/",
            ],
        );
        check(
            EgressPolicy::new().schemes(["https"]).allow_ports(443..=443).allow_ports(8000..=8999),
            &["https://a.test/", "https://a.test:8443/"],
            &["http://a.test/", "https://a.test:80/"],
        );
        check(
            EgressPolicy::new().allow_hosts(["*.a.test"]).deny_hosts(["x.a.test", "127.0.0.1"]),
            &["http://y.a.test/"],
            &["http://x.a.test/", "http://x.a.test./", "http://2130706433/"],
        );
    }

    #[test]
    fn every_form_of_an_address_is_understood() {
        let forms = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "0.0.0.0",
            "127.255.255.254",
            "127.0.0.1.",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001:0:7f00:1::]",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "[2001:db8::1]",
            "168.63.129.16",
            "203.0.113.1",
            "[0:0:0:0:0:ffff:a00:1]",
        ];
        for form in forms {
            check(
                EgressPolicy::public_internet(),
                &[],
                &[&format!("http://{form}/"), &format!("https://{form}:8443/")],
            );
        }
        check(
            EgressPolicy::public_internet(),
            &["http://93.184.216.34/", "http://[2606:4700::1111]/", "http://172.32.0.1/", "http://100.128.0.1/"],
            &[],
        );
    }

    #[test]
    fn networks_are_allowed_and_refused_by_name() {
        let policy =
            EgressPolicy::public_internet().allow_addresses(["10.1.0.0/16", "::1"]).deny_addresses(["10.1.9.0/24"]);
        check(policy, &["http://10.1.2.3/", "http://[::1]/"], &["http://10.2.0.1/", "http://10.1.9.1/"]);
        let error = egress(EgressPolicy::public_internet()).check_url(&"http://127.1/".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1 is refused by `loopback 127.0.0.0/8`"), "{error}");
    }

    #[test]
    fn what_is_refused_is_refused_in_the_clothes_of_ipv6_too() {
        let forms = ["[::ffff:10.0.0.1]", "[::ffff:a00:1]", "[::10.0.0.1]", "[64:ff9b::10.0.0.1]", "[2002:a00:1::1]"];
        for form in forms {
            let url = format!("http://{form}/");
            check(EgressPolicy::new().deny_addresses(["10.0.0.0/8"]), &["http://[::1]/"], &[&url]);
            check(EgressPolicy::new().deny_hosts(["10.0.0.1"]), &["http://[::1]/"], &[&url]);
            check(EgressPolicy::new().deny_addresses(["11.0.0.0/8"]).deny_hosts(["11.0.0.1"]), &[&url], &[]);
        }
    }

    #[test]
    fn ports_hold_for_where_a_connection_goes() {
        let policy = EgressPolicy::new().allow_ports(443..=443).allow_proxies(true);
        let peer = |port| Peer::Address(SocketAddr::new([93, 184, 216, 34].into(), port));
        assert!(egress(policy.clone()).check_peer(peer(443), false).is_ok());
        assert!(egress(policy.clone()).check_peer(peer(22), false).is_err());
        assert!(egress(policy).check_peer(peer(3128), true).is_ok(), "a proxy's port is its own");
    }

    #[test]
    fn proxies_and_unix_sockets_need_consent() {
        let address = Peer::Address("93.184.216.34:80".parse().unwrap());
        let policy = EgressPolicy::public_internet();
        assert!(egress(policy.clone()).check_peer(address, false).is_ok());
        assert!(egress(policy.clone()).check_peer(address, true).is_err());
        assert!(egress(policy.clone()).check_peer(Peer::Other, false).is_err());
        let policy = policy.allow_proxies(true).allow_unix_sockets(true);
        assert!(egress(policy.clone()).check_peer(address, true).is_ok());
        assert!(egress(policy.clone()).check_peer(Peer::Other, false).is_ok());
        assert!(egress(policy).check_peer(Peer::Address("127.0.0.1:80".parse().unwrap()), true).is_err());
    }

    #[test]
    fn a_request_cannot_take_its_clients_policy_away() {
        let client = egress(EgressPolicy::public_internet());
        let request = egress(EgressPolicy::new().allow_addresses(["127.0.0.0/8"]));
        assert!(request.merged_over(&client).check_url(&"http://127.0.0.1/".parse().unwrap()).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "*", "a b", "ftp://x", "http://", "http://x/y", "host:port", "x*.org", "."] {
            assert!(EgressPolicy::new().allow_hosts([text]).0.invalid.is_some(), "{text:?}");
        }
        assert!(EgressPolicy::new().deny_addresses(["10.0.0.0/40"]).0.invalid.is_some());
    }
}
