//! One leads, the others stand by: the Lease, and who may write.

pub mod election;
pub mod leadership;
pub mod rules;
