//! A Rollout without Services in the model, and what must hold for every write of ours then.

use std::sync::Arc;

use crate::{
    api::{PolicySpec, policy::When},
    core::{decision::action::Action, facts::deployment::ReplicaSetFacts, gate::approval::missing, tests::model::Model},
};

impl Model {
    /// `hello:v1` at rest with so many pods, no Service, and a Rollout that has just been made.
    pub fn worker(replicas: i32, policy: PolicySpec) -> Self {
        let mut model = Self::new(replicas, policy);
        model.services.clear();
        Arc::make_mut(&mut model.rollout.spec).services.clear();
        model
    }

    pub fn is_worker(&self) -> bool {
        self.rollout.spec.is_worker()
    }

    /// Pods that work: an end that has begun is as good as an end.
    pub fn ready_pods(&self) -> usize {
        self.pods.iter().filter(|pod| pod.serves()).count()
    }

    /// The least number of pods that work while this runs.
    pub fn least_at_work(&mut self, until: impl Fn(&Self) -> bool) -> usize {
        let least = std::cell::Cell::new(usize::MAX);
        self.run_fast(|model| {
            least.set(least.get().min(model.ready_pods()));
            until(model)
        });
        least.get()
    }

    /// However many pods the canary has: as many as the owner asks for are asked for beside it, or in its stead.
    pub(super) fn check_work(&self) {
        if !self.is_worker() {
            return;
        }
        let asked: i32 = self.sets.iter().map(|set| set.replicas).sum();
        assert!(asked >= self.hello().replicas, "{asked} of {} pods\n{}", self.hello().replicas, self.trace.join("\n"));
    }

    /// Every pod of the canary works from its first moment on: nothing is made before that is on record and approved, and only the old
    /// version's full size lets the canary end.
    pub(super) fn check_worker(&self, action: &Action) {
        let trace = || self.trace.join("\n");
        match action {
            Action::PinService { .. } | Action::PinPreview { .. } | Action::LabelPod { .. } => {
                panic!("{action:?} without a Service\n{}", trace())
            }
            Action::CreateCanary { .. } => {
                let release = self.recorded.release.as_ref().expect("a release on record");
                assert!(release.rollback.is_none(), "made though it is being taken back\n{}", trace());
                assert!(missing(release, &[When::BeforeTraffic], 0).is_empty(), "made before its approval is on record\n{}", trace());
            }
            Action::ScaleCanary { replicas: 0, .. } => {
                let live = self.status().stable.as_ref().map(|stable| stable.hash.as_str()).unwrap_or_default();
                let of_hello = |set: &&ReplicaSetFacts| set.owner.as_ref() == Some(&self.hello().uid);
                let kept: i32 =
                    self.sets.iter().filter(of_hello).filter(|set| set.hash == live || set.replicas > 0).map(|set| set.replicas).sum();
                assert!(kept > 0 || self.hello().replicas == 0, "nobody works any more\n{}", trace());
            }
            _ => {}
        }
    }
}
