//! What the controller's writes do, and what must hold for each of them.

use serde_json::json;

use crate::{
    api::{
        HANDOVER, ROLLOUT_UID, ROTATION, ROTATION_IN,
        policy::When,
        status::{HeldAffinity, RolloutStatus},
    },
    core::{
        decide::decide,
        decision::{
            Decision,
            action::{Action, Rotation},
            record::{Difference, difference},
        },
        facts::{
            deployment::ReplicaSetFacts,
            labels::subset,
            pin::{Keys, MANAGED, Pin},
            pod::PodFacts,
        },
        gate::approval::missing,
        tests::model::{Crash, Model, UNSEEN},
    },
};

impl Model {
    /// One decision, carried out until it is done or the controller dies. Says whether anything was written.
    pub fn control(&mut self, crash: Crash) -> bool {
        let snapshot = self.snapshot();
        let decision: Decision = decide(&snapshot, self.now);
        self.check_decision(&snapshot, &decision);
        self.check_preview(&decision.actions);
        self.notices.extend(decision.notices.iter().map(|notice| format!("{}: {}", notice.reason, notice.note)));
        for notice in &decision.notices {
            self.say(&format!("event {}: {}", notice.reason, notice.note));
        }
        for (done, action) in decision.actions.iter().enumerate() {
            if crash == Crash::After(done) {
                self.trace.push("-- the controller dies".into());
                self.say("the controller dies");
                self.memory = None;
                return true;
            }
            self.trace.push(format!("{action:?}"));
            self.say_action(action);
            self.check(action);
            self.apply(action);
        }
        self.check_held(&decision.status);
        let written = difference(Some(&self.recorded), &decision.status) != Difference::Nothing;
        if crash == Crash::After(decision.actions.len()) {
            self.memory = None;
            self.say("the controller dies before it has written the status");
            return true;
        }
        if written {
            self.say_status(&decision.status);
            self.trace.push(format!("status {:?}: {}", decision.status.phase, decision.status.why));
            self.recorded = serde_json::to_value(&decision.status).and_then(serde_json::from_value).expect("a status is JSON");
            assert_eq!(self.recorded, decision.status, "a status that is not read as it was written is written again and again");
        }
        self.memory = Some(decision.status);
        written || !decision.actions.is_empty()
    }

    /// The preview is written last, never beside a way back, and it is on record which Service it is.
    fn check_preview(&self, actions: &[Action]) {
        let Some(place) = actions.iter().position(|action| matches!(action, Action::PinPreview { .. })) else { return };
        assert!(place + 1 == actions.len() && !actions.iter().any(Action::is_way_back), "{actions:?}\n{}", self.trace.join("\n"));
        let Action::PinPreview { service, .. } = &actions[place] else { return };
        let on_record = self.recorded.preview.as_ref().map(|preview| &preview.service);
        assert_eq!(on_record, Some(&service.name), "{}", self.trace.join("\n"));
    }

    /// What the owner had is on record before it is changed, and nothing else is given back.
    fn check_affinity(&self, action: &Action) {
        let Action::PinService { service, affinity: Some(to), .. } = action else { return };
        let is_on_record = |held: &HeldAffinity| held.service == service.name && held.set() == *to && held.owners() == self.owners_affinity;
        assert!(
            *to == self.owners_affinity || self.recorded.affinity.iter().any(is_on_record),
            "{to:?} is set, and {:?} is not on record\n{}",
            self.owners_affinity,
            self.trace.join("\n")
        );
    }

    /// Design §3: what is held stays held; no release of it begins.
    fn check_held(&self, decided: &RolloutStatus) {
        let Some(begun) = decided.release.as_ref().filter(|_| self.status().release.is_none()) else { return };
        let held = decided.rejected.iter().find(|rejected| rejected.revision == begun.revision);
        assert!(held.is_none(), "a release begins of what is held: {held:?}\n{}", self.trace.join("\n"));
    }

    /// Design §8.2 and §8.3, asserted on every write.
    fn check(&self, action: &Action) {
        self.check_affinity(action);
        if self.is_declared() {
            return self.check_declared(action);
        }
        if self.is_worker() {
            return self.check_worker(action);
        }
        let Action::PinService { service, to, .. } = action else { return };
        let service = self.services.iter().find(|known| known.name == service.name).expect("the Service");
        let selected = |pin: &Pin| {
            self.pods.iter().filter(|pod| pod.serves() && subset(&MANAGED.apply(pin, &service.selector), &pod.labels)).collect::<Vec<_>>()
        };
        let from = MANAGED.pin(&service.selector);
        if *to == from {
            return;
        }
        if *to == Pin::Open && from != Pin::Open && selected(&from).len() >= usize::try_from(self.hello().replicas).unwrap_or(0) {
            let unseen = |pod: &&PodFacts| pod.ready && pod.deleting_since.is_some_and(|since| self.now.duration_since(since) < UNSEEN);
            let ending = self.pods.iter().filter(unseen).find(|pod| !subset(&MANAGED.apply(&from, &service.selector), &pod.labels));
            assert!(ending.is_none(), "{ending:?} is let in before its end can be known everywhere\n{}", self.trace.join("\n"));
        }
        let rolling_back = self.recorded.release.as_ref().is_some_and(|release| release.rollback.is_some());
        let live = self.status().stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
        if *to != Pin::Side(live.clone()) {
            let enough = usize::try_from(self.hello().replicas).unwrap_or(0).min(selected(&Pin::Open).len());
            assert!(selected(to).len() >= enough, "{to:?} leaves {} of {enough} pods\n{}", selected(to).len(), self.trace.join("\n"));
        }
        let canary_is_served = selected(to).iter().any(|pod| pod.labels.get("pod-template-hash") != Some(&live));
        if canary_is_served {
            assert!(!rolling_back, "clients go to a revision that is being taken back\n{}", self.trace.join("\n"));
            let begun = self.recorded.release.as_ref().is_none_or(|release| release.traffic_since.is_some());
            assert!(begun, "clients go to a revision before that is on record\n{}", self.trace.join("\n"));
            let approved = self.recorded.release.as_ref().is_none_or(|release| missing(release, &[When::BeforeTraffic], 0).is_empty());
            assert!(approved, "clients go to a revision before its approval is on record\n{}", self.trace.join("\n"));
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::AddFinalizer => self.rollout.has_finalizer = true,
            Action::RemoveFinalizer => self.rollout.has_finalizer = false,
            Action::ReadPods => self.pods_read_at = Some(self.now),
            Action::ProbeGuard { .. } | Action::ProbePin { .. } => {}
            Action::ProbeStamp { .. } => self.stamped = Some(true),
            Action::SetPaused { deployment, paused } => self.edit(&deployment.name, |deployment| {
                (deployment.paused, deployment.held) = (*paused, *paused);
            }),
            Action::PinService { service, side_key, to, affinity, .. } => {
                let version = self.next_version();
                let service = self.services.iter_mut().find(|known| known.name == service.name).expect("the Service");
                service.selector = Keys { side: side_key }.apply(to, &service.selector);
                service.affinity = affinity.unwrap_or(service.affinity);
                service.resource_version = version;
            }
            Action::PinPreview { .. } if self.preview_fails => {}
            Action::PinPreview { service, side_key, to } => {
                let version = self.next_version();
                let service = self.services.iter_mut().find(|known| known.name == service.name).expect("the preview");
                service.selector = Keys { side: side_key }.apply(to, &service.selector);
                service.resource_version = version;
            }
            Action::CreateCanary { name, body } => {
                let labels = [(ROLLOUT_UID.to_owned(), "rollout".to_owned())].into();
                let replicas = body["spec"]["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok()).expect("replicas");
                self.create_deployment(name, replicas, &body["spec"]["template"], body["spec"]["strategy"].clone(), labels);
                let owner = body["metadata"]["ownerReferences"][0]["uid"].as_str().expect("an owner").to_owned();
                self.edit(name, |deployment| deployment.owners = vec![owner.clone()]);
            }
            Action::ScaleCanary { deployment, replicas } => {
                self.edit(&deployment.name, |deployment| deployment.replicas = *replicas);
            }
            Action::ScaleToZero { deployment } => self.edit(&deployment.name, |deployment| deployment.replicas = 0),
            Action::ScaleReplicaSet { replica_set, replicas } => self.set(&replica_set.uid).replicas = *replicas,
            Action::DeleteReplicaSet { replica_set } => self.sets.retain(|set| set.uid != replica_set.uid),
            Action::LabelPod { pod, rotation } => {
                let pod = self.pods.iter_mut().find(|known| known.uid == pod.uid).expect("the pod");
                match rotation {
                    Rotation::In => drop(pod.labels.insert(ROTATION.into(), ROTATION_IN.into())),
                    Rotation::Out => drop(pod.labels.remove(ROTATION)),
                }
            }
            Action::BeginHandover { deployment, label } => self.edit(&deployment.name, |deployment| {
                deployment.labels.insert(HANDOVER.into(), label.clone());
            }),
            Action::OpenSurge { deployment } => {
                self.edit(&deployment.name, |deployment| deployment.strategy["rollingUpdate"]["maxSurge"] = json!("100%"));
            }
            Action::AdoptReplicaSet { replica_set, owner, .. } => self.set(&replica_set.uid).owner = Some(owner.uid.clone()),
            Action::EndHandover { deployment, max_surge, paused } => self.edit(&deployment.name, |deployment| {
                deployment.labels.remove(HANDOVER);
                if let Some(surge) = max_surge {
                    deployment.strategy["rollingUpdate"]["maxSurge"] = surge.clone();
                }
                if let Some(paused) = *paused {
                    (deployment.paused, deployment.held) = (paused, paused);
                }
            }),
            Action::DeleteCanary { deployment, must_own_nothing } => {
                assert!(
                    !must_own_nothing || self.sets.iter().all(|set| set.owner.as_ref() != Some(&deployment.uid)),
                    "the canary still owns a ReplicaSet"
                );
                self.deployments.retain(|known| known.uid != deployment.uid);
            }
        }
    }

    pub(super) fn set(&mut self, uid: &str) -> &mut ReplicaSetFacts {
        self.sets.iter_mut().find(|set| set.uid == uid).expect("the ReplicaSet")
    }

    /// Design §8.5: at rest nothing of ours is left.
    pub fn assert_clean(&self) {
        let trace = || self.trace.join("\n");
        let mut served = self.services.iter().filter(|service| Some(&service.name) != self.rollout.spec.preview.as_ref());
        assert!(served.all(|service| service.affinity == self.owners_affinity), "an affinity is not given back\n{}", trace());
        if self.is_declared() {
            return self.assert_declared_clean();
        }
        assert!(self.services.iter().all(|service| MANAGED.pin(&service.selector) == Pin::Open), "a Service is pinned\n{}", trace());
        assert!(self.pods.iter().all(|pod| pod.deleting() || !pod.labels.contains_key(ROTATION)), "a pod is labelled\n{}", trace());
        assert!(self.deployments.len() == 1, "a canary is left\n{}", trace());
        let hello = self.hello();
        assert!(hello.paused || !hello.held, "the record of a pause is left\n{}", trace());
        assert!(hello.labels.is_empty() && hello.max_surge() == Some(&json!("25%")), "{hello:?}\n{}", trace());
    }
}
