//! What is sent and received on a WebSocket. Plain data.

use bytes::Bytes;

use crate::error::{Error, ErrorKind};

/// The most bytes that a control frame carries (RFC 6455 5.5).
pub(super) const CONTROL_LIMIT: usize = 125;
/// What a message weighs in a queue beside its content, so that a queue of empty messages is bounded too.
const OVERHEAD: usize = 64;

/// A message of a WebSocket (RFC 6455 5.6), or one of its control frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Any bytes.
    Binary(Bytes),
    /// A question whether the other side is there, at most 125 bytes. A received one has been answered already.
    Ping(Bytes),
    /// The answer to a ping, at most 125 bytes.
    Pong(Bytes),
    /// The end of the conversation. A received one has been answered already; nothing comes after it.
    Close(Option<CloseFrame>),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The text of a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The content: of a text its bytes, of a close the reason's.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
            Self::Close(frame) => frame.as_ref().map_or(&[], |frame| frame.reason.as_bytes()),
        }
    }

    /// Bytes of content.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it ends the conversation.
    pub fn is_close(&self) -> bool {
        matches!(self, Self::Close(_))
    }

    /// What it counts for in a queue.
    pub(super) fn weight(&self) -> usize {
        self.len() + OVERHEAD
    }

    /// Refuses what RFC 6455 does not let a client send.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Ping(bytes) | Self::Pong(bytes) if bytes.len() > CONTROL_LIMIT => {
                Err(Error::invalid_request(format!("a ping or pong of {} bytes; 125 are allowed", bytes.len())))
            }
            Self::Close(Some(frame)) => frame.check(),
            _ => Ok(()),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// Why a WebSocket is closed (RFC 6455 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// 1000 to 1014 without 1004 to 1006, or 3000 to 4999.
    pub code: u16,
    /// For people; at most 123 bytes.
    pub reason: String,
}

impl CloseFrame {
    /// The purpose was fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server goes down, or the user leaves the page.
    pub const AWAY: u16 = 1001;
    /// The other side broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// A kind of data that cannot be accepted.
    pub const UNSUPPORTED: u16 = 1003;
    /// Text that is not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// A message that is against a policy.
    pub const POLICY: u16 = 1008;
    /// A message that is too large.
    pub const TOO_LARGE: u16 = 1009;

    /// A code and a reason.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    fn check(&self) -> Result<(), Error> {
        if !may_be_on_the_wire(self.code) {
            return Err(Error::invalid_request(format!("the close code {} cannot be sent", self.code)));
        }
        if self.reason.len() > CONTROL_LIMIT - 2 {
            return Err(Error::invalid_request(format!(
                "a close reason of {} bytes; {} are allowed",
                self.reason.len(),
                CONTROL_LIMIT - 2
            )));
        }
        Ok(())
    }

    /// The frame's payload.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(2 + self.reason.len());
        bytes.extend_from_slice(&self.code.to_be_bytes());
        bytes.extend_from_slice(self.reason.as_bytes());
        bytes.into()
    }

    /// Reads a frame's payload (RFC 6455 5.5.1); `Err` says what is wrong with it.
    pub(super) fn parse(payload: &[u8]) -> Result<Option<Self>, &'static str> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err("a close frame of one byte"),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !may_be_on_the_wire(code) {
            return Err("a close code that may not be sent");
        }
        let reason = std::str::from_utf8(reason).map_err(|_| "a close reason that is not UTF-8")?;
        Ok(Some(Self::new(code, reason)))
    }
}

/// RFC 6455 7.4.1 and the registry of close codes: 1004 has no meaning, 1005, 1006 and 1015 are never sent.
fn may_be_on_the_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The answer to whoever sends on a WebSocket that was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_frames_survive_the_wire_and_bad_ones_are_told() {
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        let frame = CloseFrame::new(4999, "enough, thanks \u{1F44B}");
        assert_eq!(CloseFrame::parse(&frame.to_bytes()), Ok(Some(frame)));
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(CloseFrame::parse(&CloseFrame::new(code, "").to_bytes()).is_err(), "{code}");
            assert!(Message::Close(Some(CloseFrame::new(code, ""))).check().is_err(), "{code}");
        }
        for payload in [&b"\x03"[..], b"\x03\xe8\xff", b"\x03\xe8\xed\xa0\x80"] {
            assert!(CloseFrame::parse(payload).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn control_frames_that_are_too_long_are_refused() {
        let long = Bytes::from(vec![0; 126]);
        assert_eq!(Message::Ping(long.clone()).check().unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert!(Message::Pong(long.slice(1..)).check().is_ok());
        assert!(Message::Close(Some(CloseFrame::new(1000, "x".repeat(124)))).check().is_err());
        assert!(Message::Close(Some(CloseFrame::new(1000, "x".repeat(123)))).check().is_ok());
        assert!(Message::Binary(vec![0; 1 << 20].into()).check().is_ok());
    }
}
