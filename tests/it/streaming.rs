//! Bodies that stream, in both directions. What arrives whole is in `basics.rs`.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use futures::io::{AsyncBufReadExt, AsyncReadExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use marmot::prelude::*;
use marmot::{AsyncBody, Body};

#[cfg(target_os = "linux")]
use crate::support::low_water_mark;
use crate::support::{BodyMode, Server, pattern};

#[test]
fn a_response_is_here_at_the_end_of_its_head() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for path in ["/idle-events", "/delay-body/3000"] {
        let start = Instant::now();
        let response = client.get(server.url(path)).unwrap();
        assert_eq!(response.status(), 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{path}: {:?}", start.elapsed());
    }
}

#[test]
fn a_reader_that_does_not_read_holds_the_sender_back() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let server = Server::start(move |_, responder| {
        responder.start_chunked(200, &[])?;
        loop {
            responder.chunk(&[7; 65536])?;
            counter.fetch_add(65536, SeqCst);
        }
    });
    let client = HttpClient::new().unwrap();
    let mut response = client.get(server.url("/")).unwrap();
    // Wait until no more is sent.
    let mut before = u64::MAX;
    while before != sent.load(SeqCst) {
        before = sent.load(SeqCst);
        thread::sleep(Duration::from_millis(300));
    }
    assert!(before < 16 << 20, "{before} bytes were sent to nobody");
    // Reading lets it go on, far beyond what was buffered.
    let mut read = 0;
    let mut buffer = vec![0; 100_000];
    while read < 64 << 20 {
        let amount = response.body_mut().read(&mut buffer).unwrap();
        assert!(buffer[..amount].iter().all(|byte| *byte == 7));
        read += amount;
    }
}

#[test]
fn large_bodies_arrive_intact_through_every_face() {
    const SIZE: usize = 5_000_000;
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let expected = pattern(SIZE);
    let url = server.url(&format!("/bytes/{SIZE}"));

    let mut all = Vec::new();
    client.get(&url).unwrap().body_mut().read_to_end(&mut all).unwrap();
    assert!(all == expected, "Read");

    block_on(async {
        let mut all = Vec::new();
        client.get_async(&url).await.unwrap().body_mut().read_to_end(&mut all).await.unwrap();
        assert!(all == expected, "AsyncRead");

        let body = client.get_async(&url).await.unwrap().into_body();
        let all: Vec<Bytes> = body.try_collect().await.unwrap();
        assert!(all.concat() == expected, "Stream");

        // A mixture: some as lines, some as chunks, the rest at once.
        let mut response = client.get_async(&url).await.unwrap();
        let mut all = Vec::new();
        response.body_mut().read_until(b'\n', &mut all).await.unwrap();
        for _ in 0..3 {
            all.extend_from_slice(&response.body_mut().next().await.unwrap().unwrap());
        }
        all.extend_from_slice(&response.bytes().await.unwrap());
        assert!(all == expected, "mixed");
    });

    let mut all = Vec::new();
    assert_eq!(client.get(&url).unwrap().copy_to(&mut all).unwrap(), SIZE as u64);
    assert!(all == expected, "copy_to");
}

#[test]
fn a_slow_body_arrives_byte_by_byte() {
    let server = Server::faults();
    let mut response = HttpClient::new().unwrap().get(server.url("/slow-drip/20/20")).unwrap();
    let mut reads = 0;
    let mut all = Vec::new();
    let mut buffer = [0; 64];
    loop {
        match response.body_mut().read(&mut buffer).unwrap() {
            0 => break,
            amount => {
                reads += 1;
                all.extend_from_slice(&buffer[..amount]);
            }
        }
    }
    assert_eq!(all.len(), 20);
    assert!(reads > 5, "{reads} reads: the bytes came as they were sent");
}

#[test]
#[cfg(target_os = "linux")]
fn a_fast_body_comes_in_large_pieces_and_is_not_held_up_where_it_slows_down() {
    const FAST: usize = 24 << 20;
    const SLOW: usize = 100;
    let (seen, is_seen) = mpsc::channel();
    let is_seen = Mutex::new(is_seen);
    let server = Server::start(move |request, responder| {
        if request.target == "/small" {
            return responder.text(200, "small");
        }
        let length = (2 * FAST + SLOW).to_string();
        responder.head(200, &[("Content-Length", &length)])?;
        responder.body(&pattern(FAST))?;
        for _ in 0..SLOW {
            // The next byte comes when the client has this one.
            responder.body(b"x")?;
            let _ = is_seen.lock().unwrap().recv_timeout(Duration::from_secs(10));
        }
        responder.body(&pattern(FAST))
    });
    let client = HttpClient::new().unwrap();
    let mut most = 0;
    // Beside other work a body may not be fast.
    let end = Instant::now() + Duration::from_secs(60);
    while most <= 1 && Instant::now() < end {
        let mut response = client.get(server.url("/large")).unwrap();
        let body = response.body_mut();
        let mut buffer = vec![0; 1 << 20];
        for piece in 0..24 {
            body.read_exact(&mut buffer).unwrap();
            assert!(piece > 0 || buffer[..] == pattern(1 << 20));
            most = most.max(low_water_mark(server.addr()));
        }
        for byte in 0..SLOW {
            let start = Instant::now();
            body.read_exact(&mut buffer[..1]).unwrap();
            assert_eq!(buffer[0], b'x');
            assert!(start.elapsed() < Duration::from_secs(5), "byte {byte} came after {:?}", start.elapsed());
            seen.send(()).unwrap();
        }
        let mut rest = Vec::new();
        body.read_to_end(&mut rest).unwrap();
        assert!(rest == pattern(FAST));
        assert_eq!(low_water_mark(server.addr()), 1, "the next answer may be short");
        assert_eq!(client.get(server.url("/small")).unwrap().text().unwrap(), "small");
    }
    assert_eq!(server.accepted(), 1);
    assert!(most > 1, "no body was fast");
}

#[test]
fn an_upload_from_a_slow_stream_arrives_intact() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let data = pattern(3_000_000);
    let pieces: Vec<Bytes> = data.chunks(70_001).map(Bytes::copy_from_slice).collect();
    let slow = stream::iter(pieces).enumerate().then(|(number, piece)| async move {
        if number % 10 == 3 {
            // A wait that some other thread ends.
            let (sender, receiver) = futures::channel::oneshot::channel::<()>();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                drop(sender);
            });
            let _ = receiver.await;
        }
        io::Result::Ok(piece)
    });
    let mut response = client.post(server.url("/echo"), AsyncBody::from_stream(slow)).unwrap();
    assert!(response.bytes().unwrap() == data);
    assert_eq!(server.last_request().header("transfer-encoding"), Some("chunked"));
}

#[test]
fn an_upload_larger_than_all_buffers_waits_for_its_server() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let reader = io::repeat(9).take(6 << 20);
    let body = Body::from_reader_sized(reader, 6 << 20);
    let mut response = client.put(server.url("/slow-read-upload?rate=8000000"), body).unwrap();
    assert!(response.text().unwrap().contains(&(6 << 20).to_string()));
}

#[test]
fn an_answer_before_the_end_of_the_upload_is_seen() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let reader = io::repeat(9).take(50 << 20);
    let response = client.post(server.url("/early-response"), Body::from_reader(reader)).unwrap();
    assert_eq!(response.status(), 413);
}

#[test]
fn what_was_written_reaches_the_server_while_the_body_waits() {
    use futures::stream;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    const PART: usize = 8 << 20;
    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let server = Server::start_with(
        |_| BodyMode::Leave,
        move |_, answer| {
            answer.limit_receive_buffer(64 << 10);
            // Until the sockets between are full.
            answer.sleep(Duration::from_millis(300))?;
            while answer.read_body(64 << 10, |data| {
                let _ = count.fetch_add(data.len(), SeqCst);
            })? {}
            answer.text(200, "all")
        },
    );
    for length in [None, Some(2 * PART as u64)] {
        received.store(0, SeqCst);
        let seen = received.clone();
        // Sends one part, and the other when the server has got the first one whole.
        let parts = stream::unfold((0, seen), |(sent, seen)| async move {
            if sent == PART {
                let end = Instant::now() + Duration::from_secs(10);
                while seen.load(SeqCst) < PART {
                    if Instant::now() > end {
                        return Some((Err(std::io::Error::other("held back")), (usize::MAX, seen)));
                    }
                    smol::Timer::after(Duration::from_millis(5)).await;
                }
            }
            (sent < 2 * PART).then(|| (Ok(bytes::Bytes::from(vec![7; 64 << 10])), (sent + (64 << 10), seen)))
        });
        let body = AsyncBody::from_stream(parts);
        let body = match length {
            Some(length) => AsyncBody::from_reader_sized(body, length),
            None => body,
        };
        let mut response = block_on(HttpClient::new().unwrap().put_async(server.url("/"), body)).unwrap();
        assert_eq!(block_on(AsyncReadResponseExt::text(&mut response)).unwrap(), "all", "{length:?}");
    }
}
