//! Deadlines of transfers. Never reads the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

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

    /// Takes a slot whose time has come. Whoever looks after it sets its next deadline.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        let Reverse((at, slot)) = self.heap.pop()?;
        if self.set[slot] == Some(at) {
            self.set[slot] = None;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn slots_come_in_the_order_of_their_deadlines_and_not_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(at(30), 3);
        timers.set(at(10), 1);
        timers.set(at(20), 2);
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(10)), Some(1));
        assert_eq!(timers.pop(at(10)), None);
        assert_eq!((timers.pop(at(99)), timers.pop(at(99)), timers.pop(at(99))), (Some(2), Some(3), None));
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
        assert_eq!(timers.pop(start + Duration::from_secs(5)), Some(0));
        timers.set(start + Duration::from_secs(7), 0);
        assert_eq!(timers.pop(start + Duration::from_secs(7)), Some(0));
    }
}
