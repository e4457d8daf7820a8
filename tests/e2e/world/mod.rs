//! What the API server has said: every version of every object that a release can touch, in the order in which they were written.

mod invariant;
mod leftover;
mod objects;
mod ownership;
mod recorder;
mod timeline;

pub use invariant::{Allowance, violations};
pub use leftover::leftovers;
#[allow(unused_imports, reason = "the benchmarks use all of them")]
pub use objects::{HELLO, Kind, VERSION, World, is_ready, text};
pub use recorder::record;
pub use timeline::{Change, Timeline};
