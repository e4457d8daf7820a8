//! Reproducible chance: `SplitMix64`, and names and ids drawn from it.

use std::time::Duration;

/// A source of chance. Equal seeds give equal sequences on every machine and in every release.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The sequence of this number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for a part, so that more draws in one part do not change the others.
    #[must_use]
    pub fn fork(&self, part: &str) -> Self {
        Self(part.bytes().fold(self.0 ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: f64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "2^53 is exact in f64")]
        let draw = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        draw * 100.0 < percent
    }

    /// A length of time of at least `from` and less than `to`; `from` where there is nothing between.
    pub fn between(&mut self, (from, to): (Duration, Duration)) -> Duration {
        let width = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(width))
    }

    /// A suffix of the alphabet that Kubernetes uses for generated names: no vowels, nothing that looks like another letter.
    pub fn suffix(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length).map(|_| char::from(ALPHABET[usize::try_from(self.below(ALPHABET.len() as u64)).unwrap_or(0)])).collect()
    }

    /// An id in the form of a version 4 UUID.
    pub fn uid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xfff, low >> 52, low & 0xffff_ffff_ffff)
    }
}

/// A stable hash (FNV-1a, 64 bits).
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_names_and_a_fork_leaves_the_trunk_alone() {
        let (mut one, mut two) = (Seed::new(7), Seed::new(7));
        two.fork("pods").uid();
        assert_eq!(one.uid(), two.uid());
        assert_eq!(one.suffix(5), two.suffix(5));
    }
}
