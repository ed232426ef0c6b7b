//! What must never happen on the wire: another scheme, a request sent twice, keys or credentials that nobody asked for.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use marmot::config::{RedirectPolicy, RetryPolicy};
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::alone::run_alone;
use crate::support::{RawServer, Server};

fn limited() -> HttpClient {
    HttpClient::builder().timeout(Duration::from_secs(10)).build().unwrap()
}

const FOREIGN: [&str; 17] = [
    "file", "ftp", "ftps", "gopher", "gophers", "dict", "imap", "imaps", "ldap", "mqtt", "mqtts", "pop3", "scp", "smb",
    "smtp", "telnet", "tftp",
];

#[test]
fn no_scheme_but_http_and_https_is_spoken() {
    let server = Server::faults();
    let port = server.addr().port();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    for scheme in FOREIGN.iter().chain(&["ws", "wss", "javascript", "data", "unix"]) {
        for place in [format!("127.0.0.1:{port}/etc/passwd"), "localhost/etc/passwd".to_owned()] {
            let url = format!("{scheme}://{place}");
            if let Ok(request) = Request::get(&url).body(()) {
                let error = client.send(request).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{url}: {error:?}");
            }
            let before = server.requests().len();
            let error = client.get(server.url(&format!("/redirect-to?url={url}"))).unwrap_err();
            let refused = matches!(error.kind(), ErrorKind::NotAllowed | ErrorKind::ProtocolViolation);
            assert!(refused, "{url}: {error:?}");
            assert_eq!(server.requests().len(), before + 1, "{url}");
            let chosen = url.clone();
            let policy = RedirectPolicy::custom(3, move |hop| {
                if let Ok(url) = chosen.parse() {
                    *hop.uri = url;
                }
                marmot::config::RedirectAction::Follow
            });
            if url.parse::<http::Uri>().is_ok() {
                let request = Request::get(server.url("/redirect/1")).redirect_policy(policy).body(()).unwrap();
                assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::InvalidRequest, "{url}");
            }
        }
    }
    assert!(server.requests().iter().all(|request| request.method == "GET" && request.target.starts_with("/redirect")));
}

#[test]
fn a_request_that_is_not_safe_to_repeat_is_sent_once() {
    let client = limited();
    for (method, key, policy, times) in [
        ("POST", false, None, 1),
        ("PATCH", false, None, 1),
        ("CHARGE", false, None, 1),
        ("GET", false, None, 2),
        ("PUT", false, None, 2),
        ("DELETE", false, None, 2),
        ("POST", true, None, 2),
        ("POST", false, Some(RetryPolicy::new()), 1),
        ("POST", false, Some(RetryPolicy::new().danger_any_method(true)), 2),
    ] {
        for body in ["", "amount=100"] {
            let server = Server::faults();
            // The connection is open, and is closed without a word when the request is there.
            client.get(server.url("/keepalive-then-drop")).unwrap().consume().unwrap();
            let mut request = Request::builder().method(method).uri(server.url("/anything")).retry(policy.clone());
            if key {
                request = request.header("idempotency-key", "1");
            }
            let result = client.send(request.body(body).unwrap());
            let sent = server.requests().iter().filter(|request| request.target == "/anything").count();
            assert_eq!(sent, times, "{method} {body:?} {key} {policy:?}");
            match result {
                Ok(response) => assert!(response.status() == 200 && times == 2, "{method}"),
                Err(error) => {
                    assert!(times == 1 && error.kind() == ErrorKind::Io, "{method}: {error:?}");
                    assert!(error.to_string().contains("not safe to repeat"), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_request_that_nobody_heard_is_sent_again() {
    // Closes after each response without having said so, as some proxies do: the end is under way, or not yet.
    let server = RawServer::start(|mut conn, _, _| {
        let mut buffer = [0; 4096];
        let mut length = 0;
        while !buffer[..length].ends_with(b"\r\n\r\n") && !buffer[..length].ends_with(b"amount=100") {
            match conn.read(&mut buffer[length..]) {
                Ok(more @ 1..) => length += more,
                _ => return,
            }
        }
        let _ = conn.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    });
    let client = limited();
    let mut heard = 0;
    for _ in 0..50 {
        client.get(server.url("/")).unwrap().consume().unwrap();
        match client.post(server.url("/"), "amount=100") {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                heard += 1;
            }
            // libcurl may have met the reset while it was sending, which takes the proof away.
            Err(error) => assert!(error.to_string().contains("not safe to repeat"), "{error:?}"),
        }
    }
    // Nearly all, on a machine that has nothing else to do.
    assert!(heard >= 5, "{heard} of 50");
}

#[test]
fn a_streamed_body_is_sent_once() {
    let server = Server::faults();
    let client = limited();
    client.get(server.url("/keepalive-then-drop")).unwrap().consume().unwrap();
    let body = Body::from_reader(std::io::Cursor::new("amount=100"));
    assert!(client.post(server.url("/anything"), body).is_err());
    assert_eq!(server.requests().iter().filter(|request| request.target == "/anything").count(), 1);
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200);
}

#[test]
fn credentials_in_a_url_are_refused_unless_asked_for_and_never_shown() {
    let server = Server::faults();
    let client = limited();
    for user in ["anna:c4nary@", "c4nary@", ":c4nary@", "a:b:c4nary@", "%63anary:c4nary@", "@"] {
        let url = server.url("/get").replace("//", &format!("//{user}"));
        let Ok(request) = Request::get(&url).body(()) else { continue };
        let error = client.send(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{url}");
        assert!(!format!("{error} {error:?} {}", error.chain()).contains("c4nary"), "{error:?}");
    }
    assert_eq!(server.accepted(), 0);
    for user in ["a%0d%0ax: 1:b@", "a:b%0d%0aX: 1@", "%00:b@", "%zz:b@", "a:%@"] {
        let url = server.url("/get").replace("//", &format!("//{user}"));
        let Ok(request) = Request::get(&url).url_credentials(true).body(()) else { continue };
        if client.send(request).is_ok() {
            let seen = server.last_request();
            assert!(seen.header("authorization").unwrap().starts_with("Basic "), "encoded");
            assert!(!seen.has_header("x"));
        }
    }
}

#[test]
fn passwords_of_the_home_directory_are_not_looked_up() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".netrc"), "machine 127.0.0.1 login anna password c4nary\ndefault login x password y\n")
        .unwrap();
    if !run_alone("security::passwords_of_the_home_directory_are_not_looked_up", |command| {
        command.env("HOME", home.path()).env("NETRC", home.path().join(".netrc"));
    }) {
        return;
    }
    let server = Server::faults();
    let client = limited();
    client.get(server.url("/get")).unwrap();
    client.get(server.url("/basic-auth/anna/c4nary")).unwrap();
    assert!(server.requests().iter().all(|request| !request.has_header("authorization")));
    // Where it is asked for it works, so that the test does see it.
    let request = Request::get(server.url("/basic-auth/anna/c4nary")).netrc(marmot::config::NetRc::Default);
    assert_eq!(client.send(request.body(()).unwrap()).unwrap().status(), 200);
    client.get(server.url("/get")).unwrap();
    assert!(!server.last_request().has_header("authorization"), "nor does it stay with the handle");
}

#[test]
fn proxies_of_the_environment_can_be_declined() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    if !run_alone("security::proxies_of_the_environment_can_be_declined", |command| {
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(name, &address);
        }
        command.env_remove("no_proxy").env_remove("NO_PROXY");
    }) {
        assert!(proxy.accept().is_ok(), "the one request that obeys came by");
        assert!(proxy.accept().is_err(), "and no other");
        return;
    }
    let server = Server::faults();
    let declining = HttpClient::builder().proxy_from_env(false).build().unwrap();
    assert_eq!(declining.get(server.url("/get")).unwrap().status(), 200);
    let without = HttpClient::builder().proxy(None).build().unwrap();
    assert_eq!(without.get(server.url("/get")).unwrap().status(), 200);
    let obeying = HttpClient::builder().timeout(Duration::from_millis(300)).build().unwrap();
    assert!(obeying.get(server.url("/get")).is_err(), "by default they are obeyed");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn keys_of_tls_are_not_written_because_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("keys");
    if !run_alone("security::keys_of_tls_are_not_written_because_of_the_environment", |command| {
        command.env("SSLKEYLOGFILE", &log);
    }) {
        assert!(!log.exists(), "nothing was written");
        return;
    }
    let nginx = crate::support::Nginx::start().unwrap();
    let client = HttpClient::builder().danger_accept_invalid_certs(true).build().unwrap();
    assert_eq!(client.get(nginx.tls_url("/")).unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    // The lookup of a name is a connection with TLS as well.
    let lookup = HttpClient::builder()
        .danger_accept_invalid_certs(true)
        .dns_over_https(nginx.tls_url("/dns-query").as_str())
        .timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let error = lookup.get("http://name.invalid/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{error:?}");
}
