//! The head of a frame and the mask (RFC 6455 5.2, 5.3). Pure: joins nothing, keeps no state.

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpCode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl OpCode {
    fn parse(bits: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == bits)
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The head of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) last: bool,
    pub(super) opcode: OpCode,
    pub(super) length: u64,
}

/// The longest head that a server may send.
pub(super) const LONGEST_RECEIVED: usize = 10;
/// The longest head that a client sends.
pub(super) const LONGEST_SENT: usize = 14;

/// How many bytes the head has that begins with these. One byte must be there.
pub(super) fn head_length(bytes: &[u8]) -> usize {
    match bytes.get(1).map(|byte| byte & 0x7f) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

/// Reads a head of which all bytes are there; `Err` says which rule a server broke with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, &'static str> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>().ok_or("a frame without a head")?;
    if first & 0x70 != 0 {
        return Err("a reserved bit, of an extension that was not agreed on");
    }
    let opcode = OpCode::parse(first & 0x0f).ok_or("an unknown opcode")?;
    if second & 0x80 != 0 {
        return Err("a masked frame");
    }
    let last = first & 0x80 != 0;
    let length = match second & 0x7f {
        126 => rest.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes))),
        127 => rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        short => Some(u64::from(short)),
    };
    let length = length.filter(|length| *length >> 63 == 0).ok_or("a frame of an impossible length")?;
    if opcode.is_control() {
        if !last {
            return Err("a control frame in pieces");
        }
        if second & 0x7f > 125 {
            return Err("a control frame that is too long");
        }
    }
    Ok(Head { last, opcode, length })
}

/// Writes the head of a whole message's frame, and returns its length.
pub(super) fn write(head: &mut [u8; LONGEST_SENT], opcode: OpCode, length: usize, mask: [u8; 4]) -> usize {
    head[0] = 0x80 | opcode as u8;
    let end = if length <= 125 {
        head[1] = 0x80 | length as u8;
        2
    } else if let Ok(length) = u16::try_from(length) {
        head[1] = 0x80 | 126;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        4
    } else {
        head[1] = 0x80 | 127;
        head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        10
    };
    head[end..end + 4].copy_from_slice(&mask);
    end + 4
}

/// Copies `from` into `to`, of the same length, with the mask applied as from byte `offset` of the payload on.
pub(super) fn copy_masked(to: &mut [u8], from: &[u8], mask: [u8; 4], offset: usize) {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let half = u64::from(u32::from_ne_bytes(turned));
    let wide = half << 32 | half;
    let (to_words, to_rest) = to.as_chunks_mut::<8>();
    let (from_words, from_rest) = from.as_chunks::<8>();
    for (to, from) in to_words.iter_mut().zip(from_words) {
        *to = (u64::from_ne_bytes(*from) ^ wide).to_ne_bytes();
    }
    for ((to, from), mask) in to_rest.iter_mut().zip(from_rest).zip(turned.iter().cycle()) {
        *to = from ^ mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_all_lengths_are_written_and_read() {
        for (length, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (1 << 40, 10)] {
            let mut head = [0; LONGEST_SENT];
            let end = write(&mut head, OpCode::Binary, length, [1, 2, 3, 4]);
            assert_eq!((end, &head[size..end]), (size + 4, &[1, 2, 3, 4][..]));
            // What a server would have sent: without the mask.
            head[1] &= 0x7f;
            assert_eq!(head_length(&head), size);
            let expected = Head { last: true, opcode: OpCode::Binary, length: length as u64 };
            assert_eq!(parse(&head[..size]), Ok(expected));
        }
    }

    #[test]
    fn what_a_server_may_not_send_is_refused() {
        for first in [0x91, 0xa1, 0xc1, 0x83, 0x87, 0x8b, 0x8f] {
            assert!(parse(&[first, 0]).is_err(), "{first:x}");
        }
        for head in [&[0x81, 0x80][..], &[0x09, 0], &[0x89, 126, 0, 126], &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(parse(head).is_err(), "{head:x?}");
        }
    }

    #[test]
    fn the_mask_goes_on_where_the_piece_before_ended() {
        let from: Vec<u8> = (0..100).collect();
        let mask = [0x11, 0x22, 0x33, 0x44];
        let expected: Vec<u8> = from.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
        for cut in 0..from.len() {
            let mut to = vec![0; from.len()];
            let (left, right) = to.split_at_mut(cut);
            copy_masked(left, &from[..cut], mask, 0);
            copy_masked(right, &from[cut..], mask, cut);
            assert_eq!(to, expected, "{cut}");
        }
    }
}
