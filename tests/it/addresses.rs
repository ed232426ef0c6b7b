//! Every way to a forbidden address that we know of. The servers there count who comes by: nobody may.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use marmot::config::{ConnectTo, EgressPolicy, Proxy, RedirectPolicy, ResolveMap};
use marmot::prelude::*;
use marmot::{AltSvcCache, Error, ErrorKind};

/// Listens where nobody may go, and knows whether anybody did.
struct Forbidden {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl Forbidden {
    /// On 127.0.0.1, and on ::1 where there is one, at the same port.
    fn new() -> Self {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        let listeners: Vec<_> = [Ok(v4), TcpListener::bind(("::1", port))].into_iter().flatten().collect();
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Self { listeners, port }
    }

    /// A connection that was made is in the queue, even if the client has closed it.
    #[track_caller]
    fn nobody_came(&self, way: &str) {
        assert!(self.listeners.iter().all(|listener| listener.accept().is_err()), "{way} made a connection");
    }
}

/// A server on 127.0.0.2, which the policy below allows; it redirects to wherever the query of the request says.
fn allowed() -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let target = head.split(' ').nth(1).unwrap_or_default();
                    let answer = match target.split_once("?to=") {
                        Some((_, to)) => format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
                        None => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    };
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn policy() -> EgressPolicy {
    EgressPolicy::public_internet().allow_addresses(["127.0.0.2"])
}

fn client() -> HttpClient {
    HttpClient::builder()
        .egress(policy())
        .redirect_policy(RedirectPolicy::Follow)
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

#[track_caller]
fn denied<T: std::fmt::Debug>(result: Result<T, Error>, way: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EgressDenied, "{way}: {error:?}");
}

/// All of these are this machine, or a network that is nobody's business.
const FORMS: [&str; 66] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7F.0.0.0x1",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "127.0.0.1.",
    "127.0.0.01",
    "127.00.0.1",
    "127.000.000.001",
    "0x7f.0x0.0x0.0x1",
    "127.0x1",
    "127.0.0x0001",
    "0",
    "0.0",
    "0.0.0.0",
    "0x0",
    "00.00.00.00",
    "127.0.0.0",
    "127.0.0.3",
    "127.127.127.127",
    "127.255.255.254",
    "127.65535",
    "[::1]",
    "[::]",
    "[0::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:127.0.0.1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "10.0.0.1",
    "012.0.0.1",
    "167772161",
    "172.16.0.1",
    "192.168.0.1",
    "192.168.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
];

#[test]
fn no_form_of_an_address_gets_through() {
    let there = Forbidden::new();
    let from = allowed();
    let client = client();
    for form in FORMS {
        let url = format!("http://{form}:{}/", there.port);
        denied(client.get(&url), &url);
        let way = format!("http://127.0.0.2:{from}/?to={url}");
        denied(client.get(&way), &way);
        // `//host` and a capital scheme.
        let way = format!("http://127.0.0.2:{from}/?to=//{form}:{}/", there.port);
        denied(client.get(&way), &way);
        denied(client.websocket_blocking(url.replace("http", "ws")), &format!("a WebSocket to {form}"));
        let request = Request::get(format!("http://name.test:{}/", there.port));
        let to = ConnectTo::new().add("name.test", there.port, form, there.port);
        let result = client.send(request.connect_to(to).body(()).unwrap());
        let kind = result.unwrap_err().kind();
        // What is no address to libcurl is a name that does not exist, or is no host at all.
        let none = matches!(kind, ErrorKind::NameResolution | ErrorKind::InvalidConfiguration);
        assert!(kind == ErrorKind::EgressDenied || none, "connected to {form}: {kind:?}");
        there.nobody_came(form);
    }
}

#[test]
fn names_that_stand_for_it_do_not_get_through() {
    let there = Forbidden::new();
    let from = allowed();
    let client = client();
    let url = format!("http://name.test:{}/", there.port);
    for name in ["localhost", "LOCALHOST", "localhost.", "ip6-localhost"] {
        let Err(error) = client.get(format!("http://{name}:{}/", there.port)) else { panic!("{name}") };
        assert!(matches!(error.kind(), ErrorKind::EgressDenied | ErrorKind::NameResolution), "{name}: {error:?}");
        there.nobody_came(name);
    }
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["0.0.0.0"],
        &["::"],
        &["::ffff:127.0.0.1"],
        &["127.0.0.1", "::1"],
        &["10.0.0.1", "127.0.0.1"],
        &["169.254.169.254"],
    ] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let map = ResolveMap::new().add("name.test", there.port, addresses.clone());
        let request = |url: &str| Request::get(url).resolve(map.clone()).body(()).unwrap();
        denied(client.send(request(&url)), &format!("{addresses:?}"));
        // As the target of a redirect, and for a WebSocket.
        let way = format!("http://127.0.0.2:{from}/?to={url}");
        denied(client.send(request(&way)), &way);
        let socket = Request::get(url.replace("http", "ws")).resolve(map.clone());
        let options = marmot::websocket::Options::new();
        denied(client.websocket_blocking_with(socket.body(options).unwrap()), "a WebSocket to a name");
        there.nobody_came(&format!("{addresses:?}"));
    }
}

#[test]
fn a_name_that_changes_its_mind_does_not_get_through() {
    let there = Forbidden::new();
    let from = allowed();
    let client = client();
    let ask = |port: u16, addresses: &[&str]| {
        let map = ResolveMap::new().add("name.test", port, addresses.iter().map(|text| text.parse().unwrap()));
        client.send(Request::get(format!("http://name.test:{port}/")).resolve(map).body(()).unwrap())
    };
    for _ in 0..3 {
        assert_eq!(ask(from, &["127.0.0.2"]).unwrap().status(), 200, "the first answer is well");
        denied(ask(there.port, &["127.0.0.1"]), "the second answer");
        denied(ask(from, &["127.0.0.1"]), "the second answer at the same port");
        there.nobody_came("rebinding");
    }
    // The allowed one is refused last: the others are not tried before it.
    assert_eq!(ask(from, &["127.0.0.1", "127.0.0.2"]).map_or(200, |response| response.status().as_u16()), 200);
    there.nobody_came("a list");
}

#[test]
fn neither_proxies_nor_sockets_nor_alternatives_lead_there() {
    let there = Forbidden::new();
    let from = allowed();
    let client = client();
    for scheme in ["http", "https", "socks4", "socks4a", "socks5", "socks5h"] {
        for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"] {
            let proxy = Proxy::all(format!("{scheme}://{host}:{}", there.port));
            for target in ["http://127.0.0.2:1/".to_owned(), format!("http://127.0.0.2:{from}/")] {
                let way = format!("{scheme}://{host} for {target}");
                denied(client.send(Request::get(&target).proxy(proxy.clone()).body(()).unwrap()), &way);
                // With consent the proxy itself must still be allowed.
                let consenting = HttpClient::builder().egress(policy().allow_proxies(true)).build().unwrap();
                let request = Request::get(&target).proxy(proxy.clone()).body(()).unwrap();
                denied(consenting.send(request), &format!("{way} with consent"));
                there.nobody_came(&way);
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let request = Request::get("http://127.0.0.2/").unix_socket(path).body(()).unwrap();
    denied(client.send(request), "a unix socket");
    assert!(listener.accept().is_err());
    let request = Request::get("http://127.0.0.2/").abstract_unix_socket("marmot-nobody").body(()).unwrap();
    denied(client.send(request), "an abstract socket");

    let doh = format!("https://127.0.0.1:{}/dns-query", there.port);
    let request = Request::get("http://name.test/").dns_over_https(doh.as_str()).body(()).unwrap();
    denied(client.send(request), "a server of names");
    there.nobody_came("a server of names");

    for (protocol, host) in [("h1", "127.0.0.1"), ("h2", "127.0.0.1"), ("h1", "[::1]"), ("h1", "localhost")] {
        let file = folder.path().join("alt-svc");
        let line = format!("h1 127.0.0.2 {from} {protocol} {host} {} \"20990101 00:00:00\" 1 0\n", there.port);
        std::fs::write(&file, line).unwrap();
        let cache = AltSvcCache::file(&file).unwrap();
        let client = HttpClient::builder().egress(policy()).alt_svc(cache).build().unwrap();
        // The origin speaks no TLS: what matters is where it was looked for.
        client.get(format!("https://127.0.0.2:{from}/")).unwrap_err();
        there.nobody_came("an alternative");
    }
}

#[test]
fn an_alternative_keeps_to_the_allowed_hosts_and_ports() {
    let there = Forbidden::new();
    let from = allowed();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alt-svc");
    let line = format!("h1 127.0.0.2 {from} h1 127.0.0.1 {} \"20990101 00:00:00\" 1 0\n", there.port);
    std::fs::write(&file, line).unwrap();
    for policy in [
        EgressPolicy::new().allow_hosts(["127.0.0.2"]),
        EgressPolicy::new().allow_ports(from..=from),
        EgressPolicy::new().deny_hosts(["127.0.0.1"]),
    ] {
        let cache = AltSvcCache::file(&file).unwrap();
        let client = HttpClient::builder().alt_svc(cache).egress(policy.clone()).build().unwrap();
        client.get(format!("https://127.0.0.2:{from}/")).unwrap_err();
        there.nobody_came(&format!("{policy:?}"));
        // The same where it is the request that has the policy.
        let cache = AltSvcCache::file(&file).unwrap();
        let client = HttpClient::builder().alt_svc(cache).build().unwrap();
        let request = Request::get(format!("https://127.0.0.2:{from}/")).egress(policy.clone());
        client.send(request.body(()).unwrap()).unwrap_err();
        there.nobody_came(&format!("{policy:?} of a request"));
    }
    // Without a policy it is asked, so that the test does see it.
    let client = HttpClient::builder().alt_svc(AltSvcCache::file(&file).unwrap()).timeout(Duration::from_millis(500));
    client.build().unwrap().get(format!("https://127.0.0.2:{from}/")).unwrap_err();
    assert!(there.listeners[0].accept().is_ok());
}

#[test]
fn ports_hold_for_where_a_name_is_led_to() {
    let there = Forbidden::new();
    let policy = EgressPolicy::new().allow_ports(80..=80);
    let client = HttpClient::builder().egress(policy).timeout(Duration::from_secs(5)).build().unwrap();
    let to = ConnectTo::new().add("name.test", 80, "127.0.0.1", there.port);
    denied(client.send(Request::get("http://name.test/").connect_to(to).body(()).unwrap()), "another port");
    there.nobody_came("another port");
}
