//! Objects, reduced to the facts that decisions read. A file for each kind of object.

mod deployment;
mod object;
mod pod;
pub mod readable;
mod rollout;
mod service;
pub mod store;
pub mod watch;

pub use self::{
    deployment::{deployment, replica_set},
    pod::pod,
    rollout::{Policies, PolicySeen, RolloutSeen, policy, rollout},
    service::{SliceSeen, service, service_facts, slice},
};
