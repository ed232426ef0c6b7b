//! The rules of RFC 6455 in the order of the Autobahn test suite's sections: frames made by hand, and what must come back.
//!
//! The client echoes texts and binaries, as that suite wants it. Each case runs with its bytes in one piece and chopped.

use std::io::Write;
use std::sync::{Arc, Mutex, mpsc};

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use marmot::websocket::Message;
use marmot::{Error, ErrorKind, HttpClient};

use crate::support::RawServer;
use crate::support::websocket::{self as server, Frame, close, frame};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

type Outcome = (Vec<Frame>, Result<(), ErrorKind>);

/// What the server does with its next connection.
struct Job {
    bytes: Vec<u8>,
    piece: usize,
    /// Frames to wait for before `end` is sent.
    answers: usize,
    end: Vec<u8>,
}

/// Runs cases against one server and one client.
struct Suite {
    server: RawServer,
    client: HttpClient,
    next: Arc<Mutex<Option<Job>>>,
    seen: mpsc::Receiver<Vec<Frame>>,
}

impl Suite {
    fn new() -> Self {
        let next = Arc::new(Mutex::new(None::<Job>));
        let (sender, seen) = mpsc::channel();
        let server = RawServer::start({
            let next = next.clone();
            move |mut conn, _, _| {
                let Job { bytes, piece, answers, end } = next.lock().unwrap().take().unwrap();
                server::accept(&mut conn).unwrap();
                // The client may be gone before all is written, where that breaks a rule.
                let _ = server::write_in_pieces(&mut conn, &bytes, piece);
                let mut frames: Vec<_> = (0..answers).map_while(|_| server::read_frame(&mut conn).ok()).collect();
                let _ = conn.write_all(&end);
                frames.extend(server::read_to_close(&mut conn));
                let _ = sender.send(frames);
            }
        });
        Self { server, client: HttpClient::new().unwrap(), next, seen }
    }

    fn run(&self, bytes: &[u8], piece: usize, answers: usize, end: &[u8]) -> Outcome {
        *self.next.lock().unwrap() = Some(Job { bytes: bytes.to_vec(), piece, answers, end: end.to_vec() });
        let socket = self.client.websocket(format!("ws://{}/", self.server.addr()));
        let result = block_on(async {
            let mut socket = socket.await?;
            while let Some(message) = socket.next().await {
                let message = message?;
                if matches!(message, Message::Text(_) | Message::Binary(_)) {
                    // The server may have closed, or broken a rule, meanwhile; the stream tells of it.
                    let _ = socket.send(message).await;
                }
            }
            Ok::<(), Error>(())
        });
        (self.seen.recv().unwrap(), result.map_err(|error| error.kind()))
    }

    /// The server sends these bytes and, when all is answered, a close: the client must have answered with these frames.
    #[track_caller]
    fn clean(&self, bytes: &[Vec<u8>], answers: &[Frame]) {
        let bytes = bytes.concat();
        let mut expected = answers.to_vec();
        expected.push(Frame::new(CLOSE, &1000_u16.to_be_bytes()));
        for piece in pieces(bytes.len()) {
            let (frames, result) = self.run(&bytes, piece, answers.len(), &close(1000, b""));
            assert_eq!(shapes(&frames), shapes(&expected), "pieces of {piece}");
            assert!(frames == expected, "pieces of {piece}: the content differs");
            assert_eq!(result, Ok(()), "pieces of {piece}: {frames:?}");
        }
    }

    /// The bytes hold the server's close: the client echoes its code and says nothing else.
    #[track_caller]
    fn ends(&self, bytes: &[Vec<u8>], payload: &[u8]) {
        let bytes = bytes.concat();
        for piece in pieces(bytes.len()) {
            let (frames, result) = self.run(&bytes, piece, 0, b"");
            assert_eq!(frames, [Frame::new(CLOSE, payload)], "pieces of {piece}");
            assert_eq!(result, Ok(()), "pieces of {piece}");
        }
    }

    /// The server breaks a rule: the client closes with that code, after answers to what was right at most.
    #[track_caller]
    fn fails(&self, bytes: &[Vec<u8>], code: u16) {
        let bytes = bytes.concat();
        for piece in pieces(bytes.len()) {
            let (frames, result) = self.run(&bytes, piece, 0, b"");
            assert_eq!(result, Err(ErrorKind::ProtocolViolation), "{bytes:x?} in pieces of {piece}");
            let last = frames.last().unwrap();
            assert_eq!((last.first, &last.payload[..]), (CLOSE, &code.to_be_bytes()[..]), "{bytes:x?}: {frames:?}");
        }
    }
}

fn shapes(frames: &[Frame]) -> Vec<(u8, usize)> {
    frames.iter().map(|frame| (frame.first, frame.payload.len())).collect()
}

fn pieces(length: usize) -> [usize; 2] {
    [usize::MAX, if length <= 300 { 1 } else { 997 }]
}

/// Section 1: framing.
#[test]
fn messages_of_all_lengths_are_echoed() {
    let suite = Suite::new();
    for length in [0, 125, 126, 127, 128, 65535, 65536] {
        let payload = vec![b'*'; length];
        suite.clean(&[frame(TEXT, &payload)], &[Frame::new(TEXT, &payload)]);
        let payload = vec![0xfe; length];
        suite.clean(&[frame(BINARY, &payload)], &[Frame::new(BINARY, &payload)]);
    }
}

/// Section 2: pings and pongs.
#[test]
fn pings_are_answered_and_pongs_are_not() {
    let suite = Suite::new();
    for payload in [&b""[..], b"Hello, world!", &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff], &[0xfe; 125]] {
        suite.clean(&[frame(PING, payload)], &[Frame::new(PONG, payload)]);
    }
    suite.fails(&[frame(PING, &[0xfe; 126])], 1002);
    suite.clean(&[frame(PONG, b"")], &[]);
    suite.clean(&[frame(PONG, b"unsolicited pong payload")], &[]);
    let unsolicited = [frame(PONG, b"unsolicited pong payload"), frame(PING, b"ping payload")];
    suite.clean(&unsolicited, &[Frame::new(PONG, b"ping payload")]);
    let payloads: Vec<_> = (0..10).map(|number| format!("payload-{number}").into_bytes()).collect();
    let pings: Vec<_> = payloads.iter().map(|payload| frame(PING, payload)).collect();
    let pongs: Vec<_> = payloads.iter().map(|payload| Frame::new(PONG, payload)).collect();
    suite.clean(&pings, &pongs);
}

/// Section 3: reserved bits.
#[test]
fn reserved_bits_fail_the_connection() {
    let suite = Suite::new();
    let small = b"Hello, world!";
    for bits in 1..8_u8 {
        let flags = bits << 4;
        suite.fails(&[frame(TEXT | flags, small)], 1002);
        suite.fails(&[frame(TEXT, small), frame(TEXT | flags, small), frame(PING, b"")], 1002);
        for first in [BINARY, PING, PONG, CLOSE] {
            suite.fails(&[frame(first | flags, b"")], 1002);
        }
    }
}

/// Section 4: opcodes.
#[test]
fn unknown_opcodes_fail_the_connection() {
    let suite = Suite::new();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        suite.fails(&[frame(0x80 | opcode, b"")], 1002);
        suite.fails(&[frame(0x80 | opcode, b"reserved opcode payload")], 1002);
        suite.fails(&[frame(TEXT, b"Hello"), frame(0x80 | opcode, b"x"), frame(PING, b"")], 1002);
    }
}

/// Section 5: fragments.
#[test]
fn fragments_are_joined_and_control_frames_come_between() {
    let suite = Suite::new();
    for first in [0x09, 0x0a] {
        suite.fails(&[frame(first, b"fragment1"), frame(0x80, b"fragment2")], 1002);
    }
    let whole = Frame::new(TEXT, b"fragment1fragment2");
    suite.clean(&[frame(0x01, b"fragment1"), frame(0x80, b"fragment2")], std::slice::from_ref(&whole));
    let between = [frame(0x01, b"fragment1"), frame(PING, b"ping payload"), frame(0x80, b"fragment2")];
    suite.clean(&between, &[Frame::new(PONG, b"ping payload"), whole]);
    for nothing_to_continue in [0x80, 0x00] {
        let orphan = frame(nothing_to_continue, b"non-continuation payload");
        suite.fails(&[orphan.clone(), frame(TEXT, b"Hello, world!")], 1002);
        let message = [frame(0x01, b"fragment1"), frame(0x80, b"fragment2"), orphan, frame(TEXT, b"Hello, world!")];
        suite.fails(&message, 1002);
    }
    suite.fails(&[frame(0x01, b"fragment1"), frame(TEXT, b"fragment2")], 1002);
    let mut many = Vec::new();
    let mut answers = Vec::new();
    for round in 0..5_u8 {
        many.push(frame(if round == 0 { 0x01 } else { 0x00 }, &[b'a' + round]));
        many.push(frame(PING, &[round]));
        answers.push(Frame::new(PONG, &[round]));
    }
    many.push(frame(0x80, b""));
    answers.push(Frame::new(TEXT, b"abcde"));
    suite.clean(&many, &answers);
}

/// Section 6: UTF-8.
#[test]
fn text_is_utf8_across_fragments_and_nothing_else_is() {
    let suite = Suite::new();
    let greek = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes();
    let valid: &[&[u8]] = &[
        b"",
        "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!".as_bytes(),
        greek,
        b"\x00",
        b"\x7f",
        b"\xc2\x80",
        b"\xdf\xbf",
        b"\xe0\xa0\x80",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xef\xbf\xbf",
        b"\xf0\x90\x80\x80",
        b"\xf4\x8f\xbf\xbf",
    ];
    for text in valid {
        suite.clean(&[frame(TEXT, text)], &[Frame::new(TEXT, text)]);
        let mut fragments = vec![frame(0x01, b"")];
        fragments.extend(text.iter().map(|byte| frame(0x00, &[*byte])));
        fragments.push(frame(0x80, b""));
        suite.clean(&fragments, &[Frame::new(TEXT, text)]);
    }
    let invalid: &[&[u8]] = &[
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0 \xc1 ",
        b"\xe0 ",
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xfe",
        b"\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
    ];
    for text in invalid {
        suite.fails(&[frame(TEXT, text)], 1007);
        let (left, right) = text.split_at(text.len() / 2);
        suite.fails(&[frame(0x01, left), frame(0x80, right)], 1007);
    }
}

/// Section 7: closing.
#[test]
fn a_close_is_answered_once_and_nothing_is_heard_after_it() {
    let suite = Suite::new();
    let echo = 1000_u16.to_be_bytes();
    suite.clean(&[frame(TEXT, b"Hello World!")], &[Frame::new(TEXT, b"Hello World!")]);
    suite.ends(&[close(1000, b""), close(1000, b"")], &echo);
    suite.ends(&[close(1000, b""), frame(PING, b"")], &echo);
    suite.ends(&[close(1000, b""), frame(TEXT, b"Hello World!")], &echo);
    suite.ends(&[frame(0x01, b"fragment1"), close(1000, b""), frame(0x80, b"fragment2")], &echo);
    suite.ends(&[close(1000, b""), frame(0xff, b"a broken frame")], &echo);
    suite.ends(&[frame(CLOSE, b"")], b"");
    suite.ends(&[close(1000, b"Hello World!")], &echo);
    suite.ends(&[close(1000, &[b'*'; 123])], &echo);
    suite.fails(&[frame(CLOSE, b"a")], 1002);
    suite.fails(&[close(1000, &[b'*'; 124])], 1002);
    suite.fails(&[close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited")], 1002);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999_u16] {
        suite.ends(&[close(code, b"")], &code.to_be_bytes());
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535] {
        suite.fails(&[close(code, b"")], 1002);
    }
    suite.fails(&[vec![TEXT, 0x80 | 1, 1, 2, 3, 4, b'a' ^ 1]], 1002);
}

/// Sections 9 and 10: large messages, whole and in fragments.
#[test]
fn large_messages_are_echoed_however_they_are_cut() {
    let suite = Suite::new();
    let payload: Vec<u8> = (0..1 << 20).map(|number: u32| (number % 251) as u8).collect();
    suite.clean(&[frame(BINARY, &payload)], &[Frame::new(BINARY, &payload)]);
    for cut in [1300, 65536] {
        let mut fragments: Vec<_> = payload.chunks(cut).map(|piece| frame(0x00, piece)).collect();
        fragments[0][0] = 0x02;
        fragments.push(frame(0x80, b""));
        suite.clean(&fragments, &[Frame::new(BINARY, &payload)]);
    }
    let text = "\u{20ac}".repeat(30_000);
    let mut fragments: Vec<_> = text.as_bytes().chunks(64).map(|piece| frame(0x00, piece)).collect();
    fragments[0][0] = 0x01;
    fragments.push(frame(0x80, b""));
    suite.clean(&fragments, &[Frame::new(TEXT, text.as_bytes())]);
}
