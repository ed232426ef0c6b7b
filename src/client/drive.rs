//! A request run by the caller's own handler. The handler comes back when the transfer is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::channel::oneshot;
use http::Request;

use super::{Inner, hop};
use crate::easy::prepare::{Prepare, Upload};
use crate::error::{Error, ErrorKind};
use crate::handler::{Control, Decoder, Encoder, Handler, Head, Next, Ready};

/// Completes with the handler when its transfer is over. Dropping it ends the transfer.
#[must_use = "dropping the future ends the transfer"]
pub struct Driving<H> {
    done: oneshot::Receiver<Result<H, Error>>,
    control: Control,
}

impl<H> Driving<H> {
    /// Wakes the transfer, as the control that the handler was given.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

impl<H: Handler> Driving<H> {
    /// Waits for the transfer's end, blocking the thread.
    ///
    /// # Errors
    ///
    /// As for [`HttpClient::drive`](crate::HttpClient::drive).
    pub fn wait(self) -> Result<H, Error> {
        super::blocking::block_on(self)
    }
}

impl<H> Future for Driving<H> {
    type Output = Result<H, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handler = ready!(Pin::new(&mut self.done).poll(cx));
        Poll::Ready(handler.unwrap_or_else(|_| Err(Error::new(ErrorKind::AgentLost))))
    }
}

impl<H> Drop for Driving<H> {
    fn drop(&mut self) {
        let _ = self.control.ready(Ready::remove());
    }
}

pub(super) fn start<H: Handler>(client: &Inner, request: Request<()>, handler: H) -> Driving<H> {
    let (done, receiver) = oneshot::channel();
    let control = Control::new();
    let driving = Driving { done: receiver, control: control.clone() };
    let mut handler = Box::new(Driven { handler: Some(handler), done: Some(done), calling: false });

    let (mut parts, ()) = request.into_parts();
    let hop::Merged { config, handle } = hop::settings(client, &mut parts.extensions);
    hop::add_default_headers(&client.config, &mut parts.headers);
    if client.own.offline {
        let error = Error::new(ErrorKind::NoRecording).with_detail("transfers of handlers are not recorded");
        let _ = handler.on_error(error.with_url(&parts.uri));
        return driving;
    }
    // A response that the handler reads raw is asked for raw.
    let config = std::sync::Arc::new(crate::config::RequestConfig { decompress: Some(false), ..(*config).clone() });
    let request = Request::from_parts(parts, ());
    let prepare =
        Prepare { request, upload: Upload::AskHandler, config, settings: handle, time_left: None, handler, control };
    // What keeps it from starting is told to the handler.
    let _ = client.start(prepare);
    driving
}

/// Brings the handler home.
struct Driven<H: Handler> {
    handler: Option<H>,
    done: Option<oneshot::Sender<Result<H, Error>>>,
    /// A call of the handler has begun and, unless one is running, panicked.
    calling: bool,
}

impl<H: Handler> Driven<H> {
    fn ask(&mut self, call: impl FnOnce(&mut H) -> Next) -> Next {
        self.call(call).unwrap_or_else(Next::remove)
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut H) -> R) -> Option<R> {
        // A handler that panicked is not called again.
        let handler = self.handler.as_mut().filter(|_| !self.calling)?;
        self.calling = true;
        let result = call(handler);
        self.calling = false;
        Some(result)
    }
}

impl<H: Handler> Handler for Driven<H> {
    fn on_request(&mut self, request: &mut Request<()>, control: &Control) -> Next {
        self.ask(|handler| handler.on_request(request, control))
    }

    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        self.ask(|handler| handler.on_request_writable(encoder))
    }

    fn on_head(&mut self, head: Head) -> Result<Next, Error> {
        self.call(|handler| handler.on_head(head)).unwrap_or_else(|| Ok(Next::remove()))
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        self.ask(|handler| handler.on_response_readable(decoder))
    }

    fn on_error(&mut self, error: Error) -> Next {
        self.ask(|handler| handler.on_error(error))
    }
}

impl<H: Handler> Drop for Driven<H> {
    fn drop(&mut self) {
        let (Some(handler), Some(done)) = (self.handler.take(), self.done.take()) else { return };
        let result = if self.calling { Err(Error::new(ErrorKind::HandlerPanicked)) } else { Ok(handler) };
        let _ = done.send(result);
    }
}
