//! Recording requests, replaying them without a network, and the secrets that no file may hold.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join_all;
use marmot::cassette::{Cassette, Match};
use marmot::config::{RedirectPolicy, RetryPolicy};
use marmot::error::TimeoutPhase;
use marmot::handler::{Handler, Next};
use marmot::prelude::*;
use marmot::{AsyncBody, Body, Error, ErrorKind, Response};
use serde_json::Value;

use crate::support::{Server, free_port, pattern};

/// A folder that is gone with the test, and the cassette in it.
fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cassette.jsonl");
    (folder, path)
}

fn with(cassette: Cassette) -> HttpClient {
    HttpClient::builder().cassette(cassette).build().unwrap()
}

/// The lines of a cassette, parsed, without the header.
fn entries(path: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(lines.next().unwrap()["marmot_cassette"], 1);
    lines.collect()
}

/// All that a caller sees of a response.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    version: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Option<usize>,
}

fn seen(mut response: Response<Body>) -> Seen {
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let headers = headers.collect();
    let body = response.bytes().unwrap();
    Seen {
        status: response.status().as_u16(),
        version: format!("{:?}", response.version()),
        headers,
        body,
        trailers: response.body().trailers().map(|trailers| trailers.len()),
    }
}

#[test]
fn what_was_recorded_is_replayed_when_the_server_is_gone() {
    let (_folder, path) = file();
    let server = Server::faults();
    let requests = |client: &HttpClient| {
        let plain = [
            "/get?b=2&a=1",
            "/bytes/100000",
            "/chunked/70000/1000",
            "/trailers",
            "/gzip",
            "/status/404",
            "/no-content",
            "/not-utf8-header",
        ];
        let mut all: Vec<_> = plain.iter().map(|path| seen(client.get(server.url(path)).unwrap())).collect();
        all.push(seen(client.post(server.url("/echo"), "hello").unwrap()));
        all.push(seen(client.post(server.url("/echo"), vec![0xff; 3000]).unwrap()));
        all.push(seen(client.head(server.url("/bytes/10")).unwrap()));
        let streamed = Body::from_reader(std::io::Cursor::new(pattern(100_000)));
        all.push(seen(client.post(server.url("/echo"), streamed).unwrap()));
        all
    };
    let cassette = Cassette::record(&path);
    let recorded = requests(&with(cassette.clone()));
    cassette.check().unwrap();
    assert_eq!(entries(&path).len(), 12);
    assert_eq!(recorded[1].body, pattern(100_000));
    assert_eq!(recorded[3].trailers, Some(2));
    assert_eq!(entries(&path)[11]["request"]["body"]["streamed"], true);
    let before = server.requests().len();
    let cassette = Cassette::replay(&path);
    let replaying = with(cassette.clone());
    assert_eq!(cassette.unused(), 12);
    assert_eq!(requests(&replaying), recorded);
    assert_eq!((cassette.unused(), server.requests().len()), (0, before), "nothing was sent");
    let url = server.url("/get?a=1&b=2");
    drop(server);
    let replaying = with(Cassette::replay(&path));
    let response = replaying.get(&url).unwrap();
    assert_eq!(response.effective_uri().unwrap().to_string(), url);
    assert_eq!(seen(response), recorded[0], "the order of the query does not matter");
}

#[test]
fn each_hop_and_attempt_is_an_entry_and_replays_through_the_same_steps() {
    let (_folder, path) = file();
    let hits = AtomicUsize::new(0);
    let server = Server::start(move |request, answer| match request.target.as_str() {
        "/start" => answer.send(302, &[("Location", "/end?token=CANARY&x=1")], b"look there"),
        _ if hits.fetch_add(1, SeqCst) == 0 => answer.text(503, "busy"),
        _ => answer.text(200, "done"),
    });
    let run = |cassette| {
        let client = HttpClient::builder()
            .redirect_policy(RedirectPolicy::Follow)
            .retry(RetryPolicy::new().backoff(Duration::ZERO, Duration::ZERO))
            .cassette(cassette)
            .build()
            .unwrap();
        let mut response = client.get(server.url("/start")).unwrap();
        assert_eq!((response.attempts(), response.history().len()), (2, 1));
        assert_eq!(response.text().unwrap(), "done");
    };
    run(Cassette::record(&path));
    let statuses: Vec<_> = entries(&path).iter().map(|entry| entry["response"]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [302, 503, 302, 200]);
    let sent = server.requests().len();
    run(Cassette::replay(&path));
    assert_eq!(server.requests().len(), sent);
    assert!(!std::fs::read_to_string(&path).unwrap().contains("CANARY"));
}

#[test]
fn no_canary_of_any_place_is_in_the_file_and_a_replay_needs_none() {
    let (_folder, path) = file();
    let server = Server::start(|request, answer| {
        let echo = request.text();
        match request.path() {
            "/form" => answer.send(200, &[("Content-Type", "application/x-www-form-urlencoded")], b"oauth_token=CANARY&b=1"),
            "/broken" => {
                answer.head(200, &[("Content-Length", "1000")])?;
                answer.body(b"{\"a\":1,\"secret\":\"CANARY")?;
                answer.close();
                Ok(())
            }
            "/trailers" => {
                answer.start_chunked(200, &[])?;
                answer.chunk(b"x")?;
                answer.end_chunks(&[("X-Session-Token", "CANARY")])
            }
            _ => answer.send(
                200,
                &[
                    ("Content-Type", "application/json"),
                    ("Set-Cookie", "sid=CANARY; Path=/"),
                    ("X-Auth-Token", "CANARY"),
                    ("Location", "https://u:CANARY@h/?access_token=CANARY"),
                    ("X-Custom", "CANARY"),
                ],
                format!("{{\"access_token\":\"CANARY\",\"deep\":{{\"apiKey\":[\"CANARY\"]}},\"mine\":\"CANARY\",\"echo\":{}}}", if echo.starts_with('{') { echo } else { "1".into() }).as_bytes(),
            ),
        }
    });
    let run = |cassette: Cassette, secret: &str| {
        let client = HttpClient::builder()
            .cassette(cassette.redact_header("x-custom").redact_field("mine"))
            .bearer_auth(secret)
            .url_credentials(true)
            .default_header("x-api-key", secret)
            .build()
            .unwrap();
        let mut marked = marmot::http::HeaderValue::from_str(secret).unwrap();
        marked.set_sensitive(true);
        let host = server.origin().replace("http://", "");
        let send = |path: &str, kind: &str, body: Body| {
            let request = Request::post(format!("http://user:{secret}@{host}{path}"))
                .header("authorization", format!("Bearer {secret}"))
                .header("proxy-authorization", secret)
                .header("cookie", format!("a={secret}; b={secret}"))
                .header("x-plain", marked.clone())
                .header("x-custom", secret)
                .header("referer", format!("http://h/?key={secret}"))
                .header("content-type", kind)
                .body(body)
                .unwrap();
            client.send(request).and_then(|mut response| response.bytes())
        };
        let json = format!("{{\"password\":\"{secret}\",\"mine\":[\"{secret}\"],\"n\":1}}");
        let streamed = Body::from_reader(std::io::Cursor::new(json.clone()));
        let multipart =
            format!("--b\r\nContent-Disposition: form-data; name=\"client_secret\"\r\n\r\n{secret}\r\n--b--\r\n");
        let path = format!("/json?token={secret}&a=1&mine={secret}");
        send(&path, "application/json", json.clone().into()).unwrap();
        send("/json", "application/json", streamed).unwrap();
        send("/form", "application/x-www-form-urlencoded", format!("a=1&password={secret}").into()).unwrap();
        send("/form", "multipart/form-data; boundary=b", multipart.into()).unwrap();
        send("/trailers", "text/plain", format!("see http://h/?secret={secret}").into()).unwrap();
        let error = send("/broken", "text/plain", Body::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseBodyTruncated);
        client.send(Request::get(server.url(&path)).body(()).unwrap()).map(|mut response| response.bytes())
    };
    run(Cassette::record(&path), "CANARY").unwrap().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 8);
    assert!(!text.contains("CANARY"), "{text}");
    assert!(!text.contains("Q0FOQVJZ"), "nor as base64");
    let sent = server.requests().len();
    let body = run(Cassette::replay(&path), "0ther").unwrap().unwrap();
    assert_eq!(server.requests().len(), sent);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["access_token"], "[redacted]");
    // What does not match is described without secrets too.
    let client = with(Cassette::replay(&path));
    let request = Request::post(server.url("/json?token=CANARY&other=1")).body("{\"password\":\"CANARY\"}").unwrap();
    let error = client.send(request).unwrap_err();
    assert!(!error.chain().contains("CANARY") && !format!("{error:?}").contains("CANARY"), "{error}");
}

#[test]
fn headers_that_are_to_be_kept_are_kept() {
    let (_folder, path) = file();
    let server = Server::faults();
    let client = with(Cassette::record(&path).keep_header("X-Public-Key").keep_field("page_token"));
    let request = Request::get(server.url("/status/200?page_token=p2&token=CANARY")).header("x-public-key", "open");
    client.send(request.body(()).unwrap()).unwrap().consume().unwrap();
    let request = &entries(&path)[0]["request"];
    assert_eq!(request["url"], server.url("/status/200?page_token=p2&token=[redacted]"));
    assert_eq!(request["headers"][0], serde_json::json!(["x-public-key", "open"]));
}

#[test]
fn a_missing_entry_is_an_error_that_names_the_closest_one_and_what_differs() {
    let (_folder, path) = file();
    let server = Server::faults();
    let recording = with(Cassette::record(&path));
    recording.get(server.url("/get?a=1&b=2")).unwrap().consume().unwrap();
    recording.post(server.url("/echo"), "the body that was recorded").unwrap().consume().unwrap();
    let client = with(Cassette::replay(&path));
    let error = |request: Request<&str>| {
        let error = client.send(request).unwrap_err();
        assert_eq!((error.kind(), error.kind().name()), (ErrorKind::NoRecording, "no_recording"));
        assert!(error.url().is_some());
        error.to_string()
    };
    let text = error(Request::get(server.url("/get?a=1&b=3")).body("").unwrap());
    assert!(text.contains("entry 1") && text.contains("the query has `b=3`, recorded is `b=2`"), "{text}");
    let text = error(Request::put(server.url("/get?a=1&b=2")).body("").unwrap());
    assert!(text.contains("entry 1") && text.contains("the method is `PUT`, recorded is `GET`"), "{text}");
    let text = error(Request::post(server.url("/ech")).body("the body that was recorded").unwrap());
    assert!(text.contains("entry 2") && text.contains("the path is `/ech`, recorded is `/echo`"), "{text}");
    let text = error(Request::post(server.url("/echo")).body("the body that is asked").unwrap());
    assert!(text.contains("entry 2") && text.contains("differs from byte 14"), "{text}");
    client.get(server.url("/get?a=1&b=2")).unwrap();
    let text = error(Request::get(server.url("/get?a=1&b=2")).body("").unwrap());
    assert!(text.contains("was used before"), "{text}");
    std::fs::write(&path, "").unwrap();
    let text = with(Cassette::replay(&path)).get(server.url("/")).unwrap_err().to_string();
    assert!(text.contains("it is empty"), "{text}");
}

#[test]
fn entries_are_used_in_order_and_again_only_if_allowed() {
    let (_folder, path) = file();
    let hits = AtomicUsize::new(0);
    let server = Server::start(move |_, answer| answer.text(200, &hits.fetch_add(1, SeqCst).to_string()));
    let url = server.url("/");
    let recording = with(Cassette::record(&path));
    for _ in 0..3 {
        recording.get(&url).unwrap().consume().unwrap();
    }
    drop(server);
    let texts = |cassette, count| {
        let client = with(cassette);
        (0..count).map(|_| client.get(&url)?.text()).collect::<Result<Vec<_>, Error>>()
    };
    assert_eq!(texts(Cassette::replay(&path), 3).unwrap(), ["0", "1", "2"]);
    assert_eq!(texts(Cassette::replay(&path), 4).unwrap_err().kind(), ErrorKind::NoRecording);
    assert_eq!(texts(Cassette::replay(&path).allow_reuse(true), 5).unwrap(), ["0", "1", "2", "2", "2"]);
}

#[test]
fn what_must_match_can_be_chosen() {
    let (_folder, path) = file();
    let server = Server::faults();
    let recording = with(Cassette::record(&path));
    recording.post(server.url("/echo?x=1"), "one").unwrap().consume().unwrap();
    drop(server);
    let post = |cassette, url: &str, body: &'static str| with(cassette).post(url, body).map(|_| ());
    let elsewhere = "http://elsewhere.test/echo?x=1";
    let by_path = || Cassette::replay(&path).match_on(Match::METHOD | Match::PATH);
    assert!(post(Cassette::replay(&path), elsewhere, "one").is_err());
    post(by_path(), "http://elsewhere.test/echo?other", "two").unwrap();
    assert!(post(by_path(), "http://elsewhere.test/", "one").is_err());
    let rule = |size| {
        Cassette::replay(&path).match_with(move |live, recorded| {
            recorded.url().ends_with("/echo?x=1") && live.body().is_some_and(|body| body.len() == size)
        })
    };
    post(rule(5), "http://elsewhere.test/y", "12345").unwrap();
    assert!(post(rule(4), "http://elsewhere.test/y", "12345").is_err());
}

#[test]
fn json_bodies_match_in_any_order_and_multipart_ones_with_any_boundary() {
    let (_folder, path) = file();
    let server = Server::faults();
    let send = |client: &HttpClient, kind: &str, body: String| {
        let request = Request::post(server.url("/status/200")).header("content-type", kind).body(body).unwrap();
        client.send(request).map(|_| ())
    };
    let part = |boundary: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n--{boundary}--\r\n")
    };
    let recording = with(Cassette::record(&path));
    send(&recording, "application/json", r#"{"a":1,"b":[2]}"#.into()).unwrap();
    send(&recording, "multipart/form-data; boundary=one", part("one", "x")).unwrap();
    let client = with(Cassette::replay(&path));
    assert!(send(&client, "application/json", r#"{"b":[3],"a":1}"#.into()).is_err());
    send(&client, "application/json", r#"{ "b": [2], "a": 1 }"#.into()).unwrap();
    assert!(send(&client, "multipart/form-data; boundary=two", part("two", "y")).is_err());
    send(&client, "multipart/form-data; boundary=two", part("two", "x")).unwrap();
}

#[test]
fn auto_records_what_is_missing_and_replays_what_is_there() {
    let (_folder, path) = file();
    let server = Server::faults();
    let run = |paths: &[&str]| {
        let before = server.requests().len();
        let client = with(Cassette::auto(&path));
        for path in paths {
            let body = Body::from_reader(std::io::Cursor::new("streamed"));
            assert_eq!(client.post(server.url(path), body).unwrap().text().unwrap(), "streamed");
        }
        server.requests().len() - before
    };
    assert_eq!(run(&["/echo?1", "/echo?2"]), 2);
    assert_eq!(server.last_request().header("transfer-encoding"), Some("chunked"), "sent as it would be anyway");
    assert_eq!(run(&["/echo?2", "/echo?1"]), 0);
    assert_eq!(run(&["/echo?1", "/echo?3"]), 1);
    assert_eq!(run(&["/echo?1", "/echo?2", "/echo?3"]), 0);
    assert_eq!(run(&["/echo?1", "/echo?1"]), 1, "an entry answers once");
    assert_eq!(entries(&path).len(), 4);
    let before = server.requests().len();
    let client = with(Cassette::auto(&path).allow_reuse(true));
    for _ in 0..3 {
        client.get(server.url("/status/200")).unwrap().consume().unwrap();
    }
    assert_eq!(server.requests().len() - before, 1, "what was just recorded answers too");
}

#[test]
fn errors_come_back_with_their_kind_phase_and_text() {
    let (_folder, path) = file();
    let server = Server::faults();
    let dead = format!("http://127.0.0.1:{}/", free_port());
    let run = |cassette| {
        let client = HttpClient::builder().cassette(cassette).build().unwrap();
        let early = Request::get(server.url("/stall-head")).timeout(Duration::from_millis(100)).body(()).unwrap();
        let errors = [
            client.get(&dead).unwrap_err(),
            client.send(early).unwrap_err(),
            client.get(server.url("/reset/before-head")).unwrap_err(),
            client.get(server.url("/content-length/negative")).unwrap_err(),
            client.get(server.url("/close/in-body")).unwrap().text().unwrap_err(),
            client.get("ftp://h/").unwrap_err(),
        ];
        errors.map(|error| (error.kind(), error.timeout_phase(), error.to_string()))
    };
    let recorded = run(Cassette::record(&path));
    assert_eq!(recorded[0].0, ErrorKind::ConnectionFailed);
    assert_eq!(recorded[1].1, Some(TimeoutPhase::Response));
    assert_eq!(recorded[4].0, ErrorKind::ResponseBodyTruncated);
    let sent = server.requests().len();
    assert_eq!(run(Cassette::replay(&path)), recorded);
    assert_eq!(server.requests().len(), sent);
}

#[test]
fn a_body_that_was_not_read_to_its_end_replays_as_far_and_then_fails() {
    let (_folder, path) = file();
    let server = Server::faults();
    let url = server.url("/stall/10");
    let recording = with(Cassette::record(&path));
    let mut part = [0; 10];
    std::io::Read::read_exact(recording.get(&url).unwrap().body_mut(), &mut part).unwrap();
    drop(server);
    let mut response = with(Cassette::replay(&path)).get(&url).unwrap();
    let mut again = [0; 10];
    std::io::Read::read_exact(response.body_mut(), &mut again).unwrap();
    assert_eq!(again, part);
    assert_eq!(response.bytes().unwrap_err().kind(), ErrorKind::ResponseBodyTruncated);
}

#[test]
fn a_body_beyond_the_limit_reaches_the_caller_and_is_reported_as_not_recorded() {
    let (_folder, path) = file();
    let server = Server::faults();
    let cassette = Cassette::record(&path).max_body_size(1000);
    let client = with(cassette.clone());
    assert_eq!(client.get(server.url("/bytes/1000")).unwrap().bytes().unwrap(), pattern(1000));
    cassette.check().unwrap();
    assert_eq!(client.get(server.url("/bytes/1001")).unwrap().bytes().unwrap(), pattern(1001));
    let error = cassette.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(entries(&path).len(), 1);
    // A request's body beyond it is told apart by its hash, streamed or not.
    let send = |client: &HttpClient, bytes: Vec<u8>| {
        client.post(server.url("/status/200"), Body::from_reader(std::io::Cursor::new(bytes))).map(|_| ())
    };
    send(&client, pattern(2000)).unwrap();
    let body = &entries(&path)[1]["request"]["body"];
    assert!(body["length"] == 2000 && body["hash"].is_string() && body.get("text").is_none(), "{body}");
    let replaying = with(Cassette::replay(&path).max_body_size(1000));
    assert!(send(&replaying, vec![7; 2000]).is_err());
    send(&replaying, pattern(2000)).unwrap();
}

#[test]
fn recording_streams_and_holds_nothing_back() {
    let (_folder, path) = file();
    let server = Server::faults();
    let client = with(Cassette::record(&path));
    let response = client.get(server.url("/idle-events")).unwrap();
    assert_eq!(response.status(), 200, "the head came before the body's end");
    let mut stalled = client.get(server.url("/stall/5")).unwrap();
    std::io::Read::read_exact(stalled.body_mut(), &mut [0; 5]).unwrap();
    assert_eq!(entries(&path).len(), 0, "an entry is written at its end");
    drop(stalled);
    drop(response);
    let all = entries(&path);
    assert_eq!(
        (&all[0]["response"]["body"]["partial"], &all[1]["response"]["body"]["partial"]),
        (&true.into(), &true.into())
    );
    assert_eq!(all[1]["response"]["body"]["text"], "");
}

#[test]
fn many_tasks_record_into_and_replay_from_one_file() {
    let (_folder, path) = file();
    let server = Server::faults();
    let run = |client: &HttpClient| {
        let one = |number: usize| {
            let future = client.post_async(server.url(&format!("/echo?n={number}")), format!("body {number}"));
            async move { future.await.unwrap().text().await.unwrap() }
        };
        use marmot::AsyncReadResponseExt as _;
        let texts = block_on(join_all((0..100).map(one)));
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(*text, format!("body {number}"));
        }
    };
    let cassette = Cassette::record(&path);
    run(&with(cassette.clone()));
    cassette.check().unwrap();
    assert_eq!(entries(&path).len(), 100);
    let sent = server.requests().len();
    let (first, second) = (with(Cassette::replay(&path)), with(Cassette::replay(&path)));
    std::thread::scope(|scope| {
        scope.spawn(|| run(&first));
        scope.spawn(|| run(&second));
    });
    assert_eq!(server.requests().len(), sent);
}

#[test]
fn timing_is_kept_if_asked_and_time_limits_hold() {
    let (_folder, path) = file();
    let server = Server::faults();
    let url = server.url("/delay/200");
    with(Cassette::record(&path)).get(&url).unwrap().consume().unwrap();
    let begun = Instant::now();
    with(Cassette::replay(&path).keep_timing(true)).get(&url).unwrap().consume().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());
    let short = Request::get(&url).timeout(Duration::from_millis(20)).body(()).unwrap();
    let error = with(Cassette::replay(&path).keep_timing(true)).send(short).unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Response));
}

#[test]
fn a_client_in_replay_refuses_handlers() {
    #[derive(Default)]
    struct Hears(Option<ErrorKind>);
    impl Handler for Hears {
        fn on_request(&mut self, _: &mut Request<()>, _: &marmot::handler::Control) -> Next {
            panic!("nothing is sent");
        }
        fn on_response(&mut self, _: Response<()>) -> Next {
            panic!("nothing is sent");
        }
        fn on_response_readable(&mut self, _: &mut marmot::handler::Decoder<'_>) -> Next {
            panic!("nothing is sent");
        }
        fn on_error(&mut self, error: Error) -> Next {
            self.0 = Some(error.kind());
            Next::remove()
        }
    }
    let (_folder, path) = file();
    std::fs::write(&path, "").unwrap();
    let client = with(Cassette::replay(&path));
    let request = Request::get("http://127.0.0.1:1/").body(()).unwrap();
    assert_eq!(client.drive(request, Hears::default()).wait().unwrap().0, Some(ErrorKind::NoRecording));
}

#[test]
fn a_cassette_that_cannot_be_opened_fails_the_build() {
    let (folder, path) = file();
    let build = |cassette| HttpClient::builder().cassette(cassette).build().unwrap_err();
    assert_eq!(build(Cassette::replay(&path)).kind(), ErrorKind::Io);
    assert_eq!(build(Cassette::record(folder.path())).kind(), ErrorKind::Io);
    std::fs::write(&path, "not a cassette\n").unwrap();
    let error = build(Cassette::auto(&path));
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("cassette.jsonl"), "{error}");
}

#[test]
fn a_recorder_leaves_rewinding_to_the_steps_around_it() {
    let (_folder, path) = file();
    let server = Server::faults();
    let run = |cassette| {
        let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).cassette(cassette).build().unwrap();
        let body = AsyncBody::rewindable(|| Ok(AsyncBody::from_reader(futures::io::Cursor::new("twice")))).unwrap();
        let url = server.url("/redirect-to?url=/anything&status=307");
        let text = client.post(url, Body::from(body)).unwrap().text().unwrap();
        assert!(text.contains("twice"), "{text}");
    };
    run(Cassette::record(&path));
    assert_eq!(entries(&path).len(), 2);
    run(Cassette::replay(&path));
}
