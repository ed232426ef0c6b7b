//! Large bodies that come fast: when the agent is told only of much at once. Pure: length and time are parameters.
//!
//! Each time that bytes arrive the kernel wakes whoever waits for them, and a sender on the same machine or a fast network
//! pays for that as well. Where they come by the hundred thousand each millisecond it is told to wake for that many at once.

use std::time::{Duration, Instant};

/// What the agent is told of while a body comes fast. It has to fit into the cache of a core.
const MUCH: u32 = 256 << 10;
const ANYTHING: u32 = 1;
/// A body comes fast if so much of it took no longer than this: a quarter of a gigabyte a second.
const SAMPLE: u64 = 1 << 20;
const FAST: Duration = Duration::from_millis(4);
/// The last part of a body is not waited for: there would be no wake for less than [`MUCH`]. This is more, as libcurl may have
/// read some that it has not handed on.
const LAST: u64 = 1 << 20;
/// What has arrived is fetched after no more than twice this long, whatever else does not come.
const SILENCE: Duration = Duration::from_millis(2);

/// A body that is worth watching.
#[derive(Debug)]
pub(super) struct Bulk {
    length: u64,
    /// How much had come at the last look, and when that was.
    seen: u64,
    looked: Instant,
    /// With how much to look again.
    due: u64,
    /// The agent is told of much at once.
    fast: bool,
}

impl Bulk {
    /// None if the body is too short.
    pub(super) fn new(length: u64, now: impl FnOnce() -> Instant) -> Option<Self> {
        (length >= 2 * SAMPLE + LAST).then(|| Self { length, seen: 0, looked: now(), due: SAMPLE, fast: false })
    }

    /// So much has come in all. Returns how much the agent is to be told of at once from now on, if that changes.
    pub(super) fn received(&mut self, received: u64, now: impl FnOnce() -> Instant) -> Option<u32> {
        if received < self.due {
            return None;
        }
        let last = self.length.saturating_sub(LAST);
        if received >= last {
            self.due = u64::MAX;
            return std::mem::take(&mut self.fast).then_some(ANYTHING);
        }
        let now = now();
        self.fast = now.saturating_duration_since(self.looked) <= FAST;
        self.due = if self.fast { last } else { received + SAMPLE };
        (self.seen, self.looked) = (received, now);
        self.fast.then_some(MUCH)
    }

    /// When to [`look`](Self::look).
    pub(super) fn next(&self) -> Option<Instant> {
        self.fast.then(|| self.looked + SILENCE)
    }

    /// Looks whether more has come since the last look. Returns as [`received`](Self::received) does.
    pub(super) fn look(&mut self, received: u64, now: impl FnOnce() -> Instant) -> Option<u32> {
        let (next, now) = (self.next()?, now());
        if next > now {
            return None;
        }
        self.fast = received > self.seen;
        if !self.fast {
            self.due = received + SAMPLE;
        }
        (self.seen, self.looked) = (received, now);
        (!self.fast).then_some(ANYTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    struct Body(Bulk, Instant);

    impl Body {
        fn new(length: u64) -> Option<Self> {
            let start = Instant::now();
            Some(Self(Bulk::new(length, || start)?, start))
        }

        fn received(&mut self, received: u64, milliseconds: u64) -> Option<u32> {
            let now = self.1 + Duration::from_millis(milliseconds);
            self.0.received(received, || now)
        }

        fn look(&mut self, received: u64, milliseconds: u64) -> Option<u32> {
            self.0.look(received, || self.1 + Duration::from_millis(milliseconds))
        }
    }

    #[test]
    fn a_fast_body_is_told_of_in_large_pieces_until_it_nears_its_end() {
        assert!(Body::new(3 * MIB - 1).is_none());
        let mut body = Body::new(64 * MIB).unwrap();
        assert_eq!(body.received(MIB - 1, 1), None);
        assert_eq!(body.0.next(), None);
        assert_eq!(body.received(MIB, 4), Some(MUCH));
        assert_eq!(body.received(40 * MIB, 5), None);
        assert_eq!(body.received(63 * MIB, 6), Some(ANYTHING));
        assert_eq!(body.0.next(), None);
        assert_eq!(body.received(64 * MIB, 7), None);
    }

    #[test]
    fn a_slow_body_is_told_of_at_once() {
        let mut body = Body::new(64 * MIB).unwrap();
        assert_eq!(body.received(MIB, 5), None);
        assert_eq!(body.received(2 * MIB, 10), None);
        assert_eq!(body.look(2 * MIB, 1000), None);
        assert_eq!(body.received(3 * MIB, 12), Some(MUCH), "it has become fast");
    }

    #[test]
    fn what_has_come_is_fetched_when_no_more_comes() {
        let mut body = Body::new(64 * MIB).unwrap();
        assert_eq!(body.received(MIB, 0), Some(MUCH));
        assert_eq!(body.look(2 * MIB, 1), None, "not yet");
        assert_eq!(body.look(2 * MIB, 2), None, "more has come");
        assert_eq!(body.look(2 * MIB, 4), Some(ANYTHING));
        assert_eq!(body.0.next(), None);
        assert_eq!(body.received(3 * MIB - 1, 5), None);
        assert_eq!(body.received(3 * MIB, 6), Some(MUCH), "it has gone on as fast");
    }
}
