//! The export of what passed as an HTTP Archive: its structure, its contents, its bounds and its secrets.

use marmot::cassette::Cassette;
use marmot::config::RedirectPolicy;
use marmot::har::HarRecorder;
use marmot::prelude::*;
use marmot::{Body, ErrorKind};
use serde_json::Value;

use crate::support::{Server, free_port, pattern};

/// The keys that HAR 1.2 demands, by the place of their object, and what their values are.
const REQUIRED: &[(&str, &[(&str, char)])] = &[
    ("", &[("log", 'o')]),
    ("log", &[("version", 's'), ("creator", 'o'), ("entries", 'a')]),
    ("log.creator", &[("name", 's'), ("version", 's')]),
    (
        "log.entries",
        &[
            ("startedDateTime", 'd'),
            ("time", 'p'),
            ("request", 'o'),
            ("response", 'o'),
            ("cache", 'o'),
            ("timings", 'o'),
        ],
    ),
    (
        "log.entries.request",
        &[
            ("method", 's'),
            ("url", 's'),
            ("httpVersion", 's'),
            ("cookies", 'a'),
            ("headers", 'a'),
            ("queryString", 'a'),
            ("headersSize", 'n'),
            ("bodySize", 'n'),
        ],
    ),
    ("log.entries.request.postData", &[("mimeType", 's'), ("text", 's')]),
    ("log.entries.request.cookies", &[("name", 's'), ("value", 's')]),
    ("log.entries.request.headers", &[("name", 's'), ("value", 's')]),
    ("log.entries.request.queryString", &[("name", 's'), ("value", 's')]),
    (
        "log.entries.response",
        &[
            ("status", 'n'),
            ("statusText", 's'),
            ("httpVersion", 's'),
            ("cookies", 'a'),
            ("headers", 'a'),
            ("content", 'o'),
            ("redirectURL", 's'),
            ("headersSize", 'n'),
            ("bodySize", 'n'),
        ],
    ),
    ("log.entries.response.cookies", &[("name", 's'), ("value", 's')]),
    ("log.entries.response.headers", &[("name", 's'), ("value", 's')]),
    ("log.entries.response.content", &[("size", 'n'), ("mimeType", 's')]),
    (
        "log.entries.timings",
        &[
            ("blocked", 'n'),
            ("dns", 'n'),
            ("connect", 'n'),
            ("ssl", 'n'),
            ("send", 'p'),
            ("wait", 'p'),
            ("receive", 'p'),
        ],
    ),
];

fn is(value: &Value, kind: char) -> bool {
    match kind {
        'o' => value.is_object(),
        'a' => value.is_array(),
        's' => value.is_string(),
        'n' => value.as_f64().is_some_and(|number| number >= 0.0 || number == -1.0),
        'p' => value.as_f64().is_some_and(|number| number >= 0.0),
        // ISO 8601 with the zone.
        'd' => value.as_str().is_some_and(|text| text.len() == 24 && &text[10..11] == "T" && text.ends_with('Z')),
        _ => unreachable!(),
    }
}

/// Checks each object of which there are required keys, and returns how many those were.
fn check(value: &Value, place: &str) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| check(item, place)).sum(),
        Value::Object(fields) => {
            let required = REQUIRED.iter().find(|(at, _)| *at == place);
            for (key, kind) in required.map_or(&[][..], |(_, keys)| keys) {
                let value = fields.get(*key).unwrap_or_else(|| panic!("{place} has no {key}"));
                assert!(is(value, *kind), "{place}.{key} is {value}");
            }
            let below = |(key, value): (&String, &Value)| {
                check(value, &if place.is_empty() { key.clone() } else { format!("{place}.{key}") })
            };
            usize::from(required.is_some()) + fields.iter().map(below).sum::<usize>()
        }
        _ => 0,
    }
}

fn entries(recorder: &HarRecorder) -> Vec<Value> {
    let archive: Value = serde_json::from_str(&recorder.to_json()).unwrap();
    assert!(check(&archive, "") >= 3);
    assert_eq!(archive["log"]["version"], "1.2");
    archive["log"]["entries"].as_array().unwrap().clone()
}

fn with(recorder: &HarRecorder) -> HttpClient {
    HttpClient::builder().har(recorder.clone()).redirect_policy(RedirectPolicy::Follow).build().unwrap()
}

#[test]
fn an_archive_has_what_har_1_2_demands() {
    let server = Server::faults();
    let recorder = HarRecorder::new();
    assert!(entries(&recorder).is_empty(), "an empty one too");
    let client = with(&recorder);
    let url = server.url("/anything?a=1&b=x%20y");
    let request = Request::post(url).header("content-type", "text/plain").header("cookie", "c=1; d=2");
    client.send(request.body("hello").unwrap()).unwrap().consume().unwrap();
    client.get(server.url("/bytes/300")).unwrap().consume().unwrap();
    client.get(server.url("/redirect/1")).unwrap().consume().unwrap();
    client.get(server.url("/gzip")).unwrap().consume().unwrap();
    client.get(server.url("/cookies/set?sid=1")).unwrap().consume().unwrap();
    client.get(server.url("/close/in-body")).unwrap().consume().unwrap_err();
    client.post(server.url("/echo"), Body::from_reader(std::io::Cursor::new([0xff; 10]))).unwrap().consume().unwrap();
    drop(client.get(server.url("/no-content")).unwrap());
    client.get(format!("http://127.0.0.1:{}/", free_port())).unwrap_err();

    let all = entries(&recorder);
    assert_eq!((all.len(), recorder.len()), (10, 10));
    let post = &all[0]["request"];
    assert_eq!(post["postData"]["text"], "hello");
    assert_eq!((post["bodySize"].as_u64(), post["queryString"][1]["value"].as_str()), (Some(5), Some("x y")));
    assert_eq!(post["cookies"].as_array().unwrap().len(), 2);
    let answer = &all[0]["response"];
    assert_eq!((answer["status"].as_u64(), answer["statusText"].as_str()), (Some(200), Some("OK")));
    assert!(answer["content"]["text"].as_str().unwrap().contains("hello"));
    assert_eq!(all[0]["serverIPAddress"], "127.0.0.1");
    assert_eq!(all[0]["connection"], all[1]["connection"], "the connection was used again");
    assert_eq!(all[1]["timings"]["connect"], -1);
    assert!(all[0]["timings"]["connect"].as_f64().unwrap() >= 0.0);
    assert_eq!(
        (all[1]["response"]["content"]["size"].as_u64(), all[1]["response"]["bodySize"].as_u64()),
        (Some(300), Some(300))
    );
    assert_eq!(all[1]["response"]["content"]["encoding"], "base64", "{}", all[1]["response"]["content"]);
    assert_eq!(all[2]["response"]["redirectURL"], "/get");
    let gzip = &all[4]["response"];
    let size = gzip["content"]["size"].as_u64().unwrap();
    assert_eq!(size - gzip["bodySize"].as_u64().unwrap(), gzip["content"]["compression"].as_u64().unwrap());
    assert_eq!(all[5]["response"]["cookies"][0]["name"], "sid");
    assert_eq!(all[6]["_errorKind"], ErrorKind::ResponseBodyTruncated.name());
    assert_eq!(all[6]["response"]["status"], 200);
    assert_eq!(all[7]["request"]["postData"]["_encoding"], "base64");
    assert_eq!(all[8]["response"]["status"], 204);
    assert_eq!(
        (all[9]["response"]["status"].as_u64(), all[9]["_errorKind"].as_str()),
        (Some(0), Some("connection_failed"))
    );
    for entry in &all {
        let sum: f64 = ["blocked", "dns", "connect", "send", "wait", "receive"]
            .iter()
            .map(|phase| entry["timings"][phase].as_f64().unwrap().max(0.0))
            .sum();
        assert!((sum - entry["time"].as_f64().unwrap()).abs() < 0.01, "{entry}");
    }
}

#[test]
fn phases_are_those_of_the_transfer() {
    let server = Server::faults();
    let recorder = HarRecorder::new();
    let client = with(&recorder);
    client.get(server.url("/delay/150")).unwrap().consume().unwrap();
    client.get(server.url("/delay-body/150")).unwrap().consume().unwrap();
    let all = entries(&recorder);
    assert!(all[0]["timings"]["wait"].as_f64().unwrap() >= 140.0, "{}", all[0]["timings"]);
    assert!(all[1]["timings"]["receive"].as_f64().unwrap() >= 140.0, "{}", all[1]["timings"]);
    assert!(all[1]["time"].as_f64().unwrap() >= 140.0);
}

#[test]
fn no_canary_is_in_an_archive() {
    let server = Server::start(|request, answer| {
        let headers = [
            ("Set-Cookie", "sid=CANARY; Secure"),
            ("Location", "http://u:CANARY@h/?token=CANARY"),
            ("Content-Type", "application/json"),
        ];
        let body = format!("{{\"token\":\"CANARY\",\"echo\":{:?}}}", request.text());
        answer.send(200, &headers, body.as_bytes())
    });
    let recorder = HarRecorder::new().redact_header("x-mine").redact_field("mine");
    let client =
        HttpClient::builder().har(recorder.clone()).bearer_auth("CANARY").url_credentials(true).build().unwrap();
    let host = server.origin().replace("http://", "");
    for (kind, body) in [
        ("application/json", "{\"password\":\"CANARY\",\"mine\":1234567}"),
        ("application/x-www-form-urlencoded", "api_key=CANARY&mine=CANARY"),
    ] {
        let request = Request::post(format!("http://u:CANARY@{host}/?secret=CANARY&mine=CANARY"))
            .header("authorization", "Bearer CANARY")
            .header("cookie", "sid=CANARY")
            .header("x-mine", "CANARY")
            .header("content-type", kind)
            .body(body)
            .unwrap();
        client.send(request).unwrap().consume().unwrap();
    }
    let text = recorder.to_json();
    assert!(!text.contains("CANARY") && !text.contains("1234567"), "{text}");
    let all = entries(&recorder);
    assert_eq!(all[0]["response"]["cookies"][0]["value"], "[redacted]");
    assert_eq!(all[0]["request"]["queryString"][0]["value"], "[redacted]");
}

#[test]
fn an_archive_is_bounded() {
    let server = Server::faults();
    let recorder = HarRecorder::new().max_entries(3).max_body_size(100);
    let client = with(&recorder);
    for number in 0..5 {
        client.get(server.url(&format!("/status/200?{number}"))).unwrap().consume().unwrap();
    }
    let text = recorder.to_json();
    let all = entries(&recorder);
    assert_eq!(all.len(), 3);
    assert!(all[0]["request"]["url"].as_str().unwrap().ends_with("?2") && text.contains("2 older entries"), "{text}");
    let request = client.post(server.url("/echo"), pattern(101)).unwrap().bytes().unwrap();
    assert_eq!(request, pattern(101), "the caller gets all of it");
    let last = &entries(&recorder)[2];
    assert!(last["response"]["content"].get("text").is_none());
    assert_eq!(last["response"]["content"]["size"], 101);
    assert_eq!(
        (last["request"]["bodySize"].as_u64(), last["request"]["postData"]["text"].as_str()),
        (Some(101), Some(""))
    );
    recorder.clear();
    assert!(recorder.is_empty());
}

#[test]
fn replayed_requests_are_in_the_archive_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.jsonl");
    let server = Server::faults();
    let url = server.url("/json");
    let record = HttpClient::builder().cassette(Cassette::record(&path)).build().unwrap();
    record.get(&url).unwrap().consume().unwrap();
    drop(server);
    let recorder = HarRecorder::new();
    let replay = HttpClient::builder().cassette(Cassette::replay(&path)).har(recorder.clone()).build().unwrap();
    replay.get(&url).unwrap().consume().unwrap();
    replay.get(&url).unwrap_err();
    let archive = folder.path().join("session.har");
    recorder.save(&archive).unwrap();
    assert_eq!(std::fs::read_to_string(archive).unwrap(), recorder.to_json());
    let all = entries(&recorder);
    assert_eq!((all[0]["response"]["status"].as_u64(), all[0]["timings"]["dns"].as_i64()), (Some(200), Some(-1)));
    assert_eq!(all[1]["_errorKind"], "no_recording");
    let error = recorder.save(folder.path().join("no/such/folder")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn metrics_are_measured_and_a_request_that_turns_them_off_is_measured_too() {
    let server = Server::faults();
    let recorder = HarRecorder::new();
    let client = with(&recorder);
    let request = Request::get(server.url("/delay/50")).metrics(false).body(()).unwrap();
    client.send(request).unwrap().consume().unwrap();
    assert!(entries(&recorder)[0]["timings"]["wait"].as_f64().unwrap() >= 40.0);
    assert!(entries(&recorder)[0]["timings"]["blocked"].as_f64().unwrap() >= 0.0);
}
