//! Releases on a cluster, real or embedded, with clients that count their answers and a witness that checks every write. See README.md
//! beside this file.
//!
//! A scenario is a script: it starts from the manifests of `examples/hello`, lets the built controller release, disturbs it, and ends with
//! [`scenario::Scenario::finish`], which is where the assertions on clients, invariants (design section 8) and leftovers are made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![allow(clippy::disallowed_methods, reason = "the clock of the real cluster is the real one")]

#[path = "../controller/mod.rs"]
mod controller;
mod scenario;
mod world;

mod affinity;
mod approval;
mod autoscaler;
mod control;
mod crash;
mod gitops;
mod installed;
mod owner;
mod pairs;
mod preview;
mod probe;
mod reach;
mod refuse;
mod release;
mod rollback;
mod soak;
mod undo;
mod witness;
mod workers;
