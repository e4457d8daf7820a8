//! Everything one decision may read: facts, reduced from Kubernetes objects by `controller::observe`.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use crate::api::{PolicySpec, RolloutSpec, RolloutStatus};

/// Labels or selectors, as Kubernetes writes them.
pub type Labels = BTreeMap<String, String>;

/// What was observed of one Rollout and of everything it touches.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub rollout: RolloutFacts,
    /// The status as it was decided last. It may be ahead of what the API server has: a rollback is latched here the moment it is decided.
    pub status: RolloutStatus,
    /// Whether the API server has [`Snapshot::status`]'s phase and release on record. Nothing is done on the strength of a
    /// release that is not.
    pub recorded: bool,
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

/// A Deployment.
#[derive(Clone, Debug)]
pub struct DeploymentFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub observed_generation: i64,
    pub deleting: bool,
    pub labels: Labels,
    pub paused: bool,
    pub replicas: i32,
    pub selector: Selector,
    /// Raw, because typed structs drop fields they do not know.
    pub template: Arc<Value>,
    /// Fingerprint of the template.
    pub revision: String,
    /// Raw `spec.strategy`.
    pub strategy: Value,
    pub min_ready_seconds: i64,
    pub progress_deadline_seconds: Option<i64>,
    pub status: DeploymentStatusFacts,
}

impl DeploymentFacts {
    /// Whether the Deployment controller has seen the latest spec.
    pub fn observed(&self) -> bool {
        self.observed_generation >= self.generation
    }

    /// The images of its template, in the containers' order.
    pub fn images(&self) -> Vec<String> {
        let containers = self.template.pointer("/spec/containers").and_then(Value::as_array);
        containers.into_iter().flatten().filter_map(|container| container["image"].as_str().map(str::to_owned)).collect()
    }

    /// Whether pods are replaced only after all old ones are gone.
    pub fn is_recreate(&self) -> bool {
        self.strategy.get("type").and_then(Value::as_str) == Some("Recreate")
    }

    /// The raw `maxSurge`, where the strategy has one.
    pub fn max_surge(&self) -> Option<&Value> {
        self.strategy.pointer("/rollingUpdate/maxSurge")
    }

    /// Pods that a roll-out may take away at a time; 0 where the strategy does not say so, and a share is rounded down, as Kubernetes does.
    pub fn max_unavailable(&self) -> i32 {
        let number = match self.strategy.pointer("/rollingUpdate/maxUnavailable") {
            Some(Value::Number(pods)) => pods.as_i64(),
            Some(Value::String(share)) => {
                share.strip_suffix('%').and_then(|share| share.parse::<i64>().ok()).map(|share| i64::from(self.replicas) * share / 100)
            }
            _ => None,
        };
        number.and_then(|pods| i32::try_from(pods).ok()).unwrap_or_default()
    }

    /// Whether all its pods are of its template as it is now, ready or not.
    pub fn is_uniform(&self) -> bool {
        self.observed() && self.status.updated == self.replicas && self.status.replicas == self.replicas
    }

    /// Whether a roll-out is complete: seen, and every pod new and available.
    pub fn is_complete(&self) -> bool {
        self.is_uniform() && self.status.available >= self.replicas
    }
}

/// The counts of a Deployment's status.
#[derive(Clone, Debug, Default)]
pub struct DeploymentStatusFacts {
    pub replicas: i32,
    pub updated: i32,
    pub ready: i32,
    pub available: i32,
    /// Reason of condition `Progressing`.
    pub progressing_reason: String,
}

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// As it was written, to be given to the canary byte for byte.
    pub raw: Value,
    pub match_labels: Labels,
    pub expressions: Vec<Expression>,
}

/// One `matchExpressions` entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

impl Selector {
    /// Whether an object with these labels is selected. An operator that is not known selects nothing.
    pub fn matches(&self, labels: &Labels) -> bool {
        subset(&self.match_labels, labels)
            && self.expressions.iter().all(|Expression { key, operator, values }| match (operator.as_str(), labels.get(key)) {
                ("In", Some(value)) => values.contains(value),
                ("NotIn", value) => value.is_none_or(|value| !values.contains(value)),
                ("Exists", value) => value.is_some(),
                ("DoesNotExist", value) => value.is_none(),
                _ => false,
            })
    }
}

/// Whether every pair of `wanted` is in `labels`.
pub fn subset(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A ReplicaSet.
#[derive(Clone, Debug)]
pub struct ReplicaSetFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub deleting: bool,
    /// uid of the controlling owner.
    pub owner: Option<String>,
    /// Its `pod-template-hash`.
    pub hash: String,
    /// Fingerprint of its template, without the hash.
    pub revision: String,
    pub replicas: i32,
    /// Pods that exist.
    pub current: i32,
    pub created_at: Timestamp,
    pub images: Vec<String>,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct PodFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: Labels,
    /// uid of the controlling owner.
    pub owner: Option<String>,
    /// When its deletion was first seen.
    pub deleting_since: Option<Timestamp>,
    /// Failed or Succeeded: it will never serve again.
    pub finished: bool,
    /// The Ready condition, and since when it is what it is.
    pub ready: bool,
    pub ready_since: Option<Timestamp>,
    /// Whether it was ready at any time, as far as can be told.
    pub was_ready: bool,
    /// Not ready because its node does not answer: the node lifecycle controller takes the Ready condition away, and leaves ContainersReady,
    /// which only the kubelet writes.
    pub node_lost: bool,
    /// When a container ended last and was started again.
    pub last_restart: Option<Timestamp>,
    /// What keeps it from running, in the words of the kubelet or the scheduler.
    pub trouble: Option<String>,
    pub ip: Option<String>,
    /// Container ports by name.
    pub ports: BTreeMap<String, u16>,
    pub host_network: bool,
    pub node: Option<String>,
}

impl PodFacts {
    /// Whether it has been told to end.
    pub fn deleting(&self) -> bool {
        self.deleting_since.is_some()
    }

    /// Whether it can take new connections.
    pub fn serves(&self) -> bool {
        self.ready && !self.deleting() && !self.finished
    }

    /// Whether it has been ready for `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.serves()
            && (min_ready_seconds == 0 || self.ready_since.is_some_and(|since| now.as_second() - since.as_second() >= min_ready_seconds))
    }
}

/// A Service's session affinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionAffinity {
    /// Every connection goes to any pod.
    #[default]
    Off,
    /// Those of one address go to the pod that the one before them went to, for so many seconds after it.
    ClientIp(i32),
}

/// A Service, with the endpoints that the data plane has for it.
#[derive(Clone, Debug)]
pub struct ServiceFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub deleting: bool,
    pub selector: Labels,
    pub affinity: SessionAffinity,
    pub external_name: bool,
    pub headless: bool,
    pub publish_not_ready: bool,
    /// The one of `internalTrafficPolicy` and `externalTrafficPolicy` that is Local, if any is.
    pub local_traffic: Option<&'static str>,
    /// The first of its ports.
    pub port: Option<i32>,
    /// uids of the pods behind ready endpoints, from the EndpointSlices.
    pub endpoints: Vec<String>,
}

/// What a gate's probes have seen of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFacts {
    /// Successes in a row.
    pub successes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// What came last, in a few words: `200`, `500`, `connection refused`.
    pub last: String,
    /// Set while probes can be neither passed nor failed, with the reason.
    pub unknown: Option<String>,
    /// When the first failure in a row was seen.
    pub failing_since: Option<Timestamp>,
}
