//! The rules of an open WebSocket (RFC 6455 5 to 7). Never reads the clock, waits for nothing.
//!
//! ```text
//!  bytes ──receive──► messages for the caller        messages of the caller ──write──► bytes
//!              └─► a pong, a close: go out before the next message
//! ```
//!
//! Pings are answered here, and of those that wait for their answer only the latest are (RFC 6455 5.5.3 asks for no more
//! than one): a flood of them costs a few payloads. A received close is answered once. A rule that the server breaks closes with the code for it, and nothing is
//! read after that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{self, LONGEST_SENT, OpCode};
use super::incoming::{Incoming, Violation};
use super::message::{CloseFrame, Message};
use super::options::Options;
use super::random::Masks;
use crate::error::Error;

/// How long a closed connection may take to end, the server's part first (RFC 6455 7.1.1).
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Pings that are answered at most when they come faster than their answers go out.
const PONGS: usize = 16;

pub(super) struct Session {
    incoming: Incoming,
    masks: Masks,
    /// The frame that is being written.
    frame: Option<Outgoing>,
    /// The answers to the latest pings.
    pongs: VecDeque<Bytes>,
    keep_alive: Option<KeepAlive>,
    ours: Close,
    theirs: bool,
    /// The server broke a rule.
    failed: bool,
    /// When the transfer is to end, as nothing that is received matters any more.
    end_by: Option<Instant>,
}

/// This side's close frame.
enum Close {
    Open,
    /// To be sent as soon as the frame that is being written has ended.
    Due(Bytes),
    Sent,
}

/// A frame on its way out.
struct Outgoing {
    head: [u8; LONGEST_SENT],
    head_length: usize,
    payload: Bytes,
    mask: [u8; 4],
    /// Bytes of head and payload that are written.
    written: usize,
}

struct KeepAlive {
    interval: Duration,
    heard: Instant,
    /// When a ping went out that nothing was heard after.
    asked: Option<Instant>,
    due: bool,
    /// Tells our own pongs from the caller's.
    count: u64,
}

/// What a moment in time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// There is a ping to write.
    Write,
    /// No pong came.
    PongTimeout,
    /// All was said; end the transfer.
    End,
}

impl Session {
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        Self {
            incoming: Incoming::new(options.max_message_size),
            masks: Masks::new(),
            frame: None,
            pongs: VecDeque::new(),
            keep_alive: options.ping_interval.map(|interval| KeepAlive {
                interval,
                heard: now,
                asked: None,
                due: false,
                count: 0,
            }),
            ours: Close::Open,
            theirs: false,
            failed: false,
            end_by: None,
        }
    }

    /// Whether nothing that is received matters any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.theirs || self.failed
    }

    /// Whether this side's close is written: nothing may follow it.
    pub(super) fn is_done_sending(&self) -> bool {
        matches!(self.ours, Close::Sent) && self.frame.is_none()
    }

    /// Whether there is something to write beside the caller's messages.
    pub(super) fn wants_to_write(&self) -> bool {
        let ping = self.keep_alive.as_ref().is_some_and(|keep_alive| keep_alive.due);
        self.frame.is_some() || !self.pongs.is_empty() || ping || matches!(self.ours, Close::Due(_))
    }

    /// Takes bytes off `data` until there is a message for the caller. `None`: all bytes were taken.
    ///
    /// After an error the session is closing, and deaf.
    pub(super) fn receive(&mut self, data: &mut &[u8], now: Instant) -> Result<Option<Message>, Error> {
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard = now;
            keep_alive.asked = None;
            keep_alive.due = false;
        }
        loop {
            if self.is_deaf() {
                *data = &[];
                return Ok(None);
            }
            match self.incoming.next(data) {
                Ok(Some(Message::Pong(payload))) if self.is_own_pong(&payload) => {}
                Ok(Some(message)) => {
                    self.answer(&message, now);
                    return Ok(Some(message));
                }
                Ok(None) => return Ok(None),
                Err(Violation { code, error }) => {
                    self.failed = true;
                    self.close(CloseFrame::new(code, "").to_bytes());
                    self.end_by = Some(now + LINGER);
                    return Err(error);
                }
            }
        }
    }

    fn answer(&mut self, message: &Message, now: Instant) {
        match message {
            Message::Ping(payload) if matches!(self.ours, Close::Open) => {
                if self.pongs.len() == PONGS {
                    self.pongs.pop_front();
                }
                self.pongs.push_back(payload.clone());
            }
            Message::Close(frame) => {
                self.theirs = true;
                // The same code back (RFC 6455 5.5.1), unless this side has closed before.
                let echo = frame.as_ref().map(|frame| CloseFrame::new(frame.code, "").to_bytes());
                self.close(echo.unwrap_or_default());
                self.end_by = Some(now + LINGER);
            }
            _ => {}
        }
    }

    fn close(&mut self, payload: Bytes) {
        self.pongs.clear();
        if matches!(self.ours, Close::Open) {
            self.ours = Close::Due(payload);
        }
    }

    /// Fills `room` with frames, the caller's messages among them, and returns how much was filled.
    pub(super) fn write(
        &mut self,
        room: &mut [u8],
        mut next: impl FnMut() -> Option<Message>,
        now: Instant,
    ) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < room.len() {
            if self.frame.is_none() && !self.start_frame(&mut next, now)? {
                break;
            }
            let Some(frame) = &mut self.frame else { break };
            filled += frame.write(&mut room[filled..]);
            if frame.is_written() {
                self.frame = None;
            }
        }
        Ok(filled)
    }

    /// Chooses what to write next. Returns whether there is anything.
    fn start_frame(&mut self, next: &mut impl FnMut() -> Option<Message>, now: Instant) -> Result<bool, Error> {
        let (opcode, payload) = match std::mem::replace(&mut self.ours, Close::Open) {
            Close::Sent => {
                self.ours = Close::Sent;
                return Ok(false);
            }
            Close::Due(payload) => {
                self.ours = Close::Sent;
                (OpCode::Close, payload)
            }
            Close::Open => {
                if let Some(payload) = self.pongs.pop_front() {
                    (OpCode::Pong, payload)
                } else if let Some(payload) = self.keep_alive.as_mut().and_then(|alive| alive.take_ping(now)) {
                    (OpCode::Ping, payload)
                } else if let Some(message) = next() {
                    match message {
                        Message::Text(text) => (OpCode::Text, Bytes::from(text)),
                        Message::Binary(bytes) => (OpCode::Binary, bytes),
                        Message::Ping(bytes) => (OpCode::Ping, bytes),
                        Message::Pong(bytes) => (OpCode::Pong, bytes),
                        Message::Close(frame) => {
                            self.ours = Close::Sent;
                            self.pongs.clear();
                            (OpCode::Close, frame.map(|frame| frame.to_bytes()).unwrap_or_default())
                        }
                    }
                } else {
                    return Ok(false);
                }
            }
        };
        let mask = self.masks.next()?;
        let mut head = [0; LONGEST_SENT];
        let head_length = frame::write(&mut head, opcode, payload.len(), mask);
        self.frame = Some(Outgoing { head, head_length, payload, mask, written: 0 });
        Ok(true)
    }

    fn is_own_pong(&self, payload: &Bytes) -> bool {
        let asked = self.keep_alive.as_ref().filter(|keep_alive| keep_alive.count > 0);
        asked.is_some_and(|keep_alive| ping_payload(keep_alive.count) == *payload)
    }

    /// When [`on_time`](Self::on_time) is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.as_ref().filter(|_| self.end_by.is_none()).and_then(KeepAlive::deadline);
        [self.end_by, keep_alive].into_iter().flatten().min()
    }

    /// Time has passed. `paused`: nothing can be heard, as the caller does not read.
    pub(super) fn on_time(&mut self, now: Instant, paused: bool) -> Due {
        if let Some(end_by) = self.end_by {
            return if end_by <= now { Due::End } else { Due::Nothing };
        }
        let Some(keep_alive) = &mut self.keep_alive else { return Due::Nothing };
        if keep_alive.deadline().is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        if paused {
            keep_alive.heard = now;
            keep_alive.asked = None;
            return Due::Nothing;
        }
        if keep_alive.asked.is_some() {
            return Due::PongTimeout;
        }
        // Counted from here, so that a ping that cannot even be written fails as well.
        keep_alive.asked = Some(now);
        keep_alive.due = true;
        Due::Write
    }
}

impl KeepAlive {
    fn deadline(&self) -> Option<Instant> {
        self.asked.unwrap_or(self.heard).checked_add(self.interval)
    }

    fn take_ping(&mut self, now: Instant) -> Option<Bytes> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.asked = Some(now);
        self.count += 1;
        Some(ping_payload(self.count))
    }
}

fn ping_payload(count: u64) -> Bytes {
    Bytes::from(format!("marmot {count}"))
}

impl Outgoing {
    /// Writes as much as there is room for.
    fn write(&mut self, room: &mut [u8]) -> usize {
        let head = &self.head[self.written.min(self.head_length)..self.head_length];
        let of_head = head.len().min(room.len());
        room[..of_head].copy_from_slice(&head[..of_head]);
        self.written += of_head;
        if self.written < self.head_length {
            return of_head;
        }
        let offset = self.written - self.head_length;
        let room = &mut room[of_head..];
        let of_payload = (self.payload.len() - offset).min(room.len());
        let piece = &self.payload[offset..offset + of_payload];
        frame::copy_masked(&mut room[..of_payload], piece, self.mask, offset);
        self.written += of_payload;
        of_head + of_payload
    }

    fn is_written(&self) -> bool {
        self.written == self.head_length + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const SECOND: Duration = Duration::from_secs(1);

    /// What the session writes, without masks: first byte and payload of each frame.
    fn written(session: &mut Session, messages: Vec<Message>, now: Instant) -> Vec<(u8, Vec<u8>)> {
        let mut messages = messages.into_iter();
        let mut bytes = Vec::new();
        // Little room, so that every frame is cut.
        let mut room = [0; 7];
        loop {
            let filled = session.write(&mut room, || messages.next(), now).unwrap();
            bytes.extend_from_slice(&room[..filled]);
            if filled == 0 {
                break;
            }
        }
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while let [first, second, after @ ..] = rest {
            assert_eq!(second & 0x80, 0x80, "masked");
            let (mask, after) = after.split_at(4);
            let (payload, after) = after.split_at(usize::from(second & 0x7f));
            frames.push((*first, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()));
            rest = after;
        }
        frames
    }

    fn session(options: &Options, now: Instant) -> Session {
        Session::new(options, now)
    }

    #[test]
    fn only_the_latest_pings_are_answered_and_before_any_message() {
        let now = Instant::now();
        let mut session = session(&Options::new(), now);
        for number in 0..100_u8 {
            let ping = session.receive(&mut &[0x89, 1, number][..], now).unwrap();
            assert_eq!(ping, Some(Message::Ping(vec![number].into())));
        }
        let frames = written(&mut session, vec![Message::text("after")], now);
        let mut expected: Vec<_> = (84..100).map(|number| (0x8a, vec![number])).collect();
        expected.push((0x81, b"after".to_vec()));
        assert_eq!(frames, expected);
        assert!(!session.wants_to_write());
    }

    #[test]
    fn a_close_is_answered_once_and_ends_both_directions() {
        let now = Instant::now();
        let mut session = session(&Options::new(), now);
        session.receive(&mut &[0x89, 0][..], now).unwrap();
        let mut data = &[0x88, 3, 0x03, 0xe9, b'x', 0x81, 1, b'y'][..];
        let close = session.receive(&mut data, now).unwrap();
        assert_eq!(close, Some(Message::Close(Some(CloseFrame::new(1001, "x")))));
        assert_eq!(session.receive(&mut data, now).unwrap(), None);
        assert!(data.is_empty());
        let frames = written(&mut session, vec![Message::text("late")], now);
        assert_eq!(frames, [(0x88, vec![0x03, 0xe9])]);
        assert!(session.is_done_sending());
        assert_eq!(session.deadline(), Some(now + LINGER));
        assert_eq!(session.on_time(now + LINGER, false), Due::End);
    }

    #[test]
    fn our_own_close_is_not_answered_with_another() {
        let now = Instant::now();
        let mut session = session(&Options::new(), now);
        let messages = vec![Message::Close(Some(CloseFrame::new(1000, ""))), Message::text("late")];
        assert_eq!(written(&mut session, messages, now), [(0x88, vec![0x03, 0xe8])]);
        assert!(session.is_done_sending() && !session.is_deaf());
        // Messages that were on their way are still heard; a ping is not answered any more.
        assert!(session.receive(&mut &[0x81, 1, b'y'][..], now).unwrap().is_some());
        session.receive(&mut &[0x89, 0][..], now).unwrap();
        session.receive(&mut &[0x88, 2, 0x03, 0xe8][..], now).unwrap();
        assert_eq!(written(&mut session, vec![], now), []);
        assert!(session.is_deaf());
    }

    #[test]
    fn a_broken_rule_closes_with_its_code_and_nothing_more_is_heard() {
        let now = Instant::now();
        let mut session = session(&Options::new(), now);
        let mut data = &[0xc1, 0, 0x81, 0][..];
        let error = session.receive(&mut data, now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProtocolViolation);
        assert_eq!(session.receive(&mut data, now).unwrap(), None);
        assert_eq!(written(&mut session, vec![Message::text("late")], now), [(0x88, vec![0x03, 0xea])]);
    }

    #[test]
    fn silence_is_pinged_and_then_given_up() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut session = session(&Options::new().ping_interval(SECOND), start);
        session.receive(&mut &[0x81, 0][..], at(500)).unwrap();
        assert_eq!(session.deadline(), Some(at(1500)));
        assert_eq!(session.on_time(at(1499), false), Due::Nothing);
        assert_eq!(session.on_time(at(1500), false), Due::Write);
        let frames = written(&mut session, vec![], at(1500));
        assert_eq!(frames, [(0x89, b"marmot 1".to_vec())]);
        // The pong is ours and not shown; it counts from then.
        let pong = [&[0x8a, 8][..], b"marmot 1"].concat();
        assert_eq!(session.receive(&mut &pong[..], at(1600)).unwrap(), None);
        assert_eq!(session.on_time(at(2599), false), Due::Nothing);
        // Nobody reads, so nothing can be heard.
        assert_eq!(session.on_time(at(2600), true), Due::Nothing);
        assert_eq!(session.on_time(at(3600), false), Due::Write);
        // Not even the ping gets out.
        assert_eq!(session.on_time(at(4599), false), Due::Nothing);
        assert_eq!(session.on_time(at(4600), false), Due::PongTimeout);
    }
}
