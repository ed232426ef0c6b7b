//! The agent behind a client: who it obeys, what it survives, what it clears away. Cancelling is in `cancel.rs`.

use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::try_join_all;
use marmot::ErrorKind;
use marmot::prelude::*;

use crate::support::{RawServer, Server};

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut bystander = client.get(server.url("/slow-drip/40/20")).unwrap();
    let bomb = Arc::new(Bomb);
    let waker: Waker = bomb.clone().into();
    for path in ["/delay/50", "/stall/100"] {
        // Where this thread was kept waiting, the head may be here already, and nobody is woken.
        let future = loop {
            let mut future = client.get_async(server.url(path));
            if Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_pending() {
                break future;
            }
        };
        // Until the waker was dropped, and so had its chance.
        let end = Instant::now() + Duration::from_secs(5);
        while Arc::strong_count(&bomb) > 2 && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(block_on(future).unwrap().status(), 200, "the one who asks anew is answered");
    }
    assert_eq!(bystander.bytes().unwrap().len(), 40);
}

#[test]
fn a_second_shutdown_waits_as_well_and_may_be_stricter() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let future = client.get_async(server.url("/stall-head"));
    assert!(server.wait_for_heads(1, Duration::from_secs(5)));
    let long = client.shutdown_async(Duration::from_secs(30));
    let start = Instant::now();
    client.shutdown(Duration::from_millis(200));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(199) && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(block_on(future).unwrap_err().kind(), ErrorKind::ClientShutDown);
    block_on(long);
    assert!(start.elapsed() < Duration::from_secs(2), "the first has nothing left to wait for");
}

#[test]
fn two_shutdowns_at_once_both_wait_for_the_end() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let future = client.get_async(server.url("/delay/400"));
    assert!(server.wait_for_heads(1, Duration::from_secs(5)));
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                client.shutdown(Duration::from_secs(30));
                assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
            });
        }
        scope.spawn(|| block_on(async { future.await.unwrap().consume().await }).unwrap());
    });
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Connections of this process to that port which the server has closed and we have not.
fn half_closed(port: u16) -> usize {
    const CLOSE_WAIT: &str = "08";
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|field| field.len() > 3 && field[2].ends_with(&port) && field[3] == CLOSE_WAIT).count()
}

#[test]
fn connections_that_their_server_closed_are_cleared_away_by_an_idle_client() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    block_on(try_join_all((0..20).map(|_| async {
        let mut response = client.get_async(server.url("/delay/100")).await?;
        response.consume().await
    })))
    .unwrap();
    server.close_connections();
    assert!(server.wait_open(0, Duration::from_secs(5)));
    let end = Instant::now() + Duration::from_secs(5);
    while half_closed(server.addr().port()) > 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(half_closed(server.addr().port()), 0, "descriptors of dead connections are kept");
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
}

#[test]
fn a_get_that_met_a_dying_connection_is_asked_again_once() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..5 {
        client.get(server.url("/keepalive-then-drop")).unwrap().consume().unwrap();
        let before = server.requests().len();
        assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
        assert_eq!(server.requests().len() - before, 2);
    }
    // On a fresh connection there is nothing to be asked again.
    let client = HttpClient::new().unwrap();
    let before = server.requests().len();
    assert_eq!(client.get(server.url("/close/before-head")).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(server.requests().len() - before, 1);
}

#[test]
fn a_request_of_an_unrewindable_body_is_never_sent_twice() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    client.get(server.url("/keepalive-then-drop")).unwrap().consume().unwrap();
    let before = server.requests().len();
    let body = marmot::Body::from_reader(std::io::Cursor::new("once"));
    let error = client.post(server.url("/echo"), body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestBodyNotRewindable, "{error}");
    assert_eq!(server.requests().len() - before, 1);
}

/// What `call` returns, on a thread of its own; a failure if that takes too long.
#[track_caller]
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(call()));
    receiver.recv_timeout(Duration::from_secs(10)).expect("it hangs")
}

#[test]
fn whoever_waits_for_a_connection_can_be_cancelled_or_run_out_of_time() {
    let server = Server::faults();
    let client = HttpClient::builder().max_connections(1).build().unwrap();
    let stalled = client.get(server.url("/stall/1000000")).unwrap();
    let queued: Vec<_> = (0..10).map(|_| client.get_async(server.url("/text"))).collect();
    let request = Request::get(server.url("/text")).timeout(Duration::from_millis(200)).body(()).unwrap();
    let sender = client.clone();
    assert_eq!(in_time(move || sender.send(request)).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(server.requests().len(), 1, "the one connection is taken");
    let mut queued = queued.into_iter();
    drop(queued.by_ref().take(5).collect::<Vec<_>>());
    drop(stalled);
    for future in queued {
        in_time(|| block_on(async { future.await?.consume().await })).unwrap();
    }
    assert_eq!(server.requests().len(), 6, "those given up were never sent");
}

#[test]
fn whoever_waits_to_share_a_connection_runs_out_of_time() {
    // Takes connections and never says a word of TLS: who may share one waits for it.
    let server =
        RawServer::start(|conn, _, stop| while !stop.is_raised() && !conn.wait_hangup(Duration::from_millis(50)) {});
    let client = HttpClient::new().unwrap();
    let url = server.url("/").replace("http:", "https:");
    let _first = client.get_async(&url);
    assert!(server.wait_accepted(1, Duration::from_secs(5)));
    let start = Instant::now();
    let request = Request::get(&url).timeout(Duration::from_millis(200)).body(()).unwrap();
    assert_eq!(in_time(move || client.send(request)).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_shutdown_ends_those_who_wait_for_a_connection() {
    let server = Server::faults();
    let client = HttpClient::builder().max_connections(1).build().unwrap();
    let _stalled = client.get(server.url("/stall/1000000")).unwrap();
    let queued: Vec<_> = (0..10).map(|_| client.get_async(server.url("/text"))).collect();
    client.shutdown(Duration::from_millis(50));
    for future in queued {
        assert_eq!(block_on(future).unwrap_err().kind(), ErrorKind::ClientShutDown);
    }
}

#[test]
fn clients_are_shut_down_while_threads_use_them() {
    let server = Server::faults();
    for _ in 0..20 {
        let client = HttpClient::new().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        match client.get(server.url("/bytes/20000")).and_then(|mut response| response.bytes()) {
                            Ok(bytes) => assert_eq!(bytes.len(), 20_000),
                            Err(error) => break assert_eq!(error.kind(), ErrorKind::ClientShutDown, "{error:?}"),
                        }
                    }
                });
            }
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                client.shutdown(Duration::ZERO);
            });
        });
    }
}

#[test]
fn requests_race_with_the_drop_of_their_client() {
    let server = Server::faults();
    for _ in 0..200 {
        let client = HttpClient::new().unwrap();
        let one = client.get_async(server.url("/bytes/20000"));
        let two = thread::spawn({
            let client = client.clone();
            let url = server.url("/bytes/20000");
            move || client.get(url)
        });
        drop(client);
        assert_eq!(two.join().unwrap().unwrap().bytes().unwrap().len(), 20_000);
        assert_eq!(block_on(async { one.await?.bytes().await }).unwrap().len(), 20_000);
    }
}

#[test]
fn sockets_that_come_and_go_at_once_cost_nobody_a_connection() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let run = &|thread: u64| {
        let mut state = (thread + 1).wrapping_mul(0x9e37_79b9);
        let mut slowest = Duration::ZERO;
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let start = Instant::now();
            // Whether any of them succeeds is not the point: that none is forgotten is.
            match state % 6 {
                0 => drop(client.get(server.url("/keepalive-then-drop")).and_then(|mut response| response.consume())),
                1 => drop(client.get(server.url("/reset/in-body"))),
                2 => {
                    let request = Request::get(server.url("/text")).timeout(Duration::from_millis(1)).body(()).unwrap();
                    drop(client.send(request));
                }
                3 => server.close_connections(),
                4 => drop(client.get_async(server.url("/text"))),
                _ => drop(client.get(server.url("/text"))),
            }
            slowest = slowest.max(start.elapsed());
        }
        slowest
    };
    let slowest = thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    });
    // A connection whose socket is not watched ends at its time limit of 30 seconds.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

#[test]
fn a_caller_who_finds_the_agent_taken_uses_connections_again_all_the_same() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| client.get(server.url("/delay/1000")).unwrap().bytes().unwrap());
        assert!(server.wait_for_heads(1, Duration::from_secs(5)));
        for _ in 0..10 {
            let all =
                try_join_all((0..64).map(|_| async { client.get_async(server.url("/get")).await?.bytes().await }));
            assert_eq!(client.block_on(all).unwrap().len(), 64);
        }
        other.join().unwrap();
    });
    let stats = client.stats();
    assert!(stats.agents > 1, "the caller had an agent of its own: {stats:?}");
    // As many as were used at once, by each agent at most.
    assert!(stats.started - stats.reused <= 1 + 64 * stats.agents as u64, "{stats:?}");
}
