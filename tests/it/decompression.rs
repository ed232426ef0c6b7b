//! Content codings undone, their damage noticed, their growth bounded.

use std::io::Read;

use marmot::prelude::*;
use marmot::{Error, ErrorKind};

use crate::support::{Server, faults};

const CODINGS: [&str; 7] = ["/gzip", "/deflate", "/raw-deflate", "/br", "/zstd", "/gzip-multi", "/gzip-br"];

fn get(client: &HttpClient, url: String) -> Result<Vec<u8>, Error> {
    client.get(url).and_then(|mut response| response.bytes())
}

#[test]
fn every_coding_is_undone_and_its_headers_are_removed() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for path in CODINGS {
        let mut response = client.get(server.url(path)).unwrap();
        assert!(!response.headers().contains_key("content-encoding"), "{path}");
        assert!(!response.headers().contains_key("content-length"), "{path}");
        assert_eq!(response.body().len(), None);
        assert!(response.bytes().unwrap() == faults::encoded::plain(), "{path}");
        assert_eq!(server.last_request().header("accept-encoding"), Some("gzip, deflate, br, zstd"));
        // In small reads too.
        let mut all = Vec::new();
        let mut response = client.get(server.url(path)).unwrap();
        let mut byte = [0];
        while response.body_mut().read(&mut byte).unwrap() == 1 {
            all.push(byte[0]);
        }
        assert!(all == faults::encoded::plain(), "{path} byte by byte");
    }
}

#[test]
fn a_body_without_its_end_is_always_an_error() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for path in CODINGS {
        for cut in [1, 2, 3, 4, 5, 7, 8, 9, 20, 100, 300] {
            let url = server.url(&format!("{path}?cut={cut}"));
            let error = get(&client, url).err().unwrap_or_else(|| panic!("{path} without its last {cut} bytes"));
            assert_eq!(error.kind(), ErrorKind::InvalidContentEncoding, "{path} {cut}: {error:?}");
        }
    }
    for path in ["/gzip-truncated", "/gzip-corrupt"] {
        let error = get(&client, server.url(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidContentEncoding, "{path}");
        assert!(error.url().is_some());
    }
}

#[test]
fn bombs_end_early() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for path in ["/gzip-bomb/512", "/br-bomb/512", "/zstd-bomb/512"] {
        let mut response = client.get(server.url(path)).unwrap();
        let mut total = 0_u64;
        let mut buffer = vec![0; 1 << 16];
        let error = loop {
            match response.body_mut().read(&mut buffer) {
                Ok(0) => panic!("{path} went through"),
                Ok(amount) => total += amount as u64,
                Err(error) => break Error::from(error),
            }
        };
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{path}: {error:?}");
        assert!(total < 64 << 20, "{path}: {total} bytes came out");
    }
    let client = HttpClient::builder().max_decompression_ratio(None).build().unwrap();
    assert_eq!(get(&client, server.url("/gzip-bomb/20")).unwrap().len(), 20 << 20);
    let client = HttpClient::builder().max_decompressed_size(1000).build().unwrap();
    assert_eq!(get(&client, server.url("/gzip")).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn what_is_not_asked_for_is_not_undone() {
    let server = Server::faults();
    let raw = |request: Request<()>| {
        let mut response = marmot::send(request).unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert!(response.bytes().unwrap().starts_with(&[0x1f, 0x8b]));
    };
    raw(Request::get(server.url("/gzip")).automatic_decompression(false).body(()).unwrap());
    assert_eq!(server.last_request().header("accept-encoding"), None);
    raw(Request::get(server.url("/gzip")).header("accept-encoding", "gzip").body(()).unwrap());
    raw(Request::get(server.url("/gzip")).header("range", "bytes=0-").body(()).unwrap());
    assert_eq!(server.last_request().header("accept-encoding"), None);
    let response = marmot::get(server.url("/encoding/unknown")).unwrap();
    assert!(response.headers().contains_key("content-encoding"), "an unknown coding is the caller's");
}

#[test]
fn responses_without_a_body_stay_as_they_are() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut response = client.head(server.url("/gzip")).unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.bytes().unwrap(), b"");
    let server = Server::start(|_, responder| responder.send(200, &[("Content-Encoding", "gzip")], b""));
    assert_eq!(get(&client, server.url("/")).unwrap(), b"");
}

#[test]
fn a_decompressed_body_is_copied_whole() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut copied = Vec::new();
    let count = client.get(server.url("/gzip")).unwrap().copy_to(&mut copied).unwrap();
    assert_eq!((count, copied), (faults::encoded::plain().len() as u64, faults::encoded::plain()));
}
