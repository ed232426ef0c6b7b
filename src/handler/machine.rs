//! The rules of a transfer: `(state, event, now) -> (state, effect)`. Has no clock: whoever steps brings the time, which
//! is asked for only where a rule needs it.
//!
//! The driver (`easy::transfer`) tells what happened, carries the effect out, and tells what the handler answered. The
//! two directions of a transfer are *lanes*: each is open or parked, and the driver pauses libcurl on a parked one.

use std::time::{Duration, Instant};

use super::next::Wish;
use super::{Next, Ready};

/// How much of an unread response is read and thrown away to save its connection.
pub(crate) const DRAIN_LIMIT: u64 = 64 << 10;
/// How long that may take.
pub(crate) const DRAIN_TIME: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The handler answered.
    Answered(Next),
    /// A control was used.
    Ready(Ready),
    /// libcurl has this many bytes of the response's body.
    Readable(usize),
    /// libcurl wants bytes of the request's body.
    Writable,
    /// The handler was called for a lane and did nothing, though it could.
    NoProgress(Lane),
    /// libcurl has seen the end of the response.
    Complete,
    /// Time has passed.
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing to do.
    Nothing,
    /// Call the handler for this lane.
    Call(Lane),
    /// Pause libcurl on this lane: answer its callback so.
    Pause(Lane),
    /// Let libcurl go on where [`Machine::parked`] no longer says it is parked.
    Resume,
    /// Throw the bytes away.
    Discard,
    /// Tell the handler that the response is complete.
    CallEnd,
    /// Keep the complete transfer until the handler wants to read.
    Hold,
    /// Tell the handler that its time is up.
    CallTimeout,
    /// End the transfer without telling the handler.
    Abort,
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: State,
    read: Side,
    write: Side,
    deadline: Option<Instant>,
    /// What is left of the body, where its length was declared.
    left: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// The handler's last answer asks for this lane.
    wanted: bool,
    /// A control asked for it since the handler was last called for it.
    nudged: bool,
    /// libcurl was told to pause.
    paused: bool,
}

impl Side {
    fn open(self) -> bool {
        self.wanted || self.nudged
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The handler takes part.
    Running,
    /// The response is complete and waits for the handler.
    Held,
    /// The handler is done; this many more bytes may be thrown away.
    Draining(u64),
    Over,
}

impl Machine {
    /// A transfer whose handler answered `first` when it was asked for the request.
    pub(crate) fn new(first: Next, now: impl Fn() -> Instant) -> (Self, Effect) {
        let mut machine =
            Self { state: State::Running, read: Side::default(), write: Side::default(), deadline: None, left: None };
        let effect = machine.step(Event::Answered(first), now);
        (machine, effect)
    }

    /// When [`Event::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The lanes that libcurl must stay paused on: `(read, write)`.
    pub(crate) fn parked(&self) -> (bool, bool) {
        (self.read.paused, self.write.paused)
    }

    /// Declares the length of the response's body.
    pub(crate) fn declare(&mut self, length: Option<u64>) {
        self.left = length;
    }

    /// The handler read this many bytes of the response's body.
    pub(crate) fn progress(&mut self, amount: usize) {
        self.left = self.left.map(|left| left.saturating_sub(amount as u64));
    }

    /// Whether the handler is done with the transfer, so that its failure is no news.
    pub(crate) fn is_handler_done(&self) -> bool {
        matches!(self.state, State::Draining(_) | State::Over)
    }

    pub(crate) fn step(&mut self, event: Event, now: impl Fn() -> Instant) -> Effect {
        match (self.state, event) {
            (State::Over, _) => Effect::Abort,

            (State::Running | State::Held, Event::Answered(next) | Event::Ready(Ready(next))) => {
                if !next.keep {
                    // A limit beyond what the clock can hold is as good as none.
                    self.deadline = next.timeout.and_then(|limit| now().checked_add(limit));
                }
                match next.wish {
                    Wish::Go { read, write } => {
                        if matches!(event, Event::Answered(_)) {
                            self.read.wanted = read;
                            self.write.wanted = write;
                        } else {
                            self.read.nudged |= read;
                            self.write.nudged |= write;
                        }
                        self.go_on()
                    }
                    Wish::End => self.start_draining(now()),
                    Wish::Remove => self.abort(),
                }
            }
            // The handler has said its last word, but its control may still be used.
            (State::Draining(_), Event::Answered(_)) => Effect::Nothing,
            (State::Draining(_), Event::Ready(Ready(next))) => match next.wish {
                Wish::Remove => self.abort(),
                _ => Effect::Nothing,
            },

            (State::Running, Event::Readable(_)) => {
                if !self.read.open() {
                    self.read.paused = true;
                    return Effect::Pause(Lane::Read);
                }
                self.read.nudged = false;
                self.deadline = None;
                Effect::Call(Lane::Read)
            }
            (State::Draining(left), Event::Readable(amount)) => match left.checked_sub(amount as u64) {
                Some(left) => {
                    self.state = State::Draining(left);
                    Effect::Discard
                }
                None => self.abort(),
            },

            (State::Running, Event::Writable) => {
                if !self.write.open() {
                    self.write.paused = true;
                    return Effect::Pause(Lane::Write);
                }
                self.write.nudged = false;
                self.deadline = None;
                Effect::Call(Lane::Write)
            }
            // A request that is not sent cannot be ended politely.
            (State::Draining(_), Event::Writable) => self.abort(),

            (State::Running, Event::NoProgress(lane)) => {
                let side = self.side(lane);
                side.wanted = false;
                if side.nudged {
                    return Effect::Call(lane);
                }
                side.paused = true;
                Effect::Pause(lane)
            }
            (_, Event::NoProgress(_)) => self.abort(),

            (State::Running, Event::Complete) => {
                if self.read.open() {
                    self.deadline = None;
                    self.state = State::Over;
                    Effect::CallEnd
                } else {
                    self.state = State::Held;
                    Effect::Hold
                }
            }
            (State::Draining(_), Event::Complete) => self.abort(),
            (State::Held, Event::Complete | Event::Readable(_) | Event::Writable) => Effect::Nothing,

            (state, Event::Tick) => match self.deadline {
                Some(deadline) if deadline <= now() => {
                    self.deadline = None;
                    if matches!(state, State::Draining(_)) { self.abort() } else { Effect::CallTimeout }
                }
                _ => Effect::Nothing,
            },
        }
    }

    fn side(&mut self, lane: Lane) -> &mut Side {
        match lane {
            Lane::Read => &mut self.read,
            Lane::Write => &mut self.write,
        }
    }

    fn go_on(&mut self) -> Effect {
        if self.state == State::Held {
            if self.read.open() {
                self.deadline = None;
                self.state = State::Over;
                return Effect::CallEnd;
            }
            return Effect::Nothing;
        }
        let resume = |side: &mut Side| side.open() && std::mem::take(&mut side.paused);
        // Both, not one or the other.
        if resume(&mut self.read) | resume(&mut self.write) { Effect::Resume } else { Effect::Nothing }
    }

    fn start_draining(&mut self, now: Instant) -> Effect {
        if self.state == State::Held {
            return self.abort();
        }
        if self.left.is_some_and(|left| left > DRAIN_LIMIT) || self.write.paused {
            return self.abort();
        }
        self.state = State::Draining(self.left.unwrap_or(DRAIN_LIMIT));
        self.deadline = Some(now + DRAIN_TIME);
        self.read.wanted = true;
        self.go_on()
    }

    fn abort(&mut self) -> Effect {
        self.state = State::Over;
        self.deadline = None;
        Effect::Abort
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Effect::{Abort, Call, CallEnd, CallTimeout, Discard, Hold, Nothing, Pause, Resume};
    use Event::{Answered, Complete, NoProgress, Readable, Tick, Writable};
    use Lane::{Read, Write};

    const SECOND: Duration = Duration::from_secs(1);

    fn ready(ready: Ready) -> Event {
        Event::Ready(ready)
    }

    /// Runs a table: each line is milliseconds since the start, an event, the effect it must have.
    #[track_caller]
    fn table(first: Next, length: Option<u64>, lines: &[(u64, Event, Effect)]) -> Machine {
        let start = Instant::now();
        let (mut machine, _) = Machine::new(first, || start);
        machine.declare(length);
        for (number, (at, event, effect)) in lines.iter().enumerate() {
            let got = machine.step(*event, || start + Duration::from_millis(*at));
            assert_eq!(got, *effect, "line {number}: {event:?} in {machine:?}");
        }
        machine
    }

    #[test]
    fn a_download_is_read_to_its_end() {
        table(
            Next::read(),
            Some(10),
            &[
                (0, Readable(5), Call(Read)),
                (0, Answered(Next::read()), Nothing),
                (0, Readable(5), Call(Read)),
                (0, Answered(Next::read()), Nothing),
                (0, Complete, CallEnd),
                (0, Readable(1), Abort),
            ],
        );
    }

    #[test]
    fn a_lane_that_is_not_wanted_is_paused_and_resumed_once() {
        table(
            Next::write(),
            None,
            &[
                (0, Readable(5), Pause(Read)),
                (0, Writable, Call(Write)),
                (0, Answered(Next::wait()), Nothing),
                (0, Writable, Pause(Write)),
                (0, ready(Ready::read_and_write()), Resume),
                (0, ready(Ready::read_and_write()), Nothing),
                (0, Readable(5), Call(Read)),
            ],
        );
    }

    #[test]
    fn resuming_one_lane_leaves_the_other_parked() {
        let machine = table(
            Next::wait(),
            None,
            &[(0, Readable(5), Pause(Read)), (0, Writable, Pause(Write)), (0, ready(Ready::write()), Resume)],
        );
        assert_eq!(machine.parked(), (true, false));
    }

    #[test]
    fn a_nudge_stands_until_the_handler_is_called_for_its_lane() {
        table(
            Next::read(),
            None,
            &[
                (0, Writable, Pause(Write)),
                (0, ready(Ready::write()), Resume),
                (0, Readable(5), Call(Read)),
                // The answer knows nothing of the nudge and must not take it back.
                (0, Answered(Next::read()), Nothing),
                (0, Writable, Call(Write)),
                (0, Answered(Next::read()), Nothing),
                (0, Writable, Pause(Write)),
            ],
        );
    }

    #[test]
    fn a_handler_that_does_nothing_is_parked_unless_it_was_nudged_meanwhile() {
        table(
            Next::read_and_write(),
            None,
            &[
                (0, Writable, Call(Write)),
                (0, Answered(Next::read_and_write()), Nothing),
                (0, NoProgress(Write), Pause(Write)),
                (0, ready(Ready::write()), Resume),
                (0, Writable, Call(Write)),
                (0, Answered(Next::read_and_write()), Nothing),
                (0, ready(Ready::write()), Nothing),
                (0, NoProgress(Write), Call(Write)),
            ],
        );
    }

    #[test]
    fn a_timeout_is_told_once_and_the_handler_may_go_on() {
        table(
            Next::read().timeout(SECOND),
            None,
            &[
                (999, Tick, Nothing),
                (1000, Tick, CallTimeout),
                (1000, Answered(Next::read().timeout(SECOND)), Nothing),
                (1500, Readable(1), Call(Read)),
                (1500, Answered(Next::read().timeout(SECOND)), Nothing),
                (2499, Tick, Nothing),
                (2500, Tick, CallTimeout),
                (2500, Answered(Next::remove()), Abort),
                (2500, Readable(1), Abort),
            ],
        );
    }

    #[test]
    fn an_event_ends_a_running_timeout() {
        let machine = table(
            Next::wait().timeout(SECOND),
            None,
            &[(10, ready(Ready::read()), Nothing), (2000, Tick, Nothing), (2000, Readable(1), Call(Read))],
        );
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn a_wake_may_leave_a_running_timeout_alone() {
        table(
            Next::wait().timeout(SECOND),
            None,
            &[(10, ready(Ready::read().keeping()), Nothing), (999, Tick, Nothing), (1000, Tick, CallTimeout)],
        );
    }

    #[test]
    fn a_small_rest_is_drained() {
        table(
            Next::read(),
            Some(100),
            &[
                (0, Readable(40), Call(Read)),
                (0, Answered(Next::end()), Nothing),
                (0, Readable(60), Discard),
                (0, Complete, Abort),
            ],
        );
    }

    #[test]
    fn a_paused_rest_is_resumed_to_be_drained() {
        table(
            Next::wait(),
            Some(100),
            &[(0, Readable(40), Pause(Read)), (0, ready(Ready::end()), Resume), (0, Readable(40), Discard)],
        );
    }

    #[test]
    fn a_large_rest_is_not_drained() {
        table(Next::read(), Some(DRAIN_LIMIT + 1), &[(0, ready(Ready::end()), Abort)]);
        table(
            Next::read(),
            None,
            &[(0, ready(Ready::end()), Nothing), (0, Readable(DRAIN_LIMIT as usize), Discard), (0, Readable(1), Abort)],
        );
    }

    #[test]
    fn a_slow_rest_is_not_drained() {
        table(Next::read(), Some(100), &[(0, ready(Ready::end()), Nothing), (499, Tick, Nothing), (500, Tick, Abort)]);
    }

    #[test]
    fn an_unsent_request_is_aborted_and_not_drained() {
        table(Next::write(), None, &[(0, Answered(Next::end()), Nothing), (0, Writable, Abort)]);
    }

    #[test]
    fn a_complete_response_waits_for_a_parked_handler() {
        table(
            Next::wait(),
            Some(0),
            &[
                (0, Complete, Hold),
                (0, ready(Ready::write()), Nothing),
                (0, ready(Ready::read()), CallEnd),
                (0, Complete, Abort),
            ],
        );
        table(Next::wait().timeout(SECOND), Some(0), &[(0, Complete, Hold), (1000, Tick, CallTimeout)]);
        table(Next::wait(), Some(0), &[(0, Complete, Hold), (0, ready(Ready::end()), Abort)]);
    }

    #[test]
    fn remove_ends_every_state() {
        for lines in [
            &[(0, ready(Ready::remove()), Abort)][..],
            &[(0, ready(Ready::end()), Nothing), (0, ready(Ready::remove()), Abort)],
            &[(0, Answered(Next::wait()), Nothing), (0, Complete, Hold), (0, ready(Ready::remove()), Abort)],
        ] {
            table(Next::read(), None, lines);
        }
    }
}
