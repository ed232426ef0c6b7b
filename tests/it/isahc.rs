//! What a user of isahc expects, case by case, with that crate's names. Faults and limits are tested by topic elsewhere.

use std::io::{self, Cursor, Read};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::io::AsyncReadExt;
use http::{HeaderValue, Method, StatusCode, Version};
use marmot::config::{RedirectPolicy, VersionNegotiation};
use marmot::prelude::*;
use marmot::{AsyncBody, Body, Error, ErrorKind, Response};

use crate::support::{Server, pattern};

fn answering(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> Server {
    Server::start(move |_, responder| responder.send(status, headers, body.as_bytes()))
}

#[test]
fn a_simple_request_has_a_status_a_version_and_a_body() {
    let server = answering(200, &[("Server", "loop")], "hello");
    let mut response = marmot::get(server.url("/")).unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));
    assert_eq!(response.headers()["server"], "loop");
    assert_eq!(response.text().unwrap(), "hello");
    assert_eq!(server.last_request().method, "GET");
}

#[test]
fn a_client_error_and_a_server_error_are_responses() {
    let server = Server::faults();
    for code in [400, 401, 404, 418, 429, 500, 503, 599] {
        let mut response = marmot::get(server.url(&format!("/status/{code}"))).unwrap();
        assert_eq!(response.status().as_u16(), code);
        assert_eq!(response.text().unwrap(), format!("status {code}\n"));
    }
}

#[test]
fn methods_arrive_as_they_are_also_the_unusual_ones() {
    let server = Server::faults();
    let methods =
        [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH, Method::TRACE];
    let own = ["FOO", "PROPFIND", "M-SEARCH", "get"].map(|name| Method::from_bytes(name.as_bytes()).unwrap());
    for method in methods.into_iter().chain(own) {
        let request = Request::builder().method(method.clone()).uri(server.url("/anything")).body(()).unwrap();
        assert_eq!(request.send().unwrap().status(), 200, "{method}");
        assert_eq!(server.last_request().method, method.as_str());
    }
}

#[test]
fn any_method_may_carry_a_body() {
    let server = Server::faults();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        for (body, framing) in [
            (Body::from("MyVariableOne=ValueOne&MyVariableTwo=ValueTwo"), Some("45")),
            (Body::from_reader(Cursor::new("MyVariableOne=ValueOne&MyVariableTwo=ValueTwo")), None),
        ] {
            let request = Request::builder().method(method).uri(server.url("/echo")).body(body).unwrap();
            let text = request.send().unwrap().text().unwrap();
            assert_eq!(text, "MyVariableOne=ValueOne&MyVariableTwo=ValueTwo", "{method}");
            let seen = server.last_request();
            assert_eq!(seen.header("content-length"), framing, "{method}");
            assert_eq!(seen.header("transfer-encoding"), framing.is_none().then_some("chunked"), "{method}");
        }
    }
}

#[test]
fn a_body_of_no_bytes_is_still_framed() {
    let server = Server::faults();
    for (body, length, chunked) in [
        (Body::empty(), Some("0"), false),
        (Body::from(""), Some("0"), false),
        (Body::from_reader_sized(io::empty(), 0), Some("0"), false),
        (Body::from_reader(io::empty()), None, true),
    ] {
        marmot::post(server.url("/anything"), body).unwrap();
        let seen = server.last_request();
        assert_eq!((seen.header("content-length"), seen.has_header("transfer-encoding")), (length, chunked));
        assert!(seen.body.is_empty());
    }
    marmot::get(server.url("/anything")).unwrap();
    assert!(!server.last_request().has_header("content-length"), "a GET announces nothing");
}

#[test]
fn the_content_type_is_the_callers_alone() {
    let server = Server::faults();
    Request::post(server.url("/anything"))
        .header("Content-Type", "application/json")
        .body("{}")
        .unwrap()
        .send()
        .unwrap();
    assert_eq!(server.last_request().header_values("content-type").collect::<Vec<_>>(), [b"application/json"]);
    Request::post(server.url("/anything")).body("{}").unwrap().send().unwrap();
    assert!(!server.last_request().has_header("content-type"));
}

#[test]
fn redirects_are_not_followed_unless_asked_for() {
    let server = Server::faults();
    let response = marmot::get(server.url("/redirect/1")).unwrap();
    assert_eq!(
        (response.status(), &response.headers()["location"]),
        (StatusCode::FOUND, &HeaderValue::from_static("/get"))
    );
    assert_eq!(response.effective_uri().unwrap().path(), "/redirect/1");
    let request = Request::get(server.url("/redirect/1")).redirect_policy(RedirectPolicy::Follow).body(()).unwrap();
    let response = request.send().unwrap();
    assert_eq!((response.status(), response.effective_uri().unwrap().path()), (StatusCode::OK, "/get"));
}

#[test]
fn a_post_becomes_a_get_after_303_and_stays_after_307() {
    let server = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    for (status, method, body) in [(303, "GET", ""), (307, "POST", "hello"), (308, "POST", "hello")] {
        let url = server.url(&format!("/redirect-to?status={status}&url=/anything"));
        client.post(url, "hello").unwrap();
        let seen = server.last_request();
        assert_eq!((seen.method.as_str(), seen.text().as_str()), (method, body), "{status}");
    }
}

#[test]
fn too_many_redirects_are_an_error_that_says_so() {
    let server = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Limit(5)).build().unwrap();
    let error = client.get(server.url("/redirect-loop")).unwrap_err();
    assert_eq!(error, ErrorKind::TooManyRedirects);
    assert_eq!(server.requests().len(), 6, "the first, and five more");
}

#[test]
fn the_referer_is_set_when_asked_for() {
    let server = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).auto_referer().build().unwrap();
    client.get(server.url("/redirect/2")).unwrap();
    let referers: Vec<_> =
        server.requests().iter().map(|request| request.header("referer").map(str::to_owned)).collect();
    assert_eq!(referers, [None, Some(server.url("/redirect/2")), Some(server.url("/redirect/1"))]);
}

#[test]
fn a_request_times_out_and_a_quick_one_does_not() {
    let server = Server::faults();
    let start = Instant::now();
    let request = Request::get(server.url("/delay/5000")).timeout(Duration::from_millis(200)).body(()).unwrap();
    let error = request.send().unwrap_err();
    assert!(error.is_timeout() && error == ErrorKind::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_millis(1000), "{:?}", start.elapsed());
    let request = Request::get(server.url("/text")).timeout(Duration::from_secs(30)).body(()).unwrap();
    assert_eq!(request.send().unwrap().status(), 200);
}

#[test]
fn a_time_limit_holds_while_the_body_is_read() {
    let server = Server::faults();
    let request = Request::get(server.url("/slow-drip/1000/20")).timeout(Duration::from_millis(300)).body(()).unwrap();
    let mut response = request.send().unwrap();
    let error = response.copy_to(io::sink()).unwrap_err();
    assert_eq!(error, ErrorKind::Timeout);
    // The plain `Read` says the same in `std`'s words.
    let request = Request::get(server.url("/slow-drip/1000/20")).timeout(Duration::from_millis(300)).body(()).unwrap();
    let error = io::copy(request.send().unwrap().body_mut(), &mut io::sink()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn basic_authentication_is_sent() {
    let server = Server::faults();
    assert_eq!(marmot::get(server.url("/basic-auth/clark/kent")).unwrap().status(), 401);
    let request = Request::get(server.url("/basic-auth/clark/kent")).basic_auth("clark", "kent").body(()).unwrap();
    assert_eq!(request.send().unwrap().status(), 200);
    let client = HttpClient::builder().basic_auth("clark", "kent").build().unwrap();
    assert_eq!(client.get(server.url("/basic-auth/clark/kent")).unwrap().status(), 200);
}

#[test]
fn latin1_and_utf16_become_text() {
    let server = Server::faults();
    for path in ["/text", "/latin1", "/utf16", "/utf8-bom"] {
        let text = marmot::get(server.url(path)).unwrap().text().unwrap();
        assert_eq!(text, crate::support::faults::TEXT, "{path}");
        let text = block_on(async { marmot::get_async(server.url(path)).await?.text().await }).unwrap();
        assert_eq!(text, crate::support::faults::TEXT, "{path} async");
    }
}

#[test]
fn a_gzipped_response_is_decoded_and_can_be_had_raw() {
    let server = Server::faults();
    let mut response = marmot::get(server.url("/gzip")).unwrap();
    assert!(response.text().unwrap().contains("Murmeltier"));
    let request = Request::get(server.url("/gzip")).automatic_decompression(false).body(()).unwrap();
    let mut body = Vec::new();
    request.send().unwrap().copy_to(&mut body).unwrap();
    assert_eq!(body[..2], [0x1f, 0x8b]);
}

#[test]
fn repeated_headers_keep_their_order_both_ways() {
    let server = answering(200, &[("X-V", "1"), ("X-W", "x"), ("x-v", "2"), ("X-V", "3, 4")], "");
    let request = Request::get(server.url("/")).header("accept", "a/b").header("x-q", "z").header("accept", "c/d");
    let response = request.header("accept", "e/f").body(()).unwrap().send().unwrap();
    assert_eq!(server.last_request().header_values("accept").collect::<Vec<_>>(), [b"a/b", b"c/d", b"e/f"]);
    assert_eq!(response.headers().get_all("x-v").iter().collect::<Vec<_>>(), ["1", "2", "3, 4"]);
}

#[test]
fn default_headers_yield_to_those_of_a_request() {
    let server = Server::faults();
    let client = HttpClient::builder()
        .default_header("some-header", "one")
        .default_header("some-header", "two")
        .default_header("other", "default")
        .build()
        .unwrap();
    client.get(server.url("/get")).unwrap();
    let seen = server.last_request();
    assert_eq!(seen.header_values("some-header").collect::<Vec<_>>(), [b"one", b"two"]);
    let request = Request::get(server.url("/get")).header("some-header", "mine").body(()).unwrap();
    client.send(request).unwrap();
    let seen = server.last_request();
    assert_eq!(seen.header_values("some-header").collect::<Vec<_>>(), [b"mine"]);
    assert_eq!(seen.header("other"), Some("default"));
}

#[test]
fn the_accept_header_is_everything_by_default_and_can_be_replaced() {
    let server = Server::faults();
    marmot::get(server.url("/get")).unwrap();
    assert_eq!(server.last_request().header_values("accept").collect::<Vec<_>>(), [b"*/*"]);
    Request::get(server.url("/get")).header("accept", "text/html").body(()).unwrap().send().unwrap();
    assert_eq!(server.last_request().header_values("accept").collect::<Vec<_>>(), [b"text/html"]);
}

#[test]
fn the_user_agent_names_the_crate_unless_set() {
    let server = Server::faults();
    marmot::get(server.url("/get")).unwrap();
    assert!(server.last_request().header("user-agent").unwrap().starts_with("marmot/"));
    Request::get(server.url("/get")).header("user-agent", "foo").body(()).unwrap().send().unwrap();
    assert_eq!(server.last_request().header_values("user-agent").collect::<Vec<_>>(), [b"foo"]);
}

#[test]
fn metrics_are_there_when_asked_for_and_not_otherwise() {
    let server = Server::faults();
    assert!(marmot::get(server.url("/get")).unwrap().metrics().is_none());
    let request = Request::post(server.url("/echo")).metrics(true).body("hello world").unwrap();
    let mut response = request.send().unwrap();
    response.consume().unwrap();
    let metrics = response.metrics().unwrap();
    assert_eq!((metrics.uploaded, metrics.downloaded), (11, 11));
    assert!(metrics.name_lookup <= metrics.connect && metrics.connect <= metrics.transfer_start, "{metrics:?}");
    assert!(metrics.transfer_start <= metrics.time_to_first_byte && metrics.time_to_first_byte <= metrics.total);
    assert_eq!(metrics.total.subsec_nanos() % 1000, 0, "whole microseconds");
}

#[test]
fn the_remote_address_is_the_servers() {
    let server = Server::faults();
    let response = marmot::get(server.url("/get")).unwrap();
    assert_eq!(response.remote_addr(), Some(server.addr()));
    assert_eq!(response.local_addr().unwrap().ip(), server.addr().ip());
    assert_ne!(response.local_addr(), response.remote_addr());
}

#[test]
fn a_body_can_be_copied_to_a_writer_and_to_a_file() {
    let server = Server::faults();
    let mut buffer = Vec::new();
    assert_eq!(marmot::get(server.url("/bytes/8000")).unwrap().copy_to(&mut buffer).unwrap(), 8000);
    assert!(buffer == pattern(8000));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    assert_eq!(marmot::get(server.url("/bytes/8000")).unwrap().copy_to_file(&path).unwrap(), 8000);
    assert!(std::fs::read(path).unwrap() == pattern(8000));
    let mut buffer = Vec::new();
    let copied = block_on(async { marmot::get_async(server.url("/bytes/8000")).await?.copy_to(&mut buffer).await });
    assert_eq!(copied.unwrap(), 8000);
}

#[test]
fn consuming_a_body_keeps_its_connection_whatever_its_size() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..5 {
        client.get(server.url("/bytes/2000000")).unwrap().consume().unwrap();
        block_on(async { client.get_async(server.url("/bytes/2000000")).await?.consume().await }).unwrap();
    }
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_response_without_content_reads_as_empty() {
    let server = Server::faults();
    for path in ["/no-content", "/not-modified", "/bytes/0", "/chunked/0/1", "/close-delimited/0"] {
        let mut response = marmot::get(server.url(path)).unwrap();
        assert_eq!(response.text().unwrap(), "", "{path}");
        assert_eq!(response.body_mut().read(&mut [0; 10]).unwrap(), 0, "{path}");
    }
    let mut response = marmot::head(server.url("/bytes/1234")).unwrap();
    assert_eq!(response.headers()["content-length"], "1234");
    assert_eq!(response.text().unwrap(), "");
}

#[test]
fn an_async_response_is_read_in_pieces() {
    let server = Server::faults();
    block_on(async {
        let mut response: Response<AsyncBody> = marmot::get_async(server.url("/bytes/100000")).await?;
        let mut start = [0; 1000];
        response.body_mut().read_exact(&mut start).await?;
        assert!(start == pattern(1000)[..]);
        let rest = response.bytes().await?;
        assert!(rest == pattern(100_000)[1000..]);
        Ok::<_, Error>(())
    })
    .unwrap();
}

#[test]
fn a_response_outlives_its_client_and_crosses_threads() {
    let server = Server::faults();
    let response = HttpClient::new().unwrap().get(server.url("/bytes/3000000")).unwrap();
    let read = thread::spawn(move || {
        let mut response = response;
        response.bytes().unwrap().len()
    });
    assert_eq!(read.join().unwrap(), 3_000_000);
}

#[test]
fn the_version_can_be_pinned() {
    let server = Server::faults();
    for (version, seen) in [(VersionNegotiation::http10(), "HTTP/1.0"), (VersionNegotiation::http11(), "HTTP/1.1")] {
        let request = Request::get(server.url("/get")).version_negotiation(version).body(()).unwrap();
        request.send().unwrap();
        assert_eq!(server.last_request().version, seen);
    }
}

#[test]
fn a_bad_url_is_an_error_of_the_request() {
    for url in ["", "not a url", "/relative", "http://", "ftp://localhost/", "localhost", "http:///path"] {
        let error = marmot::get(url).unwrap_err();
        assert_eq!(error, ErrorKind::InvalidRequest, "{url:?}: {error}");
        let error = block_on(marmot::get_async(url)).unwrap_err();
        assert_eq!(error, ErrorKind::InvalidRequest, "{url:?}: {error}");
    }
}
