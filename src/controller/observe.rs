//! Objects, reduced to the facts that decisions read.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{ContainerStatus, Pod, Service, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{POD_TEMPLATE_HASH, Rollout, RolloutSpec, RolloutStatus},
    core::{
        revision::revision,
        snapshot::{
            DeploymentFacts, DeploymentStatusFacts, Expression, PodFacts, ReplicaSetFacts, Rival, RolloutFacts, Selector, ServiceFacts,
            SessionAffinity,
        },
    },
};

use super::store::fact;

/// A Rollout, with the version and the status that the API server has.
#[derive(Clone, Debug)]
pub struct RolloutSeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub facts: RolloutFacts,
    pub finalizers: Vec<String>,
    pub status: Option<RolloutStatus>,
}

/// One EndpointSlice: its Service, and the pods behind its ready endpoints.
#[derive(Clone, Debug)]
pub struct SliceSeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub service: String,
    pub ready: Vec<String>,
}

/// A policy of the namespace or of the cluster.
#[derive(Clone, Debug)]
pub struct PolicySeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub spec: Arc<crate::api::PolicySpec>,
}

fact!(RolloutSeen, SliceSeen, PolicySeen);

impl RolloutSeen {
    /// What the other Rollouts of its namespace have to know of it.
    pub fn rival(&self) -> Rival {
        let RolloutFacts { name, uid, created_at, spec, .. } = self.facts.clone();
        let deployments = spec.workload.deployments().map(str::to_owned).collect();
        Rival { name, uid, created_at, deployments, services: spec.held_services().cloned().collect() }
    }
}

fn version<K: kube::Resource>(object: &K) -> String {
    object.meta().resource_version.clone().unwrap_or_default()
}

fn created<K: kube::Resource>(object: &K) -> Timestamp {
    object.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn controller(owners: &[OwnerReference]) -> Option<String> {
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

/// A Rollout.
pub fn rollout(object: &Rollout) -> RolloutSeen {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let spec: RolloutSpec = object.spec.clone();
    RolloutSeen {
        resource_version: version(object),
        facts: RolloutFacts {
            name: name.clone(),
            namespace: object.namespace().unwrap_or_default(),
            uid: uid.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            created_at: created(object),
            deleting: object.metadata.deletion_timestamp.is_some(),
            has_finalizer: object.finalizers().iter().any(|finalizer| finalizer == crate::api::FINALIZER),
            spec: Arc::new(spec),
        },
        finalizers: object.finalizers().to_vec(),
        status: object.status.clone(),
        name,
        uid,
    }
}

/// A Deployment, read from its raw JSON: typed structs would drop fields of its template that they do not know.
pub fn deployment(object: &DynamicObject) -> DeploymentFacts {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let template = spec["template"].clone();
    DeploymentFacts {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        generation: object.metadata.generation.unwrap_or_default(),
        observed_generation: status["observedGeneration"].as_i64().unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        labels: object.labels().clone(),
        paused: spec["paused"].as_bool().unwrap_or_default(),
        replicas: spec["replicas"].as_i64().map_or(1, int),
        selector: selector(&spec["selector"]),
        revision: revision(&template),
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
    ReplicaSetFacts {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        deleting: object.metadata.deletion_timestamp.is_some(),
        owner: controller(object.owner_references()),
        hash: object.labels().get(POD_TEMPLATE_HASH).cloned().unwrap_or_default(),
        revision: revision(&spec["template"]),
        replicas: spec["replicas"].as_i64().map_or(1, int),
        current: count(&status["replicas"]),
        created_at: created(object),
        images: containers.into_iter().flatten().filter_map(|container| container["image"].as_str().map(str::to_owned)).collect(),
    }
}

/// A pod, seen `now`. `known` is what was known of it before: that it was ready once is not forgotten, nor since when it is ending.
pub fn pod(object: &Pod, known: Option<&PodFacts>, now: Timestamp) -> PodFacts {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let uid = object.uid().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition.type_ == "Ready");
    let ready = condition.is_some_and(|condition| condition.status == "True");
    let containers_ready = conditions.iter().any(|condition| condition.type_ == "ContainersReady" && condition.status == "True");
    let node_lost = condition.is_some() && !ready && containers_ready && spec.readiness_gates.as_ref().is_none_or(Vec::is_empty);
    let ready_since = condition.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
    // A pod that is not ready and was not watched from its start: its Ready condition changed after its containers had started, so it
    // was ready in between (times are whole seconds).
    let started =
        containers.iter().filter_map(|container| container.state.as_ref()?.running.as_ref()?.started_at.as_ref()).map(|time| time.0).max();
    let lost = !ready && started.is_some_and(|started| ready_since.is_some_and(|since| since > started));
    let known = known.filter(|known| known.uid == uid);
    let was_ready = ready || lost || known.is_some_and(|known| known.was_ready);
    let deleting_since = object.metadata.deletion_timestamp.as_ref().map(|_| known.and_then(|known| known.deleting_since).unwrap_or(now));
    let phase = status.phase.unwrap_or_default();
    let named = |port: &k8s_openapi::api::core::v1::ContainerPort| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?));
    let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    PodFacts {
        name: object.name_any(),
        resource_version: version(object),
        labels: object.labels().clone(),
        owner: controller(object.owner_references()),
        deleting_since,
        finished: matches!(phase.as_str(), "Failed" | "Succeeded"),
        ready,
        ready_since,
        was_ready,
        node_lost,
        last_restart: containers
            .iter()
            .filter_map(|container| container.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
            .map(|time| time.0)
            .max(),
        trouble: if node_lost { Some("its node does not answer".into()) } else { trouble(&containers, &conditions) },
        ip: status.pod_ip,
        ports: spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten()).filter_map(named).collect(),
        host_network: spec.host_network.unwrap_or_default(),
        node: spec.node_name,
        uid,
    }
}

/// What keeps a pod from running, in the kubelet's or the scheduler's words.
fn trouble(containers: &[ContainerStatus], conditions: &[k8s_openapi::api::core::v1::PodCondition]) -> Option<String> {
    let waiting = containers.iter().filter_map(|container| container.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
        let reason = waiting.reason.clone().filter(|reason| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing"))?;
        Some(waiting.message.as_ref().map_or_else(|| reason.clone(), |message| format!("{reason}: {message}")))
    });
    let unscheduled = || {
        let condition = conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        Some(format!("{}: {}", condition.reason.as_deref().unwrap_or("Unschedulable"), condition.message.as_deref().unwrap_or_default()))
    };
    waiting.or_else(unscheduled)
}

/// A Service; its endpoints come from [`SliceSeen`].
pub fn service(object: &Service) -> ServiceFacts {
    let spec = object.spec.clone().unwrap_or_default();
    let policies = [("internalTrafficPolicy", &spec.internal_traffic_policy), ("externalTrafficPolicy", &spec.external_traffic_policy)];
    let local_traffic = policies.into_iter().find_map(|(field, policy)| (policy.as_deref() == Some("Local")).then_some(field));
    let affinity = session_affinity(&spec);
    let port = spec.ports.iter().flatten().map(|port| port.port).next();
    ServiceFacts {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        deleting: object.metadata.deletion_timestamp.is_some(),
        selector: spec.selector.unwrap_or_default(),
        affinity,
        external_name: spec.type_.as_deref() == Some("ExternalName"),
        headless: spec.cluster_ip.as_deref() == Some("None"),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
        local_traffic,
        port,
        endpoints: Vec::new(),
    }
}

/// The API server gives a time to every affinity by address that has none.
fn session_affinity(spec: &ServiceSpec) -> SessionAffinity {
    let seconds = || spec.session_affinity_config.as_ref()?.client_ip.as_ref()?.timeout_seconds;
    match spec.session_affinity.as_deref() {
        Some("ClientIP") => SessionAffinity::ClientIp(seconds().unwrap_or_default()),
        _ => SessionAffinity::Off,
    }
}

/// An EndpointSlice.
pub fn slice(object: &EndpointSlice) -> SliceSeen {
    let ready =
        object.endpoints.iter().filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true));
    SliceSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        service: object.labels().get("kubernetes.io/service-name").cloned().unwrap_or_default(),
        ready: ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.clone()).collect(),
    }
}

/// A Service with the endpoints that its slices, among those of the namespace, have. A dual-stack Service has a slice for each family, with
/// the same pods.
pub fn service_facts<'a>(service: &ServiceFacts, slices: impl Iterator<Item = &'a SliceSeen>) -> ServiceFacts {
    let endpoints: BTreeSet<&String> = slices.filter(|slice| slice.service == service.name).flat_map(|slice| &slice.ready).collect();
    ServiceFacts { endpoints: endpoints.into_iter().cloned().collect(), ..service.clone() }
}

/// A policy of either kind.
pub fn policy<K: kube::Resource>(object: &K, spec: &crate::api::PolicySpec) -> PolicySeen {
    PolicySeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        spec: Arc::new(spec.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(ready: &str, containers: &str) -> PodFacts {
        let object = serde_json::from_value(json!({
            "metadata": {"name": "hello-1", "uid": "1"},
            "status": {"conditions": [{"type": "ContainersReady", "status": containers}, {"type": "Ready", "status": ready}]},
        }));
        pod(&object.expect("a pod"), None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_pod_is_lost_with_its_node_where_the_kubelet_has_not_said_that_it_is_unready() {
        for (ready, containers, expected) in [("True", "True", false), ("False", "False", false), ("False", "True", true)] {
            assert_eq!(seen(ready, containers).node_lost, expected, "Ready={ready} ContainersReady={containers}");
        }
    }
}
