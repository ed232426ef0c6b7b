//! One connection of the canned server: partial reads, pipelined requests, partial writes. Never blocks, never
//! touches the poller and never reads the clock: the loop does.

use std::borrow::Cow;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polling::Event;

use super::chunked::ChunkDecoder;
use super::{Counts, PATTERN, pattern};

/// What may lie unread in front of a request that is being answered, and the longest head.
const INPUT_LIMIT: usize = 1024 * 1024;
/// Reads or writes in one turn, so that one fast connection does not starve the rest.
const TURN_CALLS: usize = 16;

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| render(200, &[b'm'; 100]));
static ONE_K: LazyLock<Vec<u8>> = LazyLock::new(|| render(200, &pattern(1024)));
static WAITED: LazyLock<Vec<u8>> = LazyLock::new(|| render(200, b"waited\n"));
static NOT_FOUND: LazyLock<Vec<u8>> = LazyLock::new(|| render(404, b"not found\n"));

/// What the loop lends a connection for one step, and what the connection asks of it.
pub(super) struct Turn<'a> {
    pub(super) counts: &'a Counts,
    pub(super) scratch: &'a mut [u8],
    /// Call [`Connection::waited`] after so long.
    pub(super) wait: Option<Duration>,
}

/// What the connection waits for. An error instead means: close it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Interest {
    Read,
    Write,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) serial: u64,
    /// What the poller was last told.
    pub(super) watched: Option<Event>,
    input: Vec<u8>,
    upload: Option<Upload>,
    waiting: bool,
    closing: bool,
    head: Cow<'static, [u8]>,
    head_sent: usize,
    /// Bytes of the pattern to follow the head, and where in it they go on.
    stream_left: u64,
    stream_at: usize,
}

enum Upload {
    Length { left: u64, count: u64 },
    Chunked { decoder: ChunkDecoder, count: u64 },
}

impl Connection {
    pub(super) fn new(stream: TcpStream, serial: u64) -> Self {
        Self {
            stream,
            serial,
            watched: None,
            input: Vec::new(),
            upload: None,
            waiting: false,
            closing: false,
            head: Cow::Borrowed(b""),
            head_sent: 0,
            stream_left: 0,
            stream_at: 0,
        }
    }

    /// Reads what is there, then goes on.
    pub(super) fn readable(&mut self, turn: &mut Turn<'_>) -> io::Result<Interest> {
        for _ in 0..TURN_CALLS {
            let count = match self.stream.read(turn.scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // The bulk of an upload is counted where it lies.
            let taken = match &mut self.upload {
                Some(upload) if self.input.is_empty() => upload.feed(&turn.scratch[..count], turn.counts)?,
                _ => 0,
            };
            self.input.extend_from_slice(&turn.scratch[taken..count]);
            if self.input.len() > INPUT_LIMIT {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if count < turn.scratch.len() {
                break;
            }
        }
        self.proceed(turn)
    }

    /// Writes, then answers the next request, until the socket or the input blocks.
    pub(super) fn proceed(&mut self, turn: &mut Turn<'_>) -> io::Result<Interest> {
        loop {
            if !self.flush()? {
                return Ok(Interest::Write);
            }
            if self.waiting {
                return Ok(Interest::Read);
            }
            if let Some(upload) = &mut self.upload {
                let taken = upload.feed(&self.input, turn.counts)?;
                self.input.drain(..taken);
                let Some(count) = upload.ended() else { return Ok(Interest::Read) };
                self.upload = None;
                self.answer(render(200, count.to_string().as_bytes()));
                continue;
            }
            if self.closing {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
                if self.input.is_empty() {
                    self.input = Vec::new();
                }
                return Ok(Interest::Read);
            };
            let head: Vec<u8> = self.input.drain(..end + 4).collect();
            turn.counts.requests.fetch_add(1, Ordering::Relaxed);
            self.begin(&String::from_utf8_lossy(&head), turn);
        }
    }

    /// The time that `/wait` asked for is over.
    pub(super) fn waited(&mut self, serial: u64, turn: &mut Turn<'_>) -> io::Result<Interest> {
        if self.waiting && self.serial == serial {
            self.waiting = false;
            self.answer(WAITED.as_slice());
        }
        self.proceed(turn)
    }

    fn begin(&mut self, head: &str, turn: &mut Turn<'_>) {
        let mut lines = head.split("\r\n");
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let mut length = 0;
        let (mut chunked, mut expects) = (false, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name {
                _ if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap_or(0),
                _ if name.eq_ignore_ascii_case("transfer-encoding") => chunked = value.eq_ignore_ascii_case("chunked"),
                _ if name.eq_ignore_ascii_case("connection") => self.closing = value.eq_ignore_ascii_case("close"),
                _ if name.eq_ignore_ascii_case("expect") => expects = value.eq_ignore_ascii_case("100-continue"),
                _ => {}
            }
        }

        let path = target.split('?').next().unwrap_or_default();
        let number = |prefix| path.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
        if chunked || length > 0 || path == "/upload" {
            // Any path may come with a body: it is answered as an upload, for it has to be read anyway.
            self.upload = Some(match chunked {
                true => Upload::Chunked { decoder: ChunkDecoder::default(), count: 0 },
                false => Upload::Length { left: length, count: 0 },
            });
            if expects {
                self.answer(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]);
            }
        } else if path == "/small" {
            self.answer(SMALL.as_slice());
        } else if path == "/1k" {
            self.answer(ONE_K.as_slice());
        } else if let Some(bytes) = number("/stream/") {
            self.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes());
            self.stream_left = bytes;
            self.stream_at = 0;
        } else if let Some(milliseconds) = number("/wait/") {
            self.waiting = true;
            turn.wait = Some(Duration::from_millis(milliseconds));
        } else if path == "/stats" {
            self.answer(render(200, turn.counts.render().as_bytes()));
        } else {
            self.answer(NOT_FOUND.as_slice());
        }
    }

    fn answer(&mut self, head: impl Into<Cow<'static, [u8]>>) {
        self.head = head.into();
        self.head_sent = 0;
    }

    /// False when the socket takes no more for now.
    fn flush(&mut self) -> io::Result<bool> {
        for _ in 0..TURN_CALLS {
            let head = &self.head[self.head_sent..];
            if head.is_empty() && self.stream_left == 0 {
                self.head = Cow::Borrowed(b"");
                self.head_sent = 0;
                return Ok(true);
            }
            let rest = &PATTERN[self.stream_at..];
            let body = &rest[..rest.len().min(usize::try_from(self.stream_left).unwrap_or(usize::MAX))];
            let written = match self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let of_head = written.min(head.len());
            let of_body = written - of_head;
            self.head_sent += of_head;
            self.stream_left -= of_body as u64;
            self.stream_at = (self.stream_at + of_body) % PATTERN.len();
        }
        Ok(false)
    }
}

impl Upload {
    fn feed(&mut self, bytes: &[u8], counts: &Counts) -> io::Result<usize> {
        let (taken, data) = match self {
            Self::Length { left, count } => {
                let part = (*left).min(bytes.len() as u64);
                *left -= part;
                *count += part;
                (part as usize, part)
            }
            Self::Chunked { decoder, count } => {
                let before = *count;
                let taken = decoder
                    .feed(bytes, |part| *count += part.len() as u64)
                    .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
                (taken, *count - before)
            }
        };
        counts.uploaded.fetch_add(data, Ordering::Relaxed);
        Ok(taken)
    }

    /// How many bytes came, once the end is reached.
    fn ended(&self) -> Option<u64> {
        match self {
            Self::Length { left: 0, count } => Some(*count),
            Self::Chunked { decoder, count } if decoder.is_done() => Some(*count),
            _ => None,
        }
    }
}

fn render(status: u16, body: &[u8]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    response.extend_from_slice(body);
    response
}
