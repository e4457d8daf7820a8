//! What a tenant writes, made hostile: bytes of manifests, and any value in any place of objects that the API server would store. Whatever
//! it is, nothing panics, nothing grows, and what is said of it is visible.
//!
//! `PROPTEST_CASES=100000 cargo test --test hostile` looks longer; a case that was found is kept beside this file and tried first.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mutation;
mod objects;
mod texts;

use proptest::test_runner::Config;

/// So many cases, unless the environment asks for more.
fn cases(number: u32) -> Config {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked { Config::default() } else { Config::with_cases(number) }
}
