//! The facts of a snapshot, arranged around the two sides of the release.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{
    ROLLOUT_UID, ROTATION,
    status::{Phase, Release, Version},
};

use super::{
    action::Object,
    replicas,
    service_split::Pin,
    snapshot::{DeploymentFacts, Labels, PodFacts, ReplicaSetFacts, ServiceFacts, Snapshot},
};

/// A snapshot seen from its Deployment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub now: Timestamp,
    /// The user's Deployment.
    pub hello: &'a DeploymentFacts,
}

/// The ReplicaSet of one version, and its pods.
#[derive(Clone)]
pub struct Side<'a> {
    pub replica_set: &'a ReplicaSetFacts,
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
            revision: self.replica_set.revision.clone(),
            hash: self.replica_set.hash.clone(),
            images: self.replica_set.images.clone(),
            ready: self.ready_count(),
            replicas: self.replica_set.replicas,
        }
    }
}

/// A count as Kubernetes counts.
pub fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

impl<'a> View<'a> {
    /// The view, unless the Deployment does not exist.
    pub fn of(snapshot: &'a Snapshot, now: Timestamp) -> Option<Self> {
        let name = &snapshot.rollout.spec.workload.deployment;
        let hello = snapshot.deployments.iter().find(|deployment| deployment.name == *name)?;
        Some(Self { snapshot, now, hello })
    }

    /// The release under way.
    pub fn release(&self) -> Option<&'a Release> {
        self.snapshot.status.release.as_ref()
    }

    /// ReplicaSets that the user's Deployment controls.
    pub fn own_replica_sets(&self) -> impl Iterator<Item = &'a ReplicaSetFacts> + use<'a> {
        let (owner, all) = (self.hello.uid.as_str(), &self.snapshot.replica_sets);
        all.iter().map(Arc::as_ref).filter(move |set| set.owner.as_deref() == Some(owner))
    }

    /// The side of a ReplicaSet.
    pub fn side(&self, replica_set: &'a ReplicaSetFacts) -> Side<'a> {
        let mut pods: Vec<_> = self
            .snapshot
            .pods
            .iter()
            .map(Arc::as_ref)
            .filter(|pod| pod.owner.as_deref() == Some(&replica_set.uid) && !pod.deleting() && !pod.finished)
            .collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Side { replica_set, pods }
    }

    /// The stable side: the ReplicaSet of the Deployment that carries the hash on record.
    pub fn live(&self) -> Option<Side<'a>> {
        let stable = self.snapshot.status.stable.as_ref()?;
        let set = self.own_replica_sets().find(|set| set.hash == stable.hash)?;
        Some(self.side(set))
    }

    /// Deployments that this Rollout has made, whatever their revision. Never the user's, even with our label on it: these are removed.
    pub fn ours(&self) -> impl Iterator<Item = &'a DeploymentFacts> + use<'a> {
        let (uid, hello) = (self.snapshot.rollout.uid.as_str(), self.hello.uid.as_str());
        self.snapshot
            .deployments
            .iter()
            .map(Arc::as_ref)
            .filter(move |deployment| deployment.uid != hello && deployment.labels.get(ROLLOUT_UID).is_some_and(|label| label == uid))
    }

    /// The Deployment that was made for the release under way.
    pub fn canary_deployment(&self) -> Option<&'a DeploymentFacts> {
        let name = super::canary::name(&self.hello.name, &self.release()?.revision);
        self.ours().find(|deployment| deployment.name == name)
    }

    /// The canary's side before an adoption: the newest ReplicaSet of our Deployment.
    pub fn canary(&self) -> Option<Side<'a>> {
        let owner = self.canary_deployment()?.uid.as_str();
        let sets = self.snapshot.replica_sets.iter().map(Arc::as_ref);
        let set = sets.filter(|set| set.owner.as_deref() == Some(owner) && !set.deleting).max_by_key(|set| set.created_at)?;
        Some(self.side(set))
    }

    /// The canary's side once its ReplicaSet belongs to the user's Deployment, or the one that a roll made there.
    pub fn successor(&self) -> Option<Side<'a>> {
        let release = self.release()?;
        let live = self.snapshot.status.stable.as_ref().map(|stable| stable.hash.as_str());
        let sets =
            self.own_replica_sets().filter(|set| set.revision == release.revision && Some(set.hash.as_str()) != live && !set.deleting);
        sets.max_by_key(|set| (set.replicas, set.created_at)).map(|set| self.side(set))
    }

    /// Full size of either side in this release.
    ///
    /// While an adoption is prepared it is the Deployment's, also where that was made smaller since the start: who takes over has the size
    /// of what is taken over. An autoscaler that did it would do it again.
    pub fn full_size(&self) -> i32 {
        if self.snapshot.status.phase == Some(Phase::Promoting) {
            return self.hello.replicas.max(1);
        }
        replicas::full(self.release().map_or(self.hello.replicas, |release| release.size), self.hello.replicas)
    }

    /// The Services whose clients are moved, those of them that exist.
    pub fn services(&self) -> Vec<&'a ServiceFacts> {
        let names = &self.snapshot.rollout.spec.services;
        self.snapshot.services.iter().map(Arc::as_ref).filter(|service| names.contains(&service.name) && !service.deleting).collect()
    }

    /// Whether every Service that exists has this pin.
    pub fn all_pinned(&self, pin: &Pin) -> bool {
        self.services().iter().all(|service| Pin::of(&service.selector) == *pin)
    }

    /// Pods, of either side, that a selector with this pin would give to clients of a Service.
    pub fn selected(&self, service: &ServiceFacts, pin: &Pin) -> Vec<&'a PodFacts> {
        let selector = pin.apply(&service.selector);
        self.matching(&selector)
    }

    fn matching(&self, selector: &Labels) -> Vec<&'a PodFacts> {
        self.snapshot.pods.iter().map(Arc::as_ref).filter(|pod| pod.serves() && super::snapshot::subset(selector, &pod.labels)).collect()
    }

    /// Whether the endpoints of every Service are exactly the ready pods that its selector, as it is now, selects.
    pub fn endpoints_follow(&self, service: &ServiceFacts) -> bool {
        let selected = self.matching(&service.selector);
        selected.len() == service.endpoints.len() && selected.iter().all(|pod| service.endpoints.contains(&pod.uid))
    }

    /// Services whose endpoints do not yet show their selector.
    pub fn unconfirmed(&self) -> Vec<String> {
        self.services().into_iter().filter(|service| !self.endpoints_follow(service)).map(|service| service.name.clone()).collect()
    }

    /// Pods that carry the rotation label, of any side of this Rollout's Deployment.
    pub fn in_rotation(&self) -> impl Iterator<Item = &'a PodFacts> + use<'a> {
        let selector = &self.hello.selector;
        self.snapshot.pods.iter().map(Arc::as_ref).filter(move |pod| pod.labels.contains_key(ROTATION) && selector.matches(&pod.labels))
    }
}

impl DeploymentFacts {
    /// The Deployment, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

impl ReplicaSetFacts {
    /// The ReplicaSet, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

impl PodFacts {
    /// The pod, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

impl ServiceFacts {
    /// The Service, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: String::new(), resource_version: self.resource_version.clone() }
    }
}
