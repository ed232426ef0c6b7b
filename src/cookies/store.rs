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
