//! One exchange as an entry of HAR 1.2. Pure but for the moment at which it is called: that is the exchange's end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use http::{Response, Version};
use serde_json::{Map, Value, json};

use super::super::redact::Redaction;
use super::super::response::ResponseExt;
use super::super::tap::{Ending, Passed};
use super::super::watch::{Exchange, Outcome};
use crate::error::Error;
use crate::handler::Metrics;

/// Header fields without their secrets.
type Fields = Vec<(String, Vec<u8>)>;

/// The entry of an exchange that is over, and when it began.
pub(super) fn of(exchange: &Exchange, outcome: Outcome<'_>) -> (SystemTime, Value) {
    let total = exchange.elapsed();
    let redaction = &exchange.redaction;
    let mut entry = Map::new();
    let (head, passed, error) = match outcome {
        Outcome::Failed(error) => (None, None, Some(error)),
        Outcome::Responded(head, passed) => match &passed.ending {
            Ending::Failed(error) => (Some(head), Some(passed), Some(error)),
            _ => (Some(head), Some(passed), None),
        },
    };
    let metrics = head.and_then(ResponseExt::metrics);
    let version = head.map_or(exchange.request.version(), Response::version);
    let timings = timings(metrics, exchange.head_time, total);
    let sum: f64 = ["blocked", "dns", "connect", "send", "wait", "receive"]
        .iter()
        .filter_map(|phase| timings[phase].as_f64())
        .filter(|time| *time > 0.0)
        .sum();
    entry.insert("startedDateTime".into(), iso(exchange.began).into());
    entry.insert("time".into(), round(sum).into());
    entry.insert("request".into(), request(exchange, version));
    entry.insert("response".into(), response(head, passed, metrics, redaction));
    entry.insert("cache".into(), json!({}));
    entry.insert("timings".into(), timings);
    if let Some(remote) = head.and_then(ResponseExt::remote_addr) {
        entry.insert("serverIPAddress".into(), remote.ip().to_string().into());
    }
    if let Some(local) = head.and_then(ResponseExt::local_addr) {
        entry.insert("connection".into(), local.port().to_string().into());
    }
    if let Some(error) = error {
        entry.insert("_error".into(), words(error, redaction).into());
        entry.insert("_errorKind".into(), error.kind().name().into());
    }
    (exchange.began, Value::Object(entry))
}

fn words(error: &Error, redaction: &Redaction) -> String {
    lossy(&redaction.text(error.chain().as_bytes()))
}

fn request(exchange: &Exchange, version: Version) -> Value {
    let redaction = &exchange.redaction;
    let request = &exchange.request;
    let url = redaction.url(request.uri());
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| pair(&name, &value));
    let query: Vec<_> = query.collect();
    let headers = redaction.headers(request.headers());
    let mut made = json!({
        "method": request.method().as_str(),
        "url": url,
        "httpVersion": version_name(version),
        "cookies": request_cookies(&headers),
        "headers": pairs(&headers),
        "queryString": query,
        "headersSize": -1,
    });
    exchange.look_at_body(|passed, _| {
        made["bodySize"] = passed.total.into();
        if passed.total > 0 {
            let mut data = json!({ "mimeType": media_type(&headers) });
            match content(passed, request.headers(), redaction) {
                Some((text, false)) => data["text"] = text.into(),
                Some((text, true)) => {
                    data["text"] = text.into();
                    data["_encoding"] = "base64".into();
                }
                None => {
                    data["text"] = "".into();
                    data["comment"] = TOO_LARGE.into();
                }
            }
            made["postData"] = data;
        }
    });
    made
}

const TOO_LARGE: &str = "larger than what is kept";

fn response(
    head: Option<&Response<()>>,
    passed: Option<&Passed>,
    metrics: Option<Metrics>,
    redaction: &Redaction,
) -> Value {
    let (Some(head), Some(passed)) = (head, passed) else {
        // What browsers write for a request that failed.
        return json!({
            "status": 0,
            "statusText": "",
            "httpVersion": "",
            "cookies": [],
            "headers": [],
            "content": { "size": 0, "mimeType": "x-unknown" },
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        });
    };
    let headers = redaction.headers(head.headers());
    let mut body = json!({ "size": passed.total, "mimeType": media_type(&headers) });
    match content(passed, head.headers(), redaction) {
        Some((text, base64)) => {
            body["text"] = text.into();
            if base64 {
                body["encoding"] = "base64".into();
            }
        }
        None => body["comment"] = TOO_LARGE.into(),
    }
    let downloaded = metrics.map(|metrics| metrics.downloaded);
    if let Some(downloaded) = downloaded.filter(|downloaded| *downloaded > 0 && *downloaded < passed.total) {
        body["compression"] = (passed.total - downloaded).into();
    }
    let location = headers.iter().find(|(name, _)| name == LOCATION.as_str());
    json!({
        "status": head.status().as_u16(),
        "statusText": head.status().canonical_reason().unwrap_or_default(),
        "httpVersion": version_name(head.version()),
        "cookies": response_cookies(&headers),
        "headers": pairs(&headers),
        "content": body,
        "redirectURL": location.map(|(_, value)| lossy(value)).unwrap_or_default(),
        "headersSize": -1,
        "bodySize": downloaded.map_or(Value::from(-1), Value::from),
    })
}

/// The body as text, or as base64 (then true). `None` if it was not kept.
fn content(passed: &Passed, headers: &HeaderMap, redaction: &Redaction) -> Option<(String, bool)> {
    if passed.is_over() {
        return None;
    }
    let bytes = redaction.body(&passed.bytes, headers);
    Some(match std::str::from_utf8(&bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64_STANDARD.encode(&bytes), true),
    })
}

fn media_type(headers: &Fields) -> String {
    let value = headers.iter().find(|(name, _)| name == CONTENT_TYPE.as_str());
    value.map(|(_, value)| lossy(value)).unwrap_or_default()
}

fn pairs(headers: &Fields) -> Vec<Value> {
    headers.iter().map(|(name, value)| pair(name, &lossy(value))).collect()
}

fn pair(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn request_cookies(headers: &Fields) -> Vec<Value> {
    let lines = headers.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| lossy(value));
    lines.flat_map(|line| line.split(';').map(|one| cookie(one.trim())).collect::<Vec<_>>()).collect()
}

fn response_cookies(headers: &Fields) -> Vec<Value> {
    let lines = headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| lossy(value));
    lines.map(|line| response_cookie(&line)).collect()
}

fn cookie(one: &str) -> Value {
    let (name, value) = one.split_once('=').unwrap_or(("", one));
    pair(name.trim(), value.trim())
}

/// RFC 6265 4.1.1, as far as HAR has a place for it.
fn response_cookie(line: &str) -> Value {
    let mut parts = line.split(';');
    let mut made = cookie(parts.next().unwrap_or_default());
    made["httpOnly"] = false.into();
    made["secure"] = false.into();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "path" => made["path"] = value.into(),
            "domain" => made["domain"] = value.into(),
            "httponly" => made["httpOnly"] = true.into(),
            "secure" => made["secure"] = true.into(),
            "expires" => {
                if let Ok(date) = httpdate::parse_http_date(value) {
                    made["expires"] = iso(date).into();
                }
            }
            _ => {}
        }
    }
    made
}

/// The phases in milliseconds; -1 for those that did not happen or are not known.
fn timings(metrics: Option<Metrics>, head: Duration, total: Duration) -> Value {
    let Some(metrics) = metrics else {
        return json!({
            "blocked": -1, "dns": -1, "connect": -1, "ssl": -1,
            "send": 0, "wait": millis(head), "receive": millis(total.saturating_sub(head)),
        });
    };
    let secured = metrics.secure_connect.max(metrics.connect);
    let reused = metrics.connect <= metrics.name_lookup;
    let connecting = if reused { Value::from(-1) } else { millis(secured.saturating_sub(metrics.name_lookup)) };
    let securing = metrics.secure_connect.saturating_sub(metrics.connect);
    let ready = if reused { metrics.name_lookup } else { secured };
    json!({
        "blocked": millis(head.saturating_sub(metrics.time_to_first_byte)),
        "dns": millis(metrics.name_lookup),
        "connect": connecting,
        "ssl": if reused || securing.is_zero() { Value::from(-1) } else { millis(securing) },
        "send": millis(metrics.transfer_start.saturating_sub(ready)),
        "wait": millis(metrics.time_to_first_byte.saturating_sub(metrics.transfer_start)),
        "receive": millis(metrics.total.saturating_sub(metrics.time_to_first_byte)),
    })
}

fn millis(time: Duration) -> Value {
    round(time.as_secs_f64() * 1e3).into()
}

/// To whole microseconds.
fn round(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}

fn version_name(version: Version) -> String {
    format!("{version:?}")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// ISO 8601 in UTC, with milliseconds: `2026-11-21T07:34:34.123Z`.
fn iso(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        era * 400 + year + carry,
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        // The same dates as another implementation, over four centuries.
        for day in (0..146_097).step_by(7) {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + 3_723);
            let date = httpdate::fmt_http_date(time);
            let words: Vec<_> = date.split(' ').collect();
            let text = iso(time);
            assert_eq!((&text[..4], &text[8..10], &text[11..19]), (words[3], words[1], words[4]), "{date}");
        }
    }

    #[test]
    fn phases_are_differences_and_those_that_did_not_happen_are_none() {
        let ms = Duration::from_millis;
        let mut metrics = Metrics {
            name_lookup: ms(1),
            connect: ms(3),
            secure_connect: ms(10),
            transfer_start: ms(11),
            time_to_first_byte: ms(31),
            total: ms(40),
            ..Metrics::default()
        };
        let made = timings(Some(metrics), ms(35), ms(99));
        let expected = json!({
            "blocked": 4.0, "dns": 1.0, "connect": 9.0, "ssl": 7.0, "send": 1.0, "wait": 20.0, "receive": 9.0,
        });
        assert_eq!(made, expected);
        metrics.connect = ms(1);
        metrics.secure_connect = Duration::ZERO;
        let reused = timings(Some(metrics), ms(35), ms(99));
        assert_eq!((&reused["connect"], &reused["ssl"], &reused["send"]), (&json!(-1), &json!(-1), &json!(10.0)));
        let unknown = timings(None, ms(5), ms(7));
        assert_eq!((&unknown["dns"], &unknown["wait"], &unknown["receive"]), (&json!(-1), &json!(5.0), &json!(2.0)));
    }

    #[test]
    fn cookies_have_their_attributes() {
        let made = response_cookie("a=b=c; Path=/x; HttpOnly; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Max-Age=1");
        let expected = json!({
            "name": "a", "value": "b=c", "path": "/x", "httpOnly": true, "secure": false,
            "expires": "2015-10-21T07:28:00.000Z",
        });
        assert_eq!(made, expected);
    }
}
