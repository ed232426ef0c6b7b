//! The way to the target: through which proxy, to which addresses. Decides by the settings and the URL; resolves nothing.

use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock};

use http::Uri;
use libc::c_long;

use super::Easy;
use crate::config::{Bracketed, DNS_CACHE, DnsCache, Names, Proxy, ProxyServer, RequestConfig, Resolved, is_host};
use crate::error::{Error, ErrorKind};
use crate::ffi::held::{self, ListOption};
use crate::ffi::options::{self, LongOption, TextOption};
use crate::port::port;

/// The proxy for a URL by these settings.
pub(super) fn choose(config: &RequestConfig, uri: &Uri) -> Result<Option<Arc<ProxyServer>>, Error> {
    if config.sockets.unix.as_ref().is_some_and(Option::is_some) {
        return Ok(None);
    }
    let invalid = |detail| Error::new(ErrorKind::InvalidConfiguration).with_detail(detail);
    let proxy = match &config.proxy {
        Some(Some(proxy)) => Some(proxy),
        None if config.proxy_from_env.unwrap_or(true) => Some(Proxy::of_environment().map_err(invalid)?),
        _ => None,
    };
    Ok(proxy.and_then(|proxy| proxy.choose(uri)).cloned())
}

/// Sends a handle that was just configured, or came another way, through this proxy or through none.
pub(super) fn set(easy: &mut Easy, config: &RequestConfig, proxy: Option<&ProxyServer>) -> Result<(), Error> {
    set_proxy(easy, proxy)
        .and_then(|()| set_connect_to(easy, &config.names, proxy))
        .map_err(|error| Error::new(ErrorKind::InvalidConfiguration).with_source(error))
}

fn set_proxy(easy: &mut Easy, proxy: Option<&ProxyServer>) -> Result<(), curl::Error> {
    const BASIC: c_long = 1;
    const DIGEST: c_long = 2;
    // Empty rather than unset: libcurl does not look at the environment by itself then.
    let url = proxy.map_or_else(String::new, ToString::to_string);
    options::set_text(easy, TextOption::Proxy, Some(&url))?;
    options::set_text(easy, TextOption::NoProxy, Some(""))?;
    let credentials = proxy.and_then(|proxy| proxy.credentials.as_ref());
    options::set_text(easy, TextOption::ProxyUserName, credentials.map(|credentials| credentials.user.as_str()))?;
    options::set_text(easy, TextOption::ProxyPassword, credentials.map(|credentials| credentials.password.as_str()))?;
    options::set_long(easy, LongOption::ProxyAuth, if proxy.is_some_and(|p| p.digest) { DIGEST } else { BASIC })?;
    options::set_long(easy, LongOption::Socks5Auth, BASIC)?;
    options::set_long(easy, LongOption::HttpProxyTunnel, proxy.is_some_and(|p| p.tunnel).into())
}

/// Whether the names of targets are resolved on this side.
fn resolves_here(proxy: Option<&ProxyServer>) -> bool {
    proxy.is_none_or(|proxy| proxy.kind.resolves_here())
}

/// libcurl keeps the addresses of CURLOPT_RESOLVE in the cache that all transfers of a multi handle share, where they
/// would be found by requests with other maps. So they are kept under a name that is made of them, and the
/// connection is made to that name.
fn set_connect_to(easy: &mut Easy, names: &Names, proxy: Option<&ProxyServer>) -> Result<(), curl::Error> {
    let resolve = names.resolve.as_ref().filter(|_| resolves_here(proxy)).map_or(&[][..], |map| &map.0[..]);
    let detours = names.connect_to.as_ref().map_or(&[][..], |to| &to.0[..]);
    let mapped = |host: &str, port: u16| resolve.iter().find(|entry| entry.host == host && entry.port == port);
    held::set_list(easy, ListOption::ConnectTo, |list| {
        for detour in detours {
            let to = match mapped(&detour.to_host, detour.to_port) {
                Some(entry) => stand_in(entry),
                None => Bracketed(&detour.to_host).to_string(),
            };
            let line = format!("{}:{}:{to}:{}", Bracketed(&detour.host), detour.port, detour.to_port);
            list.push(&[line.as_bytes()]);
        }
        for entry in resolve {
            let line = format!("{}:{}:{}:{}", Bracketed(&entry.host), entry.port, stand_in(entry), entry.port);
            list.push(&[line.as_bytes()]);
        }
    })
}

/// Hands the addresses for the next request out, if it has any. libcurl forgets them after the time that it remembers
/// names for, so that maps that are used no more take no room for ever; a request that uses them does not mind their age.
pub(super) fn set_addresses(
    easy: &mut Easy,
    names: &Names,
    uri: &Uri,
    proxy: Option<&ProxyServer>,
) -> Result<(), curl::Error> {
    let Some(map) = names.resolve.as_ref().filter(|map| !map.0.is_empty()) else { return Ok(()) };
    let (host, port) = target(uri);
    let detour = names.connect_to.iter().flat_map(|to| to.0.iter()).find(|to| to.host == host && to.port == port);
    let (host, port) = detour.map_or((&*host, port), |to| (&*to.to_host, to.to_port));
    let entry = map.0.iter().find(|entry| entry.host == host && entry.port == port);
    let Some(entry) = entry.filter(|_| resolves_here(proxy)) else {
        return options::set_long(easy, LongOption::DnsCacheTimeout, cache_time(names));
    };
    options::set_long(easy, LongOption::DnsCacheTimeout, FOREVER)?;
    let mut line = format!("+{}:{port}:", stand_in(entry));
    for (index, address) in entry.addresses.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(line, "{comma}{}", Bracketed(&address.to_string()));
    }
    held::set_list(easy, ListOption::Resolve, |list| list.push(&[line.as_bytes()]))
}

const FOREVER: c_long = -1;

/// For how many seconds libcurl remembers names.
pub(super) fn cache_time(names: &Names) -> c_long {
    match names.cache.unwrap_or(DnsCache::For(DNS_CACHE)) {
        DnsCache::For(time) => c_long::try_from(time.as_secs()).unwrap_or(c_long::MAX).min(i32::MAX.into()),
        DnsCache::Never => 0,
        DnsCache::Forever => FOREVER,
    }
}

/// Host and port of a URL, in the form of the maps.
fn target(uri: &Uri) -> (String, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    (host, port(uri))
}

const STAND_IN_END: &str = ".invalid";
const STAND_IN_DIGITS: usize = 32;

/// What libcurl says, without the names that stand for addresses.
pub(super) fn readable(said: &str) -> String {
    let Some(end) = said.find(STAND_IN_END) else { return said.to_owned() };
    let name = end.checked_sub(STAND_IN_DIGITS).and_then(|start| Some((start, said.get(start..end)?)));
    match name.filter(|(_, name)| name.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some((start, _)) => {
            format!("{}its mapped addresses{}", &said[..start], &said[end + STAND_IN_END.len()..])
        }
        None => said.to_owned(),
    }
}

/// The name under which libcurl keeps the addresses. It cannot be guessed, so nobody can ask for it by a URL.
fn stand_in(entry: &Resolved) -> String {
    static KEYS: OnceLock<[std::hash::RandomState; 2]> = OnceLock::new();
    let keys = KEYS.get_or_init(Default::default);
    // RFC 6761 6.4: no such name exists.
    format!("{:016x}{:016x}{STAND_IN_END}", keys[0].hash_one(entry), keys[1].hash_one(entry))
}

/// Hosts that would change the meaning of libcurl's lists are refused.
pub(super) fn check(names: &Names) -> Result<(), Error> {
    let resolved = names.resolve.iter().flat_map(|map| map.0.iter()).map(|entry| &entry.host);
    let detours = names.connect_to.iter().flat_map(|to| to.0.iter());
    let hosts = resolved.chain(detours.flat_map(|detour| [&detour.host, &detour.to_host]));
    match hosts.into_iter().find(|host| !is_host(host)) {
        Some(host) => Err(Error::new(ErrorKind::InvalidConfiguration)
            .with_detail(format!("`{}` in a map of hosts is not a host", host.escape_debug()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_not_shown() {
        let entry = Resolved { host: "a.test".into(), port: 1, addresses: vec![] };
        let said = format!("Could not resolve host: {}", stand_in(&entry));
        assert_eq!(readable(&said), "Could not resolve host: its mapped addresses");
        for other in ["Could not resolve host: name.invalid", "x", "\u{e9}.invalid"] {
            assert_eq!(readable(other), other);
        }
        assert_ne!(stand_in(&entry), stand_in(&Resolved { port: 2, ..entry.clone() }));
        assert_eq!(stand_in(&entry), stand_in(&entry.clone()));
    }
}
