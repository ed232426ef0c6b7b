//! Handlers of one's own, run with `drive`. The rules without a transfer are tested beside the machine itself.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use marmot::error::TimeoutPhase;
use marmot::handler::{Control, Decoder, Encoder, Handler, Head, Next, Ready};
use marmot::prelude::*;
use marmot::{Error, ErrorKind, Response};

use crate::alone::{cpu, is_alone};
use crate::support::{RawServer, Server, pattern};

type On<T> = Box<dyn FnMut(T) -> Next + Send>;

/// A handler out of closures, which notes what happens.
struct Probe {
    first: Next,
    control: mpsc::Sender<Control>,
    writable: Box<dyn FnMut(&mut Encoder<'_>) -> Next + Send>,
    response: On<Response<()>>,
    readable: Box<dyn FnMut(&mut Decoder<'_>) -> Next + Send>,
    error: On<Error>,
    log: Vec<String>,
    body: Vec<u8>,
}

fn probe(first: Next) -> (Probe, mpsc::Receiver<Control>) {
    let (control, controls) = mpsc::channel();
    let probe = Probe {
        first,
        control,
        writable: Box::new(|encoder| {
            encoder.end();
            Next::read()
        }),
        response: Box::new(|_| Next::read()),
        readable: Box::new(|decoder| {
            decoder.consume(usize::MAX);
            Next::read()
        }),
        error: Box::new(|_| Next::remove()),
        log: Vec::new(),
        body: Vec::new(),
    };
    (probe, controls)
}

impl Handler for Probe {
    fn on_request(&mut self, _request: &mut Request<()>, control: &Control) -> Next {
        let _ = self.control.send(control.clone());
        self.first
    }

    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        (self.writable)(encoder)
    }

    fn on_response(&mut self, response: Response<()>) -> Next {
        self.log.push(format!("response {}", response.status().as_u16()));
        (self.response)(response)
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        if decoder.is_end() {
            self.log.push("end".into());
            if let Some(trailers) = decoder.trailers() {
                self.log.push(format!("{} trailers", trailers.len()));
            }
        }
        let before = decoder.data();
        let next = (self.readable)(decoder);
        self.body.extend_from_slice(&before[..before.len() - decoder.data().len()]);
        next
    }

    fn on_error(&mut self, error: Error) -> Next {
        self.log.push(match error.timeout_phase() {
            Some(phase) => format!("{:?} {phase:?}", error.kind()),
            None => format!("{:?}", error.kind()),
        });
        (self.error)(error)
    }
}

fn get(url: String) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

#[test]
fn a_download_is_told_from_head_to_end_and_the_handler_comes_back() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (handler, _) = probe(Next::read());
    let handler = client.drive(get(server.url("/bytes/100000")), handler).wait().unwrap();
    assert_eq!(handler.log, ["response 200", "end"]);
    assert!(handler.body == pattern(100_000));

    let (handler, _) = probe(Next::read());
    let handler = block_on(client.drive(get(server.url("/trailers")), handler)).unwrap();
    assert_eq!(handler.log, ["response 200", "end", "2 trailers"]);
}

#[test]
fn an_upload_waits_for_another_thread_and_burns_nothing_meanwhile() {
    if !is_alone("handler::an_upload_waits_for_another_thread_and_burns_nothing_meanwhile") {
        return;
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for first in [Next::wait(), Next::write()] {
        let pieces = Arc::new(Mutex::new(Vec::<&[u8]>::new()));
        let source = pieces.clone();
        let ended = Arc::new(Mutex::new(false));
        let is_ended = ended.clone();
        let (mut handler, controls) = probe(first);
        handler.writable = Box::new(move |encoder| {
            if let Some(piece) = source.lock().unwrap().pop() {
                assert_eq!(encoder.try_write(piece), Some(piece.len()));
                return Next::write();
            }
            if *is_ended.lock().unwrap() {
                encoder.end();
                return Next::read();
            }
            Next::wait()
        });
        let request = Request::post(server.url("/echo")).body(()).unwrap();
        let before = server.requests().len();
        let driving = client.drive(request, handler);
        let control = controls.recv().unwrap();
        assert!(server.wait_for_heads(before + 1, Duration::from_secs(5)), "the head goes out while the body waits");
        let begun = cpu();
        thread::sleep(Duration::from_millis(300));
        assert!(cpu() - begun <= Duration::from_millis(50), "a parked transfer costs nothing");
        pieces.lock().unwrap().push(b"from afar");
        control.ready(Ready::write()).unwrap();
        thread::sleep(Duration::from_millis(20));
        *ended.lock().unwrap() = true;
        control.ready(Ready::write()).unwrap();
        let handler = driving.wait().unwrap();
        assert_eq!(handler.body, b"from afar");
        assert_eq!(handler.log, ["response 200", "end"]);
        assert_eq!(control.ready(Ready::read()).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn a_download_that_waits_is_held_and_goes_on() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (mut handler, controls) = probe(Next::read());
    handler.response = Box::new(|_| Next::wait());
    let driving = client.drive(get(server.url("/bytes/300000")), handler);
    let control = controls.recv().unwrap();
    thread::sleep(Duration::from_millis(100));
    control.ready(Ready::read()).unwrap();
    let handler = driving.wait().unwrap();
    assert!(handler.body == pattern(300_000));
    assert_eq!(handler.log, ["response 200", "end"]);
}

#[test]
fn a_complete_response_is_held_for_a_handler_that_waits() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (mut handler, controls) = probe(Next::read());
    handler.response = Box::new(|_| Next::wait());
    let mut driving = client.drive(get(server.url("/no-content")), handler);
    let control = controls.recv().unwrap();
    thread::sleep(Duration::from_millis(100));
    let waker = std::task::Waker::noop();
    let poll = std::pin::Pin::new(&mut driving).poll(&mut std::task::Context::from_waker(waker));
    assert!(poll.is_pending(), "the end waits too");
    control.ready(Ready::read()).unwrap();
    assert_eq!(driving.wait().unwrap().log, ["response 204", "end"]);
}

#[test]
fn small_reads_with_waits_between_lose_and_repeat_nothing() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (mut handler, controls) = probe(Next::read());
    let mut calls = 0;
    handler.readable = Box::new(move |decoder| {
        calls += 1;
        let mut buffer = [0; 7001];
        let _ = decoder.try_read(&mut buffer);
        if calls % 3 == 0 { Next::wait() } else { Next::read() }
    });
    let driving = client.drive(get(server.url("/bytes/1048576")), handler);
    let control = controls.recv().unwrap();
    while control.ready(Ready::read()).is_ok() {
        thread::yield_now();
    }
    assert!(driving.wait().unwrap().body == pattern(1 << 20));
}

#[test]
fn one_byte_at_a_time_arrives_whole() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let data = pattern(5000);
    let mut rest = data.clone().into_iter();
    let (mut handler, _) = probe(Next::read_and_write());
    handler.writable = Box::new(move |encoder| match rest.next() {
        Some(byte) => {
            assert_eq!(encoder.try_write(&[byte]), Some(1));
            Next::read_and_write()
        }
        None => {
            encoder.end();
            Next::read()
        }
    });
    let request = Request::put(server.url("/echo")).header("content-length", 5000).body(()).unwrap();
    let handler = client.drive(request, handler).wait().unwrap();
    assert!(handler.body == data);
    assert_eq!(server.last_request().header("content-length"), Some("5000"));
}

#[test]
fn a_timeout_is_told_and_the_handler_may_go_on() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let short = Duration::from_millis(150);
    let (mut handler, _) = probe(Next::read().timeout(short));
    let mut timeouts = 0;
    handler.error = Box::new(move |error| {
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Handler));
        timeouts += 1;
        if timeouts < 3 { Next::read().timeout(short) } else { Next::read() }
    });
    let start = Instant::now();
    let handler = client.drive(get(server.url("/delay/800")), handler).wait().unwrap();
    assert_eq!(&handler.log[..4], ["Timeout Handler", "Timeout Handler", "Timeout Handler", "response 200"]);
    assert!(start.elapsed() >= Duration::from_millis(800));
}

#[test]
fn end_saves_a_connection_and_remove_closes_it() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for (next, path, connections) in
        [(Next::end(), "/bytes/5000", 1), (Next::end(), "/bytes/100", 1), (Next::remove(), "/stall/5000", 1)]
    {
        let (mut handler, _) = probe(Next::read());
        handler.response = Box::new(move |_| next);
        let handler = client.drive(get(server.url(path)), handler).wait().unwrap();
        assert_eq!(handler.log, ["response 200"], "{path}");
        assert_eq!(server.accepted(), connections);
    }
    assert!(server.wait_open(0, Duration::from_secs(2)), "removed means closed");
}

/// Keeps the head as it came.
#[derive(Default)]
struct Keeps {
    head: Option<Head>,
    failed: Option<Error>,
}

impl Handler for Keeps {
    fn on_request(&mut self, _: &mut Request<()>, _: &Control) -> Next {
        Next::read()
    }
    fn on_head(&mut self, head: Head) -> Result<Next, Error> {
        self.head = Some(head);
        Ok(Next::read())
    }
    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        decoder.consume(usize::MAX);
        Next::read()
    }
    fn on_error(&mut self, error: Error) -> Next {
        self.failed = Some(error);
        Next::remove()
    }
}

#[test]
fn a_head_can_be_read_later_and_elsewhere() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let handler = client.drive(get(server.url("/bytes/7")), Keeps::default()).wait().unwrap();
    let head = handler.head.unwrap();
    assert_eq!((head.status().as_u16(), head.body_length()), (200, Some(7)));
    let response = head.into_response().unwrap();
    assert_eq!(response.headers()["content-length"], "7");
    assert_eq!(response.effective_uri().unwrap().path(), "/bytes/7");
}

#[test]
fn a_head_that_cannot_be_read_is_an_error_where_it_is_read() {
    let server = RawServer::start(|mut conn, _, _| {
        let _ = conn.read(&mut [0; 4096]);
        let _ = conn.write_all(b"HTTP/1.1 200 OK\r\nBad name: 1\r\nContent-Length: 2\r\n\r\nhi");
    });
    let client = HttpClient::new().unwrap();
    let (handler, _) = probe(Next::read());
    let handler = client.drive(get(server.url("/")), handler).wait().unwrap();
    assert_eq!(handler.log, ["ProtocolViolation"]);

    let handler = client.drive(get(server.url("/")), Keeps::default()).wait().unwrap();
    assert!(handler.failed.is_none());
    let error = handler.head.unwrap().into_response().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProtocolViolation);
    assert_eq!(error.url(), Some(server.url("/").as_str()));
}

/// Reads no head and minds no response.
struct Counts(usize);

impl Handler for Counts {
    fn on_request(&mut self, _: &mut Request<()>, _: &Control) -> Next {
        Next::read()
    }
    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        self.0 += decoder.data().len();
        decoder.consume(usize::MAX);
        Next::read()
    }
}

#[test]
fn a_handler_that_minds_no_head_is_given_the_body() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let handler = client.drive(get(server.url("/bytes/70000")), Counts(0)).wait().unwrap();
    assert_eq!(handler.0, 70_000);
}

#[test]
fn a_panic_in_any_method_ends_its_own_transfer_only() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let mut bystander = client.get(server.url("/slow-drip/40/20")).unwrap();
    for method in ["request", "writable", "response", "readable", "error"] {
        struct Panicking(&'static str);
        impl Panicking {
            fn may(&self, method: &str) {
                assert!(method != self.0, "on purpose");
            }
        }
        impl Handler for Panicking {
            fn on_request(&mut self, _: &mut Request<()>, _: &Control) -> Next {
                self.may("request");
                let next = Next::read_and_write();
                if self.0 == "error" { next.timeout(Duration::from_millis(1)) } else { next }
            }
            fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
                self.may("writable");
                encoder.end();
                Next::read().timeout(Duration::from_millis(if self.0 == "error" { 1 } else { 10_000 }))
            }
            fn on_response(&mut self, _: Response<()>) -> Next {
                self.may("response");
                Next::read()
            }
            fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
                self.may("readable");
                decoder.consume(usize::MAX);
                Next::read()
            }
            fn on_error(&mut self, _: Error) -> Next {
                self.may("error");
                Next::remove()
            }
        }
        let path = if method == "error" { "/delay/5000" } else { "/echo" };
        let request = Request::post(server.url(path)).body(()).unwrap();
        let Err(error) = client.drive(request, Panicking(method)).wait() else { panic!("{method} should fail") };
        assert_eq!(error.kind(), ErrorKind::HandlerPanicked, "{method}");
    }
    assert_eq!(bystander.bytes().unwrap().len(), 40, "the other transfer went on");
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
}

#[test]
fn what_never_starts_is_told_to_the_handler() {
    let client = HttpClient::new().unwrap();
    for (url, kind) in [
        ("http://127.0.0.1:1/", "ConnectionFailed"),
        ("ftp://127.0.0.1/", "InvalidRequest"),
        ("/relative", "InvalidRequest"),
    ] {
        let (handler, _) = probe(Next::read());
        let handler = client.drive(get(url.to_owned()), handler).wait().unwrap();
        assert_eq!(handler.log, [kind]);
    }
    client.shutdown(Duration::ZERO);
    let (handler, _) = probe(Next::read());
    let handler = client.drive(get("http://127.0.0.1:1/".to_owned()), handler).wait().unwrap();
    assert_eq!(handler.log, ["ClientShutDown"]);
}

#[test]
fn dropping_the_future_ends_the_transfer() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (handler, _) = probe(Next::read());
    let driving = client.drive(get(server.url("/stall-head")), handler);
    assert!(server.wait_for_heads(1, Duration::from_secs(5)));
    drop(driving);
    assert!(server.wait_open(0, Duration::from_secs(2)));
}

#[test]
fn the_request_can_be_changed_when_it_starts() {
    struct Stamp;
    impl Handler for Stamp {
        fn on_request(&mut self, request: &mut Request<()>, _: &Control) -> Next {
            request.headers_mut().insert("x-stamp", "late".parse().unwrap());
            Next::read()
        }
        fn on_response(&mut self, _: Response<()>) -> Next {
            Next::end()
        }
        fn on_response_readable(&mut self, _: &mut Decoder<'_>) -> Next {
            Next::end()
        }
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    assert!(client.drive(get(server.url("/get")), Stamp).wait().is_ok());
    assert_eq!(server.last_request().header("x-stamp"), Some("late"));
}
