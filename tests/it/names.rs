//! Names that lead to other addresses, and sockets of other kinds. Asks no DNS server but one of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::try_join_all;
use marmot::ErrorKind;
use marmot::config::{
    CaCertificates, ConnectTo, DnsCache, IpVersion, NetworkInterface, Proxy, RedirectPolicy, ResolveMap, Roots,
    TlsConfig,
};
use marmot::prelude::*;

use crate::support::{Nginx, Server};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers every connection's first request with a word and closes. Runs until the test process ends.
fn answering(listener: TcpListener, word: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let peer = stream.as_ref().unwrap().peer_addr().unwrap();
            answer(stream.unwrap(), &format!("{word} {peer}"));
        }
    });
}

fn answer(mut stream: impl Read + Write, word: &str) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&buffer[..n]),
        }
    }
    let length = word.len();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{word}");
}

/// One port on two addresses of loopback, each with an answer of its own.
fn twins() -> u16 {
    loop {
        let one = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = one.local_addr().unwrap().port();
        if let Ok(two) = TcpListener::bind(("127.0.0.2", port)) {
            answering(one, "one");
            answering(two, "two");
            return port;
        }
    }
}

#[test]
fn a_map_holds_for_its_own_requests_only() {
    let port = twins();
    let url = format!("http://name.invalid:{port}/");
    let map = |last: u8| ResolveMap::new().add("name.invalid", port, [IpAddr::from([127, 0, 0, last])]);
    let client = HttpClient::new().unwrap();
    let ask = |map: Option<ResolveMap>| {
        let request = Request::get(&url);
        let request = if let Some(map) = map { request.resolve(map) } else { request };
        client.send_async(request.body(()).unwrap())
    };
    for _ in 0..3 {
        for (last, word) in [(1, "one"), (2, "two")] {
            assert!(block_on(ask(Some(map(last)))).unwrap().text_now().starts_with(word));
            // Without a map, or with one for others, the name is not found again.
            for none in [None, Some(ResolveMap::new()), Some(ResolveMap::new().add("other.invalid", port, [HERE]))] {
                assert_eq!(block_on(ask(none)).unwrap_err().kind(), ErrorKind::NameResolution);
            }
        }
    }
    // All at once.
    let answers = (0..40).map(|n: u8| {
        let response = ask(Some(map(1 + n % 2)));
        async move { response.await.map(|response| (n, response)) }
    });
    for (n, response) in block_on(try_join_all(answers)).unwrap() {
        assert!(response.text_now().starts_with(["one", "two"][usize::from(n % 2)]), "{n}");
    }
}

trait TextNow {
    fn text_now(self) -> String;
}

impl TextNow for http::Response<marmot::AsyncBody> {
    fn text_now(mut self) -> String {
        block_on(self.text()).unwrap()
    }
}

#[test]
fn a_map_serves_tls_later_addresses_and_many_requests() {
    let nginx = Nginx::start().unwrap_or_else(|why| panic!("{why}"));
    let port = nginx.tls_port();
    // Nobody listens on the first address.
    let map = ResolveMap::new().add("LOCALHOST", port, [IpAddr::from([127, 9, 9, 9]), HERE]);
    let client = HttpClient::builder()
        .resolve(map)
        .dns_cache_timeout(Duration::from_secs(1))
        .tls(TlsConfig::new().roots(Roots::only(CaCertificates::file(nginx.ca_pem_path()))))
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut response = client.get(nginx.tls_url("/who")).unwrap();
        assert!(response.text().unwrap().starts_with("|localhost|"), "name and certificate are those of the URL");
    }
    let answers = (0..50).map(|_| client.get_async(nginx.tls_url("/small.txt")));
    assert_eq!(block_on(try_join_all(answers)).unwrap().len(), 50);
}

#[test]
fn international_names_resolve_through_a_map() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let port = server.addr().port();
    let client = HttpClient::builder()
        .resolve(ResolveMap::new().add("bücher.invalid", port, [HERE]))
        .redirect_policy(RedirectPolicy::Follow)
        .build()
        .unwrap();
    let url = marmot::parse_url(format!("http://bücher.invalid:{port}/süß")).unwrap();
    assert_eq!(client.get(url).unwrap().status(), 200);
    assert_eq!(server.last_request().target, "/s%C3%BC%C3%9F");
    // In a redirect they need no help.
    let there = format!("http://b%C3%BCcher.invalid:{port}/there");
    let first = Server::start(move |_, responder| responder.send(302, &[("Location", &there)], b""));
    assert_eq!(client.get(first.url("/")).unwrap().status(), 200);
    assert_eq!(server.last_request().header("host"), Some(&*format!("xn--bcher-kva.invalid:{port}")));
}

#[test]
fn a_connection_can_be_made_elsewhere() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let (host, port) = ("127.0.0.1", server.addr().port());
    let to = ConnectTo::new().add("name.invalid", 80, host, port).add("far.invalid", 80, "near.invalid", port);
    let map = ResolveMap::new().add("near.invalid", port, [HERE]);
    let client = HttpClient::builder().connect_to(to).resolve(map).build().unwrap();
    for name in ["name.invalid", "far.invalid"] {
        assert_eq!(client.get(format!("http://{name}/")).unwrap().status(), 200);
        assert_eq!(server.last_request().header("host"), Some(name));
    }
    assert_eq!(client.get("http://other.invalid/").unwrap_err().kind(), ErrorKind::NameResolution);
    let without = Request::get("http://name.invalid/").connect_to(ConnectTo::new()).body(()).unwrap();
    assert_eq!(client.send(without).unwrap_err().kind(), ErrorKind::NameResolution);
    for bad in [ConnectTo::new().add("a:1:b", 1, "c", 1), ConnectTo::new().add("a", 1, "b,c", 1)] {
        let request = Request::get(server.url("/")).connect_to(bad).body(()).unwrap();
        assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
}

/// A DNS server's answer to a question (RFC 1035 4): 127.0.0.1 for `doh.invalid`, no such name for others.
fn dns_answer(question: &[u8]) -> Vec<u8> {
    let end = question[12..].iter().position(|byte| *byte == 0).unwrap() + 12 + 5;
    let known = question[12..end].starts_with(b"\x03doh\x07invalid\0");
    let wants_a = question[end - 4..end - 2] == [0, 1];
    let mut answer = question[..2].to_vec();
    answer.extend_from_slice(&[0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known && wants_a), 0, 0, 0, 0]);
    answer.extend_from_slice(&question[12..end]);
    if known && wants_a {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

#[test]
fn names_are_asked_for_over_https() {
    let nginx = Nginx::start().unwrap_or_else(|why| panic!("{why}"));
    let dns = Server::start(|request, responder| {
        responder.send(200, &[("Content-Type", "application/dns-message")], &dns_answer(&request.body))
    });
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let doh = nginx.tls_url(&format!("/forward/{}", dns.addr().port()));
    let url = |name: &str| format!("http://{name}:{}/", server.addr().port());
    let trusting = TlsConfig::new().roots(Roots::only(CaCertificates::file(nginx.ca_pem_path())));
    let client = HttpClient::builder().dns_over_https(&*doh).tls(trusting).build().unwrap();
    assert_eq!(client.get(url("doh.invalid")).unwrap().status(), 200);
    assert!(dns.requests().len() <= 2 && !dns.requests().is_empty(), "{}", dns.requests().len());
    assert_eq!(dns.last_request().header("content-type"), Some("application/dns-message"));
    assert_eq!(client.get(url("other.invalid")).unwrap_err().kind(), ErrorKind::NameResolution);
    // The server of names is verified even where nothing else is.
    let unasked = Server::start(|_, responder| responder.text(500, ""));
    let doh = nginx.tls_url(&format!("/forward/{}", unasked.addr().port()));
    let client = HttpClient::builder().dns_over_https(&*doh).danger_accept_invalid_certs(true).build().unwrap();
    assert_eq!(client.get(url("doh.invalid")).unwrap_err().kind(), ErrorKind::NameResolution);
    assert!(unasked.requests().is_empty());
    let error = HttpClient::builder().dns_over_https("http://127.0.0.1/").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[test]
fn servers_of_names_need_a_libcurl_that_can() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let client = HttpClient::builder().dns_servers("127.0.0.1").build().unwrap();
    let error = client.get(server.url("/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain());
    assert!(error.to_string().contains("c-ares"), "{error}");
    let request = Request::get(server.url("/")).dns_servers(None).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 200);
}

#[test]
fn a_family_of_addresses_can_be_demanded() {
    let server = Server::start(|_, responder| responder.text(200, "ok"));
    let port = server.addr().port();
    let map = ResolveMap::new().add("both.invalid", port, ["::1".parse().unwrap(), HERE]);
    for (version, reached) in [(IpVersion::Any, true), (IpVersion::V4, true), (IpVersion::V6, false)] {
        let client = HttpClient::builder()
            .resolve(map.clone())
            .ip_version(version)
            .happy_eyeballs_timeout(Duration::from_millis(50))
            .dns_cache_timeout(DnsCache::Never)
            .build()
            .unwrap();
        let result = client.get(format!("http://both.invalid:{port}/"));
        assert_eq!(result.is_ok(), reached, "{version:?}: {result:?}");
    }
}

#[test]
fn connections_leave_from_where_they_are_told_to() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    answering(listener, "from");
    let from = |client: &HttpClient| {
        let text = client.get(&url).unwrap().text().unwrap();
        text.strip_prefix("from ").unwrap().parse::<std::net::SocketAddr>().unwrap()
    };
    let second = IpAddr::from([127, 0, 0, 2]);
    for interface in [NetworkInterface::address(second), NetworkInterface::host("127.0.0.2")] {
        let client = HttpClient::builder().interface(interface).build().unwrap();
        assert_eq!(from(&client).ip(), second);
    }
    let client = HttpClient::builder().local_port_range(40_000..=49_999).build().unwrap();
    for _ in 0..5 {
        assert!((40_000..50_000).contains(&from(&client).port()));
    }
    let client = HttpClient::builder().interface(NetworkInterface::name("no-such-0")).build().unwrap();
    assert_eq!(client.get(&url).unwrap_err().kind(), ErrorKind::ConnectionFailed);
    for (first, last) in [(0, 9), (10, 9)] {
        let error = HttpClient::builder().local_port_range(first..=last).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
    let client = HttpClient::builder().tcp_fast_open(true).build().unwrap();
    match client.get(&url) {
        Ok(response) => assert_eq!(response.status(), 200),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain()),
    }
}

#[test]
fn sockets_of_the_file_system_and_abstract_ones_are_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let name = format!("marmot-{}", dir.path().display());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let unnamed = UnixListener::bind_addr(&address).unwrap();
    for (listener, word) in [(listener, "path"), (unnamed, "abstract")] {
        std::thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), word)));
    }
    // Neither the name nor a proxy is looked at.
    let nowhere = Proxy::all("http://127.0.0.1:1");
    let client = HttpClient::builder().unix_socket(path).proxy(nowhere).build().unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("http://name.invalid/").unwrap().text().unwrap(), "path");
        let request = Request::get("http://name.invalid/").abstract_unix_socket(&name).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().text().unwrap(), "abstract");
    }
    let request = Request::get("http://name.invalid/").unix_socket(None).proxy(None).body(()).unwrap();
    assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::NameResolution);
    // Addresses that nobody is at are told apart from names that are not found.
    let map = ResolveMap::new().add("name.invalid", 1, [HERE]);
    let request = Request::get("http://name.invalid:1/").resolve(map).proxy(None).unix_socket(None).body(()).unwrap();
    let error = client.send(request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionFailed, "{}", error.chain());
    let missing = HttpClient::builder().unix_socket(dir.path().join("missing")).build().unwrap();
    assert_eq!(missing.get("http://name.invalid/").unwrap_err().kind(), ErrorKind::ConnectionFailed);
}

#[test]
fn buffers_have_bounds() {
    let server = Server::start(|request, responder| responder.send(200, &[], &request.body));
    let client = HttpClient::builder().receive_buffer_size(1024).upload_buffer_size(16 << 10).build().unwrap();
    let body = "x".repeat(300_000);
    assert_eq!(client.post(server.url("/"), body.clone()).unwrap().text().unwrap(), body);
    for builder in [
        HttpClient::builder().receive_buffer_size(1),
        HttpClient::builder().receive_buffer_size(11 << 20),
        HttpClient::builder().upload_buffer_size(1),
        HttpClient::builder().upload_buffer_size(3 << 20),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
}
