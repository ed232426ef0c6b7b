//! Ending things early: futures, bodies, clients. Nothing here waits for a server's good will.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::alone::is_alone;
use crate::support::{Server, pattern};

/// What "at once" may take on a machine that does other things as well.
const SOON: Duration = Duration::from_millis(500);

#[test]
fn a_silent_server_sees_a_dropped_future_at_once() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let future = client.get_async(server.url("/stall-head"));
    assert!(server.wait_for_heads(1, Duration::from_secs(5)));
    drop(future);
    let dropped = Instant::now();
    let close = server.wait_for_close("/stall-head", Duration::from_secs(5)).unwrap();
    assert!(close.at.saturating_duration_since(dropped) < SOON);
}

#[test]
fn a_silent_server_sees_a_dropped_body_at_once() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    // A long rest is given up at once; a short one, or one of unknown length, has a moment to arrive.
    for path in ["/stall/1000000", "/stall/1000", "/idle-events"] {
        let response = client.get(server.url(path)).unwrap();
        drop(response);
        let dropped = Instant::now();
        let close = server.wait_for_close(path, Duration::from_secs(5)).unwrap();
        let took = close.at.saturating_duration_since(dropped);
        assert!(took < SOON + Duration::from_millis(500), "{path}: {took:?}");
    }
}

#[test]
fn a_small_unread_rest_is_drained_and_its_connection_used_again() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..10 {
        let response = client.get(server.url("/unread/30000")).unwrap();
        assert_eq!(response.status(), 200);
        drop(response);
    }
    for _ in 0..10 {
        let mut response = client.get(server.url("/unread/50000")).unwrap();
        let mut some = [0; 100];
        response.body_mut().read_exact(&mut some).unwrap();
    }
    // A request may start while the rest before it is still on its way, and then takes a connection of its own.
    assert!(server.accepted() <= 3, "{} connections", server.accepted());
}

#[test]
fn a_large_unread_rest_closes_its_connection() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    drop(client.get(server.url("/unread/100000000")).unwrap());
    assert!(server.wait_open(0, Duration::from_secs(5)));
}

#[test]
fn dropping_the_last_client_waits_for_nothing() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let _future = client.get_async(server.url("/stall-head"));
    let _body = client.get(server.url("/idle-events")).unwrap();
    assert!(server.wait_for_heads(2, Duration::from_secs(5)));
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn the_last_client_may_live_in_a_request_body() {
    struct Holder(Option<HttpClient>);
    impl Read for Holder {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0 = None;
            Ok(0)
        }
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let body = Body::from_reader(Holder(Some(client.clone())));
    let future = client.post_async(server.url("/echo"), body);
    drop(client);
    assert_eq!(block_on(future).unwrap().status(), 200);

    // A stream is polled and dropped by the agent's thread itself.
    let client = HttpClient::new().unwrap();
    let own = client.clone();
    let stream = futures::stream::poll_fn(move |_| {
        let _keep = &own;
        std::task::Poll::Ready(None)
    });
    let future = client.post_async(server.url("/echo"), marmot::AsyncBody::from_stream(stream));
    drop(client);
    assert_eq!(block_on(future).unwrap().status(), 200);
}

#[test]
fn a_client_dropped_while_a_body_is_read_does_not_truncate_it() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut response = client.get(server.url("/bytes/20000000")).unwrap();
    drop(client);
    assert!(response.bytes().unwrap() == pattern(20_000_000));
}

#[test]
fn shutdown_ends_what_is_in_flight_with_a_typed_error() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let head = client.get_async(server.url("/stall-head"));
    let mut body = client.get(server.url("/stall/1000")).unwrap();
    let quick = client.get_async(server.url("/delay/100"));
    assert!(server.wait_for_heads(3, Duration::from_secs(5)));
    let start = Instant::now();
    client.shutdown(Duration::from_millis(400));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(399) && took < Duration::from_millis(400) + SOON, "{took:?}");
    assert_eq!(block_on(quick).unwrap().status(), 200, "what ends in time ends well");
    assert_eq!(block_on(head).unwrap_err().kind(), ErrorKind::ClientShutDown);
    assert_eq!(body.bytes().unwrap_err().kind(), ErrorKind::ClientShutDown);
    assert_eq!(client.get(server.url("/get")).unwrap_err().kind(), ErrorKind::ClientShutDown);
    assert!(server.wait_open(0, Duration::from_secs(2)));
    client.shutdown(Duration::MAX);
}

#[test]
fn an_idle_client_shuts_down_at_once() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    client.get(server.url("/get")).unwrap().consume().unwrap();
    let start = Instant::now();
    block_on(client.shutdown_async(Duration::from_secs(60)));
    assert!(start.elapsed() < SOON);
    assert!(server.wait_open(0, Duration::from_secs(2)), "its connections are closed");
}

fn agents() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "marmot-agent").count()
}

#[test]
fn clients_leave_no_threads_and_no_descriptors() {
    if !is_alone("cancel::clients_leave_no_threads_and_no_descriptors") {
        return;
    }
    let server = Server::faults();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let one = || {
        let client = HttpClient::new().unwrap();
        client.get(server.url("/text")).unwrap().text().unwrap();
        drop(client.get_async(server.url("/delay/50")));
    };
    one();
    // Two at once: as many pollers are kept for clients to come.
    let pair = [HttpClient::new().unwrap(), HttpClient::new().unwrap()];
    pair.iter().for_each(|client| _ = client.get(server.url("/text")).unwrap().text().unwrap());
    drop(pair);
    let settled = |most: usize| {
        let end = Instant::now() + Duration::from_secs(10);
        while (agents() > 0 || descriptors() > most) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        (agents(), descriptors())
    };
    let (_, before) = settled(0);
    for _ in 0..100 {
        one();
    }
    let (agents, after) = settled(before);
    assert_eq!(agents, 0);
    assert!(after <= before, "{before} descriptors before, {after} after");
}
