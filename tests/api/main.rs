//! The kinds on a real API server: what kubectl shows of them. What is refused, and with which words, is in `tests/inputs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

#[path = "../kubectl/mod.rs"]
mod kubectl;
mod shown;
