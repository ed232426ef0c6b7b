//! A request becomes a future of a response: by one hop, or one after another, where that is all; through the client's
//! steps otherwise.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::{Request, Response};

use super::Inner;
use super::hop::{self, Hop};
use super::interceptor::{self, Call, InterceptorFuture, Settings};
use super::redirect::{self, Following, Resend};
use crate::body::AsyncBody;
use crate::error::{Error, ErrorKind};

/// Completes with the response at the end of its head. Needs no executor in particular; dropping it ends the request.
#[must_use = "dropping the future ends the request"]
pub struct ResponseFuture(State);

enum State {
    Failed(Error),
    Hop(Hop),
    Steps(InterceptorFuture<'static>),
    /// The steps were done before anybody asked.
    Ready(Box<Response<AsyncBody>>),
    Done,
}

impl ResponseFuture {
    pub(super) fn start(client: Arc<Inner>, mut request: Request<AsyncBody>) -> Self {
        hop::add_default_headers(&client.config, request.headers_mut());
        let settings = client.settings(request.extensions());
        if takes_steps(&client, settings) {
            let mut steps = interceptor::run(client, request);
            // The request starts now, not with the first poll. Whoever polls next says whom to wake.
            return Self(match steps.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => State::Steps(steps),
                Poll::Ready(Ok(response)) => State::Ready(Box::new(response)),
                Poll::Ready(Err(error)) => State::Failed(error),
            });
        }
        let started = match redirect::policy_of(settings) {
            Some(_) => hops(client, request).map(State::Steps),
            None => {
                let config = hop::settings(&client, request.extensions_mut());
                Hop::start(&client, request, config, None).map(State::Hop)
            }
        };
        Self(started.unwrap_or_else(State::Failed))
    }

    /// A future that fails.
    pub(super) fn failed(error: Error) -> Self {
        Self(State::Failed(error))
    }
}

/// Whether any of the client's steps has something to do for such a request, beside following redirects.
fn takes_steps(client: &Inner, settings: Settings<'_>) -> bool {
    client.intercepted
        || settings.get(|config| config.cookie_jar.as_ref()).is_some_and(Option::is_some)
        || settings.get(|config| config.retry.as_ref()).is_some_and(Option::is_some)
}

/// One hop after another, as redirects have it. The first one starts now.
fn hops(client: Arc<Inner>, request: Request<AsyncBody>) -> Result<InterceptorFuture<'static>, Error> {
    let call = Call::new(client, &request);
    let resend = Resend::new(&request);
    let mut following = Following::new(resend, call.start(request, None)?);
    Ok(Box::pin(poll_fn(move |cx| following.poll(cx, call.settings_of_client(), |again| call.send(again)))))
}

impl Future for ResponseFuture {
    type Output = Result<Response<AsyncBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Hop(hop) => ready!(Pin::new(hop).poll(cx)),
            State::Steps(steps) => ready!(steps.as_mut().poll(cx)),
            _ => match mem::replace(&mut self.0, State::Done) {
                State::Ready(response) => Ok(*response),
                State::Failed(error) => Err(error),
                _ => Err(Error::new(ErrorKind::Cancelled).with_detail("the response was taken before")),
            },
        };
        self.0 = State::Done;
        Poll::Ready(result)
    }
}
