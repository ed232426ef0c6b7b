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
/// How long an agent that did not stay is not tried again, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many reviews an agent that stays has until its next trial, at first and at most. Whoever begins gets quicker for some
/// tens of milliseconds, with one agent as well, and what the machine has left for more of them changes.
const TERM: u32 = 16;
const LONGEST_TERM: u32 = 512;

/// An agent joins when each one keeps a core busy, and stays if together they carry more than before: where no core is free,
/// because the server or the caller need theirs, one more agent only means smaller turns and more waking. It goes when
/// those before it can easily carry it all, and for a moment at the end of its term, so that this can be seen.
#[derive(Default)]
pub(super) struct Growth {
    /// The further agents: those that are active, then those that were.
    further: Vec<Further>,
    /// How many of them are active.
    joined: usize,
    /// When to decide on the last one that is active.
    review: Option<Instant>,
    /// The last one has yet to stay.
    trial: Option<Trial>,
    /// Nothing was carried when a review was due, nor since.
    idle: bool,
}

/// What is known of an agent beside the first one.
struct Further {
    /// What those before it carried when it joined, in bytes a second.
    before: u64,
    /// How many reviews it has left in its term, and how many it has in its next one.
    left: u32,
    term: u32,
    /// How long it will not be back when it does not stay, and until when it is not.
    pause: Duration,
    paused_until: Option<Instant>,
}

struct Trial {
    /// How many transfers have yet to start until most of those from before have ended.
    starts: usize,
    until: Instant,
}

impl Further {
    const fn new() -> Self {
        Self { before: 0, left: TERM, term: TERM, pause: PAUSE, paused_until: None }
    }

    fn stays(&mut self) {
        self.pause = PAUSE;
        self.left = self.term;
        self.term = (self.term * 2).min(LONGEST_TERM);
    }

    fn fails(&mut self, now: Instant) {
        self.paused_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.term = TERM;
    }
}

impl Growth {
    /// How many agents take new transfers, the first ones, beside those that a caller runs.
    pub(super) fn active(&self) -> usize {
        self.joined + 1
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
        if self.review.is_some_and(|review| review <= now) {
            self.decide(now, carried);
        }
        if saturated && carried > 0 && self.trial.is_none() && self.active() < most {
            if self.further.len() == self.joined {
                self.further.push(Further::new());
            }
            let next = &mut self.further[self.joined];
            if next.paused_until.is_none_or(|until| until <= now) {
                next.before = carried;
                self.joined += 1;
                self.trial = Some(Trial { starts: in_flight, until: now + LONGEST_TRIAL });
                self.review = Some(now + TRIAL);
            }
        }
    }

    /// Reviews the last one.
    fn decide(&mut self, now: Instant, carried: u64) {
        self.review = Some(now + TRIAL);
        let Some(last) = self.further[..self.joined].last_mut() else { return };
        let on_trial = self.trial.is_some();
        if carried == 0 && !std::mem::replace(&mut self.idle, true) {
            // There was nothing to do for a while: it is not known what they carry. A trial begins again.
            if on_trial {
                self.leave();
            }
        } else if carried * 100 < last.before * if on_trial { STAYS } else { GOES } {
            if on_trial {
                last.fails(now);
            } else {
                last.paused_until = Some(now + PAUSE);
            }
            self.leave();
        } else if on_trial {
            last.stays();
            self.trial = None;
        } else if last.left > 0 {
            last.left -= 1;
        } else {
            last.paused_until = Some(now + TRIAL);
            self.leave();
        }
    }

    /// The last one takes no more transfers.
    fn leave(&mut self) {
        self.joined -= 1;
        self.trial = None;
        if self.joined == 0 {
            self.review = None;
        }
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
    fn one_that_never_helps_leaves_the_others_alone() {
        let mut agents = Agents::new();
        agents.after(0, 100, true);
        let (mut tries, mut alone, mut active) = (0, 0, 2);
        // With a third one they carry as much as with two, for a minute.
        for _ in 0..60_000 / 20 {
            let before = active;
            active = agents.after(20, if active == 1 { 100 } else { 150 }, true);
            tries += u32::from((before, active) == (2, 3));
            alone += u32::from(active == 1);
        }
        assert!((5..10).contains(&tries), "{tries}");
        assert!(alone < 20, "{alone}");
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
