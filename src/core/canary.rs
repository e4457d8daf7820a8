//! The canary Deployment: ours, beside the user's, for as long as a release lasts.

use serde_json::{Value, json};

use crate::api::{
    ROLLOUT_UID,
    policy::{CanaryReplicas, PolicySpec, SplitMode},
};

use super::{
    affinity,
    service_split::{Split, by_counts, by_rotation, nested},
    view::View,
};

/// The longest name of the canary: its pods append `-<hash>-<5 characters>` to it, and a pod's host name has at most 63.
const NAME_LENGTH: usize = 63 - 11 - 6;
/// Digits of the revision in the name.
const REVISION_DIGITS: usize = 6;

/// The name of the canary Deployment of a revision: `hello-3f9c1a`. A long Deployment name is cut.
pub fn name(deployment: &str, revision: &str) -> String {
    format!("{}-{}", stem(deployment), revision.get(..REVISION_DIGITS).unwrap_or(revision))
}

/// What the names of a Deployment's canaries begin with: its own name, as far as there is room for it.
pub fn stem(deployment: &str) -> &str {
    let room = NAME_LENGTH - 1 - REVISION_DIGITS;
    let end = deployment.char_indices().nth(room).map_or(deployment.len(), |(i, _)| i);
    deployment[..end].trim_end_matches(['-', '.'])
}

/// The canary's name, where a Deployment that is not ours has it.
pub fn name_taken(view: &View<'_>, revision: &str) -> Option<String> {
    let (name, uid) = (name(&view.hello.name, revision), &view.snapshot.rollout.uid);
    view.snapshot.deployments.iter().any(|other| other.name == name && other.labels.get(ROLLOUT_UID) != Some(uid)).then_some(name)
}

/// The canary Deployment: the user's selector, template and pace, byte for byte; none of the user's labels and annotations, because a GitOps
/// tool would take it for one of its own and prune it. Owned by the user's Deployment without being controlled by it.
pub fn body(view: &View<'_>, name: &str, replicas: i32) -> Value {
    let (hello, rollout) = (view.hello, &view.snapshot.rollout);
    let mut spec = json!({
        "replicas": replicas,
        "selector": hello.selector.raw,
        "template": *hello.template,
        "strategy": hello.strategy,
        "minReadySeconds": hello.min_ready_seconds,
    });
    if let Some(seconds) = hello.progress_deadline_seconds {
        spec["progressDeadlineSeconds"] = seconds.into();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": rollout.namespace,
            "labels": {ROLLOUT_UID: rollout.uid, "app.kubernetes.io/managed-by": "stepgate"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": hello.name, "uid": hello.uid}],
        },
        "spec": spec,
    })
}

/// How the Services give a weight, under a policy, with `size` pods a side.
///
/// Where clients are to keep their version, `split: Exact` gives no other numbers: it would take a pod out of the rotation again.
pub fn split(policy: &PolicySpec, weight: u8, size: i32) -> Split {
    let any_pods = policy.split == SplitMode::Resilient || affinity::seconds(policy).is_some();
    let by_weight = any_pods && policy.canary_replicas == CanaryReplicas::ByWeight;
    match weight {
        100.. => Split::All,
        ..=50 if by_weight => Split::Counts { canary: by_counts(weight, size) },
        _ => rotation(policy, weight, size),
    }
}

/// The rotation that gives a weight.
pub fn rotation(policy: &PolicySpec, weight: u8, size: i32) -> Split {
    let (canary, stable) = if affinity::seconds(policy).is_some() { nested(weight, size) } else { by_rotation(weight, size) };
    Split::Rotation { canary, stable }
}

/// Canary pods that a split needs: what it counts on, and from 50 % on a full side, so that the next step does not wait for pods.
pub fn size(policy: &PolicySpec, weight: u8, split: Split, size: i32) -> i32 {
    match (policy.canary_replicas, split) {
        (CanaryReplicas::ByWeight, Split::Counts { canary }) => canary,
        (CanaryReplicas::ByWeight, Split::Rotation { canary, .. }) if weight <= 50 => canary,
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leaves_room_for_the_suffixes_of_its_pods() {
        assert_eq!(name("hello", "3f9c1ab27d"), "hello-3f9c1a");
        let long = name(&"x".repeat(80), "3f9c1ab27d");
        assert!(format!("{long}-5d4f8c7b9d-abcde").len() <= 63, "{long}");
        assert_eq!(name(&format!("{}-tail", "x".repeat(38)), "3f9c1ab27d"), format!("{}-3f9c1a", "x".repeat(38)));
    }
}
