//! Stepgate moves the clients of a Kubernetes Service from one version of a Deployment to the next, a step at a time, and takes them
//! back by itself the moment the new version misbehaves.
//!
//! | module | what is in it |
//! |---|---|
//! | [`api`] | the kinds: what a user writes, what Stepgate reports. No logic |
//! | [`core`] | the decisions, pure: [`core::decide::decide`] from everything that was observed and the time |
//! | [`gate`] | gate runners: I/O that turns the world into observations |
//! | [`controller`] | the shell: watches become facts, decisions become API calls |
//! | [`schema`] | what the API server refuses, drops and fills in, pure |
//! | [`serve`] | health and metrics, over HTTP |
//! | [`cli`] | one file a command |
//! | `sim` | an embedded cluster for tests, demo and simulation (feature `sim`) |
//!
//! Three laws: decide purely, act idempotently; every wait names what it waits for and until when; when data is missing or stale, hold,
//! never advance.

pub mod api;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod cli;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod controller;
pub mod core;
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod gate;
pub mod schema;
pub mod serve;
#[cfg(feature = "sim")]
#[allow(clippy::disallowed_methods, reason = "the shell has clocks and tasks")]
pub mod sim;
