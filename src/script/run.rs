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
use super::tasks::Tasks;
use crate::client::blocking::{Patience, block_on, block_on_with};
use crate::client::{CancelToken, HttpClient};
use crate::error::{Error, ErrorKind, TimeoutPhase};
use crate::ffi::allocator;

/// The most operations of a script between two looks at its clock.
const LOOK: u64 = 256;
/// Looks are this far apart in time, about: operations on large values take long.
const EVERY: Duration = Duration::from_millis(1);

thread_local! {
    /// The scripts that run on this thread, the innermost last. The first stands for what runs without any limits, in
    /// engines of other makes.
    static RUNNING: RefCell<Vec<Rc<Run>>> = RefCell::new(vec![Rc::new(Run::unlimited())]);

    /// What is counted at each operation of the innermost script.
    static STEPS: Steps = const { Steps::new() };
}

/// A script that runs: how long it may, and what it has under way.
pub(super) struct Run {
    patience: Patience,
    time_limit: Option<Duration>,
    pub(super) tasks: Rc<Tasks>,
    pub(super) meter: Arc<Meter>,
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

/// Counted without a lock, for it happens at each operation.
struct Steps {
    operations: Cell<u64>,
    most_operations: Cell<u64>,
    /// As the allocator counts, which knows no beginning.
    tally_at_start: Cell<isize>,
    most_tally: Cell<isize>,
    peak_tally: Cell<isize>,
    /// Whether what is allocated now is somebody else's, and how much of it is the script's all the same.
    apart: Cell<bool>,
    counted: Cell<isize>,
    look_at: Cell<u64>,
    stride: Cell<u64>,
    looked: Cell<Option<Instant>>,
}

impl Steps {
    const fn new() -> Self {
        Self {
            operations: Cell::new(0),
            most_operations: Cell::new(u64::MAX),
            tally_at_start: Cell::new(0),
            most_tally: Cell::new(isize::MAX),
            peak_tally: Cell::new(0),
            apart: Cell::new(false),
            counted: Cell::new(0),
            look_at: Cell::new(1),
            stride: Cell::new(1),
            looked: Cell::new(None),
        }
    }

    fn of(meter: &Meter) -> Self {
        let (steps, now) = (Self::new(), allocator::tally());
        let limits = meter.limits();
        steps.most_operations.set(limits.operations.unwrap_or(u64::MAX));
        steps.tally_at_start.set(now);
        steps.peak_tally.set(now);
        let most = limits.memory.and_then(|most| isize::try_from(most).ok());
        steps.most_tally.set(most.map_or(isize::MAX, |most| now.saturating_add(most)));
        steps
    }

    /// Puts others in place of these, which are given back.
    fn swap(&self, other: &Self) {
        self.operations.swap(&other.operations);
        self.most_operations.swap(&other.most_operations);
        self.tally_at_start.swap(&other.tally_at_start);
        self.most_tally.swap(&other.most_tally);
        self.peak_tally.swap(&other.peak_tally);
        self.apart.swap(&other.apart);
        self.counted.swap(&other.counted);
        self.look_at.swap(&other.look_at);
        self.stride.swap(&other.stride);
        self.looked.swap(&other.looked);
    }

    /// Moves the beginning, so that what has changed meanwhile does not count.
    fn forget(&self, change: isize) {
        for mark in [&self.tally_at_start, &self.most_tally, &self.peak_tally] {
            mark.set(mark.get().saturating_add(change));
        }
    }

    fn memory(&self, tally: isize) -> u64 {
        u64::try_from(tally.saturating_sub(self.tally_at_start.get())).unwrap_or(0)
    }

    /// Counts one. Whether the clock should be looked at.
    fn step(&self) -> Result<bool, (Budget, u64)> {
        let operations = self.operations.get() + 1;
        self.operations.set(operations);
        if operations > self.most_operations.get() {
            return Err((Budget::Operations, operations));
        }
        let tally = allocator::tally();
        if tally > self.peak_tally.get() {
            self.peak_tally.set(tally);
            if tally > self.most_tally.get() {
                return Err((Budget::Memory, self.memory(tally)));
            }
        }
        Ok(operations >= self.look_at.get())
    }

    /// Looks come closer where operations take long.
    fn looked(&self) {
        let now = Instant::now();
        let slow = self.looked.replace(Some(now)).is_some_and(|before| now - before > EVERY);
        let stride = if slow { self.stride.get() / 4 } else { self.stride.get() * 2 };
        self.stride.set(stride.clamp(1, LOOK));
        self.look_at.set(self.operations.get() + self.stride.get());
    }
}

/// Does something on this thread that is not the script's: running an agent, or the tasks, whose memory other threads may
/// take over and give back. What of it the script gets is told by [`counted`] and [`count`].
fn apart<T>(work: impl FnOnce() -> T) -> T {
    if STEPS.with(|steps| steps.apart.replace(true)) {
        return work();
    }
    let before = allocator::tally();
    let done = work();
    STEPS.with(|steps| {
        steps.apart.set(false);
        steps.forget(allocator::tally() - before - steps.counted.take());
    });
    done
}

/// Goes on with what the script has under way, as far as that is possible without waiting.
pub(super) fn go_on() {
    let run = current();
    apart(|| run.tasks.poll(&mut Context::from_waker(Waker::noop())));
}

/// What is allocated in here is the script's.
pub(super) fn counted<T>(work: impl FnOnce() -> T) -> T {
    let before = allocator::tally();
    let done = work();
    let change = allocator::tally() - before;
    STEPS.with(|steps| steps.counted.set(steps.counted.get() + if steps.apart.get() { change } else { 0 }));
    done
}

/// Bytes of a value that the script gets.
pub(super) fn count(bytes: usize) {
    STEPS.with(|steps| steps.counted.set(steps.counted.get() + if steps.apart.get() { bytes as isize } else { 0 }));
}

/// Marks a script as running on this thread until it drops. What it has under way then ends, unless a session keeps it.
pub(super) struct Running {
    outer: Steps,
}

impl Running {
    pub(super) fn enter(time_limit: Option<Duration>, cancel: Option<CancelToken>, meter: Arc<Meter>) -> Self {
        Self::push(Run::new(time_limit, cancel, meter))
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
        STEPS.with(|steps| steps.swap(&outer));
        Self { outer }
    }

    /// What the script has used so far.
    pub(super) fn usage(&self) -> Usage {
        let run = current();
        STEPS.with(|steps| Usage {
            time: run.started.elapsed(),
            operations: steps.operations.get(),
            memory: steps.memory(steps.peak_tally.get()),
            ..run.meter.usage()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        STEPS.with(|steps| steps.swap(&self.outer));
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
    let waited = apart(|| client.wait_for(&run.patience, || run.beside(start())));
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
    match apart(|| block_on_with(run.beside(future), &patience)) {
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
    match STEPS.with(Steps::step) {
        Ok(false) => None,
        Ok(true) => {
            let run = current();
            match run.check() {
                Ok(()) => {
                    go_on();
                    STEPS.with(Steps::looked);
                    None
                }
                Err(ended) => {
                    hurry();
                    Some(Dynamic::from(ended))
                }
            }
        }
        Err((budget, used)) => {
            let meter = &current().meter;
            let limits = meter.limits();
            let limit = if budget == Budget::Memory { limits.memory } else { limits.operations };
            Some(Dynamic::from(meter.exceeded(budget, limit.unwrap_or_default(), used)))
        }
    }
}

/// Looks at each operation from now on, as the script has to end: the language goes on after some errors, those of a
/// comparison while it sorts for instance.
pub(super) fn hurry() {
    STEPS.with(|steps| steps.look_at.set(0));
}

/// Bytes that the values of the script may still grow by.
pub(super) fn room() -> usize {
    STEPS.with(|steps| usize::try_from(steps.most_tally.get().saturating_sub(allocator::tally())).unwrap_or(0))
}

/// Whether the script has to end at its next operation.
pub(super) fn has_ended() -> bool {
    current().meter.ended().is_some()
}

/// Ends the script because a value would need this much memory.
pub(super) fn out_of_memory(bytes: usize) -> Box<EvalAltResult> {
    let run = current();
    hurry();
    let used = STEPS.with(|steps| steps.memory(allocator::tally())).saturating_add(bytes as u64);
    terminated(run.meter.exceeded(Budget::Memory, run.meter.limits().memory.unwrap_or_default(), used))
}

/// Ends the script at the next operation, and at once where this is thrown.
pub(super) fn terminated(ended: Ended) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(ended), Position::NONE))
}
