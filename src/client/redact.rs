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
use crate::config::sounds_secret;

/// What stands in a secret's place.
pub(super) const PLACEHOLDER: &str = "[redacted]";
/// JSON inside of strings of JSON is searched this deep.
const NESTED: usize = 4;
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
        all
    }

    /// The fields as pairs of names and values, in order.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), self.header(name, value))).collect()
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
        let bare = crate::error::without_credentials(uri);
        String::from_utf8_lossy(&self.pairs(bare.as_bytes(), QUERY_ENDS)).into_owned()
    }

    /// A body, by the `Content-Type` of its message.
    pub(super) fn body<'a>(&self, body: &'a [u8], headers: &HeaderMap) -> Cow<'a, [u8]> {
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
        self.fields(&self.pairs(text, TEXT_ENDS)).into()
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

    /// `name=value` wherever a name can begin, and user info after `://`.
    fn pairs(&self, bytes: &[u8], ends: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        let mut may_begin = true;
        while at < bytes.len() {
            if may_begin {
                may_begin = false;
                if let Some(value) = self.secret_pair(&bytes[at..]) {
                    out.extend_from_slice(&bytes[at..at + value]);
                    at += value;
                    let length = bytes[at..].iter().position(|byte| ends.contains(byte)).unwrap_or(bytes.len() - at);
                    if length > 0 {
                        out.extend_from_slice(PLACEHOLDER.as_bytes());
                    }
                    at += length;
                    continue;
                }
            }
            if bytes[at..].starts_with(b"://") {
                let rest = &bytes[at + 3..];
                let end = rest.iter().position(|byte| b"/?#\"'<>\\ \t\r\n".contains(byte)).unwrap_or(rest.len());
                out.extend_from_slice(b"://");
                at += 3 + rest[..end].iter().rposition(|byte| *byte == b'@').map_or(0, |place| place + 1);
                continue;
            }
            out.push(bytes[at]);
            at += 1;
            // JSON may write `&` as \u0026.
            may_begin = !is_of_name(&bytes[at - 1]) || bytes[..at].ends_with(b"\\u0026");
        }
        out
    }

    /// Where the value begins, if these bytes begin with a secret pair.
    fn secret_pair(&self, bytes: &[u8]) -> Option<usize> {
        let end = bytes.iter().position(|byte| !is_of_name(byte))?;
        if end == 0 || bytes[end] != b'=' {
            return None;
        }
        let (name, _) = url::form_urlencoded::parse(&bytes[..end]).next()?;
        self.is_secret_field(&name).then_some(end + 1)
    }

    /// The values of secret names in JSON, or in something like it.
    fn fields(&self, bytes: &[u8]) -> Vec<u8> {
        let clean = self.json(bytes, 0);
        // A quote too many, outside of JSON, hides which strings are names.
        match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => clean,
            Err(_) => self.broken_json(&clean),
        }
    }

    /// `"name":` wherever it stands, and the value after it up to what must end it.
    fn broken_json(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Some(value) = self.secret_name(rest) else {
                out.push(rest[0]);
                at += 1;
                continue;
            };
            out.extend_from_slice(&rest[..value]);
            let rest = &rest[value..];
            at += value;
            match rest.first() {
                Some(b'"') => {
                    out.extend_from_slice(format!("\"{PLACEHOLDER}\"").as_bytes());
                    at += string_length(rest);
                }
                Some(b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                    let end = rest.iter().position(|byte| b",}] \r\n\t".contains(byte)).unwrap_or(rest.len());
                    let plain = matches!(&rest[..end], b"0" | b"true" | b"false" | b"null");
                    out.extend_from_slice(if plain { &rest[..end] } else { b"0" });
                    at += end;
                }
                // An object or a list was seen to before.
                _ => {}
            }
        }
        out
    }

    /// Where the value begins, if these bytes begin with a secret name in quotes and a colon.
    fn secret_name(&self, bytes: &[u8]) -> Option<usize> {
        const LONGEST: usize = 128;
        let inner = bytes.strip_prefix(b"\"")?;
        let end = inner.iter().take(LONGEST).position(|byte| *byte == b'"')?;
        let rest = &inner[end + 1..];
        let blanks = |bytes: &[u8]| bytes.iter().take(LONGEST).take_while(|byte| byte.is_ascii_whitespace()).count();
        let before = blanks(rest);
        let after = blanks(rest.get(before..)?.strip_prefix(b":")?);
        let name = std::str::from_utf8(&inner[..end]).ok()?;
        self.is_secret_field(name).then_some(1 + end + 1 + before + 1 + after)
    }

    /// The values of secret names in well-formed JSON, or in its beginning: strings are replaced, numbers become 0, so that the shape stays.
    fn json(&self, bytes: &[u8], depth: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        // Whether each open object or array is the value of a secret name.
        let mut open: Vec<bool> = Vec::new();
        let mut named_secret = false;
        let mut at = 0;
        while at < bytes.len() {
            let secret = named_secret || open.last() == Some(&true);
            let rest = &bytes[at..];
            let mut length = 1;
            match rest[0] {
                b'"' => {
                    length = string_length(rest);
                    let token = &rest[..length];
                    let blank = rest[length..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                    if rest.get(length + blank) == Some(&b':') {
                        length += blank + 1;
                        out.extend_from_slice(&rest[..length]);
                        named_secret = self.is_secret_field(&unquoted(token));
                    } else {
                        if secret {
                            out.extend_from_slice(format!("\"{PLACEHOLDER}\"").as_bytes());
                        } else {
                            out.extend_from_slice(&self.string(token, depth));
                        }
                        named_secret = false;
                    }
                }
                byte @ (b'{' | b'[') => {
                    open.push(secret);
                    named_secret = false;
                    out.push(byte);
                }
                byte @ (b'}' | b']' | b',') => {
                    if byte != b',' {
                        open.pop();
                    }
                    named_secret = false;
                    out.push(byte);
                }
                byte if secret && (byte == b'-' || byte.is_ascii_alphanumeric()) => {
                    length = rest
                        .iter()
                        .position(|byte| !byte.is_ascii_alphanumeric() && !b"+-._".contains(byte))
                        .unwrap_or(rest.len());
                    let word = &rest[..length];
                    if matches!(word, b"true" | b"false" | b"null") {
                        out.extend_from_slice(word);
                    } else if byte == b'-' || byte.is_ascii_digit() {
                        out.push(b'0');
                    } else {
                        out.extend_from_slice(PLACEHOLDER.as_bytes());
                    }
                }
                byte => out.push(byte),
            }
            at += length;
        }
        out
    }

    /// A string that is no secret itself. It may hold JSON.
    fn string<'a>(&self, token: &'a [u8], depth: usize) -> Cow<'a, [u8]> {
        if depth < NESTED && token.windows(2).any(|two| two == b"\\\"") {
            let inner = unquoted(token);
            let clean = self.json(inner.as_bytes(), depth + 1);
            if clean != inner.as_bytes() {
                let clean = String::from_utf8_lossy(&clean);
                return serde_json::Value::from(clean.as_ref()).to_string().into_bytes().into();
            }
        }
        token.into()
    }

    /// RFC 7578: each part by the name in its `Content-Disposition`.
    fn multipart(&self, body: &[u8], boundary: &[u8]) -> Vec<u8> {
        let mark = [b"--", boundary].concat();
        let mut out = Vec::with_capacity(body.len());
        for (number, part) in split(body, &mark).into_iter().enumerate() {
            if number > 0 {
                out.extend_from_slice(&mark);
            }
            let Some(head) = find(part, b"\r\n\r\n").map(|end| end + 4) else {
                out.extend_from_slice(part);
                continue;
            };
            let (head, content) = part.split_at(head);
            out.extend_from_slice(head);
            let lower = String::from_utf8_lossy(head).to_lowercase();
            let name = lower.split("; name=").nth(1).unwrap_or_default();
            let name = name.strip_prefix('"').and_then(|name| name.split('"').next()).unwrap_or(name);
            if self.is_secret_field(name.split([';', '\r']).next().unwrap_or_default()) {
                out.extend_from_slice(PLACEHOLDER.as_bytes());
                out.extend_from_slice(if content.ends_with(b"\r\n") { b"\r\n" } else { b"" });
            } else if std::str::from_utf8(content).is_ok() {
                out.extend_from_slice(&self.text(content));
            } else {
                out.extend_from_slice(content);
            }
        }
        out
    }
}

/// Whether a byte can be part of a name in a query, a form or prose.
fn is_of_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.~%[]$+!*@".contains(byte)
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

/// The length of the string that these bytes begin with, quotes included; to the end if nothing closes it.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// What a string token of JSON says. One that is malformed says what stands there.
fn unquoted(token: &[u8]) -> String {
    serde_json::from_slice(token).unwrap_or_else(|_| String::from_utf8_lossy(token).trim_matches('"').to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(mut bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(place) = find(bytes, mark) {
        parts.push(&bytes[..place]);
        bytes = &bytes[place + mark.len()..];
    }
    parts.push(bytes);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "CANARY";

    fn body(kind: &str, text: &str) -> String {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        let clean = Redaction::default().body(text.as_bytes(), &headers).into_owned();
        String::from_utf8(clean).unwrap()
    }

    fn json(text: &str) -> String {
        body("application/json", text)
    }

    #[test]
    fn secrets_of_json_are_replaced_and_its_shape_stays() {
        assert_eq!(
            json(r#"{"a": "x", "access_token" : "CANARY","n":1.50}"#),
            r#"{"a": "x", "access_token" : "[redacted]","n":1.50}"#
        );
        assert_eq!(json(r#"{"apiKey":"CANARY\"CANARY","pin":7}"#), r#"{"apiKey":"[redacted]","pin":7}"#);
        assert_eq!(json(r#"{"password":-12.5e3,"b":2}"#), r#"{"password":0,"b":2}"#);
        assert_eq!(
            json(r#"{"session":{"id":"CANARY","on":true,"list":["CANARY",3,null]},"b":"y"}"#),
            r#"{"session":{"id":"[redacted]","on":true,"list":["[redacted]",0,null]},"b":"y"}"#
        );
        assert_eq!(json(r#"{"pass\u0077ord":"CANARY"}"#), r#"{"pass\u0077ord":"[redacted]"}"#);
        assert_eq!(json(r#"{"log":"{\"token\":\"CANARY\"}"}"#), r#"{"log":"{\"token\":\"[redacted]\"}"}"#);
    }

    #[test]
    fn what_is_not_secret_stays_to_the_byte() {
        for text in [
            "",
            "plain & simple? yes; key = 5",
            "<p key=\"a\" data-token='b'>\"quoted\": 5\" x",
            r#"{ "name" : "a\u00e9\n" , "idempotency-key":"k","idempotencyKey":"k", "x":[1e400, 2,{"y":null}]}"#,
            "{\"broken\": [1,2",
            "a=1&b=2",
            "https://example.org/a?b=c&d=e#f",
        ] {
            assert_eq!(json(text), text);
            assert_eq!(body("text/plain", text), text);
        }
        let binary = [0xff, 0xfe, 0, 1];
        assert_eq!(Redaction::default().body(&binary, &HeaderMap::new()).as_ref(), binary);
    }

    #[test]
    fn no_canary_survives_in_any_body() {
        for (kind, text) in [
            ("application/json", r#"{"token":"CANARY"#),
            ("application/json", "{\"a\":1}\n{\"secret\":\"CANARY\"}\n"),
            ("application/json", r#"{"next":"https://h/?a=1&api_key=CANARY"}"#),
            ("application/json", r#"{"next":"https://h/?a=1\u0026api_key=CANARY","b":2}"#),
            ("application/json", r#"{"next":"https://user:CANARY@h/"}"#),
            ("application/json", r#"[{"credentials":["CANARY"]},{"Authorization":"CANARY"},{"Cookie":"CANARY"}]"#),
            ("application/x-www-form-urlencoded", "password=CANARY"),
            ("application/x-www-form-urlencoded", "a=1&client_secret=CANARY;CANARY&b=2"),
            ("application/x-www-form-urlencoded", "a=1&user%5Bpassword%5D=CANARY%20CANARY"),
            ("application/x-www-form-urlencoded", r#"{"password":"CANARY"}"#),
            ("", "access_token=CANARY&scope=all"),
            ("text/plain", r#"a pipe of 5" and {"token":"CANARY"}"#),
            ("text/plain", r#"a pipe of 5" and {"token" : CANARY, "secret":12}"#),
            ("text/plain", "log in with password=CANARY, then leave"),
            ("application/json", r#"{"echo":"api_key=CANARY&b=1"}"#),
            ("text/event-stream", "data: {\"token\":\"CANARY\"}\n\n"),
            ("text/html", r#"<a href="/x?a=1&amp;session=CANARY">x</a> <a href='/y?key=CANARY'>y</a>"#),
            (
                "multipart/form-data; boundary=b0",
                "--b0\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nCANARY\r\nCANARY\r\n--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{\"token\":\"CANARY\"}\r\n--b0--\r\n",
            ),
        ] {
            let clean = body(kind, text);
            assert!(!clean.contains(CANARY), "{kind}: {text} -> {clean}");
            assert!(
                clean.contains(PLACEHOLDER) || clean.contains("https://h/") || clean.contains(": 0,"),
                "{kind}: {text} -> {clean}"
            );
        }
    }

    #[test]
    fn what_was_cleaned_stays_as_it_is() {
        let once = json(r#"{"token":"CANARY","next":"https://h/?a=1&api_key=CANARY"}"#);
        assert_eq!(json(&once), once);
        let rules = Redaction::default();
        let uri: Uri = "http://user:CANARY@h:81/p?token=CANARY&b=1&tok%65n=CANARY".parse().unwrap();
        let clean = rules.url(&uri);
        assert_eq!(clean, "http://h:81/p?token=[redacted]&b=1&tok%65n=[redacted]");
        assert_eq!(rules.url(&clean.parse().unwrap()), clean);
    }

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
