//! When a request is tried again. Plain data and arithmetic: no clock, no dice.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

/// How often and when a failed request is tried again. Retries are off unless such a policy is set.
///
/// One thing is tried again without a policy: a request on a connection that was used before and that the server closes
/// without a word. It is sent once more on a new connection, under the same conditions as below (that nothing of it was
/// received shows in the end of the connection, if it was closed before).
///
/// Tried again are requests that failed before their response was here, and responses with one of the
/// [statuses](Self::statuses). Only where that is safe: the method is idempotent (RFC 9110 9.2.2), or the request carries
/// an `Idempotency-Key` header, or nothing of it was sent. A body must be rewindable; one in memory always is.
///
/// # Examples
///
/// ```
/// use marmot::config::RetryPolicy;
/// use marmot::prelude::*;
/// use std::time::Duration;
///
/// let client = HttpClient::builder()
///     .retry(RetryPolicy::new().max_attempts(4).backoff(Duration::from_millis(50), Duration::from_secs(5)))
///     .build()?;
/// # Ok::<(), marmot::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a policy has no effect until it is set"]
pub struct RetryPolicy {
    max_attempts: u32,
    first_delay: Duration,
    longest_delay: Duration,
    longest_retry_after: Duration,
    attempt_timeout: Option<Duration>,
    statuses: Arc<[StatusCode]>,
    any_method: bool,
    budget: Option<RetryBudget>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryPolicy {
    /// 3 attempts, a backoff from 100 ms to 10 s, `Retry-After` up to 60 s, on 429, 502, 503 and 504, with a
    /// [budget](RetryBudget) of its own.
    pub fn new() -> Self {
        Self {
            max_attempts: 3,
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(10),
            longest_retry_after: Duration::from_secs(60),
            attempt_timeout: None,
            statuses: Arc::new([
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]),
            any_method: false,
            budget: Some(RetryBudget::new(20, 10)),
        }
    }

    /// How often a request is sent at most, the first time included. Default: 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// The wait before the first retry and the longest wait. Default: 100 ms and 10 s.
    ///
    /// Each further wait may be twice as long; what is waited is a random part of it ("full jitter"), so that many clients
    /// do not come back at the same moment.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_delay = first;
        self.longest_delay = longest.max(first);
        self
    }

    /// The longest `Retry-After` (RFC 9110 10.2.3) that is waited for; a response that asks for more is handed to the
    /// caller. Default: 60 seconds.
    pub fn max_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = longest;
        self
    }

    /// The most time that one attempt may take, beside the request's [`timeout`](super::Configurable::timeout), which
    /// counts all attempts and waits. Default: unlimited.
    pub fn attempt_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.attempt_timeout = limit.into();
        self
    }

    /// The statuses that are tried again. Numbers that are none are left out. Default: 429, 502, 503, 504.
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.statuses = statuses.into_iter().filter_map(|status| StatusCode::from_u16(status).ok()).collect();
        self
    }

    /// Tries requests of any method again, as if all were idempotent. A payment may then be made twice. Default: no.
    pub fn danger_any_method(mut self, any: bool) -> Self {
        self.any_method = any;
        self
    }

    /// What limits the retries of many requests together; `None` for no such limit. Clones of a policy share one.
    /// Default: one of its own, 20 retries for a hundred requests and 10 from the start.
    pub fn budget(mut self, budget: impl Into<Option<RetryBudget>>) -> Self {
        self.budget = budget.into();
        self
    }

    pub(crate) fn time_of_attempt(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    pub(crate) fn takes_any_method(&self) -> bool {
        self.any_method
    }

    /// Tells the budget of a new request.
    pub(crate) fn begin(&self) {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
    }

    /// Whether to try again, and after which time. `dice` is a random number from 0 to 1. `attempts` were made so far.
    pub(crate) fn decide(&self, attempts: u32, request: Repeatable, outcome: Outcome, dice: f64) -> Option<Duration> {
        if attempts >= self.max_attempts || !request.rewindable {
            return None;
        }
        let delay = match outcome {
            Outcome::Failed { unsent, may_pass } => {
                let safe = unsent || request.idempotent || self.any_method;
                (safe && (may_pass || unsent)).then(|| self.delay(attempts, dice))?
            }
            Outcome::Status { status, retry_after } => {
                if !self.statuses.contains(&status) || !(request.idempotent || self.any_method) {
                    return None;
                }
                match retry_after {
                    Some(wait) if wait > self.longest_retry_after => return None,
                    Some(wait) => wait,
                    None => self.delay(attempts, dice),
                }
            }
        };
        self.budget.as_ref().is_none_or(RetryBudget::withdraw).then_some(delay)
    }

    fn delay(&self, attempts: u32, dice: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let most = self.first_delay.saturating_mul(doubled).min(self.longest_delay);
        most.mul_f64(dice.clamp(0.0, 1.0))
    }
}

/// What matters of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeatable {
    /// Sending it twice has the effect of sending it once.
    pub(crate) idempotent: bool,
    pub(crate) rewindable: bool,
}

impl Repeatable {
    pub(crate) fn new(method: &Method, headers: &HeaderMap, rewindable: bool) -> Self {
        Self { idempotent: method.is_idempotent() || headers.contains_key("idempotency-key"), rewindable }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Failed {
        /// Nothing of the request left this side.
        unsent: bool,
        /// The reason may be gone the next time.
        may_pass: bool,
    },
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
}

/// Limits retries to a share of the requests, so that a server in trouble does not get several times its load.
///
/// Every request pays in `percent` of a retry, every retry takes one out; it starts with `reserve` of them, and never
/// holds more than ten times that. Clones share it.
#[derive(Clone)]
pub struct RetryBudget(Arc<Account>);

struct Account {
    /// In hundredths of a retry.
    balance: Mutex<u64>,
    deposit: u64,
    most: u64,
}

impl RetryBudget {
    /// A budget that allows `percent` retries for a hundred requests, and `reserve` retries from the start.
    pub fn new(percent: u32, reserve: u32) -> Self {
        let start = u64::from(reserve) * 100;
        let most = start.saturating_mul(10).max(u64::from(percent)).max(100);
        Self(Arc::new(Account { balance: Mutex::new(start), deposit: u64::from(percent), most }))
    }

    fn deposit(&self) {
        let mut balance = self.0.balance.lock().unwrap_or_else(PoisonError::into_inner);
        *balance = (*balance + self.0.deposit).min(self.0.most);
    }

    fn withdraw(&self) -> bool {
        let mut balance = self.0.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *balance >= 100;
        if enough {
            *balance -= 100;
        }
        enough
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let balance = *self.0.balance.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("RetryBudget").field("retries_left", &(balance / 100)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Repeatable = Repeatable { idempotent: true, rewindable: true };
    const POST: Repeatable = Repeatable { idempotent: false, rewindable: true };
    const RESET: Outcome = Outcome::Failed { unsent: false, may_pass: true };
    const REFUSED: Outcome = Outcome::Failed { unsent: true, may_pass: true };
    const BAD_REQUEST: Outcome = Outcome::Failed { unsent: false, may_pass: false };

    fn status(status: u16, retry_after: Option<u64>) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        Outcome::Status { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn only_what_is_safe_is_tried_again() {
        let policy = RetryPolicy::new();
        let table = [
            (GET, RESET, true),
            (POST, RESET, false),
            (POST, REFUSED, true),
            (GET, BAD_REQUEST, false),
            (GET, status(503, None), true),
            (POST, status(503, None), false),
            (GET, status(500, None), false),
            (GET, status(404, None), false),
            (GET, status(429, Some(60)), true),
            (GET, status(429, Some(61)), false),
            (Repeatable { idempotent: true, rewindable: false }, RESET, false),
        ];
        for (request, outcome, again) in table {
            assert_eq!(policy.decide(1, request, outcome, 1.0).is_some(), again, "{request:?} {outcome:?}");
        }
        assert!(policy.clone().danger_any_method(true).decide(1, POST, RESET, 1.0).is_some());
        let keyed = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), "k".parse().unwrap())]);
        assert!(Repeatable::new(&Method::POST, &keyed, true).idempotent);
        assert!(!Repeatable::new(&Method::POST, &HeaderMap::new(), true).idempotent);
        assert!(Repeatable::new(&Method::PUT, &HeaderMap::new(), true).idempotent);
    }

    #[test]
    fn waits_double_up_to_the_longest_and_the_dice_choose_within() {
        let ms = Duration::from_millis;
        let policy = RetryPolicy::new().max_attempts(9).backoff(ms(100), ms(1000)).budget(None);
        let waits: Vec<_> = (1..6).filter_map(|attempts| policy.decide(attempts, GET, RESET, 1.0)).collect();
        assert_eq!(waits, [ms(100), ms(200), ms(400), ms(800), ms(1000)]);
        assert_eq!(policy.decide(3, GET, RESET, 0.5), Some(ms(200)));
        assert_eq!(policy.decide(3, GET, RESET, 0.0), Some(Duration::ZERO));
        assert_eq!(policy.decide(1, GET, status(503, Some(7)), 0.5), Some(Duration::from_secs(7)));
        assert_eq!(policy.decide(9, GET, RESET, 1.0), None);
        assert_eq!(policy.max_attempts(u32::MAX).decide(4_000_000, GET, RESET, 1.0), Some(ms(1000)));
    }

    #[test]
    fn a_budget_is_shared_and_runs_out_and_is_filled_by_requests() {
        let policy = RetryPolicy::new().budget(RetryBudget::new(50, 2));
        let other = policy.clone();
        assert!(policy.decide(1, GET, RESET, 1.0).is_some());
        assert!(other.decide(1, GET, RESET, 1.0).is_some());
        assert!(policy.decide(1, GET, RESET, 1.0).is_none());
        policy.begin();
        assert!(policy.decide(1, GET, RESET, 1.0).is_none());
        other.begin();
        assert!(policy.decide(1, GET, RESET, 1.0).is_some());
    }
}
