//! Adoption: the canary's ReplicaSet becomes the user's Deployment's own. The pods that were tested are the pods that stay.
//!
//! **Guarantee:** no pod of the new version is restarted, and at every moment as many ready pods are behind the Services as the Deployment asks
//! for. The controller may die after any of the writes: the next one finds how far the hand-over is from the objects alone.
//!
//! 1. The hand-over is on record (a label on the Deployment that keeps the owner's `maxSurge`) before anything is changed.
//! 2. Both Deployments are paused, and their controller has seen that, before the ReplicaSet changes its owner.
//! 3. The ReplicaSet is given away by one write, after the pods have been read from the API server: from then on the Deployment controller,
//!    paused, scales the old ReplicaSet to 0 by itself.
//! 4. The selectors are opened only when the old pods are out of everybody's endpoints; then label, `maxSurge` and pause are given back.
//!
//! **Assumption:** the Deployment controller counts an adopted ReplicaSet with the Deployment's own template as the new one, also while the
//! Deployment is paused, and lets the old one go once the new one has all its pods.
//!
//! **Caveat:** where a webhook has changed the canary's pods the templates differ, and the Deployment rolls by itself instead (`roll.rs`). The same
//! happens where the preconditions do not hold within `PATIENCE`. If the controller takes the new pods away instead of the old ones, the
//! release is rolled back while the old ones are still there.

use std::ops::ControlFlow::Continue;

use serde_json::Value;

use crate::{
    api::{
        Span,
        policy::Promotion,
        status::{Phase, Release, Rollback, RollbackReason},
    },
    core::{
        decision::{action::Action, draft::Draft, notice::Reason, wait::Flow},
        traffic::{establish::establish, fresh, pods, selectors::write},
        view::{
            self, View, handover, names,
            side::{Side, Sides},
        },
        why::{
            Why,
            stage::{AdoptionStage, AdoptionWait, RollStage},
        },
        workload::{
            End,
            managed::{canary, native, roll},
        },
    },
};

/// How long the preconditions of an adoption are waited for before the Deployment rolls itself instead.
const PATIENCE: Span = Span::seconds(60);

/// Makes the release permanent: by adoption, or by rolling where the policy says so or adoption cannot be.
pub fn promote(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    if release.policy.promotion == Promotion::Roll || handover::has_begun(view) {
        return roll::proceed(view, draft, release, sides);
    }
    if let Some(wait) = precondition(view, draft, release, sides) {
        if draft.has_waited(PATIENCE, view.now) {
            return roll_instead(view, draft, wait);
        }
        return Why::AdoptionAwaits(wait).within(PATIENCE);
    }
    canary::remove_twins(view, draft, &release.revision)?;
    hand_over(view, draft, release, sides.canary)
}

fn roll_instead(view: &View<'_>, draft: &mut Draft, wait: AdoptionWait) -> Flow {
    draft.notice(
        Reason::RollingInstead,
        format!("waited {PATIENCE} for {wait}; the Deployment rolls itself instead, while the canary stands in"),
    );
    if view.handover() {
        draft.act(Action::EndHandover { deployment: view.hello.object(), max_surge: view.kept_max_surge(), paused: Some(false) });
    } else {
        draft.act(Action::SetPaused { deployment: view.hello.object(), paused: false });
    }
    Why::Rolling(RollStage::Unpausing).until_answered()
}

/// The first precondition that does not hold, having done what can be done about it.
fn precondition(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Option<AdoptionWait> {
    let (hello, canary) = (view.hello, view.canary_deployment()?);
    if establish(view, draft, release, 100, sides).is_break() {
        return Some(if view.is_worker() { AdoptionWait::CanaryAvailable } else { AdoptionWait::ServicesPinned });
    }
    if !hello.observed() {
        return Some(AdoptionWait::DeploymentObserved);
    }
    if hello.replicas != canary.replicas {
        // Without Services the weight itself asks for that size, by the write above: a second one would be refused.
        if !view.is_worker() {
            draft.act(Action::ScaleCanary { deployment: canary.object(), replicas: hello.replicas });
        }
        return Some(AdoptionWait::SameSize);
    }
    let size = hello.replicas;
    let Some(live) = sides.live else { return Some(AdoptionWait::StableAvailable) };
    if live.replica_set.replicas != size || sides.canary.replica_set.replicas != size {
        return Some(AdoptionWait::SameSize);
    }
    if live.available_count(hello.min_ready_seconds, view.now) != size {
        return Some(AdoptionWait::StableAvailable);
    }
    (sides.canary.available_count(hello.min_ready_seconds, view.now) != size).then_some(AdoptionWait::CanaryAvailable)
}

/// Label and surge on record, canary paused, surge open, both seen; then the one write.
fn hand_over(view: &View<'_>, draft: &mut Draft, release: &Release, canary: &Side<'_>) -> Flow {
    let hello = view.hello;
    let Some(deployment) = view.canary_deployment() else { return Why::Adopting(AdoptionStage::HandingOver).until_answered() };
    if !view.is_labelled_for_handover() {
        // Taken off by hand in the middle of it, the label is put back with what it said.
        let kept = view.kept_max_surge();
        let label = handover::label(&release.revision, kept.as_ref().or(hello.max_surge()));
        draft.act(Action::BeginHandover { deployment: hello.object(), label });
        return Why::Adopting(AdoptionStage::Recording).until_answered();
    }
    if !deployment.paused {
        // Unpaused it would at once start another set of pods (mechanics §7, H6).
        draft.act(Action::SetPaused { deployment: deployment.object(), paused: true });
    }
    let opened = hello.is_recreate() || hello.max_surge().and_then(Value::as_str) == Some("100%");
    if !opened {
        draft.act(Action::OpenSurge { deployment: hello.object() });
    }
    if !deployment.paused || !opened || !deployment.observed() || !hello.observed() {
        return Why::Adopting(AdoptionStage::Preparing).until_answered();
    }
    fresh::read_pods_first(view, draft)?;
    draft.act(Action::AdoptReplicaSet { replica_set: canary.replica_set.object(), owner: hello.object(), size: hello.replicas });
    Why::Adopting(AdoptionStage::HandingOver).until_answered()
}

/// After the one write (or after a roll): guards the clients, waits for the old ReplicaSet to be empty, gives everything back.
pub fn settle<'a>(view: &View<'a>, draft: &mut Draft, release: &Release) -> Flow<End<'a>> {
    let Some(successor) = view.successor() else {
        return Why::Adopting(AdoptionStage::HandingOver).until_answered();
    };
    let live = view.live();
    draft.enter(Phase::Promoting);
    pods::report(view, draft, &[&successor], live.as_ref());
    if let Some(old) = live.as_ref().filter(|old| old.replica_set.replicas > 0 || !old.pods.is_empty()) {
        if is_endangered(view, &successor, old) {
            return Continue(End::Failed(protect(view, draft, &successor)));
        }
        native::keep_from_returning(view, draft, Some(old))?;
        // Mechanics §2: with another template pending, the paused Deployment would keep both; at 0 the new one gets all.
        if view.hello.revision != release.revision && old.replica_set.replicas > 0 {
            draft.act(Action::ScaleReplicaSet { replica_set: old.replica_set.object(), replicas: 0 });
        }
        return Why::Adopting(AdoptionStage::Draining).until_answered();
    }
    let size = view.hello.replicas;
    if !view.hello.observed()
        || successor.replica_set.replicas < size
        || successor.available_count(view.hello.min_ready_seconds, view.now) < size
    {
        return Why::Adopting(AdoptionStage::Counting).until_answered();
    }
    if view::lingering(view).is_some() {
        return Why::Rolling(RollStage::RemovingCanary).until_answered();
    }
    give_back(view, draft, release, successor)
}

/// Whether the Deployment controller is taking the new pods away while it keeps the old ones. That the new ones are fewer than the Deployment asks
/// for, or than the release began with, is no sign of it: its owner may have asked for more in this very moment, when the old pods are on their
/// way out already.
fn is_endangered(view: &View<'_>, successor: &Side<'_>, old: &Side<'_>) -> bool {
    let set = successor.replica_set;
    let shrinks = set.replicas < set.current || set.replicas == 0;
    let is_kept = old.replica_set.replicas > 0 && old.ready_count() >= set.replicas.min(successor.ready_count()).max(1);
    shrinks && set.replicas < view.hello.replicas && is_kept
}

/// The rollback with which the old version takes over again.
fn protect(view: &View<'_>, draft: &mut Draft, successor: &Side<'_>) -> Rollback {
    let message = format!(
        "ReplicaSet {} was given {} of {} pods after the hand-over; the old version, whose pods are there, takes over again",
        successor.replica_set.name, successor.replica_set.replicas, view.hello.replicas
    );
    draft.notice(Reason::AdoptionEndangered, message.clone());
    let live = view.snapshot.status.stable.as_ref().map(|stable| stable.revision.as_str());
    let reason = if Some(view.hello.revision.as_str()) == live {
        RollbackReason::Reverted
    } else if view.release().is_some_and(|release| release.revision != view.hello.revision) {
        RollbackReason::Superseded
    } else {
        RollbackReason::AdoptionFailed
    };
    Rollback { reason, message, gate: String::new(), at: view.now, confirmed_at: None, released: false }
}

/// Selectors, labels, the Deployment and the emptied canary, in an order in which every crash in between is harmless.
fn give_back<'a>(view: &View<'_>, draft: &mut Draft, release: &Release, successor: Side<'a>) -> Flow<End<'a>> {
    if write::see_off(view, draft).is_break() {
        return Why::Adopting(AdoptionStage::Parting).until_answered();
    }
    let opened = write::open_all(view, draft);
    let same_template = view.hello.revision == release.revision;
    let held = same_template && view.hello.paused;
    if view.handover() || held {
        draft.act(Action::EndHandover {
            deployment: view.hello.object(),
            max_surge: view.kept_max_surge(),
            paused: same_template.then_some(false),
        });
    }
    let mut removing = false;
    for deployment in view.ours() {
        removing = true;
        if !deployment.deleting {
            draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: true });
        }
    }
    if opened.is_break() || view.handover() || held || removing {
        return Why::Adopting(AdoptionStage::GivingBack).until_answered();
    }
    complete(view, draft, release, &successor);
    Continue(End::Promoted(successor))
}

fn complete(view: &View<'_>, draft: &mut Draft, release: &Release, successor: &Side<'_>) {
    if let Some(release) = &mut draft.status.release {
        release.max_weight = 100;
    }
    let canary = names::canary(&view.hello.name, &release.revision);
    let own = &successor.replica_set;
    if own.name.starts_with(&canary) {
        let note = format!(
            "ReplicaSet {} and its {} pods are Deployment {}'s own; none was restarted",
            own.name, successor.replicas, view.hello.name
        );
        draft.notice(Reason::Adopted, note);
    }
}
