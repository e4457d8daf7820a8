//! Gate runners: I/O that turns the world into observations.

pub mod http;
pub mod probes;
