//! What must be gone once nothing is being released.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stepgate::api::HELD;

use super::{
    objects::{HELLO, Kind, VERSION, World, annotations, labels, text, versions},
    timeline::Timeline,
};

/// Everything of ours, and everything that is no longer as its owner made it, one sentence each.
///
/// `paused` is what the Deployment may be: a rejected template stays held.
pub fn leftovers(timeline: &Timeline, paused: bool) -> Vec<String> {
    let world = &timeline.now;
    let versions = timeline.first(Kind::Rollout, HELLO).map(versions).unwrap_or_default();
    let is_users = |name: &str| if versions.is_empty() { name == HELLO } else { versions.iter().any(|version| version == name) };
    let mut found = Vec::new();
    for kind in Kind::ALL {
        for object in world.all(kind).filter(|object| object.pointer("/metadata/deletionTimestamp").is_none()) {
            let held = kind == Kind::Deployment && object.pointer("/spec/paused") == Some(&Value::Bool(true));
            let ours = |key: &String| key.starts_with("stepgate.dev/") && !(held && key == HELD);
            let keys = labels(object).into_keys().chain(annotations(object).into_keys()).filter(ours);
            found.extend(keys.map(|key| format!("{kind:?} {} carries {key}", text(object, "/metadata/name"))));
        }
    }
    for kind in [Kind::Deployment, Kind::Service] {
        let names: BTreeSet<&str> = world.all(kind).map(|object| text(object, "/metadata/name")).collect();
        let ours = names.iter().filter(|name| **name != HELLO && !is_users(name) && !is_scenarios(timeline, kind, name));
        found.extend(ours.map(|name| format!("{kind:?} {name} is still there")));
    }
    for replica_set in world.all(Kind::ReplicaSet) {
        let (name, owner) = (text(replica_set, "/metadata/name"), text(replica_set, "/metadata/ownerReferences/0/name"));
        if !is_users(owner) {
            found.push(format!("ReplicaSet {name} belongs to {owner:?}"));
        }
    }
    found.extend(pods(world, &versions));
    if versions.is_empty() {
        found.extend(changed(timeline, Kind::Deployment, HELLO, paused));
    }
    found.extend(versions.iter().flat_map(|version| changed(timeline, Kind::Deployment, version, false)));
    found.extend(changed(timeline, Kind::Service, HELLO, false));
    found.extend(shown(timeline));
    found.extend(misled(world));
    found
}

/// What is left of ours on the preview, which a scenario may have made anew. Of a declared pair the version stays in its selector.
fn shown(timeline: &Timeline) -> Option<String> {
    let preview = text(timeline.first(Kind::Rollout, HELLO)?, "/spec/preview");
    let owners = |service: &Value| {
        let mut selector = service.pointer("/spec/selector").cloned().unwrap_or_default();
        selector.as_object_mut().map(|selector| selector.remove(VERSION));
        selector
    };
    let (before, after) = (owners(timeline.first(Kind::Service, preview)?), owners(timeline.now.get(Kind::Service, preview)?));
    (before != after).then(|| format!("Service {preview} selects {after}, its owner wrote {before}"))
}

/// Of a declared pair: at rest the Service names the live version.
fn misled(world: &World) -> Option<String> {
    let live = world.status(HELLO).stable.filter(|live| !live.name.is_empty())?;
    let (named, live) = (world.selector(HELLO).remove(VERSION), world.version(&live.name));
    (named != live && world.get(Kind::Service, HELLO).is_some()).then(|| format!("Service hello names {named:?}, and {live:?} is live"))
}

/// Whether the scenario made the object.
fn is_scenarios(timeline: &Timeline, kind: Kind, name: &str) -> bool {
    timeline.first(kind, name).is_some_and(|object| labels(object).contains_key("e2e"))
}

fn pods(world: &World, versions: &[String]) -> Vec<String> {
    let pods: Vec<&Value> = world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).collect();
    let mut found = Vec::new();
    let hashes: BTreeSet<String> = pods.iter().filter_map(|pod| labels(pod).remove(stepgate::api::POD_TEMPLATE_HASH)).collect();
    let asked = if versions.is_empty() { world.size(HELLO) } else { versions.iter().map(|version| world.size(version)).sum() };
    if versions.is_empty() && hashes.len() > 1 {
        found.push(format!("pods of {} revisions run: {hashes:?}", hashes.len()));
    }
    if pods.len() != asked {
        found.push(format!("{} pods run, {asked} are asked for", pods.len()));
    }
    found
}

/// One of the user's objects against what it was when it was created.
fn changed(timeline: &Timeline, kind: Kind, name: &str, paused: bool) -> Vec<String> {
    let mut found = Vec::new();
    let (Some(first), Some(last)) = (timeline.first(kind, name), timeline.now.get(kind, name)) else { return found };
    let (mut before, mut after) = (owned(first), owned(last));
    if after["spec"]["paused"] == json!(true) && !paused {
        found.push(format!("{kind:?} {name} is paused"));
    }
    for object in [&mut before, &mut after] {
        let spec = object["spec"].as_object_mut().expect("every Deployment and every Service has a spec");
        match kind {
            // The scenario changes template and size itself.
            Kind::Deployment => spec.retain(|key, _| !matches!(key.as_str(), "template" | "replicas" | "paused")),
            // Stepgate's, at rest too, where it is there at all: see `misled`.
            _ => drop(spec.get_mut("selector").and_then(|selector| selector.as_object_mut()?.remove(VERSION))),
        }
    }
    if before != after {
        let (before, after) = (before.to_string(), after.to_string());
        found.push(format!("{kind:?} {name} is not as its owner made it:\n    was {before}\n    is  {after}"));
    }
    found
}

/// Spec, labels and annotations without what Kubernetes and kubectl note there for themselves.
fn owned(object: &Value) -> Value {
    let foreign = |key: &String| {
        key.starts_with("deployment.kubernetes.io/") || key.starts_with("kubectl.kubernetes.io/") || key.starts_with("stepgate.dev/")
    };
    let (mut labels, mut annotations) = (labels(object), annotations(object));
    annotations.retain(|key, _| !foreign(key));
    labels.remove(HELD);
    json!({"spec": object.get("spec"), "labels": labels, "annotations": annotations})
}
