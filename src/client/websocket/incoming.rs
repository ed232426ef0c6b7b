//! Received bytes become messages (RFC 6455 5.4 to 5.6). Pure: answers nothing, waits for nothing.

use bytes::Bytes;

use super::frame::{self, Head, LONGEST_RECEIVED, OpCode};
use super::message::{CloseFrame, Message};
use crate::error::{Error, ErrorKind};

/// The most that a frame's declared length reserves at once; a lie costs no more than this.
const RESERVE: u64 = 1 << 20;

/// A rule that the server broke: the connection fails with this close code and this error.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) error: Error,
}

impl Violation {
    fn protocol(detail: &'static str) -> Self {
        Self { code: CloseFrame::PROTOCOL, error: Error::new(ErrorKind::ProtocolViolation).with_detail(detail) }
    }

    fn text() -> Self {
        let error = Error::new(ErrorKind::ProtocolViolation).with_detail("a text message that is not UTF-8");
        Self { code: CloseFrame::INVALID_DATA, error }
    }

    fn size(limit: usize) -> Self {
        let detail = format!("a message is larger than the limit of {limit} bytes");
        Self { code: CloseFrame::TOO_LARGE, error: Error::new(ErrorKind::TooLarge).with_detail(detail) }
    }
}

/// Joins pieces to frames and frames to messages.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: usize,
    /// The head that is not complete yet.
    head: [u8; LONGEST_RECEIVED],
    head_filled: usize,
    frame: Option<Frame>,
    message: Option<Joined>,
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    head: Head,
    left: u64,
}

/// A message whose fragments come in.
#[derive(Debug)]
struct Joined {
    bytes: Vec<u8>,
    /// Of text: how much of it is known to be UTF-8.
    valid: Option<usize>,
}

impl Incoming {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, head: [0; LONGEST_RECEIVED], head_filled: 0, frame: None, message: None, control: Vec::new() }
    }

    /// Takes bytes off `data` until a message is complete. `None`: all bytes were taken and more are needed.
    pub(super) fn next(&mut self, data: &mut &[u8]) -> Result<Option<Message>, Violation> {
        loop {
            if self.frame.is_none() {
                let Some(head) = self.take_head(data)? else { return Ok(None) };
                self.begin(head)?;
            }
            let Some(frame) = &mut self.frame else { return Ok(None) };
            let now = usize::try_from(frame.left).unwrap_or(usize::MAX).min(data.len());
            let (piece, rest) = data.split_at(now);
            *data = rest;
            frame.left -= now as u64;
            let (head, done) = (frame.head, frame.left == 0);
            match &mut self.message {
                Some(joined) if !head.opcode.is_control() => joined.push(piece)?,
                _ => self.control.extend_from_slice(piece),
            }
            if !done {
                return Ok(None);
            }
            self.frame = None;
            if head.opcode.is_control() {
                return self.end_control(head.opcode).map(Some);
            }
            if head.last
                && let Some(joined) = self.message.take()
            {
                return joined.end().map(Some);
            }
        }
    }

    fn take_head(&mut self, data: &mut &[u8]) -> Result<Option<Head>, Violation> {
        loop {
            let length = frame::head_length(&self.head[..self.head_filled]);
            if self.head_filled >= 2 && self.head_filled == length {
                self.head_filled = 0;
                return frame::parse(&self.head[..length]).map(Some).map_err(Violation::protocol);
            }
            // Two bytes tell how long the head is.
            let Some((byte, rest)) = data.split_first() else { return Ok(None) };
            self.head[self.head_filled] = *byte;
            self.head_filled += 1;
            *data = rest;
        }
    }

    /// Checks a frame against the message that it belongs to.
    fn begin(&mut self, head: Head) -> Result<(), Violation> {
        if !head.opcode.is_control() {
            let joined = match (head.opcode, &mut self.message) {
                (OpCode::Continuation, Some(joined)) => joined,
                (OpCode::Continuation, None) => {
                    return Err(Violation::protocol("a continuation of a message that was not begun"));
                }
                (_, Some(_)) => return Err(Violation::protocol("a message begun in the middle of another one")),
                (opcode, message @ None) => {
                    message.insert(Joined { bytes: Vec::new(), valid: (opcode == OpCode::Text).then_some(0) })
                }
            };
            if head.length > (self.limit - joined.bytes.len()) as u64 {
                return Err(Violation::size(self.limit));
            }
            if head.last {
                joined.bytes.reserve_exact(head.length.min(RESERVE) as usize);
            }
        }
        self.frame = Some(Frame { head, left: head.length });
        Ok(())
    }

    fn end_control(&mut self, opcode: OpCode) -> Result<Message, Violation> {
        let payload = std::mem::take(&mut self.control);
        Ok(match opcode {
            OpCode::Close => Message::Close(CloseFrame::parse(&payload).map_err(Violation::protocol)?),
            OpCode::Ping => Message::Ping(Bytes::from(payload)),
            _ => Message::Pong(Bytes::from(payload)),
        })
    }
}

impl Joined {
    fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        self.bytes.extend_from_slice(piece);
        if let Some(valid) = &mut self.valid {
            // A character may be cut in two here, but an impossible one is told at once.
            match std::str::from_utf8(&self.bytes[*valid..]) {
                Ok(_) => *valid = self.bytes.len(),
                Err(error) if error.error_len().is_none() => *valid += error.valid_up_to(),
                Err(_) => return Err(Violation::text()),
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Message, Violation> {
        match self.valid {
            None => Ok(Message::Binary(self.bytes.into())),
            Some(_) => String::from_utf8(self.bytes).map(Message::Text).map_err(|_| Violation::text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            length @ ..=125 => bytes.push(length as u8),
            length @ ..=65535 => {
                bytes.push(126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Message>, u16> {
        let mut incoming = Incoming::new(1 << 20);
        let mut messages = Vec::new();
        for mut data in bytes.chunks(piece) {
            while let Some(message) = incoming.next(&mut data).map_err(|violation| violation.code)? {
                messages.push(message);
            }
            assert!(data.is_empty());
        }
        Ok(messages)
    }

    #[test]
    fn messages_are_read_whatever_the_pieces() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for length in [0, 1, 125, 126, 127, 128, 65535, 65536, 70000] {
            bytes.extend(frame(0x82, &vec![7; length]));
            expected.push(Message::Binary(vec![7; length].into()));
        }
        bytes.extend(frame(0x01, "h\u{e4}".as_bytes()));
        bytes.extend(frame(0x89, b"there?"));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x80, "llo \u{1F600}".as_bytes()));
        expected.push(Message::Ping(Bytes::from_static(b"there?")));
        expected.push(Message::text("h\u{e4}llo \u{1F600}"));
        for piece in [1, 2, 3, 7, 1000, 16384, usize::MAX >> 1] {
            assert_eq!(read(&bytes, piece), Ok(expected.clone()), "pieces of {piece}");
        }
    }

    #[test]
    fn broken_sequences_are_protocol_errors() {
        let first = frame(0x01, b"a");
        for bytes in [frame(0x80, b"x"), [&first[..], &first[..]].concat(), frame(0x88, b"\x03"), frame(0xc1, b"")] {
            assert_eq!(read(&bytes, 1), Err(1002), "{bytes:x?}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_told_at_the_first_impossible_byte() {
        let mut incoming = Incoming::new(1000);
        // The message has 100 bytes; the fourth is impossible after a surrogate's lead.
        let mut data = &[0x81, 100, b'a', 0xed, 0xa0][..];
        assert_eq!(incoming.next(&mut data).unwrap_err().code, 1007);
        for (bytes, ok) in [
            ([frame(0x01, b"\xe2\x82"), frame(0x80, b"\xac")].concat(), true),
            ([frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), false),
            (frame(0x81, b"\xf4\x90\x80\x80"), false),
            (frame(0x81, b"\xc0\x80"), false),
        ] {
            assert_eq!(read(&bytes, 1).is_ok(), ok, "{bytes:x?}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_at_its_head() {
        let mut incoming = Incoming::new(100);
        let mut data = &[0x82, 101][..];
        assert_eq!(incoming.next(&mut data).unwrap_err().code, 1009);
        let mut incoming = Incoming::new(100);
        let mut data = &[&frame(0x02, &[0; 60])[..], &[0x80, 41]].concat()[..];
        assert_eq!(incoming.next(&mut data).unwrap_err().code, 1009);
        let mut incoming = Incoming::new(100);
        let mut data = &[&frame(0x02, &[0; 60])[..], &frame(0x80, &[0; 40])[..]].concat()[..];
        assert_eq!(incoming.next(&mut data).unwrap().map(|message| message.len()), Some(100));
        // A length that would overflow.
        let mut data = &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..];
        assert!(matches!(Incoming::new(usize::MAX >> 1).next(&mut data), Ok(None)));
    }
}
