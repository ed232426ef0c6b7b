//! Whether an agent keeps a core busy. Never reads a clock.

use std::time::{Duration, Instant};

/// How long the agent is watched for one verdict.
const WINDOW: Duration = Duration::from_millis(20);
/// The share of a core, in percent, from which on the agent is saturated, and below which it no longer is.
const SATURATED: u8 = 80;
const CALM: u8 = 40;

/// Compares the CPU time of an agent's thread with the time that has passed. A thread that would work but gets no core is
/// not saturated: another one would get none either.
#[derive(Default)]
pub(super) struct Meter {
    /// The time, and the CPU time then.
    start: Option<(Instant, Duration)>,
    share: u8,
    saturated: bool,
}

impl Meter {
    /// The share of a core in the last window, in percent, and whether the agent is saturated. `cpu` is asked once a window.
    pub(super) fn look(&mut self, now: Instant, cpu: impl FnOnce() -> Duration) -> (u8, bool) {
        let Some((since, before)) = self.start else {
            self.start = Some((now, cpu()));
            return (self.share, self.saturated);
        };
        let passed = now.saturating_duration_since(since);
        if passed >= WINDOW {
            let cpu = cpu();
            let share = cpu.saturating_sub(before).as_nanos() * 100 / passed.as_nanos();
            self.share = share.min(100) as u8;
            self.saturated = self.share >= if self.saturated { CALM } else { SATURATED };
            self.start = Some((now, cpu));
        }
        (self.share, self.saturated)
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
            meter.look(start + Duration::from_millis(milliseconds), || Duration::from_millis(cpu)).1
        };
        assert!(!at(0, 5));
        assert!(!at(19, 24), "too early to tell");
        assert!(at(20, 25));
        assert!(at(40, 34), "half a core is not calm");
        assert!(!at(60, 40));
        assert!(!at(80, 50), "and not saturated either");
        assert!(!at(10_080, 60));
    }
}
