//! Request handlers: state machines about one transfer. Pure: no clock, no thread and no libcurl is used here.
//!
//! A [`Handler`] is called when something happens to its transfer and answers with [`Next`], which says what it wants
//! to hear of next. Everything in this crate that transfers is a handler: the future that
//! [`send_async`](crate::HttpClient::send_async) returns is completed by the built-in one, and
//! [`drive`](crate::HttpClient::drive) runs yours.
//!
//! ```text
//!            on_request ──► on_request_writable* ──► on_response ──► on_response_readable* (the last one says "end")
//!                │                  │                    │                     │
//!                ▼                  ▼                    ▼                     ▼
//!              Next               Next                 Next                  Next
//!
//!   Next::read()   Next::write()   Next::read_and_write()   tell me when there is something to do
//!   Next::wait()                                            park the transfer until Control::ready
//!   Next::end()    Next::remove()                           I am done: politely, or at once
//!   ….timeout(d)                                            and if nothing happens for d: on_error
//! ```
//!
//! - `machine`: the rules, `(state, event, now) -> (state, effect)`.
//! - `respond`: the built-in handler.

use http::{Request, Response};

use crate::error::Error;
pub use crate::head::{Head, Metrics};

mod coder;
mod control;
pub(crate) mod machine;
mod next;
pub(crate) mod respond;

pub use coder::{Decoder, Encoder};
pub use control::Control;
pub use next::{Next, Ready};

/// A state machine about one transfer.
///
/// [`on_request`](Self::on_request) is called on the thread that starts the transfer, every other method on the thread that
/// runs the client's agent: one of this crate's, or one that waits in a blocking call of the same client. Never two at
/// once. A method that blocks holds up every transfer of that agent: use [`Next::wait`] and a [`Control`] instead. A panic
/// ends only this transfer.
///
/// The transfer ends when the response was read to its end, when a method answers [`Next::end`] or [`Next::remove`], or
/// with an error.
pub trait Handler: Send + 'static {
    /// The request is about to start. Its head may still be changed.
    ///
    /// The answer says whether a request body follows: [`Next::write`] and [`Next::read_and_write`] say yes,
    /// [`Next::read`] says no. [`Next::wait`] parks the body of a method that usually has one (POST, PUT, PATCH) or of a
    /// request with a `Content-Length`; that header, where it is set, is the length of the body, otherwise it is sent
    /// chunked (HTTP/1.1) or in frames (HTTP/2).
    ///
    /// `control` wakes the transfer later; clone it to keep it.
    fn on_request(&mut self, request: &mut Request<()>, control: &Control) -> Next;

    /// There is room for more of the request's body.
    ///
    /// Without progress (nothing written and not ended) the transfer's writing is parked until
    /// [`Control::ready`]. By default the body is ended.
    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        encoder.end();
        Next::read()
    }

    /// The head of the final response is here. Interim responses (1xx) are not shown.
    ///
    /// It is told as it comes, even to a handler that waits; its body is not. By default the fields are read, and
    /// [`on_response`](Self::on_response) is called.
    ///
    /// # Errors
    ///
    /// An error ends the transfer. By default that is a head with fields that cannot be read.
    fn on_head(&mut self, head: Head) -> Result<Next, Error> {
        Ok(self.on_response(head.into_response()?))
    }

    /// The head of the final response was read. Not called where [`on_head`](Self::on_head) is implemented otherwise; by
    /// default the body is read.
    fn on_response(&mut self, response: Response<()>) -> Next {
        let _ = response;
        Next::read()
    }

    /// There is more of the response's body, or its end: [`Decoder::is_end`].
    ///
    /// Without progress (nothing read) reading is parked until [`Control::ready`].
    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next;

    /// Something failed.
    ///
    /// After a timeout that the handler asked for ([`Next::timeout`], phase
    /// [`Handler`](crate::error::TimeoutPhase::Handler)) the transfer still stands and the answer says how to go on.
    /// After every other error it is over and the answer is not looked at. By default the handler is done.
    fn on_error(&mut self, error: Error) -> Next {
        let _ = error;
        Next::remove()
    }
}
