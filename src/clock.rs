//! The time that decisions are made at.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall-clock time at the start plus the monotonic time since: a clock that is set while the controller runs neither skips a hold nor
/// makes it last. Follows tokio's clock, so that tests can stop it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that shows `wall` now.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, started: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        SignedDuration::try_from(self.started.elapsed()).ok().and_then(|elapsed| self.wall.checked_add(elapsed).ok()).unwrap_or(self.wall)
    }

    /// The instant at which this clock will show `time`; now, if that is past.
    pub fn instant(&self, time: Timestamp) -> Instant {
        let ahead = time.duration_since(self.now());
        Instant::now() + std::time::Duration::try_from(ahead).unwrap_or_default()
    }
}

/// Sleeps until then; for ever, where no time is given.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
