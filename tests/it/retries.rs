//! Retries on the wire: what is tried again, when, and what never is.

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use marmot::config::{RetryBudget, RetryPolicy};
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::support::{RawServer, Server, free_port};

fn at_once() -> RetryPolicy {
    RetryPolicy::new().backoff(Duration::ZERO, Duration::ZERO)
}

/// Fails so many times, then answers with the body it got.
fn failing(times: usize, fail: &'static str) -> Server {
    let hits = AtomicUsize::new(0);
    Server::start(move |request, answer| {
        if hits.fetch_add(1, SeqCst) >= times {
            return answer.send(200, &[], &request.body);
        }
        match fail {
            "reset" => {
                answer.reset();
                Ok(())
            }
            "close" => {
                answer.close();
                Ok(())
            }
            status => answer.send(status.parse().unwrap(), &[("Retry-After", "0")], b"later"),
        }
    })
}

#[test]
fn failures_and_statuses_that_may_pass_are_tried_again() {
    for fail in ["reset", "close", "429", "502", "503", "504"] {
        let server = failing(2, fail);
        let client = HttpClient::builder().retry(at_once()).build().unwrap();
        let response = client.get(server.url("/")).unwrap();
        assert_eq!((response.status().as_u16(), response.attempts()), (200, 3), "{fail}");
        assert_eq!(server.requests().len(), 3, "{fail}");
    }
    for fail in ["400", "404", "500", "501"] {
        let server = failing(2, fail);
        let client = HttpClient::builder().retry(at_once()).build().unwrap();
        assert_eq!(client.get(server.url("/")).unwrap().attempts(), 1, "{fail}");
    }
}

#[test]
fn nothing_is_tried_again_unless_asked_for_and_no_more_often_than_allowed() {
    let server = failing(9, "503");
    let client = HttpClient::new().unwrap();
    assert_eq!(client.get(server.url("/")).unwrap().status(), 503);
    assert_eq!(server.requests().len(), 1);

    let client = HttpClient::builder().retry(at_once().max_attempts(4)).build().unwrap();
    let response = client.get(server.url("/")).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (503, 4), "the last response is the caller's");
    let request = Request::get(server.url("/")).retry(None).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().attempts(), 1);

    let server = failing(9, "reset");
    let error = client.get(server.url("/")).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Io, 4));
    assert!(error.to_string().contains("after 4 attempts"), "{error}");
}

#[test]
fn a_post_is_sent_once_unless_it_carries_a_key() {
    for fail in ["reset", "503"] {
        let server = failing(1, fail);
        let client = HttpClient::builder().retry(at_once()).build().unwrap();
        let _ = client.post(server.url("/"), "pay");
        assert_eq!(server.requests().len(), 1, "{fail}");

        let server = failing(1, fail);
        let request = Request::post(server.url("/")).header("idempotency-key", "k1").body("pay").unwrap();
        let mut response = client.send(request).unwrap();
        assert_eq!(response.text().unwrap(), "pay", "the body is sent again, whole");
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert!(requests.iter().all(|request| request.header("idempotency-key") == Some("k1")));
    }
}

#[test]
fn what_was_never_sent_is_tried_again_whatever_the_method() {
    // A port that refuses until the second attempt is on its way.
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let client = HttpClient::builder()
        .retry(
            RetryPolicy::new()
                .max_attempts(50)
                .backoff(Duration::from_millis(40), Duration::from_millis(40))
                .budget(None),
        )
        .build()
        .unwrap();
    let sent = std::thread::spawn(move || client.post(format!("http://{address}/"), "late"));
    std::thread::sleep(Duration::from_millis(100));
    let listener = std::net::TcpListener::bind(address).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut seen = [0; 4096];
    let _ = std::io::Read::read(&mut stream, &mut seen).unwrap();
    std::io::Write::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    let response = sent.join().unwrap().unwrap();
    assert!(response.attempts() > 1);
}

#[test]
fn a_body_that_can_be_read_once_is_sent_once() {
    let server = failing(1, "503");
    let client = HttpClient::builder().retry(at_once()).build().unwrap();
    let response = client.put(server.url("/"), Body::from_reader(Cursor::new("once"))).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (503, 1));

    let server = failing(2, "503");
    let body = Body::rewindable(|| Ok(Body::from_reader(Cursor::new("again")))).unwrap();
    let mut response = client.put(server.url("/"), body).unwrap();
    assert_eq!((response.text().unwrap().as_str(), response.attempts()), ("again", 3));
}

#[test]
fn retry_after_is_waited_for_and_the_total_time_holds() {
    let hits = AtomicUsize::new(0);
    let server = Server::start(move |_, answer| match hits.fetch_add(1, SeqCst) {
        0 => answer.send(503, &[("Retry-After", "1")], b""),
        _ => answer.text(200, "here"),
    });
    let client = HttpClient::builder().retry(at_once()).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.get(server.url("/")).unwrap().status(), 200);
    assert!(start.elapsed() >= Duration::from_secs(1));

    // A wait that would end after the total time is not begun.
    let server = Server::start(|_, answer| answer.send(503, &[("Retry-After", "30")], b""));
    let start = Instant::now();
    let request = Request::get(server.url("/")).timeout(Duration::from_secs(5)).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 503);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_attempt_has_its_own_time() {
    let hits = AtomicUsize::new(0);
    let server = Server::start(move |_, answer| match hits.fetch_add(1, SeqCst) {
        0 => answer.stall(),
        _ => answer.text(200, "here"),
    });
    let policy = at_once().attempt_timeout(Duration::from_millis(150));
    let client = HttpClient::builder().retry(policy).timeout(Duration::from_secs(20)).build().unwrap();
    let mut response = client.get(server.url("/")).unwrap();
    assert_eq!((response.text().unwrap().as_str(), response.attempts()), ("here", 2));
}

#[test]
fn a_budget_ends_retries_of_many_requests() {
    let server = failing(usize::MAX, "503");
    let client = HttpClient::builder().retry(at_once().budget(RetryBudget::new(0, 5))).build().unwrap();
    for _ in 0..20 {
        assert_eq!(client.get(server.url("/")).unwrap().status(), 503);
    }
    assert_eq!(server.requests().len(), 25);
}

#[test]
fn dropping_the_future_ends_a_wait_between_attempts() {
    let server = Server::start(|_, answer| answer.send(503, &[("Retry-After", "30")], b""));
    let client = HttpClient::builder().retry(at_once()).build().unwrap();
    let mut future = client.get_async(server.url("/"));
    assert!(server.wait_for_requests(1, Duration::from_secs(10)));
    let polled = futures::executor::block_on(async {
        for _ in 0..50 {
            if futures::poll!(&mut future).is_ready() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    });
    assert!(!polled);
    drop(future);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_stale_connection_is_no_reason_to_fail() {
    // The server closes each connection when the next request arrives on it.
    let server = Server::faults();
    let client = HttpClient::builder().retry(at_once()).build().unwrap();
    for _ in 0..5 {
        client.get(server.url("/keepalive-then-drop")).unwrap().consume().unwrap();
    }
    let raw = RawServer::start(|conn, _, _| drop(conn));
    let error = client.get(raw.url("/")).unwrap_err();
    assert_eq!(error.attempts(), 3);
}
