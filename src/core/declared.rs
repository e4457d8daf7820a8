//! What is a declared pair's own: the versions are the user's, a release begins when `live` names another one, and ends with the roles
//! swapped. No Deployment is made, paused or rolled, no template is written.

use crate::api::{
    Span,
    policy::Idle,
    status::{Outcome, Phase, Release, Version},
};

use super::{
    action::{Action, Reason, Rotation},
    affinity,
    draft::{Draft, Progress},
    end,
    pair::Declared,
    preview,
    refusal::Refusal,
    request,
    request::Command,
    rest::{begin, pending_version},
    service_split::Pin,
    snapshot::ServiceFacts,
    traffic::{self, Sides, establish},
    validate,
    view::{Side, View, count},
    why::Why,
};

/// How long the previous version is kept, past its time, for the new one to have all clients and all its pods before it is scaled to 0.
const PATIENCE: Span = Span::seconds(60);

/// Decides while no release is under way.
pub fn rest(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Progress {
    let progress = decide(view, draft, declared);
    if draft.status.release.is_none() && draft.refusal.as_ref().is_none_or(|refusal| !refusal.leaves_live_open()) {
        affinity::give_back(view, draft);
    }
    progress
}

fn decide(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Progress {
    let policy = view.snapshot.policy.as_deref();
    draft.refusal = validate::refusal(view, policy);
    // Answered now, so that it is carried out now, whatever is waited for below.
    if request::take(view, draft) == Some(Command::Retry)
        && let Some(wanted) = view.wanted()
    {
        draft.status.rejected.retain(|rejected| rejected.revision != wanted.revision);
    }
    let Some(live) = view.live() else { return find_live(view, draft, declared) };
    draft.status.stable = Some(live.version());
    if !view.snapshot.rollout.has_finalizer {
        draft.act(Action::AddFinalizer);
        return draft.wait(Why::Recording);
    }
    let mut guard = Progress::Done;
    // What a release would be refused for does not take its clients from the live version.
    if draft.refusal.as_ref().is_none_or(|refusal| !refusal.leaves_live_open()) {
        let is_wanted = view.wanted().is_none_or(|wanted| wanted.uid == view.hello.uid);
        if pin_live(view, draft, &live) == Progress::Waiting && (is_wanted || live.ready_count() > 0) {
            return Progress::Waiting;
        }
        guard = probe_guard(view, draft);
    }
    let Some(wanted) = view.wanted().filter(|wanted| wanted.uid != view.hello.uid) else {
        draft.status.canary = None;
        draft.enter(Phase::Healthy);
        let refusal = draft.refusal.clone();
        return draft.wait(refusal.map_or_else(|| Why::Serving { revision: live.replica_set.revision.clone() }, Why::Refused));
    };
    if let Some(rejected) = draft.status.rejected.iter().find(|rejected| rejected.revision == wanted.revision).cloned() {
        draft.enter(Phase::RolledBack);
        let side = declared.side(view, wanted).filter(|side| side.replica_set.revision == wanted.revision);
        let held = side.map_or_else(|| pending_version(wanted), |side| side.version());
        draft.status.canary = Some(Version { name: wanted.name.clone(), ..held });
        return draft.wait(Why::Held { revision: rejected.revision, reason: rejected.reason });
    }
    if let Some(refusal) = draft.refusal.clone() {
        draft.enter(Phase::Healthy);
        return draft.wait(Why::Refused(refusal));
    }
    let Some(policy) = policy else { return draft.wait(Why::Recording) };
    // Whether it is refused is known in a moment.
    if policy.idle == Idle::ScaleToZero && guard == Progress::Waiting {
        return draft.wait(Why::Recording);
    }
    let name = wanted.name.clone();
    begin(view, draft, policy, wanted);
    draft.status.canary.get_or_insert_default().name.clone_from(&name);
    draft.wait(Why::Beginning { canary: name })
}

/// No live version is on record, or its Deployment is gone: the one that the Services name, or else the one that is to be live, is awaited
/// and recorded. A Service that names it already is not written.
fn find_live(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Progress {
    draft.status.stable = None;
    draft.status.canary = None;
    draft.enter(Phase::Pending);
    // Of a Rollout that was accepted once (it has the finalizer) the live version is found again, whatever a release would be refused for.
    let accepted = view.snapshot.rollout.has_finalizer;
    let stops = draft.refusal.clone().filter(|refusal| !accepted || refusal.leaves_live_open());
    if let Some(refusal) = stops {
        return draft.wait(Why::Refused(refusal));
    }
    let deployment = view.hello.name.clone();
    // Where another one had the clients and is gone, some ready pods are better than none.
    let is_enough = |side: &Side<'_>| view.hello.is_complete() || (accepted && side.ready_count() > 0);
    if let Some(live) = declared.side(view, view.hello).filter(is_enough) {
        draft.status.stable = Some(live.version());
        draft.notice(Reason::Accepted, format!("Deployment {deployment} is the live version"));
        // Healthy it is once every Service names it: until then another one, which is on its way out, may have clients.
        draft.wake(view.now);
        return draft.wait(Why::Recording);
    }
    let stuck = view.hello.status.progressing_reason == "ProgressDeadlineExceeded";
    draft.wait(match draft.refusal.clone() {
        Some(refusal) => Why::Refused(refusal),
        None if stuck => Why::NativeRolloutStuck { deployment },
        None => Why::NativeRollout { deployment },
    })
}

/// Pins the Services to the live version, each as soon as that leaves it with no fewer ready pods than it has, or than the version is to
/// have; then takes the rotation label off. Where the live version is down that may never come to its end, and is no reason not to release
/// another one.
fn pin_live(view: &View<'_>, draft: &mut Draft, live: &Side<'_>) -> Progress {
    let target = live.pin();
    let away: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != target).collect();
    if !away.is_empty() {
        let services = away.iter().map(|service| service.name.clone()).collect();
        let enough = |service: &ServiceFacts| live.replicas.max(1).min(count(view.matching(&service.selector).iter()));
        let ready = away.into_iter().filter(|service| count(view.selected(service, &target).iter()) >= enough(service)).collect::<Vec<_>>();
        if !ready.is_empty() && traffic::read_pods_first(view, draft) == Progress::Waiting {
            return Progress::Waiting;
        }
        traffic::move_services(view, draft, ready, &target);
        return draft.wait(Why::Pinning { services });
    }
    take_labels_off(view, draft);
    Progress::Done
}

fn take_labels_off(view: &View<'_>, draft: &mut Draft) {
    let labelled = view.in_rotation().filter(|pod| !pod.deleting());
    draft.actions.extend(labelled.map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }));
}

/// Before the other version is scaled up: every Service gives its clients to the live one alone, and all is as it should be for a release.
pub fn hold_live(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) -> Progress {
    if pin_live(view, draft, live) == Progress::Waiting && live.ready_count() > 0 {
        draft.deadline(release.policy.progress_deadline, view.now);
        return Progress::Waiting;
    }
    let services = view.unconfirmed();
    if !services.is_empty() {
        draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Pinning { services });
    }
    // Looked at again: what was right when the release began may have changed.
    if let Some(refusal) = validate::refusal(view, Some(&release.policy)) {
        draft.refusal = Some(refusal.clone());
        draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Refused(refusal));
    }
    Progress::Done
}

/// Whether the admission policies hold the Services' version key is found out where it is not known.
fn probe_guard(view: &View<'_>, draft: &mut Draft) -> Progress {
    let services = view.services();
    let Some(service) = services.first().filter(|_| view.snapshot.guarded.is_none()) else { return Progress::Done };
    draft.act(Action::ProbePin { service: service.name.clone(), side_key: view.keys().side.to_owned() });
    Progress::Waiting
}

/// The end of a release: the previous version to 0 where the policy says so, then the roles are swapped. The Services are not written: they
/// are pinned to what is the live version from now on.
pub fn swap(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Progress {
    if is_idle(view, release) && empty_previous(view, draft, release, sides) == Progress::Waiting {
        return Progress::Waiting;
    }
    end::promoted(view, draft, release, sides.canary)
}

/// Whether the pods of the previous version are to end. Not where it is to be live again, nor where nobody will be there to scale it up.
fn is_idle(view: &View<'_>, release: &Release) -> bool {
    let previous = view.hello;
    let again = view.wanted().is_some_and(|wanted| wanted.uid == previous.uid);
    release.policy.idle == Idle::ScaleToZero && previous.replicas > 0 && !again && !view.snapshot.rollout.deleting
}

/// Scales the previous version to 0, in this order: that the release is past its end is on record, the policies are seen to act, and the new
/// version has all clients and all its pods. What is done here cannot be taken back by one write.
fn empty_previous(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Progress {
    let previous = view.hello;
    let swapping = || Why::Swapping { previous: previous.name.clone() };
    if view.snapshot.status.phase != Some(Phase::Promoting) {
        draft.wake(view.now);
        return draft.wait(swapping());
    }
    if probe_guard(view, draft) == Progress::Waiting {
        return draft.wait(swapping());
    }
    if view.snapshot.guarded != Some(true) {
        let why =
            "no admission policy holds the Services to the new version, and whoever applies them as they were would take clients to 0 pods";
        return keep_previous(view, draft, why);
    }
    if establish(view, draft, release, 100, sides) == Progress::Waiting {
        let until = draft.deadline(PATIENCE, view.now);
        if until.is_none_or(|until| until > view.now) {
            return Progress::Waiting;
        }
        return keep_previous(view, draft, "the new version does not have all clients and all its pods");
    }
    if traffic::read_pods_first(view, draft) == Progress::Done {
        draft.act(Action::ScaleToZero { deployment: previous.object() });
    }
    draft.wait(swapping())
}

/// The release ends without it.
fn keep_previous(view: &View<'_>, draft: &mut Draft, why: &str) -> Progress {
    draft.notice(Reason::KeptRunning, format!("Deployment {} keeps its pods in spite of idle: ScaleToZero: {why}", view.hello.name));
    Progress::Done
}

/// The live version's Deployment is gone in the middle of a release, and nothing is left to go back to: the release ends, and what is to be
/// live is found out again.
pub fn without_live(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let gone = draft.status.stable.take().unwrap_or_default().name;
    end::record(draft, release, Outcome::Unguarded, &format!("Deployment {gone}, the live version, is gone"), view);
    draft.status.canary = None;
    draft.enter(Phase::Pending);
    draft.wake(view.now);
    draft.wait(Why::NativeRollout { deployment: view.hello.name.clone() })
}

/// The Rollout is being deleted and no release is under way: the version key stays where it is in the selectors, because without it clients
/// would meet both versions; the rotation label goes.
pub fn let_go(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Progress {
    // What another Rollout has is that one's to write.
    if matches!(draft.refusal, Some(Refusal::RivalRollout { .. })) {
        draft.act(Action::RemoveFinalizer);
        return draft.wait(Why::Deleting);
    }
    let in_rotation: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) == Pin::Rotation).collect();
    if !in_rotation.is_empty() {
        // Nobody will put that label on pods any more. Where the live version is gone it is the one that is to be.
        let side = view.live().or_else(|| declared.side(view, view.hello));
        traffic::move_services(view, draft, in_rotation, &side.map_or(Pin::Open, |side| side.pin()));
        return draft.wait(Why::Deleting);
    }
    if affinity::give_back(view, draft) == Progress::Waiting || preview::give_back(view, draft) == Progress::Waiting {
        return draft.wait(Why::Deleting);
    }
    take_labels_off(view, draft);
    draft.act(Action::RemoveFinalizer);
    draft.wait(Why::Deleting)
}
