//! Bodies that are made for a request: forms, JSON, files, compressed ones. What they hold is looked at on the wire.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures::executor::block_on;
use marmot::config::RedirectPolicy;
use marmot::multipart::{Form, Part};
use marmot::prelude::*;
use marmot::{AsyncBody, Body, ContentCoding, ErrorKind};

use crate::support::{Request as Seen, Server, parse_query, pattern};

const LONG: Duration = Duration::from_secs(20);

/// The heads and contents of the parts of a body, taken apart by its boundary alone.
fn parts(seen: &Seen) -> Vec<(String, Vec<u8>)> {
    let content_type = seen.header("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let (first, between) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}"));
    let find = |data: &[u8], what: &str| data.windows(what.len()).position(|window| window == what.as_bytes());
    let mut rest = seen.body.strip_prefix(first.as_bytes()).expect("the body begins with its boundary");
    let mut found = Vec::new();
    loop {
        let end = find(rest, &between).expect("a part ends with the boundary");
        let head = find(rest, "\r\n\r\n").expect("a head ends");
        found.push((String::from_utf8(rest[..head].to_vec()).unwrap(), rest[head + 4..end].to_vec()));
        rest = &rest[end + between.len()..];
        if rest == b"--\r\n" {
            return found;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a boundary is a line");
    }
}

fn file(content: &[u8], suffix: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

#[test]
fn a_form_of_texts_bytes_and_files_has_a_length_and_arrives_whole() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let big = file(&pattern(3_000_000), ".png");
    let form = || {
        Form::new()
            .text("title", "Grüße\r\n")
            .part("data", Part::bytes(vec![0, 255, 13, 10, 45, 45]))
            .part("photo", Part::file(big.path()).unwrap())
            .part("photo", Part::new("{}").file_name("a \"b\".json"))
    };
    let name = big.path().file_name().unwrap().to_str().unwrap();
    for way in ["blocking", "async"] {
        let request = Request::post(server.url("/echo")).multipart(form()).unwrap();
        let status = match way {
            "blocking" => client.send(request).unwrap().status(),
            _ => block_on(client.send_async(request)).unwrap().status(),
        };
        assert_eq!(status, 200);
        let seen = server.last_request();
        assert_eq!(seen.header("content-length"), Some(&*seen.body.len().to_string()));
        assert!(!seen.has_header("transfer-encoding"));
        let parts = parts(&seen);
        let heads: Vec<_> = parts.iter().map(|(head, _)| head.as_str()).collect();
        assert_eq!(
            heads,
            [
                "Content-Disposition: form-data; name=\"title\"",
                "Content-Disposition: form-data; name=\"data\"",
                &format!(
                    "Content-Disposition: form-data; name=\"photo\"; filename=\"{name}\"\r\nContent-Type: image/png"
                ),
                "Content-Disposition: form-data; name=\"photo\"; filename=\"a %22b%22.json\"\r\n\
                 Content-Type: application/json",
            ]
        );
        assert_eq!(parts[0].1, "Grüße\r\n".as_bytes());
        assert_eq!(parts[1].1, [0, 255, 13, 10, 45, 45]);
        assert!(parts[2].1 == pattern(3_000_000));
        assert_eq!(parts[3].1, b"{}");
    }
}

#[test]
fn a_form_with_a_stream_is_sent_in_chunks_and_not_read_ahead() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let form = Form::new().text("a", "1").part("b", Part::reader(io::Cursor::new(pattern(500_000)))).text("c", "3");
    client.send(Request::post(server.url("/echo")).multipart(form).unwrap()).unwrap();
    let seen = server.last_request();
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    let parts = parts(&seen);
    assert!(parts.len() == 3 && parts[1].1 == pattern(500_000) && parts[2].1 == b"3");

    struct Endless(Arc<AtomicU64>);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len() as u64, SeqCst);
            Ok(buffer.len())
        }
    }
    let taken = Arc::new(AtomicU64::new(0));
    let form = Form::new().part("b", Part::reader(Endless(taken.clone())));
    let future = client.send_async(Request::post(server.url("/stall-upload")).multipart(form).unwrap());
    let mut before = u64::MAX;
    while before != taken.load(SeqCst) || before == 0 {
        before = taken.load(SeqCst);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(before < 16 << 20, "{before} bytes were read for nobody");
    drop(future);
}

#[test]
fn a_form_goes_along_with_a_redirect_if_each_part_can() {
    let server = Server::start(|request, responder| match request.path() {
        "/first" => responder.send(307, &[("Location", "/second")], b""),
        _ => responder.text(200, "here"),
    });
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let big = file(&pattern(400_000), "");
    let form = Form::new().text("a", "1").part("f", Part::file(big.path()).unwrap());
    client.send(Request::post(server.url("/first")).multipart(form).unwrap()).unwrap();
    let requests = server.requests();
    assert_eq!(parts(&requests[0]), parts(&requests[1]));
    assert!(parts(&requests[1])[1].1 == pattern(400_000));
    let form = Form::new().part("f", Part::reader(&b"once"[..]));
    let error = client.send(Request::post(server.url("/first")).multipart(form).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestBodyNotRewindable);
}

#[test]
fn a_part_that_fails_fails_the_request() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for part in [
        Part::reader_sized(&b"12345"[..], 6),
        Part::new(AsyncBody::from_stream(futures::stream::iter([Err(io::Error::other("broken"))]))),
    ] {
        // Beside a part of unknown length, so that nothing but the part itself tells.
        let form = Form::new().part("x", part).part("y", Part::reader(&b"y"[..]));
        let error = client.send(Request::post(server.url("/echo")).multipart(form).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestBody, "{}", error.chain());
    }
    assert!(Part::file("/does/not/exist").unwrap_err().to_string().contains("/does/not/exist"));
}

#[test]
fn a_content_type_of_the_callers_own_stays_if_it_names_the_boundary() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let form = Form::new().text("a", "1");
    let own = format!("multipart/mixed; boundary=\"{}\"", form.boundary());
    let request = Request::post(server.url("/echo")).header("content-type", &own).multipart(form).unwrap();
    client.send(request).unwrap();
    let seen = server.last_request();
    assert_eq!(seen.header_values("content-type").collect::<Vec<_>>(), [own.as_bytes()]);
    let lost = Request::post(server.url("/echo")).header("content-type", "multipart/form-data");
    assert_eq!(lost.multipart(Form::new()).unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[test]
fn pairs_are_sent_as_the_url_standard_says() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let pairs = [("a b", "1+1=2&x"), ("grüße", "*-._~!'()"), ("", ""), ("a b", "\r\n%")];
    client.send(Request::post(server.url("/echo")).form(pairs).unwrap()).unwrap();
    let seen = server.last_request();
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.text(), "a+b=1%2B1%3D2%26x&gr%C3%BC%C3%9Fe=*-._%7E%21%27%28%29&=&a+b=%0D%0A%25");
    let back = parse_query(&seen.text());
    assert_eq!(back.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), pairs);

    let owned = vec![("k".to_owned(), "v".to_owned())];
    let request = Request::put(server.url("/echo")).header("content-type", "text/x").form(&owned).unwrap();
    block_on(client.send_async(request)).unwrap();
    let seen = server.last_request();
    assert_eq!((seen.text().as_str(), seen.header("content-type")), ("k=v", Some("text/x")));
    assert_eq!(Request::post("not a url").form(&owned).unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[cfg(feature = "json")]
#[test]
fn values_are_sent_as_json() {
    #[derive(serde::Serialize)]
    struct Marmot<'a> {
        name: &'a str,
        kilos: f32,
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let alma = Marmot { name: "Alma", kilos: 4.5 };
    client.send(Request::post(server.url("/echo")).json(&alma).unwrap()).unwrap();
    let seen = server.last_request();
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.text(), r#"{"name":"Alma","kilos":4.5}"#);
    let request = Request::patch(server.url("/echo")).header("content-type", "application/merge-patch+json");
    client.send(request.json("x").unwrap()).unwrap();
    assert_eq!(server.last_request().header("content-type"), Some("application/merge-patch+json"));
    let keys = std::collections::BTreeMap::from([(vec![1], 2)]);
    assert_eq!(Request::post("http://127.0.0.1/").json(&keys).unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[test]
fn a_file_is_sent_from_its_path_or_from_where_it_stands() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let content = pattern(700_000);
    let big = file(&content, "");
    client.put(server.url("/echo"), Body::from_path(big.path()).unwrap()).unwrap();
    let seen = server.last_request();
    assert!(*seen.body == content);
    assert_eq!(seen.header("content-length"), Some("700000"));

    let mut opened = std::fs::File::open(big.path()).unwrap();
    io::copy(&mut (&mut opened).take(600_000), &mut io::sink()).unwrap();
    block_on(client.put_async(server.url("/echo"), Body::from_file(opened).unwrap())).unwrap();
    assert!(server.last_request().body[..] == content[600_000..]);

    let empty = file(b"", "");
    client.put(server.url("/echo"), Body::from_path(empty.path()).unwrap()).unwrap();
    assert_eq!(server.last_request().header("content-length"), Some("0"));
    let error = Body::from_path("/does/not/exist").unwrap_err();
    assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("/does/not/exist"));
    assert_eq!(Body::from_path(std::env::temp_dir()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_fails_the_request() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let cut = file(&pattern(100_000), "");
    let body = Body::from_path(cut.path()).unwrap();
    cut.as_file().set_len(50_000).unwrap();
    let error = client.put(server.url("/echo"), body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestBody);
}

#[test]
fn a_redirect_in_the_middle_of_a_file_sends_it_from_its_start() {
    // The answer comes before the upload is read, while the reader of the first hop is still ahead of the wire.
    let server = Server::start_with(
        |request| match request.path() {
            "/first" => crate::support::BodyMode::Leave,
            _ => crate::support::BodyMode::Read,
        },
        |request, responder| match request.path() {
            "/first" => {
                let mut first = true;
                while first && responder.read_body(1 << 16, |_| first = false)? {}
                responder.announce_close();
                responder.send(307, &[("Location", "/second")], b"")
            }
            _ => responder.text(200, "here"),
        },
    );
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let content = pattern(8_000_000);
    let big = file(&content, "");
    for _ in 0..5 {
        let body = Body::from_path(big.path()).unwrap();
        assert_eq!(client.put(server.url("/first"), body).unwrap().status(), 200);
        assert!(server.wait_for_requests(2, LONG));
        assert!(*server.last_request().body == content);
    }
}

#[test]
fn compressed_bodies_arrive_as_what_they_were() {
    let server = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let content = pattern(2_000_000);
    let big = file(&content, "");
    for coding in [ContentCoding::Gzip, ContentCoding::Zstd] {
        let memory = Body::from(content.clone()).compressed(coding).unwrap();
        let streamed = Body::from_path(big.path()).unwrap().compressed(coding).unwrap();
        assert!(memory.len().is_some() && streamed.len().is_none());
        for body in [memory, streamed] {
            let length = body.len();
            let request = Request::post(server.url("/echo")).header("content-encoding", coding.name());
            client.send(request.body(body).unwrap()).unwrap();
            let seen = server.last_request();
            assert_eq!(seen.header("content-length").map(str::to_owned), length.map(|length| length.to_string()));
            let mut back = Vec::new();
            if coding == ContentCoding::Gzip {
                flate2::read::GzDecoder::new(&seen.body[..]).read_to_end(&mut back).unwrap();
            } else {
                back = zstd::decode_all(&seen.body[..]).unwrap();
            }
            assert!(back == content, "{coding}");
        }
    }
}
