//! How many connections libcurl is told to keep. Knows no connection and reads no clock.

use std::time::{Duration, Instant};

use crate::config::CONNECTION_CACHE;

/// How long it counts that connections were in use at once: for one such time at least, for two at most.
const LATELY: Duration = Duration::from_secs(1);

/// libcurl's limit is on all connections. Where it is lower than those in use, each one would be closed after its request;
/// so it follows the transfers that run, and leaves as many connections without one as it is meant to.
pub(super) struct Kept {
    idle: usize,
    /// Connections that were in use lately are kept for the next such time. Not where a limit was asked for.
    follows: bool,
    since: Option<Instant>,
    /// The most transfers at once, since then and in the time before.
    most: [usize; 2],
    told: usize,
}

impl Kept {
    /// `asked` is the most connections without a transfer, if somebody asked for a limit, `usual` what is kept otherwise.
    pub(super) fn new(asked: Option<usize>, usual: Option<usize>) -> Self {
        let follows = asked.is_none();
        let idle = asked.or(usual).unwrap_or(CONNECTION_CACHE).max(1);
        Self { idle, follows, since: None, most: [0; 2], told: idle }
    }

    /// The limit at first.
    pub(super) fn first(&self) -> usize {
        self.idle
    }

    /// Whether so many connections may be too many.
    pub(super) fn is_concerned(&self, open: usize) -> bool {
        open > self.idle
    }

    /// The limit with so many transfers, if it is another one than before.
    pub(super) fn look(&mut self, running: usize, now: Instant) -> Option<usize> {
        let mut in_use = running;
        if self.follows {
            if self.since.is_none_or(|since| now.saturating_duration_since(since) >= LATELY) {
                self.since = Some(now);
                self.most = [0, self.most[0]];
            }
            self.most[0] = self.most[0].max(running);
            in_use = self.most[0].max(self.most[1]);
        }
        // Of those in use, one is about to have no transfer.
        let kept = self.idle + in_use.saturating_sub(1);
        (std::mem::replace(&mut self.told, kept) != kept).then_some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_asked_for_counts_connections_without_a_request() {
        let now = Instant::now();
        let mut kept = Kept::new(Some(10), None);
        assert_eq!(kept.first(), 10);
        assert!(!kept.is_concerned(10) && kept.is_concerned(11));
        assert_eq!(kept.look(1, now), None);
        assert_eq!(kept.look(20, now), Some(29));
        assert_eq!(kept.look(2, now), Some(11));
        assert_eq!(kept.look(0, now), Some(10));
        assert_eq!(Kept::new(Some(0), None).first(), 1);
    }

    #[test]
    fn without_one_those_lately_in_use_are_kept_for_the_next_time() {
        let start = Instant::now();
        let mut kept = Kept::new(None, None);
        assert_eq!(kept.look(1001, start), Some(1256));
        assert_eq!(kept.look(1, start), None);
        assert_eq!(kept.look(1, start + LATELY), None);
        assert_eq!(kept.look(1, start + 2 * LATELY), Some(256));
        let mut kept = Kept::new(None, Some(16));
        assert_eq!(kept.look(64, start), Some(79));
        assert_eq!(kept.look(1, start), None);
    }
}
