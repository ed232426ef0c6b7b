//! The storage model (RFC 6265bis 5.7) and the choice of what is sent (5.8). Pure: the time is a parameter.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::SystemTime;

use http::Uri;
use url::Host;
use zeroize::Zeroizing;

use super::cookie::{Cookie, Fields, SameSite};
use super::host::{
    canonical, default_path, domain_matches, is_public_suffix, is_secure, path_matches, request_path, with_parents,
};
use super::parse::{SetCookie, parse};
use super::refused::RefusedCookie;

/// No domain keeps more.
pub(super) const MAX_OF_DOMAIN: usize = 180;
/// A domain with more is the first to give some up when the jar is full.
pub(super) const FAIR_OF_DOMAIN: usize = 50;
/// The jar keeps no more.
pub(super) const MAX_IN_ALL: usize = 3000;

/// All cookies, by domain. No list in the map is empty.
#[derive(Default)]
pub(super) struct Store {
    domains: HashMap<Box<str>, Vec<Entry>>,
    count: usize,
    /// Counts entries and accesses, which orders what the clock does not.
    serial: u64,
    /// Nothing expires before; `None` if nothing ever does.
    next_expiry: Option<SystemTime>,
}

struct Entry {
    cookie: Cookie,
    /// Time and serial number.
    created: (SystemTime, u64),
    accessed: (SystemTime, u64),
}

impl Store {
    /// Keeps the cookie of one `Set-Cookie` header of a response from `url`.
    pub(super) fn set(&mut self, header: &[u8], url: &Uri, now: SystemTime) -> Result<(), RefusedCookie> {
        let parsed = parse(header, now)?;
        let host = canonical(url).ok_or(RefusedCookie::NoHost)?;
        let secure_origin = is_secure(url, &host);
        let cookie = accept(&parsed, url, &host, secure_origin)?;
        // A Secure cookie that has ended protects nothing.
        self.remove_expired(now);
        if !secure_origin && self.shadows_secure(&cookie) {
            return Err(RefusedCookie::WouldReplaceSecure);
        }
        self.insert(cookie, now, now);
        Ok(())
    }

    /// Puts a cookie in the place of one with the same name, domain and path. One that is expired only removes.
    pub(super) fn insert(&mut self, cookie: Cookie, created: SystemTime, now: SystemTime) {
        self.remove_expired(now);
        self.serial += 1;
        let stamp = (now, self.serial);
        let mut created = (created, self.serial);
        if let Some(old) = self.remove(&cookie) {
            created = old.created;
        }
        if cookie.is_expired(now) {
            return;
        }
        if let Some(expires) = cookie.expires() {
            self.next_expiry = Some(self.next_expiry.map_or(expires, |next| next.min(expires)));
        }
        let domain: Box<str> = cookie.domain().into();
        let entries = self.domains.entry(domain.clone()).or_default();
        entries.push(Entry { cookie, created, accessed: stamp });
        self.count += 1;
        if entries.len() > MAX_OF_DOMAIN {
            self.evict_from(&domain);
        }
        if self.count > MAX_IN_ALL {
            self.evict();
        }
    }

    /// The cookies for a request, in the order in which they are sent: longer paths first, then older ones first.
    pub(super) fn matching(&mut self, url: &Uri, now: SystemTime) -> Vec<Cookie> {
        self.remove_expired(now);
        let Some(host) = canonical(url) else { return Vec::new() };
        let secure = is_secure(url, &host);
        let path = request_path(url);
        let host = host.to_string();
        self.serial += 1;
        let stamp = (now, self.serial);
        let mut found = Vec::new();
        for domain in with_parents(&host) {
            for entry in self.domains.get_mut(domain).into_iter().flatten() {
                let fields = entry.cookie.fields();
                let is_for = (!fields.host_only || domain.len() == host.len())
                    && (secure || !fields.secure)
                    && path_matches(&path, &fields.path);
                if is_for {
                    entry.accessed = stamp;
                    found.push((Reverse(fields.path.len()), entry.created, entry.cookie.clone()));
                }
            }
        }
        found.sort_by_key(|(length, created, _)| (*length, *created));
        found.into_iter().map(|(.., cookie)| cookie).collect()
    }

    /// All cookies with the time of their creation, the oldest first.
    pub(super) fn all(&mut self, now: SystemTime) -> Vec<(Cookie, SystemTime)> {
        self.remove_expired(now);
        let mut all: Vec<_> =
            self.domains.values().flatten().map(|entry| (entry.created, entry.cookie.clone())).collect();
        all.sort_by_key(|(created, _)| *created);
        all.into_iter().map(|((created, _), cookie)| (cookie, created)).collect()
    }

    pub(super) fn len(&mut self, now: SystemTime) -> usize {
        self.remove_expired(now);
        self.count
    }

    pub(super) fn clear(&mut self) {
        *self = Self { serial: self.serial, ..Self::default() };
    }

    /// Takes out the cookie that has the same name, domain and path.
    pub(super) fn take(&mut self, cookie: &Cookie) -> bool {
        self.remove(cookie).is_some()
    }

    fn remove(&mut self, cookie: &Cookie) -> Option<Entry> {
        let entries = self.domains.get_mut(cookie.domain())?;
        let at = entries.iter().position(|entry| entry.cookie.is_same_as(cookie))?;
        Some(self.remove_at(cookie.domain(), at))
    }

    fn remove_at(&mut self, domain: &str, at: usize) -> Entry {
        let entries = self.domains.get_mut(domain).expect("the domain was just found");
        let entry = entries.remove(at);
        if entries.is_empty() {
            self.domains.remove(domain);
        }
        self.count -= 1;
        entry
    }

    /// 5.7: expired cookies are evicted at once.
    fn remove_expired(&mut self, now: SystemTime) {
        if self.next_expiry.is_none_or(|next| next > now) {
            return;
        }
        self.domains.retain(|_, entries| {
            entries.retain(|entry| !entry.cookie.is_expired(now));
            !entries.is_empty()
        });
        self.count = self.domains.values().map(Vec::len).sum();
        self.next_expiry = self.domains.values().flatten().filter_map(|entry| entry.cookie.expires()).min();
    }

    /// 5.7, "leave secure cookies alone": whether a cookie from an origin in clear would replace or stand before a
    /// Secure one.
    fn shadows_secure(&self, cookie: &Cookie) -> bool {
        let new = cookie.fields();
        let related = |domain: &str| domain_matches(domain, &new.domain) || domain_matches(&new.domain, domain);
        self.domains.iter().filter(|(domain, _)| related(domain)).flat_map(|(_, entries)| entries).any(|entry| {
            let old = entry.cookie.fields();
            old.secure && old.name == new.name && path_matches(&new.path, &old.path)
        })
    }

    /// Of a domain that has too many: what is not Secure first, then what was used longest ago.
    fn evict_from(&mut self, domain: &str) {
        let entries = self.domains.get(domain).into_iter().flatten().enumerate();
        let victim = entries.min_by_key(|(_, entry)| (entry.cookie.secure(), entry.accessed)).map(|(at, _)| at);
        if let Some(at) = victim {
            drop(self.remove_at(domain, at));
        }
    }

    /// Of all: first of domains with more than their share, and there what is not Secure; then what was used longest
    /// ago.
    fn evict(&mut self) {
        let ranked = self.domains.iter().flat_map(|(domain, entries)| {
            let crowded = entries.len() > FAIR_OF_DOMAIN;
            entries.iter().enumerate().map(move |(at, entry)| {
                let rank = match (crowded, entry.cookie.secure()) {
                    (true, false) => 0,
                    (true, true) => 1,
                    (false, _) => 2,
                };
                ((rank, entry.accessed), domain, at)
            })
        });
        if let Some((domain, at)) = ranked.min_by_key(|(rank, ..)| *rank).map(|(_, domain, at)| (domain.clone(), at)) {
            drop(self.remove_at(&domain, at));
        }
    }
}

/// The rules of 5.7 that need no look into the store.
fn accept(parsed: &SetCookie<'_>, url: &Uri, host: &Host, secure_origin: bool) -> Result<Cookie, RefusedCookie> {
    let host_text = host.to_string();
    let domain = str::from_utf8(parsed.domain).ok().filter(|domain| domain.is_ascii());
    let domain = domain.ok_or(RefusedCookie::DomainNotAscii)?.to_ascii_lowercase();
    // An address has nothing below it; naming it is like naming nothing.
    let host_only =
        domain.is_empty() || domain == host_text && (!matches!(host, Host::Domain(_)) || is_public_suffix(&domain));
    if !host_only {
        if is_public_suffix(&domain) {
            return Err(RefusedCookie::PublicSuffix);
        }
        if !domain_matches(&host_text, &domain) {
            return Err(RefusedCookie::ForeignDomain);
        }
    }
    if parsed.secure && !secure_origin {
        return Err(RefusedCookie::SecureInClear);
    }
    let path = match parsed.path {
        Some(path) => String::from_utf8_lossy(path).into(),
        None => default_path(&request_path(url)).into(),
    };
    let cookie = Cookie::new(Fields {
        name: parsed.name.into(),
        value: Zeroizing::new(parsed.value.into()),
        domain: if host_only { host_text } else { domain }.into(),
        path,
        expires: parsed.expires,
        secure: parsed.secure,
        http_only: parsed.http_only,
        host_only,
        same_site: parsed.same_site,
    });
    check_flags(&cookie, parsed.path.is_some())?;
    Ok(cookie)
}

/// The rules about `SameSite` and the prefixes of names, which hold for cookies from files too.
pub(super) fn check_flags(cookie: &Cookie, has_path: bool) -> Result<(), RefusedCookie> {
    let fields = cookie.fields();
    if fields.same_site == Some(SameSite::None) && !fields.secure {
        return Err(RefusedCookie::SameSiteNoneInClear);
    }
    if begins_with(&fields.name, b"__secure-") && !fields.secure {
        return Err(RefusedCookie::SecurePrefix);
    }
    let whole_host = fields.secure && fields.host_only && has_path && &*fields.path == "/";
    if begins_with(&fields.name, b"__host-") && !whole_host {
        return Err(RefusedCookie::HostPrefix);
    }
    let fakes = begins_with(&fields.value, b"__secure-") || begins_with(&fields.value, b"__host-");
    if fields.name.is_empty() && fakes {
        return Err(RefusedCookie::NamelessPrefix);
    }
    Ok(())
}

fn begins_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::date::from_unix;
    use super::*;

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> SystemTime {
        from_unix(1_782_907_200 + seconds)
    }

    fn names(store: &mut Store, ask: &str, now: SystemTime) -> Vec<String> {
        store.matching(&url(ask), now).iter().map(|cookie| cookie.name().into_owned()).collect()
    }

    #[test]
    fn every_refusal_has_its_reason() {
        for (header, from, reason) in [
            ("a=\0", "http://example.org/", RefusedCookie::ControlCharacter),
            ("a=b\r\nX: y", "http://example.org/", RefusedCookie::ControlCharacter),
            ("a=b; Path=/\x7f", "http://example.org/", RefusedCookie::ControlCharacter),
            ("=", "http://example.org/", RefusedCookie::Empty),
            ("a=b", "/no/host", RefusedCookie::NoHost),
            ("a=b; Domain=b\u{fc}.org", "http://example.org/", RefusedCookie::DomainNotAscii),
            ("a=b; Domain=org", "http://example.org/", RefusedCookie::PublicSuffix),
            ("a=b; Domain=other.org", "http://example.org/", RefusedCookie::ForeignDomain),
            ("a=b; Secure", "http://example.org/", RefusedCookie::SecureInClear),
            ("s=b", "http://example.org/", RefusedCookie::WouldReplaceSecure),
            ("a=b; SameSite=None", "https://example.org/", RefusedCookie::SameSiteNoneInClear),
            ("__Secure-a=b", "https://example.org/", RefusedCookie::SecurePrefix),
            ("__Host-a=b; Secure", "https://example.org/", RefusedCookie::HostPrefix),
            ("__Host-a", "https://example.org/", RefusedCookie::NamelessPrefix),
        ] {
            let mut store = Store::default();
            store.set(b"s=1; Secure", &url("https://example.org/"), at(0)).unwrap();
            assert_eq!(store.set(header.as_bytes(), &url(from), at(0)), Err(reason), "{header:?}");
            assert_eq!(store.len(at(0)), 1, "{header:?}");
        }
        let long = [b"a=".as_slice(), &[b'v'; 4096]].concat();
        assert_eq!(Store::default().set(&long, &url("http://a.org/"), at(0)), Err(RefusedCookie::TooLong));
        let tab = Store::default().set(b"a=b\tc", &url("http://a.org/"), at(0));
        assert_eq!(tab, Ok(()), "a tab is no control character here");
    }

    #[test]
    fn a_domain_gives_up_insecure_cookies_first_and_then_the_longest_unused() {
        let mut store = Store::default();
        let here = url("https://example.org/");
        store.set(b"secure=1; Secure", &here, at(0)).unwrap();
        for number in 0..i64::try_from(MAX_OF_DOMAIN - 1).unwrap() {
            let header = format!("c{number}=1; Path=/c{number}");
            store.set(header.as_bytes(), &here, at(1 + number)).unwrap();
        }
        assert_eq!(store.len(at(500)), MAX_OF_DOMAIN);
        // The oldest of all is used, so that the second is now the one unused for longest.
        assert_eq!(names(&mut store, "https://example.org/c0", at(500)), ["c0", "secure"]);
        store.set(b"new=1; Path=/new", &here, at(501)).unwrap();
        assert_eq!(store.len(at(501)), MAX_OF_DOMAIN);
        assert_eq!(names(&mut store, "https://example.org/c1", at(502)), ["secure"]);
        assert_eq!(names(&mut store, "https://example.org/c0", at(502)), ["c0", "secure"]);
        // Secure ones stay while there is another one.
        for number in 0..500 {
            let header = format!("d{number}=1; Path=/d{number}");
            store.set(header.as_bytes(), &here, at(600 + number)).unwrap();
        }
        assert_eq!(names(&mut store, "https://example.org/d499", at(2000)), ["d499", "secure"]);
        assert_eq!(store.len(at(2000)), MAX_OF_DOMAIN);
    }

    #[test]
    fn expired_cookies_go_before_all_others() {
        let mut store = Store::default();
        let here = url("https://example.org/");
        store.set(b"old=1", &here, at(0)).unwrap();
        store.set(b"brief=1; Max-Age=5", &here, at(1)).unwrap();
        for number in 0..MAX_OF_DOMAIN - 2 {
            store.set(format!("c{number}=1").as_bytes(), &here, at(2)).unwrap();
        }
        assert_eq!(store.len(at(5)), MAX_OF_DOMAIN);
        store.set(b"new=1", &here, at(6)).unwrap();
        let left = names(&mut store, "https://example.org/", at(6));
        assert_eq!(left.len(), MAX_OF_DOMAIN);
        assert_eq!(left.first().map(String::as_str), Some("old"));
        assert!(!left.contains(&"brief".to_owned()));
    }

    #[test]
    fn a_full_jar_takes_from_crowded_domains_first() {
        let mut store = Store::default();
        store.set(b"first=1", &url("https://quiet.org/"), at(0)).unwrap();
        store.set(b"secure=1; Secure", &url("https://crowd.org/"), at(1)).unwrap();
        for number in 0..FAIR_OF_DOMAIN + 9 {
            store.set(format!("c{number}=1").as_bytes(), &url("https://crowd.org/"), at(2)).unwrap();
        }
        for number in 0..MAX_IN_ALL - FAIR_OF_DOMAIN - 11 {
            store.set(b"a=1", &url(&format!("https://site{number}.org/")), at(3)).unwrap();
        }
        assert_eq!(store.len(at(4)), MAX_IN_ALL);
        store.set(b"a=1", &url("https://more.org/"), at(5)).unwrap();
        assert_eq!(store.len(at(5)), MAX_IN_ALL);
        assert_eq!(store.domains["crowd.org"].len(), FAIR_OF_DOMAIN + 9);
        assert_eq!(names(&mut store, "https://quiet.org/", at(6)), ["first"]);
        for number in 0..9 {
            store.set(b"a=1", &url(&format!("https://more{number}.org/")), at(7)).unwrap();
        }
        assert_eq!(store.domains["crowd.org"].len(), FAIR_OF_DOMAIN);
        assert!(names(&mut store, "https://crowd.org/", at(8)).contains(&"secure".to_owned()));
        // Nobody has too many now: the longest unused goes, whoever has it.
        store.set(b"a=1", &url("https://last.org/"), at(9)).unwrap();
        assert!(names(&mut store, "https://site0.org/", at(10)).is_empty());
        assert_eq!(store.len(at(10)), MAX_IN_ALL);
    }

    #[test]
    fn what_expires_is_forgotten_at_the_next_look() {
        let mut store = Store::default();
        let cookie = {
            store.set(b"a=1; Max-Age=5", &url("http://a.org/"), at(0)).unwrap();
            store.set(b"b=1; Max-Age=50", &url("http://b.org/"), at(0)).unwrap();
            store.matching(&url("http://a.org/"), at(0)).remove(0)
        };
        assert_eq!(cookie.expires(), Some(at(5)));
        assert!(names(&mut store, "http://c.org/", at(5)).is_empty());
        assert_eq!(store.domains.len(), 1);
        assert_eq!(store.next_expiry, Some(at(0) + Duration::from_secs(50)));
        assert_eq!(store.len(at(50)), 0);
    }

    #[test]
    fn a_secure_cookie_that_has_ended_protects_nothing() {
        let mut store = Store::default();
        store.set(b"a=1; Secure; Max-Age=5", &url("https://a.org/"), at(0)).unwrap();
        assert_eq!(store.set(b"a=2", &url("http://a.org/"), at(4)), Err(RefusedCookie::WouldReplaceSecure));
        assert_eq!(store.set(b"a=2", &url("http://a.org/"), at(5)), Ok(()));
    }

    #[test]
    fn damaged_headers_neither_panic_nor_take_long() {
        let seeds = [
            "id=42; Domain=.example.org; Path=/a; Expires=Fri, 01 Jan 2027 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax",
            "__Host-a=\"b c\"; Path=/; Secure; Max-Age=100",
            "n\u{e9}=v\u{1f980}; Max-Age=-1; Domain=www.example.org",
            "a=b; expires=01-Jan-70 1:2:3",
        ];
        let start = std::time::Instant::now();
        let mut store = Store::default();
        let (here, mut kept) = (url("https://www.example.org/a/b"), 0);
        super::super::mutate::each(&seeds, b";=, \t\".:-0129aZ\0\n\xFF", |header| {
            kept += usize::from(store.set(header, &here, at(0)).is_ok());
            assert!(store.count <= 2 * MAX_OF_DOMAIN);
        });
        assert!(kept > 1000, "most damage is survived: {kept}");
        assert_eq!(store.count, store.domains.values().map(Vec::len).sum::<usize>());
        for cookie in store.matching(&here, at(1)) {
            let fields = cookie.fields();
            assert!(fields.name.len() + fields.value.len() <= 4096 && fields.path.starts_with('/'));
            assert!(http::HeaderValue::from_bytes(&fields.value).is_ok());
        }
        assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
    }
}
