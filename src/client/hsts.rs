//! Hosts that want TLS (HTTP Strict Transport Security, RFC 6797). Never reads the clock: the time is a parameter.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, STRICT_TRANSPORT_SECURITY};
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use url::Host;

use super::kept::{Kept, Lines, Tls, read_stamp, stamp};
use super::lexer::{Lexer, seconds};
use crate::cookies::host::canonical;
use crate::error::Error;

/// More hosts are not kept; the one that ends first goes.
const MAX_HOSTS: usize = 10_000;
/// Servers may ask for more; so much is for ever.
const MAX_AGE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Remembers which hosts have asked to be reached over TLS only (RFC 6797), so that `http` URLs of theirs become
/// `https` ones before anything is sent.
///
/// Clones share the hosts, at most 10,000. What a host says counts if it was said over TLS with a certificate that was
/// accepted, and never for IP addresses.
///
/// A cache with a file reads it when it is made. The file is written by [`save`](Self::save) and when the last clone is
/// dropped, which waits for the disk. It tells which hosts were visited, and only its owner may read it (on Unix). The
/// format is that of curl's option `CURLOPT_HSTS`.
#[derive(Clone)]
pub struct HstsCache(Arc<Kept<Hosts>>);

#[derive(Default)]
struct Hosts {
    /// By name: lower case, no dot at the end.
    hosts: HashMap<Box<str>, Policy>,
    /// The latest time that was heard of.
    seen: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    expires: SystemTime,
    include_subdomains: bool,
}

impl HstsCache {
    /// An empty cache in memory.
    pub fn new() -> Self {
        Self(Arc::new(Kept::in_memory()))
    }

    /// A cache in a file. One that does not exist yet is made when there is something to save.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read,
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) for a line that is not of the
    /// format, with its number.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Kept::in_file(path.into()).map(|kept| Self(Arc::new(kept)))
    }

    /// Writes the file, if there is one and anything has changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if it cannot be written. The old file is unharmed then.
    pub fn save(&self) -> Result<(), Error> {
        self.0.save()
    }

    /// RFC 6797 8.1: hears what a response from `url` says. Only the first header of several counts.
    pub(crate) fn learn(&self, url: &Uri, headers: &HeaderMap, tls: Tls, now: SystemTime) {
        let is_tls = matches!(url.scheme_str(), Some("https" | "wss")) && tls == Tls::Verified;
        let Some(header) = headers.get(STRICT_TRANSPORT_SECURITY).filter(|_| is_tls) else { return };
        let (Some(host), Some((max_age, include_subdomains))) = (host_of(url), parse(header)) else { return };
        let expires = now.checked_add(max_age).unwrap_or(now);
        self.0.change(|hosts| {
            hosts.seen = hosts.seen.max(Some(now));
            if max_age.is_zero() {
                return hosts.hosts.remove(&*host).is_some();
            }
            let policy = Policy { expires, include_subdomains };
            hosts.insert(host, policy, now)
        });
    }

    /// RFC 6797 8.3: the URL to ask instead of `url`; `None` if it may be asked as it is.
    pub(crate) fn upgrade(&self, url: &Uri, now: SystemTime) -> Option<Uri> {
        let scheme = match url.scheme_str()? {
            "http" => Scheme::HTTPS,
            "ws" => "wss".parse().ok()?,
            _ => return None,
        };
        let host = host_of(url)?;
        if !self.0.read(|hosts| hosts.wants_tls(&host, now)) {
            return None;
        }
        let authority = url.authority()?;
        let authority = match url.port_u16() {
            // The text before the port may hold a user and a password.
            Some(80) => format!("{}:443", authority.as_str().rsplit_once(':')?.0).parse().ok()?,
            _ => authority.clone(),
        };
        let mut parts = url.clone().into_parts();
        parts.scheme = Some(scheme);
        parts.authority = Some(authority);
        Uri::from_parts(parts).ok()
    }
}

impl Default for HstsCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HstsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HstsCache").field("hosts", &self.0.read(|hosts| hosts.hosts.len())).finish()
    }
}

impl Hosts {
    fn insert(&mut self, host: Box<str>, policy: Policy, now: SystemTime) -> bool {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&host) {
            self.hosts.retain(|_, policy| policy.expires > now);
            if self.hosts.len() >= MAX_HOSTS {
                let first = self.hosts.iter().min_by_key(|(_, policy)| policy.expires).map(|(host, _)| host.clone());
                first.and_then(|host| self.hosts.remove(&host));
            }
        }
        self.hosts.insert(host, policy) != Some(policy)
    }

    /// RFC 6797 8.2: the host itself, or a domain above it that includes what is below.
    fn wants_tls(&self, host: &str, now: SystemTime) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        let mut names = std::iter::successors(Some(host), |name| Some(name.split_once('.')?.1));
        names.any(|name| {
            let policy = self.hosts.get(name).filter(|policy| policy.expires > now);
            policy.is_some_and(|policy| policy.include_subdomains || name.len() == host.len())
        })
    }
}

/// One host a line; a dot before it includes what is below: `.example.com "20261231 23:59:59"`.
impl Lines for Hosts {
    const HEAD: &'static str = "# Your HSTS cache. https://curl.se/docs/hsts.html\n\
         # This file was written by a program. Edit at your own risk.\n";

    fn read_line(&mut self, words: &[&str]) -> Option<()> {
        let [host, expires] = words else { return None };
        let (host, include_subdomains) = host.strip_prefix('.').map_or((*host, false), |host| (host, true));
        let expires = read_stamp(expires)?;
        // An address in a file is skipped like one in a header.
        if let Some(host) = name_of(Host::parse(host).ok()?) {
            self.insert(host, Policy { expires, include_subdomains }, UNIX_EPOCH);
        }
        Some(())
    }

    fn write_lines(&self) -> String {
        let alive = self.hosts.iter().filter(|(_, policy)| self.seen.is_none_or(|now| policy.expires > now));
        let mut lines: Vec<_> = alive
            .map(|(host, policy)| {
                let dot = if policy.include_subdomains { "." } else { "" };
                format!("{dot}{host} \"{}\"\n", stamp(policy.expires))
            })
            .collect();
        lines.sort_unstable();
        lines.concat()
    }
}

fn host_of(url: &Uri) -> Option<Box<str>> {
    name_of(canonical(url)?)
}

/// `None` for an IP address (8.1.1).
fn name_of(host: Host) -> Option<Box<str>> {
    let Host::Domain(name) = host else { return None };
    let name = name.strip_suffix('.').unwrap_or(&name);
    (!name.is_empty()).then(|| name.into())
}

/// RFC 6797 6.1: age and whether names below are included. `None` for a header that breaks the syntax, has a directive
/// twice, or no age.
fn parse(header: &HeaderValue) -> Option<(Duration, bool)> {
    let mut lexer = Lexer::new(header.as_bytes());
    let mut seen: Vec<String> = Vec::new();
    let (mut max_age, mut include_subdomains) = (None, false);
    while !lexer.is_at_end() {
        if lexer.eat(b';') {
            continue;
        }
        let name = lexer.token()?.to_ascii_lowercase();
        let value = if lexer.eat(b'=') { Some(lexer.value()?) } else { None };
        if !lexer.is_at_end() && !lexer.eat(b';') {
            return None;
        }
        match (name.as_str(), value) {
            ("max-age", value) => max_age = Some(seconds(&value?)?),
            ("includesubdomains", Some(_)) => return None,
            ("includesubdomains", None) => include_subdomains = true,
            _ => {}
        }
        // A header holds few directives; one with very many is not worth an answer.
        if seen.contains(&name) || seen.len() >= 32 {
            return None;
        }
        seen.push(name);
    }
    Some((Duration::from_secs(max_age?).min(MAX_AGE), include_subdomains))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookies::date::from_unix;

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> SystemTime {
        from_unix(1_782_907_200 + seconds)
    }

    fn learn(cache: &HstsCache, from: &str, header: &str, now: SystemTime) {
        let headers = [(STRICT_TRANSPORT_SECURITY, header.parse().unwrap())].into_iter().collect();
        cache.learn(&url(from), &headers, Tls::Verified, now);
    }

    fn upgraded(cache: &HstsCache, to: &str, now: SystemTime) -> Option<String> {
        cache.upgrade(&url(to), now).map(|url| url.to_string())
    }

    #[test]
    fn headers_are_read_by_the_letter() {
        let age = |seconds| Some((Duration::from_secs(seconds), false));
        for (header, expected) in [
            ("max-age=10", age(10)),
            ("MAX-AGE=\"10\"", age(10)),
            (" max-age = 10 ; ", age(10)),
            (";;max-age=10;;", age(10)),
            ("max-age=10; includeSubDomains", Some((Duration::from_secs(10), true))),
            ("includesubdomains;max-age=0", Some((Duration::ZERO, true))),
            ("max-age=10; preload; future=\"a;b\"; x=y", age(10)),
            ("max-age=99999999999999999999", Some((MAX_AGE, false))),
            ("", None),
            ("includeSubDomains", None),
            ("max-age", None),
            ("max-age=", None),
            ("max-age=-1", None),
            ("max-age=1.5", None),
            ("max-age=ten", None),
            ("max-age=\"10", None),
            ("max-age=10 20", None),
            ("max-age=10, max-age=20", None),
            ("max-age=10; max-age=10", None),
            ("max-age=10; Max-Age=20", None),
            ("max-age=10; x; X", None),
            ("max-age=10; includeSubDomains=1", None),
            ("max-age=10; =x", None),
            ("max-age=10; x=", None),
        ] {
            assert_eq!(parse(&HeaderValue::from_static(header)), expected, "{header}");
        }
    }

    #[test]
    fn urls_of_hosts_that_want_it_become_secure() {
        let cache = HstsCache::new();
        learn(&cache, "https://Example.org:8443/", "max-age=100", at(0));
        learn(&cache, "https://all.example.com./", "max-age=100; includeSubDomains", at(0));
        for (to, expected) in [
            ("http://example.org/a?b=c", Some("https://example.org/a?b=c")),
            ("http://EXAMPLE.org", Some("https://EXAMPLE.org/")),
            ("http://example.org:80/", Some("https://example.org:443/")),
            ("http://example.org:8080/", Some("https://example.org:8080/")),
            ("http://user:pw@example.org:80/", Some("https://user:pw@example.org:443/")),
            ("http://user:pw@example.org/", Some("https://user:pw@example.org/")),
            ("http://example.org./", Some("https://example.org./")),
            ("ws://example.org/", Some("wss://example.org/")),
            ("https://example.org/", None),
            ("http://www.example.org/", None),
            ("http://org/", None),
            ("http://all.example.com/", Some("https://all.example.com/")),
            ("http://a.b.all.example.com/", Some("https://a.b.all.example.com/")),
            ("http://notall.example.com/", None),
            ("http://example.com/", None),
        ] {
            assert_eq!(upgraded(&cache, to, at(99)).as_deref(), expected, "{to}");
            assert_eq!(upgraded(&cache, to, at(100)), None, "{to}, too late");
        }
    }

    #[test]
    fn what_is_not_proved_does_not_count() {
        let cache = HstsCache::new();
        learn(&cache, "http://example.org/", "max-age=100", at(0));
        learn(&cache, "https://127.0.0.1/", "max-age=100", at(0));
        learn(&cache, "https://2130706433/", "max-age=100", at(0));
        learn(&cache, "https://[::1]/", "max-age=100; includeSubDomains", at(0));
        let headers: HeaderMap = [(STRICT_TRANSPORT_SECURITY, "max-age=9".parse().unwrap())].into_iter().collect();
        cache.learn(&url("https://example.org/"), &headers, Tls::Unverified, at(0));
        cache.learn(&url("https://example.org/"), &HeaderMap::new(), Tls::Verified, at(0));
        assert_eq!(format!("{cache:?}"), "HstsCache { hosts: 0 }");
    }

    #[test]
    fn a_host_can_change_its_mind() {
        let (cache, http) = (HstsCache::new(), "http://a.example.org/");
        learn(&cache, "https://example.org/", "max-age=100; includeSubDomains", at(0));
        learn(&cache, "https://a.example.org/", "max-age=0", at(1));
        assert!(upgraded(&cache, http, at(2)).is_some(), "the domain above still includes it");
        learn(&cache, "https://example.org/", "max-age=100", at(3));
        assert!(upgraded(&cache, http, at(4)).is_none());
        assert!(upgraded(&cache, "http://example.org/", at(102)).is_some(), "renewed");
        learn(&cache, "https://example.org/", "nonsense", at(5));
        assert!(upgraded(&cache, "http://example.org/", at(6)).is_some());
        learn(&cache.clone(), "https://example.org/", "max-age=0", at(7));
        assert!(upgraded(&cache, "http://example.org/", at(8)).is_none());
        // Of two headers the first counts.
        let mut headers = HeaderMap::new();
        headers.append(STRICT_TRANSPORT_SECURITY, "max-age=10".parse().unwrap());
        headers.append(STRICT_TRANSPORT_SECURITY, "max-age=0".parse().unwrap());
        cache.learn(&url("https://example.org/"), &headers, Tls::Verified, at(9));
        assert!(upgraded(&cache, "http://example.org/", at(10)).is_some());
    }

    #[test]
    fn the_number_of_hosts_is_bounded() {
        let mut hosts = Hosts::default();
        let policy = |end| Policy { expires: at(end), include_subdomains: false };
        for number in 0..10_100 {
            hosts.insert(format!("h{number}.org").into(), policy(1000 + number), at(0));
        }
        assert_eq!(hosts.hosts.len(), MAX_HOSTS);
        assert!(!hosts.wants_tls("h99.org", at(0)) && hosts.wants_tls("h100.org", at(0)));
        hosts.insert("late.org".into(), policy(90_000), at(11_000));
        assert_eq!(hosts.hosts.len(), 100, "what has expired goes first");
    }

    #[test]
    fn files_are_of_curls_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hsts.txt");
        let text = "# Your HSTS cache.\n\n.Example.com \"20261231 23:59:59\"\nexample.net \"unlimited\"\r\n\
                    old.org \"20200101 00:00:00\"\n127.0.0.1 \"20261231 23:59:59\"\n";
        std::fs::write(&path, text).unwrap();
        let cache = HstsCache::file(&path).unwrap();
        assert!(upgraded(&cache, "http://a.example.com/", at(0)).is_some());
        assert!(upgraded(&cache, "http://example.net/", at(0)).is_some());
        assert!(upgraded(&cache, "http://a.example.net/", at(0)).is_none());
        assert!(upgraded(&cache, "http://old.org/", at(0)).is_none());
        cache.save().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "nothing has changed");
        learn(&cache, "https://new.org/", "max-age=60", at(0));
        drop(cache);
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = written.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            ".example.com \"20261231 23:59:59\"",
            "example.net \"99991231 23:59:59\"",
            "new.org \"20260701 12:01:00\"",
        ];
        assert_eq!(lines, expected);
        for bad in ["example.org", "example.org soon", "example.org \"20261331 00:00:00\"", "a b \"20261231 00:00:00\""]
        {
            std::fs::write(&path, format!("# head\n{bad}\n")).unwrap();
            let error = HstsCache::file(&path).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains("line 2: "), "{error}");
        }
        let fresh = HstsCache::file(folder.path().join("none.txt")).unwrap();
        drop(fresh);
        assert!(!folder.path().join("none.txt").exists(), "there was nothing to save");
    }

    #[test]
    fn damaged_headers_neither_panic_nor_take_long() {
        let seeds = ["max-age=31536000; includeSubDomains; preload", "max-age=\"10\";x=\"a\\\"b;c\"", ";MAX-AGE = 0;"];
        let (start, mut valid) = (std::time::Instant::now(), 0);
        crate::cookies::mutate::each(&seeds, b";=\"\\ \t0a-", |header| {
            let Ok(header) = HeaderValue::from_bytes(header) else { return };
            if let Some((age, _)) = parse(&header) {
                assert!(age <= MAX_AGE);
                valid += 1;
            }
        });
        assert!(valid > 100, "{valid}");
        assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
    }
}
