//! What must be gone once nothing is being released.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    objects::{HELLO, Kind, World, annotations, labels, text},
    timeline::Timeline,
};

/// Everything of ours, and everything that is no longer as its owner made it, one sentence each.
///
/// `paused` is what the Deployment may be: a rejected template stays held.
pub fn leftovers(timeline: &Timeline, paused: bool) -> Vec<String> {
    let world = &timeline.now;
    let mut found = Vec::new();
    for kind in Kind::ALL {
        for object in world.all(kind).filter(|object| object.pointer("/metadata/deletionTimestamp").is_none()) {
            let keys = labels(object).into_keys().chain(annotations(object).into_keys()).filter(|key| key.starts_with("stepgate.dev/"));
            found.extend(keys.map(|key| format!("{kind:?} {} carries {key}", text(object, "/metadata/name"))));
        }
    }
    for kind in [Kind::Deployment, Kind::Service] {
        let names: BTreeSet<&str> = world.all(kind).map(|object| text(object, "/metadata/name")).collect();
        let ours = names.iter().filter(|name| **name != HELLO && !is_scenarios(timeline, kind, name));
        found.extend(ours.map(|name| format!("{kind:?} {name} is still there")));
    }
    for replica_set in world.all(Kind::ReplicaSet) {
        let (name, owner) = (text(replica_set, "/metadata/name"), text(replica_set, "/metadata/ownerReferences/0/name"));
        if owner != HELLO {
            found.push(format!("ReplicaSet {name} belongs to {owner:?}"));
        }
    }
    found.extend(pods(world));
    found.extend(changed(timeline, paused));
    found
}

/// Whether the scenario made the object.
fn is_scenarios(timeline: &Timeline, kind: Kind, name: &str) -> bool {
    timeline.first(kind, name).is_some_and(|object| labels(object).contains_key("e2e"))
}

fn pods(world: &World) -> Vec<String> {
    let pods: Vec<&Value> = world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).collect();
    let mut found = Vec::new();
    let hashes: BTreeSet<String> = pods.iter().filter_map(|pod| labels(pod).remove(stepgate::api::POD_TEMPLATE_HASH)).collect();
    if hashes.len() > 1 {
        found.push(format!("pods of {} revisions run: {hashes:?}", hashes.len()));
    }
    if pods.len() != world.size(HELLO) {
        found.push(format!("{} pods run, {} are asked for", pods.len(), world.size(HELLO)));
    }
    found
}

/// The user's Deployment and Service against what they were when they were created.
fn changed(timeline: &Timeline, paused: bool) -> Vec<String> {
    let mut found = Vec::new();
    for kind in [Kind::Deployment, Kind::Service] {
        let (Some(first), Some(last)) = (timeline.first(kind, HELLO), timeline.now.get(kind, HELLO)) else { continue };
        let (mut before, mut after) = (owned(first), owned(last));
        if kind == Kind::Deployment {
            // The scenario changes template and size itself.
            let is_paused = after["spec"]["paused"] == json!(true);
            if is_paused && !paused {
                found.push("Deployment hello is paused".into());
            }
            for object in [&mut before, &mut after] {
                let spec = object["spec"].as_object_mut().expect("a Deployment has a spec");
                spec.retain(|key, _| !matches!(key.as_str(), "template" | "replicas" | "paused"));
            }
        }
        if before != after {
            let (before, after) = (before.to_string(), after.to_string());
            found.push(format!("{kind:?} hello is not as its owner made it:\n    was {before}\n    is  {after}"));
        }
    }
    found
}

/// Spec, labels and annotations without what Kubernetes and kubectl note there for themselves.
fn owned(object: &Value) -> Value {
    let foreign = |key: &String| {
        key.starts_with("deployment.kubernetes.io/") || key.starts_with("kubectl.kubernetes.io/") || key.starts_with("stepgate.dev/")
    };
    let mut annotations = annotations(object);
    annotations.retain(|key, _| !foreign(key));
    json!({"spec": object.get("spec"), "labels": labels(object), "annotations": annotations})
}
