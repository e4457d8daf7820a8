//! What was observed, in one form. Nothing here judges.
//!
//! [`Snapshot`] is everything that a decision may know, but for the time.

pub mod deployment;
pub mod labels;
pub mod object;
pub mod observed;
pub mod pin;
pub mod pod;
pub mod port;
pub mod revision;
pub mod service;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    api::{PolicySpec, RolloutSpec, RolloutStatus},
    core::facts::{
        deployment::{DeploymentFacts, ReplicaSetFacts},
        observed::ProbeFacts,
        pod::PodFacts,
        service::ServiceFacts,
    },
};

/// What was observed of one Rollout and of everything it touches.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub rollout: RolloutFacts,
    /// The status as it was decided last. It may be ahead of what the API server has: a rollback is latched here the moment it is decided.
    pub status: RolloutStatus,
    /// The status that the API server has. Nothing is done on the strength of a release that is not on record there.
    pub on_record: Option<RolloutStatus>,
    /// The policy that new releases follow; none when the one referred to does not exist.
    pub policy: Option<Arc<PolicySpec>>,
    /// The Deployments of the namespace that could matter: the user's, ours, and those that could stand in the way.
    pub deployments: Vec<Arc<DeploymentFacts>>,
    pub replica_sets: Vec<Arc<ReplicaSetFacts>>,
    pub pods: Vec<Arc<PodFacts>>,
    /// All Services of the namespace.
    pub services: Vec<Arc<ServiceFacts>>,
    /// The other Rollouts of the namespace.
    pub rivals: Vec<Rival>,
    /// What the probes have seen, by gate and pod uid.
    pub probes: BTreeMap<(String, String), ProbeFacts>,
    /// Whether the admission policies were seen to act on the Deployment; none while that is not known.
    pub guarded: Option<bool>,
    /// Whether the admission policies were seen to stamp who sends a request, since the one that there is was sent; none while that is not
    /// known.
    pub stamped: Option<bool>,
    /// When the pods were last read from the API server itself, not from a watch that may have gone silent.
    pub pods_read_at: Option<Timestamp>,
}

/// The Rollout itself.
#[derive(Clone, Debug)]
pub struct RolloutFacts {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: i64,
    pub created_at: Timestamp,
    pub deleting: bool,
    pub has_finalizer: bool,
    pub spec: Arc<RolloutSpec>,
}

/// Another Rollout of the namespace.
#[derive(Clone, Debug)]
pub struct Rival {
    pub name: String,
    pub uid: String,
    pub created_at: Timestamp,
    /// The Deployments that it names.
    pub deployments: Vec<String>,
    /// The Services that it names, and its preview.
    pub services: Vec<String>,
}
