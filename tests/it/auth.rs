//! Authentication by challenge, signature and netrc, against servers that check it with code of their own.

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use marmot::config::{AwsSigV4, NetRc, RedirectPolicy};
use marmot::prelude::*;
use marmot::{Body, ErrorKind};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::support::{Request as Seen, Server};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(algorithm: &str, text: &str) -> String {
    if algorithm == "SHA-256" { hex(&Sha256::digest(text)) } else { hex(&Md5::digest(text)) }
}

/// A parameter of a header of the form `Digest name="value", name=value`.
fn parameter(header: &str, name: &str) -> Option<String> {
    let list = header.split_once(' ')?.1;
    let found = list.split(',').filter_map(|part| part.trim().split_once('=')).find(|(known, _)| *known == name);
    found.map(|(_, value)| value.trim_matches('"').to_owned())
}

/// RFC 7616 3.4: whether the header proves that the client knows `s3cret`.
fn proves(request: &Seen, algorithm: &str) -> bool {
    let Some(header) = request.header("authorization").filter(|header| header.starts_with("Digest ")) else {
        return false;
    };
    let get = |name| parameter(header, name).unwrap_or_default();
    assert_eq!(get("uri"), request.target);
    let secret = hash(algorithm, &format!("{}:{}:s3cret", get("username"), get("realm")));
    let message = hash(algorithm, &format!("{}:{}", request.method, request.target));
    let middle = format!("{}:{}:{}:{}", get("nonce"), get("nc"), get("cnonce"), get("qop"));
    get("username") == "anna" && get("response") == hash(algorithm, &format!("{secret}:{middle}:{message}"))
}

/// Lets requests through that prove it, and challenges the others with a body in the answer.
fn digest_server(algorithm: &'static str) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request, responder| {
        if proves(request, algorithm) {
            let length = request.body.len().to_string();
            return responder.send(200, &[("X-Length", &length)], b"welcome");
        }
        let nonce = count.fetch_add(1, Ordering::Relaxed);
        let challenge = format!("Digest realm=\"r\", qop=\"auth\", algorithm={algorithm}, nonce=\"n{nonce}\"");
        responder.send(401, &[("WWW-Authenticate", &challenge), ("X-Challenge", "yes")], b"who are you?")
    })
}

#[test]
fn a_digest_challenge_is_answered_and_only_the_last_response_seen() {
    for algorithm in ["MD5", "SHA-256"] {
        let server = digest_server(algorithm);
        let client = HttpClient::builder().digest_auth("anna", "s3cret").build().unwrap();
        for _ in 0..3 {
            let mut response = client.get(server.url("/a?b=c")).unwrap();
            assert_eq!(response.status(), 200, "{algorithm}");
            assert!(!response.headers().contains_key("x-challenge"));
            assert_eq!(response.text().unwrap(), "welcome");
        }
        assert_eq!(client.head(server.url("/h")).unwrap().status(), 200);
        let long = "x".repeat(300_000);
        for body in [Body::from(long.clone()), Body::from_reader(Cursor::new(long.clone())), Body::empty()] {
            let length = body.len();
            for method in ["POST", "PUT"] {
                let body = match length {
                    Some(0) => Body::empty(),
                    Some(_) => Body::from(long.clone()),
                    None => Body::from_reader(Cursor::new(long.clone())),
                };
                let request = Request::builder().method(method).uri(server.url("/up")).body(body).unwrap();
                let mut response = client.send(request).unwrap();
                assert_eq!(response.status(), 200, "{algorithm} {method} {length:?}");
                let expected = if length == Some(0) { "0" } else { "300000" };
                assert_eq!(response.headers()["x-length"], expected, "{algorithm} {method} {length:?}");
                assert_eq!(response.text().unwrap(), "welcome");
            }
        }
        for request in server.requests() {
            assert!(!String::from_utf8_lossy(&request.head).contains("s3cret"));
        }
    }
}

#[test]
fn a_wrong_password_ends_with_the_challenge_as_the_response() {
    let server = digest_server("SHA-256");
    let client = HttpClient::builder().digest_auth("anna", "wrong").metrics(true).build().unwrap();
    for _ in 0..2 {
        let mut response = client.get(server.url("/")).unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["x-challenge"].to_str().unwrap()), (401, "yes"));
        assert_eq!(response.text().unwrap(), "who are you?");
        assert_eq!(client.head(server.url("/")).unwrap().status(), 401, "an end without a body");
        assert_eq!(client.post(server.url("/"), "body").unwrap().status(), 401);
    }
    // Challenges of a kind that libcurl does not answer.
    let other =
        Server::start(|_, responder| responder.send(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b"basic only"));
    assert_eq!(client.get(other.url("/")).unwrap().text().unwrap(), "basic only");
    assert!(!other.last_request().has_header("authorization"));
    let none = Server::start(|_, responder| responder.text(200, "open"));
    assert_eq!(client.post(none.url("/"), "body").unwrap().text().unwrap(), "open");
    assert_eq!(none.last_request().text(), "body", "a server that asks for nothing gets the body as well");
}

#[test]
fn an_own_header_wins_over_a_challenge_and_the_origin_is_not_left() {
    let server = digest_server("MD5");
    let client =
        HttpClient::builder().digest_auth("anna", "s3cret").redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let request = Request::get(server.url("/")).header("Authorization", "Own").body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 401);
    assert_eq!(server.requests().len(), 1);
    let url = server.url("/target");
    let elsewhere = Server::start(move |_, responder| responder.send(302, &[("Location", &url)], b""));
    assert_eq!(client.get(elsewhere.url("/")).unwrap().status(), 401);
    assert_eq!(server.requests().len(), 2, "no second try with credentials of another origin");
    // A handle that has answered a challenge here says nothing of it there.
    assert_eq!(client.get(server.url("/")).unwrap().status(), 200);
    let silent = Server::start(|_, responder| responder.text(200, ""));
    assert_eq!(client.get(silent.url("/")).unwrap().status(), 200);
    assert!(!silent.last_request().has_header("authorization"));
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The signature that this request should have, from what AWS publishes of the method, and the one that it has.
fn signatures(request: &Seen, payload: &str, service: &str) -> (String, String) {
    let header = request.header("authorization").unwrap();
    let rest = header.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let get = |name: &str| {
        rest.split(", ").filter_map(|part| part.trim().split_once('=')).find(|(known, _)| *known == name).unwrap().1
    };
    let date = request.header("x-amz-date").unwrap();
    let day = &date[..8];
    let scope = format!("{day}/eu-central-1/{service}/aws4_request");
    assert_eq!(get("Credential"), format!("AKID/{scope}"));
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut query: Vec<_> = query.split('&').filter(|part| !part.is_empty()).collect();
    query.sort_unstable();
    let signed = get("SignedHeaders");
    let fields: String =
        signed.split(';').map(|name| format!("{name}:{}\n", request.header(name).unwrap().trim())).collect();
    let canonical = format!("{}\n{path}\n{}\n{fields}\n{signed}\n{payload}", request.method, query.join("&"));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let key = [day, "eu-central-1", service, "aws4_request"]
        .iter()
        .fold(b"AWS4s3cret".to_vec(), |key, part| hmac(&key, part));
    (hex(&hmac(&key, &text)), get("Signature").to_owned())
}

#[test]
fn requests_are_signed_as_aws_does_it() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let sign = |service: &str| AwsSigV4::new("AKID", "s3cret", "eu-central-1", service).session_token("t0ken");
    let client = HttpClient::builder().aws_sigv4(sign("execute-api")).build().unwrap();
    let digest = |body: &str| hex(&Sha256::digest(body));
    for (request, payload) in [
        (Request::get(server.url("/path?b=2&a=1")).body(Body::empty()), digest("")),
        (
            Request::post(server.url("/path")).header("content-type", "text/plain").body(Body::from("hello")),
            digest("hello"),
        ),
        (Request::put(server.url("/put")).body(Body::from("world")), digest("world")),
        (Request::delete(server.url("/")).body(Body::empty()), digest("")),
    ] {
        assert_eq!(client.send(request.unwrap()).unwrap().status(), 200);
        let seen = server.last_request();
        let (expected, found) = signatures(&seen, &payload, "execute-api");
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(&seen.head));
        assert_eq!(seen.header("x-amz-security-token"), Some("t0ken"));
        assert!(seen.header("authorization").unwrap().contains("x-amz-security-token"), "the token is signed");
    }
    let streamed = || Request::put(server.url("/s")).body(Body::from_reader(Cursor::new("streamed"))).unwrap();
    assert_eq!(client.send(streamed()).unwrap_err().kind(), ErrorKind::InvalidRequest);
    let mut with_digest = streamed();
    with_digest.headers_mut().insert("x-amz-content-sha256", digest("streamed").parse().unwrap());
    assert_eq!(client.send(with_digest).unwrap().status(), 200);
    let (expected, found) = signatures(&server.last_request(), &digest("streamed"), "execute-api");
    assert_eq!(found, expected);
    assert_eq!(client.send(streamed().aws_sigv4(sign("s3"))).unwrap().status(), 200);
    let (expected, found) = signatures(&server.last_request(), "UNSIGNED-PAYLOAD", "s3");
    assert_eq!(found, expected);

    assert!(!format!("{:?}", sign("s3")).contains("s3cret") && !format!("{:?}", sign("s3")).contains("t0ken"));
    for bad in
        [AwsSigV4::new("a", "b", "eu:x", "s3"), AwsSigV4::new("a", "b\0", "eu", "s3"), sign("s3").session_token("a\n")]
    {
        let error = HttpClient::builder().aws_sigv4(bad).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
}

#[test]
fn a_signature_stays_with_its_origin() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let url = server.url("/end");
    let first = Server::start(move |_, responder| responder.send(307, &[("Location", &url)], b""));
    let sign = AwsSigV4::new("AKID", "s3cret", "eu-central-1", "s3").session_token("t0ken");
    let client = HttpClient::builder().aws_sigv4(sign).redirect_policy(RedirectPolicy::Follow).build().unwrap();
    assert_eq!(client.post(first.url("/"), "body").unwrap().status(), 200);
    assert!(first.last_request().has_header("authorization"));
    let head = String::from_utf8_lossy(&server.last_request().head).to_lowercase();
    assert!(!head.contains("authorization") && !head.contains("x-amz"), "{head}");
}

#[test]
fn a_netrc_file_is_read_where_asked_for_and_for_its_hosts_only() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("netrc");
    std::fs::write(&file, "machine 127.0.0.1\nlogin anna\npassword s3cret\n").unwrap();
    let sent = || server.last_request().header("authorization").map(str::to_owned);
    let client = HttpClient::builder().netrc(NetRc::file(&file)).build().unwrap();
    assert_eq!(client.get(server.url("/")).unwrap().status(), 200);
    assert_eq!(sent().as_deref(), Some("Basic YW5uYTpzM2NyZXQ="));
    let by_name = server.url("/").replace("127.0.0.1", "localhost");
    assert_eq!(client.get(&by_name).unwrap().status(), 200);
    assert_eq!(sent(), None);
    let own = Request::get(server.url("/")).bearer_auth("t0ken").body(()).unwrap();
    assert_eq!(client.send(own).unwrap().status(), 200);
    assert_eq!(sent().as_deref(), Some("Bearer t0ken"));
    assert_eq!(server.last_request().header_values("authorization").count(), 1);
    let without = Request::get(server.url("/")).netrc(None).body(()).unwrap();
    assert_eq!(client.send(without).unwrap().status(), 200);
    assert_eq!(sent(), None);
    assert_eq!(HttpClient::new().unwrap().get(server.url("/")).unwrap().status(), 200);
    assert_eq!(sent(), None);
}
