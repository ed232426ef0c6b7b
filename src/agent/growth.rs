//! How many agents take new transfers. Knows no agent and reads no clock.

use std::time::{Duration, Instant};

use super::seat::Load;

/// How long agents are watched before it is decided whether the last one stays.
const TRIAL: Duration = Duration::from_millis(60);
/// How long the transfers from before a new agent put off that it is judged.
const LONGEST_TRIAL: Duration = Duration::from_secs(2);
/// What is carried with a new agent, in percent of what was carried without it, if it stays; and below which it goes later:
/// those before it would not be saturated with so much.
const STAYS: u64 = 115;
const GOES: u64 = 75;
/// How long there are no more agents after one did not stay, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many reviews an agent that stays has until its next trial, at first and at most. Whoever begins gets quicker for some
/// tens of milliseconds, with one agent as well, and what the machine has left for more of them changes.
const TERM: u32 = 16;
const LONGEST_TERM: u32 = 512;

/// An agent joins when each one keeps a core busy, and stays if together they carry more than before: where no core is free,
/// because the server or the caller need theirs, one more agent only means smaller turns and more waking. It goes when
/// those before it can easily carry it all.
pub(super) struct Growth {
    /// What those before it carried when an agent joined, in bytes a second: for each but the first.
    carried: Vec<u64>,
    /// When to decide on the last agent; none while there is one only.
    review: Option<Instant>,
    /// The last agent has yet to stay for the first time.
    trial: Option<Trial>,
    pause: Duration,
    paused_until: Option<Instant>,
    /// How many reviews the next one that stays has.
    term: u32,
    /// How many the last one has left until it goes, to see what is carried without it.
    left: u32,
    /// Nothing was carried when a review was due, nor since.
    idle: bool,
}

struct Trial {
    /// How many transfers have yet to start until most of those from before have ended.
    starts: usize,
    until: Instant,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            carried: Vec::new(),
            review: None,
            trial: None,
            pause: PAUSE,
            paused_until: None,
            term: TERM,
            left: TERM,
            idle: false,
        }
    }
}

impl Growth {
    /// How many agents take new transfers, the first ones, beside those that a caller runs.
    pub(super) fn active(&self) -> usize {
        self.carried.len() + 1
    }

    /// Decides anew, as a transfer starts. `loads` are those of the active agents.
    pub(super) fn look(&mut self, now: Instant, loads: impl Iterator<Item = Load>, most: usize) {
        let (mut in_flight, mut carried, mut saturated) = (0, 0, true);
        for Load { transfers, work } in loads {
            in_flight += transfers;
            carried += work.rate;
            // One that has no transfer to share has nothing to gain.
            saturated &= work.saturated && transfers > 1;
        }
        if let Some(trial) = &mut self.trial
            && trial.starts > 0
            && now < trial.until
        {
            // Only what starts goes to the new one.
            trial.starts -= 1;
            self.review = Some(now + TRIAL);
        }
        self.idle &= carried == 0;
        if let Some(before) = self.carried.last()
            && self.review.is_some_and(|review| review <= now)
        {
            if carried == 0 && !std::mem::replace(&mut self.idle, true) {
                self.come_back(now);
                return;
            }
            let enough = if self.trial.is_some() { STAYS } else { GOES };
            if carried * 100 < before * enough {
                self.shrink(now);
                return;
            }
            self.review = Some(now + TRIAL);
            if self.trial.take().is_some() {
                self.pause = PAUSE;
                self.left = self.term;
                self.term = (self.term * 2).min(LONGEST_TERM);
            } else if self.left > 0 {
                self.left -= 1;
            } else {
                self.go(now, TRIAL);
            }
        }
        let paused = self.paused_until.is_some_and(|until| now < until);
        if saturated && carried > 0 && self.trial.is_none() && !paused && self.active() < most {
            self.carried.push(carried);
            self.trial = Some(Trial { starts: in_flight, until: now + LONGEST_TRIAL });
            self.review = Some(now + TRIAL);
        }
    }

    /// After a while without transfers it is not known yet what they carry, nor what they would have carried with one on trial.
    fn come_back(&mut self, now: Instant) {
        if self.trial.take().is_some() {
            self.carried.pop();
        }
        self.review = (!self.carried.is_empty()).then_some(now + TRIAL);
    }

    fn shrink(&mut self, now: Instant) {
        self.go(now, self.pause);
        if self.trial.take().is_some() {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.term = TERM;
        }
    }

    /// The last one goes, and no other one comes during the pause.
    fn go(&mut self, now: Instant, pause: Duration) {
        self.carried.pop();
        self.review = (!self.carried.is_empty()).then_some(now + TRIAL);
        self.left = TERM;
        self.paused_until = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::meter::Work;

    struct Agents(Growth, Instant);

    impl Agents {
        fn new() -> Self {
            Self(Growth::default(), Instant::now())
        }

        /// The active agents after so many milliseconds, when together they have carried so many thousand, and those
        /// transfers that were there before the last one have ended.
        fn after(&mut self, milliseconds: u64, carried: u64, saturated: bool) -> usize {
            if let Some(trial) = &mut self.0.trial {
                trial.starts = 0;
            }
            self.start(milliseconds, carried, saturated)
        }

        /// The same when one more transfer starts.
        fn start(&mut self, milliseconds: u64, carried: u64, saturated: bool) -> usize {
            self.1 += Duration::from_millis(milliseconds);
            let active = self.0.active();
            let work = Work { rate: 1000 * carried / active as u64, saturated };
            self.0.look(self.1, std::iter::repeat_n(Load { transfers: 3, work }, active), 3);
            self.0.active()
        }
    }

    #[test]
    fn agents_join_while_all_are_saturated_and_more_is_carried() {
        let mut agents = Agents::new();
        assert_eq!(agents.after(0, 60, false), 1);
        assert_eq!(agents.after(0, 100, true), 2);
        assert_eq!(agents.after(10, 180, true), 2, "the second one is on trial");
        assert_eq!(agents.after(50, 180, true), 3);
        assert_eq!(agents.after(60, 270, true), 3, "there are no more");
        assert_eq!(agents.after(60, 140, false), 3);
        assert_eq!(agents.after(60, 130, false), 2, "two can do it");
        assert_eq!(agents.after(60, 80, false), 2);
        assert_eq!(agents.after(59, 70, false), 2);
        assert_eq!(agents.after(1, 70, false), 1);
    }

    #[test]
    fn one_with_whom_nothing_is_gained_goes_and_comes_back_later_each_time() {
        let mut agents = Agents::new();
        assert_eq!(agents.after(0, 100, true), 2);
        assert_eq!(agents.after(60, 114, true), 1);
        assert_eq!(agents.after(499, 100, true), 1);
        assert_eq!(agents.after(1, 100, true), 2);
        assert_eq!(agents.after(60, 100, false), 1);
        assert_eq!(agents.after(500, 100, true), 1);
        assert_eq!(agents.after(500, 100, true), 2);
        for _ in 0..20 {
            agents.after(60, 100, false);
            agents.after(31_000, 100, true);
        }
        assert_eq!(agents.0.active(), 2, "it is tried again in the end");
    }

    #[test]
    fn a_while_without_transfers_says_nothing_of_the_last_agent() {
        let mut agents = Agents::new();
        assert_eq!(agents.after(0, 100, true), 2);
        assert_eq!(agents.after(60, 180, true), 3);
        assert_eq!(agents.after(1000, 0, true), 2, "the trial of the third one begins again later");
        assert_eq!(agents.after(20, 0, true), 2, "it is not known yet");
        assert_eq!(agents.after(20, 180, true), 3, "and needs no pause");
        assert_eq!(agents.after(60, 250, true), 3);
        assert_eq!(agents.after(1000, 0, true), 3);
        assert_eq!(agents.after(59, 240, true), 3);
        assert_eq!(agents.after(1000, 0, true), 3);
        assert_eq!(agents.after(1000, 0, true), 2, "little is done, again");
    }

    #[test]
    fn one_that_stays_has_another_trial_later_each_time() {
        let mut agents = Agents::new();
        assert_eq!(agents.after(0, 100, true), 2);
        assert_eq!(agents.after(60, 180, false), 2);
        for _ in 0..TERM {
            assert_eq!(agents.after(60, 180, false), 2);
        }
        assert_eq!(agents.after(60, 180, true), 1, "its term is over");
        assert_eq!(agents.after(59, 110, true), 1);
        assert_eq!(agents.after(1, 110, true), 2);
        assert_eq!(agents.after(60, 180, false), 2);
        for _ in 0..2 * TERM {
            assert_eq!(agents.after(60, 180, false), 2, "twice as long");
        }
        assert_eq!(agents.after(60, 180, true), 1);
        assert_eq!(agents.after(60, 170, true), 2);
        assert_eq!(agents.after(60, 180, true), 1, "it was quicker with one in the end");
        assert_eq!(agents.after(499, 170, true), 1);
        assert_eq!(agents.after(1, 170, true), 2);
    }

    #[test]
    fn a_new_agent_is_judged_by_what_starts_after_it() {
        let mut agents = Agents::new();
        assert_eq!(agents.start(0, 100, true), 2);
        for _ in 0..3 {
            assert_eq!(agents.start(100, 100, true), 2);
        }
        assert_eq!(agents.start(59, 100, true), 2, "the last of them has just started");
        assert_eq!(agents.start(1, 100, true), 1);
        assert_eq!(agents.start(500, 100, true), 2);
        assert_eq!(agents.start(1999, 100, true), 2);
        assert_eq!(agents.start(60, 100, true), 1, "where few start it is judged all the same");
    }
}
