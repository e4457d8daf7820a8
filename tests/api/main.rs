//! The kinds on a real API server: what it takes, what it refuses and with which words, and what kubectl shows of it.
//!
//! The tables are in `table.rs`. The same rows go through kube's evaluation of the rules without a cluster, so that both agree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

#[path = "../kubectl/mod.rs"]
mod kubectl;
mod offline;
mod server;
mod shown;
mod table;
