//! The state machine of a WebSocket session: what to do about what happens. Never reads the clock, sends nothing.
//!
//! ```text
//! connecting --opened--> open --silence--> asked for a sign of life --silence--> closing --closed or late--> closed
//!                          |                                                       ^
//!                          +------------- refused, told to close, stopped ---------+
//! ```

use std::time::{Duration, Instant};

/// Why a session is closed: a code of RFC 6455, 7.4.1, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) code: u16,
    pub(super) text: &'static str,
}

pub(super) const GOING_AWAY: Reason = Reason { code: 1001, text: "the server stops" };
pub(super) const PROTOCOL: Reason = Reason { code: 1002, text: "a rule of WebSockets is broken" };
pub(super) const NO_TEXT: Reason = Reason { code: 1007, text: "text is UTF-8" };
pub(super) const UNSUPPORTED: Reason = Reason { code: 1003, text: "messages are text" };
pub(super) const TOO_BIG: Reason = Reason { code: 1009, text: "the message is too large" };
pub(super) const TOO_SLOW: Reason = Reason { code: 1008, text: "what was sent is not read" };
pub(super) const SILENT: Reason = Reason { code: 1001, text: "no sign of life" };

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// The handshake is complete.
    Opened,
    /// Something has come, of whatever kind.
    Heard,
    /// It is to be closed.
    Close(Reason),
    /// The peer has closed, or the connection is gone.
    Gone,
    /// Some time has passed.
    Time,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Ask for a sign of life.
    Ping,
    /// Say that it ends.
    SendClose(Reason),
    /// End the connection.
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open { heard: Instant, asked: Option<Instant> },
    Closing { since: Instant },
    Closed,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    begun: Instant,
    /// How long it may be silent.
    silence: Duration,
    /// How long the peer has to answer a close.
    patience: Duration,
}

impl Session {
    pub(super) fn new(silence: Duration, patience: Duration, now: Instant) -> Self {
        Self { phase: Phase::Connecting, begun: now, silence, patience }
    }

    /// When time alone changes something.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connecting => Some(self.begun + self.patience),
            Phase::Open { heard, asked } => Some(asked.unwrap_or(heard) + self.silence),
            Phase::Closing { since } => Some(since + self.patience),
            Phase::Closed => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether messages are still read.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(super) fn step(&mut self, happening: Happening, now: Instant) -> Action {
        let due = self.next().is_some_and(|next| next <= now);
        match (self.phase, happening) {
            (Phase::Closed, _) => Action::Nothing,
            (_, Happening::Gone) => self.end(),
            (Phase::Connecting, Happening::Opened) => {
                self.phase = Phase::Open { heard: now, asked: None };
                Action::Nothing
            }
            (Phase::Connecting, Happening::Close(_)) => self.end(),
            (Phase::Connecting | Phase::Closing { .. }, Happening::Time) if due => self.end(),
            (Phase::Open { .. }, Happening::Heard) => {
                self.phase = Phase::Open { heard: now, asked: None };
                Action::Nothing
            }
            (Phase::Open { .. }, Happening::Close(reason)) => self.close(reason, now),
            (Phase::Open { asked: Some(_), .. }, Happening::Time) if due => self.close(SILENT, now),
            (Phase::Open { heard, asked: None }, Happening::Time) if due => {
                self.phase = Phase::Open { heard, asked: Some(now) };
                Action::Ping
            }
            _ => Action::Nothing,
        }
    }

    fn close(&mut self, reason: Reason, now: Instant) -> Action {
        self.phase = Phase::Closing { since: now };
        Action::SendClose(reason)
    }

    fn end(&mut self) -> Action {
        self.phase = Phase::Closed;
        Action::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(30);
    const PATIENCE: Duration = Duration::from_secs(5);

    fn open(now: Instant) -> Session {
        let mut session = Session::new(SILENCE, PATIENCE, now);
        assert_eq!(session.step(Happening::Opened, now), Action::Nothing);
        session
    }

    #[test]
    fn a_silent_peer_is_asked_and_then_closed() {
        let start = Instant::now();
        let mut session = open(start);
        assert_eq!(session.step(Happening::Time, start + SILENCE / 2), Action::Nothing);
        assert_eq!(session.step(Happening::Time, start + SILENCE), Action::Ping);
        assert_eq!(session.step(Happening::Time, start + SILENCE), Action::Nothing);
        assert_eq!(session.step(Happening::Time, start + SILENCE * 2), Action::SendClose(SILENT));
        assert!(!session.is_open());
        assert_eq!(session.step(Happening::Time, start + SILENCE * 2 + PATIENCE), Action::Drop);
        assert!(session.is_closed() && session.next().is_none());
    }

    #[test]
    fn a_sign_of_life_starts_the_silence_anew() {
        let start = Instant::now();
        let mut session = open(start);
        assert_eq!(session.step(Happening::Time, start + SILENCE), Action::Ping);
        assert_eq!(session.step(Happening::Heard, start + SILENCE * 3 / 2), Action::Nothing);
        assert_eq!(session.next(), Some(start + SILENCE * 5 / 2));
        assert_eq!(session.step(Happening::Time, start + SILENCE * 2), Action::Nothing);
    }

    #[test]
    fn a_handshake_that_is_not_completed_ends() {
        let start = Instant::now();
        let mut session = Session::new(SILENCE, PATIENCE, start);
        assert_eq!(session.step(Happening::Time, start), Action::Nothing);
        assert_eq!(session.step(Happening::Time, start + PATIENCE), Action::Drop);
        assert!(session.is_closed());
    }

    #[test]
    fn a_close_is_sent_once_and_its_answer_ends_the_session() {
        let start = Instant::now();
        let mut session = open(start);
        assert_eq!(session.step(Happening::Close(TOO_BIG), start), Action::SendClose(TOO_BIG));
        assert_eq!(session.step(Happening::Close(GOING_AWAY), start), Action::Nothing);
        assert_eq!(session.step(Happening::Heard, start), Action::Nothing);
        assert_eq!(session.step(Happening::Gone, start), Action::Drop);
        assert_eq!(session.step(Happening::Gone, start), Action::Nothing);
    }
}
