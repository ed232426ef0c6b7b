//! What is counted at each operation of a script, on its thread: operations, and memory. Knows no run, and ends none.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::meter::{Budget, Meter};
use crate::ffi::allocator;

/// The most operations of a script between two looks at its clock.
const LOOK: u64 = 256;
/// Looks are this far apart in time, about: operations on large values take long.
const EVERY: Duration = Duration::from_millis(1);

thread_local! {
    /// Of the innermost script.
    static STEPS: Steps = const { Steps::new() };
}

/// Counted without a lock, for it happens at each operation.
pub(super) struct Steps {
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

    pub(super) fn of(meter: &Meter) -> Self {
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

/// Counts an operation. Whether it is time to look at the clock, or the budget that is used up, and how much it came to.
pub(super) fn step() -> Result<bool, (Budget, u64)> {
    STEPS.with(Steps::step)
}

/// The clock was looked at.
pub(super) fn looked() {
    STEPS.with(Steps::looked);
}

/// Puts the steps of another script in place of those on this thread, which are given back.
pub(super) fn swap(other: &Steps) {
    STEPS.with(|steps| steps.swap(other));
}

/// Operations so far, and the most memory.
pub(super) fn so_far() -> (u64, u64) {
    STEPS.with(|steps| (steps.operations.get(), steps.memory(steps.peak_tally.get())))
}

/// Memory now.
pub(super) fn memory() -> u64 {
    STEPS.with(|steps| steps.memory(allocator::tally()))
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

/// Does something on this thread that is not the script's: running an agent, or the tasks, whose memory other threads may
/// take over and give back. What of it the script gets is told by [`counted`] and [`count`].
pub(super) fn apart<T>(work: impl FnOnce() -> T) -> T {
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
