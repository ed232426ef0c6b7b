//! Non-blocking access to the two bodies of a transfer. "Would block" is `None`, not an error.

use http::HeaderMap;

use crate::head::Ending;

/// Room for the request's body.
#[derive(Debug)]
pub struct Encoder<'a> {
    room: &'a mut [u8],
    filled: usize,
    ended: bool,
    unsent: u64,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, filled: 0, ended: false, unsent: 0 }
    }

    /// Tells that libcurl still holds this much of what was written before.
    pub(crate) fn with_unsent(self, unsent: u64) -> Self {
        Self { unsent, ..self }
    }

    /// Bytes written before that are not handed to the system yet, where that is known.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Writes as much of `data` as there is room for and tells how much that was. `None`: it would block; answer with
    /// [`Next::write`](crate::handler::Next::write) and wait to be called again.
    pub fn try_write(&mut self, data: &[u8]) -> Option<usize> {
        let room = self.room();
        if room.is_empty() && !data.is_empty() {
            return None;
        }
        let amount = data.len().min(room.len());
        room[..amount].copy_from_slice(&data[..amount]);
        self.advance(amount);
        Some(amount)
    }

    /// The free room, to be written into; then call [`advance`](Self::advance).
    pub fn room(&mut self) -> &mut [u8] {
        if self.ended { &mut [] } else { &mut self.room[self.filled..] }
    }

    /// Tells that the first `amount` bytes of [`room`](Self::room) were filled. More than the room counts as all of it.
    pub fn advance(&mut self, amount: usize) {
        self.filled = (self.filled + amount).min(self.room.len());
    }

    /// The body is complete. What was written before is sent.
    pub fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }
}

/// A piece of the response's body, or its end.
#[derive(Debug)]
pub struct Decoder<'a> {
    data: &'a [u8],
    ending: Option<&'a Ending>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, ending: None }
    }

    pub(crate) fn at_end(ending: &'a Ending) -> Self {
        Self { data: &[], ending: Some(ending) }
    }

    /// Reads what is here into `buffer`. `Some(0)` is the end of the body (or an empty buffer); `None`: it would block,
    /// answer with [`Next::read`](crate::handler::Next::read) and wait to be called again.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if self.data.is_empty() && !self.is_end() && !buffer.is_empty() {
            return None;
        }
        let amount = self.data.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&self.data[..amount]);
        self.consume(amount);
        Some(amount)
    }

    /// What is here and not read yet, without a copy; then call [`consume`](Self::consume).
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Marks the first `amount` bytes of [`data`](Self::data) as read. More than there are counts as all of them.
    pub fn consume(&mut self, amount: usize) {
        self.data = &self.data[amount.min(self.data.len())..];
    }

    /// Whether this is the end of the body. It is told once, and the handler is not called again.
    pub fn is_end(&self) -> bool {
        self.ending.is_some()
    }

    /// The trailers (RFC 9110 6.5), at the end.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.ending.and_then(|ending| ending.trailers.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_encoder_would_block_and_an_ended_one_takes_nothing() {
        let mut room = [0; 4];
        let mut encoder = Encoder::new(&mut room);
        assert_eq!(encoder.try_write(b"abcdef"), Some(4));
        assert_eq!(encoder.try_write(b"ef"), None);
        assert_eq!(encoder.filled(), 4);
        let mut encoder = Encoder::new(&mut room);
        encoder.end();
        assert_eq!(encoder.try_write(b"x"), None);
        assert_eq!(encoder.filled(), 0);
    }

    #[test]
    fn a_decoder_tells_data_would_block_and_end_apart() {
        let mut decoder = Decoder::new(b"abc");
        let mut buffer = [0; 2];
        assert_eq!(decoder.try_read(&mut buffer), Some(2));
        assert_eq!(decoder.try_read(&mut buffer), Some(1));
        assert_eq!(decoder.try_read(&mut buffer), None);
        let ending = Ending::default();
        assert_eq!(Decoder::at_end(&ending).try_read(&mut buffer), Some(0));
    }
}
