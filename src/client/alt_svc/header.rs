//! The `Alt-Svc` header (RFC 7838 3). Pure: the time is a parameter.

use std::time::{Duration, SystemTime};

use url::Host;

use super::{Alternative, MAX_ALTERNATIVES, Service};
use crate::client::lexer::{Lexer, members, seconds};

/// RFC 7838 3.1: what is meant by no `ma`.
const DEFAULT_AGE: u64 = 86_400;
/// Servers may ask for more.
const MAX_AGE: u64 = 400 * 86_400;
/// RFC 7838 3. Members that cannot be read are skipped. `None` if nothing can be read, an empty list for `clear` and
/// for alternatives that have ended.
pub(super) fn parse<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    host: &str,
    age: u64,
    now: SystemTime,
) -> Option<Vec<Service>> {
    let mut services: Option<Vec<Service>> = None;
    for member in fields.flat_map(members) {
        if member == b"clear" {
            return Some(Vec::new());
        }
        let Some((alternative, max_age, persist)) = parse_member(member, host) else { continue };
        let services = services.get_or_insert_default();
        let left = max_age.min(MAX_AGE).saturating_sub(age);
        let known = services.iter().any(|service| service.alternative == alternative);
        if left > 0 && !known && services.len() < MAX_ALTERNATIVES {
            let expires = now.checked_add(Duration::from_secs(left)).unwrap_or(now);
            services.push(Service { alternative, expires, persist });
        }
    }
    services
}

/// `h2="alt.example:443"; ma=3600; persist=1`
fn parse_member(member: &[u8], host: &str) -> Option<(Alternative, u64, bool)> {
    let mut lexer = Lexer::new(member);
    let protocol = percent_decoded(lexer.token()?)?;
    let authority = if lexer.eat(b'=') { lexer.quoted()? } else { return None };
    let (other_host, port) = authority.rsplit_once(':')?;
    let port = seconds(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
    let host = if other_host.is_empty() { host.to_owned() } else { Host::parse(other_host).ok()?.to_string() };

    let (mut max_age, mut persist) = (DEFAULT_AGE, false);
    while !lexer.is_at_end() {
        if !lexer.eat(b';') {
            return None;
        }
        if lexer.is_at_end() {
            break;
        }
        let name = lexer.token()?;
        let value = if lexer.eat(b'=') { lexer.value()? } else { return None };
        match name.to_ascii_lowercase().as_str() {
            "ma" => max_age = seconds(&value)?,
            // 3.1: values other than 1 mean nothing.
            "persist" => persist = value == "1",
            _ => {}
        }
    }
    Some((Alternative { protocol, host, port }, max_age, persist))
}

/// RFC 7838 3: bytes that a token cannot hold are written as `%` and two hexadecimal digits. A name has 255 bytes at
/// most.
fn percent_decoded(token: &str) -> Option<String> {
    let mut bytes = token.bytes();
    let mut decoded = Vec::with_capacity(token.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit()? * 16 + digit()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().filter(|name| name.len() <= 255)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookies::date::from_unix;

    fn at(seconds: i64) -> SystemTime {
        from_unix(1_782_907_200 + seconds)
    }

    fn parsed(header: &str) -> Option<Vec<String>> {
        let services = parse([header.as_bytes()].into_iter(), "origin.example", 0, at(0))?;
        let line = |service: Service| {
            let Service { alternative: Alternative { protocol, host, port }, expires, persist } = service;
            let left = expires.duration_since(at(0)).unwrap().as_secs();
            format!("{protocol} {host} {port} {left} {persist}")
        };
        Some(services.into_iter().map(line).collect())
    }

    #[test]
    fn headers_are_read_by_the_letter() {
        let day = "86400 false";
        for (header, expected) in [
            ("h2=\":443\"", Some(vec![format!("h2 origin.example 443 {day}")])),
            ("h2=\"Alt.Example:8443\"; ma=3600; persist=1", Some(vec!["h2 alt.example 8443 3600 true".into()])),
            (
                "h3=\":1\";MA=\"60\" , h2=\"a:2\" ;persist=2;x=\"y,;\"",
                Some(vec!["h3 origin.example 1 60 false".into(), format!("h2 a 2 {day}")]),
            ),
            ("h2=\"[::1]:443\"", Some(vec![format!("h2 [::1] 443 {day}")])),
            ("h%32=\":443\"", Some(vec![format!("h2 origin.example 443 {day}")])),
            ("w%3D%3Ax%25%2F%23=\":443\"", Some(vec![format!("w=:x%/# origin.example 443 {day}")])),
            ("http%2F1.1=\":443\"", Some(vec![format!("http/1.1 origin.example 443 {day}")])),
            ("h2=\":443\"; ma=99999999999999999999", Some(vec!["h2 origin.example 443 34560000 false".into()])),
            ("h2=\":443\", h2=\":443\"; ma=5", Some(vec![format!("h2 origin.example 443 {day}")])),
            ("bad, h2=\":443\", h3=443", Some(vec![format!("h2 origin.example 443 {day}")])),
            ("h2=\"\\:443\"", Some(vec![format!("h2 origin.example 443 {day}")])),
            ("clear", Some(vec![])),
            (" clear ", Some(vec![])),
            ("h2=\":443\"; ma=0", Some(vec![])),
            ("CLEAR", None),
            ("", None),
            (",,", None),
            ("h2", None),
            ("h2=", None),
            ("h2=:443", None),
            ("h2=\"443\"", None),
            ("h2=\":443", None),
            ("h2=\":0\"", None),
            ("h2=\":65536\"", None),
            ("h2=\":+443\"", None),
            ("h2=\"user@host:443\"", None),
            ("h2=\"a b:443\"", None),
            ("h2=\":443\" ma=5", None),
            ("h2=\":443\"; ma", None),
            ("h2=\":443\"; ma=soon", None),
            ("h%2=\":443\"", None),
            ("h%zz=\":443\"", None),
            ("%ff=\":443\"", None),
            ("=\":443\"", None),
        ] {
            assert_eq!(parsed(header), expected, "{header}");
        }
        let many = (1..50).map(|port| format!("h2=\":{port}\"")).collect::<Vec<_>>().join(",");
        assert_eq!(parsed(&many).unwrap().len(), MAX_ALTERNATIVES);
    }

    #[test]
    fn damaged_headers_neither_panic_nor_take_long() {
        let seeds = [
            "h2=\"alt.example:443\"; ma=3600; persist=1",
            "h3=\":443\"; ma=86400, h3-29=\":443\"; ma=86400, http%2F1.1=\"[::1]:80\"",
            "clear",
        ];
        let (start, mut valid) = (std::time::Instant::now(), 0);
        crate::cookies::mutate::each(&seeds, b",;=\"\\ \t:%0a[", |header| {
            let services = parse([header].into_iter(), "origin.example", 0, at(0)).unwrap_or_default();
            assert!(services.len() <= MAX_ALTERNATIVES);
            assert!(services.iter().all(|service| service.alternative.port > 0 && service.expires > at(0)));
            valid += usize::from(!services.is_empty());
        });
        assert!(valid > 100, "{valid}");
        assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
    }
}
