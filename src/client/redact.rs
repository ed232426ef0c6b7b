//! Secrets are taken out of what is about to be written to a file. Pure: writes nothing, and finds secrets by names alone.
//!
//! A value is replaced if its name sounds secret, or is on the caller's list, and is not on the list of those to keep. Bodies
//! are searched as bytes, not parsed: what is no well-formed JSON is searched all the same, and what holds no secret stays
//! as it is to the byte.

use std::borrow::Cow;

use http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, SET_COOKIE,
};
use http::{Extensions, Uri};

use super::interceptor::Next;
use crate::secret::{Concealed, sounds_secret};

mod scan;

/// What stands in a secret's place.
pub(super) const PLACEHOLDER: &str = "[redacted]";
/// What ends a value in the query of a URL that stands in other text.
const TEXT_ENDS: &[u8] = b"&#\"'<>\\ \t\r\n";
/// What ends a value of a form, or of a query that stands alone.
const QUERY_ENDS: &[u8] = b"&#";

/// Which values are secret beside those whose names say so. Names are lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Redaction {
    headers: Vec<String>,
    kept_headers: Vec<String>,
    fields: Vec<String>,
    kept_fields: Vec<String>,
    /// Texts that the request says are secret.
    concealed: Concealed,
}

/// The methods by which a caller changes what is secret, for a builder with a field `redaction`.
macro_rules! redaction_methods {
    () => {
        /// Replaces the values of this header too.
        pub fn redact_header(mut self, name: impl AsRef<str>) -> Self {
            self.redaction.redact_header(name.as_ref());
            self
        }

        /// Writes this header as it is, although its name sounds secret. A value that is marked as sensitive is replaced
        /// all the same.
        pub fn keep_header(mut self, name: impl AsRef<str>) -> Self {
            self.redaction.keep_header(name.as_ref());
            self
        }

        /// Replaces the values of this field too, in URL queries, forms and JSON.
        pub fn redact_field(mut self, name: impl AsRef<str>) -> Self {
            self.redaction.redact_field(name.as_ref());
            self
        }

        /// Writes this field of URL queries, forms and JSON as it is, although its name sounds secret.
        pub fn keep_field(mut self, name: impl AsRef<str>) -> Self {
            self.redaction.keep_field(name.as_ref());
            self
        }
    };
}
pub(super) use redaction_methods;

impl Redaction {
    pub(super) fn redact_header(&mut self, name: &str) {
        self.headers.push(name.to_ascii_lowercase());
    }

    pub(super) fn keep_header(&mut self, name: &str) {
        self.kept_headers.push(name.to_ascii_lowercase());
    }

    pub(super) fn redact_field(&mut self, name: &str) {
        self.fields.push(name.to_lowercase());
    }

    pub(super) fn keep_field(&mut self, name: &str) {
        self.kept_fields.push(name.to_lowercase());
    }

    /// The same, and the headers that the request's settings call secret.
    pub(super) fn of_request(&self, next: &Next<'_>, extensions: &Extensions) -> Self {
        let secret = next.settings(extensions).get(|config| config.secret_headers.as_ref());
        let mut all = self.clone();
        all.headers.extend(secret.into_iter().flatten().map(|name| name.as_str().to_owned()));
        all.concealed = extensions.get::<Concealed>().cloned().unwrap_or_default();
        all
    }

    /// The fields as pairs of names and values, in order.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
        let clean = |name, value| self.concealed.scrub(&self.header(name, value)).into_owned();
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), clean(name, value))).collect()
    }

    fn header(&self, name: &HeaderName, value: &HeaderValue) -> Vec<u8> {
        let text = name.as_str();
        let secret = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
            || sounds_secret(text)
            || self.headers.iter().any(|listed| listed == text);
        let kept = self.kept_headers.iter().any(|listed| listed == text);
        match value.as_bytes() {
            _ if value.is_sensitive() => PLACEHOLDER.into(),
            bytes if !secret || kept => self.text(bytes).into_owned(),
            // Which cookies there are, and their attributes, is worth knowing; what they hold is not.
            bytes if *name == COOKIE => {
                bytes.split(|byte| *byte == b';').map(cookie).collect::<Vec<_>>().join(&b"; "[..])
            }
            bytes if *name == SET_COOKIE => {
                let end = bytes.iter().position(|byte| *byte == b';').unwrap_or(bytes.len());
                [&cookie(&bytes[..end]), &bytes[end..]].concat()
            }
            _ => PLACEHOLDER.into(),
        }
    }

    /// The URL without user and password, and without the secrets of its query.
    pub(super) fn url(&self, uri: &Uri) -> String {
        let bare = crate::secret::without_credentials(uri);
        String::from_utf8_lossy(&self.pairs(bare.as_bytes(), QUERY_ENDS)).into_owned()
    }

    /// A body, by the `Content-Type` of its message.
    pub(super) fn body<'a>(&self, body: &'a [u8], headers: &HeaderMap) -> Cow<'a, [u8]> {
        match self.concealed.scrub(body) {
            Cow::Borrowed(body) => self.named_in_body(body, headers),
            Cow::Owned(body) => self.named_in_body(&body, headers).into_owned().into(),
        }
    }

    /// The body without what its names say is secret.
    fn named_in_body<'a>(&self, body: &'a [u8], headers: &HeaderMap) -> Cow<'a, [u8]> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(boundary) = boundary(kind) {
            return self.multipart(body, boundary.as_bytes()).into();
        }
        let lower = kind.to_ascii_lowercase();
        if lower.starts_with("application/x-www-form-urlencoded") {
            // Clients err about types: a form that is JSON in truth is searched as that too.
            return self.fields(&self.pairs(body, QUERY_ENDS)).into();
        }
        if lower.contains("json") || std::str::from_utf8(body).is_ok() { self.text(body) } else { body.into() }
    }

    /// Any text: fields of JSON, and queries and user info of URLs, wherever they stand.
    pub(super) fn text<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if text.is_empty() {
            return text.into();
        }
        self.fields(&self.pairs(&self.concealed.scrub(text), TEXT_ENDS)).into()
    }

    fn is_secret_field(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        if self.kept_fields.contains(&lower) {
            return false;
        }
        if self.fields.contains(&lower) || matches!(lower.as_str(), "cookie" | "set-cookie" | "pass" | "pwd" | "sig") {
            return true;
        }
        // `apiKey` and `user[session.id]` are words as `api_key` is.
        let mut words = String::new();
        let mut before = '_';
        for letter in name.chars() {
            if letter.is_uppercase() && before.is_lowercase() {
                words.push('_');
            }
            match letter {
                letter if letter.is_alphanumeric() => words.extend(letter.to_lowercase()),
                _ => words.push(if words.contains('-') { '-' } else { '_' }),
            }
            before = letter;
        }
        words != "idempotency_key" && (sounds_secret(&words) || sounds_secret(&lower))
    }
}

/// `name=value` with the value replaced.
fn cookie(pair: &[u8]) -> Vec<u8> {
    let pair = pair.trim_ascii();
    match pair.iter().position(|byte| *byte == b'=') {
        Some(end) => [&pair[..=end], PLACEHOLDER.as_bytes()].concat(),
        None => PLACEHOLDER.into(),
    }
}

/// The boundary of a multipart type.
pub(super) fn boundary(kind: &str) -> Option<&str> {
    let lower = kind.to_ascii_lowercase();
    let place = lower.strip_prefix("multipart/").and_then(|_| lower.find("boundary="))? + "boundary=".len();
    let rest = &kind[place..];
    let boundary = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(';').next()?.trim(),
    };
    Some(boundary).filter(|boundary| !boundary.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "CANARY";

    #[test]
    fn secrets_of_headers_are_replaced() {
        let mut rules = Redaction::default();
        rules.redact_header("X-Mine");
        rules.keep_header("X-Public-Key");
        let mut headers = HeaderMap::new();
        let mut marked = HeaderValue::from_static(CANARY);
        marked.set_sensitive(true);
        headers.append("x-marked", marked);
        for (name, value) in [
            ("authorization", "Bearer CANARY"),
            ("proxy-authorization", "Basic CANARY"),
            ("cookie", "sid=CANARY; theme=CANARY;CANARY"),
            ("set-cookie", "sid=CANARY; Path=/; HttpOnly"),
            ("x-api-key", CANARY),
            ("x-amz-security-token", CANARY),
            ("x-mine", CANARY),
            ("location", "https://user:CANARY@h/cb?code=1&access_token=CANARY#id_token=CANARY"),
            ("link", "</x?token=CANARY>; rel=next"),
            ("x-public-key", "open"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let clean = rules.headers(&headers);
        let value = |name: &str| {
            clean.iter().find(|(have, _)| have == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        for (name, value) in &clean {
            assert!(!String::from_utf8_lossy(value).contains(CANARY), "{name}: {value:?}");
        }
        assert_eq!(value("set-cookie").unwrap(), "sid=[redacted]; Path=/; HttpOnly");
        assert_eq!(value("cookie").unwrap(), "sid=[redacted]; theme=[redacted]; [redacted]");
        assert_eq!(value("location").unwrap(), "https://h/cb?code=1&access_token=[redacted]#id_token=[redacted]");
        assert_eq!(value("x-public-key").unwrap(), "open");
        assert_eq!(value("accept").unwrap(), "*/*");
    }

    #[test]
    fn the_callers_lists_win_over_the_names() {
        let mut rules = Redaction::default();
        rules.redact_field("SSN");
        rules.keep_field("page_token");
        let clean = rules.text(br#"{"ssn":"CANARY","page_token":"p2"} /?ssn=CANARY&page_token=p3"#).into_owned();
        assert_eq!(
            String::from_utf8(clean).unwrap(),
            r#"{"ssn":"[redacted]","page_token":"p2"} /?ssn=[redacted]&page_token=p3"#
        );
    }
}
