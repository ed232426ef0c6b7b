//! Deadlines of transfers, and of libcurl. Never reads the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Deadlines by slot. A deadline is not taken back: the transfer knows whether it still holds. A slot has one entry in
/// the heap, rarely a few: a deadline later than the one that is set waits until that one has passed.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The earliest entry of each slot.
    set: Vec<Option<Instant>>,
}

impl Timers {
    /// Makes sure that the slot is popped at `at` or before.
    pub(super) fn set(&mut self, at: Instant, slot: usize) {
        if self.set.len() <= slot {
            self.set.resize(slot + 1, None);
        }
        if self.set[slot].is_none_or(|earlier| at < earlier) {
            self.set[slot] = Some(at);
            self.heap.push(Reverse((at, slot)));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a slot whose time has come. Whoever looks after it sets its next deadline. Asks for the time only if there is one.
    pub(super) fn pop(&mut self, now: &impl Deref<Target = Instant>) -> Option<usize> {
        if self.next()? > **now {
            return None;
        }
        let Reverse((at, slot)) = self.heap.pop()?;
        if self.set[slot] == Some(at) {
            self.set[slot] = None;
        }
        Some(slot)
    }
}

/// A moment that a callback sets on the thread that reads it, whichever that is: it needs no lock, and the order of nothing.
#[derive(Debug)]
pub(super) struct Alarm {
    since: Instant,
    /// Nanoseconds from then on.
    at: AtomicU64,
}

const NEVER: u64 = u64::MAX;
/// Most alarms are for at once: no clock is read for those.
const AT_ONCE: u64 = 0;

impl Alarm {
    /// Not set, and for no moment before `since`.
    pub(super) fn new(since: Instant) -> Self {
        Self { since, at: AtomicU64::new(NEVER) }
    }

    /// Sets it to a time from now on, or to never.
    pub(super) fn set(&self, after: Option<Duration>, now: impl FnOnce() -> Instant) {
        let at = match after {
            None => NEVER,
            Some(Duration::ZERO) => AT_ONCE,
            Some(after) => {
                let at = now().saturating_duration_since(self.since).saturating_add(after);
                u64::try_from(at.as_nanos()).unwrap_or(NEVER)
            }
        };
        self.at.store(at, Ordering::Relaxed);
    }

    /// When it is due. In the past if at once.
    pub(super) fn at(&self) -> Option<Instant> {
        let at = self.at.load(Ordering::Relaxed);
        (at != NEVER).then(|| self.since + Duration::from_nanos(at))
    }

    /// Whether it is due; it is no longer set then.
    pub(super) fn take_due(&self, now: impl FnOnce() -> Instant) -> bool {
        let is_due = match self.at.load(Ordering::Relaxed) {
            NEVER => false,
            AT_ONCE => true,
            _ => self.at().is_some_and(|at| at <= now()),
        };
        if is_due {
            self.at.store(NEVER, Ordering::Relaxed);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_in_the_order_of_their_deadlines_and_not_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(at(30), 3);
        timers.set(at(10), 1);
        timers.set(at(20), 2);
        assert_eq!(timers.pop(&&at(9)), None);
        assert_eq!(timers.pop(&&at(10)), Some(1));
        assert_eq!(timers.pop(&&at(10)), None);
        assert_eq!((timers.pop(&&at(99)), timers.pop(&&at(99)), timers.pop(&&at(99))), (Some(2), Some(3), None));
    }

    #[test]
    fn a_deadline_that_moves_on_and_on_takes_one_entry() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for second in 10..10_000 {
            timers.set(start + Duration::from_secs(second), 0);
        }
        assert_eq!(timers.heap.len(), 1);
        timers.set(start + Duration::from_secs(5), 0);
        assert_eq!(timers.next(), Some(start + Duration::from_secs(5)));
        assert_eq!(timers.pop(&&(start + Duration::from_secs(5))), Some(0));
        timers.set(start + Duration::from_secs(7), 0);
        assert_eq!(timers.pop(&&(start + Duration::from_secs(7))), Some(0));
    }

    #[test]
    fn an_alarm_keeps_its_moment_to_the_nanosecond() {
        let start = Instant::now();
        let alarm = Alarm::new(start);
        assert_eq!((alarm.at(), alarm.take_due(|| start)), (None, false));
        for after in [1, 999_999_999, 1_000_000_001, 86_400_000_000_007].map(Duration::from_nanos) {
            alarm.set(Some(after), || start + after);
            assert_eq!(alarm.at(), Some(start + after * 2));
            assert!(!alarm.take_due(|| start + after));
            assert!(alarm.take_due(|| start + after * 2));
            assert_eq!(alarm.at(), None);
        }
        alarm.set(Some(Duration::MAX), || start);
        assert_eq!(alarm.at(), None);
    }

    #[test]
    fn an_alarm_for_at_once_needs_no_clock() {
        let clock = || unreachable!("the clock was read");
        let alarm = Alarm::new(Instant::now());
        alarm.set(Some(Duration::ZERO), clock);
        assert!(alarm.at().is_some_and(|at| at <= Instant::now()));
        assert!(alarm.take_due(clock));
        assert!(!alarm.take_due(clock));
        alarm.set(Some(Duration::ZERO), clock);
        alarm.set(None, clock);
        assert!(!alarm.take_due(clock));
    }
}
