//! What a client that ends leaves to those made later: memory, and nothing of its requests.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use marmot::ErrorKind;
use marmot::config::ResolveMap;
use marmot::prelude::*;

use crate::alone::is_alone;
use crate::support::Server;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The sockets of this process, by their numbers in the kernel.
fn sockets() -> HashSet<String> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.map(|link| link.display().to_string()).filter(|link| link.starts_with("socket:")).collect()
}

fn get(client: &HttpClient, url: &str) -> String {
    client.get(url).unwrap().text().unwrap()
}

#[test]
fn libcurls_handles_go_from_client_to_client() {
    if !is_alone("successors::libcurls_handles_go_from_client_to_client") {
        return;
    }
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let kept = || {
        let before = sockets();
        get(&HttpClient::new().unwrap(), &server.url("/"));
        // The server's end of the connection may be open a little longer, but it is new.
        sockets().intersection(&before).count()
    };
    kept();
    let of_server = 1;
    for _ in 0..3 {
        assert!(kept() > of_server, "libcurl's sockets of its own are those of the client before");
    }
}

#[test]
fn no_connection_and_no_name_goes_from_client_to_client() {
    if !is_alone("successors::no_connection_and_no_name_goes_from_client_to_client") {
        return;
    }
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let port = server.addr().port();
    let url = format!("http://left.invalid:{port}/");
    let known = ResolveMap::new().add("left.invalid", port, [HERE]);
    for round in 1..=3 {
        let client = HttpClient::builder().resolve(known.clone()).build().unwrap();
        assert_eq!((get(&client, &url), get(&client, &url)), ("ok".into(), "ok".into()));
        assert_eq!(server.accepted(), round, "each client has a connection of its own");
        drop(client);
        let error = HttpClient::new().unwrap().get(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NameResolution, "{error:?}");
    }
}

#[test]
fn clients_come_and_go_on_many_threads() {
    let server = Server::start(|request, responder| match request.path() {
        "/slow" => {
            thread::sleep(Duration::from_millis(20));
            responder.text(200, "slow")
        }
        _ => responder.text(200, "ok"),
    });
    let by_name = server.url("/").replace("127.0.0.1", "localhost");
    thread::scope(|scope| {
        for lane in 0..8 {
            let (server, by_name) = (&server, &by_name);
            scope.spawn(move || {
                for round in lane..lane + 60 {
                    let client = HttpClient::new().unwrap();
                    match round % 4 {
                        0 => assert_eq!(get(&client, by_name), "ok"),
                        1 => {
                            // Given up by the time that the client ends, or about to be.
                            let slow = Request::get(server.url("/slow")).timeout(Duration::from_millis(5));
                            drop(client.send_async(slow.body(()).unwrap()));
                        }
                        2 => {
                            let all = join_all((0..5).map(|_| client.get_async(server.url("/"))));
                            assert!(block_on(all).into_iter().all(|response| response.unwrap().status() == 200));
                        }
                        _ => {
                            assert_eq!(get(&client, &server.url("/")), "ok");
                            thread::sleep(Duration::from_millis(round % 3));
                            assert_eq!(get(&client, by_name), "ok");
                        }
                    }
                }
            });
        }
    });
}
