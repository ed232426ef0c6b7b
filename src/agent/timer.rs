//! Deadlines of transfers, and libcurl's own. Never reads the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines by slot. A deadline is not taken back: the transfer knows whether it still holds.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, slot: usize) {
        self.heap.push(Reverse((at, slot)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a slot whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, slot))| slot)
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
}
