//! Content codings applied to the bodies of requests, as they are sent. Says nothing to the server: `Content-Encoding`
//! is set by whoever sends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_compression::futures::bufread;
use futures::io::AsyncRead;

use super::exact::Exact;
use super::{AsyncBody, Body, Inner, Make};

/// How the body of a request can be compressed (RFC 9110 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentCoding {
    /// `gzip` (RFC 1952), with the feature `gzip`.
    #[cfg(feature = "gzip")]
    Gzip,
    /// `zstd` (RFC 8878), with the feature `zstd`.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl ContentCoding {
    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            #[cfg(feature = "zstd")]
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for ContentCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AsyncBody {
    /// The content compressed, at the coding's usual level. Whoever sends it sets `Content-Encoding` to
    /// [`ContentCoding::name`].
    ///
    /// What is in memory is compressed at once, and its length stays known. Everything else is compressed while it is
    /// sent, on the agent's thread; its length is not known then. It can be sent again if the content can.
    ///
    /// # Errors
    ///
    /// Those of the compressor, for content in memory.
    pub fn compressed(self, coding: ContentCoding) -> io::Result<Self> {
        if let Some(bytes) = self.as_bytes() {
            return at_once(bytes.clone().into(), coding).map(Self::from);
        }
        let again = self.again();
        let mut body = encode(self, coding);
        body.again = again.map(|again| Arc::new(move || Ok(encode(again.make()?, coding))) as Make);
        Ok(body)
    }
}

impl Body {
    /// The content compressed. See [`AsyncBody::compressed`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn compressed(self, coding: ContentCoding) -> io::Result<Self> {
        self.0.compressed(coding).map(Self)
    }
}

fn encode(body: AsyncBody, coding: ContentCoding) -> AsyncBody {
    Inner::Reader { reader: encoder(body, coding), length: None }.into()
}

fn encoder(body: AsyncBody, coding: ContentCoding) -> Pin<Box<dyn AsyncRead + Send>> {
    let body = Exact::new(body);
    match coding {
        #[cfg(feature = "gzip")]
        ContentCoding::Gzip => Box::pin(bufread::GzipEncoder::new(body)),
        #[cfg(feature = "zstd")]
        ContentCoding::Zstd => Box::pin(bufread::ZstdEncoder::new(body)),
    }
}

fn at_once(body: AsyncBody, coding: ContentCoding) -> io::Result<Vec<u8>> {
    let mut encoder = encoder(body, coding);
    let mut all = Vec::new();
    let mut used = 0;
    loop {
        if all.len() - used < 4 << 10 {
            all.resize((all.len() * 2).max(16 << 10), 0);
        }
        match encoder.as_mut().poll_read(&mut Context::from_waker(Waker::noop()), &mut all[used..]) {
            Poll::Ready(Ok(0)) => {
                all.truncate(used);
                all.shrink_to_fit();
                return Ok(all);
            }
            Poll::Ready(Ok(amount)) => used += amount,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Err(io::Error::other("a compressor waited for bytes in memory")),
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "gzip", feature = "zstd"))]
mod tests {
    use super::*;
    use crate::error::Error;
    use futures::executor::block_on;
    use futures::io::{AsyncReadExt, Cursor};
    use std::io::Read;

    const CODINGS: [ContentCoding; 2] = [ContentCoding::Gzip, ContentCoding::Zstd];

    fn text() -> Vec<u8> {
        (0..200_000_u32).flat_map(|number| (number / 7).to_string().into_bytes()).collect()
    }

    fn read(mut body: AsyncBody) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        block_on(body.read_to_end(&mut all))?;
        Ok(all)
    }

    fn undo(coding: ContentCoding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            ContentCoding::Gzip => {
                let mut all = Vec::new();
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut all).unwrap();
                all
            }
            ContentCoding::Zstd => zstd::decode_all(bytes).unwrap(),
        }
    }

    #[test]
    fn bytes_are_compressed_at_once_and_their_length_is_known() {
        for coding in CODINGS {
            for plain in [text(), Vec::new(), b"x".to_vec()] {
                let body = AsyncBody::from(plain.clone()).compressed(coding).unwrap();
                let again = body.again().unwrap().make().unwrap();
                let length = body.len();
                let bytes = read(body).unwrap();
                assert_eq!(length, Some(bytes.len() as u64));
                assert!(undo(coding, &bytes) == plain && read(again).unwrap() == bytes);
            }
        }
    }

    #[test]
    fn streams_are_compressed_while_they_are_read() {
        for coding in CODINGS {
            let body = Body::from_reader(io::Cursor::new(text())).compressed(coding).unwrap().into_async();
            assert_eq!(body.len(), None);
            assert!(body.again().is_none());
            let bytes = read(body).unwrap();
            assert!(bytes.len() < text().len() / 2 && undo(coding, &bytes) == text());
        }
    }

    #[test]
    fn what_can_be_made_again_still_can() {
        for coding in CODINGS {
            let make = || Ok(AsyncBody::from_reader_sized(Cursor::new(text()), text().len() as u64));
            let body = AsyncBody::rewindable(make).unwrap().compressed(coding).unwrap();
            let again = body.again().unwrap().make().unwrap().again().unwrap().make().unwrap();
            assert!(undo(coding, &read(body).unwrap()) == text());
            assert!(undo(coding, &read(again).unwrap()) == text());
        }
    }

    #[test]
    fn a_source_that_fails_or_ends_early_does_not_become_a_complete_body() {
        for coding in CODINGS {
            let short = AsyncBody::from_reader_sized(Cursor::new("12345"), 6).compressed(coding).unwrap();
            assert_eq!(read(short).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            let chunks = [Ok("12345".into()), Err(io::Error::other("broken"))];
            let broken = AsyncBody::from_stream(futures::stream::iter(chunks)).compressed(coding).unwrap();
            assert_eq!(Error::from(read(broken).unwrap_err()).chain(), "input or output failed: broken");
        }
    }
}
