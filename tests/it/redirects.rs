//! Redirects on the wire: what is asked again, where, with what. The rules alone are tested beside them.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use marmot::config::RedirectPolicy;
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::support::{Server, pattern};

fn following() -> HttpClient {
    HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap()
}

/// A URL of `server` that redirects to `target`.
fn redirect(server: &Server, status: u16, target: &str) -> String {
    let query = target.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    server.url(&format!("/redirect-to?url={query}&status={status}"))
}

#[test]
fn the_policy_says_how_far() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    assert_eq!(client.get(server.url("/redirect/1")).unwrap().status(), 302, "none are followed by default");
    let get = |policy, path: &str| {
        let request = Request::get(server.url(path)).redirect_policy(policy).body(()).unwrap();
        client.send(request)
    };
    assert_eq!(get(RedirectPolicy::Follow, "/redirect/10").unwrap().status(), 200);
    assert_eq!(get(RedirectPolicy::Follow, "/redirect/11").unwrap_err().kind(), ErrorKind::TooManyRedirects);
    assert_eq!(get(RedirectPolicy::Limit(30), "/redirect/25").unwrap().status(), 200);
    assert_eq!(get(RedirectPolicy::Limit(3), "/redirect/3").unwrap().status(), 200);
    assert_eq!(get(RedirectPolicy::Limit(3), "/redirect/4").unwrap_err().kind(), ErrorKind::TooManyRedirects);
    assert_eq!(get(RedirectPolicy::Limit(0), "/redirect/1").unwrap_err().kind(), ErrorKind::TooManyRedirects);
    assert_eq!(get(RedirectPolicy::Limit(30), "/redirect-loop").unwrap_err().kind(), ErrorKind::TooManyRedirects);
    assert_eq!(get(RedirectPolicy::Follow, "/redirect-no-location").unwrap().status(), 302);
    let error = get(RedirectPolicy::Follow, "/redirect-bad").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProtocolViolation);
    for target in ["file:///etc/passwd", "gopher://localhost/", "ftp://localhost/"] {
        let request = Request::get(redirect(&server, 302, target)).body(()).unwrap();
        assert_eq!(following().send(request).unwrap_err().kind(), ErrorKind::NotAllowed, "{target}");
    }
}

#[test]
fn the_effective_url_is_the_last_one_and_a_connection_serves_all() {
    let server = Server::faults();
    let response = following().get(server.url("/redirect/5")).unwrap();
    assert_eq!(response.effective_uri().unwrap().to_string(), server.url("/get"));
    assert!(server.accepted() <= 2, "{}", server.accepted());
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn method_and_body_follow_the_rules_on_the_wire() {
    let server = Server::faults();
    let client = following();
    for (status, method, expected, keeps_body) in [
        (301, "POST", "GET", false),
        (302, "POST", "GET", false),
        (303, "POST", "GET", false),
        (303, "PUT", "GET", false),
        (307, "POST", "POST", true),
        (308, "PUT", "PUT", true),
        (302, "DELETE", "DELETE", true),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(redirect(&server, status, "/anything"))
            .header("content-type", "text/x-marmot")
            .header("content-language", "rm")
            .header("x-other", "stays")
            .body("body")
            .unwrap();
        client.send(request).unwrap();
        let seen = server.last_request();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (expected, "/anything"), "{status} {method}");
        assert_eq!(seen.text(), if keeps_body { "body" } else { "" }, "{status} {method}");
        assert_eq!(seen.has_header("content-type"), keeps_body, "{status} {method}");
        assert_eq!(seen.has_header("content-language"), keeps_body, "{status} {method}");
        assert_eq!(seen.has_header("content-length"), keeps_body, "{status} {method}");
        assert!(seen.has_header("x-other"));
    }
    for status in [301, 302, 303, 307, 308] {
        client.head(redirect(&server, status, "/anything")).unwrap();
        assert_eq!(server.last_request().method, "HEAD", "{status}");
    }
}

#[test]
fn a_body_is_sent_again_if_it_can_be_made_again() {
    let server = Server::faults();
    let client = following();
    let url = || redirect(&server, 307, "/echo");
    let data = pattern(100_000);
    let copy = data.clone();
    let again = Body::rewindable(move || Ok(Body::from_reader(Cursor::new(copy.clone())))).unwrap();
    assert!(client.post(url(), again).unwrap().bytes().unwrap() == data);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &data).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    assert!(client.post(url(), Body::from_file(file).unwrap()).unwrap().bytes().unwrap() == data);
    let once = Body::from_reader(Cursor::new("once"));
    assert_eq!(client.post(url(), once).unwrap_err().kind(), ErrorKind::RequestBodyNotRewindable);
    let once = Body::from_reader(Cursor::new("once"));
    assert_eq!(client.post(redirect(&server, 303, "/get"), once).unwrap().status(), 200, "not needed again");
}

#[test]
fn a_body_is_made_once_for_each_time_that_it_is_sent() {
    let server = Server::faults();
    let client = following();
    let made = Arc::new(AtomicUsize::new(0));
    let body = || {
        made.store(0, Ordering::SeqCst);
        let made = made.clone();
        let make = move || {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(Body::from_reader(Cursor::new("again")))
        };
        Body::rewindable(make).unwrap()
    };
    for (url, times) in [
        (server.url("/echo"), 1),
        (redirect(&server, 303, "/get"), 1),
        (redirect(&server, 307, "/echo"), 2),
        (redirect(&server, 308, &redirect(&server, 307, "/echo")), 3),
    ] {
        assert_eq!(client.post(&url, body()).unwrap().status(), 200);
        assert_eq!(made.load(Ordering::SeqCst), times, "{url}");
    }
}

#[test]
fn secrets_reach_their_own_origin_and_no_other() {
    let own = Server::faults();
    let other = Server::faults();
    let client =
        HttpClient::builder().redirect_policy(RedirectPolicy::Follow).basic_auth("anna", "secret").build().unwrap();
    let request = |url: String| {
        let mut key = HeaderValue::from_static("k3y");
        key.set_sensitive(true);
        let mut request = Request::get(url).header("cookie", "a=b").header("x-plain", "p").body(()).unwrap();
        request.headers_mut().insert("x-api-key", key);
        request
    };
    client.send(request(redirect(&own, 302, "/get"))).unwrap();
    let seen = own.last_request();
    for name in ["authorization", "cookie", "x-api-key", "x-plain"] {
        assert!(seen.has_header(name), "{name} stays on its origin");
    }
    // Away, and back again: what was dropped stays dropped.
    let back = redirect(&other, 302, &own.url("/get"));
    client.send(request(redirect(&own, 302, &back))).unwrap();
    for seen in [other.last_request(), own.last_request()] {
        assert!(seen.has_header("x-plain"));
        for name in ["authorization", "cookie", "x-api-key"] {
            assert!(!seen.has_header(name), "{name} went elsewhere");
        }
    }
    let mut with_header = Request::get(redirect(&own, 302, &other.url("/get"))).body(()).unwrap();
    with_header.headers_mut().insert("authorization", HeaderValue::from_static("Own secret"));
    client.send(with_header).unwrap();
    assert!(!other.last_request().has_header("authorization"));
}

#[test]
fn a_referer_and_allowed_hosts_apply_on_the_way() {
    let server = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).auto_referer().build().unwrap();
    client.get(server.url("/redirect/1")).unwrap();
    assert_eq!(server.last_request().header("referer"), Some(server.url("/redirect/1").as_str()));

    let other = Server::faults();
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::Follow)
        .allowed_hosts([format!("127.0.0.1:{}", server.addr().port())])
        .build()
        .unwrap();
    let error = client.get(redirect(&server, 302, &other.url("/get"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EgressDenied);
    assert_eq!(other.accepted(), 0);
}
