//! The pages of `docs/systems/`: whole systems, released by hand and with Stepgate. Each page is played on the real cluster, command by
//! command, with requests running. The images of the folders' manifests have to be there: `tests/systems/prepare` makes stand-ins of them.
//!
//! With `STEPGATE_TRANSCRIPT=1` what the commands print, and what the requests met, is written into the page.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

mod clients;
#[path = "../controller/mod.rs"]
mod controller;
#[path = "../kubectl/mod.rs"]
mod kubectl;
mod offline;
mod page;
mod play;

use clients::Target;
use play::{Part, play};

/// Requests to the frontend, which ends TLS and asks the Service that is released.
const FRONTEND: Target = Target { service: "frontend", scheme: "https", port: 443, path: "/version" };

/// Requests to a plain nginx in place of an ingress controller.
const INGRESS: Target = Target { service: "ingress", scheme: "http", port: 80, path: "/api" };

#[test]
fn hello_auth_frontend() {
    play("hello-auth-frontend", FRONTEND, Part::WithStepgate);
}

#[test]
#[ignore = "`tests/run all` plays it"]
fn hello_auth_frontend_by_hand_too() {
    play("hello-auth-frontend", FRONTEND, Part::Whole);
}

#[test]
fn journal() {
    play("journal", INGRESS, Part::WithStepgate);
}

#[test]
#[ignore = "`tests/run all` plays it"]
fn journal_by_hand_too() {
    play("journal", INGRESS, Part::Whole);
}

/// The same, asked for the API of the administrators.
const ADMIN: Target = Target { path: "/admin/api/products", ..INGRESS };

#[test]
fn microservices() {
    play("microservices", ADMIN, Part::WithStepgate);
}

#[test]
#[ignore = "`tests/run all` plays it"]
fn microservices_by_hand_too() {
    play("microservices", ADMIN, Part::Whole);
}

#[test]
fn recommender() {
    play("recommender", Target { path: "/recommend", ..INGRESS }, Part::WithStepgate);
}

#[test]
#[ignore = "`tests/run all` plays it"]
fn recommender_by_hand_too() {
    play("recommender", Target { path: "/recommend", ..INGRESS }, Part::Whole);
}
