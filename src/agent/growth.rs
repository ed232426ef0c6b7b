//! How many agents take new transfers. Knows no agent and reads no clock.

use std::time::{Duration, Instant};

use super::seat::Load;

/// How long agents are watched before it is decided whether the last one stays.
const TRIAL: Duration = Duration::from_millis(60);
/// How much of a core, in percent, an agent has to add to what those before it could do by themselves.
const GAIN: u32 = 20;
/// How long there are no more agents after one did not stay, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An agent joins when each one keeps a core busy, and stays if together they do more than one less could do: where no core
/// is free, because the server or the caller need theirs, one more agent only means smaller turns and more waking.
pub(super) struct Growth {
    active: usize,
    /// When to decide on the last agent; none while there is one only.
    review: Option<Instant>,
    /// The last agent has yet to stay for the first time.
    on_trial: bool,
    pause: Duration,
    paused_until: Option<Instant>,
}

impl Default for Growth {
    fn default() -> Self {
        Self { active: 1, review: None, on_trial: false, pause: PAUSE, paused_until: None }
    }
}

impl Growth {
    /// How many agents take new transfers: the first ones.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Decides anew. `loads` are those of the active agents.
    pub(super) fn look(&mut self, now: Instant, loads: impl Iterator<Item = Load>, most: usize) {
        let (mut shares, mut saturated) = (0, true);
        for load in loads {
            shares += u32::from(load.share);
            // One that has no transfer to share has nothing to gain.
            saturated &= load.saturated && load.transfers > 1;
        }
        if self.review.is_some_and(|review| review <= now) {
            if shares < 100 * (self.active as u32 - 1) + GAIN {
                self.shrink(now);
                return;
            }
            self.review = Some(now + TRIAL);
            if std::mem::take(&mut self.on_trial) {
                self.pause = PAUSE;
            }
        }
        let paused = self.paused_until.is_some_and(|until| now < until);
        if saturated && !self.on_trial && !paused && self.active < most {
            self.active += 1;
            self.on_trial = true;
            self.review = Some(now + TRIAL);
        }
    }

    fn shrink(&mut self, now: Instant) {
        self.active -= 1;
        self.review = (self.active > 1).then_some(now + TRIAL);
        self.paused_until = Some(now + self.pause);
        if std::mem::take(&mut self.on_trial) {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Agents(Growth, Instant);

    impl Agents {
        fn new() -> Self {
            Self(Growth::default(), Instant::now())
        }

        /// The active agents after so many milliseconds, when each of them has had that share.
        fn after(&mut self, milliseconds: u64, share: u8) -> usize {
            self.1 += Duration::from_millis(milliseconds);
            let load = Load { transfers: 10, share, saturated: share >= 80 };
            self.0.look(self.1, std::iter::repeat_n(load, self.0.active()), 3);
            self.0.active()
        }
    }

    #[test]
    fn agents_join_while_all_are_saturated_and_each_adds_to_what_is_done() {
        let mut agents = Agents::new();
        assert_eq!(agents.after(0, 60), 1);
        assert_eq!(agents.after(0, 95), 2);
        assert_eq!(agents.after(10, 95), 2, "the second one is on trial");
        assert_eq!(agents.after(50, 95), 3);
        assert_eq!(agents.after(60, 95), 3, "there are no more");
        assert_eq!(agents.after(60, 70), 2, "two can do it");
        assert_eq!(agents.after(60, 70), 2);
        assert_eq!(agents.after(60, 50), 1);
    }

    #[test]
    fn one_that_adds_nothing_goes_and_comes_back_later_each_time() {
        let mut agents = Agents::new();
        assert_eq!(agents.after(0, 95), 2);
        assert_eq!(agents.after(60, 45), 1);
        assert_eq!(agents.after(499, 95), 1);
        assert_eq!(agents.after(1, 95), 2);
        assert_eq!(agents.after(60, 45), 1);
        assert_eq!(agents.after(500, 95), 1);
        assert_eq!(agents.after(500, 95), 2);
        for _ in 0..20 {
            agents.after(60, 45);
            agents.after(31_000, 95);
        }
        assert_eq!(agents.0.active(), 2, "it is tried again in the end");
    }
}
