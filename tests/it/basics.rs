//! Requests and responses that go well. What goes wrong is in `errors.rs`.

use std::io::{self, Cursor, Read};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use marmot::prelude::*;
use marmot::{AsyncBody, Body, ErrorKind, Response};

use crate::support::{Server, pattern};

#[derive(serde::Deserialize)]
struct Seen {
    method: String,
}

#[test]
fn every_method_has_its_function() {
    let server = Server::faults();
    let url = || server.url("/anything");
    let client = HttpClient::new().unwrap();
    client.get(url()).unwrap();
    client.head(url()).unwrap();
    client.delete(url()).unwrap();
    client.options(url()).unwrap();
    client.post(url(), "a").unwrap();
    client.put(url(), "b").unwrap();
    client.patch(url(), "c").unwrap();
    marmot::get(url()).unwrap();
    marmot::post(url(), "d").unwrap();
    marmot::send(Request::builder().method("REPORT").uri(url()).body("e").unwrap()).unwrap();
    block_on(async {
        client.get_async(url()).await.unwrap();
        marmot::put_async(url(), "f").await.unwrap();
        marmot::head_async(url()).await.unwrap();
        Request::delete(url()).body("g").unwrap().send_async().await.unwrap();
        marmot::send_async(Request::get(url()).body("h").unwrap()).await.unwrap();
    });
    Request::post(url()).body("i").unwrap().send().unwrap();
    let requests = server.requests();
    let seen: Vec<_> = requests.iter().map(|request| format!("{} {}", request.method, request.text())).collect();
    let expected = [
        "GET ", "HEAD ", "DELETE ", "OPTIONS ", "POST a", "PUT b", "PATCH c", "GET ", "POST d", "REPORT e", "GET ",
        "PUT f", "HEAD ", "DELETE g", "GET h", "POST i",
    ];
    assert_eq!(seen, expected);
}

/// Handles are used again, with all the options that the next request has as well.
#[test]
fn a_request_has_nothing_of_the_one_before() {
    let server = Server::faults();
    let client = HttpClient::builder().connection_cache_size(1).build().unwrap();
    let head = || String::from_utf8(server.last_request().head).unwrap();
    let get = || Request::get(server.url("/anything"));
    let plain = || {
        client.send(get().body(()).unwrap()).unwrap().consume().unwrap();
        head()
    };
    let first = plain();
    let others = [
        get().method("HEAD").body(Body::empty()).unwrap(),
        get().method("POST").body("body".into()).unwrap(),
        get().method("PUT").body(Body::from_reader(&b"streamed"[..])).unwrap(),
        get().method("REPORT").body(Body::empty()).unwrap(),
        get().header("user-agent", "another").header("accept-encoding", "br").body(Body::empty()).unwrap(),
        get().header("user-agent", "").body(Body::empty()).unwrap(),
        get().automatic_decompression(false).timeout(Duration::from_secs(9)).body(Body::empty()).unwrap(),
        get().header("range", "bytes=0-1").body(Body::empty()).unwrap(),
        get().basic_auth("user", "password").connect_timeout(Duration::from_secs(9)).body(Body::empty()).unwrap(),
    ];
    for request in others {
        let what = format!("{request:?}");
        client.send(request).unwrap().consume().unwrap();
        assert_ne!(head(), first, "{what}");
        assert_eq!(plain(), first, "after {what}");
    }
}

#[test]
fn what_a_request_says_of_itself_can_be_changed_and_left_out() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let get = || Request::get(server.url("/anything"));
    let seen = |request: Request<()>| {
        client.send(request).unwrap().consume().unwrap();
        let request = server.last_request();
        let all = |name| request.header_values(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        let (agents, codings): (Vec<String>, Vec<String>) = (all("user-agent"), all("accept-encoding"));
        (agents.join("|"), codings.join("|"))
    };
    let (agent, codings) = seen(get().body(()).unwrap());
    assert!(agent.starts_with("marmot/"), "{agent}");
    assert_eq!(seen(get().header("user-agent", "mine").body(()).unwrap()), ("mine".into(), codings.clone()));
    assert_eq!(seen(get().user_agent("mine").body(()).unwrap()), ("mine".into(), codings));
    let range = get().header("range", "bytes=0-1").body(()).unwrap();
    assert_eq!(seen(range), (agent.clone(), String::new()), "a part of a coded body is no use");
    let raw = get().automatic_decompression(false).body(()).unwrap();
    assert_eq!(seen(raw), (agent.clone(), String::new()));
    let own = get().header("accept-encoding", "identity").body(()).unwrap();
    assert_eq!(seen(own), (agent, "identity".into()));
}

#[test]
fn every_kind_of_body_arrives_with_the_right_framing() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let data = pattern(200_000);
    let send = |body: Body, declared: Option<usize>, expected: &[u8]| {
        let mut response = client.post(server.url("/echo"), body).unwrap();
        assert!(response.bytes().unwrap() == expected);
        let request = server.last_request();
        let declared = declared.map(|length| length.to_string());
        assert_eq!(request.header("content-length"), declared.as_deref());
        assert_eq!(request.header("transfer-encoding"), declared.is_none().then_some("chunked"));
        assert_eq!((request.header("expect"), request.header("content-type")), (None, None));
    };
    send(Body::empty(), Some(0), b"");
    send(().into(), Some(0), b"");
    send("text".into(), Some(4), b"text");
    send(String::from("string").into(), Some(6), b"string");
    send(data.clone().into(), Some(data.len()), &data);
    send(Bytes::from(data.clone()).into(), Some(data.len()), &data);
    send(b"slice"[..].into(), Some(5), b"slice");
    send(Body::from_bytes_static("static"), Some(6), b"static");
    send(Body::from_reader_sized(Cursor::new(data.clone()), data.len() as u64), Some(data.len()), &data);
    send(Body::from_reader(Cursor::new(data.clone())), None, &data);
    send(AsyncBody::from_reader(futures::io::Cursor::new(data.clone())).into(), None, &data);
    let sized = AsyncBody::from_reader_sized(futures::io::Cursor::new(data.clone()), data.len() as u64);
    send(sized.into(), Some(data.len()), &data);
    let chunks: Vec<_> = data.chunks(777).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    send(AsyncBody::from_stream(stream::iter(chunks)).into(), None, &data);
    send(AsyncBody::from_stream(stream::empty()).into(), None, b"");
    let file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut &file, &data).unwrap();
    io::Seek::seek(&mut &file, io::SeekFrom::Start(100)).unwrap();
    send(Body::from_file(file).unwrap(), Some(data.len() - 100), &data[100..]);
    // An option and a body without content on a method that usually has none.
    let body: AsyncBody = None::<&str>.into();
    client.send(Request::delete(server.url("/echo")).body(body).unwrap()).unwrap();
    assert_eq!(server.last_request().header("content-length"), None);
}

#[test]
fn bodies_are_read_in_every_way() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let get = |path: &str| client.get(server.url(path)).unwrap();
    assert!(get("/text").text().unwrap().starts_with("Gr\u{fc}\u{df}e"));
    assert!(get("/bytes/70000").bytes().unwrap() == pattern(70_000));
    assert_eq!(get("/get").json::<Seen>().unwrap().method, "GET");
    assert!(get("/chunked/50000/777").bytes().unwrap() == pattern(50_000));
    assert!(get("/close-delimited/5000").bytes().unwrap() == pattern(5000));
    let mut response = get("/bytes/3000");
    assert_eq!(response.body().len(), Some(3000));
    response.consume().unwrap();
    assert_eq!(response.bytes().unwrap(), b"", "there is nothing left");
    for path in ["/latin1", "/utf16", "/utf8-bom"] {
        let text = get(path).text().unwrap();
        assert!(text.starts_with("Gr\u{fc}\u{df}e"), "{path}: {text:?}");
    }
    block_on(async {
        let mut response = client.get_async(server.url("/text")).await.unwrap();
        assert!(response.text().await.unwrap().starts_with("Gr"));
        let mut response = client.get_async(server.url("/get")).await.unwrap();
        assert_eq!(response.json::<Seen>().await.unwrap().method, "GET");
        let mut response = client.get_async(server.url("/bytes/70000")).await.unwrap();
        let mut all = Vec::new();
        assert_eq!(response.copy_to(&mut all).await.unwrap(), 70_000);
        assert!(all == pattern(70_000));
        client.get_async(server.url("/bytes/70000")).await.unwrap().consume().await.unwrap();
    });
    assert_eq!(get("/text").json::<Seen>().err().unwrap().kind(), ErrorKind::InvalidResponseBody);
}

#[test]
fn a_file_is_replaced_when_the_body_is_complete_and_not_before() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("download");
    std::fs::write(&path, "old").unwrap();
    let error = client.get(server.url("/close/in-body")).unwrap().copy_to_file(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseBodyTruncated);
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(client.get(server.url("/bytes/100000")).unwrap().copy_to_file(&path).unwrap(), 100_000);
    assert!(std::fs::read(&path).unwrap() == pattern(100_000));
    block_on(async {
        let mut response = client.get_async(server.url("/bytes/200000")).await.unwrap();
        assert_eq!(response.copy_to_file(&path).await.unwrap(), 200_000);
        assert!(std::fs::read(&path).unwrap() == pattern(200_000));
        let mut response = client.get_async(server.url("/close/in-body")).await.unwrap();
        let error = response.copy_to_file(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseBodyTruncated);
        let mut response = client.get_async(server.url("/stall/1000")).await.unwrap();
        let mut copying = Box::pin(response.copy_to_file(&path));
        assert!(futures::poll!(&mut copying).is_pending());
    });
    assert!(server.wait_for_close("/stall/1000", Duration::from_secs(5)).is_some(), "dropped means ended");
    let nowhere = folder.path().join("no/such/folder");
    let error = client.get(server.url("/text")).unwrap().copy_to_file(nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn trailers_come_after_the_body() {
    let server = Server::faults();
    let mut response = HttpClient::new().unwrap().get(server.url("/trailers")).unwrap();
    assert!(response.body().trailers().is_none());
    response.consume().unwrap();
    assert_eq!(response.body().trailers().unwrap().len(), 2);
}

#[test]
fn what_is_known_beside_a_response_is_shown() {
    let server = Server::faults();
    let client = HttpClient::builder().metrics(true).build().unwrap();
    let mut response = client.get(server.url("/delay-body/100")).unwrap();
    assert_eq!(response.effective_uri().unwrap().to_string(), server.url("/delay-body/100"));
    assert_eq!(response.remote_addr(), Some(server.addr()));
    assert!(response.local_addr().unwrap().ip().is_loopback());
    let early = response.metrics().unwrap();
    let size = response.bytes().unwrap().len() as u64;
    let late = response.metrics().unwrap();
    assert!(early.connect > Duration::ZERO && early.time_to_first_byte >= early.connect);
    assert!(late.total >= Duration::from_millis(100) && late.total > early.total);
    assert_eq!((late.downloaded, late.uploaded, late.secure_connect), (size, 0, Duration::ZERO));
    let quiet = HttpClient::new().unwrap().get(server.url("/get")).unwrap();
    assert_eq!(quiet.metrics(), None);
    let response = client.post(server.url("/echo"), "12345").unwrap();
    assert!(response.metrics().unwrap().uploaded == 5);
}

#[test]
fn headers_go_out_and_come_back_as_they_are() {
    let server = Server::faults();
    let builder = HttpClient::builder().default_header("x-gone", "d");
    let client = builder.default_headers([("x-default", "d"), ("x-both", "d")]).build().unwrap();
    let request = Request::get(server.url("/repeat-headers"))
        .header("x-both", "r")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("x-empty", "")
        .header("x-bytes", &b"gr\xc3\xbc\xdf\xe4"[..])
        .header("host", "elsewhere.test")
        .body(())
        .unwrap();
    let response = client.send(request).unwrap();
    let seen = server.last_request();
    let values = |name: &str| seen.header_values(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(values("x-default"), [b"d"]);
    assert!(!seen.has_header("x-gone"));
    assert_eq!(values("x-both"), [b"r"]);
    assert_eq!(values("x-many"), [b"1", b"2"]);
    assert_eq!(values("x-empty"), [b""]);
    assert_eq!(values("x-bytes"), [b"gr\xc3\xbc\xdf\xe4"]);
    assert_eq!(values("host"), [b"elsewhere.test"]);
    assert!(values("user-agent")[0].starts_with(b"marmot/"));
    let repeated: Vec<_> = response.headers().get_all("x-repeat").iter().collect();
    assert_eq!(repeated, ["first", "second", "third"]);
    // A response may hold bytes that are no text.
    let response = client.get(server.url("/not-utf8-header")).unwrap();
    assert!(response.headers().values().any(|value| value.as_bytes().contains(&0xe4)));
}

#[test]
fn a_request_wins_over_its_client() {
    let server = Server::faults();
    let client = HttpClient::builder().timeout(Duration::from_millis(100)).user_agent("client/1").build().unwrap();
    assert_eq!(client.get(server.url("/delay/400")).unwrap_err().kind(), ErrorKind::Timeout);
    let patient = |request: Request<()>| client.send(request).unwrap().status();
    let request = Request::get(server.url("/delay/400")).timeout(Duration::from_secs(10)).body(()).unwrap();
    assert_eq!(patient(request), 200);
    let request = Request::get(server.url("/delay/400")).body(()).unwrap().timeout(None).user_agent("own/2");
    assert_eq!(patient(request), 200);
    assert_eq!(server.last_request().header("user-agent"), Some("own/2"));
    let _ = client.get(server.url("/get"));
    assert_eq!(server.last_request().header("user-agent"), Some("client/1"));
}

#[test]
fn credentials_become_an_authorization_header() {
    let server = Server::faults();
    let client = HttpClient::builder().basic_auth("anna", "p w\u{e4}").build().unwrap();
    client.get(server.url("/get")).unwrap();
    assert_eq!(server.last_request().header("authorization"), Some("Basic YW5uYTpwIHfDpA=="));
    let request = Request::get(server.url("/basic-auth/anna/pw")).basic_auth("anna", "pw").body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 200);
    let request = Request::get(server.url("/bearer/t0k")).bearer_auth("t0k").body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 200);
    let request = Request::get(server.url("/get")).header("authorization", "Own x").body(()).unwrap();
    client.send(request).unwrap();
    assert_eq!(server.last_request().header("authorization"), Some("Own x"));

    let url = server.url("/get").replace("http://", "http://an%20na:s%3Acret@");
    let client = HttpClient::new().unwrap();
    let error = client.get(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(!format!("{error:?} {}", error.chain()).contains("cret"), "{error:?}");
    let request = Request::get(&url).url_credentials(true).body(()).unwrap();
    let response: Response<Body> = client.send(request).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.last_request().header("authorization"), Some("Basic YW4gbmE6czpjcmV0"));
    for (user, password) in [("a:b", "c"), ("a", "b\n")] {
        let result = HttpClient::builder().basic_auth(user, password).build();
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
}

#[test]
fn versions_can_be_chosen() {
    let server = Server::faults();
    use marmot::config::VersionNegotiation as V;
    for (version, expected) in
        [(V::http10(), "HTTP/1.0"), (V::http11(), "HTTP/1.1"), (V::latest_compatible(), "HTTP/1.1")]
    {
        let request = Request::get(server.url("/get")).version_negotiation(version).body(()).unwrap();
        marmot::send(request).unwrap();
        assert_eq!(server.last_request().version, expected);
    }
}

#[test]
fn the_same_client_serves_requests_of_all_kinds_in_any_order() {
    // Handles are used again: nothing of one request may be left in the next.
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut state = 7_u32;
    for _ in 0..200 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let url = server.url("/anything");
        let (method, body, length) = match (state >> 16) % 7 {
            0 => ("GET", Body::empty(), None),
            1 => ("HEAD", Body::empty(), None),
            2 => ("POST", "post".into(), Some("4")),
            3 => ("PUT", Body::from_reader(Cursor::new("put")), None),
            4 => ("DELETE", Body::empty(), None),
            5 => ("DELETE", "gone".into(), Some("4")),
            _ => ("PATCH", Body::from_reader_sized(Cursor::new("patch"), 5), Some("5")),
        };
        let mut request = Request::builder().method(method).uri(url);
        if state & 1 == 0 {
            request = request.header("x-odd", "1").timeout(Duration::from_secs(30));
        }
        client.send(request.body(body).unwrap()).unwrap().consume().unwrap();
        let seen = server.last_request();
        assert_eq!((seen.method.as_str(), seen.header("content-length")), (method, length));
        assert_eq!(seen.has_header("x-odd"), state & 1 == 0);
        assert_eq!(seen.has_header("transfer-encoding"), method == "PUT");
    }
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_broken_request_body_is_never_a_short_upload() {
    struct Broken(usize, bool);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    buffer[0] = b'x';
                    Ok(1)
                }
                None if self.1 => panic!("on purpose"),
                None => Err(io::Error::other("the disk is gone")),
            }
        }
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for panics in [false, true] {
        for body in [Body::from_reader(Broken(3, panics)), Body::from_reader_sized(Broken(3, panics), 10)] {
            let error = client.post(server.url("/echo"), body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RequestBody, "{error}");
        }
    }
    let stream = stream::poll_fn(|_| -> std::task::Poll<Option<io::Result<Bytes>>> { panic!("on purpose") });
    let error = client.post(server.url("/echo"), AsyncBody::from_stream(stream)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerPanicked);
    let short = Body::from_reader_sized(Cursor::new("abc"), 10);
    let error = client.post(server.url("/echo"), short).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestBody, "{}", error.chain());
    let long = Body::from_reader_sized(Cursor::new("abcdefgh"), 3);
    assert_eq!(client.post(server.url("/echo"), long).unwrap().text().unwrap(), "abc");
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200, "the client is well");
}

#[test]
fn each_request_sends_its_own_headers_whatever_the_handle_sent_before() {
    let server = Server::faults();
    let client = HttpClient::builder().user_agent("client/1").build().unwrap();
    let get = || Request::get(server.url("/get"));
    let sent = |request: http::request::Builder| {
        client.send(request.body(()).unwrap()).unwrap().consume().unwrap();
        let request = server.last_request();
        let header = |name| request.header(name).map(str::to_owned);
        (header("user-agent").unwrap(), header("x-own"), header("accept-encoding").is_some())
    };
    let usual = || ("client/1".to_owned(), None, cfg!(feature = "decompress"));
    for _ in 0..2 {
        assert_eq!(sent(get()), usual());
        assert_eq!(sent(get().header("x-own", "1")), ("client/1".to_owned(), Some("1".to_owned()), usual().2));
        assert_eq!(sent(get()), usual());
        assert_eq!(sent(get().user_agent("own/2")), ("own/2".to_owned(), None, usual().2));
        assert_eq!(sent(get().automatic_decompression(false)), ("client/1".to_owned(), None, false));
        // The handle is set up anew for it.
        assert_eq!(sent(get().tcp_keepalive(Duration::from_secs(9))), usual());
        assert_eq!(sent(get()), usual());
    }
    assert_eq!(server.accepted(), 1);
}
