//! Requests as they came on the wire, and the reading of them. Lenient on purpose: what a client wrongly sends must
//! be recorded, not refused. Answers nothing.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::canned::chunked::ChunkDecoder;
use super::raw::Conn;

/// Longest request head that is taken.
const HEAD_LIMIT: usize = 4 * 1024 * 1024;

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// As sent: path and query, not decoded.
    pub target: String,
    /// For example `HTTP/1.1`.
    pub version: String,
    /// In the order and case of the wire, with duplicates.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The raw bytes of the head, with its last empty line.
    pub head: Vec<u8>,
    /// The body without its framing, as far as it was read.
    pub body: Arc<Vec<u8>>,
    pub body_state: BodyState,
    /// What followed a chunked body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Which accepted connection it came on, counted from 0.
    pub connection: usize,
    /// When the head was complete.
    pub at: Instant,
}

/// How far the body of a recorded request was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// Being read now.
    Pending,
    /// Read to its end.
    Whole,
    /// Left to the route, which may never read it.
    Left,
    /// The client went away, or the chunked coding is malformed.
    Failed,
}

impl Request {
    pub(super) fn parse(head: Vec<u8>, connection: usize) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let mut words = first.splitn(3, ' ').map(str::to_owned);
        let (method, target, version) = (words.next(), words.next(), words.next());
        Self {
            method: method.unwrap_or_default(),
            target: target.unwrap_or_default(),
            version: version.unwrap_or_default(),
            headers: lines.filter(|line| !line.is_empty()).map(parse_field).collect(),
            head,
            body: Arc::default(),
            body_state: BodyState::Pending,
            trailers: Vec::new(),
            connection,
            at: Instant::now(),
        }
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The decoded pairs of the query, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        self.target.split_once('?').map(|(_, query)| parse_query(query)).unwrap_or_default()
    }

    /// The first value of that name in the query.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The first header of that name, in any case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers of that name, in order.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.header_values(name).next().is_some()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the comma-separated list in that header holds `token`.
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.header_values(name)
            .any(|value| String::from_utf8_lossy(value).split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    }

    pub(super) fn is_http(&self) -> bool {
        self.version.starts_with("HTTP/1.")
    }

    pub(super) fn wants_close(&self) -> bool {
        self.has_token("connection", "close") || self.version != "HTTP/1.1"
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.has_token("expect", "100-continue") && self.version == "HTTP/1.1"
    }
}

/// Decodes the pairs of a query or form.
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| String::from_utf8_lossy(&percent_decode(&text.replace('+', " "))).into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Decodes `%XX`; leaves what is not that as it is.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

/// RFC 4648, section 4, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= group.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

fn parse_field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon.map_or((line, &b""[..]), |colon| (&line[..colon], &line[colon + 1..]));
    // Only blanks are trimmed: a stray CR or NUL is what a test looks for.
    let start = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(start, |last| last + 1);
    (String::from_utf8_lossy(name).into_owned(), value[start..end].to_vec())
}

/// The reading side of a connection: what has arrived, and how much of the current body is still to come.
pub(super) struct Wire {
    pub(super) conn: Conn,
    buffer: Vec<u8>,
    body: Framing,
    trailers: Vec<Vec<u8>>,
}

enum Framing {
    Ended,
    Length(u64),
    Chunked(ChunkDecoder),
}

impl Wire {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn, buffer: Vec::new(), body: Framing::Ended, trailers: Vec::new() }
    }

    /// The next request; none when the client closes, or stays idle longer than `idle`.
    pub(super) fn read_request(&mut self, idle: Option<Duration>) -> Option<Request> {
        self.conn.set_read_timeout(idle).ok()?;
        let mut searched = 0;
        let end = loop {
            let found = self.buffer[searched..].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(found) = found {
                break searched + found + 4;
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.buffer.len() > HEAD_LIMIT || self.fill().ok()? == 0 {
                return None;
            }
            self.conn.set_read_timeout(None).ok()?;
        };
        let rest = self.buffer.split_off(end);
        let request = Request::parse(std::mem::replace(&mut self.buffer, rest), self.conn.index());
        self.body = if request.has_token("transfer-encoding", "chunked") {
            Framing::Chunked(ChunkDecoder::default())
        } else {
            match request.header("content-length").and_then(|length| length.parse().ok()) {
                None | Some(0) => Framing::Ended,
                Some(length) => Framing::Length(length),
            }
        };
        Some(request)
    }

    /// Whether nothing of the current body is still to come.
    pub(super) fn body_ended(&self) -> bool {
        matches!(self.body, Framing::Ended)
    }

    /// Reads the rest of the body into the request.
    pub(super) fn read_body(&mut self, request: &mut Request) -> io::Result<()> {
        let mut body = Vec::new();
        let result = loop {
            match self.read_part(usize::MAX, |part| body.extend_from_slice(part)) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        request.trailers = std::mem::take(&mut self.trailers).iter().map(|line| parse_field(line)).collect();
        request.body = Arc::new(body);
        request.body_state = if result.is_ok() { BodyState::Whole } else { BodyState::Failed };
        result
    }

    /// Hands what has arrived of the body, `max` bytes of the wire or less, to `sink`; false when it has ended.
    pub(super) fn read_part(&mut self, max: usize, mut sink: impl FnMut(&[u8])) -> io::Result<bool> {
        if self.body_ended() {
            return Ok(false);
        }
        if self.buffer.is_empty() && self.fill()? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client closed within its body"));
        }
        let ready = &self.buffer[..self.buffer.len().min(max)];
        let (taken, ended) = match &mut self.body {
            Framing::Ended => (0, true),
            Framing::Length(left) => {
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(ready.len());
                sink(&ready[..part]);
                *left -= part as u64;
                (part, *left == 0)
            }
            Framing::Chunked(decoder) => {
                let taken =
                    decoder.feed(ready, sink).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
                self.trailers = decoder.trailers().to_vec();
                (taken, decoder.is_done())
            }
        };
        self.buffer.drain(..taken);
        if ended {
            self.body = Framing::Ended;
        }
        Ok(true)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let count = self.conn.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }
}
