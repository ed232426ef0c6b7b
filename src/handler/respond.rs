//! The built-in handler: completes a future with a response whose body streams. One more handler, with no privilege.

use std::task::{Context, Poll, Waker};

use http::Request;

use super::{Control, Decoder, Encoder, Handler, Head, Next};
use crate::body::AsyncBody;
use crate::body::exchange::{Flow, Sender};
use crate::error::{Error, ErrorKind};

/// Sends an optional streaming body and hands the response over through an exchange.
pub(crate) struct Respond {
    sender: Sender,
    /// The rest of a streaming request body. Bodies in memory go to libcurl directly.
    body: Option<Box<AsyncBody>>,
    waker: Waker,
    /// The exchange is full.
    full: bool,
    /// The request's body would block.
    blocked: bool,
}

impl Respond {
    pub(crate) fn new(sender: Sender, body: Option<AsyncBody>) -> Self {
        Self { sender, body: body.map(Box::new), waker: Waker::noop().clone(), full: false, blocked: false }
    }

    fn next(&self) -> Next {
        Next::go(!self.full, self.body.is_some() && !self.blocked)
    }
}

impl Handler for Respond {
    fn on_request(&mut self, _request: &mut Request<()>, control: &Control) -> Next {
        if self.body.is_some() {
            self.waker = control.write_waker();
        }
        self.next()
    }

    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        self.blocked = false;
        let Some(body) = &mut self.body else {
            encoder.end();
            return self.next();
        };
        while !encoder.room().is_empty() {
            match body.poll_read_typed(&mut Context::from_waker(&self.waker), encoder.room()) {
                Poll::Ready(Ok(0)) => {
                    encoder.end();
                    self.body = None;
                    break;
                }
                Poll::Ready(Ok(amount)) => encoder.advance(amount),
                Poll::Ready(Err(error)) => {
                    self.sender.finish(Err(Error::new(ErrorKind::RequestBody).with_source(error)), None);
                    return Next::remove();
                }
                Poll::Pending => {
                    self.blocked = encoder.filled() == 0;
                    break;
                }
            }
        }
        self.next()
    }

    fn on_head(&mut self, head: Head) -> Result<Next, Error> {
        // The caller reads the fields.
        self.sender.head(head);
        Ok(self.next())
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        if decoder.is_end() {
            self.sender.finish(Ok(()), decoder.trailers().cloned());
            return Next::end();
        }
        let flow = self.sender.push(decoder.data());
        decoder.consume(usize::MAX);
        self.full = flow == Flow::Pause;
        if flow == Flow::Abandoned { Next::end() } else { self.next() }
    }

    fn on_error(&mut self, error: Error) -> Next {
        self.sender.finish(Err(error), None);
        Next::remove()
    }
}
