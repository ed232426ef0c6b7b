//! Faults of servers below and in HTTP/1: each ends typed and in time, leaves nothing open, and loses nothing in silence.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use marmot::prelude::*;
use marmot::{Error, ErrorKind};

use crate::alone::is_alone;
use crate::support::{RawServer, Server};

use ErrorKind::{InvalidContentEncoding, Io, ProtocolViolation, ResponseBodyTruncated, Timeout, TooLarge};

/// The total time of a request here.
const LIMIT: Duration = Duration::from_millis(700);
/// By how much it may be passed. Ten times what it takes on a machine with nothing else to do.
const LATE: Duration = Duration::from_millis(2500);

/// What a server does when it has sent what it sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Reset,
    Close,
    HalfClose,
    Stall,
    /// The same bytes again and again.
    Flood(&'static [u8]),
    /// These bytes, one each 20 ms, again and again.
    Drip(&'static [u8]),
}

use Then::{Close, Drip, Flood, HalfClose, Reset, Stall};

fn server(bytes: Vec<u8>, then: Then) -> RawServer {
    RawServer::start(move |mut conn, _, stop| {
        let mut request = [0; 4096];
        let _ = conn.read(&mut request);
        if conn.write_all(&bytes).is_err() {
            return;
        }
        match then {
            Close => {}
            Reset => {
                // What was sent has a moment to arrive: a reset may overtake it.
                let _ = stop.sleep(Duration::from_millis(20));
                conn.reset();
            }
            HalfClose => {
                let _ = conn.shutdown(Shutdown::Write);
                conn.wait_hangup(Duration::from_secs(10));
            }
            Stall => drop(conn.wait_hangup(Duration::from_secs(10))),
            Flood(bytes) => while conn.write_all(bytes).is_ok() {},
            Drip(bytes) => {
                for byte in bytes.iter().cycle() {
                    if conn.write_all(&[*byte]).is_err() || conn.wait_hangup(Duration::from_millis(20)) {
                        return;
                    }
                }
            }
        }
    })
}

fn client() -> HttpClient {
    HttpClient::builder().timeout(LIMIT).max_response_size(1 << 20).build().unwrap()
}

fn get(client: &HttpClient, url: &str) -> Result<Vec<u8>, Error> {
    client.get(url).and_then(|mut response| response.bytes())
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Where a response can break off, and what it is then if its connection ends in order.
fn breaks() -> Vec<(String, &'static [ErrorKind])> {
    vec![
        (String::new(), &[Io]),
        ("HTT".into(), &[Io, ProtocolViolation]),
        ("HTTP/1.1 200 OK".into(), &[Io, ProtocolViolation]),
        ("HTTP/1.1 200 OK\r\n".into(), &[Io, ProtocolViolation]),
        ("HTTP/1.1 200 OK\r\nContent-Le".into(), &[Io, ProtocolViolation]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".into(), &[Io, ProtocolViolation]),
        ("HTTP/1.1 103 Early Hints\r\n\r\n".into(), &[Io, ProtocolViolation]),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2".into(), &[Io, ProtocolViolation]),
        (HEAD.into(), &[ResponseBodyTruncated]),
        (format!("{HEAD}123456789"), &[ResponseBodyTruncated]),
        (CHUNKED.into(), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a"), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a\r\n12345"), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a\r\n1234567890"), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a\r\n1234567890\r\n"), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a\r\n1234567890\r\n0"), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a\r\n1234567890\r\n0\r\n"), &[ResponseBodyTruncated]),
        (format!("{CHUNKED}a\r\n1234567890\r\n0\r\nX-Trailer: 1\r\n"), &[ResponseBodyTruncated]),
    ]
}

/// A name, what is sent, what then, and what may become of it.
type Row = (String, Vec<u8>, Then, Vec<ErrorKind>);

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (bytes, kinds) in breaks() {
        for (then, more) in
            [(Close, &[][..]), (HalfClose, &[]), (Reset, &[Io, ResponseBodyTruncated]), (Stall, &[Timeout])]
        {
            let kinds = if then == Stall { more.to_vec() } else { [kinds, more].concat() };
            rows.push((format!("{then:?} after {bytes:?}"), bytes.clone().into_bytes(), then, kinds));
        }
    }
    // A body that ends with its connection does not end with a reset.
    rows.push(("reset without a length".into(), b"HTTP/1.1 200 OK\r\n\r\n12345".to_vec(), Reset, vec![Io]));
    let framing = [
        "Content-Length: 99999999999999999999",
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551616",
        "Content-Length: -1",
        "Content-Length: 1e3",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: nonsense",
        "No colon",
        ": no name",
        "X: a\0b",
        "X: a\rb",
        "Bad name: 1",
    ];
    for field in framing {
        let bytes = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").into_bytes();
        rows.push((field.into(), bytes, Close, vec![ProtocolViolation]));
    }
    for chunk in ["x\r\nhello\r\n", "-5\r\nhello\r\n", "FFFFFFFFFFFFFFFFF\r\nhello", "5\r\nhello!!\r\n", "\r\n\r\n"] {
        rows.push((
            format!("chunk {chunk:?}"),
            format!("{CHUNKED}{chunk}").into_bytes(),
            Close,
            vec![ProtocolViolation, ResponseBodyTruncated],
        ));
    }
    for (name, bytes) in [
        ("HTTP/0.9", &b"<html>hello</html>"[..]),
        ("HTTP/2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\0\xff\xff\0\x05\0\0\x40\0"),
        ("TLS", b"\x15\x03\x01\0\x02\x02\x46"),
        ("SSH", b"SSH-2.0-OpenSSH_9.7\r\n"),
        ("version 9", b"HTTP/9.9 200 OK\r\n\r\n"),
        ("status 99", b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n"),
        ("no status", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        rows.push((name.into(), bytes.to_vec(), Close, vec![ProtocolViolation]));
    }
    rows.push((
        "an unexpected switch".into(),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(),
        Close,
        vec![ProtocolViolation, Io],
    ));
    for (name, start, flood) in [
        ("interim responses", "", &b"HTTP/1.1 100 Continue\r\n\r\n"[..]),
        ("early hints", "", b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"),
        ("headers", "HTTP/1.1 200 OK\r\n", b"X-Flood: 1\r\n"),
        ("one name", "HTTP/1.1 200 OK\r\nX-Flood", b"xxxxxxxxxxxxxxxx"),
        ("one value", "HTTP/1.1 200 OK\r\nX-Flood: ", b"xxxxxxxxxxxxxxxx"),
        ("a folded value", "HTTP/1.1 200 OK\r\nX-Flood: 1\r\n", b" 1\r\n"),
        ("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Flood: 1\r\n"),
        ("a body", "HTTP/1.1 200 OK\r\n\r\n", b"xxxxxxxxxxxxxxxx"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10\r\nxxxxxxxxxxxxxxxx\r\n"),
        ("a chunk's size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0000000000000000"),
        ("a chunk's extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x=1234567890;"),
    ] {
        let kinds = vec![TooLarge, ProtocolViolation, Timeout];
        rows.push((format!("a flood of {name}"), start.into(), Flood(flood), kinds.clone()));
        rows.push((format!("a trickle of {name}"), start.into(), Drip(flood), vec![Timeout, ProtocolViolation]));
    }
    rows
}

/// Plays all rows, eight at once; every client serves on after its row.
fn play(rows: &[Row]) {
    let good = Server::faults();
    std::thread::scope(|scope| {
        for share in rows.chunks(rows.len().div_ceil(8)) {
            let good = &good;
            scope.spawn(move || {
                let client = client();
                for (name, bytes, then, kinds) in share {
                    let server = server(bytes.clone(), *then);
                    let start = Instant::now();
                    let result = get(&client, &server.url("/"));
                    let took = start.elapsed();
                    let error = result.err().unwrap_or_else(|| panic!("{name} went through"));
                    assert!(kinds.contains(&error.kind()), "{name}: {error:?}");
                    assert!(took < LIMIT + LATE, "{name} took {took:?}");
                    assert_eq!(error.url(), Some(server.url("/").as_str()), "{name}");
                    let after = get(&client, &good.url("/bytes/3"));
                    assert_eq!(
                        after.unwrap_or_else(|error| panic!("after {name}: {error:?}")).len(),
                        3,
                        "after {name}"
                    );
                }
                assert_eq!(client.stats().in_flight, 0);
            });
        }
    });
}

#[test]
fn every_fault_is_typed_and_in_time_and_the_client_goes_on() {
    let rows = rows();
    assert!(rows.len() >= 45, "{}", rows.len());
    play(&rows);
}

#[test]
fn a_header_line_that_breaks_off_is_not_part_of_the_next_response() {
    let good = Server::faults();
    let client = HttpClient::builder().timeout(Duration::from_millis(100)).build().unwrap();
    for start in
        ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX-Odd: 1\r\n", "HTTP/1.1 200 OK\r\nX-Odd: 1\r\n folded\r\n"]
    {
        for more in ["", " ", "\t", " 1", " 1\r", "X-Injected: 1\r\n"] {
            let server = server(format!("{start}{more}").into_bytes(), Stall);
            assert_eq!(get(&client, &server.url("/")).unwrap_err().kind(), Timeout);
            let response = client.get(good.url("/bytes/3"));
            let mut response = response.unwrap_or_else(|error| panic!("after {start:?}{more:?}: {error:?}"));
            assert!(!response.headers().contains_key("x-odd") && !response.headers().contains_key("x-injected"));
            assert_eq!(response.bytes().unwrap().len(), 3);
        }
    }
}

#[test]
fn faults_leave_no_descriptor_open() {
    if !is_alone("faults::faults_leave_no_descriptor_open") {
        return;
    }
    let rows: Vec<Row> = rows().into_iter().filter(|row| !matches!(row.2, Stall | Drip(_))).collect();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // What is made once in a process is there after the first time.
    play(&rows[..8]);
    let settled = |most: usize| {
        let end = Instant::now() + Duration::from_secs(10);
        while open() > most && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        open()
    };
    let before = settled(0).min(open());
    play(&rows);
    let after = settled(before);
    assert!(after <= before, "{before} descriptors before, {after} after");
}

/// The content in each coding; the name is that of `Content-Encoding`.
fn encoded(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut bare] {
        encoder.write_all(plain).unwrap();
    }
    let mut brotli = Vec::new();
    brotli::CompressorWriter::new(&mut brotli, 4096, 5, 22).write_all(plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut twice = GzEncoder::new(Vec::new(), Compression::default());
    twice.write_all(&gzip).unwrap();
    vec![
        ("identity", plain.to_vec()),
        ("gzip", gzip),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
        ("br", brotli),
        ("zstd", zstd::encode_all(plain, 3).unwrap()),
        ("gzip, gzip", twice.finish().unwrap()),
    ]
}

#[test]
fn no_byte_is_lost_in_silence() {
    let plain: Vec<u8> = (0..20_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
    let client = HttpClient::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let mut cases = 0;
    for (coding, whole) in encoded(&plain) {
        for framing in ["length", "chunks", "close"] {
            for cut in [0, 1, 2, 4, 9, whole.len() / 2, whole.len() - 1, whole.len()] {
                for then in [Close, Reset] {
                    let left = &whole[..whole.len() - cut];
                    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n").into_bytes();
                    match framing {
                        "length" => {
                            write!(bytes, "Content-Length: {}\r\n\r\n", whole.len()).unwrap();
                            bytes.extend_from_slice(left);
                        }
                        "chunks" => {
                            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                            for chunk in left.chunks(1000) {
                                write!(bytes, "{:x}\r\n", chunk.len()).unwrap();
                                bytes.extend_from_slice(chunk);
                                bytes.extend_from_slice(b"\r\n");
                            }
                            if cut == 0 {
                                bytes.extend_from_slice(b"0\r\n\r\n");
                            }
                        }
                        _ => {
                            bytes.extend_from_slice(b"\r\n");
                            bytes.extend_from_slice(left);
                        }
                    }
                    // A connection's end is the end of a body without a length: nobody can know better.
                    let unknowable = coding == "identity" && framing == "close" && then == Close;
                    let server = server(bytes, then);
                    let what = format!("{coding} by {framing} without {cut} bytes, then {then:?}");
                    match get(&client, &server.url("/")) {
                        Ok(body) if body == plain => {
                            // After a response that is complete in itself a reset changes nothing.
                            assert!(cut == 0 || unknowable, "{what} has all of it?");
                        }
                        Ok(body) => assert!(unknowable, "{what}: {} bytes came as if they were all", body.len()),
                        Err(error) => {
                            let broken = matches!(error.kind(), Io | ResponseBodyTruncated | InvalidContentEncoding);
                            assert!(broken && (cut > 0 || then == Reset), "{what}: {error:?}");
                        }
                    }
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 300);
}

#[test]
fn a_compressed_body_may_be_empty_only_where_its_length_is_told() {
    let client = client();
    for (framing, body, fine) in [
        ("Content-Length: 0\r\n", "", true),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", true),
        ("", "", false),
        ("Connection: close\r\n", "", false),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n{framing}\r\n{body}");
        let server = server(bytes.into_bytes(), Close);
        match get(&client, &server.url("/")) {
            Ok(body) => assert!(fine && body.is_empty(), "{framing:?}"),
            Err(error) => assert!(!fine && error.kind() == InvalidContentEncoding, "{framing:?}: {error:?}"),
        }
    }
}

#[test]
fn bombs_of_each_coding_meet_a_limit() {
    let plain = vec![0_u8; 16 << 20];
    // Large between two codings, and nothing in the end: a file name without end (RFC 1952 2.3.1).
    let mut nothing = encoded(b"")[1].1.clone();
    nothing[3] |= 8;
    nothing.splice(10..10, vec![b'a'; 16 << 20].into_iter().chain([0]));
    let mut bombs: Vec<_> = encoded(&plain).into_iter().filter(|(coding, _)| *coding != "identity").collect();
    bombs.push(("gzip, gzip", encoded(&nothing)[1].1.clone()));
    for (coding, bomb) in bombs {
        assert!(bomb.len() < plain.len() / 100, "{coding}");
        let answer = move |responder: &mut crate::support::Responder<'_>| {
            responder.send(200, &[("Content-Encoding", coding)], &bomb)
        };
        let server = Server::start(move |_, responder| answer(responder));
        let error = get(&HttpClient::new().unwrap(), &server.url("/")).unwrap_err();
        assert_eq!(error.kind(), TooLarge, "{coding} by default: {error:?}");
        let small = HttpClient::builder().max_decompression_ratio(None).max_decompressed_size(100_000).build().unwrap();
        match get(&small, &server.url("/")) {
            Ok(body) => assert!(body.is_empty(), "{coding}"),
            Err(error) => assert_eq!(error.kind(), TooLarge, "{coding} with a size: {error:?}"),
        }
    }
    // RFC 8878 3.1.1: a frame of 15 bytes that asks for a window of 8 MiB, and one that asks for 128.
    for (window, fine) in [(0x68, true), (0x88, false)] {
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x31, 0x00, 0x00][..], b"marmot"].concat();
        let server = Server::start(move |_, responder| responder.send(200, &[("Content-Encoding", "zstd")], &frame));
        match get(&HttpClient::new().unwrap(), &server.url("/")) {
            Ok(body) => assert!(fine && body == b"marmot", "{window:x}"),
            Err(error) => assert!(!fine && error.kind() == InvalidContentEncoding, "{window:x}: {error:?}"),
        }
    }
}
