//! What the loops of the controller count, and what they answer when they are asked how they are.

pub mod metrics;
pub mod pulse;

/// What the loops of the controller report to.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    pub metrics: metrics::Metrics,
    pub pulse: pulse::Pulse,
}
