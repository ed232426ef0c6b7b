//! Egress policies on the wire: at the name, at the address, at reuse, on redirects and through proxies.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use marmot::config::{EgressPolicy, RedirectPolicy};
use marmot::prelude::*;
use marmot::{Error, ErrorKind};

use crate::alone::run_alone;
use crate::support::Server;

fn public() -> HttpClient {
    HttpClient::builder().egress(EgressPolicy::public_internet()).build().unwrap()
}

#[track_caller]
fn refused(result: Result<marmot::Response<marmot::Body>, Error>, rule: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EgressDenied, "{error:?}");
    assert!(error.to_string().contains(rule), "{error}");
}

#[test]
fn every_form_of_a_loopback_address_is_refused_without_a_connection() {
    let server = Server::faults();
    let port = server.addr().port();
    let client = public();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "127.0.0.1.",
        "[0:0:0:0:0:ffff:7f00:1]",
    ] {
        refused(client.get(format!("http://{host}:{port}/get")), "is refused by");
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_name_is_refused_by_the_address_that_it_resolves_to() {
    let server = Server::faults();
    let url = format!("http://localhost:{}/get", server.addr().port());
    refused(public().get(&url), "loopback");
    assert_eq!(server.accepted(), 0);
    // The same in a request of its own, of a client that allows all.
    let request = Request::get(&url).egress(EgressPolicy::public_internet()).body(()).unwrap();
    refused(HttpClient::new().unwrap().send(request), "loopback");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_connection_that_another_request_made_is_refused_too() {
    let server = Server::faults();
    let url = format!("http://localhost:{}/get", server.addr().port());
    let client = HttpClient::new().unwrap();
    client.get(&url).unwrap().consume().unwrap();
    let request = Request::get(&url).egress(EgressPolicy::public_internet()).body(()).unwrap();
    refused(client.send(request), "loopback");
    assert_eq!(server.requests().len(), 1, "nothing was sent on the open connection");
    // And the handle that was guarded serves an unguarded request.
    assert_eq!(client.get(&url).unwrap().status(), 200);
}

#[test]
fn redirects_are_checked_like_requests() {
    let (first, second) = (Server::faults(), Server::faults());
    let port = first.addr().port();
    let policy = EgressPolicy::public_internet().allow_hosts([format!("127.0.0.1:{port}")]);
    let policy = policy.allow_addresses(["127.0.0.1"]);
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).egress(policy).build().unwrap();
    assert_eq!(client.get(first.url("/redirect/2")).unwrap().status(), 200);
    let target = second.url("/get");
    refused(client.get(first.url(&format!("/redirect-to?url={target}"))), "not on the list");
    assert_eq!(second.accepted(), 0);
}

#[test]
fn what_is_allowed_goes_through_and_a_request_can_only_narrow() {
    let server = Server::faults();
    let policy = EgressPolicy::public_internet().allow_addresses(["127.0.0.0/8", "::1"]);
    let client = HttpClient::builder().egress(policy).build().unwrap();
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200);
    let narrower = Request::get(server.url("/get")).egress(EgressPolicy::new().schemes(["https"])).body(()).unwrap();
    refused(client.send(narrower), "scheme");
    let wider =
        Request::get(server.url("/get")).egress(EgressPolicy::new().allow_addresses(["127.0.0.1"])).body(()).unwrap();
    refused(public().send(wider), "loopback");
}

#[test]
fn a_proxy_needs_consent() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = proxy.local_addr().unwrap();
    if !run_alone("egress::a_proxy_needs_consent", |command| {
        command.env("http_proxy", format!("http://{address}"));
    }) {
        assert!(proxy.accept().is_err(), "the proxy was not asked");
        return;
    }
    let policy = EgressPolicy::public_internet();
    let client = HttpClient::builder().egress(policy).build().unwrap();
    refused(client.get("http://example.invalid/"), "proxy");
}

#[test]
fn entries_that_cannot_be_read_are_told_when_the_client_is_built() {
    for policy in [
        EgressPolicy::new().allow_hosts(["ftp://x"]),
        EgressPolicy::new().deny_addresses(["10.0.0.0/33"]),
        EgressPolicy::new().allow_addresses(["localhost"]),
    ] {
        let error = HttpClient::builder().egress(policy).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
}

#[test]
fn a_refusal_is_quick_and_leaves_the_client_usable() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let url = format!("http://localhost:{}/get", server.addr().port());
    for _ in 0..50 {
        let request = Request::get(&url).egress(EgressPolicy::public_internet()).body(()).unwrap();
        refused(client.send(request), "loopback");
        assert_eq!(client.get(&url).unwrap().status(), 200);
    }
    drop(client);
    assert!(TcpStream::connect_timeout(&server.addr(), Duration::from_secs(5)).is_ok());
}
