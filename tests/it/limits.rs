//! Limits of time, size and speed, each with its phase or kind; and progress.

use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use marmot::config::Progress;
use marmot::error::TimeoutPhase;
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::support::{BodyMode, RawServer, Server, pattern};

const SHORT: Duration = Duration::from_millis(150);

#[track_caller]
fn phase(error: marmot::Error) -> TimeoutPhase {
    error.timeout_phase().unwrap_or_else(|| panic!("{error:?} is no timeout"))
}

#[test]
fn a_late_response_is_told_from_a_slow_upload() {
    let server = Server::faults();
    // Long enough for a busy machine to answer.
    const LIMIT: Duration = Duration::from_millis(700);
    let client = HttpClient::builder().response_timeout(LIMIT).build().unwrap();
    let start = Instant::now();
    assert_eq!(phase(client.get(server.url("/stall-head")).unwrap_err()), TimeoutPhase::Response);
    assert!((LIMIT..LIMIT + Duration::from_secs(2)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(phase(client.post(server.url("/stall-head"), "x").unwrap_err()), TimeoutPhase::Response);

    // An upload of more than the limit, then an answer at once.
    let slow = SlowReader { left: 20 };
    assert_eq!(client.put(server.url("/echo"), Body::from_reader(slow)).unwrap().status(), 200);
    // A body may take its time.
    assert_eq!(client.get(server.url("/slow-drip/12/100")).unwrap().bytes().unwrap().len(), 12);
}

struct SlowReader {
    left: usize,
}

impl Read for SlowReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        self.left -= 1;
        std::thread::sleep(Duration::from_millis(60));
        buffer[0] = b'x';
        Ok(1)
    }
}

#[test]
fn a_stall_ends_a_transfer_wherever_it_happens() {
    let server = Server::faults();
    let client = HttpClient::builder().stall_timeout(SHORT).build().unwrap();
    assert_eq!(phase(client.get(server.url("/stall-head")).unwrap_err()), TimeoutPhase::Stall);
    let error = client.get(server.url("/stall/1000")).unwrap().bytes().unwrap_err();
    assert_eq!(phase(error), TimeoutPhase::Stall);
    let start = Instant::now();
    let error = client.put(server.url("/stall-upload"), pattern(64 << 20)).unwrap_err();
    assert_eq!(phase(error), TimeoutPhase::Stall);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn slow_but_steady_is_no_stall_and_neither_is_a_slow_reader() {
    let server = Server::faults();
    // Long enough for a busy machine, which stalls itself now and then.
    const LIMIT: Duration = Duration::from_secs(1);
    let client = HttpClient::builder().stall_timeout(LIMIT).build().unwrap();
    assert_eq!(client.get(server.url("/slow-drip/15/100")).unwrap().bytes().unwrap().len(), 15);
    assert_eq!(client.put(server.url("/echo"), Body::from_reader(SlowReader { left: 25 })).unwrap().status(), 200);

    let mut response = client.get(server.url("/bytes/4000000")).unwrap();
    let mut total = response.body_mut().read(&mut [0; 1000]).unwrap();
    std::thread::sleep(LIMIT * 2);
    total += response.bytes().unwrap().len();
    assert_eq!(total, 4_000_000);
}

#[test]
fn a_connection_that_is_not_made_is_connects_not_resolves_fault() {
    // A backlog that is full: the connection is never accepted nor refused.
    let (listener, _held) = full_backlog();
    let client = HttpClient::builder()
        .connect_timeout(SHORT)
        .resolve_timeout(Duration::from_secs(30))
        .stall_timeout(SHORT / 3)
        .response_timeout(SHORT / 3)
        .build()
        .unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    assert_eq!(phase(client.get(url).unwrap_err()), TimeoutPhase::Connect);
}

fn full_backlog() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        held.push(stream);
        assert!(held.len() < 5000);
    }
    (listener, held)
}

#[test]
fn the_size_of_a_body_is_limited_declared_or_not() {
    let server = Server::faults();
    let client = HttpClient::builder().max_response_size(1000).build().unwrap();
    assert_eq!(client.get(server.url("/bytes/1000")).unwrap().bytes().unwrap().len(), 1000);
    assert_eq!(client.get(server.url("/bytes/1001")).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(client.get(server.url("/chunked/1000/100")).unwrap().bytes().unwrap().len(), 1000);
    let error = client.get(server.url("/chunked/1100/100")).and_then(|mut response| response.bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let error = client.get(server.url("/endless")).and_then(|mut response| response.bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(client.head(server.url("/bytes/5000")).unwrap().status(), 200, "a HEAD has no body");
    let request = Request::get(server.url("/bytes/5000")).max_response_size(None).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().bytes().unwrap().len(), 5000);
}

#[test]
fn speeds_are_limited_in_both_directions() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let start = Instant::now();
    let request = Request::get(server.url("/bytes/600000")).max_download_speed(400_000).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().bytes().unwrap().len(), 600_000);
    assert!(start.elapsed() > Duration::from_millis(700), "{:?}", start.elapsed());
    let start = Instant::now();
    let request = Request::put(server.url("/echo")).max_upload_speed(400_000).body(pattern(600_000)).unwrap();
    assert_eq!(client.send(request).unwrap().bytes().unwrap().len(), 600_000);
    assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
}

#[test]
fn a_body_waits_for_100_continue_where_that_is_asked_for() {
    let server = Server::start_with(
        |_| BodyMode::Leave,
        |request, answer| {
            let expected = request.header("expect").is_some();
            if request.target == "/refuse" {
                return answer.send(417, &[("Connection", "close")], if expected { b"expected" } else { b"plain" });
            }
            if expected {
                answer.go_on()?;
            }
            let mut length = 0;
            while answer.read_body(64 << 10, |data| length += data.len())? {}
            answer.text(200, &format!("{expected} {length}"))
        },
    );
    let client = HttpClient::builder().expect_continue(Duration::from_secs(5)).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.post(server.url("/take"), pattern(100_000)).unwrap().text().unwrap(), "true 100000");
    assert!(start.elapsed() < Duration::from_secs(4), "100 Continue was heard");
    let body = Body::from_reader(Cursor::new(pattern(1_000_000)));
    assert_eq!(client.put(server.url("/refuse"), body).unwrap().text().unwrap(), "expected");
    let request = Request::post(server.url("/take")).expect_continue(None).body("abc").unwrap();
    assert_eq!(client.send(request).unwrap().text().unwrap(), "false 3");

    // A server that never says so gets the body after the patience.
    let ignoring = Server::faults();
    let request = Request::post(ignoring.url("/expect/ignored")).expect_continue(SHORT).body("abcd").unwrap();
    assert!(client.send(request).unwrap().text().unwrap().contains('4'));
}

#[test]
fn progress_is_told_up_and_down_to_the_end() {
    let server = Server::faults();
    let seen = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let sink = seen.clone();
    let client =
        HttpClient::builder().on_progress(move |progress| sink.lock().unwrap().push(progress)).build().unwrap();
    client.get(server.url("/bytes/3000000")).unwrap().consume().unwrap();
    let last = *seen.lock().unwrap().last().unwrap();
    assert_eq!((last.downloaded, last.download_size), (3_000_000, Some(3_000_000)));
    seen.lock().unwrap().clear();
    client.get(server.url("/slow-drip/6/60")).unwrap().consume().unwrap();
    assert!(seen.lock().unwrap().len() >= 3, "{:?}", seen.lock().unwrap());
    seen.lock().unwrap().clear();
    client.put(server.url("/echo"), pattern(2_000_000)).unwrap().consume().unwrap();
    let last = *seen.lock().unwrap().last().unwrap();
    assert_eq!((last.uploaded, last.downloaded), (2_000_000, 2_000_000));
    assert!(seen.lock().unwrap().windows(2).all(|pair| pair[0].uploaded <= pair[1].uploaded));
}

#[test]
fn old_and_idle_connections_are_not_used_again() {
    let server = Server::faults();
    for (builder, expected) in [
        (HttpClient::builder(), 1),
        (HttpClient::builder().connection_idle_timeout(Duration::from_secs(1)), 2),
        (HttpClient::builder().connection_max_life(Duration::from_secs(1)), 2),
        (HttpClient::builder().connection_idle_timeout(None), 1),
    ] {
        let before = server.accepted();
        let client = builder.build().unwrap();
        client.get(server.url("/get")).unwrap().consume().unwrap();
        std::thread::sleep(Duration::from_millis(2100));
        client.get(server.url("/get")).unwrap().consume().unwrap();
        assert_eq!(server.accepted() - before, expected);
    }
}

#[test]
fn limits_do_not_stay_with_the_handle() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let request = Request::get(server.url("/stall-head")).stall_timeout(SHORT).body(()).unwrap();
    assert_eq!(phase(client.send(request).unwrap_err()), TimeoutPhase::Stall);
    let raw = RawServer::start(|mut conn, _, _| {
        std::thread::sleep(SHORT * 3);
        let _ = std::io::Write::write_all(&mut conn, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    });
    assert_eq!(client.get(raw.url("/")).unwrap().status(), 204);
}
