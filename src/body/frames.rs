//! Bodies as those of the `http-body` crate, and the other way. Moves chunks and trailers; copies nothing.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::stream::Stream;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::{AsyncBody, Inner, Source};
use crate::error::{Error, ErrorKind};

/// How far a body was read.
#[derive(Default)]
pub(super) struct Progress {
    /// Its whole length no longer says what is left.
    pub(super) started: bool,
    pub(super) trailers_given: bool,
}

impl Progress {
    pub(super) fn start(&mut self) {
        self.started = true;
    }
}

/// Chunks as they come, then the trailers, if there are any.
impl http_body::Body for AsyncBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let chunk = ready!(self.as_mut().poll_next(cx));
        Poll::Ready(match chunk {
            Some(chunk) => Some(chunk.map(Frame::data).map_err(Error::from)),
            None if self.frames.trailers_given => None,
            None => {
                self.frames.trailers_given = true;
                self.trailers().map(|trailers| Ok(Frame::trailers(trailers)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let at_end = match &self.inner {
            Inner::Bytes(bytes) => bytes.is_empty(),
            _ => false,
        };
        at_end && self.ahead.rest().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.rest().len() as u64;
        match &self.inner {
            // What was read of these is known, of the others not.
            Inner::Bytes(_) | Inner::Incoming(_) => self.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            _ if self.frames.started => {
                let mut hint = SizeHint::default();
                hint.set_lower(ahead);
                hint
            }
            _ => self.len().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl AsyncBody {
    /// A body of a layer, or of another client or server. Its length is sent if its size hint is exact; its trailers can
    /// be read from it, but are not sent.
    ///
    /// It is polled on an agent thread when it is sent; it should not block. An error of it fails the request with
    /// [`ErrorKind::RequestBody`].
    pub fn from_http_body<B>(body: B) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let length = body.size_hint().exact();
        Self::from_source(Framed { body: Box::pin(body), length, trailers: None, ended: false })
    }
}

/// The content of a body of frames.
struct Framed<B> {
    body: Pin<Box<B>>,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> Source for Framed<B>
where
    B: http_body::Body + Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        while !self.ended {
            match ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => return Poll::Ready(Ok(Some(data.copy_to_bytes(data.remaining())))),
                    Err(frame) => self.trailers = frame.into_trailers().ok().or(self.trailers.take()),
                },
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(typed(error.into())));
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(None))
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn trailers(&self) -> Option<HeaderMap> {
        self.trailers.clone()
    }
}

/// An error of ours that went through a layer comes back as itself.
fn typed(error: Box<dyn StdError + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(error) => Error::new(ErrorKind::Io).with_source(error),
    }
}
