//! What is sent after a switch of protocols: how much of it libcurl still holds. Sends nothing.

use std::time::{Duration, Instant};

use crate::ffi::options::{Info, Live};

/// What is sent after a switch of protocols.
///
/// A libcurl whose sending is paused sends nothing, not even what it holds already. So it is let go on now and then until
/// it holds nothing; what it holds is known here because no framing of libcurl's is in the count.
#[derive(Default)]
pub(super) struct Stream {
    /// Bytes handed to libcurl.
    given: u64,
    /// Bytes that libcurl held at the last look.
    held: u64,
    /// When to let libcurl go on, and how long was waited for that.
    again: Option<Instant>,
    pause: Duration,
}

impl Stream {
    /// The shortest and the longest time between two attempts.
    const SOON: Duration = Duration::from_millis(1);
    const SELDOM: Duration = Duration::from_millis(32);

    /// Asks libcurl how much it holds.
    pub(super) fn look(&mut self, live: Live<'_>) -> u64 {
        let held = self.given.saturating_sub(live.number(Info::SizeUpload));
        if held != self.held {
            self.pause = Duration::ZERO;
        }
        self.held = held;
        held
    }

    /// Bytes are handed to libcurl.
    pub(super) fn give(&mut self, amount: usize) {
        self.given += amount as u64;
    }

    /// The sending is about to be paused.
    pub(super) fn before_pause(&mut self, now: Instant) {
        self.again = (self.held > 0).then(|| {
            self.pause = (self.pause * 2).clamp(Self::SOON, Self::SELDOM);
            now + self.pause
        });
    }

    /// When libcurl is to be let go on.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Whether that is now; told once.
    pub(super) fn is_due(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.again.take_if(|at| *at <= now()).is_some()
    }
}
