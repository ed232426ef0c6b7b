//! Bodies around a replay: a request's that is read to be compared, and a response's that is made of what was recorded.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::Stream;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::request::Parts;
use http::{Method, Response};

use super::super::tap::Passed;
use super::super::timer::{Sleep, sleep};
use super::entry::RecordedResponse;
use crate::body::{AsyncBody, Source};
use crate::error::{Error, ErrorKind, shown};
use crate::head::{Ends, Facts};

/// A request's body that was read.
pub(super) struct Read {
    /// What it is; `None` if it is too large to be read before it is sent.
    pub(super) passed: Option<Passed>,
    /// It again, to be sent; empty if it never is.
    pub(super) body: AsyncBody,
}

/// Reads a request's body: to its end if it is not sent anyway, otherwise as far as the limit.
pub(super) async fn read(mut body: AsyncBody, limit: usize, offline: bool) -> Result<Read, Error> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(Read { passed: Some(Passed::all_of(bytes, limit)), body });
    }
    let length = body.left();
    let mut again = Played { length, ..Played::default() };
    let mut passed = Passed::all_of(&[], limit);
    while let Some(chunk) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await.transpose().map_err(Error::from)? {
        passed.add(&chunk);
        if !offline {
            again.chunks.push_back(chunk);
            if passed.is_over() {
                again.rest = Some(body);
                return Ok(Read { passed: None, body: AsyncBody::from_source(again) });
            }
        }
    }
    again.trailers = body.trailers();
    Ok(Read { passed: Some(passed), body: AsyncBody::from_source(again) })
}

/// The recorded response to a request, whose body fails at its end if there is an error.
pub(super) fn response(
    recorded: &RecordedResponse,
    error: Option<Error>,
    request: &Parts,
    delay: Option<Duration>,
) -> Result<Response<AsyncBody>, Error> {
    let mut head = recorded.head()?;
    let whole = error.is_none() && !recorded.body.partial;
    let bytes = recorded.body.bytes.clone().unwrap_or_default();
    if whole && request.method != Method::HEAD && head.headers().contains_key(CONTENT_LENGTH) {
        // Redaction may have changed it.
        head.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
    }
    let length = whole.then_some(bytes.len() as u64);
    let uri = shown(request.uri.clone());
    let cut = || {
        Error::new(ErrorKind::ResponseBodyTruncated)
            .with_detail("the recording ends here, because the body was not read further when it was recorded")
            .with_url(&uri)
    };
    let played = Played {
        chunks: VecDeque::from([bytes]),
        length,
        error: error.or_else(|| (!whole).then(cut)),
        trailers: recorded.trailers.as_ref().map(|fields| fields.to_map()),
        delay: delay.filter(|delay| !delay.is_zero()).map(|delay| Box::pin(sleep(delay))),
        ..Played::default()
    };
    head.extensions_mut().insert(Facts { uri, ends: Ends::default(), metrics: None, body_length: length });
    Ok(head.map(|()| AsyncBody::from_source(played)))
}

/// Chunks, then the rest of another body, then an error or the end.
#[derive(Default)]
struct Played {
    /// Before the first chunk.
    delay: Option<Pin<Box<Sleep>>>,
    chunks: VecDeque<Bytes>,
    rest: Option<AsyncBody>,
    error: Option<Error>,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Source for Played {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if let Some(delay) = &mut self.delay {
            ready!(delay.as_mut().poll(cx));
            self.delay = None;
        }
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        if let Some(rest) = &mut self.rest {
            return Pin::new(rest).poll_next(cx).map(|next| next.transpose().map_err(Error::from));
        }
        if let Some(error) = &self.error {
            return Poll::Ready(Err(error.clone()));
        }
        self.ended = true;
        Poll::Ready(Ok(None))
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn trailers(&self) -> Option<HeaderMap> {
        self.trailers.clone().filter(|_| self.ended)
    }
}
