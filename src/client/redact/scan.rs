//! The search for secrets in text: queries and user info of URLs, forms, and JSON. Linear in the text; parses nothing that it
//! would have to write again.

use std::borrow::Cow;

use super::{PLACEHOLDER, Redaction};

/// JSON inside of strings of JSON is searched this deep.
const NESTED: usize = 4;

impl Redaction {
    /// `name=value` wherever a name can begin, and user info after `://`.
    pub(super) fn pairs(&self, bytes: &[u8], ends: &[u8]) -> Vec<u8> {
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
    pub(super) fn fields(&self, bytes: &[u8]) -> Vec<u8> {
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

    /// The values of secret names in well-formed JSON, or in its beginning: strings are replaced, numbers become 0, so that
    /// the shape stays.
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
    pub(super) fn multipart(&self, body: &[u8], boundary: &[u8]) -> Vec<u8> {
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
    use http::Uri;
    use http::header::{CONTENT_TYPE, HeaderMap};

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
    fn any_text_is_searched_without_a_panic() {
        const PIECES: [&str; 24] = [
            "\"", "\"", "\\", "{", "}", "[", "]", ":", ",", "token", "password", "a", "=", "&", "?", " ", "\n", "12",
            "://", "@", "/", "\u{e4}", "#", "--b",
        ];
        let random = &mut fastrand::Rng::with_seed(7);
        let rules = Redaction::default();
        for _ in 0..20_000 {
            let count = random.usize(..30);
            let text: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
            for kind in ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]
            {
                let clean = body(kind, &text);
                assert!(clean.len() <= text.len() * 12, "{text:?}");
            }
            let cut = random.usize(..=text.len());
            rules.text(&text.as_bytes()[cut..]);
        }
    }

    #[test]
    fn json_of_any_shape_keeps_its_shape_and_loses_its_secrets() {
        use serde_json::{Map, Value, json};
        fn make(random: &mut fastrand::Rng, depth: usize, secret: bool) -> Value {
            match random.usize(..if depth == 0 { 4 } else { 6 }) {
                0 => json!(true),
                1 => json!(if secret { 4242 } else { 7 }),
                2 => json!(null),
                3 => json!(if secret { "CANARY \"\\ {[:,&=\n" } else { "open \"\\ {[:,&=\n" }),
                4 => (0..random.usize(..4)).map(|_| make(random, depth - 1, secret)).collect(),
                _ => {
                    let mut fields = Map::new();
                    for name in ["plain", "api_key", "n\"ame", "clientSecret"].into_iter().take(random.usize(..5)) {
                        let secret = secret || ["api_key", "clientSecret"].contains(&name);
                        fields.insert(name.into(), make(random, depth - 1, secret));
                    }
                    fields.into()
                }
            }
        }
        /// What must come out.
        fn expected(value: &Value) -> Value {
            match value {
                Value::String(text) if text.contains(CANARY) => PLACEHOLDER.into(),
                Value::Number(number) if number.as_u64() == Some(4242) => 0.into(),
                Value::Array(items) => items.iter().map(expected).collect(),
                Value::Object(fields) => {
                    fields.iter().map(|(name, value)| (name.clone(), expected(value))).collect::<Map<_, _>>().into()
                }
                other => other.clone(),
            }
        }
        let random = &mut fastrand::Rng::with_seed(11);
        for round in 0..5_000 {
            let value = make(random, 5, false);
            let text = if round % 2 == 0 { value.to_string() } else { serde_json::to_string_pretty(&value).unwrap() };
            let clean = json(&text);
            assert_eq!(serde_json::from_str::<Value>(&clean).unwrap(), expected(&value), "{text}");
            assert_eq!(json(&clean), clean);
        }
    }
}
