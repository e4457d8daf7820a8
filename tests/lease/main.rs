//! Who leads: never two at once, and soon another one.
//!
//! | module | what runs | against |
//! |---|---|---|
//! | `model` | the pure decision alone: frozen processes, clocks of different speed, calls that arrive late or never | a model of one object |
//! | `embedded` | the election as it is | the embedded cluster on a bad day, in paused time |
//! | `standby` | the controller as it is, told to stand by and to lead | the embedded cluster |
//! | `real` | the election as it is | the API server of `STEPGATE_KUBECONFIG`, over lines that are cut |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

mod embedded;
#[path = "../kubectl/mod.rs"]
mod kubectl;
mod line;
mod model;
mod real;
mod standby;
