//! Declared pairs in the model: Deployments of the user's own, and what must hold for every write of ours to them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use crate::{
    api::{PolicySpec, ROLLOUT_UID, ROTATION, rollout::Workload, status::Phase},
    core::{
        decision::action::Action,
        facts::{
            deployment::DeploymentFacts,
            labels::subset,
            pin::{Keys, Pin},
            pod::PodFacts,
            revision::{digest, revision},
            service::ServiceFacts,
        },
        tests::model::{Model, UNSEEN, labelled, rolling},
    },
};

/// Names of the versions; their pods have `version: blue`, and so on, and the images `hello:v1`, and so on.
pub const VERSIONS: [&str; 3] = ["hello-blue", "hello-green", "hello-red"];
const KEYS: Keys<'static> = Keys { side: "version" };

fn value_of(name: &str) -> &str {
    name.trim_start_matches("hello-")
}

impl Model {
    /// So many of [`VERSIONS`], with so many pods each; blue is to be live. The Service selects all of them.
    pub fn declared(replicas: &[i32], policy: PolicySpec) -> Self {
        let versions: Vec<String> = VERSIONS.iter().take(replicas.len()).map(ToString::to_string).collect();
        let workload = Workload { versions: versions.clone(), live: Some(versions[0].clone()), ..Workload::default() };
        let mut model = Self::empty(workload, policy);
        for (i, (name, replicas)) in versions.iter().zip(replicas).enumerate() {
            let template = labelled(&json!({"app": "hello", "version": value_of(name)}), &format!("hello:v{}", i + 1));
            model.create_deployment(name, *replicas, &template, rolling(), BTreeMap::new());
        }
        model.settle();
        model
    }

    pub fn is_declared(&self) -> bool {
        self.rollout.spec.workload.live.is_some()
    }

    pub fn version(&self, name: &str) -> &DeploymentFacts {
        self.deployments.iter().find(|deployment| deployment.name == name).expect("the version")
    }

    /// The Deployment whose template is to be live.
    pub fn wanted(&self) -> &DeploymentFacts {
        self.version(self.rollout.spec.workload.name())
    }

    pub fn set_live(&mut self, name: &str) {
        self.edit_spec(|spec| spec.workload.live = Some(name.to_owned()));
    }

    pub fn scale_version(&mut self, name: &str, replicas: i32) {
        self.edit(name, |deployment| deployment.replicas = replicas);
    }

    pub fn set_image_of(&mut self, name: &str, image: &str) {
        let template = labelled(&json!({"app": "hello", "version": value_of(name)}), image);
        self.edit(name, |deployment| {
            deployment.revision = revision(&template);
            deployment.digest = digest(&template);
            deployment.template = Arc::new(template);
        });
    }

    /// The pin of the only Service.
    pub fn pin(&self) -> Pin {
        KEYS.pin(&self.services[0].selector)
    }

    /// Pods of a version that are there to stay, by uid.
    pub fn uids_of(&self, name: &str) -> Vec<String> {
        let is_one = |pod: &&PodFacts| !pod.deleting() && pod.labels.get("version").is_some_and(|value| value == value_of(name));
        self.pods.iter().filter(is_one).map(|pod| pod.uid.clone()).collect()
    }

    /// Design §8.2, §8.3 and §8.5, asserted on every write.
    pub(super) fn check_declared(&self, action: &Action) {
        let trace = || self.trace.join("\n");
        let (service, to) = match action {
            Action::PinService { service, to, .. } => (service, to),
            Action::ScaleCanary { deployment, replicas } => {
                assert!(*replicas > self.version(&deployment.name).replicas, "a version is made smaller\n{}", trace());
                return;
            }
            Action::ScaleToZero { deployment } => return self.check_emptied(&deployment.name),
            Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::ReadPods
            | Action::PinPreview { .. }
            | Action::ProbePin { .. }
            | Action::ProbeStamp { .. }
            | Action::LabelPod { .. } => return,
            other => panic!("{other:?} is not for Deployments of the user's own\n{}", trace()),
        };
        let service = self.services.iter().find(|known| known.name == service.name).expect("the Service");
        if KEYS.pin(&service.selector) == *to {
            return;
        }
        let ready = |labels| self.pods.iter().filter(|pod| pod.serves() && subset(labels, &pod.labels)).collect::<Vec<_>>();
        let (now, then) = (ready(&service.selector), ready(&KEYS.apply(to, &service.selector)));
        let status = self.status();
        if status.stable.is_none() {
            assert!(!then.is_empty() || now.is_empty(), "{to:?} leaves no pod\n{}", trace());
            return;
        }
        let live = status.stable.as_ref().map(|stable| value_of(&stable.name)).unwrap_or_default();
        let size = status.stable.as_ref().map_or(0, |stable| self.version(&stable.name).replicas);
        let size = usize::try_from(size).unwrap_or(0);
        if *to == Pin::Side(live.to_owned()) {
            let at_rest = self.recorded.release.is_none();
            assert!(!at_rest || then.len() >= size.max(1).min(now.len()), "{to:?}: {} of {} pods\n{}", then.len(), now.len(), trace());
            return;
        }
        let canary = status.canary.as_ref().map(|canary| value_of(&canary.name)).unwrap_or_default();
        let of = |pod: &PodFacts, value: &str| pod.labels.get("version").is_some_and(|found| found == value);
        let both = self.pods.iter().filter(|pod| pod.serves() && (of(pod, live) || of(pod, canary))).count();
        assert!(then.len() >= size.min(both), "{to:?} leaves {} of {} pods\n{}", then.len(), size.min(both), trace());
        assert!(then.iter().all(|pod| of(pod, live) || of(pod, canary)), "clients go to a third version\n{}", trace());
        let unseen = |pod: &&PodFacts| pod.ready && pod.deleting_since.is_some_and(|since| self.now.duration_since(since) < UNSEEN);
        let ending = self.pods.iter().filter(unseen).find(|pod| !subset(&service.selector, &pod.labels));
        assert!(*to != Pin::Open || now.len() < size || ending.is_none(), "{ending:?} is let in\n{}", trace());
        if then.iter().any(|pod| of(pod, canary)) {
            let release = self.recorded.release.as_ref();
            assert!(release.is_some_and(|release| release.rollback.is_none()), "clients go to what is taken back\n{}", trace());
            assert!(release.is_some_and(|release| release.traffic_since.is_some()), "before that is on record\n{}", trace());
        }
    }

    /// A version is emptied only once no Service has a client there, the policies hold that, and it is on record.
    fn check_emptied(&self, name: &str) {
        let trace = || self.trace.join("\n");
        let on_record = self.recorded.phase == Some(Phase::Promoting) && self.recorded.release.is_some();
        assert!(on_record && self.guarded == Some(true), "{name} is emptied, guarded: {:?}\n{}", self.guarded, trace());
        let listed = |service: &&ServiceFacts| self.rollout.spec.services.contains(&service.name);
        let served = |pod: &&PodFacts| self.services.iter().filter(listed).any(|service| subset(&service.selector, &pod.labels));
        let of_it = |pod: &&PodFacts| pod.labels.get("version").is_some_and(|value| value == value_of(name));
        assert!(!self.pods.iter().filter(of_it).any(|pod| served(&pod)), "{name} is emptied under its clients\n{}", trace());
    }

    /// At rest the Services have the live version's key, and nothing else is left.
    pub(super) fn assert_declared_clean(&self) {
        let trace = || self.trace.join("\n");
        let stable = self.status().stable.clone().expect("a live version");
        assert_eq!(self.pin(), Pin::Side(value_of(&stable.name).to_owned()), "{}", trace());
        let preview = self.services.iter().find(|service| Some(&service.name) == self.rollout.spec.preview.as_ref());
        assert!(preview.is_none_or(|preview| KEYS.pin(&preview.selector) == self.pin()), "{preview:?}\n{}", trace());
        assert!(self.pods.iter().all(|pod| pod.deleting() || !pod.labels.contains_key(ROTATION)), "a pod is labelled\n{}", trace());
        let untouched = |deployment: &DeploymentFacts| !deployment.paused && !deployment.labels.contains_key(ROLLOUT_UID);
        assert!(
            self.deployments.len() == self.rollout.spec.workload.versions.len() && self.deployments.iter().all(untouched),
            "{}",
            trace()
        );
    }
}
