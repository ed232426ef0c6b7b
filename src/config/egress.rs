//! Which hosts may be asked. Compares names; resolves none.

use std::sync::Arc;

use http::Uri;

/// Hosts that a client may ask, redirects included.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostList(Arc<Vec<Entry>>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Lower case; with a leading dot it stands for all names below.
    host: String,
    port: Option<u16>,
}

impl HostList {
    /// Entries are `host`, `host:port` or `*.domain` (all names below the domain), IPv6 addresses in brackets.
    pub(crate) fn new(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        hosts.into_iter().map(|host| parse(host.as_ref())).collect::<Result<_, _>>().map(|list| Self(Arc::new(list)))
    }

    pub(crate) fn allows(&self, url: &Uri) -> bool {
        let Some(host) = url.host() else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let port = url.port_u16().or(match url.scheme_str() {
            Some("https" | "wss") => Some(443),
            _ => Some(80),
        });
        self.0.iter().any(|entry| {
            let name = if entry.host.starts_with('.') { host.ends_with(&entry.host) } else { host == entry.host };
            name && (entry.port.is_none() || entry.port == port)
        })
    }
}

fn parse(text: &str) -> Result<Entry, String> {
    let bad = || format!("`{text}` is not a host: write `name`, `name:port` or `*.domain`");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| bad())?))
        }
        _ => (text, None),
    };
    let bare = host.strip_prefix('*').unwrap_or(host);
    let well_formed = bare.chars().all(|c| c.is_ascii_alphanumeric() || "-_.[]:".contains(c));
    if bare.trim_matches('.').is_empty() || !well_formed || (bare != host && !bare.starts_with('.')) {
        return Err(bad());
    }
    Ok(Entry { host: bare.trim_end_matches('.').to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &[&str], allowed: &[&str], refused: &[&str]) {
        let list = HostList::new(list).unwrap();
        for url in allowed {
            assert!(list.allows(&url.parse().unwrap()), "{url} should be allowed");
        }
        for url in refused {
            assert!(!list.allows(&url.parse().unwrap()), "{url} should be refused");
        }
    }

    #[test]
    fn names_ports_and_domains_match() {
        check(
            &["api.example.org"],
            &["https://api.example.org/", "http://API.Example.org:8080/", "http://api.example.org./"],
            &["http://example.org/", "http://api.example.org.evil.test/", "http://xapi.example.org/"],
        );
        check(
            &["*.example.org", "[::1]:81"],
            &["http://a.example.org/", "http://a.b.example.org/", "http://[::1]:81/"],
            &["http://example.org/", "http://badexample.org/", "http://[::1]/"],
        );
        check(&["localhost:443"], &["https://localhost/"], &["http://localhost/"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "*", "a b", "http://x", "host:port", "x*.org", "."] {
            assert!(HostList::new([text]).is_err(), "{text:?}");
        }
    }
}
