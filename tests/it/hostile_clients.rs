//! Clients that mean harm, or know no better, against `marmot serve` as a process: while they do what they do, another client
//! is served in time; afterwards memory and descriptors are what they were, and the server stops in good order.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::service::allow;
use crate::support::marmot::{Http, LIMIT, Marmot, eventually, request, secret_file};
use crate::support::{Server, raise_descriptor_limit};

/// The longest that the other client may wait: a bound for debug builds on a busy machine, not a figure.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much more memory there may be after the second time than after the first, in KiB.
const KEPT: u64 = 16 << 10;

/// Limits that are reached soon.
const SMALL: &str = "
drain = \"2s\"
[limits]
patience = \"1s\"
silence = \"1s\"
message-size = 65536
outgoing = 262144
calls-per-second = 100000
";

/// A client that calls `play(\"1+1\")` again and again.
struct Other {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Other {
    fn start(http: Http) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) || took.len() < 5 {
                    let begun = Instant::now();
                    assert_eq!(http.play("1 + 1"), 2);
                    took.push(begun.elapsed());
                    thread::sleep(Duration::from_millis(5));
                }
                took
            }
        });
        Self { stop, thread }
    }

    fn end(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().expect("it is served");
        took.sort_unstable();
        let (half, longest) = (took[took.len() / 2], *took.last().expect("it has called"));
        eprintln!("{what}: {} calls of another client, half within {half:?}, the longest {longest:?}", took.len());
        assert!(longest < PATIENCE, "{what}: {longest:?}");
    }
}

/// Does harm, with another client beside it, and looks at what is left. `most`: the memory in KiB that the server may take on
/// top meanwhile.
fn withstand(what: &str, marmot: Marmot, http: Http, most: u64, mut harm: impl FnMut(&Marmot)) {
    // What is made once is there before it is measured, and so is what allocators keep of what they once had.
    for _ in 0..20 {
        assert_eq!(http.play("1 + 1"), 2);
    }
    let fresh = marmot.memory();
    let idle = marmot.descriptors();
    harm(&marmot);
    assert!(marmot.memory() < fresh + most, "{what}: {} KiB, {fresh} KiB before", marmot.memory());
    let fewer = eventually(LIMIT, || (marmot.descriptors() <= idle + 4).then_some(()));
    assert!(fewer.is_some(), "{what}: {} descriptors, {idle} before", marmot.descriptors());
    let (memory, descriptors) = (marmot.memory(), marmot.descriptors());
    let other = Other::start(http.clone());
    let watch = Watch::start(marmot.pid());
    harm(&marmot);
    other.end(what);
    let peak = watch.end().saturating_sub(memory);
    let fewer = eventually(LIMIT, || (marmot.descriptors() <= descriptors + 4).then_some(()));
    assert!(fewer.is_some(), "{what}: {} descriptors, {descriptors} before", marmot.descriptors());
    let after = marmot.memory();
    eprintln!(
        "{what}: {fresh} KiB at first, {memory} after the first time, {peak} more in the second, {after} after it"
    );
    assert!(peak < most, "{what}: {peak} KiB more");
    // Allocators keep more the second time now and then. What is lost is lost each time.
    let (mut before, mut after) = (memory, after);
    for _ in 0..3 {
        if after < before + KEPT {
            break;
        }
        harm(&marmot);
        before = after;
        after = marmot.memory();
    }
    assert!(after < before + KEPT, "{what}: {after} KiB, {before} KiB before");
    assert_eq!(http.play("1 + 1"), 2);
    let begun = Instant::now();
    marmot.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{what}: it takes {:?} to stop", begun.elapsed());
}

/// Looks at the memory of a process again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut peak = 0;
                while !stop.load(Ordering::Relaxed) {
                    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
                    peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
                    thread::sleep(Duration::from_millis(10));
                }
                peak
            }
        });
        Self { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("looking does not panic")
    }
}

fn connect(marmot: &Marmot) -> TcpStream {
    let stream = TcpStream::connect(marmot.address()).expect("the port is open");
    stream.set_read_timeout(Some(LIMIT)).expect("it is a socket");
    stream.set_write_timeout(Some(LIMIT)).expect("it is a socket");
    stream
}

/// The rest of what the server sends, until it ends the connection. Panics where it does not.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            panic!("the connection is not ended after {LIMIT:?}")
        }
        _ => bytes,
    }
}

const UPGRADE: &str = "GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket by hand.
fn upgrade(marmot: &Marmot) -> TcpStream {
    let mut stream = connect(marmot);
    stream.write_all(UPGRADE.as_bytes()).expect("it is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is answered");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A frame of a client, under a mask of zeros.
fn frame(first: u8, announced: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match announced {
        0..=125 => bytes.push(0x80 | announced as u8),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((announced as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(announced.to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.len() as u64, payload.as_bytes())
}

/// The code of the close that ends what the server sends.
fn closed_by(stream: &mut TcpStream) -> Option<u16> {
    let bytes = rest(stream);
    let at = bytes.iter().rposition(|byte| *byte == 0x88)?;
    Some(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]))
}

#[test]
fn heads_and_bodies_that_come_drop_by_drop() {
    let marmot = Marmot::start(SMALL);
    let http = marmot.http();
    withstand("slow heads and bodies", marmot, http, 60 << 10, |marmot| {
        let parts: [&[u8]; 7] = [
            b"",
            b"P",
            b"PRI * HTTP/2.0\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: local",
            b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
            b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
            b"POST /hooks/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        ];
        let mut streams: Vec<TcpStream> = (0..300).map(|_| connect(marmot)).collect();
        let begun = Instant::now();
        for (stream, part) in streams.iter_mut().zip(parts.iter().cycle()) {
            stream.write_all(part).unwrap();
        }
        // A byte now and then does not help.
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(300));
            for stream in streams.iter_mut().skip(3).step_by(7) {
                let _ = stream.write_all(b"x");
            }
        }
        for stream in &mut streams {
            let bytes = rest(stream);
            assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn large_answers_that_nobody_reads() {
    let marmot = Marmot::start(SMALL);
    let http = marmot.http();
    let large = "let text = \"x\"; text.pad(60000, \"x\"); text";
    let id = http.call("play", json!([large])).unwrap()["job_id"].clone();
    withstand("large answers that nobody reads", marmot, http, 40 << 10, |marmot| {
        let call = request(1, "job.get", json!([id]));
        let batch = Value::from(vec![call; 5]).to_string();
        let post = format!(
            "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{batch}",
            batch.len()
        );
        let (message, count) = (text(&batch), 5);
        let idle = marmot.descriptors();
        let mut streams: Vec<TcpStream> = (0..count).map(|_| upgrade(marmot)).collect();
        streams.extend((0..count).map(|_| connect(marmot)));
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            let bytes = if number < count { message.as_slice() } else { post.as_bytes() };
            // Answers of 90 MB to be had, as far as the server takes the questions.
            for _ in 0..30 {
                if stream.write_all(bytes).is_err() {
                    break;
                }
            }
        }
        // Nobody has ended them but the server.
        let ended = eventually(LIMIT, || (marmot.descriptors() <= idle + 4).then_some(()));
        assert!(ended.is_some(), "{} connections are not given up", marmot.descriptors() - idle);
    });
}

#[test]
fn a_chatty_job_whose_subscribers_do_not_read() {
    let marmot = Marmot::start(&SMALL.replace("[limits]", "max-output = \"4M\"\n[limits]"));
    let http = marmot.http();
    withstand("subscribers that do not read", marmot, http, 200 << 10, |marmot| {
        let script = r#"let text = "x"; text.pad(1000, "x"); for i in 0..3000 { print(text) }"#;
        let job = marmot.http().call("job.submit", json!([script])).unwrap()["job_id"].clone();
        let subscribe = text(&request(1, "job.subscribe", json!([job])).to_string());
        let streams: Vec<TcpStream> = (0..50)
            .map(|_| {
                let mut stream = upgrade(marmot);
                stream.write_all(&subscribe).unwrap();
                stream
            })
            .collect();
        let ended = marmot.http().call("job.wait", json!([job])).unwrap();
        assert_eq!(ended["state"], "succeeded", "{}", ended["outcome"]["failure"]);
        drop(streams);
    });
}

#[test]
fn five_thousand_idle_websockets() {
    raise_descriptor_limit(12_000);
    let marmot = Marmot::start("drain = \"2s\"");
    let http = marmot.http();
    let count: u64 = 5_000;
    withstand("5,000 idle WebSockets", marmot, http, count * 40, |marmot| {
        let before = marmot.memory();
        let streams: Vec<TcpStream> = (0..count).map(|_| upgrade(marmot)).collect();
        let each = marmot.memory().saturating_sub(before) * 1024 / count;
        eprintln!("5,000 idle WebSockets: {each} bytes each");
        assert!(each < 24 << 10, "{each} bytes each");
        drop(streams);
    });
}

#[test]
fn messages_that_break_the_rules() {
    let marmot = Marmot::start(SMALL);
    let http = marmot.http();
    withstand("broken messages", marmot, http, 60 << 10, |marmot| {
        let large = "x".repeat(70_000);
        for (what, bytes, code) in [
            ("64 MiB announced", frame(0x81, 64 << 20, b"abc"), 1009),
            ("2^63 bytes announced", frame(0x81, 1 << 63, b""), 1009),
            ("too large", text(&large), 1009),
            (
                "too large in parts",
                [frame(0x01, 40_000, &large.as_bytes()[..40_000]), frame(0x80, 40_000, &large.as_bytes()[..40_000])]
                    .concat(),
                1009,
            ),
            ("binary", frame(0x82, 3, b"abc"), 1003),
            ("no UTF-8", frame(0x81, 2, b"\xff\xfe"), 1007),
            ("no mask", vec![0x81, 1, b'x'], 1002),
            ("a reserved bit", frame(0xc1, 1, b"x"), 1002),
            ("a reserved opcode", frame(0x83, 1, b"x"), 1002),
            ("a ping in parts", frame(0x09, 1, b"x"), 1002),
            ("a large ping", frame(0x89, 126, large.as_bytes().get(..126).unwrap()), 1002),
            ("a second beginning", [frame(0x01, 1, b"x"), frame(0x01, 1, b"x")].concat(), 1002),
            ("no beginning", frame(0x80, 1, b"x"), 1002),
        ] {
            for _ in 0..5 {
                let mut stream = upgrade(marmot);
                stream.write_all(&bytes).unwrap();
                assert_eq!(closed_by(&mut stream), Some(code), "{what}");
            }
        }
        // A client that closes is answered.
        let mut stream = upgrade(marmot);
        stream.write_all(&frame(0x88, 2, &1000_u16.to_be_bytes())).unwrap();
        assert_eq!(closed_by(&mut stream), Some(1000));
        // One that sends much too much, and reads only then.
        let mut stream = upgrade(marmot);
        stream.write_all(&frame(0x81, 8 << 20, b"")).unwrap();
        for _ in 0..128 {
            if stream.write_all(&[b'x'; 64 << 10]).is_err() {
                break;
            }
        }
        assert_eq!(closed_by(&mut stream), Some(1009));
    });
}

#[test]
fn fragments_and_pings_without_end() {
    let marmot = Marmot::start(SMALL);
    let http = marmot.http();
    withstand("fragments and pings without end", marmot, http, 60 << 10, |marmot| {
        let until = Instant::now() + Duration::from_secs(2);
        thread::scope(|scope| {
            for (first, again) in [(0x01, 0x00), (0x89, 0x89)] {
                scope.spawn(move || {
                    let mut stream = upgrade(marmot);
                    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
                    let _ = stream.write_all(&frame(first, 0, b""));
                    let many = frame(again, 0, b"").repeat(1_000);
                    while Instant::now() < until && stream.write_all(&many).is_ok() {}
                });
            }
        });
    });
}

#[test]
fn messages_that_are_large_or_deep_within_the_rules() {
    let marmot = Marmot::start("drain = \"2s\"");
    let http = marmot.http();
    withstand("large batches and deep nesting", marmot, http, 120 << 10, |marmot| {
        let http = marmot.http();
        let code = |text: &str| http.say(text)["error"]["code"].clone();
        let batch = Value::from(vec![request(1, "whoami", json!([])); 10_000]).to_string();
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for _ in 0..5 {
            assert_eq!(code(&batch), -32008);
            assert_eq!(code(&deep("[", "]")), -32008);
            assert_eq!(code(&deep("{\"a\":", "}")), -32008);
            assert_eq!(code(&"[".repeat(1_000_000)), -32008);
            assert_eq!(code(&format!("[{}]", "{},".repeat(300_000))), -32700);
            assert_eq!(code(&"\"".repeat(1_000_000)), -32700);
            let number = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"play","params":[{}]}}"#, "9".repeat(900_000));
            assert!(matches!(code(&number).as_i64(), Some(-32602 | -32600)), "{}", code(&number));
        }
        let script = "(".repeat(200_000);
        assert!(matches!(http.call("play", json!([script])).unwrap_err()["code"].as_i64(), Some(-32000)));
    });
}

#[test]
fn wrong_tokens_by_the_thousand() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    secret_file(&folder.path().join("tokens"), "alice alice-token-0123456789\n");
    let marmot = Marmot::start_in(folder, "drain = \"2s\"\ntoken-file = \"FOLDER/tokens\"", &[]);
    let http = marmot.http().token("alice-token-0123456789");
    withstand("wrong tokens", marmot, http, 60 << 10, |marmot| {
        thread::scope(|scope| {
            for thread in 0..2 {
                let http = marmot.http();
                scope.spawn(move || {
                    for number in 0..1_000 {
                        let wrong = http.clone().token(&format!("{thread}-wrong-token-{number:08}"));
                        assert!(matches!(wrong.post("{}").0, 401 | 429));
                    }
                });
            }
        });
        assert!((0..100).all(|_| marmot.try_socket("/ws/?ticket=guess", &[]).is_err()));
        assert!((0..100).all(|_| marmot.try_socket("/ws/", &[("origin", "http://evil.example")]).is_err()));
    });
}

#[test]
fn more_connections_than_there_may_be() {
    let settings = SMALL.replace("[limits]", "[limits]\nconnections = 50");
    let marmot = Marmot::start(&settings);
    let http = marmot.http();
    withstand("more connections than allowed", marmot, http, 60 << 10, |marmot| {
        // The other client has one already, and keeps it.
        let sockets: Vec<TcpStream> = (0..30).map(|_| upgrade(marmot)).collect();
        let mut more: Vec<TcpStream> = (0..100).map(|_| connect(marmot)).collect();
        let mut ended = 0;
        for stream in &mut more {
            let _ = stream.write_all(UPGRADE.as_bytes());
            ended += usize::from(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        }
        assert!((79..=85).contains(&ended), "WebSockets count as connections: {ended} of 100 were refused");
        drop((sockets, more));
    });
}

#[test]
fn as_many_connections_as_there_are_descriptors() {
    let server = Server::start(|_, responder| responder.text(200, "fine"));
    let settings = format!("{}{SMALL}", allow(&server));
    let marmot = Marmot::start_with_descriptors(200, &settings);
    assert!(marmot.log().contains("100 connections"), "it says so: {}", marmot.log());
    let http = marmot.http();
    let script = format!("http_get(\"{}\").text()", server.origin());
    // The client of scripts is made with the first request.
    assert_eq!(http.play(&script), "fine");
    withstand("a process with 200 descriptors", marmot, http, 60 << 10, |marmot| {
        let mut own = marmot.socket();
        let sockets: Vec<TcpStream> = (0..50).map(|_| upgrade(marmot)).collect();
        let more: Vec<TcpStream> = (0..200).map(|_| connect(marmot)).collect();
        let mut streams: Vec<TcpStream> = sockets.into_iter().chain(more).collect();
        // Over a connection that was there before, as all places are taken.
        assert_eq!(own.call("play", json!([script])).unwrap()["value"], "fine");
        for stream in &mut streams {
            rest(stream);
        }
    });
}

#[test]
fn half_open_connections_and_clients_that_are_gone() {
    let marmot = Marmot::start(SMALL);
    let http = marmot.http();
    withstand("half-open connections", marmot, http, 60 << 10, |marmot| {
        let call = text(&request(1, "play", json!(["sleep(0.1); 1"])).to_string());
        let mut streams = Vec::new();
        for number in 0..90 {
            let mut stream = if number % 3 == 0 { connect(marmot) } else { upgrade(marmot) };
            if number % 3 == 2 {
                stream.write_all(&call).unwrap();
            }
            if number % 2 == 0 {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            streams.push(stream);
        }
        // Those that say nothing, not even to a ping, are ended as well.
        for stream in &mut streams {
            rest(stream);
        }
    });
}

#[test]
fn requests_by_the_thousand_on_one_connection() {
    let marmot = Marmot::start(SMALL);
    let http = marmot.http();
    withstand("10,000 requests without reading", marmot, http, 60 << 10, |marmot| {
        let call = request(1, "whoami", json!([])).to_string();
        let post = format!(
            "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
            call.len()
        );
        let (posts, messages) = (post.repeat(10_000), text(&call).repeat(10_000));
        thread::scope(|scope| {
            for (mut stream, bytes) in [(connect(marmot), posts.as_bytes()), (upgrade(marmot), messages.as_slice())] {
                let mut reading = stream.try_clone().unwrap();
                scope.spawn(move || stream.write_all(bytes).expect("it is taken when there is room"));
                scope.spawn(move || {
                    // Not read at first, for less than a connection may be stuck.
                    thread::sleep(Duration::from_millis(500));
                    let (mut answers, mut bytes, mut rest) = (0, vec![0; 64 << 10], Vec::new());
                    while answers < 10_000 {
                        let read = reading.read(&mut bytes).expect("all are answered");
                        assert_ne!(read, 0, "ended after {answers} answers");
                        rest.extend_from_slice(&bytes[..read]);
                        let name = b"\"jsonrpc\"";
                        let mut at = 0;
                        while let Some(found) = rest[at..].windows(name.len()).position(|window| window == name) {
                            answers += 1;
                            at += found + name.len();
                        }
                        rest.drain(..at.max(rest.len().saturating_sub(name.len() - 1)));
                    }
                });
            }
        });
    });
}

#[test]
fn calls_beyond_the_rate_of_one_tenant_do_not_slow_another() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    secret_file(&folder.path().join("tokens"), "alice alice-token-0123456789\nbob bob-token-0123456789\n");
    let settings = "drain = \"2s\"\ntoken-file = \"FOLDER/tokens\"\n[limits]\ncalls-per-second = 500";
    let marmot = Marmot::start_in(folder, settings, &[]);
    let http = marmot.http().token("bob-token-0123456789");
    withstand("calls beyond the rate", marmot, http, 60 << 10, |marmot| {
        let http = marmot.http().token("alice-token-0123456789");
        let until = Instant::now() + Duration::from_secs(2);
        let batch = Value::from(vec![request(1, "whoami", json!([])); 50]).to_string();
        let (mut done, mut refused) = (0, 0);
        while Instant::now() < until {
            for answer in http.say(&batch).as_array().unwrap() {
                match answer["error"]["code"].as_i64() {
                    None => done += 1,
                    code => {
                        assert_eq!(code, Some(-32008));
                        refused += 1;
                    }
                }
            }
        }
        // A second's worth at once, and then as many in each.
        assert!(done <= 2_000 && refused > 0, "{done} done and {refused} refused");
    });
}
