//! Which names usually stand for secrets, and texts without what they hold. Knows no policy; hides, and decides nothing.

#[cfg(any(feature = "script", feature = "record"))]
use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{COOKIE, HeaderName, HeaderValue, InvalidHeaderValue, SET_COOKIE};
use http::uri::Authority;
use http::{HeaderMap, Uri};
use zeroize::Zeroizing;

/// Whether a header, a field or a parameter of this name usually carries a key. The name is lower case.
pub(crate) fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 13] = [
        "auth",
        "authorization",
        "authentication",
        "bearer",
        "jwt",
        "key",
        "signature",
        "sig",
        "session",
        "sessionid",
        "pwd",
        "credential",
        "credentials",
    ];
    const PARTS: [&str; 6] = ["token", "secret", "password", "passphrase", "passwd", "apikey"];
    // It protects a request from being done twice, and nothing from being seen.
    name != "idempotency-key"
        && (name.split(['-', '_']).any(|word| WORDS.contains(&word)) || PARTS.iter().any(|part| name.contains(part)))
}

/// The user with the password, if there are any, and the host with the port (RFC 3986 3.2).
pub(crate) fn split_user(authority: &str) -> (Option<&str>, &str) {
    authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host))
}

/// The same of a URL; nothing where it has no authority.
pub(crate) fn user_and_host(url: &Uri) -> (Option<&str>, &str) {
    split_user(url.authority().map_or("", Authority::as_str))
}

/// `scheme://host:port/path?query`, with user and password left out.
pub(crate) fn without_credentials(url: &Uri) -> String {
    let text = url.to_string();
    match user_and_host(url) {
        (Some(user), host) => text.replacen(&format!("{user}@{host}"), host, 1),
        (None, _) => text,
    }
}

/// The URL without user and password, and without the values of parameters that usually are secrets.
pub(crate) fn without_secrets(url: &Uri) -> String {
    let text = without_credentials(url);
    let Some((path, query)) = text.split_once('?') else { return text };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if sounds_secret(&decoded(name)) => format!("{name}=REDACTED"),
        _ => pair.to_owned(),
    };
    let query: Vec<_> = query.split('&').map(hide).collect();
    format!("{path}?{}", query.join("&"))
}

/// The name of a parameter as a server reads it, in lower case.
fn decoded(name: &str) -> String {
    let read = url::form_urlencoded::parse(name.as_bytes()).next();
    read.map(|(name, _)| name.to_ascii_lowercase()).unwrap_or_default()
}

/// The value of a header that is overwritten when its last copy is dropped, and marked as sensitive.
pub(crate) fn secret_value(text: Zeroizing<Vec<u8>>) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Texts that are secret wherever they stand, and what stands in their place. Part of a request as an extension, so that
/// whatever records it leaves them out.
#[cfg(any(feature = "script", feature = "record"))]
#[cfg_attr(not(feature = "script"), allow(dead_code, reason = "scripts fill it, recorders look into it"))]
#[derive(Clone, Default)]
pub(crate) struct Concealed(Vec<(Zeroizing<Vec<u8>>, String)>);

#[cfg(any(feature = "script", feature = "record"))]
#[cfg_attr(not(feature = "script"), allow(dead_code, reason = "as above"))]
impl Concealed {
    /// Shorter texts stand in too much that is no secret.
    const SHORTEST: usize = 4;

    /// Adds a text and the forms that it has in JSON and in URLs.
    pub(crate) fn add(&mut self, text: &str, name: &str) {
        let escaped = Zeroizing::new(text.replace('\\', "\\\\").replace('"', "\\\""));
        let url = Zeroizing::new(url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
        for form in [text, escaped.as_str(), url.as_str()] {
            let known = self.0.iter().any(|(own, _)| **own == form.as_bytes());
            if form.len() >= Self::SHORTEST && !known {
                self.0.push((Zeroizing::new(form.as_bytes().to_vec()), name.to_owned()));
            }
        }
        // What holds another goes first.
        self.0.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same without the texts.
    pub(crate) fn scrub<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut clean = Cow::Borrowed(bytes);
        for (text, name) in &self.0 {
            let mut found = find(&clean, text);
            if found.is_none() {
                continue;
            }
            let (mut rest, mut out) = (&*clean, Vec::with_capacity(clean.len()));
            while let Some(at) = found {
                out.extend_from_slice(&rest[..at]);
                out.extend_from_slice(name.as_bytes());
                rest = &rest[at + text.len()..];
                found = find(rest, text);
            }
            out.extend_from_slice(rest);
            clean = out.into();
        }
        clean
    }

    /// How many of the last bytes could be the beginning of one of the texts.
    pub(crate) fn begun(&self, bytes: &[u8]) -> usize {
        let begun = |text: &Zeroizing<Vec<u8>>| {
            let most = (text.len() - 1).min(bytes.len());
            (1..=most).rev().find(|length| text.starts_with(&bytes[bytes.len() - length..])).unwrap_or(0)
        };
        self.0.iter().map(|(text, _)| begun(text)).max().unwrap_or(0)
    }
}

#[cfg(any(feature = "script", feature = "record"))]
impl fmt::Debug for Concealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, name)| name)).finish()
    }
}

#[cfg(any(feature = "script", feature = "record"))]
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    let last = bytes.len().checked_sub(text.len())?;
    (0..=last).find(|at| bytes[*at] == first && bytes[*at..].starts_with(text))
}

/// Headers for `Debug`: without the values that are marked as sensitive, whose name sounds so or is in the list.
pub(crate) struct Shown<'a>(pub(crate) &'a HeaderMap, pub(crate) &'a [HeaderName]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            if *name == COOKIE || *name == SET_COOKIE || sounds_secret(name.as_str()) || self.1.contains(name) {
                map.entry(name, &format_args!("REDACTED"));
            } else {
                // A value that is marked hides itself.
                map.entry(name, value);
            }
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_headers_are_shown_without_their_secrets() {
        let url =
            "https://u:c4nary@a.test/p?page=1&api_key=c4nary&X-Amz-Signature=c4nary&Token=c4nary&api%5Fkey=c4nary"
                .parse()
                .unwrap();
        let shown = without_secrets(&url);
        assert!(shown.starts_with("https://a.test/p?page=1&api_key=REDACTED") && !shown.contains("c4nary"), "{shown}");
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "set-cookie", "x-api-key", "x-marked"] {
            headers.insert(name, "c4nary".parse().unwrap());
        }
        headers.get_mut("x-marked").unwrap().set_sensitive(true);
        headers.insert("accept", "text/plain".parse().unwrap());
        let shown = format!("{:?}", Shown(&headers, &[]));
        assert!(shown.contains("text/plain") && !shown.contains("c4nary"), "{shown}");
    }

    #[test]
    fn a_secret_value_is_kept_where_it_is_overwritten() {
        let text = Zeroizing::new(b"Bearer c4nary".to_vec());
        let place = text.as_ptr();
        let value = secret_value(text).unwrap();
        assert_eq!((value.as_bytes(), value.is_sensitive()), (&b"Bearer c4nary"[..], true));
        assert_eq!(value.clone().as_bytes().as_ptr(), place, "it is not copied to a place that nobody clears");
        assert!(secret_value(Zeroizing::new(b"a\r\nb".to_vec())).is_err());
    }

    #[cfg(any(feature = "script", feature = "record"))]
    #[test]
    fn concealed_texts_are_taken_out_in_all_their_forms() {
        let mut concealed = Concealed::default();
        concealed.add("c4n\"ry &x", "[secret A]");
        concealed.add("abc", "[too short]");
        let text = b"1 c4n\"ry &x 2 c4n\\\"ry &x 3 c4n%22ry+%26x 4 c4n abc";
        let clean = concealed.scrub(text);
        let expected = "1 [secret A] 2 [secret A] 3 [secret A] 4 c4n abc";
        assert_eq!(String::from_utf8_lossy(&clean), expected);
        assert!(matches!(concealed.scrub(b"nothing"), Cow::Borrowed(_)));
        assert_eq!((concealed.begun(b"xx c4n"), concealed.begun(b"c4n."), concealed.begun(b"")), (3, 0, 0));
        assert_eq!(format!("{concealed:?}").matches("c4n").count(), 0);
    }

    #[test]
    fn keys_are_told_from_other_words() {
        for name in ["x-api-key", "api_key", "authorization", "x-amz-signature", "sig", "client_secret", "accesstoken"]
        {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["accept", "author", "x-author", "idempotency-key", "monkey", "keyboard", "design", "page"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
