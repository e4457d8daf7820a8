//! At rest, with a managed Deployment.

use std::ops::ControlFlow::{Break, Continue};

use crate::{
    api::{
        PolicySpec,
        status::{HistoryEntry, Outcome, Phase, Version},
    },
    core::{
        accept,
        decision::{
            action::Action,
            draft::Draft,
            notice::Reason,
            wait::{Flow, Part, Wait},
        },
        facts::deployment::ReplicaSetFacts,
        history,
        release::begin::{begin, pending_version},
        request::{self, command::Command},
        traffic::{
            back,
            selectors::write::{open_all, open_at_once, see_off},
        },
        view::{self, View, names, side::Side},
        why::Why,
        workload::managed::{canary, native},
    },
};

/// Why a canary is removed while no release is under way.
const LEFT_OVER: &str = "left over from an earlier release";

/// Decides while no release is under way.
pub fn decide(view: &View<'_>, draft: &mut Draft) -> Wait {
    Wait::of(run(view, draft))
}

fn run(view: &View<'_>, draft: &mut Draft) -> Flow {
    let policy = view.snapshot.policy.as_deref();
    draft.refusal = accept::refusal(view, policy);
    let command = request::take(view, draft);
    let Some(live) = live(view, draft) else { return find_live(view, draft, command) };
    if !view.snapshot.rollout.has_finalizer {
        draft.act(Action::AddFinalizer);
        return Why::Recording.until_answered();
    }
    if view.snapshot.guarded.is_none() && draft.refusal.is_none() {
        draft.act(Action::ProbeGuard { deployment: view.hello.name.clone() });
    }
    if view.hello.revision == live.replica_set.revision {
        return keep(view, draft, &live);
    }
    pending_template(view, draft, policy, &live, command)
}

/// The live side on record, with the counts of now.
fn live<'a>(view: &View<'a>, draft: &mut Draft) -> Option<Side<'a>> {
    let live = view.live()?;
    draft.status.stable = Some(live.version());
    Some(live)
}

/// No live version is on record, or it is gone: one complete version is awaited and recorded.
fn find_live(view: &View<'_>, draft: &mut Draft, command: Option<Command>) -> Flow {
    let hello = view.hello;
    let is_asked_for = command == Some(Command::Retry);
    if is_asked_for {
        draft.status.rejected.retain(|rejected| rejected.revision != hello.revision);
    } else if history::is_held(&draft.status, &hello.revision) && has_no_pods(view) {
        // A paused Deployment makes no pod: what is held does not become the live version because nothing else is left.
        draft.enter(Phase::Pending);
        return Why::LiveVersionLost { deployment: hello.name.clone(), revision: hello.revision.clone() }.for_a_person();
    }
    let unguarded = draft.status.stable.take();
    draft.enter(Phase::Pending);
    if view.snapshot.rollout.has_finalizer && open_at_once(view, draft).is_break() {
        // A write of ours that was answered late, for a release that was over by then.
        return Why::NativeRollout { deployment: hello.name.clone() }.at_rest();
    }
    if let Some(refusal) = draft.refusal.clone() {
        return Why::Refused(refusal).for_a_person();
    }
    if let Some(set) = complete_version(view) {
        if let Some(before) = &unguarded {
            note_unguarded(view, draft, set, before);
        }
        draft.status.stable = Some(view.side(set).version());
        draft.notice(Reason::Accepted, format!("revision {} of Deployment {} is the live version", set.revision, hello.name));
        draft.enter(Phase::Healthy);
        draft.wake(view.now);
        return Why::Serving { load: view.load(), revision: set.revision.clone() }.at_rest();
    }
    if view.is_paused_by_owner() {
        return paused_by_owner(view, None).for_a_person();
    }
    if hello.paused && hello.observed() && view.own_replica_sets().all(|set| set.replicas == 0) {
        // Held with no pods: nothing is live that could be protected.
        draft.act(Action::SetPaused { deployment: hello.object(), paused: false });
    }
    let stuck = hello.status.progressing_reason == "ProgressDeadlineExceeded";
    let deployment = hello.name.clone();
    if stuck { Why::NativeRolloutStuck { deployment }.for_a_person() } else { Why::NativeRollout { deployment }.at_rest() }
}

/// Whether the Deployment is paused and runs nothing.
fn has_no_pods(view: &View<'_>) -> bool {
    view.hello.paused && view.own_replica_sets().all(|set| set.replicas == 0 && set.current == 0)
}

/// The ReplicaSet of the one version that runs, complete: the Deployment's newest after a roll-out, or, where it is paused with
/// another template, the one that has all its pods.
fn complete_version<'a>(view: &View<'a>) -> Option<&'a ReplicaSetFacts> {
    let hello = view.hello;
    if !hello.observed() {
        return None;
    }
    let with_pods: Vec<&ReplicaSetFacts> = view.own_replica_sets().filter(|set| set.replicas > 0 || set.current > 0).collect();
    match with_pods.as_slice() {
        [] if hello.replicas == 0 => view.own_replica_sets().filter(|set| set.revision == hello.revision).max_by_key(|set| set.created_at),
        [one] if one.replicas == hello.replicas && view.side(one).available_count(hello.min_ready_seconds, view.now) >= hello.replicas => {
            (hello.paused || (one.revision == hello.revision && hello.is_complete())).then_some(one)
        }
        _ => None,
    }
}

/// A native roll-out finished while nobody watched: history says so.
fn note_unguarded(view: &View<'_>, draft: &mut Draft, set: &ReplicaSetFacts, before: &Version) {
    draft
        .notice(Reason::Unguarded, format!("Deployment {} rolled out revision {} by itself, without gates", view.hello.name, set.revision));
    let entry = HistoryEntry {
        revision: set.revision.clone(),
        images: set.images.clone(),
        outcome: Outcome::Unguarded,
        started_at: set.created_at,
        ended_at: view.now,
        max_weight: 100,
        reason: "a native roll-out finished without Stepgate".into(),
        replaced: before.revision.clone(),
        asked: Vec::new(),
    };
    history::remember(&mut draft.status.history, entry);
}

/// One version: everything of ours is taken away, in this order: pins and labels, pause and hand-over, Deployments.
fn keep(view: &View<'_>, draft: &mut Draft, live: &Side<'_>) -> Flow {
    let strangers_gone = view::lingering(view).is_none();
    if remove_leftovers(view, draft).is_break() || !strangers_gone || see_off(view, draft).is_break() {
        return back::removing(view, LEFT_OVER.into()).until_answered();
    }
    let _ = open_all(view, draft);
    let owners = view.is_paused_by_owner();
    let ours = (view.hello.paused || view.hello.held) && !owners;
    if view.handover() || ours {
        draft.act(Action::EndHandover { deployment: view.hello.object(), max_surge: view.kept_max_surge(), paused: ours.then_some(false) });
    }
    draft.status.canary = None;
    draft.enter(Phase::Healthy);
    if let Some(refusal) = draft.refusal.clone() {
        return Why::Refused(refusal).for_a_person();
    }
    if owners {
        return paused_by_owner(view, None).at_rest();
    }
    Why::Serving { load: view.load(), revision: live.replica_set.revision.clone() }.at_rest()
}

fn paused_by_owner(view: &View<'_>, pending: Option<String>) -> Why {
    Why::PausedByOwner { deployment: view.hello.name.clone(), namespace: view.snapshot.rollout.namespace.clone(), pending }
}

/// Removes what is left of a canary, such as one whose making was answered when its release was over.
fn remove_leftovers(view: &View<'_>, draft: &mut Draft) -> Part {
    for deployment in view.ours().filter(|deployment| !deployment.deleting) {
        draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: false });
    }
    if view.ours().next().is_some() { Break(()) } else { Continue(()) }
}

/// The template is not the live version's: released, held, or caught in the middle of a native roll-out.
fn pending_template(view: &View<'_>, draft: &mut Draft, policy: Option<&PolicySpec>, live: &Side<'_>, command: Option<Command>) -> Flow {
    let hello = view.hello;
    if is_native_rollout_ahead(view, live) {
        // Too far to be taken back without a loss of capacity: it finishes natively, as it would without Stepgate.
        if complete_version(view).is_some_and(|set| set.uid != live.replica_set.uid) {
            return find_live(view, draft, None);
        }
        // But for one that was rejected: that one is held, below.
        if !draft.status.rejected.iter().any(|rejected| rejected.revision == hello.revision) {
            draft.enter(Phase::Pending);
            return native::give_way(view, draft);
        }
    }
    if command == Some(Command::Retry) {
        draft.status.rejected.retain(|rejected| rejected.revision != hello.revision);
    }
    if let Some(rejected) = draft.status.rejected.iter().find(|rejected| rejected.revision == hello.revision).cloned() {
        draft.enter(Phase::RolledBack);
        // Also where it was written again once all was over: whoever asks what is held finds it here.
        if draft.status.canary.as_ref().is_none_or(|canary| canary.revision != hello.revision) {
            draft.status.canary = Some(pending_version(hello));
        }
        if remove_leftovers(view, draft).is_break() {
            return back::removing(view, LEFT_OVER.into()).until_answered();
        }
        native::hold_back(view, draft, live)?;
        return Why::Held { revision: rejected.revision, reason: rejected.reason }.for_a_person();
    }
    if view.is_paused_by_owner() {
        draft.enter(Phase::Healthy);
        return paused_by_owner(view, Some(hello.revision.clone())).for_a_person();
    }
    if hello.replicas == 0 && history::is_interrupted(&draft.status, &hello.revision) {
        draft.enter(Phase::RolledBack);
        // The Deployment controller would give its next pods to the new template's ReplicaSet.
        let _ = canary::remove_twins(view, draft, &hello.revision);
        // A write of ours may have been answered late, for the release that is over.
        let _ = open_at_once(view, draft);
        return Why::AtZero { deployment: hello.name.clone(), revision: hello.revision.clone() }.at_rest();
    }
    if hello.replicas == 0 {
        draft.notice(Reason::ScaledToZero, format!("Deployment {} has no replicas, so there is nothing to release", hello.name));
        draft.status.stable = None;
        draft.enter(Phase::Pending);
        return if hello.paused {
            draft.act(Action::SetPaused { deployment: hello.object(), paused: false });
            Why::NativeRollout { deployment: hello.name.clone() }.at_rest()
        } else {
            find_live(view, draft, None)
        };
    }
    if let Some(refusal) = draft.refusal.clone() {
        if hello.paused && view.snapshot.status.phase != Some(Phase::Pending) {
            let held = format!(
                "Deployment {} is paused with a template that cannot be released: {refusal}. To let it roll out natively: kubectl -n {} delete rollouts.stepgate.dev {} && kubectl -n {} rollout resume deployment/{}",
                hello.name, view.snapshot.rollout.namespace, view.snapshot.rollout.name, view.snapshot.rollout.namespace, hello.name
            );
            if !matches!(&view.snapshot.status.why, why if *why == refusal.to_string()) {
                draft.notice(Reason::DeploymentHeld, held);
            }
        }
        if view.snapshot.status.phase == Some(Phase::RollingBack) {
            draft.enter(Phase::RolledBack);
        }
        // However long that takes to be put right.
        let _ = remove_leftovers(view, draft);
        return Why::Refused(refusal).for_a_person();
    }
    match policy {
        Some(policy) => {
            if !hello.paused {
                draft.act(Action::SetPaused { deployment: hello.object(), paused: true });
            }
            begin(view, draft, policy, hello);
            let canary = names::canary(&hello.name, &hello.revision);
            let why = if view.is_worker() { Why::CreatingCanary { name: canary } } else { Why::Beginning { canary } };
            why.until_answered()
        }
        None => Why::Recording.until_answered(),
    }
}

/// Whether the Deployment rolls by itself and the live side has fewer pods than it should, while the new one serves already or has taken its
/// place.
fn is_native_rollout_ahead(view: &View<'_>, live: &Side<'_>) -> bool {
    let others = || view.own_replica_sets().filter(|set| set.uid != live.replica_set.uid);
    let serves = || others().any(|set| view.side(set).ready_count() > 0);
    let took_over = || live.replica_set.replicas == 0 && others().any(|set| set.replicas > 0);
    live.ready_count() < view.hello.replicas && (serves() || took_over())
}
