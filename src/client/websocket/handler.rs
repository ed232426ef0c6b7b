//! The request handler of a WebSocket: libcurl's bytes on one side, the session and the caller's queues on the other.

use std::time::{Duration, Instant};

use http::{Request, Response, Uri};

use super::handshake::Expected;
use super::link::Port;
use super::options::Options;
use super::session::{Due, Session};
use crate::error::{Error, ErrorKind, TimeoutPhase};
use crate::handler::{Control, Decoder, Encoder, Handler, Next};

/// One more handler, with no privilege.
pub(super) struct Talk {
    port: Port,
    uri: Uri,
    expected: Expected,
    options: Options,
    /// How long opening may take.
    limit: Option<Duration>,
    /// Present after the switch.
    session: Option<Session>,
    /// The caller has more messages to read than are held.
    full: bool,
    /// There is something to write, or something was written and it is not known to be out.
    writing: bool,
}

impl Talk {
    pub(super) fn new(port: Port, uri: Uri, expected: Expected, options: Options, limit: Option<Duration>) -> Self {
        Self { port, uri, expected, options, limit, session: None, full: false, writing: false }
    }

    fn next(&self, now: Instant) -> Next {
        let Some(session) = &self.session else { return Next::read() };
        let deaf = session.is_deaf();
        let close_by = self.port.close_by().filter(|_| !deaf);
        let next = Next::go(deaf || !self.full, self.writing);
        match [session.deadline(), close_by].into_iter().flatten().min() {
            Some(deadline) => next.timeout(deadline.saturating_duration_since(now)),
            None => next,
        }
    }

    fn end(&mut self, result: Result<(), Error>) -> Next {
        self.port.finish(result.map_err(|error| error.with_url(&self.uri)));
        Next::remove()
    }

    fn is_deaf(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_deaf)
    }

    fn on_time(&mut self) -> Next {
        let now = Instant::now();
        let Some(session) = &mut self.session else {
            return self.end(Err(Error::timeout(TimeoutPhase::Response).with_detail("opening the WebSocket")));
        };
        if !session.is_deaf() && self.port.close_by().is_some_and(|at| at <= now) {
            return self.end(Err(Error::timeout(TimeoutPhase::Close)));
        }
        self.full = self.port.is_full();
        match session.on_time(now, self.full) {
            Due::Nothing => {}
            Due::Write => self.writing = true,
            Due::PongTimeout => return self.end(Err(Error::timeout(TimeoutPhase::Pong))),
            Due::End => return self.end(Ok(())),
        }
        self.next(now)
    }
}

impl Handler for Talk {
    fn on_request(&mut self, _request: &mut Request<()>, _control: &Control) -> Next {
        match self.limit {
            Some(limit) => Next::read().timeout(limit),
            None => Next::read(),
        }
    }

    fn on_response(&mut self, response: Response<()>) -> Next {
        if let Err(error) = self.expected.check(&response) {
            return self.end(Err(error));
        }
        let now = Instant::now();
        self.session = Some(Session::new(&self.options, now));
        self.port.open(response);
        self.next(now)
    }

    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        let now = Instant::now();
        let Some(session) = &mut self.session else { return Next::read() };
        if session.is_done_sending() {
            let both = session.is_deaf();
            encoder.end();
            self.writing = false;
            self.port.end_sending();
            if both {
                self.port.finish(Ok(()));
            }
            return self.next(now);
        }
        let port = &mut self.port;
        match session.write(encoder.room(), || port.next(), now) {
            Ok(0) => {
                if encoder.unsent() == 0 {
                    self.port.flushed();
                }
                self.writing = false;
            }
            Ok(filled) => {
                encoder.advance(filled);
                self.writing = true;
            }
            Err(error) => return self.end(Err(error)),
        }
        self.next(now)
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        let now = Instant::now();
        if decoder.is_end() {
            let result = if self.is_deaf() {
                Ok(())
            } else {
                Err(Error::new(ErrorKind::Io).with_detail("the server closed the connection without a close frame"))
            };
            return self.end(result);
        }
        let Some(session) = &mut self.session else { return Next::remove() };
        let mut data = decoder.data();
        let here = data.len();
        self.full = false;
        while !self.full || session.is_deaf() {
            match session.receive(&mut data, now) {
                Ok(Some(message)) => {
                    let close = message.is_close();
                    self.full = !self.port.push(message);
                    if close {
                        self.port.end_receiving(Ok(()));
                    }
                }
                Ok(None) => break,
                Err(error) => self.port.end_receiving(Err(error.with_url(&self.uri))),
            }
        }
        decoder.consume(here - data.len());
        self.writing |= session.wants_to_write();
        if session.is_deaf() && session.is_done_sending() && !self.writing {
            // This side's close was out before, and is now answered.
            self.port.finish(Ok(()));
        }
        self.next(now)
    }

    fn on_error(&mut self, error: Error) -> Next {
        if error.timeout_phase() == Some(TimeoutPhase::Handler) {
            return self.on_time();
        }
        // What happens to a connection that both sides have closed is no news. A server that ends TLS without saying so
        // looks like one that has not closed: libcurl with rustls loses what it received together with such an end, the
        // answer to our close most likely.
        let lost_answer = error.kind() == ErrorKind::Io
            && self.uri.scheme_str() == Some("wss")
            && self.session.as_ref().is_some_and(Session::is_done_sending);
        let result = if lost_answer || self.is_deaf() { Ok(()) } else { Err(error) };
        self.end(result)
    }
}
