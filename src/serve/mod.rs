//! What a running controller tells over HTTP: whether it is alive and ready, and what it has done.

#![allow(clippy::disallowed_methods, reason = "serve is the shell, not the core")]

pub mod health;
pub mod metrics;
pub mod pulse;

/// What the loops of the controller report to.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    pub metrics: metrics::Metrics,
    pub pulse: pulse::Pulse,
}
