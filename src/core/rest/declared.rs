//! At rest, with a declared pair: a release begins when `live` names another version.

use std::ops::ControlFlow::Continue;

use crate::{
    api::{
        policy::Idle,
        status::{Phase, Version},
    },
    core::{
        accept,
        decision::{
            action::Action,
            draft::Draft,
            notice::Reason,
            wait::{Flow, Wait},
        },
        release::begin::{begin, pending_version},
        request::{self, command::Command},
        traffic::selectors::affinity,
        view::{View, declared::Declared, side::Side},
        why::Why,
        workload::declared::{pin_live, probe_guard},
    },
};

/// Decides while no release is under way.
pub fn decide(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Wait {
    let wait = Wait::of(run(view, draft, declared));
    if draft.status.release.is_none() && draft.refusal.as_ref().is_none_or(|refusal| !refusal.leaves_live_open()) {
        let _ = affinity::give_back(view, draft);
    }
    wait
}

fn run(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Flow {
    let policy = view.snapshot.policy.as_deref();
    draft.refusal = accept::refusal(view, policy);
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
        return Why::Recording.until_answered();
    }
    let mut guard = Continue(());
    // What a release would be refused for does not take its clients from the live version.
    if draft.refusal.as_ref().is_none_or(|refusal| !refusal.leaves_live_open()) {
        let is_wanted = view.wanted().is_none_or(|wanted| wanted.uid == view.hello.uid);
        let pinned = pin_live(view, draft, &live);
        if is_wanted || live.ready_count() > 0 {
            pinned?;
        }
        guard = probe_guard(view, draft);
    }
    let Some(wanted) = view.wanted().filter(|wanted| wanted.uid != view.hello.uid) else {
        draft.status.canary = None;
        draft.enter(Phase::Healthy);
        let refusal = draft.refusal.clone();
        return match refusal {
            Some(refusal) => Why::Refused(refusal).for_a_person(),
            None => Why::Serving { load: view.load(), revision: live.replica_set.revision.clone() }.at_rest(),
        };
    };
    if let Some(rejected) = draft.status.rejected.iter().find(|rejected| rejected.revision == wanted.revision).cloned() {
        draft.enter(Phase::RolledBack);
        let side = declared.side(view.snapshot, wanted).filter(|side| side.replica_set.revision == wanted.revision);
        let held = side.map_or_else(|| pending_version(wanted), |side| side.version());
        draft.status.canary = Some(Version { name: wanted.name.clone(), ..held });
        return Why::Held { revision: rejected.revision, reason: rejected.reason }.for_a_person();
    }
    if let Some(refusal) = draft.refusal.clone() {
        draft.enter(Phase::Healthy);
        return Why::Refused(refusal).for_a_person();
    }
    let Some(policy) = policy else { return Why::Recording.until_answered() };
    // Whether it is refused is known in a moment.
    if policy.idle == Idle::ScaleToZero && guard.is_break() {
        return Why::Recording.until_answered();
    }
    let name = wanted.name.clone();
    begin(view, draft, policy, wanted);
    draft.status.canary.get_or_insert_default().name.clone_from(&name);
    Why::Beginning { canary: name }.until_answered()
}

/// No live version is on record, or its Deployment is gone: the one that the Services name, or else the one that is to be live, is awaited
/// and recorded. A Service that names it already is not written.
fn find_live(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Flow {
    draft.status.stable = None;
    draft.status.canary = None;
    draft.enter(Phase::Pending);
    // Of a Rollout that was accepted once (it has the finalizer) the live version is found again, whatever a release would be refused for.
    let accepted = view.snapshot.rollout.has_finalizer;
    let stops = draft.refusal.clone().filter(|refusal| !accepted || refusal.leaves_live_open());
    if let Some(refusal) = stops {
        return Why::Refused(refusal).for_a_person();
    }
    let deployment = view.hello.name.clone();
    // Where another one had the clients and is gone, some ready pods are better than none.
    let is_enough = |side: &Side<'_>| view.hello.is_complete() || (accepted && side.ready_count() > 0);
    if let Some(live) = declared.side(view.snapshot, view.hello).filter(is_enough) {
        draft.status.stable = Some(live.version());
        draft.notice(Reason::Accepted, format!("Deployment {deployment} is the live version"));
        // Healthy it is once every Service names it: until then another one, which is on its way out, may have clients.
        draft.wake(view.now);
        return Why::Recording.until_answered();
    }
    let stuck = view.hello.status.progressing_reason == "ProgressDeadlineExceeded";
    match draft.refusal.clone() {
        Some(refusal) => Why::Refused(refusal).for_a_person(),
        None if stuck => Why::NativeRolloutStuck { deployment }.for_a_person(),
        None => Why::NativeRollout { deployment }.at_rest(),
    }
}
