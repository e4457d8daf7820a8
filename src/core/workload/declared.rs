//! Versions that are all the user's own: a release ends with the roles swapped. No Deployment is made, paused or rolled, no template is
//! written.

use std::ops::ControlFlow::{Break, Continue};

use crate::{
    api::{
        Span,
        policy::Idle,
        status::{Phase, Release},
    },
    core::{
        accept,
        decision::{
            action::{Action, Rotation},
            draft::Draft,
            notice::Reason,
            wait::{Flow, Part},
        },
        facts::service::ServiceFacts,
        traffic::{establish::establish, fresh, selectors::write},
        view::{
            View,
            side::{Side, Sides, count},
        },
        why::Why,
        workload::End,
    },
};

/// How long the previous version is kept, past its time, for the new one to have all clients and all its pods before it is scaled to 0.
const PATIENCE: Span = Span::seconds(60);

/// Pins the Services to the live version, each as soon as that leaves it with no fewer ready pods than it has, or than the version is to
/// have; then takes the rotation label off. Where the live version is down that may never come to its end, and is no reason not to release
/// another one.
pub fn pin_live(view: &View<'_>, draft: &mut Draft, live: &Side<'_>) -> Flow {
    let target = live.pin();
    let away: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != target).collect();
    if !away.is_empty() {
        let services = away.iter().map(|service| service.name.clone()).collect();
        let enough = |service: &ServiceFacts| live.replicas.max(1).min(count(view.matching(&service.selector).iter()));
        let ready = away.into_iter().filter(|service| count(view.selected(service, &target).iter()) >= enough(service)).collect::<Vec<_>>();
        if !ready.is_empty() {
            fresh::read_pods_first(view, draft)?;
        }
        write::move_services(view, draft, ready, &target);
        return Why::Pinning { services }.until_answered();
    }
    take_labels_off(view, draft);
    Continue(())
}

/// Takes the rotation label off every pod that carries it.
pub fn take_labels_off(view: &View<'_>, draft: &mut Draft) {
    let labelled = view.in_rotation().filter(|pod| !pod.deleting());
    draft.actions.extend(labelled.map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }));
}

/// Before the other version is scaled up: every Service gives its clients to the live one alone, and all is as it should be for a release.
pub fn hold_live(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) -> Flow {
    let deadline = release.policy.progress_deadline;
    let pinned = pin_live(view, draft, live);
    if live.ready_count() > 0 {
        pinned.map_break(|wait| wait.within(deadline))?;
    }
    let services = view.unconfirmed();
    if !services.is_empty() {
        return Why::Pinning { services }.within(deadline);
    }
    // Looked at again: what was right when the release began may have changed.
    if let Some(refusal) = accept::refusal(view, Some(&release.policy)) {
        draft.refusal = Some(refusal.clone());
        return Why::Refused(refusal).within(deadline);
    }
    Continue(())
}

/// Whether the admission policies hold the Services' version key is found out where it is not known.
pub fn probe_guard(view: &View<'_>, draft: &mut Draft) -> Part {
    let services = view.services();
    let Some(service) = services.first().filter(|_| view.snapshot.guarded.is_none()) else { return Continue(()) };
    draft.act(Action::ProbePin { service: service.name.clone(), side_key: view.keys().side.to_owned() });
    Break(())
}

/// The end of a release: the previous version to 0 where the policy says so, then the roles are swapped. The Services are not written: they
/// are pinned to what is the live version from now on.
pub fn swap<'a>(view: &View<'a>, draft: &mut Draft, release: &Release, sides: Sides<'a, '_>) -> Flow<End<'a>> {
    if is_idle(view, release) {
        empty_previous(view, draft, release, sides)?;
    }
    Continue(End::Promoted(sides.canary.clone()))
}

/// Whether the pods of the previous version are to end. Not where it is to be live again, nor where nobody will be there to scale it up.
fn is_idle(view: &View<'_>, release: &Release) -> bool {
    let previous = view.hello;
    let again = view.wanted().is_some_and(|wanted| wanted.uid == previous.uid);
    release.policy.idle == Idle::ScaleToZero && previous.replicas > 0 && !again && !view.snapshot.rollout.deleting
}

/// Scales the previous version to 0, in this order: that the release is past its end is on record, the policies are seen to act, and the new
/// version has all clients and all its pods. What is done here cannot be taken back by one write.
fn empty_previous(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    let previous = view.hello;
    let swapping = || Why::Swapping { previous: previous.name.clone() };
    if view.snapshot.status.phase != Some(Phase::Promoting) {
        draft.wake(view.now);
        return swapping().until_answered();
    }
    if probe_guard(view, draft).is_break() {
        return swapping().until_answered();
    }
    if view.snapshot.guarded != Some(true) {
        let why =
            "no admission policy holds the Services to the new version, and whoever applies them as they were would take clients to 0 pods";
        return keep_previous(view, draft, why);
    }
    if let Break(wait) = establish(view, draft, release, 100, sides) {
        if !draft.has_waited(PATIENCE, view.now) {
            return Break(wait.within(PATIENCE));
        }
        return keep_previous(view, draft, "the new version does not have all clients and all its pods");
    }
    if fresh::read_pods_first(view, draft).is_continue() {
        draft.act(Action::ScaleToZero { deployment: previous.object() });
    }
    swapping().until_answered()
}

/// The release ends without it.
fn keep_previous(view: &View<'_>, draft: &mut Draft, why: &str) -> Flow {
    draft.notice(Reason::KeptRunning, format!("Deployment {} keeps its pods in spite of idle: ScaleToZero: {why}", view.hello.name));
    Continue(())
}
