//! A cluster in a few hundred lines, for tests of whole histories: what Kubernetes' controllers make of our actions, a step at a time, in
//! whatever order the test likes. Only what decisions can see is modelled.

mod act;
mod answer;
mod cluster;
mod declared;
mod log;
mod run;
mod worker;

pub use declared::VERSIONS;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::{
    PolicySpec, RolloutSpec,
    rollout::Workload,
    status::{Phase, RolloutStatus},
};

use crate::core::facts::{
    Rival, RolloutFacts, Snapshot,
    deployment::{DeploymentFacts, DeploymentStatusFacts, ReplicaSetFacts},
    labels::{Labels, Selector},
    observed::ProbeFacts,
    pod::PodFacts,
    port::{ServicePort, TargetPort},
    revision::{digest, revision},
    service::{ServiceFacts, SessionAffinity},
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
    /// The session affinity that its owner gave the Service.
    pub owners_affinity: SessionAffinity,
    pub rivals: Vec<Rival>,
    pub probes: BTreeMap<(String, String), ProbeFacts>,
    /// Whether the writes of the preview fail.
    pub preview_fails: bool,
    /// Images whose pods never become ready.
    pub broken: Vec<String>,
    /// Port numbers at which no pod listens.
    pub deaf: Vec<u16>,
    pub notices: Vec<String>,
    pub trace: Vec<String>,
    /// The same for people, with times; only where somebody asks for it.
    pub log: Option<Vec<String>>,
    /// Whether the admission policies are known to act.
    pub guarded: Option<bool>,
    /// Whether they are known to stamp who sends a request.
    pub stamped: Option<bool>,
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
    labelled(&json!({"app": "hello"}), image)
}

fn labelled(labels: &Value, image: &str) -> Value {
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
                    preview: None,
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
                uid: "hello".into(),
                resource_version: "1".into(),
                deleting: false,
                selector: [("app".to_owned(), "hello".to_owned())].into(),
                affinity: SessionAffinity::Off,
                external_name: false,
                headless: false,
                publish_not_ready: false,
                local_traffic: None,
                ports: vec![ServicePort { name: String::new(), port: 80, protocol: "TCP".into(), target: TargetPort::Name("http".into()) }],
                endpoints: BTreeSet::new(),
                reached: BTreeMap::new(),
            }],
            owners_affinity: SessionAffinity::Off,
            rivals: Vec::new(),
            probes: BTreeMap::new(),
            preview_fails: false,
            broken: Vec::new(),
            deaf: Vec::new(),
            notices: Vec::new(),
            trace: Vec::new(),
            log: None,
            guarded: Some(true),
            stamped: Some(true),
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
            held: false,
            replicas,
            selector: Selector {
                raw: json!({"matchLabels": template["metadata"]["labels"]}),
                match_labels: labels_of(template),
                expressions: Vec::new(),
            },
            revision: revision(template),
            digest: digest(template),
            owners: Vec::new(),
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

    /// Whether the pods of an image are ready from now on.
    pub fn set_ready(&mut self, image: &str, ready: bool) {
        let uids: Vec<String> = self.pods_of(image).iter().map(|pod| pod.uid.clone()).collect();
        self.pods.iter_mut().filter(|pod| uids.contains(&pod.uid)).for_each(|pod| pod.ready = ready);
    }

    /// Somebody's `kubectl rollout resume`.
    pub fn unpause(&mut self) {
        self.edit("hello", |hello| {
            (hello.paused, hello.held) = (false, false);
        });
    }

    /// The owner's `kubectl rollout pause`.
    pub fn pause(&mut self) {
        self.edit("hello", |hello| hello.paused = true);
    }

    /// The owner's `kubectl rollout resume`, with the pause policy in effect.
    pub fn resume(&mut self) {
        self.edit("hello", |hello| hello.held = true);
    }

    /// The user's `kubectl set image`, with the pause policy in effect.
    pub fn set_image(&mut self, image: &str) {
        let template = template(image);
        self.edit("hello", |hello| {
            hello.held |= !hello.paused && hello.revision != revision(&template);
            hello.paused = hello.paused || hello.revision != revision(&template);
            hello.revision = revision(&template);
            hello.digest = digest(&template);
            hello.template = Arc::new(template);
        });
    }

    /// Somebody's `kubectl set image` on the canary.
    pub fn change_canary(&mut self, image: &str) {
        let template = template(image);
        let canary = self.deployments.iter().find(|deployment| deployment.name != "hello").expect("a canary").name.clone();
        self.edit(&canary, |canary| {
            canary.revision = revision(&template);
            canary.digest = digest(&template);
            canary.template = Arc::new(template);
        });
    }

    /// The revision of the version of this number: of `hello:v1`, or of the first of the versions.
    pub fn revision_of(&self, number: u8) -> String {
        if self.is_declared() {
            return self.version(VERSIONS[usize::from(number - 1) % VERSIONS.len()]).revision.clone();
        }
        revision(&template(&format!("hello:v{number}")))
    }

    pub fn scale(&mut self, replicas: i32) {
        self.edit("hello", |hello| hello.replicas = replicas);
    }

    /// Its owner gives the Service another session affinity.
    pub fn set_affinity(&mut self, affinity: SessionAffinity) {
        let version = self.next_version();
        self.owners_affinity = affinity;
        let service = &mut self.services[0];
        (service.affinity, service.resource_version) = (affinity, version);
    }

    pub fn edit_spec(&mut self, edit: impl FnOnce(&mut RolloutSpec)) {
        edit(Arc::make_mut(&mut self.rollout.spec));
        self.rollout.generation += 1;
    }

    /// Another Service for the same pods, to be the preview.
    pub fn add_preview(&mut self, name: &str) {
        let version = self.next_version();
        let selector = self.services[0].selector.iter().filter(|(key, _)| *key == "app");
        let selector = selector.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.services.push(ServiceFacts { name: name.into(), resource_version: version, selector, ..self.services[0].clone() });
        self.edit_spec(|spec| spec.preview = Some(name.to_owned()));
        self.endpoints();
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
            on_record: Some(self.recorded.clone()),
            status,
            policy: Some(Arc::clone(&self.policy)),
            deployments: self.deployments.iter().cloned().map(Arc::new).collect(),
            replica_sets: self.sets.iter().cloned().map(Arc::new).collect(),
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            services: self.services.iter().cloned().map(Arc::new).collect(),
            rivals: self.rivals.clone(),
            probes: self.connections().into_iter().chain(self.probes.clone()).collect(),
            guarded: self.guarded,
            stamped: self.stamped,
            pods_read_at: self.pods_read_at,
        }
        .resolved()
    }

    /// What a connection to each pod shows, at every number that a Service may lead to: all take it, but for the deaf ones.
    fn connections(&self) -> BTreeMap<(String, String), ProbeFacts> {
        let numbers = |pod: &PodFacts| {
            self.services.iter().flat_map(|service| &service.ports).filter_map(|port| port.number(&pod.ports)).collect::<Vec<_>>()
        };
        let seen = |number: u16| {
            let (successes, failures, last) = if self.deaf.contains(&number) { (0, 1, "connection refused") } else { (1, 0, "connected") };
            ProbeFacts { successes, failures, last: last.into(), unknown: None, failing_since: None }
        };
        let of = |pod: &PodFacts| {
            numbers(pod).into_iter().map(move |number| ((format!("port {number}"), pod.uid.clone()), seen(number))).collect::<Vec<_>>()
        };
        self.pods.iter().flat_map(of).collect()
    }

    /// Pods of an image that are there to stay.
    pub fn pods_of(&self, image: &str) -> Vec<&PodFacts> {
        let sets: Vec<&str> =
            self.sets.iter().filter(|set| set.images.iter().any(|known| known == image)).map(|set| set.uid.as_str()).collect();
        self.pods.iter().filter(|pod| !pod.deleting() && pod.owner.as_deref().is_some_and(|owner| sets.contains(&owner))).collect()
    }
}
