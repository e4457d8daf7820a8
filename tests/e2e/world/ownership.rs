//! Who wrote which field, from `metadata.managedFields`.

use std::{collections::BTreeMap, time::Instant};

use serde_json::Value;

use super::{
    invariant::Moment,
    objects::{Kind, text},
};

/// Field managers of the controller begin with this.
const MANAGER: &str = "stepgate";
/// That of the command line, by which users write.
const COMMANDS: &str = "stepgate-cli";

/// What the controller may own of an object that isn't its own, as paths in managed-field notation; a path covers all below it.
fn allowed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Deployment => &[
            "f:spec/f:paused",
            "f:spec/f:replicas",
            "f:spec/f:strategy/f:rollingUpdate/f:maxSurge",
            "f:metadata/f:labels/f:stepgate.dev/handover",
            "f:metadata/f:labels/f:stepgate.dev/held",
        ],
        Kind::Service => &[
            "f:spec/f:selector/f:pod-template-hash",
            "f:spec/f:selector/f:stepgate.dev/rotation",
            "f:spec/f:sessionAffinity",
            "f:spec/f:sessionAffinityConfig",
        ],
        Kind::Pod => &["f:metadata/f:labels/f:stepgate.dev/rotation"],
        Kind::ReplicaSet => &["f:metadata/f:ownerReferences", "f:metadata/f:annotations/f:deployment.kubernetes.io", "f:spec/f:replicas"],
        Kind::Rollout => &["f:status", "f:metadata/f:finalizers"],
        Kind::EndpointSlice => &[],
    }
}

/// The same of a declared pair, where it is something else.
fn allowed_of_versions(kind: Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Deployment => Some(&["f:spec/f:replicas"]),
        Kind::Service => Some(&[
            "f:spec/f:selector/f:version",
            "f:spec/f:selector/f:stepgate.dev/rotation",
            "f:spec/f:sessionAffinity",
            "f:spec/f:sessionAffinityConfig",
        ]),
        Kind::Rollout | Kind::ReplicaSet | Kind::Pod | Kind::EndpointSlice => None,
    }
}

// design §8.5
pub(super) fn foreign_field(moment: &Moment) -> Option<String> {
    let object = moment.change.object.as_deref()?;
    if object.pointer("/metadata/labels").and_then(|labels| labels.get(stepgate::api::ROLLOUT_UID)).is_some() {
        return None;
    }
    let owned = ours(object).flat_map(|entry| entry.get("fieldsV1").map(leaves).unwrap_or_default());
    let of_versions = moment.declared.then(|| allowed_of_versions(moment.change.kind)).flatten();
    let allowed = of_versions.unwrap_or_else(|| allowed(moment.change.kind));
    let foreign: Vec<String> =
        owned.filter(|path| !allowed.iter().any(|allowed| path.starts_with(allowed)) && !is_container(path)).collect();
    (!foreign.is_empty()).then(|| format!("{:?} {}: {}", moment.change.kind, moment.change.name, foreign.join(", ")))
}

/// A write by the controller that leaves everything but its own bookkeeping as it was.
pub(super) fn pointless_write(moment: &Moment) -> Option<String> {
    let after = moment.change.object.as_deref()?;
    let before = moment.before.get(moment.change.kind, &moment.change.name)?;
    (is_ours(before, after) && bare(before) == bare(after)).then(|| format!("{:?} {}", moment.change.kind, moment.change.name))
}

/// Whether the controller made this write, as far as times of whole seconds can tell: somebody else's may take an entry of ours away, but
/// does not make one younger.
fn is_ours(before: &Value, after: &Value) -> bool {
    let latest = |object: &Value| ours(object).map(|entry| text(entry, "/time").to_owned()).max();
    latest(after) > latest(before)
}

/// How often one release may bring one object into one state: a Service is opened for a step, for a shelter or two, and at the end.
const OFTEN: usize = 6;

/// States that the controller writes more than so often in one release. Somebody else who writes too, again and again, is no excuse while
/// the admission policies act.
pub(super) fn loops(moments: &[Moment]) -> Vec<(Instant, String)> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for moment in moments.iter().filter(|moment| matches!(moment.change.kind, Kind::Service | Kind::Deployment | Kind::ReplicaSet)) {
        let Some(after) = moment.change.object.as_deref() else { continue };
        let Some(before) = moment.before.get(moment.change.kind, &moment.change.name) else { continue };
        let Some(release) = moment.status.release.as_ref().map(|release| release.started_at) else { continue };
        if before.get("spec") == after.get("spec") || !is_ours(before, after) {
            continue;
        }
        let state = after.get("spec").map(Value::to_string).unwrap_or_default();
        let count = counts.entry((release, moment.change.kind, moment.change.name.clone(), state)).or_default();
        *count += 1;
        if *count == OFTEN + 1 {
            found.push((moment.change.at, format!("{:?} {} for the {count}th time in a release", moment.change.kind, moment.change.name)));
        }
    }
    found
}

fn ours(object: &Value) -> impl Iterator<Item = &Value> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    entries.filter(|entry| text(entry, "/manager").starts_with(MANAGER) && text(entry, "/manager") != COMMANDS)
}

/// The object without what every write changes.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    object
}

/// Empty containers above allowed fields that stay owned after the fields have gone.
fn is_container(path: &str) -> bool {
    matches!(
        path,
        "f:metadata/f:labels"
            | "f:metadata/f:annotations"
            | "f:metadata/f:finalizers"
            | "f:spec/f:selector"
            | "f:spec/f:strategy/f:rollingUpdate"
    )
}

/// The paths of a `fieldsV1` tree that have nothing below them.
fn leaves(fields: &Value) -> Vec<String> {
    let Some(fields) = fields.as_object() else { return Vec::new() };
    let below = |(key, value): (&String, &Value)| {
        let leaves = leaves(value);
        if leaves.is_empty() { vec![key.clone()] } else { leaves.into_iter().map(|leaf| format!("{key}/{leaf}")).collect() }
    };
    fields.iter().filter(|(key, _)| *key != ".").flat_map(below).collect()
}
