//! Incremental decoder of the chunked coding (RFC 9112, 7.1). Pure state machine: it never reads a socket.

/// Longest line (size with extensions, or trailer) that is taken.
const LINE_LIMIT: usize = 64 * 1024;

/// Decodes a chunked body from pieces of any size.
#[derive(Default)]
pub struct ChunkDecoder {
    state: State,
    line: Vec<u8>,
    trailers: Vec<Vec<u8>>,
}

#[derive(Default, PartialEq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    Done,
}

impl ChunkDecoder {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The raw trailer lines, without their line ends.
    pub fn trailers(&self) -> &[Vec<u8>] {
        &self.trailers
    }

    /// Takes as much of `input` as belongs to the body, hands its data to `sink`, and tells how much it took.
    ///
    /// # Errors
    ///
    /// What is malformed.
    pub fn feed(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                sink(&input[at..at + part]);
                at += part;
                let left = left - part as u64;
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                continue;
            }
            let byte = input[at];
            at += 1;
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > LINE_LIMIT {
                    return Err("a line of the chunked coding is too long");
                }
                continue;
            }
            if self.line.pop_if(|last| *last == b'\r').is_none() {
                return Err("a line of the chunked coding ends without CR");
            }
            let line = std::mem::take(&mut self.line);
            self.state = self.line_ends(line)?;
        }
        Ok(at)
    }

    fn line_ends(&mut self, line: Vec<u8>) -> Result<State, &'static str> {
        match self.state {
            State::Size => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits).map_err(|_| "the chunk size is not a number")?.trim_end();
                match u64::from_str_radix(digits, 16).map_err(|_| "the chunk size is not a number")? {
                    0 => Ok(State::Trailer),
                    size => Ok(State::Data(size)),
                }
            }
            State::DataEnd if line.is_empty() => Ok(State::Size),
            State::DataEnd => Err("chunk data is longer than its size"),
            State::Trailer if line.is_empty() => Ok(State::Done),
            State::Trailer => {
                self.trailers.push(line);
                Ok(State::Trailer)
            }
            State::Data(_) | State::Done => unreachable!("these states take no lines"),
        }
    }
}
