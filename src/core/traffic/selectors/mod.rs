//! Plain Services: their selectors decide which pods get connections.

pub mod affinity;
pub mod pins;
pub mod rotation;
pub mod split;
pub mod write;
