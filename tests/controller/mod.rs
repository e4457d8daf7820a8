//! A cluster with everything that `stepgate install` puts there but the controller, and the built controller as a process of the test.

// Each test target uses a part of it.
#![allow(dead_code)]

mod cluster;
mod process;

#[allow(unused_imports, reason = "each test target uses a part of it")]
pub use cluster::{Cluster, Reality, SYSTEM, folder};
#[allow(unused_imports, reason = "each test target uses a part of it")]
pub use process::Controller;
