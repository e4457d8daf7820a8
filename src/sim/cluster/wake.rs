//! Whom a change concerns: from an entry of the log to tasks.

use serde_json::Value;

use super::{Agenda, Id, Task, Timing, slice::SERVICE_NAME};
use crate::sim::{
    clock::after,
    json,
    seed::Seed,
    server::{ApiServer, selector::Labels, store::Entry},
};

/// Plans what follows from a change.
pub(in crate::sim) fn wake(api: &ApiServer, entry: &Entry, agenda: &mut Agenda, timing: &Timing, seed: &mut Seed) {
    let mut plan = |task: Task| {
        let delay = match &task {
            Task::Slice(_) => timing.slice,
            Task::Proxy(_) => timing.proxy,
            Task::Collect | Task::Namespace(_) => timing.collector,
            Task::Pod(_) => (std::time::Duration::ZERO, std::time::Duration::ZERO),
            Task::Deployment(_) | Task::ReplicaSet(_) => timing.controller,
        };
        agenda.plan(after(entry.at, seed.between(delay)), task);
    };
    let (before, after) = (entry.before.as_deref(), entry.after.as_deref());
    let states: Vec<&Value> = before.into_iter().chain(after).collect();
    let id = Id::new(&entry.key.namespace, &entry.key.name);
    match &*entry.key.resource {
        "deployments.apps" => plan(Task::Deployment(id)),
        "replicasets.apps" => {
            for deployment in owners_or_matching(api, "deployments.apps", &states) {
                plan(Task::Deployment(deployment));
            }
            plan(Task::ReplicaSet(id));
        }
        "pods" => {
            for set in owners_or_matching(api, "replicasets.apps", &states) {
                plan(Task::ReplicaSet(set));
            }
            for service in api.list("services", &entry.key.namespace) {
                let selector = json::fields(service, "/spec/selector").filter(|selector| !selector.is_empty()).map(Labels::of_map);
                if selector.is_some_and(|selector| states.iter().any(|pod| selector.matches(pod))) {
                    plan(Task::Slice(Id::of(service)));
                }
            }
            if let Some(gone) = before.filter(|_| after.is_none()) {
                let set = api.list("replicasets.apps", &entry.key.namespace).find(|set| json::uid(set) == json::controller_uid(gone));
                for deployment in set.map(|set| owners_or_matching(api, "deployments.apps", &[&**set])).into_iter().flatten() {
                    plan(Task::Deployment(deployment));
                }
            }
            plan(Task::Pod(id));
        }
        "services" => {
            plan(Task::Slice(id.clone()));
            plan(Task::Proxy(id));
        }
        "endpointslices.discovery.k8s.io" => {
            for service in states.iter().filter_map(|slice| json::label(slice, SERVICE_NAME)) {
                let service = Id::new(&entry.key.namespace, service);
                plan(Task::Slice(service.clone()));
                plan(Task::Proxy(service));
            }
        }
        "namespaces" if after.is_some_and(json::deleting) => plan(Task::Namespace(id.name)),
        _ => {}
    }
    let owners =
        |object: Option<&Value>| object.map(|object| json::items(object, "/metadata/ownerReferences").to_vec()).unwrap_or_default();
    let newly_deleting = after.is_some_and(json::deleting) && !before.is_some_and(json::deleting);
    if after.is_none() || newly_deleting || owners(before) != owners(after) {
        plan(Task::Collect);
    }
}

/// The controllers of an object in any of its states; those that could adopt it while it has none.
fn owners_or_matching(api: &ApiServer, resource: &str, states: &[&Value]) -> Vec<Id> {
    let Some(namespace) = states.first().map(|object| json::namespace(object)) else { return Vec::new() };
    let concerns = |controller: &Value| {
        states.iter().any(|object| {
            if let Some(owner) = json::controller(object) {
                return json::text(owner, "/uid") == json::uid(controller);
            }
            let selector = controller.pointer("/spec/selector").map(Labels::of_selector).unwrap_or_default();
            !selector.is_empty() && selector.matches(object)
        })
    };
    api.list(resource, namespace).filter(|controller| concerns(controller)).map(|controller| Id::of(controller)).collect()
}
