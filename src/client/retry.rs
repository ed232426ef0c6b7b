//! The step that tries again what may be tried again. The rules are `config::retry`'s.

use std::time::{Duration, Instant, SystemTime};

use http::{Request, Response};

use super::backoff::retry_after;
use super::interceptor::{AttemptDeadline, Interceptor, InterceptorFuture, Next};
use super::timer::sleep;
use super::trail::Trail;
use crate::body::{Again, AsyncBody};
use crate::config::{Outcome, Repeatable, RetryPolicy};
use crate::easy::trace::Resent;
use crate::error::Error;

/// Sends a request again, as often as the policy says.
pub(super) struct Retries;

impl Interceptor for Retries {
    fn intercept<'a>(&'a self, request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        let policy = next.settings(request.extensions()).get(|config| config.retry.as_ref()).cloned().flatten();
        match policy {
            Some(policy) => Box::pin(try_all(request, next, policy)),
            None => next.run(request),
        }
    }
}

async fn try_all(
    request: Request<AsyncBody>,
    next: Next<'_>,
    policy: RetryPolicy,
) -> Result<Response<AsyncBody>, Error> {
    policy.begin();
    let (parts, body) = request.into_parts();
    let again = body.again();
    let repeatable = Repeatable::new(&parts.method, &parts.headers, again.is_some());
    let mut body = Some(body);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut request = Request::from_parts(parts.clone(), body.take().unwrap_or_default());
        if let Some(end) = policy.time_of_attempt().and_then(|limit| Instant::now().checked_add(limit)) {
            request.extensions_mut().insert(AttemptDeadline(end));
        }
        request.extensions_mut().insert(Resent(attempts - 1));
        let result = next.run(request).await;
        let outcome = match &result {
            Ok(response) => Outcome::Status {
                status: response.status(),
                retry_after: retry_after(response.headers(), SystemTime::now()),
            },
            Err(error) => Outcome::Failed { unsent: error.is_unsent(), may_pass: error.may_pass() },
        };
        let wait = policy.decide(attempts, repeatable, outcome, fastrand::f64());
        let in_time = |wait: &Duration| next.deadline().is_none_or(|end| Instant::now() + *wait < end);
        let Some(wait) = wait.filter(in_time) else {
            return finish(result, attempts);
        };
        match again.as_ref().map(Again::make).transpose() {
            Ok(again) => body = again,
            // Without its body the request cannot be sent again: what there is must do.
            Err(_) => return finish(result, attempts),
        }
        #[cfg(feature = "tracing")]
        tracing::debug!(attempts, ?wait, uri = %crate::secret::without_secrets(&parts.uri), "trying again");
        // Drained here, so that its connection can serve the next attempt.
        drop(result);
        sleep(wait).await;
    }
}

fn finish(result: Result<Response<AsyncBody>, Error>, attempts: u32) -> Result<Response<AsyncBody>, Error> {
    match result {
        Ok(mut response) => {
            Trail::count(&mut response, attempts);
            Ok(response)
        }
        Err(error) if attempts > 1 => Err(error.with_attempts(attempts)),
        Err(error) => Err(error),
    }
}
