//! A cluster in a few hundred lines, for tests of whole histories: what Kubernetes' controllers make of our actions, a step at a time, in
//! whatever order the test likes. Only what decisions can see is modelled.

mod cluster;
mod declared;

pub use declared::VERSIONS;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::{
    HANDOVER, PolicySpec, ROLLOUT_UID, ROTATION, ROTATION_IN, RolloutSpec,
    rollout::Workload,
    status::{Phase, RolloutStatus},
};

use super::{
    action::{Action, Rotation},
    decide::{Decision, Difference, decide, difference, is_recorded},
    revision::revision,
    service_split::{Keys, MANAGED, Pin},
    snapshot::{
        DeploymentFacts, DeploymentStatusFacts, Labels, PodFacts, ProbeFacts, ReplicaSetFacts, RolloutFacts, Selector, ServiceFacts,
        Snapshot, subset,
    },
};

/// The whole cluster, and the controller's memory.
#[derive(Clone, Debug)]
pub struct Model {
    pub now: Timestamp,
    version: u64,
    pub rollout: RolloutFacts,
    pub policy: Arc<PolicySpec>,
    pub recorded: RolloutStatus,
    pub memory: Option<RolloutStatus>,
    pub deployments: Vec<DeploymentFacts>,
    pub sets: Vec<ReplicaSetFacts>,
    pub pods: Vec<PodFacts>,
    pub services: Vec<ServiceFacts>,
    pub probes: BTreeMap<(String, String), ProbeFacts>,
    /// Images whose pods never become ready.
    pub broken: Vec<String>,
    pub notices: Vec<String>,
    pub trace: Vec<String>,
    /// Whether the admission policies are known to act.
    pub guarded: Option<bool>,
    pods_read_at: Option<Timestamp>,
}

/// How long a pod takes to end.
const GRACE: SignedDuration = SignedDuration::from_secs(1);
/// How long the end of a pod may be unknown to those that make the endpoints.
const UNSEEN: SignedDuration = SignedDuration::from_millis(400);

/// How much of a decision is carried out before the controller dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    Never,
    /// After so many writes, its memory gone.
    After(usize),
}

pub fn template(image: &str) -> Value {
    labelled(json!({"app": "hello"}), image)
}

fn labelled(labels: Value, image: &str) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "hello", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]}})
}

pub fn policy(text: Value) -> PolicySpec {
    serde_json::from_value(text).expect("a policy")
}

/// Quarters, without holds.
pub fn quarters() -> PolicySpec {
    policy(
        json!({"steps": [{"weight": 25}, {"weight": 50}, {"weight": 75}, {"weight": 100}], "keepPrevious": "1s", "settle": "0s", "progressDeadline": "60s"}),
    )
}

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn labels_of(template: &Value) -> Labels {
    serde_json::from_value(template["metadata"]["labels"].clone()).expect("labels")
}

impl Model {
    /// `hello:v1` at rest with so many pods, one Service, a Rollout that has just been made.
    pub fn new(replicas: i32, policy: PolicySpec) -> Self {
        let mut model = Self::empty(Workload { deployment: Some("hello".into()), ..Workload::default() }, policy);
        model.create_deployment("hello", replicas, &template("hello:v1"), rolling(), BTreeMap::new());
        model.settle();
        model
    }

    fn empty(workload: Workload, policy: PolicySpec) -> Self {
        Self {
            now: "2026-11-21T10:00:00Z".parse().expect("a time"),
            version: 100,
            rollout: RolloutFacts {
                name: "hello".into(),
                namespace: "shop".into(),
                uid: "rollout".into(),
                generation: 1,
                created_at: Timestamp::UNIX_EPOCH,
                deleting: false,
                has_finalizer: false,
                spec: Arc::new(RolloutSpec {
                    workload,
                    services: vec!["hello".into()],
                    unmanaged_services: Vec::new(),
                    policy_ref: None,
                    policy: Some(policy.clone()),
                    paused: false,
                    request: None,
                }),
            },
            policy: Arc::new(policy),
            recorded: RolloutStatus::default(),
            memory: None,
            deployments: Vec::new(),
            sets: Vec::new(),
            pods: Vec::new(),
            services: vec![ServiceFacts {
                name: "hello".into(),
                resource_version: "1".into(),
                deleting: false,
                selector: [("app".to_owned(), "hello".to_owned())].into(),
                external_name: false,
                headless: false,
                publish_not_ready: false,
                local_traffic: None,
                endpoints: Vec::new(),
            }],
            probes: BTreeMap::new(),
            broken: Vec::new(),
            notices: Vec::new(),
            trace: Vec::new(),
            guarded: Some(true),
            pods_read_at: None,
        }
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn create_deployment(&mut self, name: &str, replicas: i32, template: &Value, strategy: Value, labels: BTreeMap<String, String>) {
        let version = self.next_version();
        self.deployments.push(DeploymentFacts {
            name: name.into(),
            uid: format!("{name}-{version}"),
            resource_version: version,
            generation: 1,
            observed_generation: 0,
            deleting: false,
            labels,
            paused: false,
            replicas,
            selector: Selector {
                raw: json!({"matchLabels": template["metadata"]["labels"]}),
                match_labels: labels_of(template),
                expressions: Vec::new(),
            },
            revision: revision(template),
            template: Arc::new(template.clone()),
            strategy,
            min_ready_seconds: 0,
            progress_deadline_seconds: Some(600),
            status: DeploymentStatusFacts::default(),
        });
    }

    pub fn hello(&self) -> &DeploymentFacts {
        self.deployments.iter().find(|deployment| deployment.name == "hello").expect("hello")
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut DeploymentFacts)) {
        let version = self.next_version();
        let deployment = self.deployments.iter_mut().find(|deployment| deployment.name == name).expect("the Deployment");
        edit(deployment);
        deployment.generation += 1;
        deployment.resource_version = version;
    }

    /// The user's `kubectl set image`, with the pause policy in effect.
    pub fn set_image(&mut self, image: &str) {
        let template = template(image);
        self.edit("hello", |hello| {
            hello.paused = hello.paused || hello.revision != revision(&template);
            hello.revision = revision(&template);
            hello.template = Arc::new(template);
        });
    }

    pub fn scale(&mut self, replicas: i32) {
        self.edit("hello", |hello| hello.replicas = replicas);
    }

    pub fn edit_spec(&mut self, edit: impl FnOnce(&mut RolloutSpec)) {
        edit(Arc::make_mut(&mut self.rollout.spec));
        self.rollout.generation += 1;
    }

    /// The status that the controller would decide from.
    pub fn status(&self) -> &RolloutStatus {
        self.memory.as_ref().unwrap_or(&self.recorded)
    }

    pub fn phase(&self) -> Phase {
        self.status().phase.unwrap_or(Phase::Pending)
    }

    pub fn snapshot(&self) -> Snapshot {
        let status = self.status().clone();
        Snapshot {
            rollout: self.rollout.clone(),
            recorded: is_recorded(Some(&self.recorded), &status),
            status,
            policy: Some(Arc::clone(&self.policy)),
            deployments: self.deployments.iter().cloned().map(Arc::new).collect(),
            replica_sets: self.sets.iter().cloned().map(Arc::new).collect(),
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            services: self.services.iter().cloned().map(Arc::new).collect(),
            rivals: Vec::new(),
            probes: self.probes.clone(),
            guarded: self.guarded,
            pods_read_at: self.pods_read_at,
        }
    }

    /// One decision, carried out until it is done or the controller dies. Says whether anything was written.
    pub fn control(&mut self, crash: Crash) -> bool {
        let decision: Decision = decide(&self.snapshot(), self.now);
        self.notices.extend(decision.notices.iter().map(|notice| format!("{}: {}", notice.reason, notice.note)));
        for (done, action) in decision.actions.iter().enumerate() {
            if crash == Crash::After(done) {
                self.trace.push("-- the controller dies".into());
                self.memory = None;
                return true;
            }
            self.trace.push(format!("{action:?}"));
            self.check(action);
            self.apply(action);
        }
        let written = difference(Some(&self.recorded), &decision.status) != Difference::Nothing;
        if crash == Crash::After(decision.actions.len()) {
            self.memory = None;
            return true;
        }
        if written {
            self.trace.push(format!("status {:?}: {}", decision.status.phase, decision.status.why));
            self.recorded = serde_json::to_value(&decision.status).and_then(serde_json::from_value).expect("a status is JSON");
            assert_eq!(self.recorded, decision.status, "a status that is not read as it was written is written again and again");
        }
        self.memory = Some(decision.status);
        written || !decision.actions.is_empty()
    }

    /// Design §8.2 and §8.3, asserted on every write.
    fn check(&self, action: &Action) {
        if self.is_declared() {
            return self.check_declared(action);
        }
        let Action::PinService { service, to, .. } = action else { return };
        let service = self.services.iter().find(|known| known.name == service.name).expect("the Service");
        let selected = |pin: &Pin| {
            self.pods.iter().filter(|pod| pod.serves() && subset(&MANAGED.apply(pin, &service.selector), &pod.labels)).collect::<Vec<_>>()
        };
        let from = MANAGED.pin(&service.selector);
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
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::AddFinalizer => self.rollout.has_finalizer = true,
            Action::RemoveFinalizer => self.rollout.has_finalizer = false,
            Action::ReadPods => self.pods_read_at = Some(self.now),
            Action::ProbeGuard { .. } | Action::ProbePin { .. } => {}
            Action::SetPaused { deployment, paused } => self.edit(&deployment.name, |deployment| deployment.paused = *paused),
            Action::PinService { service, side_key, to, .. } => {
                let version = self.next_version();
                let service = self.services.iter_mut().find(|known| known.name == service.name).expect("the Service");
                service.selector = Keys { side: side_key }.apply(to, &service.selector);
                service.resource_version = version;
            }
            Action::CreateCanary { name, body } => {
                let labels = [(ROLLOUT_UID.to_owned(), "rollout".to_owned())].into();
                let replicas = body["spec"]["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok()).expect("replicas");
                self.create_deployment(name, replicas, &body["spec"]["template"], body["spec"]["strategy"].clone(), labels);
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
                deployment.paused = paused.unwrap_or(deployment.paused);
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

    fn set(&mut self, uid: &str) -> &mut ReplicaSetFacts {
        self.sets.iter_mut().find(|set| set.uid == uid).expect("the ReplicaSet")
    }

    pub fn tick(&mut self, milliseconds: i64) {
        // A clock knows more than milliseconds.
        self.now = self.now.checked_add(SignedDuration::from_millis(milliseconds) + SignedDuration::from_nanos(1_237)).expect("a time");
    }

    /// Everybody but our controller, until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..4 {
            self.controllers();
            self.kubelet();
            self.endpoints();
        }
    }

    /// Everybody in turn, until our controller has nothing left to do but wait; `until` ends it earlier. Panics where there is no end.
    pub fn run(&mut self, until: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if until(self) {
                return;
            }
            self.control(Crash::Never);
            self.settle();
            self.tick(250);
        }
        panic!("no end: {:?} {}\n{}", self.phase(), self.status().why, self.trace.join("\n"));
    }

    /// The same, skipping the time in which nothing happens.
    pub fn run_fast(&mut self, until: impl Fn(&Self) -> bool) {
        self.run(|model| until(model) || model.is_waiting());
        while !until(self) {
            let wake_at = decide(&self.snapshot(), self.now).wake_at.expect("a wait has an end");
            self.now = self.now.max(wake_at);
            self.run(|model| until(model) || model.is_waiting());
        }
    }

    /// Whether nothing will happen before the time that the decision named.
    fn is_waiting(&self) -> bool {
        let decision = decide(&self.snapshot(), self.now);
        decision.actions.is_empty()
            && decision.wake_at.is_some_and(|at| at > self.now)
            && difference(Some(&self.recorded), &decision.status) == Difference::Nothing
    }

    pub fn run_to(&mut self, phase: Phase) {
        self.run(|model| model.phase() == phase && model.status().release.is_none());
    }

    /// Pods of an image that are there to stay.
    pub fn pods_of(&self, image: &str) -> Vec<&PodFacts> {
        let sets: Vec<&str> =
            self.sets.iter().filter(|set| set.images.iter().any(|known| known == image)).map(|set| set.uid.as_str()).collect();
        self.pods.iter().filter(|pod| !pod.deleting() && pod.owner.as_deref().is_some_and(|owner| sets.contains(&owner))).collect()
    }

    /// Design §8.5: at rest nothing of ours is left.
    pub fn assert_clean(&self) {
        let trace = || self.trace.join("\n");
        if self.is_declared() {
            return self.assert_declared_clean();
        }
        assert!(self.services.iter().all(|service| MANAGED.pin(&service.selector) == Pin::Open), "a Service is pinned\n{}", trace());
        assert!(self.pods.iter().all(|pod| pod.deleting() || !pod.labels.contains_key(ROTATION)), "a pod is labelled\n{}", trace());
        assert!(self.deployments.len() == 1, "a canary is left\n{}", trace());
        let hello = self.hello();
        assert!(hello.labels.is_empty() && hello.max_surge() == Some(&json!("25%")), "{hello:?}\n{}", trace());
    }
}
