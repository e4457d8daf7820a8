//! What the loops of the controller count, and what they answer when they are asked how they are.

pub mod metrics;
pub mod pulse;

/// What the loops of the controller report to.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    pub metrics: metrics::Metrics,
    /// The loops that the process lives by: who leads, and where there are Rollouts.
    pub process: pulse::Pulse,
    /// The loops of the namespaces, a tenant's each: what becomes of one is no reason to end the others.
    pub pulse: pulse::Pulse,
}
