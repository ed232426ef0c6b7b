//! What a handler answers with: well-formed pieces, raw bytes, and the ways to misbehave. Decides nothing itself;
//! framing that is missing or wrong stays so.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::canned::sys;
use super::request::{Request, Wire};

/// The answering side of one request.
///
/// A handler that returns an error closes the connection; so does one that leaves a request body unread.
pub struct Responder<'a> {
    wire: &'a mut Wire,
    no_body: bool,
    close: bool,
    pub(super) ending: Ending,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    /// Wait for another request.
    KeepAlive,
    /// The same, but close without a word after that much idleness.
    IdleLimit(Duration),
    /// The same, but close without an answer as soon as the next request is there.
    DropNext,
    Close,
    Reset,
}

impl<'a> Responder<'a> {
    pub(super) fn new(wire: &'a mut Wire, request: &Request) -> Self {
        let close = request.wants_close();
        let ending = if close { Ending::Close } else { Ending::KeepAlive };
        Self { wire, no_body: request.method == "HEAD", close, ending }
    }

    /// A whole response with its Content-Length; no body is sent for HEAD, 204 and 304.
    pub fn send(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let length = body.len().to_string();
        let framed: Vec<_> = match status {
            204 | 304 => headers.to_vec(),
            _ => headers.iter().copied().chain([("Content-Length", length.as_str())]).collect(),
        };
        let mut response = self.render_head(status, &framed);
        if !matches!(status, 204 | 304) && !self.no_body {
            response.extend_from_slice(body);
        }
        self.raw(&response)
    }

    pub fn text(&mut self, status: u16, body: &str) -> io::Result<()> {
        self.send(status, &[("Content-Type", "text/plain; charset=utf-8")], body.as_bytes())
    }

    pub fn json(&mut self, status: u16, body: &str) -> io::Result<()> {
        self.send(status, &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// A head with exactly these headers: framing is the caller's. `Connection: close` is added where it applies.
    pub fn head(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let head = self.render_head(status, headers);
        self.raw(&head)
    }

    /// Body bytes as they are, unless the request was HEAD.
    pub fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.no_body { Ok(()) } else { self.raw(bytes) }
    }

    /// An informational response before the final one.
    pub fn interim(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let head = render(status, headers);
        self.raw(&head)
    }

    /// Starts a chunked response; follow with [`chunk`](Self::chunk) and [`end_chunks`](Self::end_chunks).
    pub fn start_chunked(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let framed: Vec<_> = headers.iter().copied().chain([("Transfer-Encoding", "chunked")]).collect();
        self.head(status, &framed)
    }

    /// One chunk, on the wire at once. An empty one is left out: it would end the body.
    pub fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        self.body(&framed)
    }

    pub fn end_chunks(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        let mut end = String::from("0\r\n");
        push_fields(&mut end, trailers);
        self.body(end.as_bytes())
    }

    /// Bytes as they are, on the wire at once.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.conn.write_all(bytes)
    }

    /// Answers `Expect: 100-continue`; for routes whose body is left to them.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.interim(100, &[])
    }

    /// For routes whose body is left to them: hands what has arrived, `max` bytes of the wire or less, to `sink`.
    /// False when the body has ended.
    pub fn read_body(&mut self, max: usize, sink: impl FnMut(&[u8])) -> io::Result<bool> {
        self.wire.read_part(max, sink)
    }

    /// Keeps the kernel from taking more than about twice `bytes` of the upload in.
    pub fn limit_receive_buffer(&mut self, bytes: i32) {
        sys::set_receive_buffer(&self.wire.conn, bytes);
    }

    /// Waits; fails as soon as the client closes or the server stops.
    pub fn sleep(&mut self, time: Duration) -> io::Result<()> {
        match self.wire.conn.wait_hangup(time) {
            true => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client closed")),
            false => Ok(()),
        }
    }

    /// Waits until the client closes, without reading, and tells how long that took. Always returns an error or
    /// the time: a server that stops ends the wait with an error.
    pub fn wait_client_close(&mut self) -> io::Result<Duration> {
        let start = Instant::now();
        while !self.wire.conn.wait_hangup(Duration::from_secs(60)) {}
        match self.wire.conn.stop().is_raised() {
            true => Err(io::Error::new(io::ErrorKind::Interrupted, "the server stops")),
            false => Ok(start.elapsed()),
        }
    }

    /// Never answers more: waits until the client closes, which [`Server::closes`](super::Server::closes) then tells.
    pub fn stall(&mut self) -> io::Result<()> {
        self.wait_client_close()?;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client closed"))
    }

    /// Closes after this response, and says so in heads still to be sent.
    pub fn announce_close(&mut self) {
        self.close = true;
        self.ending = Ending::Close;
    }

    /// Closes when the handler returns, without having said so.
    pub fn close(&mut self) {
        self.ending = Ending::Close;
    }

    /// Resets the connection when the handler returns: the client sees ECONNRESET.
    pub fn reset(&mut self) {
        self.ending = Ending::Reset;
    }

    /// Closes the connection, without having said so, once it was idle for `limit` after this response.
    pub fn close_when_idle(&mut self, limit: Duration) {
        self.ending = Ending::IdleLimit(limit);
    }

    /// Closes the connection without an answer when the next request arrives on it.
    pub fn drop_next(&mut self) {
        self.ending = Ending::DropNext;
    }

    /// Ends our side only; the client may still write.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.ending = Ending::Close;
        self.wire.conn.shutdown(Shutdown::Write)
    }

    fn render_head(&self, status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
        match self.close && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
            true => render(status, &headers.iter().copied().chain([("Connection", "close")]).collect::<Vec<_>>()),
            false => render(status, headers),
        }
    }
}

fn render(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    push_fields(&mut head, headers);
    head.into_bytes()
}

/// The fields and the empty line after them.
fn push_fields(text: &mut String, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        write!(text, "{name}: {value}\r\n").expect("a string takes all");
    }
    text.push_str("\r\n");
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Whatever",
    }
}
