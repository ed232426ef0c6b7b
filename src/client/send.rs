//! A request becomes a future of a response: by one hop where that is all, through the client's steps otherwise.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::{Request, Response};

use super::Inner;
use super::hop::{self, Hop};
use super::interceptor::{self, InterceptorFuture, Settings};
use crate::body::AsyncBody;
use crate::config::RequestConfig;
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
    pub(super) fn start(client: Arc<Inner>, request: Request<AsyncBody>) -> Self {
        let (mut parts, body) = request.into_parts();
        hop::add_default_headers(&client.config, &mut parts.headers);
        if takes_steps(&client, parts.extensions.get()) {
            let mut steps = interceptor::run(client, Request::from_parts(parts, body));
            // The request starts now, not with the first poll. Whoever polls next says whom to wake.
            return Self(match steps.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => State::Steps(steps),
                Poll::Ready(Ok(response)) => State::Ready(Box::new(response)),
                Poll::Ready(Err(error)) => State::Failed(error),
            });
        }
        let config = hop::settings(&client.config, &mut parts);
        Self(match Hop::start(&client, Request::from_parts(parts, body), config, None) {
            Ok(hop) => State::Hop(hop),
            Err(error) => State::Failed(error),
        })
    }

    /// A future that fails.
    pub(super) fn failed(error: Error) -> Self {
        Self(State::Failed(error))
    }
}

/// Whether any of the client's steps has something to do for such a request.
fn takes_steps(client: &Inner, own: Option<&RequestConfig>) -> bool {
    let settings = Settings::new(own, &client.config.request);
    client.intercepted
        || settings.get(|config| config.cookie_jar.as_ref()).is_some_and(Option::is_some)
        || settings.get(|config| config.retry.as_ref()).is_some_and(Option::is_some)
        || settings.get(|config| config.redirect_policy.as_ref()).is_some_and(|policy| policy.limit().is_some())
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
