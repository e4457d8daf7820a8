//! The Deployment's own roll-out, which must not run while Stepgate releases or holds a template: stopped, and its pods taken away again.
//!
//! With the admission policies this never happens: the write that changes a template pauses the Deployment. Without them the Deployment
//! controller has a head start of a watch event, and somebody may unpause at any time.

use super::{
    action::Action,
    draft::{Draft, Progress},
    service_split::Pin,
    traffic,
    view::{Side, View},
    why::Why,
};

/// Pauses the Deployment if it is not, and takes away the pods of its new ReplicaSet: with that at 0 the Deployment controller restores
/// the live one by itself (mechanics §5). Done once the live ReplicaSet has its size again and the new one no pod.
pub fn stop(view: &View<'_>, draft: &mut Draft, live: Option<&Side<'_>>) -> Progress {
    let hello = view.hello;
    if !hello.paused {
        draft.act(Action::SetPaused { deployment: hello.object(), paused: true });
    }
    if !hello.paused || !hello.observed() {
        return draft.wait(Why::Pausing { deployment: hello.name.clone() });
    }
    let live_size = live.map_or(0, |live| live.replica_set.replicas);
    if let Some(native) = successor(view) {
        // With the live side at 0 the Deployment controller would bring the new one back instead.
        if native.replica_set.replicas > 0 && live_size > 0 {
            draft.act(Action::ScaleReplicaSet { replica_set: native.replica_set.object(), replicas: 0 });
        }
        return draft.wait(Why::Restoring { deployment: hello.name.clone() });
    }
    if live.is_some() && live_size < hello.replicas {
        return draft.wait(Why::Restoring { deployment: hello.name.clone() });
    }
    Progress::Done
}

/// The ReplicaSet that the Deployment has made for its new template by itself, while it has pods.
fn successor<'a>(view: &View<'a>) -> Option<Side<'a>> {
    let live = view.snapshot.status.stable.as_ref().map(|stable| stable.hash.as_str());
    let sets = view.own_replica_sets().filter(|set| set.revision == view.hello.revision && Some(set.hash.as_str()) != live && !set.deleting);
    sets.map(|set| view.side(set)).find(|side| side.replica_set.replicas > 0 || !side.pods.is_empty())
}

/// The same for a template that is held: while its pods are there, clients are kept off them.
pub fn hold_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>) -> Progress {
    if view.hello.paused && successor(view).is_none() {
        return traffic::open_all(view, draft);
    }
    let target = Pin::Hash(live.replica_set.hash.clone());
    let away: Vec<_> = view.services().into_iter().filter(|service| Pin::of(&service.selector) != target).collect();
    if live.ready_count() > 0 {
        traffic::move_services(draft, away, &target);
    }
    stop(view, draft, Some(live))
}
