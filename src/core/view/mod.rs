//! The facts of a snapshot, arranged around the two sides of the release.

pub mod declared;
pub mod fit;
pub mod handover;
pub mod names;
pub mod reach;
pub mod side;

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    api::{
        POD_TEMPLATE_HASH, ROLLOUT_UID, ROTATION,
        status::{Phase, Release},
    },
    core::{
        decision::record::is_recorded,
        facts::{
            Snapshot,
            deployment::{DeploymentFacts, ReplicaSetFacts},
            labels::{self, Labels},
            pod::PodFacts,
            service::ServiceFacts,
        },
        share,
        view::{declared::Pair, side::Side},
        why::{refusal::pods::LARGEST, words::Load},
    },
};

/// A snapshot seen from its Deployment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub now: Timestamp,
    pub pair: Pair<'a>,
    /// The user's Deployment; of a declared pair, that of the live side.
    pub hello: &'a DeploymentFacts,
}

impl<'a> View<'a> {
    /// The view, unless the Deployment does not exist.
    pub fn of(snapshot: &'a Snapshot, now: Timestamp) -> Option<Self> {
        let pair = Pair::of(&snapshot.rollout.spec.workload);
        let name = pair.live_name(snapshot);
        let hello = snapshot.deployments.iter().find(|deployment| deployment.name == *name)?;
        Some(Self { snapshot, now, pair, hello })
    }

    /// Whether the API server has the release of the last decision on record.
    pub fn is_recorded(&self) -> bool {
        is_recorded(self.snapshot.on_record.as_ref(), &self.snapshot.status)
    }

    /// The release under way.
    pub fn release(&self) -> Option<&'a Release> {
        self.snapshot.status.release.as_ref()
    }

    /// ReplicaSets that the user's Deployment controls.
    pub fn own_replica_sets(&self) -> impl Iterator<Item = &'a ReplicaSetFacts> + use<'a> {
        self.replica_sets_of(self.hello)
    }

    /// ReplicaSets that a Deployment controls.
    pub fn replica_sets_of(&self, deployment: &'a DeploymentFacts) -> impl Iterator<Item = &'a ReplicaSetFacts> + use<'a> {
        side::replica_sets_of(self.snapshot, deployment)
    }

    /// The side of a ReplicaSet.
    pub fn side(&self, replica_set: &'a ReplicaSetFacts) -> Side<'a> {
        let pods = self.pods_where(|pod| pod.owner.as_deref() == Some(&replica_set.uid));
        Side { deployment: None, replica_set, replicas: replica_set.replicas, value: &replica_set.hash, pods }
    }

    /// Those pods that count: not deleting, not finished; by name.
    pub fn pods_where(&self, is_one: impl Fn(&PodFacts) -> bool) -> Vec<&'a PodFacts> {
        side::pods_where(self.snapshot, is_one)
    }

    /// The stable side: the ReplicaSet of the Deployment that carries the hash on record, or the version on record.
    pub fn live(&self) -> Option<Side<'a>> {
        let stable = self.snapshot.status.stable.as_ref()?;
        if let Pair::Declared(declared) = self.pair {
            return if stable.name == self.hello.name { declared.side(self.snapshot, self.hello) } else { None };
        }
        let set = self.own_replica_sets().find(|set| set.hash == stable.hash)?;
        Some(self.side(set))
    }

    /// Deployments that this Rollout has made, whatever their revision; none of a declared pair. These are removed, so a label, which anybody
    /// may write or copy, is not enough: the user's Deployment owns them, and they have the name of a canary.
    pub fn ours(&self) -> impl Iterator<Item = &'a DeploymentFacts> + use<'a> {
        let view = *self;
        self.snapshot.deployments.iter().map(Arc::as_ref).filter(move |deployment| view.made(deployment))
    }

    /// Whether this Rollout has made that Deployment.
    pub fn made(&self, deployment: &DeploymentFacts) -> bool {
        matches!(self.pair, Pair::Managed { .. })
            && deployment.uid != self.hello.uid
            && deployment.labels.get(ROLLOUT_UID) == Some(&self.snapshot.rollout.uid)
            && deployment.owners.contains(&self.hello.uid)
            && names::is_canary(&self.hello.name, &deployment.name)
    }

    /// The canary Deployment, where its template is not the one that is released. One that a declared pair names is its owner's to change.
    pub fn changed_canary(&self) -> Option<&'a DeploymentFacts> {
        let release = self.release().filter(|_| matches!(self.pair, Pair::Managed { .. }))?;
        self.canary_deployment().filter(|canary| !canary.deleting && canary.revision != release.revision)
    }

    /// The Deployment of the release under way: the one that was made for it, or the version that is released.
    pub fn canary_deployment(&self) -> Option<&'a DeploymentFacts> {
        if let Pair::Declared(declared) = self.pair {
            self.release()?;
            let name = &self.snapshot.status.canary.as_ref()?.name;
            return declared.deployments(self.snapshot).find(|deployment| deployment.name == *name);
        }
        let name = names::canary(&self.hello.name, &self.release()?.revision);
        self.ours().find(|deployment| deployment.name == name)
    }

    /// The canary's side before an adoption: the ReplicaSet of our Deployment that has the template of the release, or the version that is
    /// released.
    pub fn canary(&self) -> Option<Side<'a>> {
        if let Pair::Declared(declared) = self.pair {
            return declared.side(self.snapshot, self.canary_deployment()?);
        }
        let owner = self.canary_deployment()?.uid.as_str();
        let sets = self.snapshot.replica_sets.iter().map(Arc::as_ref);
        let released = |set: &&ReplicaSetFacts| self.release().is_some_and(|release| release.revision == set.revision);
        let set =
            sets.filter(|set| set.owner.as_deref() == Some(owner) && !set.deleting).filter(released).max_by_key(|set| set.created_at)?;
        Some(self.side(set))
    }

    /// The canary's side once its ReplicaSet belongs to the user's Deployment, or the one that a roll made there.
    pub fn successor(&self) -> Option<Side<'a>> {
        let release = self.release().filter(|_| matches!(self.pair, Pair::Managed { .. }))?;
        let live = self.snapshot.status.stable.as_ref().map(|stable| stable.hash.as_str());
        let sets =
            self.own_replica_sets().filter(|set| set.revision == release.revision && Some(set.hash.as_str()) != live && !set.deleting);
        sets.max_by_key(|set| (set.replicas, set.created_at)).map(|set| self.side(set))
    }

    /// Full size of either side in this release.
    ///
    /// While an adoption is prepared it is the Deployment's, also where that was made smaller since the start: who takes over has the size
    /// of what is taken over. An autoscaler that did it would do it again. So it is without Services all the time: nobody is to be taken over
    /// there, and a canary that stayed larger would have more of the pods than its weight.
    pub fn full_size(&self) -> i32 {
        if self.is_worker() || self.snapshot.status.phase == Some(Phase::Promoting) {
            return self.hello.replicas.max(1);
        }
        share::full(self.release().map_or(self.hello.replicas, |release| release.size), self.hello.replicas)
    }

    /// The Services whose clients are moved, those of them that exist.
    pub fn services(&self) -> Vec<&'a ServiceFacts> {
        let names = &self.snapshot.rollout.spec.services;
        self.snapshot.services.iter().map(Arc::as_ref).filter(|service| names.contains(&service.name) && !service.deleting).collect()
    }

    /// A Service of the namespace.
    pub fn service(&self, name: &str) -> Option<&'a ServiceFacts> {
        self.snapshot.services.iter().map(Arc::as_ref).find(|service| service.name == name && !service.deleting)
    }

    /// Pods that a selector would give to clients.
    pub fn matching(&self, selector: &Labels) -> Vec<&'a PodFacts> {
        self.snapshot.pods.iter().map(Arc::as_ref).filter(|pod| pod.serves() && labels::subset(selector, &pod.labels)).collect()
    }

    /// Services whose endpoints do not yet show their selector.
    pub fn unconfirmed(&self) -> Vec<String> {
        self.services().into_iter().filter(|service| !self.endpoints_follow(service)).map(|service| service.name.clone()).collect()
    }

    /// Pods that carry the rotation label, of any side of this pair.
    pub fn in_rotation(&self) -> impl Iterator<Item = &'a PodFacts> + use<'a> {
        let view = *self;
        self.snapshot.pods.iter().map(Arc::as_ref).filter(move |pod| pod.labels.contains_key(ROTATION) && view.is_of_pair(pod))
    }

    /// The Deployment whose template is to be live: the user's own, or the version that `live` names. None if it does not exist, or not for
    /// long.
    pub fn wanted(&self) -> Option<&'a DeploymentFacts> {
        match self.pair {
            Pair::Managed { .. } => Some(self.hello),
            Pair::Declared(declared) => declared.deployments(self.snapshot).find(|known| known.name == declared.wanted),
        }
    }

    /// Whether a revision is what its owner wants to be live.
    pub fn is_wanted(&self, revision: &str) -> bool {
        self.wanted().is_some_and(|wanted| wanted.revision == revision)
    }

    /// Whether the Deployment of the live version that is on record does not exist any more. (Without a managed one there is no view.)
    pub fn live_is_gone(&self) -> bool {
        let stable = self.snapshot.status.stable.as_ref();
        matches!(self.pair, Pair::Declared(_)) && stable.is_none_or(|stable| stable.name != self.hello.name)
    }

    /// Whether a pod, by its labels, is of this pair.
    pub fn is_of_pair(&self, pod: &PodFacts) -> bool {
        match self.pair {
            Pair::Managed { .. } => self.hello.selector.matches(&pod.labels),
            Pair::Declared(declared) => declared.existing(self.snapshot).any(|version| version.selector.matches(&pod.labels)),
        }
    }

    /// What is shared out between the sides.
    pub fn load(&self) -> Load {
        if self.is_worker() { Load::Work } else { Load::Clients }
    }

    /// Whether no clients are moved, only work: there are no Services.
    pub fn is_worker(&self) -> bool {
        self.snapshot.rollout.spec.is_worker()
    }

    /// What a step's weight is a share of the connections, or, without Services, of the pods: before the promotion at most 50 %.
    pub fn share(&self, weight: u8) -> u8 {
        if self.is_worker() { weight.min(LARGEST) } else { weight }
    }
}

/// A pod that a Deployment of ours has left behind and that could still take clients: the removal of a Deployment reaches its pods last.
pub fn lingering(view: &View<'_>) -> Option<String> {
    let exists = |uid: &str| view.snapshot.deployments.iter().any(|deployment| deployment.uid == uid);
    let set = |uid: &str| view.snapshot.replica_sets.iter().find(|set| set.uid == uid);
    let left_behind = |owner: &str| set(owner).is_none_or(|set| set.owner.as_deref().is_some_and(|deployment| !exists(deployment)));
    view.snapshot
        .pods
        .iter()
        .filter(|pod| {
            !pod.deleting() && !pod.finished && pod.labels.contains_key(POD_TEMPLATE_HASH) && view.hello.selector.matches(&pod.labels)
        })
        .find(|pod| pod.owner.as_deref().is_some_and(left_behind))
        .map(|pod| pod.name.clone())
}

/// Whether pods of any version but the live one are there: those of a canary that is about to be removed work until they end.
pub fn is_at_work(view: &View<'_>) -> bool {
    let live = view.snapshot.status.stable.as_ref().map(|stable| &stable.hash);
    let is_other = |pod: &PodFacts| view.is_of_pair(pod) && pod.labels.get(POD_TEMPLATE_HASH).is_some_and(|hash| Some(hash) != live);
    !view.pods_where(is_other).is_empty()
}
