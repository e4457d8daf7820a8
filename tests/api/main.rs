//! The API, as clients see it.
//!
//! - `requests.yaml`: requests and what is answered, of the kinds that Stepgate touches. Played on a real API server and on that of the
//!   embedded cluster: an answer that is right on one of them only is a failure.
//! - `shown.rs`: what kubectl shows of the kinds, on a real API server.
//!
//! Which objects of the kinds are refused, and with which words, is in `tests/inputs`.

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
#[path = "../inputs/namespace.rs"]
#[allow(dead_code, reason = "each test target uses a part of it")]
mod namespace;
mod player;
mod real;
mod shown;
mod story;
