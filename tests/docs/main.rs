//! The pages of `docs/`: every command on them is run, every manifest is applied, every sentence that Stepgate says is explained. And the
//! folders of `examples/`, walked through.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

#[path = "../controller/mod.rs"]
mod controller;
mod examples;
#[path = "../kubectl/mod.rs"]
mod kubectl;
mod offline;
mod page;
mod run;
mod sentences;
