//! The time of the embedded cluster: a fixed start plus tokio's clock, so that paused time is cluster time.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When every simulated cluster begins, unless told otherwise: 2026-01-01T00:00:00Z.
pub const DAWN: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Cluster time as a function of tokio's time. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    origin: Instant,
}

impl Clock {
    /// A clock that shows `start` now. Needs a tokio runtime with time.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, origin: Instant::now() }
    }

    /// The time in the cluster.
    pub fn now(&self) -> Timestamp {
        self.start.saturating_add(SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
    }

    /// The tokio instant at which [`Clock::now`] reaches `at`; this instant for what is past.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.origin + at.duration_since(self.start).try_into().unwrap_or_default()
    }
}

/// A time as Kubernetes writes it: whole seconds, as in `metadata.creationTimestamp`.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as Events and Leases write it: microseconds.
pub fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// `at` moved by `by`, never past the end of time.
pub fn after(at: Timestamp, by: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
