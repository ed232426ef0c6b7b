//! Bodies in unusual hands: given up, handed on, read past an error, cut anywhere. Usual ones are in `basics.rs`.

use std::io::{self, Cursor, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::io::AsyncReadExt;
use futures::stream::StreamExt;
use marmot::prelude::*;
use marmot::{AsyncBody, Body, ErrorKind};

use crate::support::{Server, pattern};

/// Polls a future for a while and drops it.
async fn give_up<T>(future: impl Future<Output = T>, after: Duration) {
    let (sender, elapsed) = futures::channel::oneshot::channel::<()>();
    thread::spawn(move || {
        thread::sleep(after);
        drop(sender);
    });
    assert!(matches!(select(pin!(future), elapsed).await, Either::Right(_)), "it was too quick to be given up");
}

#[test]
fn a_reading_that_was_given_up_loses_nothing() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    block_on(async {
        for way in ["read", "stream", "bytes", "copy"] {
            let mut response = client.get_async(server.url("/slow-drip/40/10")).await.unwrap();
            give_up(response.bytes(), Duration::from_millis(100)).await;
            let mut all = Vec::new();
            match way {
                "read" => drop(response.body_mut().read_to_end(&mut all).await.unwrap()),
                "bytes" => all = response.bytes().await.unwrap(),
                "copy" => drop(response.copy_to(&mut all).await.unwrap()),
                _ => {
                    while let Some(chunk) = response.body_mut().next().await {
                        all.extend_from_slice(&chunk.unwrap());
                    }
                }
            }
            assert_eq!(all, pattern(40), "{way}");
        }
    });
}

#[test]
fn a_reading_that_was_given_up_holds_the_sender_back_again() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let server = Server::start(move |_, responder| {
        responder.start_chunked(200, &[])?;
        loop {
            responder.chunk(&[7; 65536])?;
            if counter.fetch_add(65536, SeqCst) > 1 << 30 {
                return responder.end_chunks(&[]);
            }
        }
    });
    let client = HttpClient::new().unwrap();
    let mut response = block_on(async {
        let mut response = client.get_async(server.url("/")).await.unwrap();
        give_up(response.bytes(), Duration::from_millis(1)).await;
        response
    });
    let mut before = u64::MAX;
    while before != sent.load(SeqCst) {
        before = sent.load(SeqCst);
        thread::sleep(Duration::from_millis(300));
    }
    assert!(before < 1 << 30, "all of it was taken in though nobody reads");
    let mut total = 0;
    block_on(async {
        let mut buffer = vec![0; 1 << 16];
        while total < before + (16 << 20) {
            total += response.body_mut().read(&mut buffer).await.unwrap() as u64;
        }
    });
}

#[test]
fn a_response_is_handed_on_as_a_request() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let whole = client.get(server.url("/bytes/5000000")).unwrap().into_body();
    assert!(client.post(server.url("/echo"), whole).unwrap().bytes().unwrap() == pattern(5_000_000));
    assert_eq!(server.last_request().header("content-length"), Some("5000000"));
    let chunked = client.get(server.url("/chunked/300000/999")).unwrap().into_body();
    assert!(client.post(server.url("/echo"), chunked).unwrap().bytes().unwrap() == pattern(300_000));
    let decoded = client.get(server.url("/gzip")).unwrap().into_body();
    let plain = crate::support::faults::encoded::plain();
    assert!(client.post(server.url("/echo"), decoded).unwrap().bytes().unwrap() == plain);
    let broken = client.get(server.url("/close/in-body")).unwrap().into_body();
    assert_eq!(client.post(server.url("/echo"), broken).unwrap_err().kind(), ErrorKind::RequestBody);
}

#[test]
fn the_rest_of_a_response_is_handed_on_as_a_request() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut response = client.get(server.url("/bytes/100000")).unwrap();
    response.body_mut().read_exact(&mut [0; 10]).unwrap();
    assert!(client.post(server.url("/echo"), response.into_body()).unwrap().bytes().unwrap() == pattern(100_000)[10..]);
    let mut response = client.get(server.url("/bytes/100000")).unwrap();
    response.consume().unwrap();
    assert_eq!(client.post(server.url("/echo"), response.into_body()).unwrap().bytes().unwrap(), b"");
}

#[test]
fn an_error_of_a_body_is_told_to_whoever_asks_again() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for path in [
        "/close/in-body",
        "/truncated-chunk",
        "/gzip-truncated",
        "/gzip-corrupt",
        "/deflate?cut=5",
        "/raw-deflate?cut=5",
        "/br?cut=5",
        "/zstd?cut=5",
        "/gzip-br?cut=9",
        "/gzip-bomb/64",
    ] {
        let mut response = client.get(server.url(path)).unwrap();
        let mut buffer = vec![0; 1 << 16];
        let first = loop {
            match response.body_mut().read(&mut buffer) {
                Ok(0) => panic!("{path} ended well"),
                Ok(_) => {}
                Err(error) => break marmot::Error::from(error),
            }
        };
        for _ in 0..3 {
            let again = response.body_mut().read(&mut buffer).map_err(marmot::Error::from);
            assert_eq!(again.as_ref().map_err(marmot::Error::kind), Err(first.kind()), "{path}");
        }
    }
}

#[test]
fn every_prefix_of_a_coded_body_is_an_error() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for path in ["/gzip", "/deflate", "/raw-deflate", "/br", "/zstd", "/gzip-br"] {
        let request = Request::get(server.url(path)).automatic_decompression(false).body(()).unwrap();
        let length = client.send(request).unwrap().bytes().unwrap().len();
        for kept in (1..24).chain((24..length).step_by(length / 40)) {
            let url = server.url(&format!("{path}?cut={}", length - kept));
            let result = client.get(url).and_then(|mut response| response.bytes());
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::InvalidContentEncoding), "{path}: {kept}");
        }
    }
}

#[test]
fn an_upload_that_nobody_reads_is_not_read_ahead() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let (one, two) = (taken.clone(), taken.clone());
    struct Counted(Arc<AtomicU64>);
    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len() as u64, SeqCst);
            Ok(buffer.len())
        }
    }
    let chunk = Bytes::from(vec![1; 65536]);
    let stream = futures::stream::repeat_with(move || {
        two.fetch_add(65536, SeqCst);
        Ok(chunk.clone())
    });
    for body in [Body::from_reader(Counted(one)), AsyncBody::from_stream(stream).into()] {
        taken.store(0, SeqCst);
        let future = client.post_async(server.url("/stall-upload"), body);
        let mut before = u64::MAX;
        while before != taken.load(SeqCst) || before == 0 {
            before = taken.load(SeqCst);
            thread::sleep(Duration::from_millis(300));
        }
        assert!(before < 16 << 20, "{before} bytes were read for nobody");
        drop(future);
    }
}

#[test]
fn a_stream_that_panics_when_dropped_harms_nobody_else() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut bystander = client.get(server.url("/slow-drip/30/20")).unwrap();
    let bomb = Bomb;
    let stream = futures::stream::poll_fn(move |_| {
        let _ = &bomb;
        std::task::Poll::<Option<io::Result<Bytes>>>::Pending
    });
    let future = client.post_async(server.url("/echo"), AsyncBody::from_stream(stream));
    assert!(server.wait_for_heads(2, Duration::from_secs(5)));
    drop(future);
    assert_eq!(bystander.bytes().unwrap().len(), 30);
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
}

#[cfg(feature = "gzip")]
#[test]
fn request_bodies_are_compressed_where_that_is_asked_for() {
    use marmot::ContentCoding;
    let server = Server::start(|request, answer| {
        let coding = request.header("content-encoding").unwrap_or("none").to_owned();
        let length = request.header("content-length").unwrap_or("unknown").to_owned();
        let mut plain = Vec::new();
        match coding.as_str() {
            "gzip" => drop(flate2::read::MultiGzDecoder::new(&request.body[..]).read_to_end(&mut plain)?),
            "zstd" => plain = zstd::decode_all(&request.body[..])?,
            _ => plain = request.body.to_vec(),
        }
        answer.text(200, &format!("{coding} {length} {}", plain == pattern(200_000)))
    });
    let mut codings = vec![ContentCoding::Gzip];
    #[cfg(feature = "zstd")]
    codings.push(ContentCoding::Zstd);
    for coding in codings {
        let client = HttpClient::builder().compress_request(coding).build().unwrap();
        let text = client.post(server.url("/"), pattern(200_000)).unwrap().text().unwrap();
        let words: Vec<_> = text.split(' ').collect();
        assert_eq!((words[0], words[2]), (coding.name(), "true"), "{text}");
        assert!(words[1].parse::<u64>().unwrap() < 200_000, "{text}");
        let stream = Body::from_reader_sized(Cursor::new(pattern(200_000)), 200_000);
        let text = client.post(server.url("/"), stream).unwrap().text().unwrap();
        assert_eq!(text, format!("{coding} unknown true"));
        let plain = Request::post(server.url("/")).compress_request(None).body(pattern(200_000)).unwrap();
        assert_eq!(client.send(plain).unwrap().text().unwrap(), "none 200000 true");
        assert!(client.get(server.url("/")).unwrap().text().unwrap().starts_with("none"));
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn memory_of_bodies_is_kept_for_the_next_ones() {
    if !crate::alone::is_alone("bodies::memory_of_bodies_is_kept_for_the_next_ones") {
        return;
    }
    const AT_ONCE: usize = 8;
    const LENGTH: usize = 256 << 10;
    let server = Server::faults();
    let client = HttpClient::builder().agents(1).build().unwrap();
    let url = server.url(&format!("/bytes/{LENGTH}"));
    let round = || {
        let all = (0..AT_ONCE).map(async |_| client.get_async(&url).await.unwrap().bytes().await.unwrap());
        let all = client.block_on(futures::future::join_all(all));
        assert!(all.iter().all(|body| body.len() == LENGTH));
    };
    round();
    let before = page_faults();
    for _ in 0..10 {
        round();
    }
    // Each body has 64 pages.
    let faults = page_faults() - before;
    assert!(faults < 10 * AT_ONCE as u64 * 4, "{faults}");
}

/// Pages that this thread has touched and that had to be had from the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn page_faults() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    text.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
}
