//! Odd heads, odd headers, odd URLs: what is sent for them and what is made of them. Faults of time are in `errors.rs`.

use std::error::Error as _;
use std::io::{Cursor, Read, Write};
use std::time::{Duration, Instant};

use marmot::config::RedirectPolicy;
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::support::{RawServer, Server};

fn limited() -> HttpClient {
    HttpClient::builder().timeout(Duration::from_secs(10)).build().unwrap()
}

/// What becomes of a response whose bytes are these: status and body, or the kind of its error.
fn made_of(raw: &'static str) -> Result<(u16, String), ErrorKind> {
    let server = RawServer::start(move |mut conn, _, _| {
        let _ = conn.read(&mut [0; 4096]);
        let _ = conn.write_all(raw.as_bytes());
    });
    let result =
        limited().get(server.url("/")).and_then(|mut response| Ok((response.status().as_u16(), response.text()?)));
    result.map_err(|error| error.kind())
}

#[test]
fn a_lenient_head_is_understood() {
    for (raw, status, body) in [
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        ("HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello"),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, "hello"),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5 \r\n\r\nhello", 200, "hello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and what is not part of it", 200, "hello"),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, ""),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n0\r\nX: 1\r\n\r\n",
            200,
            "hello",
        ),
    ] {
        assert_eq!(made_of(raw), Ok((status, body.to_owned())), "{raw:?}");
    }
}

#[test]
fn a_head_that_is_none_is_a_violation() {
    for raw in [
        "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "ICY 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX y: 1\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n: nameless\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello too long\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        assert_eq!(made_of(raw), Err(ErrorKind::ProtocolViolation), "{raw:?}");
    }
    for raw in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: a",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
    ] {
        assert_eq!(made_of(raw), Err(ErrorKind::ResponseBodyTruncated), "{raw:?}");
    }
}

#[test]
fn a_transfer_coding_that_was_not_asked_for_is_a_violation() {
    for raw in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: bogus\r\n\r\nhello",
    ] {
        assert_eq!(made_of(raw), Err(ErrorKind::ProtocolViolation), "{raw:?}");
    }
}

#[test]
fn every_error_is_one_line_that_names_its_url_and_its_cause_once() {
    let server = Server::faults();
    let client = HttpClient::builder()
        .timeout(Duration::from_millis(1500))
        .redirect_policy(RedirectPolicy::Limit(3))
        .build()
        .unwrap();
    for path in [
        "/reset/before-head",
        "/reset/in-body",
        "/close/before-head",
        "/close/in-body",
        "/truncated-chunk",
        "/bad-chunk",
        "/http09",
        "/nul-in-header",
        "/content-length/and-chunked",
        "/huge-headers/1000",
        "/gzip-corrupt",
        "/gzip-truncated",
        "/gzip-bomb/64",
        "/redirect-loop",
        "/redirect-bad",
        "/redirect-to?url=file:///etc/passwd",
        "/stall-head",
        "/stall/10",
    ] {
        let result = client.get(server.url(path)).and_then(|mut response| response.bytes());
        let error = result.err().unwrap_or_else(|| panic!("{path} should fail"));
        let line = error.to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.ends_with(&format!(" ({})", server.url(path))), "{line}");
        assert!(line.starts_with(error.kind().description()), "{line}");
        if let Some(cause) = error.source() {
            let cause = cause.to_string();
            assert!(!cause.is_empty() && !line.contains(&cause), "{line}: {cause}");
            assert_eq!(error.chain().matches(&cause).count(), 1, "{}", error.chain());
        }
        assert!(error.clone().to_string() == line && error.url() == Some(server.url(path).as_str()));
    }
}

#[test]
fn an_expectation_may_be_met_ignored_or_refused() {
    let server = Server::faults();
    let client = limited();
    let bodies: [fn() -> Body; 3] = [
        || "hello".into(),
        || Body::from_reader(Cursor::new("hello")),
        || Body::from_reader_sized(Cursor::new("hello"), 5),
    ];
    for body in bodies {
        let send = |path: &str| {
            let request = Request::post(server.url(path)).header("expect", "100-continue").body(body()).unwrap();
            let mut response = client.send(request).unwrap();
            (response.status().as_u16(), response.text().unwrap())
        };
        assert_eq!(send("/echo"), (200, "hello".into()));
        assert_eq!(send("/expect/ignored"), (200, "5".into()), "it is not waited for without end");
        // The refusal may be handed on or answered by a second try.
        let (status, text) = send("/expect/refused");
        assert!((status, text.as_str()) == (200, "5") || status == 417, "{status} {text}");
        assert_eq!(send("/early-response").0, 413);
    }
}

#[test]
fn urls_reach_the_server_as_they_are_but_for_their_dots() {
    let server = Server::start(|request, responder| responder.text(200, &request.target));
    let client = limited();
    for (path, target) in [
        ("", "/"),
        ("?x=1", "/?x=1"),
        ("/a//b", "/a//b"),
        ("/a/../b/./c", "/b/c"),
        ("/a%20b%2Fc/%C3%BC", "/a%20b%2Fc/%C3%BC"),
        ("/q?a=b&&c=%26&d", "/q?a=b&&c=%26&d"),
        ("/{x}/[1-3]/*;p='q'|~", "/{x}/[1-3]/*;p='q'|~"),
        ("/x?q=[1]&{a}", "/x?q=[1]&{a}"),
    ] {
        // More than once: what was asked for before is not read anew.
        for time in 1..=3 {
            assert_eq!(client.get(server.url(path)).unwrap().text().unwrap(), target, "{path}, time {time}");
        }
    }
    for path in ["/one", "/one", "/two", "/one", "/one?", "/one?", "/one", "/%6Fne", "/on", "/one", "/one"] {
        assert_eq!(client.get(server.url(path)).unwrap().text().unwrap(), path);
    }
    // What is no URL to libcurl is none each time.
    for _ in 0..3 {
        let error = client.get("http://[::g]/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[test]
fn headers_of_the_connection_are_refused_or_obeyed() {
    let server = Server::faults();
    let client = limited();
    let post = |name: &str, value: &str| {
        client.send(Request::post(server.url("/echo")).header(name, value).body("body").unwrap())
    };
    for (name, value) in [("connection", "keep-alive"), ("te", "trailers"), ("content-length", "4"), ("accept", "")] {
        assert_eq!(post(name, value).unwrap().text().unwrap(), "body", "{name}: {value}");
        assert_eq!(server.last_request().header(name), Some(value), "{name}");
    }
    assert_eq!(server.accepted(), 1);
    post("connection", "close").unwrap().consume().unwrap();
    assert!(server.wait_open(0, Duration::from_secs(5)), "close closes");
    for (name, value) in
        [("connection", "upgrade"), ("host", ""), ("content-length", "-4"), ("transfer-encoding", "gzip")]
    {
        assert_eq!(post(name, value).unwrap_err().kind(), ErrorKind::InvalidRequest, "{name}: {value}");
    }
}

#[test]
fn a_header_of_nothing_but_spaces_is_sent_all_the_same() {
    let server = Server::faults();
    let request = Request::get(server.url("/get")).header("x-blank", " ").header("x-after", "1").body(()).unwrap();
    limited().send(request).unwrap();
    assert_eq!(server.last_request().header("x-blank"), Some(""));
    assert_eq!(server.last_request().header("x-after"), Some("1"));
}

#[test]
fn a_location_of_any_form_is_resolved() {
    let target = Server::start(|request, responder| responder.text(200, &request.target));
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::Limit(5))
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let follow = |location: &str| {
        let location = location.replace("TARGET", &target.addr().to_string());
        let server = Server::start(move |request, responder| match request.target.as_str() {
            "/a/start?q" => responder.send(302, &[("Location", &location)], b""),
            other => responder.text(200, other),
        });
        client.get(server.url("/a/start?q")).and_then(|mut response| response.text()).map_err(|error| error.kind())
    };
    for (location, expected) in [
        ("/get", "/get"),
        ("get", "/a/get"),
        ("../get", "/get"),
        ("../../../get", "/get"),
        ("?x=1", "/a/start?x=1"),
        ("/g\u{fc}t", "/g%C3%BCt"),
        ("/a b", "/a%20b"),
        ("/get#fragment", "/get"),
        ("http://TARGET", "/"),
        ("HTTP://TARGET/x", "/x"),
        ("//TARGET/y", "/y"),
        ("http://user:secret@TARGET/z", "/z"),
    ] {
        assert_eq!(follow(location), Ok(expected.to_owned()), "{location}");
    }
    assert!(
        target.requests().iter().all(|request| !request.has_header("authorization")),
        "nobody sets our credentials"
    );
    for (location, kind) in [
        ("http://exa mple/", ErrorKind::ProtocolViolation),
        ("http://TARGET:99999/", ErrorKind::ProtocolViolation),
        ("javascript:alert(1)", ErrorKind::NotAllowed),
        ("data:text/plain,x", ErrorKind::NotAllowed),
        ("#fragment", ErrorKind::TooManyRedirects),
    ] {
        assert_eq!(follow(location), Err(kind), "{location}");
    }
}

#[test]
fn the_body_of_a_redirect_is_not_waited_for() {
    let server = Server::start(|request, responder| match request.target.as_str() {
        "/start" => {
            responder.head(302, &[("Location", "/end"), ("Content-Length", "100000")])?;
            responder.body(b"a beginning")?;
            responder.stall()
        }
        _ => responder.text(200, "here"),
    });
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.get(server.url("/start")).unwrap().text().unwrap(), "here");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn credentials_of_a_url_stay_with_their_origin() {
    let own = Server::faults();
    let other = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).url_credentials(true).build().unwrap();
    let secret = |url: String| url.replace("http://", "http://user:secret@");
    client.get(secret(own.url(&format!("/redirect-to?url={}", other.url("/get"))))).unwrap();
    assert!(!other.last_request().has_header("authorization"), "not elsewhere");
    let response = client.get(secret(own.url("/redirect-to?url=/basic-auth/user/secret"))).unwrap();
    assert_eq!(response.status(), 200, "but on its own origin");
    assert!(!response.effective_uri().unwrap().authority().unwrap().as_str().contains('@'), "nor is it shown");
}

#[test]
fn a_default_authorization_does_not_travel() {
    let own = Server::faults();
    let other = Server::faults();
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::Follow)
        .default_header("authorization", "Own secret")
        .default_header("cookie", "a=b")
        .build()
        .unwrap();
    client.get(own.url(&format!("/redirect-to?url={}", other.url("/get")))).unwrap();
    assert!(own.last_request().has_header("authorization"));
    assert!(!other.last_request().has_header("authorization") && !other.last_request().has_header("cookie"));
}
