//! The canary Deployment: ours, beside the user's, for as long as a release lasts.

use std::ops::ControlFlow::Continue;

use serde_json::{Value, json};

use crate::{
    api::ROLLOUT_UID,
    core::{
        decision::{action::Action, draft::Draft, wait::Flow},
        view::View,
        why::Why,
    },
};

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

/// Removes the canary of another release, before there is one of this.
pub fn make_way(view: &View<'_>, draft: &mut Draft) -> Flow {
    let Some(other) = view.ours().next() else { return Continue(()) };
    if !other.deleting {
        draft.act(Action::DeleteCanary { deployment: other.object(), must_own_nothing: false });
    }
    Why::CanaryBeingRemoved { name: other.name.clone() }.until_answered()
}

/// Removes the ReplicaSets that the Deployment has for the new template already, empty ones by now: after an adoption the Deployment
/// controller would take such an older twin for the new ReplicaSet and restart everything (mechanics §11).
pub fn remove_twins(view: &View<'_>, draft: &mut Draft, revision: &str) -> Flow {
    let live = draft.status.stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
    let twins: Vec<_> = view.own_replica_sets().filter(|set| set.revision == revision && set.hash != live).collect();
    if twins.is_empty() {
        return Continue(());
    }
    for twin in twins.iter().filter(|set| !set.deleting && set.replicas == 0 && set.current == 0) {
        draft.act(Action::DeleteReplicaSet { replica_set: twin.object() });
    }
    Why::Restoring { deployment: view.hello.name.clone() }.until_answered()
}
