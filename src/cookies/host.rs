//! Hosts, domains and paths: RFC 6265bis 5.1.2 to 5.1.4, and public suffixes. Pure; resolves no name.

use std::borrow::Cow;

use http::Uri;
use url::Host;

/// The canonical form of the URL's host: lower case, punycode, IPv4 as four numbers, IPv6 in brackets.
///
/// A dot at the end stays: `example.org.` is another host than `example.org`, as in browsers.
pub(crate) fn canonical(url: &Uri) -> Option<Host> {
    Host::parse(url.host()?).ok()
}

/// Whether cookies marked `Secure` may be stored from this URL and sent to it.
///
/// TLS, or a host that is this machine: RFC 6265bis 5.7 and 5.8 let a client trust `localhost`.
pub(super) fn is_secure(url: &Uri, host: &Host) -> bool {
    let trusted = match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    trusted || matches!(url.scheme_str(), Some("https" | "wss"))
}

/// RFC 6265bis 5.1.3, both in canonical form.
pub(super) fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || host.strip_suffix(domain).is_some_and(|above| above.ends_with('.') && !domain.is_empty() && is_name(host))
}

/// Not an IP address. In canonical form a name does not end in a number, and has no bracket.
fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host.parse::<std::net::Ipv4Addr>().is_err()
}

/// The host and the domains above it, the longest first: what a cookie's domain can be.
pub(super) fn with_parents(host: &str) -> impl Iterator<Item = &str> {
    let name = is_name(host);
    std::iter::successors(Some(host), move |above| if name { Some(above.split_once('.')?.1) } else { None })
}

/// Whether everybody can register names below this one. Without the feature `psl`: whether it is a single label.
pub(super) fn is_public_suffix(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    #[cfg(feature = "psl")]
    return psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes());
    #[cfg(not(feature = "psl"))]
    return !domain.contains('.');
}

/// The URL's path as it will be asked for: without dot segments.
pub(super) fn request_path(url: &Uri) -> Cow<'_, str> {
    let path = url.path();
    let encoded_dot = |bytes: &[u8]| bytes.eq_ignore_ascii_case(b"/%2e");
    let has_dots = path.contains("/.") || path.as_bytes().windows(4).any(encoded_dot);
    let clean = has_dots.then(|| url::Url::parse(&format!("http://h{path}")).ok()).flatten();
    clean.map_or(Cow::Borrowed(path), |clean| Cow::Owned(clean.path().to_owned()))
}

/// RFC 6265bis 5.1.4: the path of a cookie that names none.
pub(super) fn default_path(request_path: &str) -> &str {
    match request_path.rfind('/') {
        Some(end) if end > 0 && request_path.starts_with('/') => &request_path[..end],
        _ => "/",
    }
}

/// RFC 6265bis 5.1.4.
pub(super) fn path_matches(request_path: &str, cookie_path: &str) -> bool {
    request_path
        .strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_text(url: &str) -> Option<String> {
        canonical(&url.parse().unwrap()).map(|host| host.to_string())
    }

    #[test]
    fn hosts_have_one_form() {
        for (url, host) in [
            ("http://EXAMPLE.org/", Some("example.org")),
            ("http://user:secret@Example.ORG:81/", Some("example.org")),
            ("http://example.org./", Some("example.org.")),
            ("http://XN--BCHER-KVA.example/", Some("xn--bcher-kva.example")),
            ("http://127.1/", Some("127.0.0.1")),
            ("http://0x7f000001/", Some("127.0.0.1")),
            ("http://2130706433/", Some("127.0.0.1")),
            ("http://[0:0::1]:80/", Some("[::1]")),
            ("/only/a/path", None),
        ] {
            assert_eq!(canonical_text(url).as_deref(), host, "{url}");
        }
    }

    #[test]
    fn a_domain_matches_itself_and_names_below() {
        for (host, domain, expected) in [
            ("example.org", "example.org", true),
            ("www.example.org", "example.org", true),
            ("a.b.example.org", "example.org", true),
            ("example.org", "www.example.org", false),
            ("notexample.org", "example.org", false),
            ("example.org.", "example.org", false),
            ("www.example.org.", "example.org.", true),
            ("example.org", "", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "0.0.1", false),
            ("[::1]", "[::1]", true),
        ] {
            assert_eq!(domain_matches(host, domain), expected, "{host} {domain}");
        }
    }

    #[test]
    fn the_domains_above_a_host_are_those_that_match() {
        assert_eq!(with_parents("a.b.example").collect::<Vec<_>>(), ["a.b.example", "b.example", "example"]);
        assert_eq!(with_parents("127.0.0.1").collect::<Vec<_>>(), ["127.0.0.1"]);
        assert_eq!(with_parents("[::1]").collect::<Vec<_>>(), ["[::1]"]);
    }

    #[test]
    fn single_labels_are_public_suffixes() {
        assert!(is_public_suffix("com"));
        assert!(is_public_suffix("com."));
        assert!(is_public_suffix("localhost"));
        assert!(!is_public_suffix("example.com"));
    }

    #[cfg(feature = "psl")]
    #[test]
    fn the_public_suffix_list_is_known() {
        for suffix in ["co.uk", "co.uk.", "github.io", "s3.amazonaws.com", "foo.ck", "xn--p1ai"] {
            assert!(is_public_suffix(suffix), "{suffix}");
        }
        for domain in ["example.co.uk", "someone.github.io", "www.ck", "a.b.example.com"] {
            assert!(!is_public_suffix(domain), "{domain}");
        }
    }

    #[test]
    fn a_path_matches_itself_and_what_is_below() {
        for (request, cookie, expected) in [
            ("/", "/", true),
            ("/a", "/", true),
            ("/a", "/a", true),
            ("/a/", "/a", true),
            ("/a", "/a/", false),
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/ab", "/a", false),
            ("/a", "/ab", false),
            ("/A", "/a", false),
            ("/a%2Fb", "/a", false),
        ] {
            assert_eq!(path_matches(request, cookie), expected, "{request} {cookie}");
        }
    }

    #[test]
    fn the_default_path_is_the_folder() {
        for (request, path) in
            [("", "/"), ("a", "/"), ("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b", "/a"), ("/a/b/", "/a/b")]
        {
            assert_eq!(default_path(request), path, "{request}");
        }
    }

    #[test]
    fn dot_segments_do_not_count() {
        let path = |url: &str| request_path(&url.parse().unwrap()).into_owned();
        assert_eq!(path("http://a/public/../private/x"), "/private/x");
        assert_eq!(path("http://a/public/%2E%2e/private"), "/private");
        assert_eq!(path("http://a/./.well-known/a"), "/.well-known/a");
        assert_eq!(path("http://a?b"), "/");
    }
}
