//! Stepgate moves the clients of a Kubernetes Service from one version of a Deployment to the next, a step at a time, and takes them
//! back by itself the moment the new version misbehaves.
//!
//! | module | what is in it |
//! |---|---|
//! | [`visible`] | text of others, made harmless for screens, logs and Events |
//! | [`api`] | the kinds: what a user writes, what Stepgate reports. No logic |
//! | [`schema`] | what the API server refuses, drops and fills in, pure |
//! | [`clock`] | the time that decisions are made at |
//! | [`core`] | the decisions, pure: [`core::decide::decide`] from everything that was observed and the time |
//! | [`observe`] | objects become facts |
//! | [`vitals`] | what the loops count, and how they are |
//! | [`act`] | decisions become API calls |
//! | [`probe`] | gates become requests, and their answers facts |
//! | [`events`] | notices become Events |
//! | [`lease`] | who leads |
//! | [`controller`] | the loops that join all of this |
//! | [`serve`] | health and metrics, over HTTP |
//! | [`show`] | what people are shown, as data and sentences |
//! | [`cli`] | one file a command |
//! | `sim` | an embedded cluster for tests, demo and simulation (feature `sim`) |
//!
//! Which of them may import which is said, and checked, by `tests/house.rs`.
//!
//! Three laws: decide purely, act idempotently; every wait names what it waits for and until when; when data is missing or stale, hold,
//! never advance.

#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod act;
pub mod api;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod cli;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod clock;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod controller;
pub mod core;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod events;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod lease;
pub mod observe;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod probe;
pub mod schema;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod serve;
pub mod show;
#[cfg(feature = "sim")]
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod sim;
pub mod visible;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod vitals;
