//! The objects of one namespace at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use stepgate::api::{POD_TEMPLATE_HASH, RolloutStatus};

/// The kinds that a release can touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Rollout,
    Deployment,
    ReplicaSet,
    Pod,
    Service,
    EndpointSlice,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Rollout, Self::Deployment, Self::ReplicaSet, Self::Pod, Self::Service, Self::EndpointSlice];
}

/// The name of the Deployment, of the Service and of the Rollout in every scenario.
pub const HELLO: &str = "hello";

/// The label that tells the versions of a declared pair apart.
pub const VERSION: &str = "version";

/// The Deployments of a declared pair, from its Rollout; none where Stepgate makes the canary.
pub fn versions(rollout: &Value) -> Vec<String> {
    let versions = rollout.pointer("/spec/workload/versions").and_then(Value::as_array);
    versions.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Whether a Rollout has no Services: a queue worker.
pub fn is_worker(rollout: &Value) -> bool {
    rollout.pointer("/spec/services").and_then(Value::as_array).is_some_and(Vec::is_empty)
}

/// All objects of the namespace at one moment.
#[derive(Clone, Debug, Default)]
pub struct World(BTreeMap<(Kind, String), Arc<Value>>);

impl World {
    pub fn put(&mut self, kind: Kind, name: &str, object: Option<Arc<Value>>) {
        match object {
            Some(object) => self.0.insert((kind, name.to_owned()), object),
            None => self.0.remove(&(kind, name.to_owned())),
        };
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.0.get(&(kind, name.to_owned())).map(AsRef::as_ref)
    }

    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |((of, _), _)| *of == kind).map(|(_, object)| object.as_ref())
    }

    /// The status of the Rollout `name`; empty where there is none.
    pub fn status(&self, name: &str) -> RolloutStatus {
        let status = self.get(Kind::Rollout, name).and_then(|rollout| rollout.get("status"));
        status.map(|status| serde_json::from_value(status.clone()).expect("a status of our own form")).unwrap_or_default()
    }

    /// What the pods of a version have as the version label.
    pub fn version(&self, deployment: &str) -> Option<String> {
        let labels = self.get(Kind::Deployment, deployment)?.pointer("/spec/template/metadata/labels")?;
        labels.get(VERSION)?.as_str().map(str::to_owned)
    }

    /// Replicas that the Deployment asks for.
    pub fn size(&self, deployment: &str) -> usize {
        let deployment = self.get(Kind::Deployment, deployment);
        deployment.and_then(|object| object.pointer("/spec/replicas")?.as_u64()).and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
    }

    /// Names of the ready pods with these labels that are not being deleted.
    pub fn ready_pods(&self, selector: &BTreeMap<String, String>) -> BTreeSet<String> {
        self.live_pods(selector).filter(|pod| is_ready(pod)).map(|pod| text(pod, "/metadata/name").to_owned()).collect()
    }

    /// The pods with these labels that are not being deleted and have not ended.
    pub fn live_pods(&self, selector: &BTreeMap<String, String>) -> impl Iterator<Item = &Value> {
        self.all(Kind::Pod).filter(move |pod| {
            let labels = labels(pod);
            let ended = matches!(text(pod, "/status/phase"), "Failed" | "Succeeded");
            pod.pointer("/metadata/deletionTimestamp").is_none()
                && !ended
                && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        })
    }

    /// The selector of a Service.
    pub fn selector(&self, service: &str) -> BTreeMap<String, String> {
        self.get(Kind::Service, service).map(|service| strings(service.pointer("/spec/selector"))).unwrap_or_default()
    }

    /// Names of the pods that clients reach through every port of the Service: those that its `EndpointSlice`s call ready, in slices that
    /// have the port. A pod that lacks one of them stands in a slice without it.
    pub fn endpoints(&self, service: &str) -> BTreeSet<String> {
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let slices: Vec<(Vec<String>, BTreeSet<String>)> = self
            .all(Kind::EndpointSlice)
            .filter(|slice| labels(slice).get("kubernetes.io/service-name").is_some_and(|name| name == service))
            .map(|slice| {
                let endpoints = list(slice.get("endpoints"));
                let ready = endpoints.iter().filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)));
                let pods = ready.filter_map(|endpoint| endpoint.pointer("/targetRef/name")?.as_str()).map(str::to_owned).collect();
                (list(slice.get("ports")).iter().map(name).collect(), pods)
            })
            .collect();
        let ports = self.get(Kind::Service, service).map(|service| list(service.pointer("/spec/ports"))).unwrap_or_default();
        let all: BTreeSet<String> = slices.iter().flat_map(|(_, pods)| pods.clone()).collect();
        ports.iter().map(name).fold(all, |reached, port| {
            let behind: BTreeSet<&String> = slices.iter().filter(|(ports, _)| ports.contains(&port)).flat_map(|(_, pods)| pods).collect();
            reached.into_iter().filter(|pod| behind.contains(pod)).collect()
        })
    }

    /// The `pod-template-hash` of a pod.
    pub fn hash(&self, pod: &str) -> Option<String> {
        labels(self.get(Kind::Pod, pod)?).remove(POD_TEMPLATE_HASH)
    }

    /// The template that a pod was made from, without its hash, while its `ReplicaSet` is still there.
    pub fn template(&self, pod: &Value) -> Option<Value> {
        let owner = text(pod, "/metadata/ownerReferences/0/name");
        let mut template = self.get(Kind::ReplicaSet, owner)?.pointer("/spec/template")?.clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(POD_TEMPLATE_HASH);
        }
        Some(template)
    }
}

/// Whether the kubelet calls the pod ready.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True"))
}

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The object's labels.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    strings(object.pointer("/metadata/labels"))
}

/// The object's annotations.
pub fn annotations(object: &Value) -> BTreeMap<String, String> {
    strings(object.pointer("/metadata/annotations"))
}

fn strings(map: Option<&Value>) -> BTreeMap<String, String> {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
