//! Who listens to one run of a script, and marks its requests. Sends nothing.

use http::header::HeaderName;
use http::{HeaderValue, Method, Request};

use super::host::RequestTrace;
use super::run;
use crate::body::AsyncBody;
use crate::secret;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Listens to one run of a script, given by [`Script::observer`](super::Script::observer), beside those who listen to all
/// runs of its engine. Each method does nothing by default; they are called on the thread of the script, so they should be
/// quick.
pub trait Observer: Send + Sync {
    /// The script has printed this.
    fn print(&self, text: &str) {
        let _ = text;
    }

    /// The script has shown this by `debug`, with the place before it.
    fn debug(&self, text: &str) {
        let _ = text;
    }

    /// A request of the script has ended.
    fn request(&self, trace: &RequestTrace) {
        let _ = trace;
    }

    /// The `Idempotency-Key` of a request that writes, where the script has not given one. Default: none, and for Stripe a
    /// random one.
    fn idempotency_key(&self, write: &Write<'_>) -> Option<String> {
        let _ = write;
        None
    }

    /// The `traceparent` of each request (W3C Trace Context), where the script has not given one. Default: none.
    fn trace_parent(&self) -> Option<String> {
        None
    }
}

/// A request of a script that may change something: one with a method other than GET, HEAD, OPTIONS and TRACE (RFC 9110,
/// 9.2.1).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Write<'a> {
    /// Its number among those of the run, from 1, in the order in which the script made them.
    pub number: u64,
    /// Its method.
    pub method: &'a Method,
    /// Its URL, without credentials.
    pub url: &'a str,
    /// Its body, where that is in memory.
    pub body: Option<&'a [u8]>,
}

/// Marks a request that is about to be sent, as the run's observer wants it.
pub(super) fn mark(request: &mut Request<AsyncBody>) {
    let run = run::current();
    let Some(observer) = &run.observer else { return };
    if !request.headers().contains_key(TRACE_PARENT)
        && let Some(value) = observer.trace_parent().and_then(|parent| HeaderValue::try_from(parent).ok())
    {
        request.headers_mut().insert(TRACE_PARENT, value);
    }
    if request.headers().contains_key(IDEMPOTENCY_KEY) {
        return;
    }
    let url = secret::without_credentials(request.uri());
    let body = request.body().as_bytes().cloned();
    if let Some(value) = key(request.method(), &url, body.as_deref()).and_then(|key| HeaderValue::try_from(key).ok()) {
        request.headers_mut().insert(IDEMPOTENCY_KEY, value);
    }
}

/// The idempotency key of a request that writes, and that has none of its own.
pub(crate) fn key(method: &Method, url: &str, body: Option<&[u8]>) -> Option<String> {
    if method.is_safe() {
        return None;
    }
    let run = run::current();
    let observer = run.observer.as_ref()?;
    let number = run.writes.get() + 1;
    run.writes.set(number);
    observer.idempotency_key(&Write { number, method, url, body })
}
