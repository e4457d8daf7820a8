//! Deployments and ReplicaSets, reduced to facts.

use std::sync::Arc;

use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{HELD, POD_TEMPLATE_HASH},
    core::facts::{
        deployment::{DeploymentFacts, DeploymentStatusFacts, ReplicaSetFacts},
        labels::{Expression, Selector},
        revision::{self, digest},
    },
    visible,
};

use super::object::{controller, created, version};

/// A Deployment, read from its raw JSON: typed structs would drop fields of its template that they do not know.
pub fn deployment(object: &DynamicObject) -> DeploymentFacts {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let template = spec["template"].clone();
    let digest = digest(&template);
    DeploymentFacts {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        generation: object.metadata.generation.unwrap_or_default(),
        observed_generation: status["observedGeneration"].as_i64().unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        labels: object.labels().clone(),
        paused: spec["paused"].as_bool().unwrap_or_default(),
        held: object.labels().contains_key(HELD),
        replicas: spec["replicas"].as_i64().map_or(1, int),
        selector: selector(&spec["selector"]),
        revision: revision::name(&digest),
        digest,
        owners: object.owner_references().iter().map(|owner| owner.uid.clone()).collect(),
        template: Arc::new(template),
        strategy: spec["strategy"].clone(),
        min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or_default(),
        progress_deadline_seconds: spec["progressDeadlineSeconds"].as_i64(),
        status: DeploymentStatusFacts {
            replicas: count(&status["replicas"]),
            updated: count(&status["updatedReplicas"]),
            ready: count(&status["readyReplicas"]),
            available: count(&status["availableReplicas"]),
            progressing_reason: condition_reason(status, "Progressing"),
        },
    }
}

fn condition_reason(status: &Value, type_: &str) -> String {
    let conditions = status["conditions"].as_array();
    let condition = conditions.into_iter().flatten().find(|condition| condition["type"].as_str() == Some(type_));
    condition.and_then(|condition| condition["reason"].as_str()).unwrap_or_default().to_owned()
}

fn selector(raw: &Value) -> Selector {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = raw["matchLabels"].as_object();
    let expressions = raw["matchExpressions"].as_array();
    Selector {
        raw: raw.clone(),
        match_labels: labels.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect(),
        expressions: expressions
            .into_iter()
            .flatten()
            .map(|expression| Expression {
                key: text(&expression["key"]),
                operator: text(&expression["operator"]),
                values: expression["values"].as_array().into_iter().flatten().map(text).collect(),
            })
            .collect(),
    }
}

fn int(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn count(value: &Value) -> i32 {
    value.as_i64().map_or(0, int)
}

/// A ReplicaSet, from its raw JSON.
pub fn replica_set(object: &DynamicObject) -> ReplicaSetFacts {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let containers = spec.pointer("/template/spec/containers").and_then(Value::as_array);
    let digest = digest(&spec["template"]);
    ReplicaSetFacts {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        deleting: object.metadata.deletion_timestamp.is_some(),
        owner: controller(object.owner_references()),
        hash: object.labels().get(POD_TEMPLATE_HASH).cloned().unwrap_or_default(),
        revision: revision::name(&digest),
        digest,
        replicas: spec["replicas"].as_i64().map_or(1, int),
        current: count(&status["replicas"]),
        created_at: created(object),
        images: containers
            .into_iter()
            .flatten()
            .filter_map(|container| container["image"].as_str().map(|image| visible::line(image).into_owned()))
            .collect(),
    }
}
