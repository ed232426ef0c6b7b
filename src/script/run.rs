//! The limits of the script that runs on this thread. Every wait of a script goes through here.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, Position};

use crate::client::blocking::{Patience, block_on_with};
use crate::client::{CancelToken, HttpClient};
use crate::error::{Error, ErrorKind, TimeoutPhase};

/// What a script's thrown termination says when its time was up.
pub(super) const OUT_OF_TIME: &str = "time limit";
/// And when it was cancelled.
pub(super) const CANCELLED: &str = "cancelled";

thread_local! {
    /// The limits of the scripts that run on this thread, the innermost last.
    static RUNNING: RefCell<Vec<Patience>> = const { RefCell::new(Vec::new()) };
}

/// Marks a script as running on this thread until it drops.
pub(super) struct Running(());

impl Running {
    pub(super) fn enter(time_limit: Option<Duration>, cancel: Option<CancelToken>) -> Self {
        // A limit beyond what the clock can hold is as good as none.
        let deadline = time_limit.and_then(|limit| Instant::now().checked_add(limit));
        RUNNING.with_borrow_mut(|stack| stack.push(Patience { deadline, cancel }));
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|stack| drop(stack.pop()));
    }
}

fn patience() -> Patience {
    RUNNING.with_borrow(|stack| stack.last().cloned()).unwrap_or_default()
}

/// Waits for what a client does, as long as the script may. The future is dropped when its time is up.
///
/// # Errors
///
/// A termination that no script can catch.
pub(super) fn wait<F: Future>(client: &HttpClient, future: F) -> Result<F::Output, Box<EvalAltResult>> {
    client.wait_for(&patience(), || future).map_err(|error| terminated(&error))
}

/// Sleeps as long as the script may.
pub(super) fn sleep(time: Duration) -> Result<(), Box<EvalAltResult>> {
    let limits = patience();
    let wake = Instant::now().checked_add(time);
    let own_end = limits.deadline.is_none_or(|deadline| wake.is_some_and(|wake| wake < deadline));
    let deadline = if own_end { wake } else { limits.deadline };
    let end = Patience { deadline, cancel: limits.cancel };
    match block_on_with(std::future::pending::<()>(), &end) {
        Err(error) if own_end && error.is_timeout() => Ok(()),
        Err(error) => Err(terminated(&error)),
        Ok(()) => Ok(()),
    }
}

/// Looked at between the operations of a script: the reason to end it, if there is one.
pub(super) fn progress(operations: u64) -> Option<Dynamic> {
    // The clock is not read for each operation.
    if !operations.is_multiple_of(256) {
        return None;
    }
    patience().check().err().map(|error| reason(&error).into())
}

fn terminated(error: &Error) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(reason(error).into(), Position::NONE))
}

fn reason(error: &Error) -> &'static str {
    debug_assert!(
        error.kind() == ErrorKind::Cancelled || error.timeout_phase() == Some(TimeoutPhase::Deadline),
        "only these end patience"
    );
    if error.is_timeout() { OUT_OF_TIME } else { CANCELLED }
}
