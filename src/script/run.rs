//! The run that is under way on this thread: its limits, and its waits. Every wait of a script goes through here.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, Position};

use super::meter::{Budget, Ended, Meter, Usage};
use super::observer::Observer;
use super::steps::{self, Steps};
use super::tasks::Tasks;
use crate::client::blocking::{Patience, block_on, block_on_with};
use crate::client::{CancelToken, HttpClient};
use crate::error::{Error, ErrorKind, TimeoutPhase};

thread_local! {
    /// The scripts that run on this thread, the innermost last. The first stands for what runs without any limits, in
    /// engines of other makes.
    static RUNNING: RefCell<Vec<Rc<Run>>> = RefCell::new(vec![Rc::new(Run::unlimited())]);
}

/// A script that runs: how long it may, and what it has under way.
pub(super) struct Run {
    patience: Patience,
    time_limit: Option<Duration>,
    pub(super) tasks: Rc<Tasks>,
    pub(super) meter: Arc<Meter>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// Requests that write, so far.
    pub(super) writes: Cell<u64>,
    /// What packages keep until it ends, by its type.
    #[cfg(feature = "stripe")]
    kept: Rc<RefCell<http::Extensions>>,
    /// Like that of no other run, but of those that go on with what it has under way.
    pub(super) number: u64,
    started: Instant,
}

impl Run {
    fn new(time_limit: Option<Duration>, cancel: Option<CancelToken>, meter: Arc<Meter>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        // A limit beyond what the clock can hold is as good as none.
        let deadline = time_limit.and_then(|limit| started.checked_add(limit));
        let patience = Patience { deadline, cancel };
        Self {
            patience,
            time_limit,
            tasks: Rc::default(),
            meter,
            observer: None,
            writes: Cell::new(0),
            #[cfg(feature = "stripe")]
            kept: Rc::default(),
            number,
            started,
        }
    }

    /// What runs without a script: nothing is limited.
    pub(super) fn unlimited() -> Self {
        Self::new(None, None, Arc::default())
    }

    /// Waits without limits, and goes on with what it has under way.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        block_on(self.tasks.beside(future))
    }

    /// The time since its beginning.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Why it has to end, if it has.
    fn check(&self) -> Result<(), Ended> {
        if let Some(ended) = self.meter.ended() {
            return Err(ended);
        }
        self.patience.check().map_err(|error| self.ended_by(&error))
    }

    /// The end of patience.
    fn ended_by(&self, error: &Error) -> Ended {
        debug_assert!(
            error.kind() == ErrorKind::Cancelled || error.timeout_phase() == Some(TimeoutPhase::Deadline),
            "only these end patience"
        );
        self.meter.end(if error.is_timeout() { Ended::Time(self.time_limit) } else { Ended::Cancelled })
    }

    /// Goes on with the tasks while something is waited for, and no longer than the run may.
    async fn beside<F: Future>(&self, future: F) -> Result<F::Output, Ended> {
        let mut future = pin!(self.tasks.beside(future));
        std::future::poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            match self.meter.ended() {
                Some(ended) => Poll::Ready(Err(ended)),
                None => polled.map(Ok),
            }
        })
        .await
    }
}

/// Goes on with what the script has under way, as far as that is possible without waiting.
pub(super) fn go_on() {
    let run = current();
    steps::apart(|| run.tasks.poll(&mut Context::from_waker(Waker::noop())));
}

/// Marks a script as running on this thread until it drops. What it has under way then ends, unless a session keeps it.
pub(super) struct Running {
    outer: Steps,
}

impl Running {
    pub(super) fn enter(
        time_limit: Option<Duration>,
        cancel: Option<CancelToken>,
        meter: Arc<Meter>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self::push(Run { observer, ..Run::new(time_limit, cancel, meter) })
    }

    /// As [`enter`](Self::enter), but goes on with what an earlier run has under way, and leaves it under way.
    pub(super) fn resume(
        earlier: &Run,
        time_limit: Option<Duration>,
        cancel: Option<CancelToken>,
        meter: Arc<Meter>,
    ) -> Self {
        Self::push(Run {
            tasks: earlier.tasks.clone(),
            #[cfg(feature = "stripe")]
            kept: earlier.kept.clone(),
            number: earlier.number,
            ..Run::new(time_limit, cancel, meter)
        })
    }

    fn push(run: Run) -> Self {
        let outer = Steps::of(&run.meter);
        RUNNING.with_borrow_mut(|stack| stack.push(Rc::new(run)));
        steps::swap(&outer);
        Self { outer }
    }

    /// What the script has used so far.
    pub(super) fn usage(&self) -> Usage {
        let run = current();
        let (operations, memory) = steps::so_far();
        Usage { time: run.started.elapsed(), operations, memory, ..run.meter.usage() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        steps::swap(&self.outer);
        // Its tasks are dropped when nothing is borrowed any more.
        let run = RUNNING.with_borrow_mut(Vec::pop);
        drop(run);
    }
}

/// The script that runs on this thread.
pub(super) fn current() -> Rc<Run> {
    let found = RUNNING.with_borrow(|stack| stack.last().cloned());
    found.unwrap_or_else(|| Rc::new(Run::unlimited()))
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
    // Boxed: those around it would each move it.
    let waited = steps::apart(|| client.wait_for(&run.patience, || run.beside(Box::pin(start()))));
    waited.unwrap_or_else(|error| Err(run.ended_by(&error))).map_err(terminated)
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
    match steps::apart(|| block_on_with(run.beside(future), &patience)) {
        Ok(output) => output.map(Some).map_err(terminated),
        Err(error) if own.is_some() && error.is_timeout() => Ok(None),
        Err(error) => Err(terminated(run.ended_by(&error))),
    }
}

/// Sleeps as long as the script may.
pub(super) fn sleep(time: Duration) -> Result<(), Box<EvalAltResult>> {
    // A time beyond what the clock can hold ends with the script.
    wait_until(std::future::pending::<()>(), Instant::now().checked_add(time)).map(drop)
}

/// Looked at between the operations of a script: the reason to end it, if there is one.
pub(super) fn progress(_operations: u64) -> Option<Dynamic> {
    // Counted here: the language forgets what a callback did.
    match steps::step() {
        Ok(false) => None,
        Ok(true) => {
            let run = current();
            match run.check() {
                Ok(()) => {
                    go_on();
                    steps::looked();
                    None
                }
                Err(ended) => {
                    steps::hurry();
                    Some(Dynamic::from(ended))
                }
            }
        }
        Err((budget, used)) => {
            steps::hurry();
            let meter = &current().meter;
            let limits = meter.limits();
            let limit = if budget == Budget::Memory { limits.memory } else { limits.operations };
            Some(Dynamic::from(meter.exceeded(budget, limit.unwrap_or_default(), used)))
        }
    }
}

/// Whether the script has to end at its next operation.
pub(super) fn has_ended() -> bool {
    current().meter.ended().is_some()
}

/// Ends the script because a value would need this much memory.
pub(super) fn out_of_memory(bytes: usize) -> Box<EvalAltResult> {
    let run = current();
    steps::hurry();
    let used = steps::memory().saturating_add(bytes as u64);
    terminated(run.meter.exceeded(Budget::Memory, run.meter.limits().memory.unwrap_or_default(), used))
}

/// Ends the script at the next operation, and at once where this is thrown.
pub(super) fn terminated(ended: Ended) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(ended), Position::NONE))
}
