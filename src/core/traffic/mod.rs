//! Who gets the load, and in which order that changes.

pub mod back;
pub mod establish;
pub mod fresh;
pub mod pods;
pub mod selectors;
