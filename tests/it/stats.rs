//! What a client tells of itself; and that it survives a fork of its process.

use std::time::{Duration, Instant};

use marmot::prelude::*;

use crate::alone::is_alone;
use crate::support::Server;

#[test]
fn connections_and_requests_are_counted() {
    let server = Server::faults();
    let client = HttpClient::builder().max_connections_per_host(2).build().unwrap();
    let stats = client.stats();
    assert_eq!((stats.agents, stats.open, stats.in_flight, stats.started), (0, 0, 0, 0), "nothing runs yet");

    for _ in 0..3 {
        client.get(server.url("/get")).unwrap().consume().unwrap();
    }
    assert!(client.get("http://127.0.0.1:1/").is_err());
    let stats = client.stats();
    assert_eq!((stats.agents, stats.open, stats.idle, stats.in_flight), (1, 1, 1, 0), "{stats:?}");
    assert_eq!((stats.started, stats.completed, stats.failed, stats.reused), (4, 3, 1, 2), "{stats:?}");

    let stalled: Vec<_> = (0..3).map(|_| client.get_async(server.url("/stall-head"))).collect();
    assert!(server.wait_for_heads(5, Duration::from_secs(10)));
    let stats = client.stats();
    assert_eq!((stats.open, stats.idle, stats.in_flight, stats.waiting), (2, 0, 3, 1), "{stats:?}");
    drop(stalled);
    let end = Instant::now() + Duration::from_secs(10);
    while client.stats().in_flight > 0 {
        assert!(Instant::now() < end);
    }
    client.shutdown(Duration::ZERO);
    assert_eq!(client.stats().agents, 0);
}

#[cfg(unix)]
#[test]
#[allow(unsafe_code, reason = "a fork is what is tested")]
fn a_forked_child_gets_an_agent_of_its_own() {
    if !is_alone("stats::a_forked_child_gets_an_agent_of_its_own") {
        return;
    }
    let server = Server::faults();
    let client = HttpClient::builder().retry(marmot::config::RetryPolicy::new()).build().unwrap();
    // The agent and the timer have their threads before the fork.
    client.get(server.url("/get")).unwrap().consume().unwrap();
    let _ = client.get("http://127.0.0.1:1/");
    // Something of this one is kept for the next, which must not be one in the child.
    let gone = HttpClient::new().unwrap();
    gone.get(server.url("/get")).unwrap().consume().unwrap();
    gone.shutdown(Duration::from_secs(5));
    drop(gone);
    // SAFETY: the child uses the client, allocates, and ends without unwinding or running the harness' code.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ok = client.get(server.url("/get")).and_then(|mut response| response.bytes()).is_ok();
        let retried = client.get("http://127.0.0.1:1/").is_err_and(|error| error.attempts() == 3);
        drop(client);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if ok && retried { 0 } else { 7 }) };
    }
    let end = Instant::now() + Duration::from_secs(20);
    let mut status = 0;
    // SAFETY: waits for the child that was just made, without blocking.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > end {
            // SAFETY: the child is ours and has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(status, 0, "the child's requests succeeded");
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200, "the parent goes on");
}
