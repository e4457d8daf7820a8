//! Sums of numbers of which only the logarithm can be stored, and roots of functions that only rise.

/// `ln(e^a + e^b + ...)`. Minus infinity where there is nothing to add.
pub fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln() } else { most }
}

/// [`log_sum`] of two.
pub fn log_add(a: f64, b: f64) -> f64 {
    let (more, less) = if a >= b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

/// Several bets that share a purse: `ln(sum of weight * e^log)`. Valid under any dependence between them, and never worse than to split
/// the error rate between them (Bonferroni).
pub fn combine(bets: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let logs: Vec<f64> = bets.into_iter().map(|(weight, log)| weight.ln() + log).collect();
    log_sum(&logs)
}

/// `count * log`, with nothing counted as nothing, also of the impossible.
pub(crate) fn times(count: f64, log: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * log }
}

/// Where a rising function passes 0 between `low` and `high`; the end that is nearer to it where it does not.
///
/// Chandrupatla's method (1997): inverse quadratic interpolation where that is known to be safe, else bisection. Some ten calls, where
/// bisection takes sixty.
pub(crate) fn root(low: f64, high: f64, rising: impl Fn(f64) -> f64) -> f64 {
    let (mut newest, mut opposite) = ((low, rising(low)), (high, rising(high)));
    if newest.1 >= 0.0 {
        return low;
    }
    if opposite.1 <= 0.0 {
        return high;
    }
    let mut part = 0.5;
    // Bisection alone would be through after 1100 halvings, whatever the interval.
    for _ in 0..1100 {
        let at = newest.0 + part * (opposite.0 - newest.0);
        let value = rising(at);
        let before = if (value < 0.0) == (newest.1 < 0.0) {
            std::mem::replace(&mut newest, (at, value))
        } else {
            std::mem::replace(&mut opposite, std::mem::replace(&mut newest, (at, value)))
        };
        let best = if newest.1.abs() < opposite.1.abs() { newest } else { opposite };
        let apart = opposite.0 - newest.0;
        let least = (2.0 * f64::EPSILON * best.0.abs() + f64::MIN_POSITIVE) / apart.abs();
        if least > 0.5 || best.1 == 0.0 {
            return best.0;
        }
        part = interpolated(newest, opposite, before).unwrap_or(0.5).clamp(least, 1.0 - least);
    }
    newest.0
}

/// Which part of the way from `newest` to `opposite` the root is by inverse quadratic interpolation, where three points allow one.
fn interpolated(newest: (f64, f64), opposite: (f64, f64), before: (f64, f64)) -> Option<f64> {
    let ((x1, f1), (x2, f2), (x3, f3)) = (newest, opposite, before);
    let (place, value) = ((x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2));
    let is_safe = 1.0 - (1.0 - place).sqrt() < value && value < place.sqrt();
    is_safe.then(|| f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these results are exact")]

    use super::*;

    #[test]
    fn sums_survive_what_no_number_holds() {
        assert!((log_sum(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-12);
        assert!((log_add(-1000.0, -1000.0) - (-1000.0 + 2f64.ln())).abs() < 1e-12);
        assert_eq!(log_add(f64::NEG_INFINITY, 3.0), 3.0);
        assert_eq!(log_add(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(log_sum(&[]), f64::NEG_INFINITY);
        assert_eq!(times(0.0, f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn a_root_is_found_to_the_last_digit() {
        assert!((root(0.0, 2.0, |x| x * x - 2.0) - 2f64.sqrt()).abs() < 1e-15);
        assert!((root(1e-15, 1.0 - 1e-15, |x| x.ln() - 0.3f64.ln()) - 0.3).abs() < 1e-15);
        assert!((root(0.0, 1.0, |x| (x - 0.7).powi(3)) - 0.7).abs() < 1e-5, "flat");
        assert_eq!(root(0.25, 0.5, |x| x), 0.25);
        assert_eq!(root(0.25, 0.5, |x| x - 1.0), 0.5);
    }
}
