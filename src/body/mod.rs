//! Bodies of requests and responses. They know no transfer, no thread and no runtime.
//!
//! [`AsyncBody`] is read with `AsyncRead` or as a `Stream` of chunks; [`Body`] is its blocking face, read with `Read`.
//! Both can be made from bytes, from readers and (asynchronously) from streams, and both are what a response carries.
//!
//! - [`exchange`]: the bounded queue between the agent and the reader of a response.
//! - [`decode`], [`encode`]: content codings, undone and applied while reading.
//! - [`multipart`]: forms; [`exact`] holds their parts to what they declare; [`file`]: a file that several read.
//! - [`frames`] (feature `tower`): bodies as those of the `http-body` crate.
//! - [`pump`]: a blocking reader made asynchronous by a thread of its own.
//! - [`wake`]: wakes that wait for the end of the agent's turn.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::io::{AsyncBufRead, AsyncRead};
use futures::stream::Stream;
use http::HeaderMap;

use crate::error::Error;

#[cfg(feature = "decompress")]
pub(crate) mod decode;
#[cfg(any(feature = "gzip", feature = "zstd"))]
mod encode;
mod exact;
pub(crate) mod exchange;
mod file;
#[cfg(feature = "tower")]
mod frames;
pub(crate) mod multipart;
mod pump;
pub(crate) mod wake;

#[cfg(any(feature = "gzip", feature = "zstd"))]
pub use encode::ContentCoding;
use exchange::Receiver;

/// The content codings this build can undo, for `Accept-Encoding`.
pub(crate) const ACCEPTED_CODINGS: Option<&str> =
    match (cfg!(feature = "gzip"), cfg!(feature = "brotli"), cfg!(feature = "zstd")) {
        (true, true, true) => Some("gzip, deflate, br, zstd"),
        (true, true, false) => Some("gzip, deflate, br"),
        (true, false, true) => Some("gzip, deflate, zstd"),
        (true, false, false) => Some("gzip, deflate"),
        (false, true, true) => Some("br, zstd"),
        (false, true, false) => Some("br"),
        (false, false, true) => Some("zstd"),
        (false, false, false) => None,
    };
/// How much of a reader becomes one chunk of a stream.
const PIECE: usize = 64 << 10;

/// The body of a request or a response, read asynchronously under any executor.
///
/// As a response's body it is bounded: the transfer pauses while about 1 MiB waits to be read. Dropping it ends the
/// transfer; a small unread rest is drained so that the connection can be used again.
pub struct AsyncBody {
    inner: Inner,
    ahead: Ahead,
    /// Makes the body again from its start.
    again: Option<Make>,
    #[cfg(feature = "tower")]
    frames: frames::Progress,
}

/// Makes a body.
type Make = Arc<dyn Fn() -> io::Result<AsyncBody> + Send + Sync>;

/// Makes a body that was made before.
pub(crate) enum Again {
    Bytes(Bytes),
    Make(Make),
}

impl Again {
    /// The body from its start. It can be made again, too.
    ///
    /// # Errors
    ///
    /// Those of the function given to [`rewindable`](AsyncBody::rewindable).
    pub(crate) fn make(&self) -> io::Result<AsyncBody> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone().into()),
            Self::Make(make) => make().map(|mut body| {
                body.again = Some(make.clone());
                body
            }),
        }
    }
}

enum Inner {
    Bytes(Bytes),
    Reader {
        reader: Pin<Box<dyn AsyncRead + Send>>,
        length: Option<u64>,
    },
    Stream {
        stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
        current: Bytes,
        length: Option<u64>,
    },
    Incoming(Receiver),
    #[cfg(feature = "decompress")]
    Decoded(Box<decode::Decoded>),
    #[cfg(any(feature = "record", feature = "tower"))]
    Source {
        source: Box<dyn Source>,
        current: Bytes,
    },
}

/// A body that is made elsewhere: chunks, then perhaps trailers.
#[cfg(any(feature = "record", feature = "tower"))]
pub(crate) trait Source: Send {
    /// The next chunk; `None` at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>>;

    /// The length of the whole body, where it is known.
    fn length(&self) -> Option<u64>;

    /// The trailers, once the end was reached.
    fn trailers(&self) -> Option<HeaderMap>;
}

impl AsyncBody {
    /// A body without content.
    pub const fn empty() -> Self {
        Self {
            inner: Inner::Bytes(Bytes::new()),
            ahead: Ahead(None),
            again: None,
            #[cfg(feature = "tower")]
            frames: frames::Progress { started: false, trailers_given: false },
        }
    }

    /// A body of bytes that somebody owns, without a copy.
    pub fn from_bytes_static(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Bytes::from_owner(bytes).into()
    }

    /// A body of unknown length from an asynchronous reader. It is sent chunked over HTTP/1.1.
    ///
    /// The reader is polled on an agent thread; it should not block.
    pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Inner::Reader { reader: Box::pin(reader), length: None }.into()
    }

    /// A body of exactly `length` bytes from an asynchronous reader. A reader that gives fewer fails the request with
    /// [`ErrorKind::RequestBody`](crate::error::ErrorKind::RequestBody); what it would give beyond is not sent.
    pub fn from_reader_sized(reader: impl AsyncRead + Send + 'static, length: u64) -> Self {
        Inner::Reader { reader: Box::pin(reader), length: Some(length) }.into()
    }

    /// A body of unknown length from a stream of chunks. It is sent chunked over HTTP/1.1.
    ///
    /// The stream is polled on an agent thread; it should not block.
    pub fn from_stream(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Inner::Stream { stream: Box::pin(stream), current: Bytes::new(), length: None }.into()
    }

    /// A body that can be made again: when a redirect asks for it once more, `make` is called again.
    ///
    /// # Errors
    ///
    /// Those of the first call of `make`.
    pub fn rewindable(make: impl Fn() -> io::Result<Self> + Send + Sync + 'static) -> io::Result<Self> {
        let mut body = make()?;
        body.again = Some(Arc::new(make));
        Ok(body)
    }

    pub(crate) fn incoming(receiver: Receiver) -> Self {
        Inner::Incoming(receiver).into()
    }

    #[cfg(feature = "decompress")]
    pub(crate) fn decoded(decoded: decode::Decoded) -> Self {
        Inner::Decoded(Box::new(decoded)).into()
    }

    #[cfg(any(feature = "record", feature = "tower"))]
    pub(crate) fn from_source(source: impl Source + 'static) -> Self {
        Inner::Source { source: Box::new(source), current: Bytes::new() }.into()
    }

    /// Whether it is known that there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The length in bytes, where it is known; of a response, the declared one, unless it is decompressed.
    pub fn len(&self) -> Option<u64> {
        match &self.inner {
            Inner::Bytes(bytes) => Some(bytes.len() as u64),
            Inner::Reader { length, .. } | Inner::Stream { length, .. } => *length,
            Inner::Incoming(receiver) => receiver.length(),
            #[cfg(feature = "decompress")]
            Inner::Decoded(_) => None,
            #[cfg(any(feature = "record", feature = "tower"))]
            Inner::Source { source, .. } => source.length(),
        }
    }

    /// The length of what is not read yet, where it is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.inner {
            Inner::Incoming(receiver) => receiver.left(),
            _ => self.len(),
        }
    }

    /// Drops the body of a response, ending its transfer at once: no small rest is drained to save the connection.
    pub(crate) fn abort(self) {
        if let Inner::Incoming(receiver) = self.inner {
            receiver.abort();
        }
    }

    /// The trailers of a response (RFC 9110 6.5), once its body was read to the end.
    ///
    /// `None` before the end, without trailers, and for a decompressed body.
    pub fn trailers(&self) -> Option<HeaderMap> {
        match &self.inner {
            Inner::Incoming(receiver) => receiver.trailers(),
            #[cfg(any(feature = "record", feature = "tower"))]
            Inner::Source { source, .. } => source.trailers(),
            _ => None,
        }
    }

    /// What makes the same content once more, where that is possible. Nothing is made yet.
    pub(crate) fn again(&self) -> Option<Again> {
        match (&self.inner, &self.again) {
            (_, Some(make)) => Some(Again::Make(make.clone())),
            (Inner::Bytes(bytes), None) => Some(Again::Bytes(bytes.clone())),
            _ => None,
        }
    }

    /// The content, where it is in memory.
    pub(crate) fn as_bytes(&self) -> Option<&Bytes> {
        match &self.inner {
            Inner::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Reads the rest into one buffer. `limit` bounds what is kept, in bytes.
    pub(crate) async fn collect(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        match &mut self.inner {
            Inner::Bytes(bytes) => Ok(std::mem::take(bytes).into()),
            Inner::Incoming(receiver) => {
                let collecting = Collecting(receiver);
                std::future::poll_fn(|cx| collecting.0.poll_collect(cx, limit)).await
            }
            // Apart, so that what waits for a usual body is small.
            _ => Box::pin(self.read_all(limit)).await,
        }
    }

    async fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut used = 0;
        loop {
            if all.len() - used < 4 << 10 {
                all.resize((all.len() * 2).max(16 << 10), 0);
            }
            match std::future::poll_fn(|cx| self.poll_read_typed(cx, &mut all[used..])).await? {
                0 => {
                    all.truncate(used);
                    return Ok(all);
                }
                amount => used += amount,
            }
            if used as u64 > limit {
                return Err(exchange::too_large(limit));
            }
        }
    }

    /// As `AsyncRead::poll_read`, with the typed error.
    pub(crate) fn poll_read_typed(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        #[cfg(feature = "tower")]
        self.frames.start();
        if !self.ahead.rest().is_empty() {
            let amount = self.ahead.rest().len().min(buffer.len());
            buffer[..amount].copy_from_slice(&self.ahead.rest()[..amount]);
            self.ahead.consume(amount);
            return Poll::Ready(Ok(amount));
        }
        match &mut self.inner {
            Inner::Bytes(bytes) => Poll::Ready(Ok(take(bytes, buffer))),
            Inner::Reader { reader, .. } => reader.as_mut().poll_read(cx, buffer).map_err(Error::from),
            Inner::Stream { stream, current, .. } => loop {
                if !current.is_empty() {
                    return Poll::Ready(Ok(take(current, buffer)));
                }
                match ready!(stream.as_mut().poll_next(cx)) {
                    Some(chunk) => *current = chunk?,
                    None => return Poll::Ready(Ok(0)),
                }
            },
            Inner::Incoming(receiver) => {
                let data = ready!(receiver.poll_chunk(cx))?;
                let amount = data.len().min(buffer.len());
                buffer[..amount].copy_from_slice(&data[..amount]);
                receiver.consume(amount);
                Poll::Ready(Ok(amount))
            }
            #[cfg(feature = "decompress")]
            Inner::Decoded(decoded) => decoded.poll_read(cx, buffer),
            #[cfg(any(feature = "record", feature = "tower"))]
            Inner::Source { source, current } => loop {
                if !current.is_empty() {
                    return Poll::Ready(Ok(take(current, buffer)));
                }
                match ready!(source.poll_next(cx))? {
                    Some(chunk) => *current = chunk,
                    None => return Poll::Ready(Ok(0)),
                }
            },
        }
    }

    /// As `AsyncBufRead::poll_fill_buf`, with the typed error.
    pub(crate) fn poll_fill_typed(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        match &self.inner {
            Inner::Bytes(_) | Inner::Incoming(_) => {}
            _ if !self.ahead.rest().is_empty() => {}
            _ => {
                // Taken whole: what is left of it here would be read first.
                let mut piece = std::mem::take(&mut self.ahead).0.unwrap_or_default();
                piece.bytes.resize(PIECE, 0);
                let poll = self.poll_read_typed(cx, &mut piece.bytes);
                let filled = if let Poll::Ready(Ok(filled)) = poll { filled } else { 0 };
                (piece.position, piece.filled) = (0, filled);
                self.ahead = Ahead(Some(piece));
                ready!(poll)?;
            }
        }
        match &mut self.inner {
            Inner::Bytes(bytes) => Poll::Ready(Ok(bytes)),
            Inner::Incoming(receiver) => receiver.poll_chunk(cx),
            _ => Poll::Ready(Ok(self.ahead.rest())),
        }
    }

    /// Marks bytes as read that [`poll_fill_typed`](Self::poll_fill_typed) has shown.
    pub(crate) fn consume_typed(&mut self, amount: usize) {
        match &mut self.inner {
            Inner::Bytes(bytes) => bytes.advance(amount),
            Inner::Incoming(receiver) => receiver.consume(amount),
            _ => self.ahead.consume(amount),
        }
    }
}

/// Gives back what was collected when the future is dropped before the end, so that the next reader gets it.
struct Collecting<'a>(&'a mut Receiver);

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        self.0.stop_collecting();
    }
}

/// Bytes that were read for a caller who looks at them before using them up. Most bodies never have any.
#[derive(Default)]
struct Ahead(Option<Box<Piece>>);

#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    position: usize,
    filled: usize,
}

impl Ahead {
    fn rest(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |piece| &piece.bytes[piece.position..piece.filled])
    }

    fn consume(&mut self, amount: usize) {
        if let Some(piece) = &mut self.0 {
            piece.position += amount;
        }
    }
}

fn take(bytes: &mut Bytes, buffer: &mut [u8]) -> usize {
    let amount = bytes.len().min(buffer.len());
    bytes.copy_to_slice(&mut buffer[..amount]);
    amount
}

impl AsyncRead for AsyncBody {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_typed(cx, buffer).map_err(io::Error::from)
    }
}

impl AsyncBufRead for AsyncBody {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_fill_typed(cx).map_err(io::Error::from)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.consume_typed(amount);
    }
}

/// The chunks of the body as they come, without copies where the body allows it.
impl Stream for AsyncBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        #[cfg(feature = "tower")]
        body.frames.start();
        if !body.ahead.rest().is_empty() {
            let piece = Bytes::copy_from_slice(body.ahead.rest());
            body.ahead = Ahead::default();
            return Poll::Ready(Some(Ok(piece)));
        }
        Poll::Ready(match &mut body.inner {
            Inner::Bytes(bytes) => (!bytes.is_empty()).then(|| Ok(std::mem::take(bytes))),
            Inner::Stream { stream, current, .. } => {
                if current.is_empty() {
                    ready!(stream.as_mut().poll_next(cx))
                } else {
                    Some(Ok(std::mem::take(current)))
                }
            }
            #[cfg(any(feature = "record", feature = "tower"))]
            Inner::Source { source, current } => loop {
                if !current.is_empty() {
                    break Some(Ok(std::mem::take(current)));
                }
                match ready!(source.poll_next(cx)) {
                    Ok(Some(chunk)) => *current = chunk,
                    Ok(None) => break None,
                    Err(error) => break Some(Err(error.into())),
                }
            },
            Inner::Incoming(receiver) => ready!(receiver.poll_take(cx)).map_err(io::Error::from).transpose(),
            _ => {
                let mut piece = vec![0; PIECE];
                match ready!(body.poll_read_typed(cx, &mut piece)) {
                    Ok(0) => None,
                    Ok(amount) => {
                        piece.truncate(amount);
                        Some(Ok(piece.into()))
                    }
                    Err(error) => Some(Err(error.into())),
                }
            }
        })
    }
}

impl From<Inner> for AsyncBody {
    fn from(inner: Inner) -> Self {
        Self { inner, ..Self::empty() }
    }
}

impl Default for AsyncBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for AsyncBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_debug(f, "AsyncBody", self.len())
    }
}

fn write_debug(f: &mut fmt::Formatter<'_>, name: &str, length: Option<u64>) -> fmt::Result {
    match length {
        Some(length) => write!(f, "{name}({length} bytes)"),
        None => write!(f, "{name}(length unknown)"),
    }
}

/// The body of a request or a response, read with blocking [`Read`].
///
/// It is an [`AsyncBody`] with a blocking face, and converts both ways.
pub struct Body(AsyncBody);

impl Body {
    /// A body without content.
    pub const fn empty() -> Self {
        Self(AsyncBody::empty())
    }

    /// A body of bytes that somebody owns, without a copy.
    pub fn from_bytes_static(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self(AsyncBody::from_bytes_static(bytes))
    }

    /// A body of unknown length from a blocking reader. It is sent chunked over HTTP/1.1.
    ///
    /// The reader is read on a thread of its own, so that time limits hold while it blocks.
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        Self(AsyncBody::from_stream(pump::Pump::new(reader, None)))
    }

    /// A body of exactly `length` bytes from a blocking reader. A reader that gives fewer fails the request with
    /// [`ErrorKind::RequestBody`](crate::error::ErrorKind::RequestBody); what it would give beyond is not sent.
    pub fn from_reader_sized(reader: impl Read + Send + 'static, length: u64) -> Self {
        let stream = Box::pin(pump::Pump::new(reader, Some(length)));
        Self(Inner::Stream { stream, current: Bytes::new(), length: Some(length) }.into())
    }

    /// The rest of a file, from its current position, with its length; can be sent again after a redirect.
    ///
    /// What the file holds is read while it is sent: one that is cut meanwhile fails the request, and what is added to
    /// it is not sent.
    ///
    /// # Errors
    ///
    /// Those of asking the file for its length and position; a folder is none.
    pub fn from_file(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let start = file.stream_position()?;
        let length = metadata.len().saturating_sub(start);
        let file = Arc::new(file);
        let make = move || Ok(Self::from_reader_sized(file::Range::new(file.clone(), start), length).0);
        AsyncBody::rewindable(make).map(Self)
    }

    /// The content of the file at a path. See [`from_file`](Self::from_file).
    ///
    /// # Errors
    ///
    /// Those of opening the file, with its path.
    pub fn from_path(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        File::open(path)
            .and_then(Self::from_file)
            .map_err(|error| io::Error::new(error.kind(), format!("could not open `{}`: {error}", path.display())))
    }

    /// A body that can be made again: when a redirect asks for it once more, `make` is called again.
    ///
    /// # Errors
    ///
    /// Those of the first call of `make`.
    pub fn rewindable(make: impl Fn() -> io::Result<Self> + Send + Sync + 'static) -> io::Result<Self> {
        AsyncBody::rewindable(move || make().map(|body| body.0)).map(Self)
    }

    /// Whether it is known that there is no content.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length in bytes, where it is known; of a response, the declared one, unless it is decompressed.
    pub fn len(&self) -> Option<u64> {
        self.0.len()
    }

    /// The trailers of a response, once its body was read to the end. See [`AsyncBody::trailers`].
    pub fn trailers(&self) -> Option<HeaderMap> {
        self.0.trailers()
    }

    /// The asynchronous face.
    pub fn into_async(self) -> AsyncBody {
        self.0
    }

    pub(crate) fn as_async(&mut self) -> &mut AsyncBody {
        &mut self.0
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_debug(f, "Body", self.len())
    }
}

impl From<AsyncBody> for Body {
    fn from(body: AsyncBody) -> Self {
        Self(body)
    }
}

impl From<Body> for AsyncBody {
    fn from(body: Body) -> Self {
        body.0
    }
}

/// Content in memory, for both faces.
macro_rules! from_memory {
    ($($source:ty => |$value:ident| $bytes:expr;)*) => {$(
        impl From<$source> for AsyncBody {
            fn from($value: $source) -> Self {
                Inner::Bytes($bytes).into()
            }
        }

        impl From<$source> for Body {
            fn from(value: $source) -> Self {
                Self(value.into())
            }
        }
    )*};
}

from_memory! {
    () => |_nothing| Bytes::new();
    Bytes => |bytes| bytes;
    Vec<u8> => |bytes| bytes.into();
    &[u8] => |bytes| Bytes::copy_from_slice(bytes);
    String => |text| text.into();
    &str => |text| Bytes::copy_from_slice(text.as_bytes());
}

impl<T: Into<AsyncBody>> From<Option<T>> for AsyncBody {
    fn from(body: Option<T>) -> Self {
        body.map_or_else(Self::empty, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    #[test]
    fn a_long_body_of_a_reader_is_seen_piece_by_piece_and_to_its_end() {
        let data: Vec<u8> = (0..PIECE * 3 + 5).map(|number| number as u8).collect();
        let chunks: Vec<_> = data.chunks(PIECE + 7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let bodies = [
            AsyncBody::from_reader(futures::io::Cursor::new(data.clone())),
            AsyncBody::from_stream(futures::stream::iter(chunks)),
            Body::from_reader(io::Cursor::new(data.clone())).into_async(),
        ];
        for body in bodies {
            let mut all = Vec::new();
            block_on(futures::io::copy_buf(body, &mut all)).unwrap();
            assert!(all == data);
        }
    }
}
