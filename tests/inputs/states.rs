//! The table of cluster states, and what the core may know of one.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::core::DynamicObject;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use stepgate::{
    api::{PolicySpec, Rollout, RolloutPolicy},
    core::{
        facts::{Snapshot, deployment::DeploymentFacts, pod::PodFacts, service::ServiceFacts},
        view::names,
    },
    observe::{self, RolloutSeen},
};

use crate::manifests::read;

/// All rows.
pub struct States {
    pub refused: Vec<Refused>,
    pub accepted: Vec<Accepted>,
}

/// A state in which no release can go.
pub struct Refused {
    pub state: String,
    pub objects: Objects,
    /// Reason of condition `Accepted`.
    pub reason: String,
    pub says: String,
}

/// An unusual state in which a release can go.
pub struct Accepted {
    pub state: String,
    pub objects: Objects,
}

/// What there is. `CANARY` in the others stands for the name that the canary would have.
#[derive(Clone, Deserialize)]
pub struct Objects {
    pub deployment: Option<Value>,
    pub service: Option<Value>,
    pub rollout: Value,
    others: Vec<Value>,
}

/// The file: what there is in every state, and what is otherwise in each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    base: Objects,
    refused: Vec<Row>,
    accepted: Vec<Row>,
}

/// Merge patches on the base; a null leaves the object out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    state: String,
    #[serde(default = "unchanged")]
    deployment: Value,
    #[serde(default = "unchanged")]
    service: Value,
    #[serde(default = "unchanged")]
    rollout: Value,
    #[serde(default)]
    others: Vec<Value>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    says: String,
}

fn unchanged() -> Value {
    json!({})
}

/// The table.
pub fn states() -> States {
    let File { base, refused, accepted } = read("states.yaml");
    let refused = refused.into_iter().map(|row| Refused { objects: row.on(&base), state: row.state, reason: row.reason, says: row.says });
    let accepted = accepted.into_iter().map(|row| {
        assert!(row.reason.is_empty() && row.says.is_empty(), "{}: what is accepted has no reason", row.state);
        Accepted { objects: row.on(&base), state: row.state }
    });
    States { refused: refused.collect(), accepted: accepted.collect() }
}

impl Row {
    fn on(&self, base: &Objects) -> Objects {
        let patched = |object: &Option<Value>, patch: &Value| {
            let mut object = object.clone().filter(|_| !patch.is_null())?;
            json_patch::merge(&mut object, patch);
            Some(object)
        };
        Objects {
            deployment: patched(&base.deployment, &self.deployment),
            service: patched(&base.service, &self.service),
            rollout: patched(&Some(base.rollout.clone()), &self.rollout).expect("a row has a Rollout"),
            others: self.others.clone(),
        }
    }
}

impl Refused {
    /// The sentence, where the canary would have this name.
    pub fn says(&self, canary: &str) -> String {
        self.says.replace("CANARY", canary)
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The name of the canary of a Deployment's template.
pub fn canary_name(deployment: Option<&Value>) -> String {
    let facts = deployment.map(|deployment| observe::deployment(&parse::<DynamicObject>(deployment)));
    facts.map(|facts| names::canary(&facts.name, &facts.revision)).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{object}: {error}"))
}

impl Objects {
    pub fn rollout_name(&self) -> &str {
        name(&self.rollout)
    }

    pub fn deployment_name(&self) -> Option<&str> {
        self.deployment.as_ref().map(name)
    }

    /// The same with another name for `hello` wherever it stands, so that rows do not meet.
    pub fn renamed(&self, hello: &str) -> Self {
        let other = |object: &Value| serde_json::from_str(&object.to_string().replace("hello", hello)).unwrap();
        Self {
            deployment: self.deployment.as_ref().map(other),
            service: self.service.as_ref().map(other),
            rollout: other(&self.rollout),
            others: self.others.iter().map(other).collect(),
        }
    }

    /// What there is besides.
    pub fn others(&self, canary: &str) -> Vec<Value> {
        self.others.iter().map(|other| serde_json::from_str(&other.to_string().replace("CANARY", canary)).unwrap()).collect()
    }
}

/// What the controller would know of a state, reduced as the controller does it.
pub struct Known {
    rollout: RolloutSeen,
    older: Vec<RolloutSeen>,
    policies: BTreeMap<String, PolicySpec>,
    deployments: Vec<DeploymentFacts>,
    services: Vec<ServiceFacts>,
    pods: Vec<PodFacts>,
    canary: String,
}

impl Known {
    /// Without a cluster: the objects as they were written.
    pub fn offline(objects: &Objects) -> Self {
        let canary = canary_name(objects.deployment.as_ref());
        let mut others = objects.others(&canary);
        for (number, other) in others.iter_mut().enumerate() {
            other["metadata"]["uid"] = format!("other-{number}").into();
            other["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let mut rollout = objects.rollout.clone();
        rollout["metadata"]["uid"] = "rollout".into();
        rollout["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z".into();
        let of_kind = |kind: &str| others.iter().filter(|other| other["kind"] == kind).cloned().collect::<Vec<_>>();
        let deployments: Vec<Value> = objects.deployment.iter().cloned().chain(of_kind("Deployment")).collect();
        let services: Vec<Value> = objects.service.iter().cloned().chain(of_kind("Service")).collect();
        let policies = of_kind("RolloutPolicy");
        Self {
            rollout: observe::rollout(&parse::<Rollout>(&rollout)),
            older: of_kind("Rollout").iter().map(|other| observe::rollout(&parse::<Rollout>(other))).collect(),
            policies: policies.iter().map(|policy| (name(policy).to_owned(), parse::<RolloutPolicy>(policy).spec.0)).collect(),
            deployments: deployments.iter().map(|deployment| observe::deployment(&parse::<DynamicObject>(deployment))).collect(),
            services: services.iter().map(|service| observe::service(&parse::<Service>(service))).collect(),
            pods: of_kind("Pod").iter().map(|pod| observe::pod(&parse::<Pod>(pod), None, Timestamp::UNIX_EPOCH)).collect(),
            canary,
        }
    }

    pub fn canary(&self) -> String {
        self.canary.clone()
    }

    pub fn snapshot(&self) -> Snapshot {
        let spec = &self.rollout.facts.spec;
        let referred = spec.policy_ref.as_ref().and_then(|reference| self.policies.get(&reference.name));
        Snapshot {
            rollout: self.rollout.facts.clone(),
            status: self.rollout.status.clone().unwrap_or_default(),
            on_record: self.rollout.status.clone(),
            policy: spec.policy.as_ref().or(referred).cloned().map(Arc::new),
            deployments: self.deployments.iter().cloned().map(Arc::new).collect(),
            replica_sets: Vec::new(),
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            services: self.services.iter().cloned().map(Arc::new).collect(),
            rivals: self.older.iter().map(RolloutSeen::rival).collect(),
            probes: BTreeMap::new(),
            guarded: None,
            stamped: None,
            pods_read_at: None,
        }
    }
}
