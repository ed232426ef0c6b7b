//! How much an agent does, and whether it keeps a core busy. Never reads a clock.

use std::time::{Duration, Instant};

/// How long the agent is watched for one verdict.
pub(super) const WINDOW: Duration = Duration::from_millis(20);
/// A longer time without a look says nothing of what the agent can carry.
const LAPSE: Duration = Duration::from_millis(100);
/// For how long of rest an agent that was saturated is taken to be so still.
const REST: Duration = Duration::from_secs(10);
/// The share of a core, in percent, from which on the agent is saturated if it lasts, and below which it no longer is.
const SATURATED: u128 = 80;
const CALM: u128 = 40;
/// How many windows it has to last: until then the rate is that of a start.
const LASTS: u32 = 3;

/// How much an agent does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// What it carries, in bytes a second: half of it in the last window, half in the one before. Nothing of what was earlier:
    /// the agent may have shared its work with another one since.
    pub(super) rate: u64,
    /// It keeps a core busy, or did so before it came to rest lately.
    pub(super) saturated: bool,
}

/// Compares the CPU time of an agent's thread with the time that has passed. A thread that would work but gets no core is
/// not saturated: another one would get none either.
#[derive(Default)]
pub(super) struct Meter {
    /// That of the last look.
    thread: usize,
    /// Of the CPU time of that thread.
    on_thread: Window<Duration>,
    /// The agent has rested since that one began.
    rested: bool,
    /// For how many windows the agent has kept a core busy.
    busy: u32,
    /// Of what was carried.
    carrying: Window<u64>,
    /// In the last window; zero if that is not known.
    last_rate: u64,
    work: Work,
}

impl Meter {
    /// The agent comes to rest.
    pub(super) fn rest(&mut self) {
        self.rested = true;
    }

    /// What the agent does, on this thread. `cpu` and `carried` are asked once a window.
    pub(super) fn look(
        &mut self,
        thread: usize,
        now: Instant,
        cpu: impl FnOnce() -> Duration,
        carried: impl FnOnce() -> u64,
    ) -> Work {
        if std::mem::replace(&mut self.thread, thread) != thread {
            self.on_thread = Window::default();
            self.busy = 0;
            self.work.saturated = false;
        }
        if let Some((passed, before, cpu)) = self.on_thread.over(now, cpu)
            && !(std::mem::take(&mut self.rested) && (LAPSE..REST).contains(&passed))
        {
            let share = cpu.saturating_sub(before).as_nanos() * 100 / passed.as_nanos();
            let still = share >= if self.busy > 0 { CALM } else { SATURATED };
            self.busy = if still { self.busy.saturating_add(1) } else { 0 };
            self.work.saturated = self.busy >= LASTS;
        }
        if let Some((passed, before, carried)) = self.carrying.over(now, carried) {
            let rate = (carried.wrapping_sub(before) as f64 / passed.as_secs_f64()) as u64;
            let known = if passed > LAPSE { 0 } else { rate };
            let before = std::mem::replace(&mut self.last_rate, known);
            self.work.rate = if before == 0 || passed > LAPSE { known } else { before / 2 + known / 2 };
        }
        self.work
    }
}

/// The time, and a value that only grows, as they were when it began.
#[derive(Default)]
struct Window<T>(Option<(Instant, T)>);

impl<T: Copy> Window<T> {
    /// How long it was, and the value before and now, if it is over. Another one begins then.
    fn over(&mut self, now: Instant, value: impl FnOnce() -> T) -> Option<(Duration, T, T)> {
        let Some((since, before)) = self.0 else {
            self.0 = Some((now, value()));
            return None;
        };
        let passed = now.saturating_duration_since(since);
        if passed < WINDOW {
            return None;
        }
        let value = value();
        self.0 = Some((now, value));
        Some((passed, before, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_saturated_from_much_work_until_little() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let mut at = |milliseconds: u64, cpu: u64| {
            let now = start + Duration::from_millis(milliseconds);
            meter.look(1, now, || Duration::from_millis(cpu), || 0).saturated
        };
        assert!(!at(0, 5));
        assert!(!at(19, 24), "too early to tell");
        assert!(!at(20, 25));
        assert!(!at(40, 35));
        assert!(at(60, 45), "it lasts");
        assert!(at(80, 54), "half a core is not calm");
        assert!(!at(100, 60));
        assert!(!at(160, 90), "and not saturated either");
        assert!(!at(10_160, 100));
    }

    #[test]
    fn a_rest_says_nothing_for_a_while_and_another_thread_begins_anew() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let at = |meter: &mut Meter, thread: usize, milliseconds: u64, cpu: u64| {
            let now = start + Duration::from_millis(milliseconds);
            meter.look(thread, now, || Duration::from_millis(cpu), || 0).saturated
        };
        for milliseconds in [0, 20, 40] {
            assert!(!at(&mut meter, 1, milliseconds, milliseconds));
        }
        assert!(at(&mut meter, 1, 60, 60));
        meter.rest();
        assert!(at(&mut meter, 1, 1060, 61), "it rested");
        assert!(at(&mut meter, 1, 1080, 79));
        meter.rest();
        assert!(!at(&mut meter, 1, 1150, 80), "a rest within a window");
        for milliseconds in [1170, 1190, 1210] {
            at(&mut meter, 1, milliseconds, milliseconds);
        }
        assert!(!at(&mut meter, 1, 2230, 1300), "it waited");
        for milliseconds in [2250, 2270, 2290] {
            at(&mut meter, 1, milliseconds, milliseconds);
        }
        meter.rest();
        assert!(!at(&mut meter, 1, 12_290, 2290), "that was long ago");
        for milliseconds in [12_310, 12_330, 12_350] {
            at(&mut meter, 1, milliseconds, milliseconds);
        }
        assert!(!at(&mut meter, 2, 12_360, 7), "of this thread nothing is known");
    }

    #[test]
    fn the_rate_follows_what_is_carried_whoever_runs_the_agent() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let mut at = |thread: usize, milliseconds: u64, carried: u64| {
            meter.look(thread, start + Duration::from_millis(milliseconds), || Duration::ZERO, || carried).rate
        };
        assert_eq!(at(1, 0, 5_000), 0, "what was before does not count");
        assert_eq!(at(1, 100, 15_000), 100_000);
        assert_eq!(at(1, 110, 90_000), 100_000, "within a window");
        assert_eq!(at(2, 200, 30_000), 125_000);
        assert_eq!(at(2, 300, 30_000), 75_000);
        assert_eq!(at(2, 400, 31_000), 10_000);
        assert_eq!(at(2, 600, 31_000), 0, "it was away");
        assert_eq!(at(2, 650, 37_000), 120_000);
    }
}
