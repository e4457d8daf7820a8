//! What was counted in one interval.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The requests of one interval, and how many of them failed. Without requests it is no observation, and changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub total: u64,
    /// Counted as `total` where it is larger: two counters that are read one after the other may disagree.
    pub failed: u64,
    #[serde(with = "seconds")]
    pub elapsed: Duration,
}

/// The requests of one interval to the canary and to the stable version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairTick {
    pub canary: Tick,
    pub stable: Tick,
}

/// How much each request of a tick counts against the canary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sampling {
    /// A tick is one observation: the share of its requests that failed. Holds however failures cluster inside a tick.
    #[default]
    Bursty,
    /// Every request is an observation. Sees small regressions several times sooner, and holds only where failures do not cluster.
    Independent,
}

impl Tick {
    pub fn of(total: u64, failed: u64, elapsed: Duration) -> Self {
        Tick { total, failed: failed.min(total), elapsed }
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Requests that did not fail.
    pub fn succeeded(&self) -> u64 {
        self.total.saturating_sub(self.failed)
    }

    /// The share that failed; 0 of an empty tick.
    pub fn share(&self) -> f64 {
        if self.is_empty() { 0.0 } else { real(self.failed.min(self.total)) / real(self.total) }
    }

    #[must_use]
    pub fn and(self, more: Tick) -> Tick {
        Tick {
            total: self.total.saturating_add(more.total),
            failed: self.failed.min(self.total).saturating_add(more.failed.min(more.total)),
            elapsed: self.elapsed.saturating_add(more.elapsed),
        }
    }

    /// By how much the tick is thinned out so that it counts as no more than `per_second` requests a second. In the log of a
    /// likelihood ratio that is a geometric mean, so the evidence stays valid for any dependence inside a second.
    pub(crate) fn tempering(&self, per_second: f64) -> f64 {
        (real(self.total) / (self.elapsed.as_secs_f64() * per_second)).max(1.0)
    }
}

impl PairTick {
    #[must_use]
    pub fn and(self, more: PairTick) -> PairTick {
        PairTick { canary: self.canary.and(more.canary), stable: self.stable.and(more.stable) }
    }
}

/// A count as a number to calculate with. Exact up to 2^53, which is a million requests a second for 285 years.
#[allow(clippy::cast_precision_loss, reason = "exact for every count that there will be")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Durations on record are seconds.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        duration.as_secs_f64().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these results are exact")]

    use super::*;

    #[test]
    fn more_failures_than_requests_are_as_many_as_requests() {
        assert_eq!(Tick::of(3, 5, Duration::ZERO).failed, 3);
        let raw = Tick { total: 3, failed: 5, elapsed: Duration::ZERO };
        assert_eq!((raw.share(), raw.succeeded(), raw.and(raw).failed), (1.0, 0, 6));
    }

    #[test]
    fn requests_in_no_time_count_as_nothing() {
        assert_eq!(1.0 / Tick::of(3, 0, Duration::ZERO).tempering(1.0), 0.0);
        assert_eq!(Tick::of(5, 0, Duration::from_secs(5)).tempering(1.0), 1.0);
        assert_eq!(Tick::of(500, 0, Duration::from_secs(5)).tempering(1.0), 100.0);
    }
}
