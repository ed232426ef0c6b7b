//! What stands around every request of a client. Sends nothing itself: the innermost step is `hop`.
//!
//! A client's chain, from the outside in:
//!
//! ```text
//!  your interceptors ► retries ► redirects ► HSTS, Alt-Svc, cookies ► your network interceptors ► recorder ► the transfer
//! ```
//!
//! An interceptor sees what the caller sees: one request, one response, however many attempts and redirects lie between.
//! A *network* interceptor sees each of them. Both are the same trait, and so are the client's own steps.
//!
//! A request for which no step has anything to do is sent without any of this.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use http::{Extensions, Request, Response, Uri};

use super::hop::Hop;
use super::timer::sleep;
use super::{Inner, hop};
use crate::body::AsyncBody;
use crate::config::RequestConfig;
use crate::error::{Error, TimeoutPhase};

/// What [`Interceptor::intercept`] returns.
pub type InterceptorFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<AsyncBody>, Error>> + Send + 'a>>;

/// A step around requests: it may change a request, answer it itself, send it several times, and change the response.
///
/// # Examples
///
/// A function will do; see [`from_fn`].
///
/// ```
/// use marmot::interceptor::{self, Next};
/// use marmot::{AsyncBody, HttpClient, Request};
///
/// let client = HttpClient::builder()
///     .interceptor(interceptor::from_fn(|mut request: Request<AsyncBody>, next: Next<'_>| {
///         request.headers_mut().insert("x-team", "marmots".parse().unwrap());
///         next.run(request)
///     }))
///     .build()?;
/// # Ok::<(), marmot::Error>(())
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// Handles a request, usually by handing it to `next`, changed or not, and looking at the response.
    ///
    /// The future is polled wherever the request's future is: inside a blocking call that is no runtime's thread.
    fn intercept<'a>(&'a self, request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a>;
}

/// Makes an interceptor of a function that takes a request and the [`Next`] step.
pub fn from_fn<F>(function: F) -> impl Interceptor
where
    F: for<'a> Fn(Request<AsyncBody>, Next<'a>) -> InterceptorFuture<'a> + Send + Sync + 'static,
{
    FromFn(function)
}

struct FromFn<F>(F);

impl<F> Interceptor for FromFn<F>
where
    F: for<'a> Fn(Request<AsyncBody>, Next<'a>) -> InterceptorFuture<'a> + Send + Sync + 'static,
{
    fn intercept<'a>(&'a self, request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        (self.0)(request, next)
    }
}

/// The steps of a client, in order.
pub(super) type Steps = Arc<[Arc<dyn Interceptor>]>;

/// The rest of the way that a request takes. It may be gone more than once.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    steps: &'a [Arc<dyn Interceptor>],
    call: &'a Call,
}

/// What the steps of one call share.
pub(super) struct Call {
    client: Arc<Inner>,
    /// The end of the total time.
    deadline: Option<Instant>,
}

/// The end of one attempt's time; travels with the request.
#[derive(Clone, Copy)]
pub(super) struct AttemptDeadline(pub(super) Instant);

impl<'a> Next<'a> {
    /// Sends the request on its way. The future has the response.
    pub fn run(self, request: Request<AsyncBody>) -> InterceptorFuture<'a> {
        match self.steps.split_first() {
            Some((step, rest)) => step.intercept(request, Next { steps: rest, call: self.call }),
            None => match self.call.send(request) {
                Ok(hop) => Box::pin(hop),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            },
        }
    }

    /// How the request is to be sent: its own settings and the client's.
    pub(super) fn settings<'b>(&'b self, extensions: &'b Extensions) -> Settings<'b> {
        self.call.client.settings(extensions)
    }

    pub(super) fn settings_of_client(&self) -> &RequestConfig {
        self.call.settings_of_client()
    }

    /// When the call's whole time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.call.deadline
    }
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}

impl Call {
    #[inline]
    pub(super) fn new(client: Arc<Inner>, request: &Request<AsyncBody>) -> Self {
        let limit = client.settings(request.extensions()).get(|config| config.timeout).flatten();
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        Self { client, deadline }
    }

    pub(super) fn settings_of_client(&self) -> &RequestConfig {
        &self.client.config.request
    }

    /// Starts one transfer, which has the time that is left.
    pub(super) fn send(&self, request: Request<AsyncBody>) -> Result<Hop, Error> {
        let attempt = request.extensions().get().map(|AttemptDeadline(at)| *at);
        let time_left = self.time_left(attempt).map_err(|error| error.with_url(request.uri()))?;
        self.start(request, time_left)
    }

    /// Starts one transfer, which has the time that it is given, or all of its own.
    #[inline]
    pub(super) fn start(&self, mut request: Request<AsyncBody>, time_left: Option<Duration>) -> Result<Hop, Error> {
        let config = hop::settings(&self.client, request.extensions_mut());
        Hop::start(&self.client, request, config, time_left)
    }

    /// What is left of the total and the attempt's time.
    fn time_left(&self, attempt: Option<Instant>) -> Result<Option<Duration>, Error> {
        let Some(end) = [self.deadline, attempt].into_iter().flatten().min() else { return Ok(None) };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Error::timeout(TimeoutPhase::Response)) } else { Ok(Some(left)) }
    }
}

impl Inner {
    /// How a request with those extensions is to be sent: its own settings and the client's.
    pub(super) fn settings<'a>(&'a self, extensions: &'a Extensions) -> Settings<'a> {
        Settings::new(extensions.get(), &self.config.request)
    }
}

/// Settings that are looked up where they are needed, without merging them all.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    own: Option<&'a RequestConfig>,
    client: &'a RequestConfig,
}

impl<'a> Settings<'a> {
    pub(super) fn new(own: Option<&'a RequestConfig>, client: &'a RequestConfig) -> Self {
        Self { own, client }
    }

    /// Whether the egress policies, of which each must allow, let a request for that URL leave.
    pub(super) fn lets_out(self, url: &Uri) -> bool {
        let policies = self.own.into_iter().chain([self.client]);
        policies.into_iter().all(|config| config.egress.check_url(url).is_ok())
    }

    /// The request's value, or the client's.
    pub(super) fn get<T>(self, pick: impl Fn(&'a RequestConfig) -> Option<T>) -> Option<T> {
        self.own.and_then(&pick).or_else(|| pick(self.client))
    }
}

/// A transfer ends at the deadline by itself; a step that waits for something else is ended here, a little later.
async fn in_time(answer: InterceptorFuture<'_>, deadline: Instant) -> Result<Response<AsyncBody>, Error> {
    const GRACE: Duration = Duration::from_millis(100);
    let time = deadline.saturating_duration_since(Instant::now()).saturating_add(GRACE);
    match select(answer, sleep(time)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => {
            Err(Error::timeout(TimeoutPhase::Response).with_detail("a step of the client took too long"))
        }
    }
}

/// Takes a request through all steps of its client.
pub(super) fn run(client: Arc<Inner>, request: Request<AsyncBody>) -> InterceptorFuture<'static> {
    // The other steps wait for transfers only, which have the time that is left.
    let retries =
        client.settings(request.extensions()).get(|config| config.retry.as_ref()).is_some_and(Option::is_some);
    let may_wait = client.intercepted || retries;
    let call = Call::new(client, &request);
    Box::pin(async move {
        let steps = call.client.steps.clone();
        let answer = Next { steps: &steps, call: &call }.run(request);
        match call.deadline {
            Some(deadline) if may_wait => in_time(answer, deadline).await,
            _ => answer.await,
        }
    })
}
