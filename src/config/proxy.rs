//! Which proxy a request goes through. Pure: compares schemes, names and addresses; connects to nothing.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::Uri;
use zeroize::Zeroizing;

use super::Credentials;
use super::excluded::{Excluded, excluded};
use super::names::Bracketed;
use crate::secret::split_user;

/// One or more proxies, and the hosts that are reached without them.
///
/// A proxy is given as a URL, `scheme://user:password@host:port`. User and password are percent-encoded there, as in any
/// URL, and are shown in no `Debug` and no error. The port is 443 for `https` and 1080 for the others unless it is
/// given, and the scheme `http` unless it is given:
///
/// | scheme | the proxy |
/// |---|---|
/// | `http` | speaks HTTP; requests to `https` URLs are tunneled through it (`CONNECT`) |
/// | `https` | the same over TLS; verified by [`Configurable::proxy_tls`](super::Configurable::proxy_tls) |
/// | `socks4`, `socks5` | speaks SOCKS and is given addresses |
/// | `socks4a`, `socks5h` | speaks SOCKS and resolves names itself |
///
/// A `Proxy-Authorization` header of a request goes to its HTTP proxy, and never to the target.
///
/// # Examples
///
/// ```
/// use marmot::config::Proxy;
/// use marmot::prelude::*;
///
/// let proxy = Proxy::https("http://proxy.test:3128").basic_auth("anna", "s3cret").no_proxy("localhost, 10.0.0.0/8");
/// let client = HttpClient::builder().proxy(proxy).build()?;
/// # Ok::<(), marmot::Error>(())
/// ```
///
/// (`CURLOPT_PROXY`)
#[derive(Clone, Debug, Default)]
#[must_use = "a proxy does nothing until it is given to a client or a request"]
pub struct Proxy {
    rules: Vec<Rule>,
    no_proxy: Vec<Excluded>,
    invalid: Option<String>,
}

/// A proxy for the URLs of some schemes.
#[derive(Clone, Debug)]
struct Rule {
    scheme: Covers,
    server: Arc<ProxyServer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covers {
    All,
    Http,
    Https,
}

/// A proxy, without a secret in its `Debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyServer {
    pub(crate) kind: ProxyKind,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) digest: bool,
    pub(crate) tunnel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    Https,
    Socks4,
    Socks4a,
    Socks5,
    Socks5h,
}

impl ProxyKind {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Whether this side resolves the names of targets.
    pub(crate) fn resolves_here(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks5)
    }
}

/// The URL of the proxy, without credentials.
impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.kind.name(), Bracketed(&self.host), self.port)
    }
}

impl Proxy {
    /// A proxy for all URLs.
    pub fn all(url: impl AsRef<str>) -> Self {
        Self::new(Covers::All, url.as_ref())
    }

    /// A proxy for `http` URLs.
    pub fn http(url: impl AsRef<str>) -> Self {
        Self::new(Covers::Http, url.as_ref())
    }

    /// A proxy for `https` URLs.
    pub fn https(url: impl AsRef<str>) -> Self {
        Self::new(Covers::Https, url.as_ref())
    }

    fn new(scheme: Covers, url: &str) -> Self {
        match parse(url) {
            Ok(server) => Self { rules: vec![Rule { scheme, server: Arc::new(server) }], ..Self::default() },
            Err(detail) => Self { invalid: Some(detail), ..Self::default() },
        }
    }

    /// Another proxy, for the URLs that this one is not for. The hosts that either excludes are reached without one.
    pub fn and(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self.no_proxy.extend(other.no_proxy);
        self.invalid = self.invalid.or(other.invalid);
        self
    }

    /// User and password for the proxy, sent with the first request (RFC 7617; RFC 1929 for SOCKS 5, the user alone for
    /// SOCKS 4). Default: those of the URL, over which they win.
    ///
    /// (`CURLOPT_PROXYUSERNAME`, `CURLOPT_PROXYPASSWORD`, `CURLOPT_PROXYAUTH`)
    pub fn basic_auth(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.with_credentials(user.into(), password.into(), false)
    }

    /// User and password for an HTTP proxy, by its challenge (RFC 7616): the password itself is not sent. Default:
    /// none.
    pub fn digest_auth(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        if self.rules.iter().any(|rule| !rule.server.kind.is_http()) {
            self.invalid.get_or_insert_with(|| "a SOCKS proxy knows no digest authentication".into());
        }
        self.with_credentials(user.into(), password.into(), true)
    }

    fn with_credentials(mut self, user: String, password: String, digest: bool) -> Self {
        match Credentials::new(user, password) {
            Ok(credentials) => {
                for rule in &mut self.rules {
                    let server = Arc::make_mut(&mut rule.server);
                    (server.credentials, server.digest) = (Some(credentials.clone()), digest);
                }
            }
            Err(detail) => self.invalid = self.invalid.or(Some(detail)),
        }
        self
    }

    /// Hosts that are reached without a proxy, with commas or blanks between: a name, which stands for the names below
    /// it as well, an address, a network (`10.0.0.0/8`), or `*` for all. Default: none.
    ///
    /// Names are compared, not resolved. The environment's `no_proxy` is not looked at.
    ///
    /// (`CURLOPT_NOPROXY`)
    pub fn no_proxy(mut self, hosts: impl AsRef<str>) -> Self {
        match excluded(hosts.as_ref()) {
            Ok(list) => self.no_proxy.extend(list),
            Err(detail) => self.invalid = self.invalid.or(Some(detail)),
        }
        self
    }

    /// Whether `http` URLs are tunneled through an HTTP proxy as well, so that it sees the target's address only.
    /// Default: no.
    ///
    /// (`CURLOPT_HTTPPROXYTUNNEL`)
    pub fn tunnel(mut self, tunnel: bool) -> Self {
        for rule in &mut self.rules {
            Arc::make_mut(&mut rule.server).tunnel = tunnel;
        }
        self
    }

    /// What in it cannot be used.
    pub(super) fn invalid(&self) -> Option<&str> {
        self.invalid.as_deref()
    }

    /// The proxy for a URL.
    pub(crate) fn choose(&self, url: &Uri) -> Option<&Arc<ProxyServer>> {
        let secure = matches!(url.scheme_str(), Some("https" | "wss"));
        let wanted = if secure { Covers::Https } else { Covers::Http };
        let rule = self.rules.iter().find(|rule| rule.scheme == Covers::All || rule.scheme == wanted)?;
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let excluded = self.no_proxy.iter().any(|entry| entry.holds(&host, address));
        (!excluded).then_some(&rule.server)
    }

    /// The proxies that the environment names: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, and these in
    /// capitals but for the first, which a web server would let its visitors set by a `Proxy` header.
    ///
    /// Read once in the life of the program.
    pub(crate) fn of_environment() -> Result<&'static Self, String> {
        static FOUND: OnceLock<Result<Proxy, String>> = OnceLock::new();
        FOUND.get_or_init(|| from_variables(|name| std::env::var(name).ok())).as_ref().map_err(Clone::clone)
    }
}

fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Proxy, String> {
    let mut found = Proxy::default();
    for (names, scheme) in [
        (&["http_proxy"][..], Covers::Http),
        (&["https_proxy", "HTTPS_PROXY"], Covers::Https),
        (&["all_proxy", "ALL_PROXY"], Covers::All),
    ] {
        let set = names.iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)));
        if let Some((name, value)) = set {
            let server = parse(&value).map_err(|detail| format!("the environment variable {name}: {detail}"))?;
            found.rules.push(Rule { scheme, server: Arc::new(server) });
        }
    }
    if let Some(hosts) = variable("no_proxy").or_else(|| variable("NO_PROXY")) {
        // What other programs understand and libcurl does not is no reason to fail.
        found.no_proxy = hosts.split([',', ' ']).filter_map(|host| excluded(host).ok()).flatten().collect();
    }
    Ok(found)
}

/// The text is not repeated in errors: it may hold a password.
fn parse(url: &str) -> Result<ProxyServer, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "http" => ProxyKind::Http,
        "https" => ProxyKind::Https,
        "socks4" => ProxyKind::Socks4,
        "socks4a" => ProxyKind::Socks4a,
        "socks" | "socks5" => ProxyKind::Socks5,
        "socks5h" => ProxyKind::Socks5h,
        _ => return Err("the proxy's URL has none of the schemes http, https, socks4, socks4a, socks5, socks5h".into()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, place) = split_user(authority);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().ok().filter(|port| *port > 0).ok_or("the proxy's port is not a number")?;
            (host, port)
        }
        _ => (place, if kind == ProxyKind::Https { 443 } else { 1080 }),
    };
    let host = match url::Host::parse(host) {
        Ok(url::Host::Ipv6(address)) => address.to_string(),
        Ok(host) => host.to_string(),
        Err(_) => return Err("the proxy's URL names no host".into()),
    };
    let credentials = user
        .map(|pair| {
            let (user, password) = pair.split_once(':').unwrap_or((pair, ""));
            let text = |part| percent_decode(part).ok_or("user or password in the proxy's URL are not readable");
            Credentials::new(text(user)?, text(password)?)
        })
        .transpose()?;
    Ok(ProxyServer { kind, host, port, credentials, digest: false, tunnel: false })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    std::str::from_utf8(&bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(proxy: &Proxy, url: &str) -> Option<String> {
        proxy.choose(&url.parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn urls_of_proxies_are_read() {
        for (url, expected) in [
            ("http://p.test:3128", "http://p.test:3128"),
            ("p.test:3128/", "http://p.test:3128"),
            ("p.test", "http://p.test:1080"),
            ("https://p.test", "https://p.test:443"),
            ("SOCKS5h://u:p@[::1]:9", "socks5h://[::1]:9"),
            ("socks4://127.0.0.1:9", "socks4://127.0.0.1:9"),
            ("http://bücher.test:1", "http://xn--bcher-kva.test:1"),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), expected, "{url}");
        }
        for bad in
            ["", "ftp://p", "http://", "http://p:x", "http://p:0", "http://a b", "http://%zz@p", "http://p:99999"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let server = parse("http://an%20na:p%40ss:w@p.test").unwrap();
        let credentials = server.credentials.as_ref().unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("an na", "p@ss:w"));
        assert!(!format!("{server:?} {server}").contains("ss"), "{server:?}");
        assert!(parse("http://a:%0d@p").unwrap_err().contains("control"));
    }

    #[test]
    fn the_first_proxy_for_the_scheme_is_taken() {
        let proxy = Proxy::http("a.test").and(Proxy::https("b.test")).and(Proxy::all("c.test"));
        assert_eq!(chosen(&proxy, "http://x/").unwrap(), "http://a.test:1080");
        assert_eq!(chosen(&proxy, "https://x/").unwrap(), "http://b.test:1080");
        assert_eq!(chosen(&Proxy::https("b.test"), "http://x/"), None);
        assert_eq!(chosen(&Proxy::default(), "http://x/"), None);
    }

    #[test]
    fn excluded_hosts_are_reached_without_a_proxy() {
        let proxy = Proxy::all("p.test").no_proxy("a.test, .b.test 10.0.0.0/8,[fd00::]/8 192.0.2.7,xn--bcher-kva.test");
        for url in [
            "http://a.test/",
            "http://A.TEST.:80/",
            "http://x.a.test/",
            "https://b.test/",
            "http://10.9.8.7/",
            "http://[fd12::1]/",
            "http://192.0.2.7:81/",
            "http://xn--bcher-kva.test/",
        ] {
            assert_eq!(chosen(&proxy, url), None, "{url}");
        }
        for url in ["http://xa.test/", "http://test/", "http://11.0.0.1/", "http://192.0.2.70/", "http://[fe80::1]/"] {
            assert!(chosen(&proxy, url).is_some(), "{url}");
        }
        assert_eq!(chosen(&Proxy::all("p.test").no_proxy("*"), "http://x/"), None);
        assert_eq!(chosen(&Proxy::all("p.test").no_proxy("0.0.0.0/0"), "http://1.2.3.4/"), None);
        for bad in ["a/b", "10.0.0.0/33", "10.0.0.0/x", "a b@c"] {
            assert!(Proxy::all("p.test").no_proxy(bad).invalid().is_some(), "{bad}");
        }
    }

    #[test]
    fn the_environment_is_read_as_curl_does_it() {
        let with = |set: &'static [(&str, &str)]| {
            from_variables(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        let proxy = with(&[("http_proxy", "a:1"), ("HTTPS_PROXY", "socks5://b:2"), ("NO_PROXY", "c,d:80,e")]).unwrap();
        assert_eq!(chosen(&proxy, "http://x/").unwrap(), "http://a:1");
        assert_eq!(chosen(&proxy, "https://x/").unwrap(), "socks5://b:2");
        assert_eq!((chosen(&proxy, "http://c/"), chosen(&proxy, "http://e/")), (None, None));
        assert_eq!(chosen(&with(&[("HTTP_PROXY", "a:1")]).unwrap(), "http://x/"), None, "set by a visitor (httpoxy)");
        assert_eq!(chosen(&with(&[("http_proxy", "")]).unwrap(), "http://x/"), None);
        assert_eq!(chosen(&with(&[("ALL_PROXY", "a:1")]).unwrap(), "https://x/").unwrap(), "http://a:1");
        let error = with(&[("https_proxy", "gopher://user:secret@a")]).unwrap_err();
        assert!(error.contains("https_proxy") && !error.contains("secret"), "{error}");
    }
}
