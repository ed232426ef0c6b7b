//! Handlers at their edges: lengths that are wrong, early ends, parked both ways, over HTTP/2. The rest is in `handler.rs`.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use marmot::config::{CaCertificates, VersionNegotiation};
use marmot::error::TimeoutPhase;
use marmot::handler::{Control, Decoder, Encoder, Handler, Next, Ready};
use marmot::prelude::*;
use marmot::{Error, ErrorKind, Response};

use crate::support::{Nginx, Server, pattern};

const LONG: Duration = Duration::from_secs(10);

/// Sends `upload` in pieces and reads in pieces, parking in between as told.
struct Pieces {
    first: Next,
    control: Sender<Control>,
    upload: Vec<u8>,
    sent: usize,
    /// The most to write or read in one call.
    piece: usize,
    /// Park after each so many calls; 0 is never.
    park: usize,
    calls: usize,
    on_timeout: Next,
    status: u16,
    body: Vec<u8>,
    ended: bool,
    errors: Vec<Error>,
}

impl Pieces {
    fn new(first: Next) -> (Self, Receiver<Control>) {
        let (control, controls) = channel();
        let handler = Self {
            first,
            control,
            upload: Vec::new(),
            sent: 0,
            piece: usize::MAX,
            park: 0,
            calls: 0,
            on_timeout: Next::remove(),
            status: 0,
            body: Vec::new(),
            ended: false,
            errors: Vec::new(),
        };
        (handler, controls)
    }

    fn next(&mut self, otherwise: Next) -> Next {
        self.calls += 1;
        if self.park > 0 && self.calls.is_multiple_of(self.park) { Next::wait() } else { otherwise }
    }

    fn kinds(&self) -> Vec<ErrorKind> {
        self.errors.iter().map(Error::kind).collect()
    }
}

impl Handler for Pieces {
    fn on_request(&mut self, _: &mut Request<()>, control: &Control) -> Next {
        let _ = self.control.send(control.clone());
        self.first
    }

    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        let end = self.upload.len().min(self.sent.saturating_add(self.piece));
        self.sent += encoder.try_write(&self.upload[self.sent..end]).unwrap_or(0);
        if self.sent == self.upload.len() {
            encoder.end();
            return self.next(Next::read());
        }
        self.next(Next::read_and_write())
    }

    fn on_response(&mut self, response: Response<()>) -> Next {
        self.status = response.status().as_u16();
        self.next(Next::read())
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        self.ended |= decoder.is_end();
        let amount = decoder.data().len().min(self.piece);
        self.body.extend_from_slice(&decoder.data()[..amount]);
        decoder.consume(amount);
        self.next(Next::read())
    }

    fn on_error(&mut self, error: Error) -> Next {
        self.errors.push(error);
        self.on_timeout
    }
}

fn post(url: String) -> Request<()> {
    Request::post(url).body(()).unwrap()
}

#[test]
fn a_body_that_is_not_as_long_as_declared_is_an_error() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let send = |declared: u64| {
        let (mut handler, _controls) = Pieces::new(Next::write());
        handler.upload = pattern(1000);
        let request = Request::post(server.url("/echo")).header("content-length", declared).body(()).unwrap();
        client.drive(request, handler).wait().unwrap()
    };
    assert_eq!(send(1001).kinds(), [ErrorKind::RequestBody]);
    assert_eq!(send(1000).body.len(), 1000);
    let longer = send(999);
    assert!(longer.body.len() == 999 || longer.kinds() == [ErrorKind::RequestBody], "never more than declared");
}

#[test]
fn a_handler_that_is_done_at_once_sends_nothing() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for next in [Next::end(), Next::remove()] {
        for path in ["/get", "/stall-head"] {
            let (handler, _controls) = Pieces::new(next);
            let handler = client.drive(Request::get(server.url(path)).body(()).unwrap(), handler).wait().unwrap();
            assert_eq!((handler.status, handler.ended, handler.errors.len()), (0, false, 0));
        }
    }
    assert_eq!(client.get(server.url("/text")).unwrap().status(), 200);
}

#[test]
fn a_parked_upload_learns_of_its_time_and_goes_on_or_not() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for (on_timeout, body) in [(Next::write(), &b"after all"[..]), (Next::remove(), b"")] {
        let (mut handler, _controls) = Pieces::new(Next::wait().timeout(Duration::from_millis(150)));
        handler.upload = b"after all".to_vec();
        handler.on_timeout = on_timeout;
        let start = Instant::now();
        let handler = client.drive(post(server.url("/echo")), handler).wait().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(150));
        assert_eq!(handler.errors.len(), 1);
        assert_eq!(handler.errors[0].timeout_phase(), Some(TimeoutPhase::Handler));
        assert_eq!(handler.body, body);
    }
}

#[test]
fn the_clients_own_time_limit_ends_a_parked_transfer() {
    let server = Server::faults();
    let client = HttpClient::builder().timeout(Duration::from_millis(200)).build().unwrap();
    for first in [Next::wait(), Next::read()] {
        let (mut handler, _controls) = Pieces::new(first);
        handler.park = 1;
        let handler = client.drive(post(server.url("/bytes/1000000")), handler).wait().unwrap();
        assert_eq!(handler.kinds(), [ErrorKind::Timeout]);
        assert_ne!(handler.errors[0].timeout_phase(), Some(TimeoutPhase::Handler));
    }
}

#[test]
fn a_parked_handler_can_be_ended_from_afar() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for ready in [Ready::end(), Ready::remove()] {
        let (handler, controls) = Pieces::new(Next::wait());
        let driving = client.drive(post(server.url("/echo")), handler);
        let control = controls.recv().unwrap();
        control.ready(ready).unwrap();
        let handler = driving.wait().unwrap();
        assert_eq!((handler.status, handler.ended, handler.errors.len()), (0, false, 0));
        assert!(control.is_over());
        assert_eq!(control.ready(Ready::read()).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn dropping_a_parked_transfer_closes_it() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (handler, controls) = Pieces::new(Next::wait());
    let driving = client.drive(post(server.url("/echo")), handler);
    assert!(server.wait_for_heads(1, LONG));
    drop(driving);
    assert!(server.wait_open(0, LONG));
    let control = controls.recv().unwrap();
    let end = Instant::now() + LONG;
    while !control.is_over() && Instant::now() < end {
        thread::yield_now();
    }
    assert!(control.is_over());
}

#[test]
fn an_early_response_reaches_a_handler_whose_upload_is_parked() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (mut handler, controls) = Pieces::new(Next::read_and_write());
    handler.upload = pattern(1 << 20);
    handler.piece = 1000;
    handler.park = 1;
    let driving = client.drive(post(server.url("/early-response")), handler);
    let control = controls.recv().unwrap();
    // Reading is all that is asked for from now on.
    while control.ready(Ready::read()).is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
    let handler = driving.wait().unwrap();
    assert_eq!((handler.status, handler.kinds()), (413, vec![]));
    assert!(handler.ended && handler.sent < 1 << 20);
}

/// Pieces of an odd size, parked all the time, both ways.
#[track_caller]
fn check_pieces(client: &HttpClient, request: Request<()>, upload: usize, expected: &[u8], what: &str) {
    for (piece, park) in [(777, 5), (4099, 1), (100_000, 2)] {
        let (mut handler, controls) = Pieces::new(if upload > 0 { Next::wait() } else { Next::read() });
        (handler.upload, handler.piece, handler.park) = (pattern(upload), piece, park);
        let driving = client.drive(request.clone(), handler);
        let control = controls.recv().unwrap();
        let ready = thread::spawn(move || {
            while control.ready(Ready::read_and_write()).is_ok() {
                thread::yield_now();
            }
        });
        let handler = driving.wait().unwrap();
        ready.join().unwrap();
        assert!(handler.errors.is_empty(), "{what} {piece} {park}: {:?}", handler.errors);
        assert!(handler.ended && handler.body == expected, "{what} {piece} {park}: {} bytes", handler.body.len());
    }
}

#[test]
fn pieces_between_pauses_arrive_whole_over_http1() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let get = |path: &str| Request::get(server.url(path)).body(()).unwrap();
    check_pieces(&client, get("/bytes/600000"), 0, &pattern(600_000), "length");
    check_pieces(&client, get("/chunked/600000/12345"), 0, &pattern(600_000), "chunked");
    check_pieces(&client, get("/close-delimited/600000"), 0, &pattern(600_000), "closed");
    check_pieces(&client, post(server.url("/echo")), 400_000, &pattern(400_000), "echo");
}

#[test]
fn pieces_between_pauses_arrive_whole_over_tls_and_http2() {
    let nginx = Nginx::start().unwrap_or_else(|why| panic!("{why}"));
    nginx.add_file("pieces.bin", &pattern(600_000));
    for version in [VersionNegotiation::http11(), VersionNegotiation::http2()] {
        let client = HttpClient::builder()
            .ca_certificates(CaCertificates::file(nginx.ca_pem_path()))
            .version_negotiation(version)
            .build()
            .unwrap();
        let get = Request::get(nginx.tls_url("/pieces.bin")).body(()).unwrap();
        check_pieces(&client, get, 0, &pattern(600_000), &format!("{version:?}"));
        check_pieces(&client, post(nginx.tls_url("/upload")), 400_000, b"400000", &format!("{version:?} upload"));
    }
}
