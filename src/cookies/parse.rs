//! The lenient reader of `Set-Cookie` (RFC 6265bis 5.6). Pure: the time is a parameter, and the URL plays no part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cookie::SameSite;
use super::date::parse_cookie_date;
use super::refused::RefusedCookie;

/// Name and value together, in bytes (5.6).
pub(super) const MAX_NAME_AND_VALUE: usize = 4096;
/// Longer attribute values are skipped with their attribute, in bytes (5.6).
pub(super) const MAX_ATTRIBUTE: usize = 1024;
/// No cookie lives longer (5.5).
pub(super) const MAX_AGE: Duration = Duration::from_secs(400 * 86_400);

/// What a header says, before any rule about the URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// From Max-Age, or else from Expires.
    pub(super) expires: Option<SystemTime>,
    /// Without one leading dot; empty is like none.
    pub(super) domain: &'a [u8],
    /// Begins with a slash. `None`: the default path.
    pub(super) path: Option<&'a [u8]>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: Option<SameSite>,
}

pub(super) fn parse(header: &[u8], now: SystemTime) -> Result<SetCookie<'_>, RefusedCookie> {
    if has_control(header) {
        return Err(RefusedCookie::ControlCharacter);
    }
    let mut parts = header.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    let (name, value) = halves(pair).unwrap_or((b"", trim(pair)));
    check_pair(name, value)?;

    let mut cookie = SetCookie { name, value, ..SetCookie::default() };
    let (mut max_age, mut expires) = (None, None);
    for part in parts {
        let (attribute, value) = halves(part).unwrap_or((trim(part), b""));
        if value.len() > MAX_ATTRIBUTE {
            continue;
        }
        // The last one of a name counts, if it makes sense.
        match attribute.to_ascii_lowercase().as_slice() {
            b"expires" => expires = parse_cookie_date(value).or(expires),
            b"max-age" => max_age = parse_max_age(value).or(max_age),
            b"domain" => cookie.domain = value.strip_prefix(b".").unwrap_or(value),
            b"path" => cookie.path = value.starts_with(b"/").then_some(value),
            b"secure" => cookie.secure = true,
            b"httponly" => cookie.http_only = true,
            b"samesite" => cookie.same_site = parse_same_site(value),
            _ => {}
        }
    }
    cookie.expires = match max_age {
        Some(age) if age.is_zero() => Some(UNIX_EPOCH),
        Some(age) => Some(now.checked_add(age).unwrap_or(now)),
        None => expires.map(|expires| capped(expires, now)),
    };
    Ok(cookie)
}

/// What holds of name and value wherever they come from.
pub(super) fn check_pair(name: &[u8], value: &[u8]) -> Result<(), RefusedCookie> {
    if has_control(name) || has_control(value) {
        return Err(RefusedCookie::ControlCharacter);
    }
    if name.is_empty() && value.is_empty() {
        return Err(RefusedCookie::Empty);
    }
    if name.len() + value.len() > MAX_NAME_AND_VALUE {
        return Err(RefusedCookie::TooLong);
    }
    Ok(())
}

/// The end of a cookie's life, at most 400 days from now.
pub(super) fn capped(expires: SystemTime, now: SystemTime) -> SystemTime {
    now.checked_add(MAX_AGE).map_or(expires, |latest| expires.min(latest))
}

/// All control characters but the tab, which 5.6 lets pass.
pub(super) fn has_control(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// The text around the first `=`, both sides trimmed.
fn halves(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    Some((trim(&text[..at]), trim(&text[at + 1..])))
}

/// Without spaces and tabs at both ends.
fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}

/// `None` if the attribute is to be skipped; zero for the past.
fn parse_max_age(value: &[u8]) -> Option<Duration> {
    let (past, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if past {
        return Some(Duration::ZERO);
    }
    let seconds =
        digits.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_secs(seconds).min(MAX_AGE))
}

/// An unknown word is like none.
pub(super) fn parse_same_site(value: &[u8]) -> Option<SameSite> {
    match value.to_ascii_lowercase().as_slice() {
        b"strict" => Some(SameSite::Strict),
        b"lax" => Some(SameSite::Lax),
        b"none" => Some(SameSite::None),
        _ => None,
    }
}
