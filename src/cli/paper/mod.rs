//! What a command prints, and how it ends.

pub mod exit;
pub mod ink;
pub mod log;
pub mod output;
pub mod screen;
