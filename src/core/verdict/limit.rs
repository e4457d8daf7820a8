//! One sample against a limit: does the canary fail more often than it may?
//!
//! With [`Sampling::Bursty`] a tick is one bounded observation, its share of failures, and the bet is that of Waudby-Smith and Ramdas
//! (2024): valid for any dependence inside the tick. With one request a tick it is the likelihood ratio. The evidence for a promotion
//! is of the current step alone: the load changes from step to step, and a bad canary has to pass every one of them.

use serde::{Deserialize, Serialize};

use super::book::{BETS, Book, PerBet, rates};
use super::logs::{log_sum, times};
use super::tick::{Sampling, Tick, real};

/// Failure rates below the limit that the evidence for a promotion bets on, as parts of the limit, and the share of the purse of each.
/// Most lies on "never fails"; the others keep a canary with a few failures from losing all.
const PROMOTION: [(f64, f64); 4] = [(0.0, 0.4), (1.0 / 8.0, 0.3), (1.0 / 4.0, 0.2), (1.0 / 2.0, 0.1)];

/// By what a tick multiplies each bet, as logarithms. The tick has at least one request.
pub fn growth(limit: f64, tick: Tick, sampling: Sampling) -> PerBet {
    let (failed, succeeded, share) = (real(tick.failed.min(tick.total)), real(tick.succeeded()), tick.share());
    rates(limit).map(|rate| match sampling {
        Sampling::Bursty => (share * (rate / limit) + (1.0 - share) * ((1.0 - rate) / (1.0 - limit))).ln(),
        Sampling::Independent => times(failed, (rate / limit).ln()) + times(succeeded, (-rate).ln_1p() - (-limit).ln_1p()),
    })
}

/// The evidence of one block of requests against a limit, without a reserve: the mean of the twelve bets.
pub fn block(limit: f64, tick: Tick) -> f64 {
    log_sum(&growth(limit, tick, Sampling::Independent)) - real(BETS as u64).ln()
}

/// The evidence that the failure rate is below `limit`, as a logarithm, of `total` requests with `failed` among them. Both may be
/// fractions: requests are thinned out.
pub fn promotion(limit: f64, total: f64, failed: f64) -> f64 {
    let bets = PROMOTION.map(|(part, share)| {
        let failures = if failed > 0.0 { failed * f64::ln(part) } else { 0.0 };
        share.ln() + failures + times(total - failed, (-part * limit).ln_1p() - (-limit).ln_1p())
    });
    log_sum(&bets)
}

/// A limit, and what was seen of the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitCheck {
    limit: f64,
    sampling: Sampling,
    evidence_per_second: f64,
    book: Book,
    /// Requests of this step that count for a promotion, and failures among them.
    effective_total: f64,
    effective_failed: f64,
}

impl LimitCheck {
    /// `evidence_per_second`: as how many requests a second count for a promotion at most. More would let short bad spells between
    /// long good ones pass.
    pub fn new(limit: f64, sampling: Sampling, evidence_per_second: f64) -> Self {
        LimitCheck { limit, sampling, evidence_per_second, book: Book::default(), effective_total: 0.0, effective_failed: 0.0 }
    }

    pub fn begin_step(&mut self) {
        self.book.begin_step();
        (self.effective_total, self.effective_failed) = (0.0, 0.0);
    }

    pub fn observe(&mut self, tick: Tick) {
        self.observe_between(tick, tick);
    }

    /// Takes in a tick of which is known between what its failures lie: `surely` is held against the canary, `possibly` against its
    /// promotion. Both are of the same requests.
    pub fn observe_between(&mut self, surely: Tick, possibly: Tick) {
        if !surely.is_empty() {
            self.book.bet(&growth(self.limit, surely, self.sampling));
        }
        if !possibly.is_empty() {
            let tempering = possibly.tempering(self.evidence_per_second);
            self.effective_total += real(possibly.total) / tempering;
            self.effective_failed += real(possibly.failed.min(possibly.total)) / tempering;
        }
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Evidence of this step for a promotion, as a logarithm.
    pub fn log_promotion(&self) -> f64 {
        promotion(self.limit, self.effective_total, self.effective_failed)
    }

    pub fn limit(&self) -> f64 {
        self.limit
    }

    pub fn effective(&self) -> (f64, f64) {
        (self.effective_total, self.effective_failed)
    }

    /// How many more requests without a failure would be evidence enough for a promotion.
    pub fn clean_requests_missing(&self, missed_regression_rate: f64) -> f64 {
        let enough = -missed_regression_rate.ln();
        let (total, failed) = self.effective();
        let reached = |more: f64| promotion(self.limit, total + more, failed) - enough;
        if reached(0.0) >= 0.0 {
            return 0.0;
        }
        let mut many = 1.0;
        while reached(many) < 0.0 && many < 1e15 {
            many *= 2.0;
        }
        super::logs::root(0.0, many, reached).ceil()
    }

    pub(crate) fn is_of(&self, limit: f64, sampling: Sampling, evidence_per_second: f64) -> bool {
        let known = LimitCheck { book: self.book.clone(), ..*self };
        known == LimitCheck { limit, sampling, evidence_per_second, ..known.clone() } && self.is_sound()
    }

    fn is_sound(&self) -> bool {
        self.book.is_sound()
            && self.effective_total.is_finite()
            && self.effective_failed >= 0.0
            && self.effective_failed <= self.effective_total
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these results are exact")]

    use std::time::Duration;

    use super::*;

    fn seen(ticks: &[(u64, u64)]) -> LimitCheck {
        let mut check = LimitCheck::new(0.01, Sampling::Bursty, 1.0);
        for (total, failed) in ticks {
            check.observe(Tick::of(*total, *failed, Duration::from_secs(5)));
        }
        check
    }

    #[test]
    fn two_ticks_of_nothing_but_failures_are_enough() {
        assert!((seen(&[(5, 5)]).book().log_wealth() - 2.557_442_371_410_618).abs() < 1e-12);
        assert!((seen(&[(5, 5), (5, 5)]).book().log_wealth() - 6.561_734_234_554_714).abs() < 1e-12);
    }

    #[test]
    fn a_tick_without_requests_changes_nothing() {
        assert_eq!(seen(&[(5, 1), (0, 0), (5, 0)]), seen(&[(5, 1), (5, 0)]));
    }

    #[test]
    fn a_limit_of_1_percent_takes_334_clean_requests() {
        assert!(promotion(0.01, 334.0, 0.0) >= 20f64.ln() && promotion(0.01, 333.0, 0.0) < 20f64.ln());
        assert_eq!(seen(&[]).clean_requests_missing(0.05), 334.0);
        assert_eq!(seen(&[(5, 0); 60]).clean_requests_missing(0.05), 34.0);
        assert_eq!(seen(&[(5, 0); 70]).clean_requests_missing(0.05), 0.0);
    }

    /// Exactly, by adding up all outcomes of a tick: no bet can be expected to win while the canary keeps its limit.
    #[test]
    fn no_bet_can_be_expected_to_win_against_a_canary_that_keeps_its_limit() {
        for limit in [0.01, 0.3] {
            for part in [0.0, 0.5, 1.0] {
                for total in [1, 5, 20] {
                    for sampling in [Sampling::Bursty, Sampling::Independent] {
                        let mean = mean(total, limit * part, |failed| {
                            let growth = growth(limit, Tick::of(total, failed, Duration::ZERO), sampling);
                            growth.iter().map(|log| log.exp()).sum::<f64>() / real(BETS as u64)
                        });
                        assert!(mean <= 1.0 + 1e-12, "{limit} {part} {total} {sampling:?}: {mean}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_evidence_for_a_promotion_can_be_expected_of_a_canary_that_breaks_its_limit() {
        for rate in [0.05, 0.06, 0.5] {
            for total in [1, 10, 60] {
                let mean = mean(total, rate, |failed| promotion(0.05, real(total), real(failed)).exp());
                assert!(mean <= 1.0 + 1e-12, "{rate} {total}: {mean}");
            }
        }
    }

    /// The mean of `value` over the number of failures among `total` requests.
    fn mean(total: u64, rate: f64, value: impl Fn(u64) -> f64) -> f64 {
        let mut ways = 1.0;
        let mut sum = 0.0;
        for failed in 0..=total {
            let exponents = (i32::try_from(failed).unwrap(), i32::try_from(total - failed).unwrap());
            sum += ways * rate.powi(exponents.0) * (1.0 - rate).powi(exponents.1) * value(failed);
            ways = ways * real(total - failed) / real(failed + 1);
        }
        sum
    }
}
