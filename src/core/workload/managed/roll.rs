//! Rolling, the slow way to end a release: the Deployment rolls itself while the Services stay with the canary.

use crate::{
    api::{ROTATION, Span, policy::When, status::Release},
    core::{
        decision::{
            action::{Action, Rotation},
            draft::Draft,
            time::{after, bounded},
            wait::Flow,
        },
        facts::{pin::Pin, service::ServiceFacts},
        gate,
        traffic::{
            establish::{self, establish},
            fresh, pods,
            selectors::write,
        },
        view::{
            View,
            side::{Side, Sides},
        },
        why::{Why, stage::RollStage},
        workload::managed::native,
    },
};

/// How long kept-alive connections to the canary's pods are given.
const DRAIN: Span = Span::seconds(5);

/// Rolls, as far as it can go now.
pub fn proceed(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    let Some(successor) = view.successor() else { return unpause(view, draft, release, sides) };
    draft.probes = gate::probes(view, release, crate::api::status::Phase::Progressing, &successor);
    pods::report(view, draft, &[&successor, sides.canary], sides.live);
    native::keep_from_returning(view, draft, sides.live)?;
    if view.hello.revision != release.revision && view.hello.paused {
        return finish_held_roll(view, draft, sides, &successor);
    }
    let size = view.hello.replicas;
    let old_pods = sides.live.is_some_and(|live| live.replica_set.replicas > 0);
    if old_pods || successor.available_count(view.hello.min_ready_seconds, view.now) < size {
        if view.hello.paused {
            // It had begun by itself, in the middle of the release, and was paused half-way.
            return unpause(view, draft, release, sides);
        }
        return Why::Rolling(RollStage::Rolling).at_rest();
    }
    let names = gate::pending(view, release, When::DuringSteps, &successor);
    if !names.is_empty() {
        return Why::Gates { names, until: None }.at_rest();
    }
    move_over(view, draft, release, sides.canary, &successor)
}

/// Lets the Deployment roll, once all clients are with the canary.
fn unpause(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    establish(view, draft, release, 100, sides)?;
    if view.hello.paused {
        // design §8.6: with Services the pods were read before these were moved. From here on nothing can be taken back.
        if view.is_worker() {
            fresh::read_pods_first(view, draft)?;
        }
        draft.act(Action::SetPaused { deployment: view.hello.object(), paused: false });
    }
    Why::Rolling(RollStage::Unpausing).until_answered()
}

/// Another template came while the Deployment was rolling: it is paused between the two. With the old ReplicaSet at 0 the Deployment
/// controller gives all pods to the new one without being unpaused (mechanics §2).
fn finish_held_roll(view: &View<'_>, draft: &mut Draft, sides: Sides<'_, '_>, successor: &Side<'_>) -> Flow {
    if let Some(live) = sides.live.filter(|live| live.replica_set.replicas > 0) {
        if successor.replica_set.replicas > 0 {
            draft.act(Action::ScaleReplicaSet { replica_set: live.replica_set.object(), replicas: 0 });
        }
        return Why::Rolling(RollStage::FinishingFirst).until_answered();
    }
    if successor.available_count(view.hello.min_ready_seconds, view.now) < view.hello.replicas {
        return Why::Rolling(RollStage::FinishingFirst).until_answered();
    }
    match view.release().cloned() {
        Some(release) => move_over(view, draft, &release, sides.canary, successor),
        None => Why::Recording.until_answered(),
    }
}

/// Moves the Services from the canary's pods to the Deployment's own, then removes the canary.
///
/// The same template usually gives the same hash, but that is never counted on: where the two differ the new one is pinned, else the
/// Deployment's pods are told apart by the rotation label.
fn move_over(view: &View<'_>, draft: &mut Draft, release: &Release, canary: &Side<'_>, successor: &Side<'_>) -> Flow {
    if view.is_worker() {
        return remove_canary(view, draft);
    }
    let target = if successor.replica_set.hash == canary.replica_set.hash { Pin::Rotation } else { successor.pin() };
    if target == Pin::Rotation {
        let mut unlabelled = false;
        for pod in successor.ready().filter(|pod| !pod.labels.contains_key(ROTATION)) {
            unlabelled = true;
            draft.act(Action::LabelPod { pod: pod.object(), rotation: Rotation::In });
        }
        // Labels that the canary's pods still carry from a step would keep them in.
        for pod in canary.pods.iter().filter(|pod| pod.labels.contains_key(ROTATION)) {
            unlabelled = true;
            draft.act(Action::LabelPod { pod: pod.object(), rotation: Rotation::Out });
        }
        if unlabelled {
            return Why::Rolling(RollStage::MovingServices).until_answered();
        }
    }
    let away: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != target).collect();
    if !away.is_empty() {
        fresh::read_pods_first(view, draft)?;
        write::move_services(view, draft, away, &target);
        return Why::Rolling(RollStage::MovingServices).until_answered();
    }
    let services = view.unconfirmed();
    if !services.is_empty() {
        return Why::Confirming { weight: 100, services }.until_answered();
    }
    let until = after(view.now, establish::settle(view, release).max(DRAIN));
    let until = draft.status.step.as_mut().map_or(until, |step| bounded(&mut step.until, until));
    if view.now < until {
        return Why::Rolling(RollStage::Draining).until(until);
    }
    remove_canary(view, draft)
}

fn remove_canary(view: &View<'_>, draft: &mut Draft) -> Flow {
    for deployment in view.ours().filter(|deployment| !deployment.deleting) {
        draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: false });
    }
    Why::Rolling(RollStage::RemovingCanary).until_answered()
}
