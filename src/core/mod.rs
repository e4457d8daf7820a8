//! The decisions, pure: no client, no clock, no randomness, no I/O, no async.
//!
//! [`decide::decide`] takes everything that was observed ([`snapshot::Snapshot`]) and the time, and says what to do next, what to
//! report, what it waits for and when to look again. Three laws: decide purely, act idempotently; every wait names what it waits for
//! and until when; when data is missing or stale, hold, never advance.

pub mod action;
pub mod adoption;
pub mod affinity;
pub mod approval;
pub mod bad_pair;
pub mod canary;
pub mod conditions;
pub mod decide;
pub mod declared;
pub mod deletion;
pub mod draft;
pub mod end;
pub mod gate;
pub mod handover;
pub mod native;
pub mod pair;
pub mod preview;
pub mod refusal;
pub mod release;
pub mod replicas;
pub mod request;
pub mod rest;
pub mod revision;
pub mod roll;
pub mod rollback;
pub mod service_split;
pub mod snapshot;
pub mod steps;
pub mod traffic;
pub mod undo;
pub mod validate;
pub mod view;
pub mod why;
pub mod worker;

#[cfg(test)]
mod affinity_tests;
#[cfg(test)]
mod declared_tests;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod model;
#[cfg(test)]
mod native_tests;
#[cfg(test)]
mod preview_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod undo_tests;
#[cfg(test)]
mod worker_tests;
