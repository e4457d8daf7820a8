//! What a decision looks like from outside.

pub mod conditions;
pub mod serving;
pub mod transitions;
