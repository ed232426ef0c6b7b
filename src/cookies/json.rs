//! Cookies as JSON; the schema is told at `CookieJar::save_json`. Does no input or output.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::cookie::{Cookie, Fields, SameSite};
use super::date::{from_unix, to_unix};
use super::file::{self, Saved, Unchecked};
use super::parse::parse_same_site;
use crate::error::{Error, ErrorKind};

const VERSION: u64 = 1;

pub(super) fn write(cookies: &[(Cookie, SystemTime)]) -> Zeroizing<Vec<u8>> {
    // JSON makes a byte six at the most. Made large enough at once: a vector that grows would leave copies behind.
    let size = cookies.iter().map(|(cookie, _)| {
        let fields = cookie.fields();
        6 * (fields.name.len() + fields.value.len() + fields.domain.len() + fields.path.len()) + 256
    });
    let mut text = Zeroizing::new(Vec::with_capacity(64 + size.sum::<usize>()));
    text.extend_from_slice(format!("{{\"version\": {VERSION}, \"cookies\": [").as_bytes());
    for (index, (cookie, created)) in cookies.iter().enumerate() {
        text.extend_from_slice(if index == 0 { b"\n{" } else { b",\n{" });
        let fields = cookie.fields();
        member(&mut text, "name", &fields.name);
        member(&mut text, "value", &fields.value);
        member(&mut text, "domain", fields.domain.as_bytes());
        member(&mut text, "path", fields.path.as_bytes());
        if let Some(same_site) = fields.same_site {
            member(&mut text, "same_site", word(same_site).as_bytes());
        }
        if let Some(expires) = fields.expires {
            text.extend_from_slice(format!("\"expires\": {}, ", to_unix(expires)).as_bytes());
        }
        let Fields { host_only, secure, http_only, .. } = fields;
        let rest = format!(
            "\"host_only\": {host_only}, \"secure\": {secure}, \"http_only\": {http_only}, \"created\": {}}}",
            to_unix(*created)
        );
        text.extend_from_slice(rest.as_bytes());
    }
    text.extend_from_slice(b"\n]}\n");
    text
}

fn member(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    let (suffix, value) = match str::from_utf8(value) {
        Ok(value) => ("", Zeroizing::new(Value::from(value).to_string())),
        Err(_) => ("_base64", Zeroizing::new(format!("\"{}\"", STANDARD.encode(value)))),
    };
    text.extend_from_slice(format!("\"{name}{suffix}\": ").as_bytes());
    text.extend_from_slice(value.as_bytes());
    text.extend_from_slice(b", ");
}

fn word(same_site: SameSite) -> &'static str {
    match same_site {
        SameSite::Strict => "strict",
        SameSite::Lax => "lax",
        SameSite::None => "none",
    }
}

pub(super) fn read(text: &[u8], now: SystemTime) -> Result<Vec<Saved>, Error> {
    // The message of the parser names the line, and no text of it.
    let wrong = |why: &str| Error::new(ErrorKind::InvalidConfiguration).with_detail(format!("the cookies: {why}"));
    let file: Value =
        serde_json::from_slice(text).map_err(|error| file::bad("line", error.line(), "this is not valid JSON"))?;
    let Value::Object(mut file) = file else { return Err(wrong("not an object")) };
    if file.get("version").and_then(Value::as_u64) != Some(VERSION) {
        return Err(wrong("`version` is not 1"));
    }
    let Some(Value::Array(list)) = file.remove("cookies") else { return Err(wrong("`cookies` is not a list")) };
    let mut cookies = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let read = read_cookie(value, now);
        let saved = read.and_then(|read| file::check(read, now)).map_err(|why| file::bad("cookie", index + 1, why))?;
        cookies.extend(saved);
    }
    Ok(cookies)
}

fn read_cookie(value: Value, now: SystemTime) -> Result<Unchecked, String> {
    let Value::Object(mut object) = value else { return Err("this is not an object".to_owned()) };
    let flag = |name: &str| match object.get(name) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("`{name}` is neither true nor false")),
    };
    let time = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(from_unix).map(Some).ok_or_else(|| format!("`{name}` is not a time")),
    };
    let (secure, http_only, host_only) = (flag("secure")?, flag("http_only")?, flag("host_only")?);
    let (expires, created) = (time("expires")?, time("created")?);
    let same_site = match object.get("same_site") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let word = value.as_str().and_then(|word| parse_same_site(word.as_bytes()));
            Some(word.ok_or("`same_site` is none of strict, lax and none")?)
        }
    };
    let mut text = |name: &str| {
        let bytes = bytes(&mut object, name)?;
        String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_| format!("`{name}` is not UTF-8"))
    };
    let (domain, path) = (text("domain")?, text("path")?);
    let name = bytes(&mut object, "name")?.into();
    // The string's own memory is taken over and overwritten in the end.
    let value = Zeroizing::new(bytes(&mut object, "value")?);
    let fields = Fields { name, value, domain, path, expires, secure, http_only, host_only, same_site };
    Ok(Unchecked { fields, created: created.unwrap_or(now) })
}

/// Takes a member out of the object: the string itself, or what its twin holds in base64.
fn bytes(object: &mut Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    if let Some(Value::String(text)) = object.remove(name) {
        return Ok(text.into_bytes());
    }
    match object.remove(&format!("{name}_base64")) {
        Some(Value::String(text)) => STANDARD.decode(text).map_err(|_| format!("`{name}_base64` is not base64")),
        _ => Err(format!("`{name}` is not a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CookieJar;
    use super::super::file::tests::{facts, full};
    use super::*;

    #[test]
    fn json_goes_there_and_back_and_leaves_session_cookies_out_unless_asked() {
        let jar = full();
        let mut text = Vec::new();
        jar.save_json_with_session(&mut text).unwrap();
        let back = CookieJar::new();
        back.load_json(&*text).unwrap();
        assert_eq!(facts(&back), facts(&jar));
        assert_eq!(back.len(), 6);

        let mut text = Vec::new();
        jar.save_json(&mut text).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(parsed["version"], 1);
        assert_eq!(parsed["cookies"].as_array().unwrap().len(), 5);
        let lasting = &parsed["cookies"][0];
        assert_eq!(lasting["name"], "lasting");
        assert_eq!(lasting["same_site"], "strict");
        assert_eq!(lasting["http_only"], true);
        assert_eq!(lasting["expires"].as_i64().unwrap() - lasting["created"].as_i64().unwrap(), 1000);
        let back = CookieJar::new();
        back.load_json(&*text).unwrap();
        assert_eq!(back.len(), 5);
    }

    #[test]
    fn json_that_is_not_of_the_schema_is_refused_whole() {
        let good = r#"{"name": "a", "value": "new", "domain": "example.org", "path": "/"}"#;
        let list = |bad: &str| format!(r#"{{"version": 1, "cookies": [{good}, {bad}]}}"#);
        for (text, why) in [
            ("{\n\n!".to_owned(), "line 3: this is not valid JSON"),
            ("[]".to_owned(), "not an object"),
            (r#"{"version": 2, "cookies": []}"#.to_owned(), "`version` is not 1"),
            (r#"{"version": 1}"#.to_owned(), "`cookies` is not a list"),
            (list("7"), "cookie 2: this is not an object"),
            (list("{}"), "cookie 2: `domain` is not a string"),
            (list(r#"{"value": "b", "domain": "example.org", "path": "/"}"#), "cookie 2: `name` is not a string"),
            (list(&good.replace(r#""/""#, r#""x""#)), "cookie 2: the path is not valid"),
            (list(&good.replace("new", "a\\nb")), "cookie 2: it holds a control character"),
            (list(&good.replace('}', r#", "secure": "yes"}"#)), "cookie 2: `secure` is neither true nor false"),
            (list(&good.replace('}', r#", "expires": "never"}"#)), "cookie 2: `expires` is not a time"),
            (list(&good.replace('}', r#", "same_site": "odd"}"#)), "cookie 2: `same_site` is none of"),
            (
                list(&good.replace(r#""value": "new""#, r#""value_base64": "!""#)),
                "cookie 2: `value_base64` is not base64",
            ),
        ] {
            let jar = CookieJar::new();
            let error = jar.load_json(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{text}");
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(jar.is_empty(), "{text}");
        }
        let jar = CookieJar::new();
        jar.load_json(format!(r#"{{"version": 1, "more": 1, "cookies": [{good}]}}"#).as_bytes()).unwrap();
        assert_eq!(jar.len(), 1);
    }
}
