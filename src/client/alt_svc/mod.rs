//! Other places where an origin answers (Alt-Svc, RFC 7838). Never reads the clock: the time is a parameter.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use http::header::{AGE, ALT_SVC, HeaderMap};

use super::kept::{Kept, Lines, Tls, read_stamp, stamp};
use super::lexer::seconds;
use crate::cookies::file::host as host_of_text;
use crate::cookies::host::canonical;
use crate::error::Error;

mod header;

use header::parse;

/// More origins are not kept; the one whose alternatives end first goes.
const MAX_ORIGINS: usize = 1000;
/// Of one origin; servers list few.
const MAX_ALTERNATIVES: usize = 8;
/// How long an alternative is avoided after a failure; twice as long after each more.
const FIRST_PAUSE: Duration = Duration::from_secs(300);
const LAST_PAUSE: Duration = Duration::from_secs(4 * 3600);

/// Remembers other places and protocols that origins have announced for themselves (Alt-Svc, RFC 7838), such as HTTP/3.
///
/// Clones share what is known: at most 1,000 origins, 8 alternatives each, 400 days. What an origin says counts if it
/// was said over TLS with a certificate that was accepted. An alternative that failed is avoided for five minutes, and
/// for longer each time, up to four hours.
///
/// A cache with a file reads it when it is made. The file is written by [`save`](Self::save) and when the last clone is
/// dropped, which waits for the disk. It tells which hosts were visited, and only its owner may read it (on Unix). The
/// format is that of curl's option `CURLOPT_ALTSVC`, which knows the protocols HTTP/1.1, HTTP/2 and HTTP/3.
#[derive(Clone)]
pub struct AltSvcCache(Arc<Kept<Services>>);

/// A place where an origin answers too. The certificate there is still the origin's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alternative {
    /// The name of TLS's protocol negotiation: `h2`, `h3`, `http/1.1`.
    pub(crate) protocol: String,
    /// Canonical, IPv6 addresses in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Alternative {
    /// As if it were an origin of its own.
    pub(crate) fn url(&self) -> Option<Uri> {
        format!("https://{}:{}/", self.host, self.port).parse().ok()
    }
}

/// Host and port of an `https` origin.
type Origin = (Box<str>, u16);

#[derive(Default)]
struct Services {
    /// In the order that the origin prefers. No list is empty.
    origins: HashMap<Origin, Vec<Service>>,
    failures: HashMap<(Origin, Alternative), Failure>,
    /// The latest time that was heard of.
    seen: Option<SystemTime>,
}

#[derive(Debug, PartialEq, Eq)]
struct Service {
    alternative: Alternative,
    expires: SystemTime,
    /// Valid on another network, too. Kept for the file: a change of network is not seen here.
    persist: bool,
}

#[derive(Clone, Copy)]
struct Failure {
    until: SystemTime,
    pause: Duration,
}

impl AltSvcCache {
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

    /// Hears what a response from `url` says. Its alternatives take the place of those that were known.
    pub(crate) fn learn(&self, url: &Uri, headers: &HeaderMap, tls: Tls, now: SystemTime) {
        let Some(origin) = origin(url).filter(|_| tls == Tls::Verified && headers.contains_key(ALT_SVC)) else {
            return;
        };
        // 3.1: the age of a response from a cache counts against the time.
        let age = headers.get(AGE).and_then(|age| seconds(age.to_str().ok()?)).unwrap_or(0);
        let fields = headers.get_all(ALT_SVC).iter();
        let Some(services) = parse(fields.map(|value| value.as_bytes()), &origin.0, age, now) else { return };
        self.0.change(|known| {
            known.seen = known.seen.max(Some(now));
            known.replace(origin, services, now)
        });
    }

    /// The alternative that the origin of `url` likes best, of those that are valid, have not failed lately and speak a
    /// protocol of `supported`.
    pub(crate) fn best(&self, url: &Uri, now: SystemTime, supported: &[&str]) -> Option<Alternative> {
        let origin = origin(url)?;
        self.0.read(|known| {
            let services = known.origins.get(&origin)?;
            let usable = |service: &&Service| {
                service.expires > now
                    && supported.contains(&service.alternative.protocol.as_str())
                    && !known.has_failed(&origin, &service.alternative, now)
            };
            services.iter().find(usable).map(|service| service.alternative.clone())
        })
    }

    /// Avoids an alternative of the origin of `url` for a while: it could not be reached, or did not answer for the
    /// origin (RFC 7838 6: status 421).
    pub(crate) fn failed(&self, url: &Uri, alternative: &Alternative, now: SystemTime) {
        let Some(origin) = origin(url) else { return };
        self.0.change(|known| {
            known.note_failure((origin, alternative.clone()), now);
            // Failures are not saved.
            false
        });
    }
}

impl Default for AltSvcCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AltSvcCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltSvcCache").field("origins", &self.0.read(|known| known.origins.len())).finish()
    }
}

impl Services {
    fn replace(&mut self, origin: Origin, services: Vec<Service>, now: SystemTime) -> bool {
        if services.is_empty() {
            return self.origins.remove(&origin).is_some();
        }
        self.make_room(&origin, now);
        let changed = self.origins.get(&origin) != Some(&services);
        self.origins.insert(origin, services);
        changed
    }

    fn make_room(&mut self, origin: &Origin, now: SystemTime) {
        if self.origins.len() < MAX_ORIGINS || self.origins.contains_key(origin) {
            return;
        }
        let end = |services: &[Service]| services.iter().map(|service| service.expires).max();
        self.origins.retain(|_, services| end(services) > Some(now));
        if self.origins.len() >= MAX_ORIGINS {
            let first = self.origins.iter().min_by_key(|(_, services)| end(services)).map(|(origin, _)| origin.clone());
            first.and_then(|origin| self.origins.remove(&origin));
        }
    }

    fn has_failed(&self, origin: &Origin, alternative: &Alternative, now: SystemTime) -> bool {
        // Most origins never fail: no key is made for them.
        !self.failures.is_empty()
            && self.failures.get(&(origin.clone(), alternative.clone())).is_some_and(|failure| {
                // A clock that was set back must not prolong the pause.
                failure.until > now && failure.until <= now + failure.pause
            })
    }

    fn note_failure(&mut self, key: (Origin, Alternative), now: SystemTime) {
        let recent = |failure: &Failure| failure.until + LAST_PAUSE > now;
        let before = self.failures.get(&key).copied().filter(recent);
        let pause = before.map_or(FIRST_PAUSE, |failure| (failure.pause * 2).min(LAST_PAUSE));
        if self.failures.len() >= MAX_ORIGINS {
            self.failures.retain(|_, failure| failure.until > now);
            if self.failures.len() >= MAX_ORIGINS {
                self.failures.clear();
            }
        }
        self.failures.insert(key, Failure { until: now + pause, pause });
    }
}

/// `h1 example.com 443 h3 other.example.com 8443 "20261231 23:59:59" 1 0`: protocol, host and port of the origin and of
/// the alternative, the end, whether it outlasts a change of network, and a priority that is always 0.
impl Lines for Services {
    const HEAD: &'static str = "# Your alt-svc cache. https://curl.se/docs/alt-svc.html\n\
         # This file was written by a program. Edit at your own risk.\n";

    fn read_line(&mut self, words: &[&str]) -> Option<()> {
        let [from, host, port, protocol, other_host, other_port, expires, persist, rest @ ..] = words else {
            return None;
        };
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let persist = match (*persist, rest) {
            ("1", [] | [_]) => true,
            ("0", [] | [_]) => false,
            _ => return None,
        };
        let origin: Origin = (host_of_text(host)?.to_string().into(), number(port)?);
        let host = host_of_text(other_host)?.to_string();
        let (port, expires) = (number(other_port)?, read_stamp(expires)?);
        // The protocol of the origin's own response makes no difference. One that curl may know in future is skipped.
        let (Some(_), Some(protocol)) = (protocol_of_file(from), protocol_of_file(protocol)) else { return Some(()) };
        let alternative = Alternative { protocol: protocol.to_owned(), host, port };
        if self.origins.len() < MAX_ORIGINS || self.origins.contains_key(&origin) {
            let services = self.origins.entry(origin).or_default();
            let known = services.iter().any(|service| service.alternative == alternative);
            if !known && services.len() < MAX_ALTERNATIVES {
                services.push(Service { alternative, expires, persist });
            }
        }
        Some(())
    }

    fn write_lines(&self) -> String {
        let mut origins: Vec<_> = self.origins.iter().collect();
        origins.sort_unstable_by_key(|(origin, _)| *origin);
        let mut text = String::new();
        for ((host, port), services) in origins {
            for Service { alternative, expires, persist } in services {
                let expired = self.seen.is_some_and(|now| *expires <= now);
                let Some(protocol) = protocol_in_file(&alternative.protocol).filter(|_| !expired) else { continue };
                let (end, persist) = (stamp(*expires), u8::from(*persist));
                let Alternative { host: other_host, port: other_port, .. } = alternative;
                text += &format!("h1 {host} {port} {protocol} {other_host} {other_port} \"{end}\" {persist} 0\n");
            }
        }
        text
    }
}

fn protocol_of_file(name: &str) -> Option<&'static str> {
    match name {
        "h1" => Some("http/1.1"),
        "h2" => Some("h2"),
        "h3" => Some("h3"),
        _ => None,
    }
}

fn protocol_in_file(name: &str) -> Option<&'static str> {
    ["h1", "h2", "h3"].into_iter().find(|short| protocol_of_file(short) == Some(name))
}

/// Only `https` has alternatives here: without TLS nobody proves that a place may speak for an origin (RFC 7838 2.1).
fn origin(url: &Uri) -> Option<Origin> {
    if url.scheme_str() != Some("https") {
        return None;
    }
    Some((canonical(url)?.to_string().into(), url.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookies::date::from_unix;

    const ALL: &[&str] = &["h3", "h2", "http/1.1"];

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> SystemTime {
        from_unix(1_782_907_200 + seconds)
    }

    fn learn(cache: &AltSvcCache, from: &str, header: &str, now: SystemTime) {
        let headers = [(ALT_SVC, header.parse().unwrap())].into_iter().collect();
        cache.learn(&url(from), &headers, Tls::Verified, now);
    }

    fn best(cache: &AltSvcCache, to: &str, now: SystemTime) -> Option<String> {
        let Alternative { protocol, host, port } = cache.best(&url(to), now, ALL)?;
        Some(format!("{protocol} {host} {port}"))
    }

    #[test]
    fn the_first_that_is_valid_and_supported_is_best() {
        let (cache, here) = (AltSvcCache::new(), "https://example.org/");
        learn(&cache, here, "h3=\":443\"; ma=10, odd=\":1\", h2=\"b.org:2\"; ma=20", at(0));
        assert_eq!(best(&cache, "https://EXAMPLE.org:443/x", at(9)).as_deref(), Some("h3 example.org 443"));
        assert_eq!(cache.best(&url(here), at(0), &["h2"]).unwrap().host, "b.org");
        assert_eq!(cache.best(&url(here), at(0), &[]), None);
        assert_eq!(best(&cache, here, at(10)).as_deref(), Some("h2 b.org 2"));
        assert_eq!(best(&cache, here, at(20)), None);
        for other in ["http://example.org/", "https://example.org:444/", "https://www.example.org/"] {
            assert_eq!(best(&cache, other, at(0)), None, "{other}");
        }
    }

    #[test]
    fn what_an_origin_says_replaces_what_it_said() {
        let (cache, here) = (AltSvcCache::new(), "https://example.org/");
        learn(&cache, here, "h3=\":443\"", at(0));
        cache.learn(&url(here), &HeaderMap::new(), Tls::Verified, at(1));
        learn(&cache, here, "nonsense", at(1));
        assert_eq!(best(&cache, here, at(2)).as_deref(), Some("h3 example.org 443"));
        learn(&cache, here, "h2=\":8\"", at(2));
        assert_eq!(best(&cache.clone(), here, at(3)).as_deref(), Some("h2 example.org 8"));
        learn(&cache, here, "clear", at(4));
        assert_eq!(best(&cache, here, at(5)), None);
        // Two headers are one list, and the age of the response counts.
        let mut headers = HeaderMap::new();
        headers.append(ALT_SVC, "h3=\":1\"; ma=100".parse().unwrap());
        headers.append(ALT_SVC, "h2=\":2\"; ma=200".parse().unwrap());
        headers.insert(AGE, "150".parse().unwrap());
        cache.learn(&url(here), &headers, Tls::Verified, at(6));
        assert_eq!(best(&cache, here, at(55)).as_deref(), Some("h2 example.org 2"));
        assert_eq!(best(&cache, here, at(56)), None);
    }

    #[test]
    fn what_is_not_proved_does_not_count() {
        let cache = AltSvcCache::new();
        learn(&cache, "http://example.org/", "h2=\":443\"", at(0));
        let headers: HeaderMap = [(ALT_SVC, "h2=\":443\"".parse().unwrap())].into_iter().collect();
        cache.learn(&url("https://example.org/"), &headers, Tls::Unverified, at(0));
        assert_eq!(format!("{cache:?}"), "AltSvcCache { origins: 0 }");
    }

    #[test]
    fn what_failed_is_avoided_for_longer_each_time() {
        let (cache, here) = (AltSvcCache::new(), url("https://example.org/"));
        learn(&cache, "https://example.org/", "h3=\":443\", h2=\":443\"; ma=999999", at(0));
        let h3 = cache.best(&here, at(0), ALL).unwrap();
        cache.failed(&here, &h3, at(0));
        assert_eq!(cache.best(&here, at(299), ALL).unwrap().protocol, "h2");
        learn(&cache, "https://example.org/", "h3=\":443\", h2=\":443\"", at(299));
        assert_eq!(cache.best(&here, at(299), ALL).unwrap().protocol, "h2", "announcing again does not help");
        assert_eq!(cache.best(&here, at(300), ALL).unwrap().protocol, "h3");
        cache.failed(&here, &h3, at(300));
        assert_eq!(cache.best(&here, at(899), ALL).unwrap().protocol, "h2");
        assert_eq!(cache.best(&here, at(900), ALL).unwrap().protocol, "h3");
        assert_eq!(cache.best(&here, at(-9999), ALL).unwrap().protocol, "h3", "the clock was set back");
        // Long after, it counts as the first again.
        cache.failed(&here, &h3, at(900 + 14_400));
        assert_eq!(cache.best(&here, at(900 + 14_400 + 300), ALL).unwrap().protocol, "h3");
    }

    #[test]
    fn the_number_of_origins_is_bounded() {
        let cache = AltSvcCache::new();
        for number in 0..MAX_ORIGINS + 10 {
            let from = format!("https://h{number}.org/");
            learn(&cache, &from, &format!("h2=\":443\"; ma={}", number + 100), at(0));
            let alternative = cache.best(&url(&from), at(0), ALL).unwrap();
            cache.failed(&url(&from), &alternative, at(0));
        }
        assert_eq!(cache.0.read(|known| known.origins.len()), MAX_ORIGINS);
        assert!(cache.0.read(|known| known.failures.len()) <= MAX_ORIGINS);
        assert!(cache.0.read(|known| !known.origins.keys().any(|(host, _)| &**host == "h9.org")));
        learn(&cache, "https://late.org/", "h2=\":443\"", at(600));
        assert!(cache.0.read(|known| known.origins.len()) < 600, "what has expired goes first");
    }

    #[test]
    fn files_are_of_curls_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("altsvc.txt");
        std::fs::write(
            &path,
            "# Your alt-svc cache.\n\
             h2 example.com 443 h3 shiny.example.com 8443 \"20271231 10:00:00\" 1 0\n\
             h1 example.com 443 h3 shiny.example.com 8443 \"20271231 10:00:00\" 1 0\n\
             h2 example.com 443 h1 [::1] 1 \"20271231 10:00:00\" 0\n\
             h2 example.com 443 h9 a.org 1 \"20271231 10:00:00\" 0 0\n\
             h2 old.org 443 h2 a.org 1 \"20200101 00:00:00\" 0 0\n",
        )
        .unwrap();
        let cache = AltSvcCache::file(&path).unwrap();
        assert_eq!(best(&cache, "https://example.com/", at(0)).as_deref(), Some("h3 shiny.example.com 8443"));
        assert_eq!(best(&cache, "https://old.org/", at(0)), None);
        learn(&cache, "https://new.org:8443/", "odd=\":1\", h2=\":443\"; ma=60", at(0));
        cache.save().unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = written.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "h1 example.com 443 h3 shiny.example.com 8443 \"20271231 10:00:00\" 1 0",
                "h1 example.com 443 h1 [::1] 1 \"20271231 10:00:00\" 0 0",
                "h1 new.org 8443 h2 new.org 443 \"20260701 12:01:00\" 0 0",
            ]
        );
        for bad in [
            "h1 a.org 443 h2 b.org 443 \"20271231 10:00:00\"",
            "h1 a.org 443 h2 b.org 443 \"20271231 10:00:00\" 2 0",
            "h1 a.org 443 h2 b.org 443 \"20271231 10:00:00\" 1 0 0",
            "h1 a.org 443 h2 b.org 443 never 1 0",
            "h1 a.org 0 h2 b.org 443 \"20271231 10:00:00\" 1 0",
            "h1 a.org 443 h2 b.org 70000 \"20271231 10:00:00\" 1 0",
            "h1 a/org 443 h2 b.org 443 \"20271231 10:00:00\" 1 0",
        ] {
            std::fs::write(&path, format!("\n\n{bad}\n")).unwrap();
            let error = AltSvcCache::file(&path).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains("line 3: "), "{error}");
        }
    }
}
