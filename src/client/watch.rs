//! One request and its response, watched from beginning to end for those who write them down. Changes nothing of them.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};

use super::interceptor::Next;
use super::redact::Redaction;
use super::tap::{Passed, View, tap};
use crate::body::AsyncBody;
use crate::error::Error;
use crate::head::Facts;

/// What is known of a request when it is over.
pub(super) struct Exchange {
    /// As it was sent, secrets included.
    pub(super) request: Request<()>,
    pub(super) redaction: Redaction,
    pub(super) began: SystemTime,
    started: Instant,
    /// Until the response's head, or the failure.
    pub(super) head_time: Duration,
    sent: Sent,
    limit: usize,
}

/// What came of it.
pub(super) enum Outcome<'a> {
    Failed(&'a Error),
    Responded(&'a Response<()>, &'a Passed),
}

/// The request's body as it goes out.
enum Sent {
    Bytes(Bytes),
    Passing { view: View, streamed: bool },
}

impl Exchange {
    /// Shows what was sent of the request's body, and whether its length was unknown before.
    pub(super) fn look_at_body<R>(&self, look: impl FnOnce(&Passed, bool) -> R) -> R {
        match &self.sent {
            Sent::Bytes(bytes) => look(&Passed::all_of(bytes, self.limit), false),
            Sent::Passing { view, streamed } => look(&view.lock(), *streamed),
        }
    }

    /// From the beginning until now.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Sends a request. `done` is called when it has failed, or when its response's body has ended or was dropped. No more than
/// `limit` bytes of each body are kept.
pub(super) async fn watch<F>(
    request: Request<AsyncBody>,
    next: Next<'_>,
    redaction: Redaction,
    limit: usize,
    done: F,
) -> Result<Response<AsyncBody>, Error>
where
    F: FnOnce(&Exchange, Outcome<'_>) + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let (body, sent) = match body.as_bytes().cloned() {
        Some(bytes) => (body, Sent::Bytes(bytes)),
        None => {
            let streamed = body.left().is_none();
            let (body, view) = tap(body, limit, |_| ());
            (body, Sent::Passing { view, streamed })
        }
    };
    let mut exchange = Exchange {
        request: copy(&parts),
        redaction,
        began: SystemTime::now(),
        started: Instant::now(),
        head_time: Duration::ZERO,
        sent,
        limit,
    };
    let result = next.run(Request::from_parts(parts, body)).await;
    exchange.head_time = exchange.elapsed();
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            done(&exchange, Outcome::Failed(&error));
            return Err(error);
        }
    };
    let (parts, body) = response.into_parts();
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.version_mut() = parts.version;
    *head.headers_mut() = parts.headers.clone();
    if let Some(facts) = parts.extensions.get::<Facts>() {
        head.extensions_mut().insert(facts.clone());
    }
    if body.left() == Some(0) {
        // Nobody may ever ask for the end.
        done(&exchange, Outcome::Responded(&head, &Passed::all_of(&[], limit)));
        return Ok(Response::from_parts(parts, body));
    }
    let (body, _) = tap(body, limit, move |passed| done(&exchange, Outcome::Responded(&head, passed)));
    Ok(Response::from_parts(parts, body))
}

fn copy(parts: &Parts) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.version_mut() = parts.version;
    *request.headers_mut() = parts.headers.clone();
    request
}
