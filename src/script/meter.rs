//! Counts what a run uses, and ends it when a budget is used up. Shared by a run and its transfers; waits for nothing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::sandbox::Limits;
use crate::error::{Error, ErrorKind};

/// One of the budgets of a [`Sandbox`](super::Sandbox).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Budget {
    /// Steps of the script.
    Operations,
    /// Bytes of its values.
    Memory,
    /// Calls within calls.
    CallDepth,
    /// Requests in all.
    Requests,
    /// Requests under way at once.
    RequestsAtOnce,
    /// Bytes sent.
    Sent,
    /// Bytes received.
    Received,
    /// Bytes of one response.
    ResponseSize,
    /// Bytes printed.
    Output,
}

impl Budget {
    /// What is counted, in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::Memory => "bytes of memory",
            Self::CallDepth => "calls within calls",
            Self::Requests => "requests",
            Self::RequestsAtOnce => "requests at once",
            Self::Sent => "bytes sent",
            Self::Received => "bytes received",
            Self::ResponseSize => "bytes of one response",
            Self::Output => "bytes of output",
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// What a run has used, from [`Script::run_with_usage`](super::Script::run_with_usage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// From the beginning to the end, waits included.
    pub time: Duration,
    /// Steps of the script.
    pub operations: u64,
    /// The most bytes that its values had at once. Zero where the program has no
    /// [`MeteredAllocator`](super::MeteredAllocator).
    pub memory: u64,
    /// Requests that were begun.
    pub requests: u64,
    /// The most of them that were under way at once.
    pub requests_at_once: u64,
    /// Bytes of URLs, headers, bodies and messages.
    pub sent: u64,
    /// Bytes of bodies and messages.
    pub received: u64,
    /// Bytes printed.
    pub output: u64,
}

/// Why a run has to end. Travels through the script as the reason of a termination, which no script can catch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Time(Option<Duration>),
    Cancelled,
    Budget { budget: Budget, limit: u64, used: u64 },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(None) => write!(f, "the script's time limit was reached"),
            Self::Time(Some(limit)) => write!(f, "the script's time limit of {limit:?} was reached"),
            Self::Cancelled => write!(f, "the script was cancelled"),
            Self::Budget { budget, limit, used } => {
                write!(f, "the script's budget of {limit} {budget} was used up, it came to {used}")
            }
        }
    }
}

/// The counters of a run.
#[derive(Debug, Default)]
pub(super) struct Meter {
    limits: Limits,
    requests: AtomicU64,
    at_once: AtomicU64,
    most_at_once: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    output: AtomicU64,
    ended: OnceLock<Ended>,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Why the run has to end, if it has.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get().cloned()
    }

    /// Ends the run. The first reason counts.
    pub(super) fn end(&self, reason: Ended) -> Ended {
        self.ended.get_or_init(|| reason).clone()
    }

    /// Begins a request; it is under way until the slot is dropped.
    pub(super) fn begin(self: &Arc<Self>, bytes: u64) -> Result<Slot, Ended> {
        if let Some(ended) = self.ended() {
            return Err(ended);
        }
        self.spend(&self.requests, 1, self.limits.requests, Budget::Requests)?;
        self.spend(&self.sent, bytes, self.limits.sent, Budget::Sent)?;
        let slot = Slot(self.clone());
        let now = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(now, Ordering::Relaxed);
        match self.limits.requests_at_once {
            Some(limit) if now > limit => Err(self.exceeded(Budget::RequestsAtOnce, limit, now)),
            _ => Ok(slot),
        }
    }

    pub(super) fn send(&self, bytes: u64) -> Result<(), Ended> {
        self.spend(&self.sent, bytes, self.limits.sent, Budget::Sent)
    }

    /// Takes note of a piece of a response of which there are now `so_far` bytes.
    pub(super) fn receive(&self, bytes: u64, so_far: u64) -> Result<(), Ended> {
        self.spend(&self.received, bytes, self.limits.received, Budget::Received)?;
        match self.limits.response_size {
            Some(limit) if so_far > limit => Err(self.exceeded(Budget::ResponseSize, limit, so_far)),
            _ => Ok(()),
        }
    }

    /// Whether what comes has to be counted piece by piece.
    pub(super) fn watches_receiving(&self) -> bool {
        self.limits.received.is_some() || self.limits.response_size.is_some()
    }

    pub(super) fn print(&self, bytes: u64) -> Result<(), Ended> {
        self.spend(&self.output, bytes, self.limits.output, Budget::Output)
    }

    pub(super) fn exceeded(&self, budget: Budget, limit: u64, used: u64) -> Ended {
        self.end(Ended::Budget { budget, limit, used })
    }

    fn spend(&self, counter: &AtomicU64, more: u64, limit: Option<u64>, budget: Budget) -> Result<(), Ended> {
        let used = counter.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        match limit {
            Some(limit) if used > limit => Err(self.exceeded(budget, limit, used)),
            _ => Ok(()),
        }
    }

    /// What was used, but for what a thread counts by itself.
    pub(super) fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            requests: read(&self.requests),
            requests_at_once: read(&self.most_at_once),
            sent: read(&self.sent),
            received: read(&self.received),
            output: read(&self.output),
            ..Usage::default()
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Slot(Arc<Meter>);

impl Slot {
    pub(super) fn meter(&self) -> &Meter {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a transfer fails with when its run has to end. Nobody sees it: the run's end comes first.
pub(super) fn stopped(ended: &Ended) -> Error {
    Error::new(ErrorKind::Cancelled).with_detail(ended.to_string())
}
