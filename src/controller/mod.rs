//! The loops: where there are Rollouts, and in each namespace from what was observed to what is done.

pub mod actor;
pub mod namespace;
pub mod run;
