//! Input that is wrong, and what its author is told, word for word.
//!
//! - `manifests.yaml`: objects of our kinds that the API server refuses, by schema, rule or admission policy. Each row is sent as a dry run,
//!   to a real API server and to that of the embedded cluster, and its rules are evaluated without either too.
//! - `states.yaml`: Deployments, Services and policies with which no release can go. Each row is judged by the core without a cluster, and
//!   all of them together by one controller on a real one, which has to say the same, write nothing but status, and then keep still.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

#[path = "../controller/mod.rs"]
mod controller;
#[cfg(feature = "sim")]
mod embedded;
#[path = "../kubectl/mod.rs"]
mod kubectl;
mod live;
mod manifests;
mod namespace;
mod offline;
mod server;
mod states;
