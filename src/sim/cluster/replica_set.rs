//! The `ReplicaSet` controller: pods of a template, as many as asked for; the least useful go first.

use std::{cmp::Reverse, time::Duration};

use serde_json::{Value, json};

use crate::sim::{
    clock::{after, seconds},
    json,
    server::{DeleteOptions, call::Part, problem::Problem, selector::Labels, store::Key},
};

use super::{Context, Id, Task, owner_reference};

const ME: &str = "replicaset-controller";

/// Most pods made or removed in one go.
const BURST: usize = 500;

/// Looks at a `ReplicaSet` and makes its pods come true.
pub(in crate::sim) fn sync(context: &mut Context<'_>, id: &Id) -> Result<(), Problem> {
    let Some(set) = context.api.get("replicasets.apps", &id.namespace, &id.name) else { return Ok(()) };
    let set = (**set).clone();
    let pods = claim(context, &set)?;
    let (active, terminating): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(is_active);
    let managed = if json::deleting(&set) { Ok(()) } else { manage(context, &set, &active) };
    let status = status(context, &set, &active, &terminating, managed.as_ref().err());
    if status != set["status"] {
        let mut next = set.clone();
        next["status"] = status.clone();
        context.put(ME, next, Part::Status)?;
    }
    managed?;
    look_again(context, &set, &status, &active);
    Ok(())
}

fn is_active(pod: &Value) -> bool {
    !json::deleting(pod) && !matches!(json::text(pod, "/status/phase"), "Failed" | "Succeeded")
}

/// Its own pods, terminating ones included. Matching orphans are adopted; its own that match no more are let go.
fn claim(context: &mut Context<'_>, set: &Value) -> Result<Vec<Value>, Problem> {
    let selector = set.pointer("/spec/selector").map(Labels::of_selector).unwrap_or_default();
    let uid = json::uid(set);
    let concerns = |pod: &Value| json::controller(pod).map_or_else(|| selector.matches(pod), |owner| json::text(owner, "/uid") == uid);
    let found: Vec<Value> = context.api.list("pods", json::namespace(set)).filter(|pod| concerns(pod)).map(|pod| (**pod).clone()).collect();
    let mut own = Vec::new();
    for mut pod in found {
        let matches = selector.matches(&pod);
        match json::controller(&pod).map(|owner| json::text(owner, "/uid") == uid) {
            Some(true) if matches => own.push(pod),
            Some(true) if is_active(&pod) && !json::deleting(set) => {
                let others: Vec<Value> = json::items(&pod, "/metadata/ownerReferences")
                    .iter()
                    .filter(|owner| json::text(owner, "/uid") != uid)
                    .cloned()
                    .collect();
                json::set(&mut pod, "/metadata/ownerReferences", others);
                context.put(ME, pod, Part::Whole)?;
            }
            None if matches && is_active(&pod) && !json::deleting(set) => {
                let mut owners = json::items(&pod, "/metadata/ownerReferences").to_vec();
                owners.push(owner_reference(set));
                json::set(&mut pod, "/metadata/ownerReferences", owners);
                own.push(context.put(ME, pod, Part::Whole)?);
            }
            _ => {}
        }
    }
    Ok(own)
}

fn manage(context: &mut Context<'_>, set: &Value, active: &[Value]) -> Result<(), Problem> {
    let wanted = usize::try_from(json::int(set, "/spec/replicas")).unwrap_or(0);
    for _ in 0..wanted.saturating_sub(active.len()).min(BURST) {
        let mut pod = set.pointer("/spec/template").cloned().unwrap_or_default();
        json::set(&mut pod, "/apiVersion", "v1");
        json::set(&mut pod, "/kind", "Pod");
        json::set(&mut pod, "/metadata/generateName", format!("{}-", json::name(set)));
        json::set(&mut pod, "/metadata/namespace", json::namespace(set));
        json::set(&mut pod, "/metadata/ownerReferences", json!([owner_reference(set)]));
        let mut call = context.call(ME);
        let pod = context.api.create(&mut call, pod)?;
        context.event(set, ME, "SuccessfulCreate", &format!("Created pod: {}", json::name(&pod)));
    }
    let surplus = active.len().saturating_sub(wanted).min(BURST);
    if surplus > 0 {
        for pod in ranked(active).into_iter().take(surplus) {
            let mut call = context.call(ME);
            let options = DeleteOptions { uid: json::uid(pod).into(), ..DeleteOptions::default() };
            match context.api.delete(&mut call, &Key::new("pods", json::namespace(pod), json::name(pod)), &options) {
                Err(problem) if problem.code != 404 => return Err(problem),
                _ => context.event(set, ME, "SuccessfulDelete", &format!("Deleted pod: {}", json::name(pod))),
            }
        }
    }
    Ok(())
}

/// Pods in the order in which they may go: without a node, not running, not ready, cheap by annotation, ready for a short time, restarted
/// often, young. (Real clusters compare ages by their logarithm and spread over nodes; with one node only the first matters, for old pods.)
fn ranked(active: &[Value]) -> Vec<&Value> {
    let mut pods: Vec<&Value> = active.iter().collect();
    pods.sort_by_cached_key(|pod| {
        let ready = is_ready(pod);
        let phase = match json::text(pod, "/status/phase") {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let cost: i64 = json::annotation(pod, "controller.kubernetes.io/pod-deletion-cost").and_then(|cost| cost.parse().ok()).unwrap_or(0);
        let since =
            json::condition(pod, "Ready").filter(|_| ready).map(|condition| json::text(condition, "/lastTransitionTime").to_owned());
        let restarts = json::items(pod, "/status/containerStatuses").iter().map(|container| json::int(container, "/restartCount")).max();
        (
            !json::text(pod, "/spec/nodeName").is_empty(),
            phase,
            ready,
            cost,
            Reverse(since),
            Reverse(restarts),
            Reverse(json::text(pod, "/metadata/creationTimestamp").to_owned()),
            json::uid(pod).to_owned(),
        )
    });
    pods
}

/// Whether its Ready condition is true.
pub fn is_ready(pod: &Value) -> bool {
    json::condition(pod, "Ready").is_some_and(|condition| json::text(condition, "/status") == "True")
}

/// When a ready pod is available; nothing for one that is not ready.
fn available_at(pod: &Value, min_ready: i64) -> Option<jiff::Timestamp> {
    let since = json::time(json::condition(pod, "Ready").filter(|_| is_ready(pod))?, "/lastTransitionTime")?;
    Some(after(since, Duration::from_secs(u64::try_from(min_ready).unwrap_or(0))))
}

fn status(context: &Context<'_>, set: &Value, active: &[Value], terminating: &[Value], failure: Option<&Problem>) -> Value {
    let min_ready = json::int(set, "/spec/minReadySeconds");
    let labels = json::fields(set, "/spec/template/metadata/labels").map(Labels::of_map).unwrap_or_default();
    let terminating = terminating.iter().filter(|pod| json::deleting(pod)).count();
    let mut status = json!({ "replicas": active.len(), "terminatingReplicas": terminating });
    for (field, count) in [
        ("fullyLabeledReplicas", active.iter().filter(|pod| labels.matches(pod)).count()),
        ("readyReplicas", active.iter().filter(|pod| is_ready(pod)).count()),
        ("availableReplicas", active.iter().filter(|pod| available_at(pod, min_ready).is_some_and(|at| at <= context.now)).count()),
    ] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    let observed = json::int(set, "/metadata/generation");
    status["observedGeneration"] = observed.into();
    match (failure, json::condition(set, "ReplicaFailure")) {
        (Some(_), Some(known)) => status["conditions"] = json!([known]),
        (Some(problem), None) => {
            let missing = active.len() < usize::try_from(json::int(set, "/spec/replicas")).unwrap_or(0);
            status["conditions"] = json!([{
                "type": "ReplicaFailure", "status": "True", "reason": if missing { "FailedCreate" } else { "FailedDelete" },
                "message": problem.message, "lastTransitionTime": seconds(context.now),
            }]);
        }
        (None, _) => {}
    }
    status
}

fn look_again(context: &mut Context<'_>, set: &Value, status: &Value, active: &[Value]) {
    let min_ready = json::int(set, "/spec/minReadySeconds");
    let next = active.iter().filter_map(|pod| available_at(pod, min_ready)).filter(|at| *at > context.now).min();
    if let Some(at) = next.filter(|_| min_ready > 0 && status["readyReplicas"] != status["availableReplicas"]) {
        context.agenda.plan(at, Task::ReplicaSet(Id::of(set)));
    }
}
