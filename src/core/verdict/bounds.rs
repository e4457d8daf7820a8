//! Between what the failure rate of a sample lies, at any time and however often one looks.
//!
//! The bounds are where the bets of [`super::limit`] would win: below the lower bound the rollback's bets against that rate have
//! reached `1/falseRollbackRate`, above the upper bound the promotion's have reached `1/missedRegressionRate`. So "the upper bound is
//! below the limit" and "there is evidence enough for a promotion" are the same thing.

use super::book::{BETS, rates};
use super::limit::promotion;
use super::logs::{log_sum, root, times};
use super::tick::real;

/// Rates are looked for between this and 1 minus this.
const EDGE: f64 = 1e-15;

/// The largest failure rate that is not ruled out yet.
pub fn upper(total: f64, failed: f64, missed_regression_rate: f64) -> f64 {
    if total - failed <= 0.0 {
        return 1.0;
    }
    root(EDGE, 1.0 - EDGE, |rate| promotion(rate, total, failed) + missed_regression_rate.ln())
}

/// The smallest failure rate that is not ruled out yet.
pub fn lower(total: f64, failed: f64, false_rollback_rate: f64) -> f64 {
    if failed <= 0.0 {
        return 0.0;
    }
    let evidence = |limit: f64| {
        let bets = rates(limit)
            .map(|rate| times(failed, (rate / limit).ln()) + times((total - failed).max(0.0), (-rate).ln_1p() - (-limit).ln_1p()));
        log_sum(&bets) - real(BETS as u64).ln()
    };
    root(EDGE, (failed / total).min(1.0 - EDGE), |rate| -(evidence(rate) + false_rollback_rate.ln()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these results are exact")]

    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_design() {
        assert!((upper(334.0, 0.0, 0.05) - 0.009_972_13).abs() < 1e-8);
        assert!((lower(50.0, 3.0, 0.01) - 0.003_268_98).abs() < 1e-8);
        assert!((upper(50.0, 3.0, 0.05) - 0.200_408).abs() < 1e-6);
    }

    #[test]
    fn without_data_every_rate_is_possible() {
        assert_eq!((lower(0.0, 0.0, 0.01), upper(0.0, 0.0, 0.05)), (0.0, 1.0));
        assert_eq!(upper(7.0, 7.0, 0.05), 1.0);
    }

    #[test]
    fn the_share_that_was_seen_lies_between_the_bounds() {
        for (total, failed) in [(1.0, 0.0), (1.0, 1.0), (50.0, 3.0), (334.0, 0.0), (1000.0, 30.0), (100_000.0, 200.0)] {
            let (low, high) = (lower(total, failed, 0.01), upper(total, failed, 0.05));
            assert!(low <= failed / total && failed / total <= high, "{failed} of {total}: {low} to {high}");
        }
    }
}
