//! Deployments and ReplicaSets, as far as decisions look at them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    core::facts::labels::{Labels, Selector},
    visible,
};

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
    /// Whether the pause is on record as Stepgate's: [`crate::api::HELD`].
    pub held: bool,
    pub replicas: i32,
    pub selector: Selector,
    /// Raw, because typed structs drop fields they do not know.
    pub template: Arc<Value>,
    /// Name of the template: see [`crate::core::facts::revision`].
    pub revision: String,
    /// Digest of the template.
    pub digest: String,
    /// uids of its ownerReferences.
    pub owners: Vec<String>,
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

    /// The images of its template, in the containers' order; for people to read.
    pub fn images(&self) -> Vec<String> {
        let containers = self.template.pointer("/spec/containers").and_then(Value::as_array);
        containers
            .into_iter()
            .flatten()
            .filter_map(|container| container["image"].as_str().map(|image| visible::line(image).into_owned()))
            .collect()
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
    /// Name of its template, without the hash.
    pub revision: String,
    /// Digest of its template, without the hash.
    pub digest: String,
    pub replicas: i32,
    /// Pods that exist.
    pub current: i32,
    pub created_at: Timestamp,
    pub images: Vec<String>,
}

/// The containers that run for as long as the pod: its own, and its sidecars.
pub fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(&spec["containers"]).chain(list(&spec["initContainers"]).filter(|container| container["restartPolicy"] == "Always"))
}

/// The items of a JSON list; none where it is not one.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The labels that pods of the Deployment's template get.
pub fn template_labels(deployment: &DeploymentFacts) -> Labels {
    let labels = deployment.template.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
