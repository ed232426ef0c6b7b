//! What is said to an agent, and what it says of itself. Plain data.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::channel::oneshot;

use crate::easy::Easy;

/// What an agent has at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) open: usize,
    pub(crate) in_use: usize,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
}

/// What all agents of a client have done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) started: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) reused: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) enum Message {
    /// Start a transfer.
    Execute(Easy),
    /// Look after the transfer in this slot.
    Wake(usize),
    /// The client is gone: end when the last transfer has.
    Close,
    /// End everything at the deadline; `done` is dropped after that.
    ShutDown { deadline: Option<Instant>, done: oneshot::Sender<()> },
    /// Tell what is open and who waits.
    Report(oneshot::Sender<Report>),
    /// End by a panic, to test what happens then.
    #[cfg(test)]
    Panic,
}
