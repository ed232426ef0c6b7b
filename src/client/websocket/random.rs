//! Keys and masks from the operating system's generator. Uses each byte once.

use crate::error::{Error, ErrorKind};

/// Bytes asked for at once: enough for the masks of 64 frames.
const POOL: usize = 256;

/// Fresh masks. A mask must not be foreseen by who chooses the payload (RFC 6455 5.3, 10.3).
pub(super) struct Masks {
    pool: [u8; POOL],
    used: usize,
}

impl Masks {
    pub(super) fn new() -> Self {
        Self { pool: [0; POOL], used: POOL }
    }

    /// The mask of the next frame.
    pub(super) fn next(&mut self) -> Result<[u8; 4], Error> {
        if self.used == POOL {
            fill(&mut self.pool)?;
            self.used = 0;
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.pool[self.used..self.used + 4]);
        self.used += 4;
        Ok(mask)
    }
}

/// Random bytes for a key.
pub(super) fn key() -> Result<[u8; 16], Error> {
    let mut key = [0; 16];
    fill(&mut key).map(|()| key)
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| {
        Error::new(ErrorKind::Io).with_detail(format!("the system's random generator failed: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_mask_is_used_twice() {
        let mut masks = Masks::new();
        let seen: HashSet<_> = (0..1000).map(|_| masks.next().unwrap()).collect();
        // Of 1,000 random numbers of 32 bits a pair is equal once in 8,600 runs, two pairs practically never.
        assert!(seen.len() >= 998, "{}", seen.len());
    }
}
