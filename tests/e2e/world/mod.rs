//! What the API server has said: every version of every object that a release can touch, in the order in which they were written.

mod invariant;
mod leftover;
mod objects;
mod ownership;
mod recorder;
mod timeline;

pub use invariant::{Allowance, violations};
pub use leftover::leftovers;
pub use objects::{HELLO, Kind, World, text};
pub use recorder::record;
pub use timeline::{Change, Timeline};
