//! Content codings undone outside libcurl, as the caller reads. Bounded in size and ratio; never ends early in silence.
//!
//! libcurl 8.22 takes a truncated gzip body for a complete one, and its pause buffer overflows on bombs. Here a stream
//! without its end mark is an error, all members of a multi-member file are read, and what the caller does not read is
//! not decoded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use async_compression::futures::bufread;
use futures::io::{AsyncBufRead, AsyncRead, BufReader};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Uri};

use super::exchange::Receiver;
use crate::error::{Error, ErrorKind};

/// More codings than this on one body are refused; nobody sends two for a good reason.
const MAX_CODINGS: usize = 5;
/// The ratio is looked at once this much came out: a short, highly regular text may pass any ratio.
const RATIO_FREE: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    #[cfg(feature = "gzip")]
    Gzip,
    #[cfg(feature = "gzip")]
    Deflate,
    #[cfg(feature = "brotli")]
    Brotli,
    #[cfg(feature = "zstd")]
    Zstd,
}

/// How far a body may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) size: Option<u64>,
    pub(crate) ratio: Option<u32>,
}

/// The codings of a body in the order they were applied; `None` if there is none, or one that is unknown here.
///
/// # Errors
///
/// [`ErrorKind::InvalidContentEncoding`] for a list that is too long.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Option<Vec<Coding>>, Error> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match name.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => {}
                #[cfg(feature = "gzip")]
                b"gzip" | b"x-gzip" => found.push(Coding::Gzip),
                #[cfg(feature = "gzip")]
                b"deflate" => found.push(Coding::Deflate),
                #[cfg(feature = "brotli")]
                b"br" => found.push(Coding::Brotli),
                #[cfg(feature = "zstd")]
                b"zstd" => found.push(Coding::Zstd),
                _ => return Ok(None),
            }
        }
    }
    if found.len() > MAX_CODINGS {
        return Err(Error::new(ErrorKind::InvalidContentEncoding)
            .with_detail(format!("{} codings on one body; {MAX_CODINGS} are allowed", found.len())));
    }
    Ok((!found.is_empty()).then_some(found))
}

/// A body with its codings undone.
pub(crate) struct Decoded {
    state: State,
    codings: Vec<Coding>,
    limits: Limits,
    /// Nothing at all is a body, too: its length was told.
    may_be_empty: bool,
    url: Uri,
    taken_in: Arc<AtomicU64>,
    given_out: u64,
}

enum State {
    /// Nothing was read yet: whether there is a body, and which kind of "deflate" it is, shows its first byte.
    Start(Receiver),
    Running(Pin<Box<dyn AsyncRead + Send>>),
    Ended,
    /// A decoder is not asked again after an error: some would then report the end.
    Failed(Error),
}

impl Decoded {
    pub(crate) fn new(body: Receiver, codings: Vec<Coding>, limits: Limits, may_be_empty: bool, url: Uri) -> Self {
        Self { state: State::Start(body), codings, limits, may_be_empty, url, taken_in: Arc::default(), given_out: 0 }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match &mut self.state {
                State::Start(body) => {
                    let Some(first) = ready!(body.poll_chunk(cx))?.first().copied() else {
                        self.state = if self.may_be_empty {
                            State::Ended
                        } else {
                            State::Failed(ended_early().with_url(&self.url))
                        };
                        continue;
                    };
                    let State::Start(body) = std::mem::replace(&mut self.state, State::Ended) else {
                        continue;
                    };
                    self.state = State::Running(self.chain(body, first));
                }
                State::Running(reader) => {
                    let result = match ready!(reader.as_mut().poll_read(cx, buffer)) {
                        Ok(0) => {
                            self.state = State::Ended;
                            Ok(0)
                        }
                        Ok(amount) => {
                            self.given_out += amount as u64;
                            self.check().map(|()| amount)
                        }
                        Err(error) => Err(explain(error)),
                    };
                    return Poll::Ready(result.map_err(|error| {
                        let error = error.with_url(&self.url);
                        self.state = State::Failed(error.clone());
                        error
                    }));
                }
                State::Ended => return Poll::Ready(Ok(0)),
                State::Failed(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }

    fn chain(&self, body: Receiver, first: u8) -> Pin<Box<dyn AsyncRead + Send>> {
        let mut reader: Pin<Box<dyn AsyncBufRead + Send>> = Box::pin(Counted { body, count: self.taken_in.clone() });
        let mut first = Some(first);
        for coding in self.codings.iter().rev() {
            let decoder = undo(*coding, reader, first.take());
            let (taken_in, ratio) = (self.taken_in.clone(), self.limits.ratio);
            let layer = Layer { decoder, given_out: 0, taken_in, ratio };
            reader = Box::pin(BufReader::with_capacity(16 << 10, layer));
        }
        reader
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(limit) = self.limits.size
            && self.given_out > limit
        {
            return Err(Error::new(ErrorKind::TooLarge)
                .with_detail(format!("the decompressed body is larger than the limit of {limit} bytes")));
        }
        Ok(())
    }
}

/// One coding undone, within the ratio. Each is held to it by itself: what two codings blow up between them may be nothing
/// in the end, and the work of that would be without a bound.
struct Layer {
    decoder: Pin<Box<dyn AsyncRead + Send>>,
    given_out: u64,
    /// Of the body as it came.
    taken_in: Arc<AtomicU64>,
    ratio: Option<u32>,
}

impl AsyncRead for Layer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let amount = ready!(self.decoder.as_mut().poll_read(cx, buffer))?;
        self.given_out += amount as u64;
        let taken_in = self.taken_in.load(Ordering::Relaxed).max(1);
        if let Some(ratio) = self.ratio
            && self.given_out > RATIO_FREE
            && self.given_out / taken_in > u64::from(ratio)
        {
            let error = Error::new(ErrorKind::TooLarge).with_detail(format!(
                "{taken_in} bytes of the body decompressed to {}, more than the limit of {ratio} to 1",
                self.given_out
            ));
            return Poll::Ready(Err(error.into()));
        }
        Poll::Ready(Ok(amount))
    }
}

fn undo(
    coding: Coding,
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    #[cfg_attr(not(feature = "gzip"), expect(unused_variables, reason = "only deflate looks at it"))] first: Option<u8>,
) -> Pin<Box<dyn AsyncRead + Send>> {
    match coding {
        #[cfg(feature = "gzip")]
        Coding::Gzip => {
            let mut decoder = bufread::GzipDecoder::new(reader);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        // RFC 9110 8.4.1.2: "deflate" is the zlib format, but some servers send the bare one. A zlib stream starts with
        // the method in the low four bits, always 8; a bare stream never does with a valid window in the high ones.
        #[cfg(feature = "gzip")]
        Coding::Deflate => match first {
            Some(byte) if byte & 0x0f != 8 || byte >> 4 > 7 => Box::pin(bufread::DeflateDecoder::new(reader)),
            _ => Box::pin(bufread::ZlibDecoder::new(reader)),
        },
        #[cfg(feature = "brotli")]
        Coding::Brotli => Box::pin(bufread::BrotliDecoder::new(reader)),
        #[cfg(feature = "zstd")]
        Coding::Zstd => {
            // RFC 9659 3: a body needs no larger window than 8 MiB, which is memory that its first bytes ask for.
            let window = async_compression::zstd::DParameter::window_log_max(23);
            let mut decoder = bufread::ZstdDecoder::with_params(reader, &[window]);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
    }
}

fn ended_early() -> Error {
    Error::new(ErrorKind::InvalidContentEncoding).with_detail("the compressed body ends before its end mark")
}

fn explain(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ended_early(),
        Err(error) => Error::new(ErrorKind::InvalidContentEncoding).with_source(error),
    }
}

/// The raw body, counting what is read of it.
struct Counted {
    body: Receiver,
    count: Arc<AtomicU64>,
}

impl AsyncBufRead for Counted {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().body.poll_chunk(cx).map_err(io::Error::from)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.count.fetch_add(amount as u64, Ordering::Relaxed);
        self.body.consume(amount);
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let data = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = data.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&data[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(amount))
    }
}
