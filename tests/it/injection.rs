//! CR, LF and NUL in everything that a caller can give: refused with a typed error or encoded, never on the wire.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use marmot::config::{
    AwsSigV4, ConnectTo, EgressPolicy, NetRc, NetworkInterface, Proxy, RedirectPolicy, ResolveMap, TlsConfig,
};
use marmot::cookies::CookieJar;
use marmot::multipart::{Form, Part};
use marmot::prelude::*;
use marmot::{AsyncBody, Body, Error, ErrorKind, HttpClientBuilder};

use crate::support::Server;

const PAYLOADS: [&str; 9] = [
    "a\r\nX-Injected: 1",
    "a\nX-Injected: 1",
    "a\rX-Injected: 1",
    "a\0X-Injected: 1",
    "a\r\n\r\nGET /injected HTTP/1.1\r\nHost: x\r\n\r\n",
    "\r\n X-Injected: folded",
    "a\r\nX-Injected: 1\r\n",
    "a%0d%0aX-Injected: 1",
    "a\\r\\nX-Injected: 1",
];

type Send = fn(&Server, &str) -> Result<(), Error>;

/// Sends a request to the server with a client, and ends it.
fn send<B: Into<Body>>(builder: HttpClientBuilder, request: Result<Request<B>, http::Error>) -> Result<(), Error> {
    let client = builder.timeout(Duration::from_secs(5)).build()?;
    client.send(request?).and_then(|mut response| response.bytes()).map(drop)
}

fn client() -> HttpClientBuilder {
    HttpClient::builder()
}

fn get(server: &Server) -> http::request::Builder {
    Request::get(server.url("/anything"))
}

fn with_client(builder: HttpClientBuilder, server: &Server) -> Result<(), Error> {
    send(builder, get(server).body(()))
}

fn cookie(server: &Server, text: String) -> Result<(), Error> {
    let jar = CookieJar::new();
    jar.set(&text, &server.url("/").parse::<Uri>().unwrap())?;
    with_client(client().cookie_jar(jar), server)
}

fn loaded_cookies(server: &Server, load: impl Fn(&CookieJar) -> Result<(), Error>) -> Result<(), Error> {
    let jar = CookieJar::new();
    load(&jar)?;
    with_client(client().cookie_jar(jar), server)
}

fn form(server: &Server, form: Form) -> Result<(), Error> {
    let request = Request::post(server.url("/anything")).multipart(form)?;
    client().build()?.send(request.map(Body::from)).map(drop)
}

fn sign(server: &Server, sign: AwsSigV4) -> Result<(), Error> {
    with_client(client().aws_sigv4(sign), server)
}

fn url(server: &Server, path: String) -> Result<(), Error> {
    send(client().url_credentials(true), Request::get(format!("{}{path}", server.origin())).body(()))
}

fn header(server: &Server, name: &str, value: &str) -> Result<(), Error> {
    send(client(), Request::post(server.url("/anything")).header(name, value).body("four"))
}

fn invalid<E: Into<http::Error>>(error: E) -> Error {
    error.into().into()
}

const PLACES: &[(&str, Send)] = &[
    ("header value", |s, p| header(s, "x-value", p)),
    ("header name", |s, p| header(s, p, "1")),
    ("host", |s, p| header(s, "host", p)),
    ("content-length", |s, p| header(s, "content-length", &format!("4{p}"))),
    ("transfer-encoding", |s, p| header(s, "transfer-encoding", &format!("chunked{p}"))),
    ("connection", |s, p| header(s, "connection", &format!("close{p}"))),
    ("cookie header", |s, p| header(s, "cookie", &format!("a={p}"))),
    ("inserted value", |s, p| {
        let mut request = get(s).body(()).unwrap();
        request.headers_mut().insert("x-value", HeaderValue::from_bytes(p.as_bytes()).map_err(invalid)?);
        send(client(), Ok(request))
    }),
    ("inserted name", |s, p| {
        let mut request = get(s).body(()).unwrap();
        let name = HeaderName::from_bytes(p.as_bytes()).map_err(invalid)?;
        request.headers_mut().insert(name, HeaderValue::from_static("1"));
        send(client(), Ok(request))
    }),
    ("method", |s, p| {
        let mut request = get(s).body(()).unwrap();
        *request.method_mut() = Method::from_bytes(p.as_bytes()).map_err(invalid)?;
        send(client(), Ok(request))
    }),
    ("user agent", |s, p| with_client(client().user_agent(p), s)),
    ("user agent of a request", |s, p| send(client(), get(s).user_agent(p).body(()))),
    ("default header", |s, p| with_client(client().default_header("x-default", p), s)),
    ("default name", |s, p| with_client(client().default_header(p, "1"), s)),
    ("default headers", |s, p| with_client(client().default_headers([("x-default", p)]), s)),
    ("cookie value", |s, p| cookie(s, format!("name={p}"))),
    ("cookie name", |s, p| cookie(s, format!("{p}=value"))),
    ("cookie path", |s, p| cookie(s, format!("name=value; Path=/{p}"))),
    ("cookie domain", |s, p| cookie(s, format!("name=value; Domain={p}"))),
    ("cookie of a netscape file", |s, p| {
        let line = format!("127.0.0.1\tFALSE\t/\tFALSE\t0\tname\t{p}\n");
        loaded_cookies(s, |jar| jar.load_netscape(line.as_bytes()))
    }),
    ("cookie of a JSON file", |s, p| {
        let cookie = serde_json::json!({"name": "name", "value": p, "domain": "127.0.0.1", "path": "/"});
        let text = serde_json::json!({"version": 1, "cookies": [cookie]}).to_string();
        loaded_cookies(s, |jar| jar.load_json(text.as_bytes()))
    }),
    ("basic user", |s, p| with_client(client().basic_auth(p, "secret"), s)),
    ("basic password", |s, p| with_client(client().basic_auth("anna", p), s)),
    ("bearer", |s, p| with_client(client().bearer_auth(p), s)),
    ("digest user", |s, p| with_client(client().digest_auth(p, "secret"), s)),
    ("digest password", |s, p| with_client(client().digest_auth("anna", p), s)),
    ("proxy host", |s, p| with_client(client().proxy(Proxy::all(format!("http://{p}@{}", s.addr()))), s)),
    ("proxy password", |s, p| with_client(client().proxy(Proxy::all(format!("http://u:{p}@{}", s.addr()))), s)),
    ("proxy user", |s, p| with_client(client().proxy(Proxy::all(s.origin()).basic_auth(p, "secret")), s)),
    ("proxy digest", |s, p| with_client(client().proxy(Proxy::all(s.origin()).digest_auth("anna", p)), s)),
    ("proxy place", |s, p| with_client(client().proxy(Proxy::all(format!("{}{p}", s.origin()))), s)),
    ("no proxy", |s, p| with_client(client().proxy(Proxy::all(s.origin()).no_proxy(p)), s)),
    ("proxy authorization", |s, p| {
        send(client().proxy(Proxy::all(s.origin())), get(s).header("proxy-authorization", p).body(()))
    }),
    ("tunneled host", |s, p| {
        let proxy = Proxy::all(s.origin()).tunnel(true);
        send(client().proxy(proxy), Request::get(format!("http://{p}/")).body(()))
    }),
    ("part name", |s, p| form(s, Form::new().text(p, "value"))),
    ("part file name", |s, p| form(s, Form::new().part("name", Part::text("value").file_name(p)))),
    ("part content type", |s, p| form(s, Form::new().part("name", Part::text("value").content_type(p)?))),
    ("part header", |s, p| form(s, Form::new().part("name", Part::text("value").header("x-part", p)?))),
    ("part header name", |s, p| form(s, Form::new().part("name", Part::text("value").header(p, "1")?))),
    ("field name", |s, p| {
        let request = Request::post(s.url("/anything")).form([(p, "value")])?;
        send(client(), Ok(request.map(Body::from)))
    }),
    ("field value", |s, p| {
        let request = Request::post(s.url("/anything")).form([("name", p)])?;
        send(client(), Ok(request.map(Body::from)))
    }),
    ("URL path", |s, p| url(s, format!("/{p}"))),
    ("URL query", |s, p| url(s, format!("/?{p}"))),
    ("URL fragment", |s, p| url(s, format!("/#{p}"))),
    ("URL user", |s, p| {
        send(client().url_credentials(true), Request::get(format!("http://{p}:x@{}/", s.addr())).body(()))
    }),
    ("URL host", |s, p| send(client(), Request::get(format!("http://{}{p}/", s.addr())).body(()))),
    ("resolved host", |s, p| {
        let map = ResolveMap::new().add(p, 80, ["127.0.0.1".parse().unwrap()]);
        with_client(client().resolve(map), s)
    }),
    ("connected host", |s, p| with_client(client().connect_to(ConnectTo::new().add("127.0.0.1", 80, p, 80)), s)),
    ("connecting host", |s, p| with_client(client().connect_to(ConnectTo::new().add(p, 80, "127.0.0.1", 80)), s)),
    ("interface", |s, p| with_client(client().interface(NetworkInterface::name(p)), s)),
    ("interface host", |s, p| with_client(client().interface(NetworkInterface::host(p)), s)),
    ("access key", |s, p| sign(s, AwsSigV4::new(p, "secret", "eu", "s3"))),
    ("secret key", |s, p| sign(s, AwsSigV4::new("key", p, "eu", "s3"))),
    ("region", |s, p| sign(s, AwsSigV4::new("key", "secret", p, "s3"))),
    ("service", |s, p| sign(s, AwsSigV4::new("key", "secret", "eu", p))),
    ("session token", |s, p| sign(s, AwsSigV4::new("key", "secret", "eu", "s3").session_token(p))),
    ("download", |s, p| {
        let folder = tempfile::tempdir().unwrap();
        client().build()?.download(s.url(&format!("/anything/{p}")), folder.path().join("file"))?.send().map(drop)
    }),
    ("resumed download", |s, p| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(folder.path().join("file.part"), "x").unwrap();
        std::fs::write(folder.path().join("file.part.info"), format!("{}\n\"{p}\"\n9\n", s.url("/anything"))).unwrap();
        client().build()?.download(s.url("/anything"), path)?.send().map(drop)
    }),
    ("resumed events", |s, p| {
        let mut events = client().build()?.events(s.url("/events/1"))?.resume_after(p).reconnect(false).blocking();
        events.next().transpose().map(drop)
    }),
    ("subprotocol", |s, p| {
        let options = marmot::websocket::Options::new().subprotocol(p);
        let request = Request::get(s.url("/anything").replace("http", "ws")).body(options)?;
        client().build()?.websocket_blocking_with(request).map(drop)
    }),
    ("WebSocket header", |s, p| {
        let url = s.url("/anything").replace("http", "ws");
        let request = Request::get(url).header("x-value", p).body(marmot::websocket::Options::new())?;
        client().build()?.websocket_blocking_with(request).map(drop)
    }),
    ("WebSocket URL", |s, p| {
        client().build()?.websocket_blocking(format!("{}/{p}", s.origin().replace("http", "ws"))).map(drop)
    }),
    ("unix socket", |s, p| with_client(client().unix_socket(std::path::PathBuf::from(p)), s)),
    ("abstract socket", |s, p| with_client(client().abstract_unix_socket(p), s)),
    ("DNS servers", |s, p| with_client(client().dns_servers(p), s)),
    ("DNS over HTTPS", |_, p| {
        let builder = client().dns_over_https(format!("https://127.0.0.1:1/{p}").as_str());
        send(builder, Request::get("http://name.invalid/").timeout(Duration::from_millis(200)).body(()))
    }),
    ("secret header", |s, p| with_client(client().secret_headers([p]), s)),
    ("egress host", |s, p| with_client(client().egress(EgressPolicy::new().allow_hosts(["127.0.0.1", p])), s)),
    ("egress scheme", |s, p| with_client(client().egress(EgressPolicy::new().schemes(["http", p])), s)),
    ("netrc", |s, p| with_client(client().netrc(NetRc::file(p)), s)),
    ("ciphers", |s, p| with_client(client().tls(TlsConfig::new().ciphers_tls13(p)), s)),
    ("pinned key", |s, p| with_client(client().tls(TlsConfig::new().pinned_public_key(p)), s)),
    ("redirect", |s, p| {
        let location: String = p.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // What the server hears is decoded once, so that the Location itself has the escapes.
        let target = s.url(&format!("/redirect-to?url=/anything/{}", location.replace('%', "%25")));
        send(client().redirect_policy(RedirectPolicy::Follow), Request::get(target).body(()))
    }),
];

/// What must not be anywhere in what a server was sent.
fn injected(server: &Server) -> Option<String> {
    for request in server.requests() {
        let head = &request.head[..request.head.len() - 4];
        let lines: Vec<&[u8]> = split(head);
        let stray = lines.iter().any(|line| line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        let name = |name: &str| name.trim().eq_ignore_ascii_case("x-injected");
        let part = || {
            let body = request.text();
            body.lines().any(|line| line.split(':').next().is_some_and(name)) || body.contains('\0')
        };
        if stray || request.headers.iter().any(|(key, _)| name(key)) || request.target == "/injected" || part() {
            return Some(format!("{}{}", String::from_utf8_lossy(&request.head), request.text()));
        }
    }
    None
}

fn split(head: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    lines
}

#[test]
fn no_input_ends_a_line_on_the_wire() {
    let mut forms = 0;
    let mut refused = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = PLACES
            .chunks(PLACES.len().div_ceil(4))
            .map(|places| {
                scope.spawn(move || {
                    let mut counts = (0, 0);
                    for (place, send) in places {
                        for payload in PAYLOADS {
                            let server = Server::faults();
                            let result = send(&server, payload);
                            counts.0 += 1;
                            if let Some(wire) = injected(&server) {
                                panic!("{place} with {payload:?} sent {wire:?}");
                            }
                            if let Err(error) = result {
                                counts.1 += 1;
                                // A typed error of one line, that hands the text on in no raw form either.
                                assert!(!error.to_string().contains(['\r', '\n', '\0']), "{place}: {error:?}");
                                let clean = !payload.contains(['\r', '\n', '\0']);
                                let kind = error.kind();
                                let ours = matches!(kind, ErrorKind::InvalidRequest | ErrorKind::InvalidConfiguration);
                                assert!(ours || clean || later(place), "{place} with {payload:?}: {error:?}");
                            }
                        }
                    }
                    counts
                })
            })
            .collect();
        for worker in workers {
            let (some, failed) = worker.join().unwrap();
            forms += some;
            refused += failed;
        }
    });
    assert!(forms >= 200, "{forms}");
    println!("{forms} forms, {refused} of them refused");
}

/// Places whose text is no part of a request, and is found unusable by the system: a file, an interface, a server.
fn later(place: &str) -> bool {
    matches!(
        place,
        "unix socket"
            | "abstract socket"
            | "interface"
            | "interface host"
            | "netrc"
            | "resumed download"
            | "DNS over HTTPS"
    )
}

#[test]
fn a_body_has_one_framing() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let bodies: [fn() -> AsyncBody; 4] = [
        || "four".into(),
        || Body::from_reader(std::io::Cursor::new("four")).into_async(),
        || Body::from_reader_sized(std::io::Cursor::new("four"), 4).into_async(),
        AsyncBody::empty,
    ];
    for body in bodies {
        for headers in [
            &[][..],
            &[("content-length", "4")],
            &[("content-length", "0")],
            &[("transfer-encoding", "chunked")],
            &[("transfer-encoding", "Chunked")],
            &[("content-length", "4"), ("transfer-encoding", "chunked")],
            &[("content-length", "4"), ("content-length", "4")],
            &[("content-length", "4"), ("content-length", "5")],
            &[("content-length", "+4")],
            &[("content-length", "4, 4")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            for method in ["POST", "PUT", "GET", "DELETE", "ODD"] {
                let mut request = Request::builder().method(method).uri(server.url("/anything"));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let before = server.requests().len();
                let result = futures::executor::block_on(client.send_async(request.body(body()).unwrap()));
                let requests = server.requests();
                if let Err(error) = result {
                    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{headers:?}: {error:?}");
                    assert_eq!(requests.len(), before);
                    continue;
                }
                assert_eq!(requests.len(), before + 1, "{headers:?}");
                let seen = &requests[before];
                let count = |name: &str| seen.header_values(name).count();
                let framings = (count("content-length"), count("transfer-encoding"));
                assert!(matches!(framings, (0, 0) | (1, 0) | (0, 1)), "{method} {headers:?}: {framings:?}");
            }
        }
    }
}
