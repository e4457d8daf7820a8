//! Slow requests, read from the buckets of a histogram.
//!
//! "95% under 300 ms" is a limit: a request that took longer is a failed one, and 5% may be. Nothing is interpolated. Where no bucket
//! ends exactly at the limit, the next bound above it is held against the canary, and the next bound below it against its promotion.

use std::time::Duration;

use super::tick::Tick;

/// How many requests took at most `bound` seconds, of one interval. The last bound is infinite, and counts all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub bound: f64,
    pub count: u64,
}

/// The requests that were slow: so many surely, and so many possibly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    pub surely: Tick,
    pub possibly: Tick,
}

/// How many requests took longer than `under` seconds. `buckets` are in the order of their bounds.
///
/// None where the histogram has no finite bound at or above `under`: it cannot say that a request was slow, and nobody would be rolled
/// back by it.
pub fn slow(buckets: &[Bucket], under: f64, elapsed: Duration) -> Option<Slow> {
    let total = buckets.last()?.count;
    let above = buckets.iter().find(|bucket| bucket.bound >= under && bucket.bound.is_finite())?;
    let below = buckets.iter().rev().find(|bucket| bucket.bound <= under).map_or(0, |bucket| bucket.count);
    let slower_than = |count: u64| Tick::of(total, total.saturating_sub(count), elapsed);
    Some(Slow { surely: slower_than(above.count), possibly: slower_than(below) })
}

/// The smallest bound that `share` of the requests keep: what "no slower than the stable version" is measured against, from the time
/// before the release. None without requests, and where only the infinite bucket holds them.
pub fn quantile(buckets: &[Bucket], share: f64) -> Option<f64> {
    let total = super::tick::real(buckets.last().filter(|all| all.count > 0)?.count);
    buckets
        .iter()
        .find(|bucket| super::tick::real(bucket.count) >= share * total)
        .map(|bucket| bucket.bound)
        .filter(|bound| bound.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> Vec<Bucket> {
        [(0.1, 50), (0.25, 80), (0.5, 95), (f64::INFINITY, 100)].map(|(bound, count)| Bucket { bound, count }).to_vec()
    }

    #[test]
    fn a_limit_between_two_bounds_gives_the_canary_the_benefit_of_the_doubt() {
        let counted = |under| slow(&buckets(), under, Duration::ZERO).map(|slow| (slow.surely.failed, slow.possibly.failed));
        assert_eq!(counted(0.25), Some((20, 20)));
        assert_eq!(counted(0.3), Some((5, 20)));
        assert_eq!(counted(0.05), Some((50, 100)));
        assert_eq!(counted(0.6), None, "no bound above the limit");
        assert_eq!(slow(&[], 0.3, Duration::ZERO), None);
    }

    #[test]
    fn a_quantile_is_a_bound_of_the_histogram() {
        assert_eq!(quantile(&buckets(), 0.5), Some(0.1));
        assert_eq!(quantile(&buckets(), 0.95), Some(0.5));
        assert_eq!(quantile(&buckets(), 0.99), None);
        assert_eq!(quantile(&[Bucket { bound: f64::INFINITY, count: 0 }], 0.5), None);
    }
}
