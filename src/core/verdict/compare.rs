//! The canary beside the stable version: does it fail more often, by more than is allowed?
//!
//! What the stable version's failure rate is, nobody knows, and it may drift: the two are compared tick by tick, with the e-variable of
//! Turner, Ly and Grünwald (2024) for two samples and an absolute margin. It is valid for every pair of rates within the margin, in
//! every tick, whatever was guessed before. An incident that both have in common causes no rollback, therefore.

use serde::{Deserialize, Serialize};

use super::book::{Book, PerBet, rates};
use super::logs::{log_sum, root, times};
use super::tick::{PairTick, Sampling, Tick, real};

/// As how many requests the stable version counts in a bursty tick at most. It may well have a hundred times the canary's traffic, but
/// its share of failures is one observation too.
pub const STABLE_CAP: f64 = 20.0;
/// As how many requests of the canary a second count for a promotion at most.
pub const EVIDENCE_PER_SECOND: f64 = 20.0;
/// The evidence for a promotion bets on three rates of the canary: the stable version's, half the margin above it, a quarter of it.
const PROMOTION: [f64; 3] = [0.5, 0.25, 0.25];
/// Rates are looked for between this and 1 minus this.
const EDGE: f64 = 1e-15;

/// What is taken for the stable version's failure rate before a tick, from `stable`, everything that was seen of it before.
pub fn base_rate(stable: Tick, margin: f64) -> f64 {
    ((real(stable.failed) + 0.5) / (real(stable.total) + 0.5 / margin)).min(1.0 - margin - 1e-3).max(1e-6)
}

/// The pair of rates on the border of what is allowed that is hardest to tell from (`stable`, `canary`) by so many requests (the
/// reverse information projection). Returns the stable version's; the canary's is `margin` above it.
pub fn projection(stable_requests: f64, canary_requests: f64, stable: f64, canary: f64, margin: f64) -> f64 {
    let low = stable.min(canary - margin).max(EDGE);
    let high = stable.max(canary - margin).min(1.0 - margin - EDGE);
    root(low, high, |rate| {
        let shifted = rate + margin;
        stable_requests * (rate - stable) / (rate * (1.0 - rate)) + canary_requests * (shifted - canary) / (shifted * (1.0 - shifted))
    })
}

/// By what a tick multiplies each bet against the canary, as logarithms. Both sides have at least one request.
pub fn growth(margin: f64, base: f64, tick: PairTick, sampling: Sampling, stable_cap: f64) -> PerBet {
    let PairTick { canary, stable } = tick;
    let (stable_requests, canary_requests) = match sampling {
        Sampling::Bursty => (real(stable.total).min(stable_cap), 1.0),
        Sampling::Independent => (real(stable.total), real(canary.total)),
    };
    rates(base + margin).map(|rate| {
        let stable_border = projection(stable_requests, canary_requests, base, rate, margin);
        let border = stable_border + margin;
        let of_stable =
            times(stable.share(), (base / stable_border).ln()) + times(1.0 - stable.share(), (-base).ln_1p() - (-stable_border).ln_1p());
        let of_canary = match sampling {
            Sampling::Bursty => (canary.share() * (rate / border) + (1.0 - canary.share()) * ((1.0 - rate) / (1.0 - border))).ln(),
            Sampling::Independent => ratio(canary, rate, border),
        };
        stable_requests * of_stable + of_canary
    })
}

/// By what a tick multiplies each bet for a promotion, as logarithms.
pub fn promotion_growth(margin: f64, base: f64, tick: PairTick, tempering: f64) -> [f64; 3] {
    [base, base + margin / 2.0, base / 4.0].map(|rate| {
        let border = projection(real(tick.stable.total), real(tick.canary.total), base, rate, margin);
        (ratio(tick.canary, rate, border + margin) + ratio(tick.stable, base, border)) / tempering
    })
}

/// The log of the likelihood ratio of two rates.
fn ratio(tick: Tick, rate: f64, against: f64) -> f64 {
    times(real(tick.failed.min(tick.total)), (rate / against).ln()) + times(real(tick.succeeded()), (-rate).ln_1p() - (-against).ln_1p())
}

/// A margin, and what was seen of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompareCheck {
    margin: f64,
    sampling: Sampling,
    stable_cap: f64,
    evidence_per_second: f64,
    book: Book,
    /// Everything that was seen of the stable version, for the next tick's guess.
    stable: Tick,
    log_promotion: [f64; 3],
    /// What was seen since the last bet: one side has had no request yet.
    pending: PairTick,
}

impl CompareCheck {
    pub fn new(margin: f64, sampling: Sampling) -> Self {
        CompareCheck::with_caps(margin, sampling, STABLE_CAP, EVIDENCE_PER_SECOND)
    }

    pub fn with_caps(margin: f64, sampling: Sampling, stable_cap: f64, evidence_per_second: f64) -> Self {
        CompareCheck {
            margin,
            sampling,
            stable_cap,
            evidence_per_second,
            book: Book::default(),
            stable: Tick::default(),
            log_promotion: PROMOTION.map(f64::ln),
            pending: PairTick::default(),
        }
    }

    pub fn begin_step(&mut self) {
        self.book.begin_step();
        self.log_promotion = PROMOTION.map(f64::ln);
    }

    /// Takes in one tick. Says which rate of the stable version the bet was based on; none where a side still lacks a request and what
    /// was counted is kept for the next tick.
    pub fn observe(&mut self, tick: PairTick) -> Option<f64> {
        self.pending = self.pending.and(tick);
        if self.pending.canary.is_empty() || self.pending.stable.is_empty() {
            return None;
        }
        let tick = std::mem::take(&mut self.pending);
        let base = base_rate(self.stable, self.margin);
        self.book.bet(&growth(self.margin, base, tick, self.sampling, self.stable_cap));
        let more = promotion_growth(self.margin, base, tick, tick.canary.tempering(self.evidence_per_second));
        for (log, more) in self.log_promotion.iter_mut().zip(more) {
            *log += more;
        }
        self.stable = self.stable.and(tick.stable);
        Some(base)
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Evidence of this step for a promotion, as a logarithm.
    pub fn log_promotion(&self) -> f64 {
        log_sum(&self.log_promotion)
    }

    pub fn margin(&self) -> f64 {
        self.margin
    }

    pub(crate) fn is_of(&self, margin: f64, sampling: Sampling, evidence_per_second: f64) -> bool {
        let known = self.clone();
        known == CompareCheck { margin, sampling, stable_cap: STABLE_CAP, evidence_per_second, ..known.clone() }
            && self.book.is_sound()
            && self.log_promotion.iter().all(|log| log.is_finite())
            && self.stable.failed <= self.stable.total
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tick(canary: (u64, u64), stable: (u64, u64)) -> PairTick {
        let side = |(total, failed)| Tick::of(total, failed, Duration::from_secs(5));
        PairTick { canary: side(canary), stable: side(stable) }
    }

    #[test]
    fn what_one_side_lacks_is_waited_for() {
        let mut apart = CompareCheck::new(0.005, Sampling::Bursty);
        assert_eq!(apart.observe(tick((5, 1), (0, 0))), None);
        assert!(apart.observe(tick((0, 0), (45, 0))).is_some());
        let mut together = CompareCheck::new(0.005, Sampling::Bursty);
        together.observe(PairTick { canary: Tick::of(5, 1, Duration::from_secs(10)), stable: Tick::of(45, 0, Duration::from_secs(10)) });
        assert_eq!(apart, together);
    }

    #[test]
    fn an_incident_that_both_have_in_common_is_no_evidence() {
        let mut check = CompareCheck::new(0.005, Sampling::Bursty);
        for minute in 0..360 {
            let failed = if (100..136).contains(&minute) { (5, 45) } else { (0, 0) };
            check.observe(tick((50, failed.0), (450, failed.1)));
            assert!(check.book().log_wealth() < 10f64.ln(), "{minute}");
        }
    }

    #[test]
    fn a_canary_that_is_worse_is_found_out() {
        let mut check = CompareCheck::new(0.005, Sampling::Bursty);
        let ticks = (1..100).find(|_| {
            check.observe(tick((50, 10), (450, 1)));
            check.book().log_wealth() >= 100f64.ln()
        });
        assert_eq!(ticks, Some(4));
    }
}
