//! What goes wrong with a server, a limit or a request, and what the error says of it.

use std::error::Error as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use marmot::config::RedirectPolicy;
use marmot::error::TimeoutPhase;
use marmot::prelude::*;
use marmot::{Body, Error, ErrorKind};

use crate::support::{Server, free_port};

/// The error of a request or, if its head is well, of its body.
fn fails(client: &HttpClient, url: &str) -> Error {
    let result = client.get(url).and_then(|mut response| response.bytes());
    result.err().unwrap_or_else(|| panic!("{url} should fail"))
}

fn limited() -> HttpClient {
    HttpClient::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

#[test]
fn each_fault_of_a_server_has_its_kind() {
    let server = Server::faults();
    let client = limited();
    for (path, kinds) in [
        ("/reset/before-head", &[ErrorKind::Io][..]),
        ("/reset/in-head", &[ErrorKind::Io]),
        ("/reset/in-body", &[ErrorKind::Io]),
        ("/close/before-head", &[ErrorKind::Io]),
        ("/close/in-head", &[ErrorKind::Io, ErrorKind::ProtocolViolation]),
        ("/close/in-body", &[ErrorKind::ResponseBodyTruncated]),
        ("/truncated-chunk", &[ErrorKind::ResponseBodyTruncated]),
        ("/chunk-no-end", &[ErrorKind::ResponseBodyTruncated]),
        ("/bad-chunk", &[ErrorKind::ProtocolViolation]),
        ("/http09", &[ErrorKind::ProtocolViolation]),
        ("/bad-status-line", &[ErrorKind::ProtocolViolation]),
        ("/nul-in-header", &[ErrorKind::ProtocolViolation]),
        ("/no-colon", &[ErrorKind::ProtocolViolation]),
        ("/content-length/twenty-nines", &[ErrorKind::ProtocolViolation]),
        ("/content-length/and-chunked", &[ErrorKind::ProtocolViolation]),
        ("/content-length/twice-different", &[ErrorKind::ProtocolViolation]),
        ("/content-length/negative", &[ErrorKind::ProtocolViolation]),
        ("/huge-headers/1000", &[ErrorKind::TooLarge]),
        ("/endless-head", &[ErrorKind::TooLarge]),
        ("/1xx-flood", &[ErrorKind::TooLarge]),
    ] {
        let start = Instant::now();
        let error = fails(&client, &server.url(path));
        assert!(kinds.contains(&error.kind()), "{path}: {error:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{path}");
        assert_eq!(error.url(), Some(server.url(path).as_str()), "{path}");
    }
    for path in ["/1xx/5", "/folded-header", "/huge-headers/50", "/many-headers/200", "/content-length/twice-same"] {
        assert_eq!(client.get(server.url(path)).unwrap().status(), 200, "{path}");
    }
}

#[test]
fn a_server_that_is_not_there_has_its_kind() {
    let client = limited();
    let port = free_port();
    let error = fails(&client, &format!("http://user@127.0.0.1:{port}/x").replace("user@", ""));
    assert_eq!(error.kind(), ErrorKind::ConnectionFailed);
    assert_eq!(error.to_string(), format!("connection failed: connection refused (http://127.0.0.1:{port}/x)"));
    let cause = error.source().unwrap().to_string();
    assert!(!error.to_string().contains(&cause) && error.chain().matches(&cause).count() == 1);
    assert!(error.is_network() && !error.is_timeout() && error == ErrorKind::ConnectionFailed);
    let error = fails(&client, "http://nosuchhost.invalid/");
    assert_eq!(error.kind(), ErrorKind::NameResolution, "{error:?}");
}

#[test]
fn each_timeout_names_its_phase() {
    let server = Server::faults();
    let limit = Duration::from_millis(300);
    let client = HttpClient::builder().timeout(limit).build().unwrap();
    for (path, phase) in [("/stall-head", TimeoutPhase::Response), ("/stall/1000", TimeoutPhase::Body)] {
        let start = Instant::now();
        let error = fails(&client, &server.url(path));
        assert_eq!((error.kind(), error.timeout_phase()), (ErrorKind::Timeout, Some(phase)), "{path}");
        assert!(start.elapsed() < limit + Duration::from_millis(400), "{path}: {:?}", start.elapsed());
    }

    // A queue of connections that nobody accepts: one more is never answered.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    let client = HttpClient::builder().connect_timeout(limit).build().unwrap();
    let error = fails(&client, &format!("http://{address}/"));
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Connect), "{error:?}");

    let client = HttpClient::builder().low_speed_timeout(1000, Duration::from_secs(1)).build().unwrap();
    let error = fails(&client, &server.url("/slow-drip/1000/50"));
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::LowSpeed), "{error:?}");
}

#[test]
fn the_total_time_spans_redirects() {
    let server = Server::faults();
    let client = HttpClient::builder()
        .timeout(Duration::from_millis(500))
        .redirect_policy(RedirectPolicy::Limit(u32::MAX))
        .build()
        .unwrap();
    let start = Instant::now();
    let error = fails(&client, &server.url("/redirect-loop"));
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let took = start.elapsed();
    assert!(took > Duration::from_millis(400) && took < Duration::from_millis(1000), "{took:?}");
}

#[test]
fn an_upload_that_nobody_reads_ends_at_its_time() {
    let server = Server::faults();
    let client = HttpClient::builder().timeout(Duration::from_millis(500)).build().unwrap();
    for body in [Body::from(vec![0; 32 << 20]), Body::from_reader(std::io::repeat(1))] {
        let error = client.post(server.url("/stall-upload"), body).unwrap_err();
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Send), "{error:?}");
    }
    let error = client.post(server.url("/stall-head"), "small").unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Response), "{error:?}");
}

#[test]
fn limits_at_the_edges_mean_what_they_say() {
    let server = Server::faults();
    for limit in [Duration::ZERO, Duration::from_nanos(1)] {
        let client = HttpClient::builder().timeout(limit).build().unwrap();
        assert_eq!(fails(&client, &server.url("/delay/2000")).kind(), ErrorKind::Timeout, "{limit:?}");
    }
    let client = HttpClient::builder()
        .timeout(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .low_speed_timeout(u32::MAX, Duration::MAX)
        .tcp_keepalive(Duration::MAX)
        .build()
        .unwrap();
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200);
    let client = HttpClient::builder().connect_timeout(None).build().unwrap();
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200);
}

#[test]
fn requests_that_cannot_be_sent_are_refused_before_anything_is() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let url = || server.url("/echo");
    let cases: Vec<(&str, Request<Body>)> = vec![
        ("file", Request::get("file://localhost/etc/passwd").body(Body::empty()).unwrap()),
        ("ftp", Request::get("ftp://127.0.0.1/").body(Body::empty()).unwrap()),
        ("relative", Request::get("/path").body(Body::empty()).unwrap()),
        ("length differs", Request::post(url()).header("content-length", "3").body("four".into()).unwrap()),
        ("length is no number", Request::post(url()).header("content-length", "x").body("four".into()).unwrap()),
        (
            "length and chunked",
            Request::post(url())
                .header("content-length", "4")
                .header("transfer-encoding", "chunked")
                .body("four".into())
                .unwrap(),
        ),
        ("gzip transfer", Request::post(url()).header("transfer-encoding", "gzip").body("x".into()).unwrap()),
        ("length without body", Request::get(url()).header("content-length", "5").body(Body::empty()).unwrap()),
        ("two hosts", Request::get(url()).header("host", "a").header("host", "b").body(Body::empty()).unwrap()),
        ("host is none", Request::get(url()).header("host", "a b").body(Body::empty()).unwrap()),
        ("upgrade", Request::get(url()).header("connection", "upgrade").body(Body::empty()).unwrap()),
        ("head with body", Request::head(url()).body("x".into()).unwrap()),
    ];
    for (what, request) in cases {
        let error = client.send(request).err().unwrap_or_else(|| panic!("{what} should be refused"));
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{what}: {error:?}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    assert_eq!(client.get("http://no spaces/").unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(server.accepted(), 0);
    assert!(Request::get(url()).header("x", "a\r\nb: c").body(()).is_err(), "http refuses line breaks itself");
}

#[test]
fn configurations_that_cannot_be_used_are_refused() {
    let http3 = marmot::config::VersionNegotiation::http3();
    let error = Request::get("http://127.0.0.1:1/").version_negotiation(http3).body(()).unwrap().send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("HTTP/3"));
    let bad = [
        HttpClient::builder().default_header("bad name", "x").build(),
        HttpClient::builder().default_header("x", "a\nb").build(),
        HttpClient::builder().user_agent("a\nb").build(),
        HttpClient::builder().bearer_auth("").build(),
        HttpClient::builder().allowed_hosts(["ftp://x"]).build(),
    ];
    for result in bad {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
}

#[test]
fn hosts_that_are_not_allowed_are_not_asked() {
    let server = Server::faults();
    let client = HttpClient::builder().allowed_hosts(["api.example.org"]).build().unwrap();
    assert_eq!(client.get(server.url("/get")).unwrap_err().kind(), ErrorKind::EgressDenied);
    assert_eq!(server.accepted(), 0);
}
