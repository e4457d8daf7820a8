//! One side of a release: a version, and its pods.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    api::status::Version,
    core::facts::{
        Snapshot,
        deployment::{DeploymentFacts, ReplicaSetFacts},
        pod::PodFacts,
    },
};

/// The two sides of a release, while both are there.
#[derive(Clone, Copy)]
pub struct Sides<'a, 'b> {
    pub canary: &'b Side<'a>,
    pub live: Option<&'b Side<'a>>,
}

/// One version, and its pods.
#[derive(Clone)]
pub struct Side<'a> {
    /// Its Deployment, where that is what tells it apart (declared pairs).
    pub deployment: Option<&'a str>,
    /// Its ReplicaSet, the newest one of a declared pair's Deployment.
    pub replica_set: &'a ReplicaSetFacts,
    /// Pods that are asked for.
    pub replicas: i32,
    /// What its pods have as the side label (see [`crate::core::facts::pin::Keys`]).
    pub value: &'a str,
    /// Pods that count: not deleting, not finished; by name.
    pub pods: Vec<&'a PodFacts>,
}

impl<'a> Side<'a> {
    /// Pods that can take new connections.
    pub fn ready(&self) -> impl Iterator<Item = &'a PodFacts> + '_ {
        self.pods.iter().copied().filter(|pod| pod.serves())
    }

    /// Number of pods that can take new connections.
    pub fn ready_count(&self) -> i32 {
        count(self.ready())
    }

    /// Number of pods that have been ready long enough.
    pub fn available_count(&self, min_ready_seconds: i64, now: Timestamp) -> i32 {
        count(self.pods.iter().filter(|pod| pod.is_available(min_ready_seconds, now)))
    }

    /// What status says of it.
    pub fn version(&self) -> Version {
        Version {
            name: self.deployment.unwrap_or_default().to_owned(),
            revision: self.replica_set.revision.clone(),
            digest: self.replica_set.digest.clone(),
            hash: self.replica_set.hash.clone(),
            images: self.replica_set.images.clone(),
            ready: self.ready_count(),
            replicas: self.replicas,
        }
    }
}

/// A count as Kubernetes counts.
pub fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

/// ReplicaSets that a Deployment controls.
pub fn replica_sets_of<'a>(snapshot: &'a Snapshot, deployment: &'a DeploymentFacts) -> impl Iterator<Item = &'a ReplicaSetFacts> + use<'a> {
    let owner = deployment.uid.as_str();
    snapshot.replica_sets.iter().map(Arc::as_ref).filter(move |set| set.owner.as_deref() == Some(owner))
}

/// Those pods that count: not deleting, not finished; by name.
pub fn pods_where(snapshot: &Snapshot, is_one: impl Fn(&PodFacts) -> bool) -> Vec<&PodFacts> {
    let alive = snapshot.pods.iter().map(Arc::as_ref).filter(|pod| !pod.deleting() && !pod.finished);
    let mut pods: Vec<_> = alive.filter(|pod| is_one(pod)).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    pods
}
