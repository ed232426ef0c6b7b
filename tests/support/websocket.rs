//! A WebSocket server by hand: the handshake, frames of any shape, and what the client sends, unmasked. No rule is kept.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::Conn;

/// A frame as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: flags and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(first: u8, payload: &[u8]) -> Self {
        Self { first, payload: payload.to_vec() }
    }
}

/// A frame as a server sends it: `first` as it is, no mask.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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

pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// Reads a request's head.
pub fn read_head(conn: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        conn.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The answer that switches over, without its last line.
pub fn switching(head: &str) -> String {
    let key = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("sec-websocket-key: ").map(str::len));
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("sec-websocket-key: "));
    let key = line.zip(key).map(|(line, length)| &line[line.len() - length..]).unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        tungstenite::handshake::derive_accept_key(key.as_bytes())
    )
}

/// Reads the request and switches over; returns the request's head.
pub fn accept(conn: &mut (impl Read + Write)) -> io::Result<String> {
    let head = read_head(conn)?;
    conn.write_all(format!("{}\r\n", switching(&head)).as_bytes())?;
    Ok(head)
}

/// Reads one frame. A frame without a mask is an error, as for any server.
pub fn read_frame(conn: &mut impl Read) -> io::Result<Frame> {
    read_masked_frame(conn).map(|(frame, _)| frame)
}

/// Reads one frame, and its mask.
pub fn read_masked_frame(conn: &mut impl Read) -> io::Result<(Frame, [u8; 4])> {
    let mut head = [0; 2];
    conn.read_exact(&mut head)?;
    if head[1] & 0x80 == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame without a mask"));
    }
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            conn.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            conn.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    conn.read_exact(&mut mask)?;
    let mut payload = vec![0; length as usize];
    conn.read_exact(&mut payload)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((Frame { first: head[0], payload }, mask))
}

/// Reads frames up to the client's close, or until it is gone.
pub fn read_to_close(conn: &mut impl Read) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Ok(frame) = read_frame(conn) {
        let last = frame.first == 0x88;
        frames.push(frame);
        if last {
            break;
        }
    }
    frames
}

/// Writes in pieces, each on its way before the next.
pub fn write_in_pieces(conn: &mut Conn, bytes: &[u8], piece: usize) -> io::Result<()> {
    for piece in bytes.chunks(piece) {
        conn.write_all(piece)?;
        if bytes.len() > piece.len() {
            conn.stop().sleep(Duration::from_micros(50))?;
        }
    }
    Ok(())
}
