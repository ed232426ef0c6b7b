//! Pseudo-random damage to valid headers, for tests that no parser panics or is slow. The same on every run.

/// Calls `parse` with thousands of damaged copies of the seeds.
pub(crate) fn each(seeds: &[&str], alphabet: &[u8], mut parse: impl FnMut(&[u8])) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..20_000 {
        let mut text = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..=random.below(8) {
            damage(&mut text, seeds, alphabet, &mut random);
        }
        parse(&text);
    }
}

fn damage(text: &mut Vec<u8>, seeds: &[&str], alphabet: &[u8], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(6) {
        0 => text.truncate(at),
        1 => text.insert(at, alphabet[random.below(alphabet.len())]),
        2 => text.insert(at, u8::try_from(random.below(256)).unwrap_or_default()),
        3 if at < text.len() => drop(text.remove(at)),
        4 if at < text.len() => {
            // A piece once more, many times at most.
            let piece = text[at..(at + 1 + random.below(8)).min(text.len())].to_vec();
            let many = piece.repeat(1 + random.below(600));
            text.splice(at..at, many);
        }
        _ => {
            let other = seeds[random.below(seeds.len())].as_bytes();
            text.splice(at..at, other[random.below(other.len())..].iter().copied());
        }
    }
}

/// xorshift64*: small, and good enough to choose bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or_default() % bound
    }
}
