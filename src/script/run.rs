//! The limits of the script that runs on this thread. Every wait of a script goes through here.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, Position};

use super::tasks::Tasks;
use crate::client::blocking::{Patience, block_on_with};
use crate::client::{CancelToken, HttpClient};
use crate::error::{Error, ErrorKind, TimeoutPhase};

/// What a script's thrown termination says when its time was up.
pub(super) const OUT_OF_TIME: &str = "time limit";
/// And when it was cancelled.
pub(super) const CANCELLED: &str = "cancelled";

/// Operations of a script between two looks at its limits.
const LOOK: u64 = 256;

thread_local! {
    /// The scripts that run on this thread, the innermost last. The first stands for what runs without any limits, in
    /// engines of other makes.
    static RUNNING: RefCell<Vec<Rc<Run>>> = RefCell::new(vec![Rc::new(Run::new(Patience::default()))]);
}

/// A script that runs: how long it may, and what it has under way.
pub(super) struct Run {
    patience: Patience,
    pub(super) tasks: Tasks,
    /// What packages keep until it ends, by its type.
    #[cfg(feature = "stripe")]
    kept: RefCell<http::Extensions>,
    /// Like that of no other run.
    pub(super) number: u64,
}

impl Run {
    fn new(patience: Patience) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            patience,
            tasks: Tasks::default(),
            #[cfg(feature = "stripe")]
            kept: RefCell::default(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Marks a script as running on this thread until it drops. What it has under way then ends.
pub(super) struct Running(());

impl Running {
    pub(super) fn enter(time_limit: Option<Duration>, cancel: Option<CancelToken>) -> Self {
        // A limit beyond what the clock can hold is as good as none.
        let deadline = time_limit.and_then(|limit| Instant::now().checked_add(limit));
        RUNNING.with_borrow_mut(|stack| stack.push(Rc::new(Run::new(Patience { deadline, cancel }))));
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its tasks are dropped when nothing is borrowed any more.
        let run = RUNNING.with_borrow_mut(Vec::pop);
        drop(run);
    }
}

/// The script that runs on this thread.
pub(super) fn current() -> Rc<Run> {
    RUNNING.with_borrow(|stack| stack.last().cloned()).unwrap_or_else(|| Rc::new(Run::new(Patience::default())))
}

/// Keeps a value for the rest of the run. False where there is no run that ends: the value would be there for ever.
#[cfg(feature = "stripe")]
pub(crate) fn keep<T: Clone + Send + Sync + 'static>(value: T) -> bool {
    let in_script = RUNNING.with_borrow(|stack| stack.len() > 1);
    if in_script {
        let before = current().kept.borrow_mut().insert(value);
        drop(before);
    }
    in_script
}

/// What the run keeps of this type.
#[cfg(feature = "stripe")]
pub(crate) fn kept<T: Clone + Send + Sync + 'static>() -> Option<T> {
    current().kept.borrow().get().cloned()
}

/// Waits for what `start` starts on a client, as long as the script may. The future is dropped when its time is up.
///
/// # Errors
///
/// A termination that no script can catch.
pub(crate) fn wait<F: Future>(client: &HttpClient, start: impl FnOnce() -> F) -> Result<F::Output, Box<EvalAltResult>> {
    let run = current();
    client.wait_for(&run.patience, || run.tasks.beside(start())).map_err(|error| terminated(&error))
}

/// Waits for something that is under way, as long as the script may and no longer than to the deadline: `None` then.
///
/// # Errors
///
/// A termination that no script can catch.
pub(super) fn wait_until<F: Future>(
    future: F,
    deadline: Option<Instant>,
) -> Result<Option<F::Output>, Box<EvalAltResult>> {
    let run = current();
    let own = deadline.filter(|own| run.patience.deadline.is_none_or(|end| *own < end));
    let patience = Patience { deadline: own.or(run.patience.deadline), cancel: run.patience.cancel.clone() };
    match block_on_with(run.tasks.beside(future), &patience) {
        Ok(output) => Ok(Some(output)),
        Err(error) if own.is_some() && error.is_timeout() => Ok(None),
        Err(error) => Err(terminated(&error)),
    }
}

/// Sleeps as long as the script may.
pub(super) fn sleep(time: Duration) -> Result<(), Box<EvalAltResult>> {
    // A time beyond what the clock can hold ends with the script.
    wait_until(std::future::pending::<()>(), Instant::now().checked_add(time)).map(drop)
}

/// Looked at between the operations of a script: the reason to end it, if there is one.
pub(super) fn progress(operations: u64) -> Option<Dynamic> {
    // The clock is not read for each operation.
    if !operations.is_multiple_of(LOOK) {
        return None;
    }
    let run = current();
    run.tasks.poll(&mut Context::from_waker(Waker::noop()));
    run.patience.check().err().map(|error| reason(&error).into())
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
