//! The admission policies on a real API server, one file each, and what `stepgate install` and `stepgate uninstall` print.
//!
//! The Rollouts' status is written by hand: no controller may run on this cluster meanwhile. Every test has a namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

#[path = "../kubectl/mod.rs"]
mod kubectl;

mod floor;
mod handover;
mod held;
mod install;
mod pause;
mod pin;
mod right;
mod who;
mod world;
