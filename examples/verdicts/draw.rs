//! Chance that is the same in every run.

/// `SplitMix64` (Steele, Lea and Flood 2014): small, fast, and good enough to draw failures by.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The states of one seed follow each other at a fixed distance: the seeds themselves are mixed, so that no two runs are the same
    /// one, a little later.
    pub fn new(seed: u64) -> Self {
        Draw(mixed(mixed(seed.wrapping_add(1))))
    }

    /// Between 0 (included) and 1 (excluded).
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mixed(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How many of `total` requests fail, each by itself: from one failure to the next, so that rare failures cost little.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most `total`")]
    pub fn failures(&mut self, total: u64, rate: f64) -> u64 {
        if rate <= 0.0 || total == 0 {
            return 0;
        }
        if rate >= 1.0 {
            return total;
        }
        let succeed = (-rate).ln_1p();
        let (mut at, mut failed) = (0u64, 0);
        loop {
            let skipped = ((1.0 - self.part()).ln() / succeed).floor();
            if skipped >= (total - at) as f64 {
                return failed;
            }
            at += skipped as u64 + 1;
            failed += 1;
            if at >= total {
                return failed;
            }
        }
    }
}

fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
