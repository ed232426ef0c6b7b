//! Connections: kept, used again, capped; many at once; idle ones that cost nothing. TLS is in `tls.rs`.

use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::try_join_all;
use marmot::Error;
use marmot::prelude::*;

use crate::alone::{cpu, is_alone};
use crate::support::{Canned, Server};

#[test]
fn a_hundred_requests_share_a_connection() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..100 {
        client.get(server.url("/text")).unwrap().consume().unwrap();
    }
    assert_eq!(server.accepted(), 1);
}

#[test]
fn as_many_connections_as_are_used_at_once_are_used_again() {
    let server = Server::faults();
    let client = HttpClient::builder().agents(1).build().unwrap();
    for _ in 0..3 {
        let all = (0..300).map(|_| async {
            client.get_async(server.url("/delay/50")).await?.consume().await?;
            Ok::<_, Error>(())
        });
        block_on(try_join_all(all.collect::<Vec<_>>())).unwrap();
    }
    assert!(server.accepted() <= 310, "{} connections for 300 requests at once", server.accepted());
}

#[test]
fn no_more_connections_are_kept_without_a_request_than_asked_for() {
    let server = Server::faults();
    let client = HttpClient::builder().connection_cache_size(3).build().unwrap();
    for _ in 0..3 {
        // They end one by one, so that it shows whether each is kept.
        let all = (0..10).map(|n| client.get_async(server.url(&format!("/delay/{}", 50 + 20 * n))));
        let heads = block_on(try_join_all(all.collect::<Vec<_>>())).unwrap();
        for mut head in heads {
            block_on(head.consume()).unwrap();
        }
        assert!(server.wait_open(3, Duration::from_secs(5)), "{:?}", client.stats());
    }
    let stats = client.stats();
    assert_eq!((stats.idle, stats.completed), (3, 30), "{stats:?}");
    assert!(stats.reused >= 6, "{stats:?}");
}

#[test]
fn a_connection_that_its_server_closed_is_no_trouble() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..3 {
        client.get(server.url("/keepalive-then-close?ms=20")).unwrap().consume().unwrap();
        assert!(server.wait_open(0, Duration::from_secs(5)));
    }
    for _ in 0..3 {
        client.get(server.url("/keepalive-then-drop")).unwrap().consume().unwrap();
        assert!(!client.get(server.url("/text")).unwrap().text().unwrap().is_empty());
    }
    client.get(server.url("/text")).unwrap().consume().unwrap();
    server.close_connections();
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
}

#[test]
fn an_idle_client_burns_nothing() {
    if !is_alone("connections::an_idle_client_burns_nothing") {
        return;
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let _silent = client.get(server.url("/idle-events")).unwrap();
    let mut _unread = client.get(server.url("/bytes/30000000")).unwrap();
    client.get(server.url("/keepalive-then-close?ms=10")).unwrap().consume().unwrap();
    thread::sleep(Duration::from_millis(300));
    let before = cpu();
    thread::sleep(Duration::from_millis(1000));
    let spent = cpu() - before;
    assert!(spent <= Duration::from_millis(50), "{spent:?} with a silent, a paused and a closed connection");
}

#[test]
fn caps_hold_and_whoever_waits_gets_a_turn() {
    for per_host in [false, true] {
        let server = Canned::start();
        let builder = HttpClient::builder();
        let builder = if per_host { builder.max_connections_per_host(4) } else { builder.max_connections(4) };
        let client = builder.build().unwrap();
        block_on(try_join_all((0..40).map(|_| async {
            let mut response = client.get_async(server.url("/wait/20")).await?;
            response.bytes().await.map(drop)
        })))
        .unwrap();
        assert!(server.most_open() <= 4, "{} open at once", server.most_open());
        assert_eq!(server.requests(), 40);
    }
}

#[test]
fn five_hundred_requests_wait_at_once() {
    let server = Canned::start();
    let client = HttpClient::new().unwrap();
    let start = Instant::now();
    block_on(try_join_all((0..500).map(|_| async {
        let mut response = client.get_async(server.url("/wait/300")).await?;
        response.bytes().await.map(drop)
    })))
    .unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn threads_share_a_client_and_nobody_gets_anothers_response() {
    let server = Server::start(|request, responder| responder.text(200, &request.target));
    let client = HttpClient::new().unwrap();
    thread::scope(|scope| {
        for thread in 0..16 {
            let (client, server) = (&client, &server);
            scope.spawn(move || {
                for number in 0..100 {
                    let path = format!("/{thread}/{number}");
                    assert_eq!(client.get(server.url(&path)).unwrap().text().unwrap(), path);
                }
            });
        }
    });
    assert!(server.accepted() <= 64, "{}", server.accepted());
}

#[test]
fn a_mixture_of_everything_leaves_a_client_that_works() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let seed = Instant::now().elapsed().as_nanos() as u64 | 0x9e37_79b9;
    println!("seed {seed}");
    thread::scope(|scope| {
        for thread in 0..8 {
            let (client, server) = (&client, &server);
            scope.spawn(move || {
                let mut state = seed.wrapping_mul(thread + 1) | 1;
                let end = Instant::now() + Duration::from_secs(2);
                while Instant::now() < end {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    match state % 8 {
                        0 => drop(client.get_async(server.url("/delay/50"))),
                        1 => drop(client.get(server.url("/unread/300000"))),
                        2 => drop(client.get(server.url("/reset/in-body"))),
                        3 => {
                            let request = Request::get(server.url("/delay/500")).timeout(Duration::from_millis(20));
                            let result: Result<_, Error> = client.send(request.body(()).unwrap());
                            assert!(result.unwrap_err().is_timeout());
                        }
                        4 => drop(client.get(server.url("/gzip")).unwrap().text()),
                        5 => {
                            let body = vec![1; 100_000];
                            assert!(client.post(server.url("/echo"), body.clone()).unwrap().bytes().unwrap() == body);
                        }
                        6 => drop(client.get(server.url("/stall/100"))),
                        _ => assert_eq!(client.get(server.url("/bytes/1000")).unwrap().bytes().unwrap().len(), 1000),
                    }
                }
            });
        }
    });
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
    client.shutdown(Duration::from_secs(2));
    assert!(server.wait_open(0, Duration::from_secs(5)), "{} connections are still open", server.open());
}

#[test]
fn an_idle_client_closes_the_connections_that_their_server_has_closed() {
    if !is_alone("connections::an_idle_client_closes_the_connections_that_their_server_has_closed") {
        return;
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    client.get(server.url("/text")).unwrap().consume().unwrap();
    let with_one = descriptors();
    block_on(try_join_all((0..10).map(|_| async {
        let mut response = client.get_async(server.url("/delay/100")).await?;
        response.bytes().await.map(drop)
    })))
    .unwrap();
    assert!(descriptors() > with_one + 8);
    server.close_connections();
    assert!(server.wait_open(0, Duration::from_secs(5)));
    // No request is made: the agent does it by itself. Of the one that was there at first nothing is left either.
    let end = Instant::now() + Duration::from_secs(10);
    while descriptors() > with_one - 2 && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(descriptors(), with_one - 2);
    let begun = cpu();
    thread::sleep(Duration::from_millis(2500));
    assert!(cpu() - begun <= Duration::from_millis(50));
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
}
