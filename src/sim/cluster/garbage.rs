//! The garbage collector: what has no owner left goes, what must outlive its owner is let go, what is emptied first is emptied.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use crate::sim::{
    json,
    server::{DeleteOptions, call::Part, problem::Problem, store::Key},
};

use super::Context;

const ME: &str = "generic-garbage-collector";

/// Goes through all objects once. Every write wakes it again, so that chains unwind a link at a time.
pub(in crate::sim) fn collect(context: &mut Context<'_>) -> Result<(), Problem> {
    let all = all_objects(context);
    let living: BTreeSet<&str> = all.iter().map(|(_, object)| json::uid(object)).collect();
    let emptying: BTreeSet<&str> = all
        .iter()
        .filter(|(_, object)| json::deleting(object) && has_finalizer(object, "foregroundDeletion"))
        .map(|(_, object)| json::uid(object))
        .collect();
    for (key, object) in &all {
        let owners = json::items(object, "/metadata/ownerReferences");
        if !owners.is_empty() && !json::deleting(object) {
            judge(context, key, object, &living, &emptying)?;
        }
        if json::deleting(object) && has_finalizer(object, "orphan") {
            for (_, dependent) in dependents(&all, object) {
                without_owner(context, dependent, |owner| json::text(owner, "/uid") == json::uid(object))?;
            }
            without_finalizer(context, object, "orphan")?;
        }
        let blocked = || dependents(&all, object).any(|(_, dependent)| blocks(dependent, json::uid(object)));
        if emptying.contains(json::uid(object)) && !blocked() {
            without_finalizer(context, object, "foregroundDeletion")?;
        }
    }
    Ok(())
}

fn judge(context: &mut Context<'_>, key: &Key, object: &Value, living: &BTreeSet<&str>, emptying: &BTreeSet<&str>) -> Result<(), Problem> {
    let owners = json::items(object, "/metadata/ownerReferences");
    let state = |owner: &Value| (living.contains(json::text(owner, "/uid")), emptying.contains(json::text(owner, "/uid")));
    let solid = owners.iter().any(|owner| state(owner) == (true, false));
    let emptied = owners.iter().any(|owner| state(owner) == (true, true));
    let dangling = owners.iter().any(|owner| !state(owner).0);
    if solid {
        if dangling || emptied {
            without_owner(context, object, |owner| state(owner) != (true, false))?;
        }
        return Ok(());
    }
    let options = DeleteOptions {
        uid: json::uid(object).into(),
        resource_version: json::text(object, "/metadata/resourceVersion").into(),
        propagation: if emptied { "Foreground" } else { "Background" }.into(),
        grace: None,
    };
    let mut call = context.call(ME);
    tolerate(context.api.delete(&mut call, key, &options).map(drop))
}

/// Empties a namespace that is being deleted, then lets it go.
pub(in crate::sim) fn empty(context: &mut Context<'_>, namespace: &str) -> Result<(), Problem> {
    let Some(home) = context.api.get("namespaces", "", namespace).filter(|home| json::deleting(home)).map(|home| (**home).clone()) else {
        return Ok(());
    };
    let inside: Vec<Key> = all_objects(context).into_iter().filter(|(key, _)| key.namespace == namespace).map(|(key, _)| key).collect();
    if inside.is_empty() {
        return without_finalizer(context, &home, "kubernetes");
    }
    for key in inside {
        let mut call = context.call("namespace-controller");
        tolerate(context.api.delete(&mut call, &key, &DeleteOptions::default()).map(drop))?;
    }
    context.later(std::time::Duration::from_millis(500), super::Task::Namespace(namespace.into()));
    Ok(())
}

fn all_objects(context: &Context<'_>) -> Vec<(Key, Arc<Value>)> {
    let resources: BTreeSet<String> = context.api.kinds().all().map(|kind| kind.stored_as()).collect();
    resources
        .iter()
        .flat_map(|resource| context.api.store().list(resource, ""))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}

fn dependents<'a>(all: &'a [(Key, Arc<Value>)], owner: &'a Value) -> impl Iterator<Item = &'a (Key, Arc<Value>)> {
    all.iter().filter(|(_, object)| {
        json::items(object, "/metadata/ownerReferences").iter().any(|reference| json::text(reference, "/uid") == json::uid(owner))
    })
}

fn blocks(dependent: &Value, owner: &str) -> bool {
    json::items(dependent, "/metadata/ownerReferences")
        .iter()
        .any(|reference| json::text(reference, "/uid") == owner && json::flag(reference, "/blockOwnerDeletion"))
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    json::items(object, "/metadata/finalizers").iter().any(|known| known == finalizer)
}

fn without_owner(context: &mut Context<'_>, object: &Value, gone: impl Fn(&Value) -> bool) -> Result<(), Problem> {
    let mut next = object.clone();
    let kept: Vec<Value> = json::items(object, "/metadata/ownerReferences").iter().filter(|owner| !gone(owner)).cloned().collect();
    json::set(&mut next, "/metadata/ownerReferences", kept);
    tolerate(context.put(ME, next, Part::Whole).map(drop))
}

fn without_finalizer(context: &mut Context<'_>, object: &Value, finalizer: &str) -> Result<(), Problem> {
    let mut next = object.clone();
    let kept: Vec<Value> = json::items(object, "/metadata/finalizers").iter().filter(|known| *known != finalizer).cloned().collect();
    json::set(&mut next, "/metadata/finalizers", kept);
    tolerate(context.put(ME, next, Part::Whole).map(drop))
}

/// Somebody was faster: the next pass sees what they did.
fn tolerate(result: Result<(), Problem>) -> Result<(), Problem> {
    result.or_else(|problem| if matches!(problem.code, 404 | 409) { Ok(()) } else { Err(problem) })
}
