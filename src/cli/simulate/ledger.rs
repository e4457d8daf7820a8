//! What clients would have met: computed from the endpoints, not sent.

use std::time::Duration;

use jiff::Timestamp;

use super::{app::NEW, story::Stretch};
use crate::sim::{
    World,
    stage::{SERVICE_PORT, service},
};

/// Counts requests at an even rate from the moment it is opened.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Requests a second.
    rate: f64,
    since: Timestamp,
    /// What a new connection has met since then.
    now: Prospects,
    pub stretches: Vec<Stretch>,
}

/// What a new connection meets: shares of 1.
#[derive(Clone, Copy, Debug, Default)]
struct Prospects {
    moved: f64,
    failed: f64,
}

impl Ledger {
    /// A ledger that begins now.
    pub fn open(rate: f64, world: &World, now: Timestamp) -> Self {
        Self { rate, since: now, now: prospects(world, now), stretches: vec![Stretch::default()] }
    }

    /// Counts what was met since the last look, and looks again; `weight` is the one in effect from here on.
    pub fn look(&mut self, world: &World, now: Timestamp, weight: u8) {
        let length = Duration::try_from(now.duration_since(self.since)).unwrap_or_default();
        let requests = self.rate * length.as_secs_f64();
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.length += length;
            stretch.requests += requests;
            stretch.moved += requests * self.now.moved;
            stretch.failed += requests * self.now.failed;
            if stretch.weight != weight {
                self.stretches.push(Stretch { weight, ..Stretch::default() });
            }
        }
        self.since = now;
        self.now = prospects(world, now);
    }
}

/// Each endpoint gets an equal share of the new connections; without one they all fail.
fn prospects(world: &World, now: Timestamp) -> Prospects {
    let endpoints = world.endpoints(&service(), SERVICE_PORT);
    let share = f64::from(u32::try_from(endpoints.len()).unwrap_or(u32::MAX)).recip();
    if endpoints.is_empty() {
        return Prospects { moved: 0.0, failed: 1.0 };
    }
    let processes = endpoints.iter().map(|endpoint| world.kubelet().pod_at(&endpoint.address).and_then(|pod| world.kubelet().process(pod)));
    processes.fold(Prospects::default(), |sum, process| Prospects {
        moved: sum.moved + process.filter(|process| process.settings.version == NEW).map_or(0.0, |_| share),
        failed: sum.failed + process.map_or(share, |process| share * process.failing(now) / 100.0),
    })
}
